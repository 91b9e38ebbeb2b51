"""Heads and votes over a store's text spaces, with whitening and without: grouped splits by seeds.

    vitrina embed uhtt.parquet --store STORE --text-model lexical --image-model none
    vitrina embed uhtt.parquet --store STORE --text-model path/to/e5 --image-model none
    python benchmarks/whitening.py STORE --heads text-lexical text-e5 text-e5+text-lexical

A name with a plus is one head over two spaces side by side, each whitened by itself. Weighted F1
on the validation rows of the grouped split of each seed, and on the same rows the vote of the
nearest training rows by cosine, of vectors as they are and whitened; its rule is chosen on a
grouped fifth of the training rows. Nothing is chosen on the rows that judge. Prints a line for each
run as it comes, and a Markdown table at the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peers.machine import machine
from sklearn.metrics import f1_score

from vitrina import whitening
from vitrina.classifier.fit import FitOptions, fit_head
from vitrina.classifier.minibatch import predict
from vitrina.index.vote import DEFAULT_RULE, VOTERS, rules_to_try, vote
from vitrina.pipelines.common.store_split import split_store
from vitrina.store.gather import Gathered, gather
from vitrina.store.store import OpenStore
from vitrina.types import HeadKind, Modality, SplitKind
from vitrina.whitening import Whitening

NARROW = whitening.NARROW
SLOTS = (Modality.TEXT, Modality.IMAGE)
"""Two blocks of one head; that they are of two modalities is all that a head knows of them."""


def weighted_f1(true: np.ndarray, chosen: np.ndarray) -> float:
    """Weighted F1, in four digits."""
    return round(float(f1_score(true, chosen, average="weighted", zero_division=0)), 4)


def head_score(
    parts: list[np.ndarray], codes: np.ndarray, train: np.ndarray, held: np.ndarray, kind: str,
    seed: int, whitened: bool,
) -> float:  # fmt: skip
    """Weighted F1 of a head over some blocks, each (n, dim)."""
    whitening.NARROW = NARROW if whitened else 2.0
    there = np.ones(len(codes), dtype=bool)
    gathered = Gathered(SLOTS[: len(parts)], tuple(parts), (there,) * len(parts))
    options = FitOptions(HeadKind(kind), seed=seed)
    head = fit_head(gathered, codes, train, int(codes.max()) + 1, options)
    whitening.NARROW = NARROW
    return weighted_f1(codes[held], predict(head, gathered, held).argmax(axis=1))


def vote_score(
    parts: list[np.ndarray], codes: np.ndarray, groups: np.ndarray, train: np.ndarray,
    held: np.ndarray, seed: int, whitened: bool,
) -> float:  # fmt: skip
    """Weighted F1 of the vote of the nearest training rows."""
    vectors = np.hstack([_unit(_whitened(one, train) if whitened else one) for one in parts])
    classes = int(codes.max()) + 1
    side = np.random.default_rng(seed).random(int(groups.max()) + 1) < 0.2
    inner, outer = train[~side[groups[train]]], train[side[groups[train]]]
    near = _nearest(_unit(vectors), inner, outer)
    cast = _voters(codes, inner, classes)
    rules = (DEFAULT_RULE, *rules_to_try(near[0].shape[1]))
    best = max(rules, key=lambda rule: weighted_f1(codes[outer], cast(near, rule)))
    near = _nearest(_unit(vectors), train, held)
    return weighted_f1(codes[held], _voters(codes, train, classes)(near, best))


def _voters(codes: np.ndarray, rows: np.ndarray, classes: int) -> Callable:
    counts = np.bincount(codes[rows], minlength=classes)

    def cast(near: tuple[np.ndarray, np.ndarray], rule: object) -> np.ndarray:
        labels, scores = codes[near[0]], near[1]
        return vote(labels, scores, classes=classes, rule=rule, counts=counts).codes

    return cast


def _nearest(vectors: np.ndarray, rows: np.ndarray, queries: np.ndarray) -> tuple:
    most = min(max(VOTERS), len(rows))
    found, near = [], []
    for start in range(0, len(queries), 1024):
        scores = vectors[queries[start : start + 1024]] @ vectors[rows].T
        at = np.argpartition(-scores, most - 1, axis=1)[:, :most]
        some = np.take_along_axis(scores, at, axis=1)
        order = np.argsort(-some, axis=1, kind="stable")
        found.append(rows[np.take_along_axis(at, order, axis=1)])
        near.append(np.take_along_axis(some, order, axis=1))
    return np.concatenate(found), np.concatenate(near).astype(np.float32)


def _whitened(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    found = Whitening.fit(vectors, rows)
    return vectors if found is None else (vectors - found.centre) @ found.factor


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-9)


def main() -> None:
    """Run every head and vote, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--heads", nargs="+", required=True, help="spaces, or two with a plus")
    parser.add_argument("--kind", choices=[*map(str, HeadKind)], default="mlp")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", choices=("head", "vote"))
    parser.add_argument("--whitened", action="store_true", help="leave out the others")
    given = parser.parse_args()
    store = OpenStore.open(given.store)
    labels = store.labels()
    names = {name for one in given.heads for name in one.split("+")}
    vectors = {
        name: np.asarray(
            gather(store.products, [store.open_space(name)]).vectors[0], dtype=np.float32
        )
        for name in names
    }
    scores: dict[tuple[str, str, bool], list[float]] = {}
    for seed in given.seeds:
        split = split_store(store.products, labels.codes, SplitKind.GROUPED, seed)
        train, held = split.split.train, split.split.validation
        for name in given.heads:
            parts = [vectors[one] for one in name.split("+")]
            # Spaces that lie in no cone give the same with whitening: they are run once.
            cones = any(Whitening.fit(one, train) is not None for one in parts)
            for whitened in ((True,) if given.whitened else (False, True)) if cones else (False,):
                row = {"over": name, "whitened": whitened, "seed": seed, "rows": len(held)}
                if given.only != "vote":
                    row["head"] = head_score(
                        parts, labels.codes, train, held, given.kind, seed, whitened
                    )
                if given.only != "head":
                    row["vote"] = vote_score(
                        parts, labels.codes, split.groups, train, held, seed, whitened
                    )
                for what in ("head", "vote"):
                    if what in row:
                        scores.setdefault((name, what, whitened), []).append(row[what])
                print(json.dumps(row), flush=True)
    print(f"\n{json.dumps(machine())}, seeds {given.seeds}, {given.kind} heads\n")
    print("| over | | as they are, mean (seeds) | whitened, mean (seeds) |")
    print("|---|---|---|---|")
    for name, what in dict.fromkeys((name, what) for name, what, _ in scores):
        shown = []
        for whitened in (False, True):
            every = scores.get((name, what, whitened), [])
            told = ", ".join(f"{one:.4f}" for one in every)
            shown.append(f"{statistics.mean(every):.4f} ({told})" if every else "the same")
        print(f"| {name} | {what} | {shown[0]} | {shown[1]} |")


if __name__ == "__main__":
    main()
