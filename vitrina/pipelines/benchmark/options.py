"""Options of a benchmark."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from vitrina.options import Panel, option
from vitrina.pipelines.common.options import VALIDATION, FinetuningOptions
from vitrina.types import SplitKind


@dataclass(frozen=True)
class BenchmarkOptions(FinetuningOptions):
    """Options of `benchmark`; see there.

    Examples
    --------
    >>> vt.BenchmarkOptions(methods="mlp,cnn").methods
    ('mlp', 'cnn')
    """

    PANEL = Panel.TRAINING

    _: KW_ONLY
    methods: tuple[str, ...] = option(
        "Methods to run, separated by commas; default: all but zero-shot.",
        default=(),
        listed=True,
        panel=Panel.MODELS,
        metavar="NAMES",
        aliases=("rows",),
    )
    text: str | None = option(
        "Text model, as embed takes it, or an encoder trained in this store; none: no text; "
        "default: the store's, else hf:cointegrated/rubert-tiny2.",
        flag="text-model",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    image: str | None = option(
        "Image model, as embed takes it, or an encoder trained in this store; none: no photos; "
        "default: the store's, else open_clip:ViT-B-32-quickgelu/openai.",
        flag="image-model",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    text_epochs: int | None = option(
        "Epochs of the text encoder's fine-tuning; default: 6.", least=1
    )
    image_epochs: int | None = option(
        "Epochs of the image encoder's fine-tuning; default: 6.", least=1
    )
    split: SplitKind = option(VALIDATION, default=SplitKind.GROUPED, panel=Panel.EVALUATION)
    overwrite_cache: bool = option(
        "Recompute cached results.", default=False, panel=Panel.FILES, aliases=("again",)
    )
