"""Options of a benchmark."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from vitrina.options import option
from vitrina.pipelines.common.options import VALIDATION, FinetuningOptions
from vitrina.types import SplitKind


@dataclass(frozen=True)
class BenchmarkOptions(FinetuningOptions):
    """Options of `benchmark`; see there.

    Examples
    --------
    >>> vt.BenchmarkOptions(rows="mlp,cnn").rows
    ('mlp', 'cnn')
    """

    _: KW_ONLY
    rows: tuple[str, ...] = option(
        "Methods to run, separated by commas; default: all.", default=(), separator=","
    )
    text: str | None = option(
        "Text model, as embed takes it, or an encoder trained in this store; none: no text.",
        flag="text-model",
    )
    image: str | None = option(
        "Image model, as embed takes it, or an encoder trained in this store; none: no photos.",
        flag="image-model",
    )
    text_epochs: int | None = option(
        "Epochs of the text encoder's fine-tuning; default: 6.", least=1
    )
    image_epochs: int | None = option(
        "Epochs of the image encoder's fine-tuning; default: 6.", least=1
    )
    split: SplitKind = option(VALIDATION, default=SplitKind.GROUPED)
    again: bool = option("Recompute cached results.", default=False)
