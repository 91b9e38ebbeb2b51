"""Options of a head's training."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from vitrina.options import Panel, option
from vitrina.pipelines.common.options import BALANCE, FEATURES, VALIDATION, SeededOptions
from vitrina.types import Balance, Features, FusionKind, HeadKind, SplitKind


@dataclass(frozen=True)
class TrainOptions(SeededOptions):
    """Options of `train`; see there.

    Examples
    --------
    >>> options = vt.TrainOptions("logistic", precision=0.99)
    >>> options.head, options.fusion
    (<HeadKind.LOGISTIC: 'logistic'>, <FusionKind.EARLY: 'early'>)
    """

    PANEL = Panel.TRAINING

    head: HeadKind = option(
        "Classifier: logistic regression or MLP.", default=HeadKind.MLP, panel=Panel.MODELS
    )
    _: KW_ONLY
    features: Features | None = option(FEATURES, panel=Panel.MODELS)
    fusion: FusionKind = option(
        "early: one head over all vectors; late: one head per modality; knn: the early head and "
        "the neighbours' vote; stack: all of these.",
        default=FusionKind.EARLY,
        panel=Panel.MODELS,
    )
    compare: bool = option(
        "Evaluate every fusion and use the best one, or a simpler one that is not significantly "
        "worse.",
        default=False,
        panel=Panel.EVALUATION,
    )
    precision: float = option(
        "Target precision of accepted predictions.",
        default=0.95,
        above=0,
        below=1,
        panel=Panel.EVALUATION,
    )
    balance: Balance = option(
        BALANCE,
        default=Balance.NONE,
    )
    split: SplitKind = option(VALIDATION, default=SplitKind.GROUPED, panel=Panel.EVALUATION)
    name: str | None = option(
        "Name of the head; default: FEATURES-HEAD.", panel=Panel.FILES, metavar="NAME"
    )
    refit: bool = option(
        "After the evaluation, fit the saved head on validation rows too.", default=True
    )
    epochs: int | None = option("Epochs; default: chosen by the number of rows.", least=1)
    patience: int = option(
        "Early stopping: epochs without improvement on held-out training rows; 0: no early "
        "stopping.",
        default=0,
        least=0,
    )
