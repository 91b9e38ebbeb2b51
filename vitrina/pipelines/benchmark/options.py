"""Options of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass

from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.types import Pooling, SplitKind


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of a benchmark.

    rows: names of the methods to run, empty for all. text, image: model names, "none" to leave a
    modality out, None for the store's or the defaults. from_scratch: fine-tune the text encoder
    from random weights. lower_case, max_length, pooling, unlabelled, reading, image_size:
    of fine-tuning. text_epochs, image_epochs: None for a number that suits. split, seed: of the
    rows. again: recompute cached results.
    """

    rows: tuple[str, ...] = ()
    text: str | None = None
    image: str | None = None
    from_scratch: bool = False
    lower_case: bool | None = None
    max_length: int | None = 128
    pooling: Pooling | None = None
    unlabelled: tuple[str, ...] = ()
    reading: ReadingOptions = DEFAULT_OPTIONS
    image_size: int | None = None
    text_epochs: int | None = None
    image_epochs: int | None = None
    split: SplitKind = SplitKind.GROUPED
    seed: int = 0
    again: bool = False
    quiet: bool = True
