"""Results of a benchmark, one row per method, and their files during the run."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrina.classifier.metrics import Metrics
from vitrina.errors import StoreError
from vitrina.typed_json import Count, Finite, convert_json, load_json
from vitrina.types import Codes, Features, Floats

if TYPE_CHECKING:
    from vitrina.training.loop import Epoch

FORMAT = 1
"""Raise it when the meaning of a row's files changes: rows of another format are run again."""
AGAIN = "run `vitrina benchmark` again"
SLUG = 48
"""Characters of a method's name in its file names, at most."""


@dataclass(frozen=True, eq=False)
class Row:
    """Results of one method. Raises ValueError for parts that do not fit each other.

    Attributes:
        name: unique in a table.
        modality: the modalities that it uses.
        train, validation: metrics on train rows, None where not measured, and on validation rows;
            both None if it was left out.
        seconds: of training.
        per_second: products predicted per second; None where not measured.
        history: its epochs; empty for a method not trained in epochs. Scores may be NaN.
        note: a remark for the reader, e.g. "random weights".
        left_out: the reason why it was not run; empty if it was.
        predicted: (v,) int64, the category's code of each validation row; -1 for none.
        confidence: (v,) float32, the probability of each prediction.
    """

    name: str
    modality: Features
    train: Metrics | None
    validation: Metrics | None
    seconds: float
    per_second: float | None
    history: tuple[Epoch, ...]
    note: str = ""
    left_out: str = ""
    predicted: Codes | None = None
    confidence: Floats | None = None

    def __post_init__(self) -> None:
        if (self.validation is None) != bool(self.left_out):
            raise ValueError(f"{self.name!r} must either be left out or have been validated")
        if self.confidence is None:
            return
        if self.predicted is None or self.predicted.shape != self.confidence.shape:
            raise ValueError(f"{self.name!r} must have one confidence for each prediction")
        if np.isnan(self.confidence).any():
            raise ValueError(f"{self.name!r} has a confidence of NaN")

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict of all but the arrays; a loss or score that is not finite becomes
        None."""
        return {
            "name": self.name,
            "modality": self.modality.value,
            "train": self.train and self.train.to_json(),
            "validation": self.validation and self.validation.to_json(),
            "seconds": self.seconds,
            "per_second": self.per_second,
            "history": [
                {
                    "number": epoch.number,
                    "loss": epoch.loss if math.isfinite(epoch.loss) else None,
                    "score": epoch.score if math.isfinite(epoch.score) else None,
                    "seconds": epoch.seconds,
                }
                for epoch in self.history
            ],
            "note": self.note,
            "left_out": self.left_out,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """Read the output of `to_json`; None becomes NaN. Raises StoreError for anything else."""
        from vitrina.training.loop import Epoch

        stored = convert_json(value, _RowCard, "a row of a benchmark", AGAIN)
        history = (
            Epoch(one.number, _or_nan(one.loss), _or_nan(one.score), one.seconds)
            for one in stored.history
        )
        try:
            return cls(**{**vars(stored), "history": tuple(history)})
        except ValueError as err:
            raise StoreError(f"a row of a benchmark contradicts itself: {err}; {AGAIN}") from err


@dataclass(frozen=True)
class _EpochCard:
    number: Count
    loss: float | None
    score: float | None
    seconds: Finite


@dataclass(frozen=True)
class _RowCard:
    """`Row` as JSON holds it."""

    name: str
    modality: Features
    train: Metrics | None
    validation: Metrics | None
    seconds: Finite
    per_second: Finite | None
    history: tuple[_EpochCard, ...]
    note: str
    left_out: str


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


@dataclass(frozen=True, eq=False)
class MethodsTable:
    """Results of one benchmark. Raises ValueError for parts that do not fit each other.

    Attributes:
        about: facts of the run, JSON-compatible. `store` and the keys of `page.FACTS` have their
            places in the report and may be missing; anything else is shown after them.
        rows: the methods, in any order.
        true: (v,) int64, the category's code of each validation row.
        sizes: (c,) int64, the training rows of each code.
        names: (c,) of each code: its path, joined by "->", or its id.
    """

    about: Mapping[str, Any]
    rows: tuple[Row, ...]
    true: Codes
    sizes: Codes
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        classes = len(self.names)
        if self.sizes.shape != (classes,):
            raise ValueError(f"{classes} categories, but sizes of {self.sizes.shape}")
        if len(self.true) and not 0 <= self.true.min() <= self.true.max() < classes:
            raise ValueError(f"true categories must lie in [0, {classes})")
        if len({row.name for row in self.rows}) < len(self.rows):
            raise ValueError("two methods have the same name")
        for row in self.rows:
            codes = row.predicted
            if codes is None:
                continue
            if codes.shape != self.true.shape:
                raise ValueError(
                    f"{row.name!r} has {codes.shape} predictions, not {len(self.true)}"
                )
            if len(codes) and not -1 <= codes.min() <= codes.max() < classes:
                raise ValueError(f"{row.name!r} predicts categories outside [0, {classes})")

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The methods that were run, best weighted F1 on validation rows first, then by name."""
        run = [(row.validation.weighted_f1, row) for row in self.rows if row.validation]
        return tuple(row for _, row in sorted(run, key=lambda one: (-one[0], one[1].name)))

    @property
    def left_out(self) -> tuple[Row, ...]:
        """The methods that were not run, in the order they were given."""
        return tuple(row for row in self.rows if row.left_out)

    @property
    def best(self) -> dict[Features, Row]:
        """The best method of each modality that has one, the best of all first."""
        best: dict[Features, Row] = {}
        for row in self.ranked:
            best.setdefault(row.modality, row)
        return best

    def is_best(self, row: Row) -> bool:
        """True for the best method of its modality."""
        return self.best.get(row.modality) is row


