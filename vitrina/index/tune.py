"""Search tuning: the fastest effort that reaches a recall goal, with its recall and speed."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from vitrina.index.recall_probe import RECALL_AT, Probe, Recall
from vitrina.index.results import Effort
from vitrina.index.score import score_pairs
from vitrina.index.search import VectorIndex
from vitrina.types import IndexKind

WIDTHS = (16, 20, 24, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 768, 1024)
"""Numbers of candidates to try."""
MARGIN = 2.0
BATCH = 1000
"""Queries timed in one batch."""


def tune(index: VectorIndex, probe: Probe, goal: float) -> Effort:
    """Find the fastest effort that reaches a recall goal on the tuning half of a probe.

    The breadth is doubled until some number of candidates reaches the goal, then bisected. A
    broader search needs fewer candidates, so the least breadth and a few larger ones are timed. The
    goal is raised by `MARGIN` standard errors: an effort that just reaches it on these queries
    would miss it on half of all other query sets. If no effort reaches the goal, the result is the
    maximum effort.
    """
    if index.engine.kind is IndexKind.FLAT:
        return Effort(1, RECALL_AT)
    half = probe.half(tuning=True)
    most = index.engine.most_effort
    if not len(half):
        return Effort(most, WIDTHS[-1])

    def reached(breadth: int) -> Effort | None:
        shares = reach(index, half, breadth)
        for width in WIDTHS:
            own = shares[:, min(width, shares.shape[1]) - 1]
            if own.mean() >= min(1.0, goal + MARGIN * own.std() / np.sqrt(len(own))):
                return Effort(breadth, width)
        return None

    low, high = 0, 1
    found = reached(high)
    while found is None and high < most:
        low, high = high, min(2 * high, most)
        found = reached(high)
    if found is None:
        return Effort(most, WIDTHS[-1])
    # To within a sixteenth: finer steps are below the variation between queries.
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        better = reached(middle)
        if better is None:
            low = middle
        else:
            high, found = middle, better
    tried = {found}
    for factor in (1.25, 1.6, 2.0):
        other = reached(min(most, int(np.ceil(high * factor))))
        tried |= {other} if other else set()
    speeds = {effort: speed(index.with_effort(effort), half, rounds=2) for effort in tried}
    return max(speeds, key=lambda effort: speeds[effort])


def reach(index: VectorIndex, probe: Probe, breadth: int) -> npt.NDArray[np.float64]:
    """The share of each query's true neighbours that a search finds with 1, 2, ... `WIDTHS[-1]`
    candidates from the base: (h, m) float64."""
    base = len(index.engine)
    live = ~index.dead[:base]
    width = min(WIDTHS[-1], base)
    found = index.engine.search(probe.queries, width, breadth, None if live.all() else live)
    found[found == probe.own[:, None]] = -1
    scores = score_pairs(index.rows, probe.queries, found)
    # Rows after the base are searched exactly, so any number of candidates finds them.
    later = np.where(probe.positions >= base, probe.scores, -np.inf)[:, :RECALL_AT]
    whole = np.hstack([later, scores]).astype(np.float32)
    return probe.prefixes(whole)[:, RECALL_AT:]


def measure(index: VectorIndex, probe: Probe) -> tuple[Recall, float]:
    """Measure recall, and queries per second in one batch, on the half of a probe not used for
    tuning."""
    half = probe.half(tuning=False)
    started = time.perf_counter()
    found = index.search_rows(half.queries, RECALL_AT, own=half.own)
    taken = time.perf_counter() - started
    scores = np.where(found.positions >= 0, found.scores, -np.inf).astype(np.float32)
    return Recall.of(half.shares(scores)), len(half) / taken


def speed(index: VectorIndex, probe: Probe, rounds: int = 3) -> float:
    """Queries per second in a batch of about `BATCH` queries; the median over `rounds`."""
    if not len(probe):
        return 0.0
    times = -(-BATCH // len(probe))
    queries = np.tile(probe.queries, (times, 1))
    own = np.tile(probe.own, times)
    taken: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        index.search_rows(queries, RECALL_AT, own=own)
        taken.append(time.perf_counter() - started)
    return len(queries) / sorted(taken)[len(taken) // 2]
