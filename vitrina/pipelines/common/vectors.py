"""All vectors of a store's products as one array in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitrina.index.fuse import Fusion
from vitrina.store.gather import gather, matrix
from vitrina.store.store import OpenStore
from vitrina.types import Features, Stored

_BLOCK = 1 << 14
"""Rows that are fused at once."""


class Vectors:
    """Vectors of n products as an array, with the products' ids.

    NumPy and libraries over it take it as the matrix; `ids, matrix = vectors` takes it apart.

    Attributes:
        ids: Arrow array of n int64 or strings.
        matrix: (n, dim) float16 or float32, L2-normalised.
    """

    def __init__(self, ids: pa.Array, matrix: Stored) -> None:
        self.ids = ids
        self.matrix = matrix

    def __iter__(self) -> Iterator[Any]:
        return iter((self.ids, self.matrix))

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, rows: Any) -> Any:
        return self.matrix[rows]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return np.array(self.matrix, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, dim)."""
        rows, dim = self.matrix.shape
        return rows, dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the matrix."""
        return self.matrix.dtype

    @property
    def ndim(self) -> int:
        """2."""
        return self.matrix.ndim

    def __repr__(self) -> str:
        rows, dim = self.shape
        return f"Vectors({rows} products, {dim} dimensions, {self.dtype})"


def default_features(store: OpenStore) -> Features:
    """Fused if the store has both spaces, else the features of its only space."""
    if len(store.manifest.active) == 1:
        return Features(next(iter(store.manifest.active)).value)
    return Features.FUSED


def read_vectors(store: OpenStore, features: Features | None = None) -> Vectors:
    """Read the vectors of all products that have one, in the product table's order.

    features: by default those that the store has. Fused vectors are float32, with equal weights and
    never whitened. Raises StoreError if there is no such space.
    """
    spaces = store.spaces(default_features(store) if features is None else features)
    if len(spaces) == 1:
        return Vectors(*matrix(store.products, spaces[0]))
    gathered = gather(store.products, spaces)
    rows = np.flatnonzero(gathered.any_present())
    fusion = Fusion.plain((1.0,) * len(spaces))
    fused = np.empty((len(rows), sum(gathered.dims)), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        at = rows[start : start + _BLOCK]
        fused[start : start + len(at)] = fusion.fuse(*gathered.blocks(at))
    ids = store.products.ids
    return Vectors(ids if len(rows) == len(ids) else ids.take(pa.array(rows)), fused)
