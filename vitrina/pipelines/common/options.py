"""Options that several jobs share."""

from __future__ import annotations

from dataclasses import dataclass

from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.options import JobOptions, Panel, option
from vitrina.types import Pooling

BALANCE = "Handling of class imbalance: none, class weights, or a prior correction of the logits."
VALIDATION = "Validation split: grouped by title and photo, or stratified."
EMA_DECAY = "Decay per step of the moving average of weights that is kept; 0: the last weights."
FEATURES = "Vectors to use: text, image, or both concatenated (fused); default: all in the store."


@dataclass(frozen=True, kw_only=True)
class SeededOptions(JobOptions):
    """Options of a job that draws random numbers."""

    seed: int = option("Random seed.", default=0, least=0)


@dataclass(frozen=True, kw_only=True)
class TextEncoderOptions(SeededOptions):
    """Options of a text encoder's training."""

    PANEL = Panel.TRAINING

    from_scratch: bool = option(
        "Start from random weights of the model's architecture.", default=False
    )
    lower_case: bool | None = option(
        "Lower-case texts; default: the tokenizer's setting.", flag="--lower-case/--keep-case"
    )
    max_length: int | None = option(
        "Maximum tokens per text, kept with the encoder; 0: the model's own limit.",
        default=128,
        least=1,
        none=0,
    )


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions(JobOptions):
    """Options of the optimizer."""

    PANEL = Panel.TRAINING

    warmup_ratio: float = option(
        "Share of steps in which the learning rate rises to its peak.",
        default=0.06,
        least=0,
        below=1,
        aliases=("warm_up",),
    )
    weight_decay: float = option("Weight decay of AdamW.", default=0.01, least=0)


@dataclass(frozen=True, kw_only=True)
class FinetuningOptions(TextEncoderOptions):
    """Options of fine-tuning that the benchmark shares."""

    PANEL = Panel.TRAINING

    pooling: Pooling | None = option(
        "Pooling of token vectors, kept with the encoder: cls, mean, max, mean_sqrt_len_tokens, "
        "weightedmean, lasttoken, or cls+mean; default: the model's own.",
        metavar="POOLING",
    )
    image_size: int | None = option(
        "Edge of an image model's input, in pixels, kept with the encoder; default: its own.",
        least=16,
    )
    unlabelled: tuple[str, ...] = option(
        "File of further products for self-training: a second text encoder is trained on the "
        "first one's predictions for them too. Can be given several times.",
        default=(),
        metavar="PATH",
    )
    reading: ReadingOptions = DEFAULT_OPTIONS
