"""What all methods of a benchmark share: who is learnt from, and who is asked about."""

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
from vitrina.store.store import Store
from vitrina.types import Codes, Floats, Mask, SplitKind

BLOCK_ROWS = 4096

Float16Matrix = npt.NDArray[np.float16]
"""(n, classes) float16, mapped from the disk."""


@dataclass(frozen=True, eq=False)
class BenchmarkData:
    """A store's products on their sides.

    Attributes:
        store: with all of them.
        labels: their categories, numbered by code.
        parted: the split.
        rows: (m,) positions to learn from.
        held: (h,) to stop, to calibrate and to blend by.
        validation: (v,) to be measured on.
        further: (f,) products without a category, to be predicted.
    """

    store: Store
    labels: Categories
    parted: StoreSplit
    rows: Codes
    held: Codes
    validation: Codes
    further: Codes

    @classmethod
    def of(
        cls, store: Store, kind: SplitKind, seed: int, seen: Mask | None = None
    ) -> BenchmarkData:
        """seen: (n,) bool, products that an encoder has learnt from already.

        Raises TrainingError if there is too little to learn from, or to measure on.
        """
        labels = store.labels()
        if (labels.codes < 0).all():
            raise TrainingError(f"{store.place} holds no product with a category to learn from")
        parted = split_store(store.products, labels.codes, kind, seed)
        if seen is not None:
            parted = parted.unseen(seen)
        rows, held = parted.hold(parted.split.train, seed)
        further = np.flatnonzero(labels.codes < 0)
        return cls(store, labels, parted, rows, held, parted.split.validation, further)

    @property
    def classes(self) -> int:
        """How many categories there are."""
        return len(self.labels.ids)

    @property
    def codes(self) -> Codes:
        """(n,) int64: the category of every product, -1 for none."""
        return self.labels.codes

    @property
    def asked(self) -> Codes:
        """The products that every method is asked about: held, validation, further, in turn."""
        return np.concatenate([self.held, self.validation, self.further])

    def part_of(self, answers: Float16Matrix, name: str) -> Float16Matrix:
        """The answers about one of these: "held", "validation" or "further"."""
        first = len(self.held), len(self.held) + len(self.validation)
        bounds = {"held": (0, first[0]), "validation": first, "further": (first[1], None)}
        start, stop = bounds[name]
        return answers[start:stop]

    @cached_property
    def texts(self) -> list[str]:
        """What a text encoder reads of every product."""
        return [text for batch in texts(self.store.products) for text in batch]

    @cached_property
    def sizes(self) -> Codes:
        """(classes,) int64: the rows to learn from of each category."""
        return np.bincount(self.codes[self.rows], minlength=self.classes)

    @cached_property
    def digest(self) -> str:
        """Tells this ground from every other."""
        found = hashlib.sha256()
        for array in (self.codes, self.rows, self.held, self.validation, self.further):
            found.update(np.ascontiguousarray(array).tobytes())
        for entry in self.store.manifest.products:
            found.update(entry.sha256.encode())
        return found.hexdigest()[:16]


class PredictionCache:
    """The probabilities that methods gave, one file each: what is blended, and predicted by.

    A file's name holds the key of what its answers depend on, so answers of other options are never
    taken for these; the latest are kept.
    """

    def __init__(self, folder: Path, rows: int, classes: int) -> None:
        self._folder, self._shape = folder, (rows, classes)
        self._keys: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def expect(self, name: str, key: str) -> None:
        """From here on a method's answers are those of a key."""
        self._keys[name] = key

    def put(self, name: str, blocks: Iterator[Floats]) -> Float16Matrix:
        """Keep the blocks of one method, which come in the order of `Ground.asked`."""
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
        """What was kept. Raises FileNotFoundError."""
        found: Float16Matrix = np.load(self._path(name), mmap_mode="r")
        if found.shape != self._shape:
            raise FileNotFoundError(f"{name} is of another benchmark")
        return found

    def has(self, name: str) -> bool:
        """Whether there is an answer of that name that fits."""
        try:
            self.get(name)
        except (OSError, ValueError):
            return False
        return True

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.{self._keys.get(name, '')}.npy"


def in_blocks(rows: Codes) -> Iterator[Codes]:
    """Some positions, a block at a time."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]
