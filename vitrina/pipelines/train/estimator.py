"""A scikit-learn classifier that trains fusion heads on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vitrina.classifier.backoff import HierarchicalPrediction
from vitrina.classifier.calibrate import softmax
from vitrina.classifier.fusion import VOTE
from vitrina.data.split import split_rows
from vitrina.errors import TrainingError
from vitrina.pipelines.common.store_split import StoreSplit
from vitrina.pipelines.train.base_models import Ensemble, NeighbourVoter, present_of
from vitrina.pipelines.train.options import TrainOptions
from vitrina.pipelines.train.trainer import HeadTrainer
from vitrina.store.gather import Gathered
from vitrina.store.products import Categories
from vitrina.types import (
    Balance,
    Codes,
    Features,
    Floats,
    FusionKind,
    HeadKind,
    Mask,
    Modality,
    SplitKind,
)

Array = npt.NDArray[Any]
MODALITIES = {1: Features.TEXT, 2: Features.FUSED}
BLOCK_ROWS = 8192


class FusionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Scikit-learn classifier with the heads of `vitrina train`, for concatenated vectors.

    Parameters
    ----------
    head : {'logistic', 'mlp'}, default 'mlp'
        Classifier: logistic regression or MLP.
    blocks : sequence of int, optional
        Numbers of columns of one or two blocks, such as (312, 512) for text and image vectors;
        default: one block of all columns. With two blocks, a row whose block is all zeros lacks
        that modality, and is predicted from the other.
    fusion : {'early', 'late', 'knn', 'stack'}, default 'early'
        early: one head over all blocks; late: one head per block; knn: the early head and the
        neighbours' vote; stack: all of these.
    compare : bool, default False
        Evaluate every fusion and use the best one, or a simpler one that is not significantly
        worse.
    precision : float, default 0.95
        Target precision of the predictions that `decide` accepts.
    balance : {'none', 'weights', 'prior'}, default 'none'
        Handling of class imbalance.
    epochs : int, optional
        Epochs; default: chosen by the number of rows.
    refit : bool, default True
        After the evaluation, fit the heads on all rows, validation rows included.
    random_state : int, optional, default 0
        Random seed of the split and of training.

    Attributes
    ----------
    classes_ : ndarray of shape (c,)
        Labels, sorted.
    n_features_in_ : int
        Columns of X.
    fusion_ : str
        The fusion that was chosen.
    validation_ : Metrics
        Metrics on held-out rows; see `docs/topics/predictions.md`.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.repeat(["a", "b"], 20)
    >>> X = np.where(y[:, None] == "a", 1.0, -1.0) + np.linspace(0, 0.1, 80).reshape(40, 2)
    >>> vt.FusionClassifier("logistic", epochs=5).fit(X, y).predict(X[:1])
    array(['a'], dtype='<U1')
    """

    def __init__(
        self,
        head: Literal["logistic", "mlp"] = "mlp",
        *,
        blocks: Sequence[int] | None = None,
        fusion: Literal["early", "late", "knn", "stack"] = "early",
        compare: bool = False,
        precision: float = 0.95,
        balance: Literal["none", "weights", "prior"] = "none",
        epochs: int | None = None,
        refit: bool = True,
        random_state: int | None = 0,
    ) -> None:
        self.head = head
        self.blocks = blocks
        self.fusion = fusion
        self.compare = compare
        self.precision = precision
        self.balance = balance
        self.epochs = epochs
        self.refit = refit
        self.random_state = random_state

    def fit(
        self,
        X: Array,
        y: Array,
        groups: Array | None = None,
        names: Sequence[str] | None = None,
    ) -> FusionClassifier:
        """Train on X, (n, d) float, and its labels y, (n,).

        groups: (n,), rows of one group (duplicates) stay on one side of the split. names: a path
        like "a->b->c" for each of the sorted labels, along which `decide` backs off. Raises
        ValueError if arrays do not fit, or there are too few rows or classes to train on.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        codes = codes.astype(np.int64)
        seed = int(check_random_state(self.random_state).randint(1 << 31))
        if names is not None and len(names) != len(self.classes_):
            raise ValueError(f"{len(names)} names, but {len(self.classes_)} classes")
        if len(self.classes_) < 2:
            raise ValueError(f"there must be two classes or more, not {len(self.classes_)} class")
        self._set_blocks(X)
        gathered = self._gathered(X)
        rows = len(X)
        kind = SplitKind.STRATIFIED if groups is None else SplitKind.GROUPED
        group_codes = np.arange(rows)
        if groups is not None:
            if len(groups) != rows:
                raise ValueError(f"{len(groups)} groups, but {rows} rows")
            group_codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        known = np.where(gathered.any_present(), codes, -1)
        try:
            split = split_rows(known, group_codes, kind, seed=seed)
            trainer = HeadTrainer(
                gathered=gathered,
                codes=known,
                labels=Categories(
                    tuple(self.classes_.tolist()),
                    codes,
                    tuple(names or [""] * len(self.classes_)),
                ),
                store_split=StoreSplit(split, group_codes, np.arange(rows, dtype=np.uint64)),
                split=split,
                features=self.features_,
                options=TrainOptions(
                    head=HeadKind(self.head),
                    fusion=FusionKind(self.fusion),
                    compare=self.compare,
                    precision=self.precision,
                    balance=Balance(self.balance),
                    refit=self.refit,
                    epochs=self.epochs,
                    seed=seed,
                    quiet=True,
                ),
                seen=np.zeros(rows, dtype=bool),
            )
            trainer.fit()
        except TrainingError as err:
            raise ValueError(str(err)) from err
        result = trainer.evaluation
        self.fusion_ = result.kind.value
        self.validation_ = result.metrics
        self._blend, self._back_off = result.blend, result.back_off
        voting = VOTE in result.blend.members
        # The training rows are searched at every prediction.
        voters = gathered if voting else self._gathered(X[:0])
        # In float64 a row's prediction does not depend on the other rows of its batch.
        self._ensemble = Ensemble(
            {name: head.double() for name, head in trainer.served.items()},
            NeighbourVoter(
                voters,
                known,
                np.flatnonzero(known >= 0),
                len(self.classes_),
                trainer.whitened,
            ),
            trainer.rule if voting else None,
        )
        return self

    def predict_proba(self, X: Array) -> npt.NDArray[np.float64]:
        """Calibrated probabilities of X, (n, d): (n, classes) float64, each row sums to 1."""
        found = self._shares(X).astype(np.float64)
        found /= found.sum(axis=1, keepdims=True)
        return found

    def predict(self, X: Array) -> Array:
        """The likeliest label of each row of X, (n, d): (n,)."""
        shares = self._shares(X)
        labels: Array = self.classes_[shares.argmax(axis=1)]
        return labels

    def decide(self, X: Array) -> HierarchicalPrediction:
        """Predict X, (n, d), and accept what reaches the target precision: `steps` is 0 if the
        label itself is accepted, counts up to the accepted ancestor, and is -1 for neither."""
        shares = self._shares(X)
        return self._back_off.decide(shares)

    def _shares(self, X: Array) -> Floats:
        check_is_fitted(self, "classes_")
        X = validate_data(self, X, dtype=np.float32, reset=False)
        out = np.empty((len(X), len(self.classes_)), dtype=np.float32)
        for start in range(0, len(X), BLOCK_ROWS):
            block = self._gathered(X[start : start + BLOCK_ROWS])
            rows: Codes = np.arange(len(block.present[0]))
            scores = self._ensemble.scores(block, rows)
            logits = self._blend.logits(scores, present_of(block, rows))
            out[start : start + BLOCK_ROWS] = softmax(logits, 1.0)
        return out

    def _set_blocks(self, X: Array) -> None:
        lengths = tuple(self.blocks) if self.blocks is not None else (X.shape[1],)
        if len(lengths) not in MODALITIES or min(lengths) < 1 or sum(lengths) != X.shape[1]:
            raise ValueError(
                f"blocks must be one or two lengths that sum to the {X.shape[1]} columns, "
                f"not {lengths}"
            )
        self.features_ = MODALITIES[len(lengths)]
        self._stops = np.cumsum(lengths)[:-1]
        # Heads expect vectors of length 1; one factor per block keeps their relative lengths.
        self._factors = []
        for block in np.split(X, self._stops, axis=1):
            lengths_of = np.linalg.norm(block, axis=1)
            there = lengths_of[lengths_of > 0]
            mean = float(np.sqrt((there.astype(np.float64) ** 2).mean())) if len(there) else 1.0
            self._factors.append(np.float32(1 / mean))

    def _gathered(self, X: Array) -> Gathered:
        modalities: tuple[Modality, ...] = self.features_.modalities
        parts = np.split(X, self._stops, axis=1)
        vectors = tuple(
            np.ascontiguousarray(part * factor)
            for part, factor in zip(parts, self._factors, strict=True)
        )
        present: tuple[Mask, ...] = tuple(np.asarray(part.any(axis=1)) for part in parts)
        if len(parts) == 1:
            # A single block counts as present, even if it is all zeros.
            present = (np.ones(len(X), dtype=bool),)
        return Gathered(modalities, vectors, present)
