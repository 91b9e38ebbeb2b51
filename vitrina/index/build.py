"""Builds an index: chooses its kind, learns, fills, tunes on queries held out of it, measures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vitrina.errors import StoreError
from vitrina.index.card import Goal
from vitrina.index.choose import IndexPlan, plans
from vitrina.index.engine import Engine, sample_rows
from vitrina.index.entries import Entries
from vitrina.index.fuse import read_fused
from vitrina.index.recall_probe import QUERIES, Probe, Recall
from vitrina.index.results import Effort
from vitrina.index.score import rows_known
from vitrina.index.search import VectorIndex
from vitrina.index.tune import measure, speed, tune
from vitrina.malloc import trim
from vitrina.parallel import Progress, map_ahead, unwatched
from vitrina.store.rows import Rows
from vitrina.types import Codes, IndexKind, Vectors

BLOCK_ROWS = 8192
HELD_SHARE = 20
"""At most one row in so many is held out to tune on."""


@dataclass(frozen=True, eq=False)
class Built:
    """An index in memory, and how it came to be. entries: its rows in its order. probe: None
    for an exact one. tried: each index that was built for comparison, the one kept among them."""

    index: VectorIndex
    entries: Entries
    probe: Probe | None
    recall: Recall
    queries_per_second: float
    seconds: float
    tried: tuple[dict[str, Any], ...] = field(default=())


def build(
    rows: Rows,
    entries: Entries,
    goal: Goal,
    *,
    weights: Sequence[float],
    seed: int = 0,
    progress: Progress = unwatched,
) -> Built:
    """Build the fastest index that reaches a goal.

    Args:
        rows: of every product, in any order.
        entries: the same rows, for what the index keeps of them.
        goal: what is asked of it.
        weights: one positive number per modality of `rows`.
        seed: decides which rows are learnt from, held out, and how lists begin.
        progress: told how many rows were added.

    Rows without any vector are left out. Raises StoreError if that leaves none or nothing fits
    the memory, and ValueError if `entries` or `weights` don't fit `rows`, or FAISS refuses the
    factory string.
    """
    if len(entries) != len(rows):
        raise ValueError(f"{len(entries)} entries for {len(rows)} rows")
    started = time.perf_counter()
    known = rows_known(rows, weights)
    if not len(known):
        names = " or ".join(rows.modalities)
        raise StoreError(f"no product has a {names} vector to index; run `vitrina embed` first")
    todo = plans(len(known), rows.dim, memory=goal.memory, recall=goal.recall, factory=goal.factory)
    exact = todo[0].kind is IndexKind.FLAT
    held = 0 if exact else min(QUERIES, len(known) // HELD_SHARE)
    order = np.random.default_rng(seed).permutation(len(known))
    # Those held out stand last: they are added once everything is measured.
    known = np.concatenate([np.sort(known[order[held:]]), np.sort(known[order[:held]])])
    rows, entries = rows.take(known), entries.take(known)
    base = np.arange(len(known) - held)
    asked = np.arange(len(base), len(known))
    if exact:
        # Nothing is learnt or tuned, so a query may be a row of the index; it is not its own
        # neighbour.
        asked = np.sort(order[:QUERIES])
    probe = Probe.ask(rows, weights, base, asked, seed)
    probe = probe.placed(asked) if exact else probe
    best: Built | None = None
    tried = []

    def part(done: int) -> None:
        progress(done // len(todo))

    for plan in todo:
        built = _try(plan, rows, entries, goal, probe, base, weights, seed, part)
        tried.append(_line(plan, built))
        if best is None or _rank(built, goal) > _rank(best, goal):
            best = built
        trim()
    assert best is not None
    if held:
        best.index.engine.extend(blocks(rows, asked, weights))
        probe = probe.placed(asked).with_rows(rows, weights, asked)
    return Built(
        best.index,
        entries,
        None if exact else probe,
        best.recall,
        best.queries_per_second,
        time.perf_counter() - started,
        tuple(tried),
    )


def _try(
    plan: IndexPlan,
    rows: Rows,
    entries: Entries,
    goal: Goal,
    probe: Probe,
    base: Codes,
    weights: Sequence[float],
    seed: int,
    progress: Progress,
) -> Built:
    started = time.perf_counter()
    size = sample_rows(len(base), rows.dim, plan.factory)
    chosen = np.sort(np.random.default_rng(seed).choice(base, size, replace=False))
    sample = read_fused(rows, chosen, weights)
    engine = Engine.learn(plan.factory, rows.dim, sample, seed)
    del sample
    engine.fill(blocks(rows, base, weights, progress))
    dead = np.zeros(len(rows), dtype=bool)
    # While rows are held out, they are no part of the index.
    dead[len(base) :] = True
    index = VectorIndex(engine, rows, entries.ids, dead, tuple(weights), Effort(1, 1), {}, "memory")
    seconds = time.perf_counter() - started
    index = index.with_effort(tune(index, probe, goal.recall))
    recall, _ = measure(index, probe)
    rate = speed(index, probe.half(tuning=False))
    everything = replace(index, dead=np.zeros(len(rows), dtype=bool))
    return Built(everything, entries, probe, recall, rate, seconds)


def blocks(
    rows: Rows, at: Codes, weights: Sequence[float], progress: Progress = unwatched
) -> Iterator[Vectors]:
    """The fused vectors of some rows, (n, dim) float32 each, the next read while the last is
    used."""
    starts = range(0, len(at), BLOCK_ROWS)

    def read(start: int) -> Vectors:
        return read_fused(rows, at[start : start + BLOCK_ROWS], weights)

    for block in map_ahead(read, starts, 2):
        yield block
        progress(len(block))


def _rank(built: Built, goal: Goal) -> tuple[bool, float]:
    """The fastest of those that reach the goal; where none does, the nearest to it."""
    reached = built.recall.high >= goal.recall
    return reached, built.queries_per_second if reached else built.recall.value


def _line(plan: IndexPlan, built: Built) -> dict[str, Any]:
    return {
        "factory": plan.factory,
        "parameters": built.index.effort.to_json(plan.kind),
        "recall": round(built.recall.value, 5),
        "queries_per_second": round(built.queries_per_second),
        "seconds": round(built.seconds, 3),
    }
