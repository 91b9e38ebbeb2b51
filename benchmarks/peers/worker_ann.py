"""One contestant of `index.py` in a process of its own: build, measure, write what came of it.

    cd benchmarks && python -m peers.worker_ann TASK.json

The task's keys: `kind`, `set` (see `VectorSet`), `truth` (an .npy of each query's exact k-th best
score), `k`, `target` (the recall to reach), `threads`, `scratch` (a folder) and `out` (where the
result goes, as JSON); of Vitrina also `store`, `features` and `options`; of its updates `store`,
`features`, `made` (folder and recipe), `added` (each round's rows, start and stop), `seed` and
`full_seconds`, which the result repeats.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from peers.ann_data import VectorSet, exact_scores, nearest, recall, without_own
from peers.ann_peers import PEERS, Built
from peers.protocol import versions

REPEATS = 3
SINGLE_SECONDS = 5.0
SINGLE_LEAST = 20
"""One by one, queries are asked for that long in each repeat, but so many at least."""
MOST_BYTES = 6e9
MOST_ROWS = 250_000
"""Where float32 vectors would take more, exact search is timed on so many rows and scaled."""


def main() -> None:
    threading.Thread(target=end_with_input, daemon=True).start()
    task = json.loads(Path(sys.argv[1]).read_text())
    if hasattr(os, "sched_setaffinity"):
        # So that those who count cores for themselves find as many as those who are told.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["threads"]])
    try:
        result = run_updates(task) if task["kind"] == "updates" else run(task)
        result["versions"] = versions()
    except Exception as err:
        traceback.print_exc()
        first = (str(err).strip().splitlines() or [""])[0]
        result = {"left_out": f"{type(err).__name__}: {first}"[:300]}
    Path(task["out"]).write_text(json.dumps(result, indent=1) + "\n")


def end_with_input() -> None:
    """End this process when whoever started it is gone."""
    sys.stdin.read()
    os._exit(1)


def run(task: dict) -> dict:
    """Build one index and measure it."""
    whole = VectorSet.from_json(task["set"])
    vectors, build = whole, builder(task)
    exact = task["kind"] in ("exact", "faiss-flat")
    if exact and whole.rows * whole.dim * 4 > MOST_BYTES:
        vectors = replace(whole, rows=min(whole.rows, MOST_ROWS))
    before = memory("VmRSS")
    started = time.perf_counter()
    built = build(vectors)
    seconds = time.perf_counter() - started
    peak = memory("VmHWM")
    say(f"built in {seconds:.1f} s, peak {peak / 1e6:,.0f} MB")
    result = {"build_seconds": seconds, "peak_bytes": peak, "peak_above_bytes": peak - before}
    result |= {"about": built.about, "bytes": size(built, Path(task["scratch"]))}
    queries = vectors.asked()
    if vectors is not whole:
        share = vectors.rows / whole.rows
        result |= timings(built, queries, task["k"], share) | {"scaled_from": vectors.rows}
        return result
    least = np.load(task["truth"])
    return result | measure(task, built, vectors, queries, least)


def builder(task: dict) -> Callable[[VectorSet], Built]:
    """What builds the index, with everything imported that it needs."""
    threads = task["threads"]
    if task["kind"] == "vitrina":
        from peers import ann_vitrina

        place, features, options = Path(task["store"]), task["features"], task["options"]
        return lambda vectors: ann_vitrina.build(place, features, options, vectors, threads)
    library, build = PEERS[task["kind"]]
    module = importlib.import_module(library)
    return lambda vectors: build(module, vectors, threads)


def run_updates(task: dict) -> dict:
    """Rounds of changes to a store that has an index, and what the last one finds."""
    from peers import ann_vitrina
    from peers.vectors import Made, Recipe

    made = Made(Path(task["made"]["folder"]), Recipe(**task["made"]["recipe"]), task["set"]["rows"])
    vectors = VectorSet.from_json(task["set"])
    added = [np.arange(*one) for one in task["added"]]
    place, features = Path(task["store"]), task["features"]
    rounds, there, built = ann_vitrina.update(place, made, added, features, task["seed"], vectors)
    queries = vectors.asked()
    _, scores = nearest(queries, live(vectors, there), task["k"])

    def rows(answer: object) -> np.ndarray:
        found = built.rows(answer)
        return np.where(np.isin(found, there), found, -1)

    measured = measure(task, replace(built, rows=rows), vectors, queries, scores[:, -1])
    told = {"rounds": rounds, "rows": len(there), "full_seconds": task["full_seconds"]}
    return {**told, "about": built.about, **measured}


def live(vectors: VectorSet, there: np.ndarray):
    """The blocks of those rows alone, numbered from 0 on."""
    kept = np.zeros(vectors.rows, dtype=bool)
    kept[there] = True
    count = 0
    for start, block in vectors.blocks():
        part = block[kept[start : start + len(block)]]
        if len(part):
            yield count, part
        count += len(part)


def measure(
    task: dict, built: Built, vectors: VectorSet, queries: np.ndarray, least: np.ndarray
) -> dict:
    """Raise the parameter of searching until the recall is reached, and take the time there.

    least: (q,) the exact k-th best scores.
    """
    k, own = task["k"], vectors.own_rows
    wanted = k + (own is not None)
    tried = []
    for value in built.choices or (None,):
        if value is not None:
            built.choose(value)
        started = time.perf_counter()
        answer = built.search(queries, wanted)
        seconds = time.perf_counter() - started
        found = without_own(built.rows(answer), own, k)
        share = recall(found, exact_scores(vectors, queries, found), least)
        tried.append({"value": value, "recall": share, "per_second": len(queries) / seconds})
        say(f"{'' if value is None else value} recall {share:.4f}, {len(queries) / seconds:,.0f}/s")
        if share >= task["target"]:
            break
    best = max(tried, key=lambda one: one["recall"])
    if best["value"] is not None:
        built.choose(best["value"])
    reached = best["recall"] >= task["target"]
    result = {"recall": best["recall"], "value": best["value"], "reached": reached, "tried": tried}
    return result | timings(built, queries, wanted)


def timings(built: Built, queries: np.ndarray, k: int, share: float = 1.0) -> dict:
    """Medians: all queries in one batch, and one by one. share: of the rows that are there."""
    rates, waits = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        built.search(queries, k)
        rates.append(share * len(queries) / (time.perf_counter() - started))
        started = time.perf_counter()
        for count, _ in enumerate(queries, start=1):
            built.search(queries[count - 1 : count], k)
            passed = time.perf_counter() - started
            if passed > SINGLE_SECONDS and count >= SINGLE_LEAST:
                break
        waits.append(1e3 * passed / count / share)
    say(f"{statistics.median(rates):,.0f}/s in a batch, {statistics.median(waits):.2f} ms alone")
    return {
        "per_second": statistics.median(rates),
        "per_second_rounds": rates,
        "single_ms": statistics.median(waits),
        "single_ms_rounds": waits,
    }


def size(built: Built, scratch: Path) -> int | None:
    """The bytes of the index on disk; None where there is nothing to save."""
    if "bytes" in built.about:
        return built.about["bytes"]
    if built.save is None:
        return None
    path = scratch / "index"
    built.save(path)
    saved = path.stat().st_size
    path.unlink()
    return saved


def memory(name: str) -> int:
    """Bytes of memory by `/proc`: VmRSS now, VmHWM at most.

    `getrusage` would give a process that was started by a larger one the larger one's peak.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def say(text: str) -> None:
    """A line of progress."""
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    main()
