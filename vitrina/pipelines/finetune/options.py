"""Options of fine-tuning and of pretraining."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.options import Panel, option
from vitrina.pipelines.common.options import (
    BALANCE,
    EMA_DECAY,
    FinetuningOptions,
    OptimizerOptions,
    TextEncoderOptions,
)
from vitrina.types import Balance, Modality, SplitKind


@dataclass(frozen=True)
class FinetuneOptions(OptimizerOptions, FinetuningOptions):
    """Options of `finetune`; see there.

    Examples
    --------
    >>> vt.FinetuneOptions("image", balance="prior").balance
    <Balance.PRIOR: 'prior'>
    """

    PANEL = Panel.TRAINING

    modality: Modality = option(
        "Encoder to train: text or image.", default=Modality.TEXT, panel=Panel.MODELS
    )
    _: KW_ONLY
    model: str | None = option(
        "Base model, as embed takes it, or an encoder trained in this store; default: the store's.",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    name: str | None = option(
        "Name of the trained encoder; default: MODALITY-tuned.",
        panel=Panel.FILES,
        metavar="NAME",
        aliases=("out",),
    )
    catalogue: str | None = option(
        "File of the products, or the URL of a database with --query, if the location of their "
        "photos is not saved in the store.",
        repr=False,
        panel=Panel.FILES,
    )
    images: str | None = option(
        "Location of the photos of `catalogue`; None for that of `reading`.",
        command_line=False,
        repr=False,
    )
    augment: bool = option(
        "Crop, mirror and recolour photos at random in every epoch.", default=True
    )
    epochs: int | None = option("Maximum epochs; default: 6.", least=1)
    batch_size: int | None = option(
        "Products per step; default: 128 for texts, 64 for photos.",
        least=1,
        aliases=("batch_rows",),
    )
    learning_rate: float | None = option(
        "Peak learning rate; default: chosen by the model's width and depth.",
        above=0,
        aliases=("rate",),
    )
    layer_decay: float = option(
        "Ratio of each layer's learning rate to that of the layer above.", default=0.9, above=0
    )
    label_smoothing: float = option(
        "Label smoothing.", default=0.1, least=0, below=1, aliases=("smoothing",)
    )
    balance: Balance = option(
        BALANCE,
        default=Balance.NONE,
    )
    word_dropout: float = option(
        "Share of tokens masked at random in training.", default=0.0, least=0, below=1
    )
    ema_decay: float = option(EMA_DECAY, default=0.999, least=0, below=1, aliases=("average",))
    patience: int = option(
        "Early stopping: epochs without a better weighted F1; 0: no early stopping.",
        default=2,
        least=0,
    )
    split: SplitKind = option(
        "Split whose validation rows are left out: grouped by title and photo, or stratified.",
        default=SplitKind.GROUPED,
        panel=Panel.EVALUATION,
    )


@dataclass(frozen=True)
class PretrainOptions(OptimizerOptions, TextEncoderOptions):
    """Options of `pretrain`; see there.

    Examples
    --------
    >>> vt.PretrainOptions(also=["names.parquet"]).also
    ('names.parquet',)
    """

    PANEL = Panel.TRAINING

    _: KW_ONLY
    model: str | None = option(
        "Base model: hf:REPO, a model directory, or an encoder trained in this store; default: the "
        "store's.",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    name: str = option(
        "Name of the trained encoder.",
        default="text-pretrained",
        panel=Panel.FILES,
        metavar="NAME",
        aliases=("out",),
    )
    also: tuple[str, ...] = option(
        "File of further products, or the URL of a database with --query, of which only the texts "
        "are used. Can be given several times.",
        default=(),
        repr=False,
        panel=Panel.FILES,
    )
    reading: ReadingOptions = DEFAULT_OPTIONS
    epochs: int | None = option("Number of epochs; default: 3.", least=1)
    batch_size: int | None = option(
        "Texts per step; default: 256.", least=1, aliases=("batch_rows",)
    )
    learning_rate: float | None = option(
        "Peak learning rate; default: 0.15 / width.", above=0, aliases=("rate",)
    )
    ema_decay: float = option(
        EMA_DECAY, default=0.0, least=0, below=1, command_line=False, aliases=("average",)
    )
    split: SplitKind | None = option(
        "Split whose validation texts are held out: grouped or stratified; none: train on all.",
        default=SplitKind.GROUPED,
        none="none",
        panel=Panel.EVALUATION,
    )
