"""The audit beside cleanlab, on planted errors: which ranking brings them up.

A share of a catalogue's labels is moved to a confusable category: one of the five whose mean
vectors are nearest, drawn evenly, under the same parent for every other product and under another
one for the rest. Everything then ranks the labels without knowing which were moved: each kind of
evidence alone, cleanlab given the audit's own probabilities, and the audit. Labels that were wrong
before count against all of them alike.

    python benchmarks/audit.py --store STORE
    python benchmarks/audit.py --store STORE --titles

The store is not changed, but for its index, which is built where it is missing. `--titles` plants
nothing, and tells where the titles stand that the catalogue itself gives several categories.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from vitrina.pipelines.audit.options import AuditOptions
from vitrina.pipelines.audit.search import AuditResult, find
from vitrina.pipelines.common.group_keys import duplicate_keys
from vitrina.pipelines.common.vectors import default_features
from vitrina.store.gather import gather
from vitrina.store.products import Categories
from vitrina.store.store import OpenStore
from vitrina.types import Floats, Mask

NEAREST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--titles", action="store_true")
    parser.add_argument("--out", type=Path, help="a Markdown file to write the table to")
    told = parser.parse_args()
    store = OpenStore.open(told.store, create=False)
    if told.titles:
        lines = titles(store)
    else:
        lines = [line for seed in told.seed for line in planted(store, told.share, seed)]
    print("\n".join(lines))
    if told.out:
        told.out.write_text("\n".join(lines) + "\n")


def planted(store: OpenStore, share: float, seed: int) -> Iterator[str]:
    labels = store.labels()
    moved, bad = plant(store, labels, share, seed)
    started = time.monotonic()
    options = AuditOptions(cleanlab=True, seed=seed, quiet=False)
    found = find(store, options, labels=replace(labels, codes=moved))
    seconds = time.monotonic() - started
    yield (
        f"{bad.sum()} of {len(bad)} labels moved, seed {seed}; audited in {seconds:.0f} s; "
        f"{len(found.suspects)} suspects"
    )
    yield ""
    yield f"| ranked by | of them in the top {share:.0%} | average precision |"
    yield "|---|---|---|"
    rows = np.flatnonzero(found.predictions.checked)
    for name, score in rankings(found):
        top = np.argsort(-score[rows], kind="stable")[: bad[rows].sum()]
        caught = bad[rows][top].mean()
        precision = average_precision_score(bad[rows], score[rows])
        yield f"| {name} | {caught:.1%} | {precision:.3f} |"
    yield ""


def plant(store: OpenStore, labels: Categories, share: float, seed: int) -> tuple[np.ndarray, Mask]:
    """Labels with some moved, (n,) int64, and which were: (n,) bool."""
    gathered = gather(store.products, store.spaces(default_features(store)))
    classes = len(labels.ids)
    blocks = []
    for vectors in gathered.vectors:
        sums = np.zeros((classes, vectors.shape[1]))
        known = np.flatnonzero(labels.codes >= 0)
        np.add.at(sums, labels.codes[known], vectors[known])
        blocks.append(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))
    centres = np.concatenate(blocks, axis=1)
    alike = centres @ centres.T
    parents = np.array([name.rpartition("->")[0] for name in labels.names])
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(labels.codes >= 0)
    chosen = rng.permutation(known)[: round(share * len(known))]
    codes = labels.codes.copy()
    for turn, row in enumerate(chosen.tolist()):
        own = labels.codes[row]
        same = parents == parents[own]
        fits = same if turn % 2 == 0 else ~same
        fits[own] = False
        if not fits.any():
            fits = np.arange(classes) != own
        others = np.flatnonzero(fits)
        nearest = others[np.argsort(-alike[own, others], kind="stable")][:NEAREST]
        codes[row] = rng.choice(nearest)
    return codes, codes != labels.codes


def rankings(found: AuditResult) -> Iterator[tuple[str, Floats]]:
    """Each way to rank, with its scores: (n,) of all products, higher is more suspect."""
    from cleanlab.rank import get_label_quality_scores

    heard, codes = found.predictions, found.predictor.codes
    yield "head over all vectors, self-confidence", 1 - heard.model.given
    for modality, said in heard.alone.items():
        yield f"head over {modality} vectors alone, self-confidence", 1 - said.given
    if heard.words is not None:
        yield "linear model of words, self-confidence", 1 - heard.words.given
    yield "neighbours' disagreement", 1 - heard.near.given
    yield "copies that disagree", np.where(np.isfinite(heard.copied), 1 - heard.copied, 0.0)
    rows = np.flatnonzero(heard.checked)
    present, labels = np.unique(codes[rows], return_inverse=True)
    shares = np.asarray(found.predictor.shares)[rows][:, present].astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        score = np.zeros(len(codes))
        score[rows] = 1 - get_label_quality_scores(labels, shares, method=method)
        yield f"cleanlab, the audit's probabilities, {method.replace('_', ' ')}", score
    yield "**the audit**", found.score


def titles(store: OpenStore) -> Iterator[str]:
    labels = store.labels()
    keys = duplicate_keys(store.products)[0]
    found = find(store, AuditOptions(quiet=False))
    rank = np.full(len(keys), len(keys))
    rank[found.order] = np.arange(1, len(found.order) + 1)
    there = np.flatnonzero((keys != 0) & (labels.codes >= 0))
    unique, place = np.unique(keys[there], return_inverse=True)
    pairs = np.unique(np.stack([place, labels.codes[there]]), axis=1)
    conflicting = np.flatnonzero(np.bincount(pairs[0], minlength=len(unique)) > 1)
    best = np.full(len(unique), len(keys))
    np.minimum.at(best, place, rank[there])
    rows = np.isin(place, conflicting).sum()
    suspects = found.suspects
    yield (
        f"{len(conflicting)} titles carry several categories ({rows} products); "
        f"{len(suspects)} of {len(found.order)} labels are suspect"
    )
    yield ""
    yield "| of the ranking | titles with a product in it |"
    yield "|---|---|"
    for most in (100, 300, 1000, len(suspects), 3000):
        caught = int((best[conflicting] <= most).sum())
        what = "the suspects" if most == len(suspects) else f"the first {most:,}"
        yield f"| {what} | {caught} |"


if __name__ == "__main__":
    main()
