"""Search for wrong labels: rank all labels of a store by suspicion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrina.audit.label_scores import ranking
from vitrina.audit.near_duplicates import Copies, nearness
from vitrina.audit.outliers import centres, likeness, strangeness
from vitrina.data.split import group_rows
from vitrina.disk import nameless_file
from vitrina.errors import TrainingError
from vitrina.ids import id_keys
from vitrina.pipelines.audit.cleanlab_check import Checked, cleanlab, cross_check
from vitrina.pipelines.audit.neighbour_cache import find_neighbours
from vitrina.pipelines.audit.options import AuditOptions
from vitrina.pipelines.audit.out_of_fold import OutOfFoldModel, OutOfFoldPredictor
from vitrina.pipelines.common.group_keys import duplicate_keys
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.common.vectors import default_features
from vitrina.stage_timer import stage
from vitrina.store.decisions import Decisions
from vitrina.store.gather import Gathered, gather
from vitrina.store.products import Categories
from vitrina.store.shards import array_keys
from vitrina.store.store import OpenStore
from vitrina.types import Codes, Floats, Mask, Modality

SUSPECT = 0.5
"""Score above which a label is suspect: another category is likelier than the label by more than
its allowance; see `LabelScores.score`."""
NEAREST = 10
"""Neighbours of each sampled product that estimate the threshold of copies."""
SAMPLED_PAIRS = 200_000
"""Products to sample, about, to estimate the similarity from which two are copies."""


@dataclass(frozen=True, eq=False)
class AuditResult:
    """Result of an audit of n products.

    labels: with decisions applied. predictions: out-of-fold label scores. predictor: their source.
    strange: of each modality, (n,) outlier scores of the products in their categories. settled:
    (n,) bool, decided by a reviewer already. score: (n,) float32, suspicion of the label. order:
    positions of the checked products, the most suspect first. cross: cleanlab's issues, None
    without it.
    """

    labels: Categories
    predictions: OutOfFoldModel
    predictor: OutOfFoldPredictor
    outliers: dict[Modality, Floats]
    settled: Mask
    score: Floats
    order: Codes
    cross: Checked | None

    @property
    def suspects(self) -> Codes:
        """The checked products whose label is probably wrong and was not reviewed yet."""
        return self.order[(self.score[self.order] > SUSPECT) & ~self.settled[self.order]]


def find(
    store: OpenStore,
    options: AuditOptions,
    scratch: Path | None = None,
    labels: Categories | None = None,
) -> AuditResult:
    """Rank all labels of a store by suspicion.

    scratch: a folder for arrays larger than memory; None for the system's. labels: to audit instead
    of the store's; None for the store's.

    Raises StoreError if a space is missing, TrainingError if there are too few labels to train on,
    StoreLockedError if the index is to be built and another process writes.
    """
    if options.cleanlab:
        # Fails now if it is not installed, not after the training.
        cleanlab()
    features = options.features or default_features(store)
    labels, decisions = labels or store.labels(), store.decisions()
    with stage("reading vectors"):
        gathered = gather(store.products, store.spaces(features), scratch)
    codes = np.where(gathered.any_present(), labels.codes, -1)
    if (codes < 0).all():
        raise TrainingError(
            f"{store.place} holds no product with a category and a {features} vector; embed a "
            "catalogue that has a category_id column"
        )
    if len(np.unique(codes[codes >= 0])) < 2:
        raise TrainingError(
            f"an audit needs products of two categories at least, and {store.place} has labelled "
            "ones of one alone; embed a catalogue with more labelled products"
        )
    rows, classes = np.flatnonzero(codes >= 0), len(labels.ids)
    quiet = options.quiet
    with stage("finding neighbours"):
        near = find_neighbours(
            store, features, rows, seed=options.seed, quiet=quiet, scratch=scratch
        )
        keys = duplicate_keys(store.products)
    some = rows[:: max(1, len(rows) // SAMPLED_PAIRS)]
    beside, cosines = near.of(some)
    beside, cosines = beside[:, :NEAREST], cosines[:, :NEAREST]
    there = (beside >= 0) & (codes[beside] >= 0)
    same = (codes[beside] == codes[some][:, None])[there]
    predictor = OutOfFoldPredictor(
        products=store.products,
        gathered=gathered,
        features=features,
        codes=codes,
        classes=classes,
        groups=group_rows(*keys),
        keys=array_keys(store.products.ids),
        near=near,
        copies=Copies.of(keys, nearness(cosines[there], same)),
        folds=options.folds,
        seed=options.seed,
        shares=_whole(len(codes), classes, scratch) if options.cleanlab else None,
    )
    total = predictor.planned()
    title = "judging labels"
    with stage(title), Meter(title, total, quiet=quiet, per_pass=len(rows)) as meter:
        predictions = predictor.predict(meter.advance)
    sizes = np.bincount(codes[rows], minlength=classes)
    score = np.where(predictions.checked, predictions.pooled.score(sizes[codes] - 1), 0).astype(
        np.float32
    )
    checked = np.flatnonzero(predictions.checked)
    order = checked[ranking(score[checked], checked)]
    return AuditResult(
        labels=labels,
        predictions=predictions,
        predictor=predictor,
        outliers=_strange(gathered, codes, classes),
        settled=_settled(store, labels, decisions),
        score=score,
        order=order,
        cross=cross_check(codes, predictor.shares) if predictor.shares is not None else None,
    )


def _whole(rows: int, classes: int, scratch: Path | None) -> Floats:
    """(rows, classes) float32 matrix, mapped from a file without a name."""
    with nameless_file(scratch, rows * classes * 4) as file:
        return np.memmap(file, np.float32, mode="r+", shape=(rows, classes))


def _strange(gathered: Gathered, codes: Codes, classes: int) -> dict[Modality, Floats]:
    out = {}
    for number, modality in enumerate(gathered.modalities):
        rows = np.flatnonzero(gathered.present[number])
        vectors = gathered.vectors[number]
        blocks = [rows[at : at + 4096] for at in range(0, len(rows), 4096)]
        centre = centres(((at, vectors[at]) for at in blocks), codes, classes, vectors.shape[1])
        like = likeness(((at, vectors[at]) for at in blocks), codes, centre)
        out[modality] = strangeness(like, codes, classes)
    return out


def _settled(store: OpenStore, labels: Categories, decisions: Decisions) -> Mask:
    """(n,) bool: products with a decision whose category is still the decided one."""
    settled = np.zeros(len(labels.codes), dtype=bool)
    code_of = {key: code for code, key in enumerate(labels.ids)}
    decided = [*decisions.settled.values()]
    at = store.products.table.positions(id_keys([one.product_id for one in decided]))
    for row, one in zip(at.tolist(), decided, strict=True):
        if row >= 0 and labels.codes[row] == code_of.get(one.category, -1):
            settled[row] = True
    return settled
