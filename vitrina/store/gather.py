"""Vectors of all products in one matrix per modality, in the product table's order, on disk.

A space keeps its rows in shard order, which differs between spaces, so training and indexing would
have to join them by id again and again. One pass writes them to a memory-mapped scratch file, so
memory use does not grow with the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vitrina.disk import nameless_file
from vitrina.store.products import Products
from vitrina.store.space import Space
from vitrina.types import Codes, Floats, Mask, Modality, Stored


@dataclass(frozen=True)
class Gathered:
    """Vectors of one or two modalities. vectors: (n, dim) float16 or float32 each, zero where
    missing. present: (n,) bool each. Both in the order of `modalities`."""

    modalities: tuple[Modality, ...]
    vectors: tuple[npt.NDArray[np.floating], ...]
    present: tuple[Mask, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """The length of each modality's vector."""
        return tuple(matrix.shape[1] for matrix in self.vectors)

    def any_present(self) -> Mask:
        """(n,) bool: products with a vector in at least one modality."""
        mask: Mask = np.logical_or.reduce(self.present)
        return mask

    def only(self, modalities: Sequence[Modality]) -> Gathered:
        """A copy with only the given modalities, in their order."""
        places = [self.modalities.index(one) for one in modalities]
        vectors = tuple(self.vectors[place] for place in places)
        return Gathered(tuple(modalities), vectors, tuple(self.present[place] for place in places))

    def without(self, modality: Modality) -> Gathered:
        """A copy in which all products lack a modality."""
        present = tuple(
            np.zeros_like(mask) if one is modality else mask
            for one, mask in zip(self.modalities, self.present, strict=True)
        )
        return Gathered(self.modalities, self.vectors, present)

    def blocks(self, rows: Codes) -> tuple[list[Floats], list[Mask]]:
        """Rows of each modality: (len(rows), dim) float32, and (len(rows),) bool."""
        vectors = [np.asarray(matrix[rows], dtype=np.float32) for matrix in self.vectors]
        return vectors, [mask[rows] for mask in self.present]


def gather(products: Products, spaces: Sequence[Space], scratch: Path | None = None) -> Gathered:
    """Join the live vectors of spaces to the product table.

    scratch: a folder for the memory-mapped files; by default the system's temporary one. The
    files are unnamed: the system deletes them with the arrays.
    """
    vectors, present = [], []
    for space in spaces:
        dtype = np.dtype(space.card["dtype"])
        size = max(1, len(products) * space.dim * dtype.itemsize)
        with nameless_file(scratch, size) as file:
            matrix = np.memmap(file, dtype, mode="r+", shape=(len(products), space.dim))
        mask = np.zeros(len(products), dtype=bool)
        for positions, block in space.stream(products):
            put(matrix, positions, block)
            mask[positions] = True
        vectors.append(matrix)
        present.append(mask)
    modalities = tuple(space.modality for space in spaces)
    return Gathered(modalities, tuple(vectors), tuple(present))


def matrix(products: Products, space: Space) -> tuple[pa.Array, Stored]:
    """All live vectors of one space in memory: their products' ids, (n,), and (n, dim) of the
    stored dtype, in the product table's order."""
    whole = np.empty((len(products), space.dim), np.dtype(space.card["dtype"]))
    present = np.zeros(len(products), dtype=bool)
    for positions, block in space.stream(products):
        put(whole, positions, block)
        present[positions] = True
    if present.all():
        return products.ids, whole
    return products.ids.filter(pa.array(present)), whole[present]


def put(matrix: Stored, positions: Codes, block: Stored) -> None:
    """Write rows to their positions, as one block if these are contiguous."""
    start, stop = int(positions[0]) if len(positions) else 0, len(positions)
    if stop and positions[-1] - start == stop - 1 and (np.diff(positions) == 1).all():
        matrix[start : start + stop] = block
    else:
        matrix[positions] = block
