"""What is learnt from a store's vectors: an index, the vote's rule, a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitrina.api.enums import member
from vitrina.errors import StoreError
from vitrina.store.store import Store
from vitrina.types import Balance, Features, FusionKind, HeadKind, SplitKind

if TYPE_CHECKING:
    from vitrina.pipelines.index.leave_one_out import IndexEvaluation
    from vitrina.pipelines.index.neighbours import Index
    from vitrina.pipelines.train.report import TrainReport


def build_index(
    store: Store,
    features: str | None = None,
    *,
    recall: float | None = None,
    memory: int | None = None,
    factory: str | None = None,
    rebuild: bool = False,
    seed: int = 0,
    quiet: bool = True,
) -> Index:
    """Build the index, or bring it up to date in time that grows with what has changed.

    Args:
        store: with the vectors.
        features: "text", "image" or "fused"; None for all that there is.
        recall: the share of the true ten nearest that it should find, above 0 and up to 1, which
            asks for exact search; None for what the index has, 0.99 for a new one.
        memory: bytes that the index may take; None for what it has, a quarter of the machine's
            memory for a new one.
        factory: a FAISS factory string, instead of Vitrina's own choice; "auto" for that again.
        rebuild: build anew though an update would do.
        seed: decides which rows are learnt from, and held out to tune and measure.
        quiet: print no progress.

    Raises StoreError.
    """
    from vitrina.pipelines.index.job import IndexOptions
    from vitrina.pipelines.index.job import build_index as run
    from vitrina.pipelines.index.neighbours import Index

    if recall is not None and not 0 < recall <= 1:
        raise StoreError(f"recall is a share above 0 and up to 1, not {recall}")
    options = IndexOptions(
        features=member(Features, features),
        recall=recall,
        memory=memory,
        factory=factory,
        rebuild=rebuild,
        seed=seed,
        quiet=quiet,
    )
    return Index.described(store, run(store, options))


def open_index(store: Store, features: str | None = None) -> Index:
    """Open an index that was built before."""
    from vitrina.pipelines.index.neighbours import Index

    return Index.open(store, member(Features, features))


def evaluate_index(
    store: Store, features: str | None = None, *, seed: int = 0, quiet: bool = True
) -> IndexEvaluation:
    """Measure the vote of an index's neighbours, leave-one-out, and keep the rule that is best.

    Every labelled product asks its 50 nearest others, duplicates (same title or photo) left out;
    of more than 200,000, a sample. `classify` votes by the rule from then on.

    Args:
        store: with the index.
        features: "text", "image" or "fused"; None for the fused index, or the only one there is.
        seed: decides on which half of the products the rule is chosen; the other is reported.
        quiet: print no progress.

    Raises StoreError if there is no index, TrainingError where too few products have a category.
    """
    from vitrina.pipelines.index.leave_one_out import evaluate_index as run

    return run(store, member(Features, features), seed=seed, quiet=quiet)


def train(
    store: Store,
    head: str = "mlp",
    *,
    features: str | None = None,
    fusion: str = "early",
    compare: bool = False,
    precision: float = 0.95,
    balance: str = "none",
    split: str = "grouped",
    name: str | None = None,
    refit: bool = True,
    epochs: int | None = None,
    patience: int = 0,
    seed: int = 0,
    quiet: bool = True,
) -> TrainReport:
    """Train, calibrate and save a head.

    Args:
        store: with products that have categories.
        head: "logistic" or "mlp".
        features: "text", "image" or "fused"; None for all that there is.
        fusion: "early" (one head over all vectors), "late" (a head for each modality), "knn" (the
            early head and the neighbours' vote) or "stack" (all of these).
        compare: judge all of them, and take the best, or the simplest that is as good.
        precision: what accepted predictions promise: so many of them are right.
        balance: "none", "weights" or "prior", how rare categories are heard; see `ClassLoss`.
        split: "grouped" or "stratified", how validation rows are chosen.
        name: the head's name; by default its features and kind.
        refit: fit the saved head on validation rows too, once they have served.
        epochs: None for as many as the rows call for.
        patience: how many of them that are no better, on training rows kept apart, end a training;
            0 for none: all are gone through.
        seed: of the split and of training.
        quiet: print no progress.

    Raises StoreError, TrainingError.
    """
    from vitrina.pipelines.train.job import train as run
    from vitrina.pipelines.train.trainer import TrainOptions

    options = TrainOptions(
        head=member(HeadKind, head) or HeadKind.MLP,
        features=member(Features, features),
        fusion=member(FusionKind, fusion) or FusionKind.EARLY,
        compare=compare,
        precision=precision,
        balance=member(Balance, balance) or Balance.NONE,
        split=member(SplitKind, split) or SplitKind.GROUPED,
        name=name,
        refit=refit,
        epochs=epochs,
        patience=patience,
        seed=seed,
        quiet=quiet,
    )
    return run(store, options)
