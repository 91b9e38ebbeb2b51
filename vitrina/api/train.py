"""Training on a store's vectors: the index, the vote rule, the head."""

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
    """Build the index, or update it in time that grows with the changes.

    Args:
        store: with the vectors.
        features: "text", "image" or "fused"; None for all that the store has.
        recall: target share of the true ten nearest neighbours found, above 0 and up to 1,
            which means exact search; None for the index's own, 0.99 for a new one.
        memory: upper limit of the index in bytes; None for the index's own, a quarter of the
            machine's memory for a new one.
        factory: a FAISS factory string in place of Vitrina's own choice; "auto" for that again.
        rebuild: build anew even if an update is enough.
        seed: random seed of the rows to train on, and of those held out to tune and measure.
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
    """Open an existing index.

    features: "text", "image" or "fused"; None for the fused index, or the only one. Raises
    StoreError if there is none, FingerprintError if the store's spaces have changed since.
    """
    from vitrina.pipelines.index.neighbours import Index

    return Index.open(store, member(Features, features))


def evaluate_index(
    store: Store, features: str | None = None, *, seed: int = 0, quiet: bool = True
) -> IndexEvaluation:
    """Evaluate the neighbour vote of an index, leave-one-out, and save the best rule.

    Every labelled product is classified by its 50 nearest others, without duplicates (same title or
    photo); of more than 200,000 products, a sample. `classify` then votes by this rule.

    Args:
        store: with the index.
        features: "text", "image" or "fused"; None for the fused index, or the only one.
        seed: random seed of the half of the products on which the rule is chosen; metrics are those
            of the other half.
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
        features: "text", "image" or "fused"; None for all that the store has.
        fusion: "early" (one head over all vectors), "late" (a head for each modality), "knn" (the
            early head and the neighbour vote) or "stack" (all of these).
        compare: evaluate all of them, and use the best, or the simplest that is as good.
        precision: target precision of accepted predictions.
        balance: class-imbalance handling, "none", "weights" or "prior"; see `ClassLoss`.
        split: "grouped" or "stratified", how validation rows are chosen.
        name: the head's name; by default its features and kind.
        refit: after validation, fit the saved head on the validation rows too.
        epochs: None for a default by the number of rows.
        patience: early stopping after this many epochs without a better score on held-out training
            rows; 0 for none.
        seed: random seed of the split and of training.
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
