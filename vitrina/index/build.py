"""Index building: choose a kind, train, add rows, tune on held-out queries, measure recall."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vitrina.errors import StoreError
from vitrina.index.card import Goal
from vitrina.index.choose import IndexPlan, plans
from vitrina.index.engine import Engine, sample_rows
from vitrina.index.entries import Entries
from vitrina.index.fuse import FusedRows, Fusion
from vitrina.index.recall_probe import QUERIES, Probe, Recall
from vitrina.index.results import Effort
from vitrina.index.score import rows_known
from vitrina.index.search import VectorIndex
from vitrina.index.tune import measure, speed, tune
from vitrina.malloc import trim
from vitrina.parallel import Progress, map_ahead, no_progress
from vitrina.store.rows import Rows
from vitrina.types import Codes, IndexKind, Vectors

BLOCK_ROWS = 8192
HELD_OUT_SHARE = 20
"""At most one row in this many is held out for tuning and measuring."""


@dataclass(frozen=True, eq=False)
class Built:
    """An index in memory with its measurements. entries: its rows, in its order. probe: None for
    an exact index. tried: every index built for comparison, including the one kept."""

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
    fusion: Fusion,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Built:
    """Build the fastest index that reaches a goal.

    Args:
        rows: of every product, in any order.
        entries: ids, content hashes and places of the same rows.
        goal: the requirements.
        fusion: how the vectors of a row become one.
        seed: random seed of the training sample, the held-out rows and the initial centres.
        progress: takes the number of rows added.

    Rows without any vector are left out. Raises StoreError if that leaves none or nothing fits
    the memory, and ValueError if `entries` or `fusion` don't fit `rows`, or FAISS refuses the
    factory string.
    """
    if len(entries) != len(rows):
        raise ValueError(f"{len(entries)} entries for {len(rows)} rows")
    started = time.perf_counter()
    fused = fusion.over(rows)
    known = rows_known(fused)
    if not len(known):
        names = " or ".join(rows.modalities)
        raise StoreError(f"no product has a {names} vector to index; run `vitrina embed` first")
    todo = plans(len(known), rows.dim, memory=goal.memory, recall=goal.recall, factory=goal.factory)
    exact = todo[0].kind is IndexKind.FLAT
    held_out = 0 if exact else min(QUERIES, len(known) // HELD_OUT_SHARE)
    order = np.random.default_rng(seed).permutation(len(known))
    # Held-out rows come last: they are added after all measurements.
    known = np.concatenate([np.sort(known[order[held_out:]]), np.sort(known[order[:held_out]])])
    fused = fused.take(known)
    entries = replace(entries.take(known), lengths=fused.lengths_of)
    base = np.arange(len(known) - held_out)
    query_rows = np.arange(len(base), len(known))
    if exact:
        # Nothing is trained or tuned, so queries may be rows of the index. A query is not its own
        # neighbour.
        query_rows = np.sort(order[:QUERIES])
    probe = Probe.ask(fused, base, query_rows, seed)
    probe = probe.placed(query_rows) if exact else probe
    best: Built | None = None
    tried = []

    def plan_progress(done: int) -> None:
        progress(done // len(todo))

    for plan in todo:
        built = _build_plan(plan, fused, entries, goal, probe, base, seed, plan_progress)
        tried.append(_summary(plan, built))
        if best is None or _rank(built, goal) > _rank(best, goal):
            best = built
        trim()
    assert best is not None
    if held_out:
        best.index.engine.extend(blocks(fused, query_rows))
        probe = probe.placed(query_rows).with_rows(fused, query_rows)
    return Built(
        best.index,
        entries,
        None if exact else probe,
        best.recall,
        best.queries_per_second,
        time.perf_counter() - started,
        tuple(tried),
    )


def _build_plan(
    plan: IndexPlan,
    rows: FusedRows,
    entries: Entries,
    goal: Goal,
    probe: Probe,
    base: Codes,
    seed: int,
    progress: Progress,
) -> Built:
    started = time.perf_counter()
    size = sample_rows(len(base), rows.dim, plan.factory)
    chosen = np.sort(np.random.default_rng(seed).choice(base, size, replace=False))
    sample = rows.read(chosen)
    engine = Engine.train(plan.factory, rows.dim, sample, seed)
    del sample
    engine.fill(blocks(rows, base, progress))
    dead = np.zeros(len(rows), dtype=bool)
    # Held-out rows are not part of the index yet.
    dead[len(base) :] = True
    index = VectorIndex(engine, rows, entries.ids, dead, Effort(1, 1), {}, "memory")
    seconds = time.perf_counter() - started
    index = index.with_effort(tune(index, probe, goal.recall))
    recall, _ = measure(index, probe)
    rate = speed(index, probe.half(tuning=False))
    everything = replace(index, dead=np.zeros(len(rows), dtype=bool))
    return Built(everything, entries, probe, recall, rate, seconds)


def blocks(rows: FusedRows, at: Codes, progress: Progress = no_progress) -> Iterator[Vectors]:
    """Yield the fused vectors of some rows in blocks, (n, dim) float32 each, reading one block
    ahead."""
    starts = range(0, len(at), BLOCK_ROWS)

    def read(start: int) -> Vectors:
        return rows.read(at[start : start + BLOCK_ROWS])

    for block in map_ahead(read, starts, 2):
        yield block
        progress(len(block))


def _rank(built: Built, goal: Goal) -> tuple[bool, float]:
    """Sort key: the fastest index that reaches the goal, or else the one with the best recall."""
    reached = built.recall.high >= goal.recall
    return reached, built.queries_per_second if reached else built.recall.value


def _summary(plan: IndexPlan, built: Built) -> dict[str, Any]:
    return {
        "factory": plan.factory,
        "parameters": built.index.effort.to_json(plan.kind),
        "recall": round(built.recall.value, 5),
        "queries_per_second": round(built.queries_per_second),
        "seconds": round(built.seconds, 3),
    }
