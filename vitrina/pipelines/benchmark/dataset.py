"""Row splits shared by all benchmark methods, and the cache of their predictions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vitrina.errors import TrainingError
from vitrina.pipelines.common.product_inputs import texts
from vitrina.pipelines.common.store_split import StoreSplit, split_store
from vitrina.store.products import Categories
from vitrina.store.store import OpenStore
from vitrina.types import Codes, Floats, Mask, SplitKind

BLOCK_ROWS = 4096

Float16Matrix = npt.NDArray[np.float16]
"""(n, classes) float16, mapped from disk."""


@dataclass(frozen=True, eq=False)
class BenchmarkData:
    """A store's products, split for all methods.

    Attributes:
        store: with all products.
        labels: their categories, numbered by code.
        parted: the store split.
        rows: (m,) int64 positions of the train rows.
        held: (h,) of the held-out rows for early stopping, calibration and blending.
        validation: (v,) of the rows to evaluate on.
        further: (f,) of products without a category, to predict.
    """

    store: OpenStore
    labels: Categories
    store_split: StoreSplit
    rows: Codes
    held_out_rows: Codes
    validation: Codes
    further: Codes

    @classmethod
    def of(
        cls, store: OpenStore, kind: SplitKind, seed: int, seen: Mask | None = None
    ) -> BenchmarkData:
        """Split a store. seen: (n,) bool, products that an encoder was trained on already.

        Raises TrainingError if there are too few rows to train or to evaluate on.
        """
        labels = store.labels()
        if (labels.codes < 0).all():
            raise TrainingError(f"{store.place} holds no product with a category to learn from")
        store_split = split_store(store.products, labels.codes, kind, seed)
        if seen is not None:
            store_split = store_split.unseen(seen)
        rows, held_out_rows = store_split.early_stopping_split(store_split.split.train, seed)
        further = np.flatnonzero(labels.codes < 0)
        return cls(
            store, labels, store_split, rows, held_out_rows, store_split.split.validation, further
        )

    @property
    def classes(self) -> int:
        """Number of categories."""
        return len(self.labels.ids)

    @property
    def codes(self) -> Codes:
        """(n,) int64: the category of every product, -1 for none."""
        return self.labels.codes

    @property
    def query_rows(self) -> Codes:
        """Positions of the products that each method predicts: held, validation, further."""
        return np.concatenate([self.held_out_rows, self.validation, self.further])

    def part_of(self, answers: Float16Matrix, name: str) -> Float16Matrix:
        """Predictions for one part of `asked`: "held", "validation" or "further"."""
        first = len(self.held_out_rows), len(self.held_out_rows) + len(self.validation)
        bounds = {"held": (0, first[0]), "validation": first, "further": (first[1], None)}
        start, stop = bounds[name]
        return answers[start:stop]

    @cached_property
    def texts(self) -> list[str]:
        """The encoder text of every product."""
        return [text for batch in texts(self.store.products) for text in batch]

    @cached_property
    def sizes(self) -> Codes:
        """(classes,) int64: train rows of each category."""
        return np.bincount(self.codes[self.rows], minlength=self.classes)

    @cached_property
    def digest(self) -> str:
        """Digest of labels, splits and product files, 16 hexadecimal digits."""
        found = hashlib.sha256()
        for array in (self.codes, self.rows, self.held_out_rows, self.validation, self.further):
            found.update(np.ascontiguousarray(array).tobytes())
        for entry in self.store.manifest.products:
            found.update(entry.sha256.encode())
        return found.hexdigest()[:16]


class PredictionCache:
    """Prediction cache: the probabilities of each method, one .npy file each.

    A file's name holds the key of all inputs of its predictions, so predictions of other options
    are not reused. Only the latest file of each method is kept.
    """

    def __init__(self, folder: Path, rows: int, classes: int) -> None:
        self._folder, self._shape = folder, (rows, classes)
        self._keys: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def expect(self, name: str, key: str) -> None:
        """Set the key that a method's predictions are written and read by."""
        self._keys[name] = key

    def put(self, name: str, blocks: Iterator[Floats]) -> Float16Matrix:
        """Write a method's blocks of probabilities, in the order of `BenchmarkData.query_rows`."""
        unfinished = self._folder / f".{name}.npy"
        whole = np.lib.format.open_memmap(unfinished, "w+", np.float16, self._shape)
        start = 0
        for block in blocks:
            whole[start : start + len(block)] = block
            start += len(block)
        whole.flush()
        path = self._path(name)
        unfinished.replace(path)
        for other in self._folder.glob(f"{name}.*.npy"):
            if other != path:
                other.unlink()
        return self.get(name)

    def get(self, name: str) -> Float16Matrix:
        """A method's cached predictions. Raises FileNotFoundError if there are none that fit."""
        found: Float16Matrix = np.load(self._path(name), mmap_mode="r")
        if found.shape != self._shape:
            raise FileNotFoundError(f"{name} is of another benchmark")
        return found

    def has(self, name: str) -> bool:
        """True if a method's predictions are cached under its key."""
        try:
            self.get(name)
        except (OSError, ValueError):
            return False
        return True

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.{self._keys.get(name, '')}.npy"


def in_blocks(rows: Codes) -> Iterator[Codes]:
    """Positions, `BLOCK_ROWS` at a time."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]