def write_row(folder: Path, row: Row, *, of: str = "") -> None:
    """Write a finished row: a JSON file and, where it has arrays, an .npz beside it.

    of: key of the row's inputs, e.g. a digest of the catalogue, the split and the seed. An earlier
    row of the same name is replaced. If the process is killed, `read_row` reads a whole row or
    none. Raises OSError if the disk is full.
    """
    from vitrina.store.files import replacing, write_json

    stem = _stem(row.name)
    arrays = {"predicted": row.predicted, "confidence": row.confidence}
    present = {name: array for name, array in arrays.items() if array is not None}
    checksum = None
    if present:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **present)  # type: ignore[arg-type]
        content = buffer.getvalue()
        checksum = hashlib.sha256(content).hexdigest()
        with replacing(folder / f"{stem}.npz") as temporary:
            temporary.write_bytes(content)
    card = {"format": FORMAT, "of": of, "arrays": checksum, "row": row.to_json()}
    write_json(folder / f"{stem}.json", card)


def read_row(folder: Path, name: str, *, of: str = "") -> Row | None:
    """Read the row of a name and the same `of`; None for a row that is missing, damaged, incomplete
    or of another `of`."""
    return _read(folder / f"{_stem(name)}.json", of)


def _read(path: Path, of: str) -> Row | None:
    try:
        stored = load_json(path.read_bytes(), str(path), AGAIN)
        if not isinstance(stored, dict) or (stored.get("format"), stored.get("of")) != (FORMAT, of):
            return None
        row = Row.from_json(stored["row"])
        # A copied file would be a second row of that name.
        if path.stem != _stem(row.name):
            return None
        if stored["arrays"] is None:
            return row
        content = path.with_suffix(".npz").read_bytes()
        # The arrays are written first, so after a crash the checksum may be of older ones.
        if hashlib.sha256(content).hexdigest() != stored["arrays"]:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return replace(row, **{name: arrays[name] for name in arrays.files})
    except (OSError, StoreError, KeyError, TypeError, ValueError):
        return None


def _stem(name: str) -> str:
    slug = re.sub(r"[^0-9a-z]+", "-", name.lower()).strip("-")[:SLUG]
    return f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
