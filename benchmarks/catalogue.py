"""The main job on a real catalogue, measured: quality by features, time and memory by step.

    python benchmarks/catalogue.py train.parquet --test test.parquet --images images.zip \
        --text-model DIR --image-model DIR --work /tmp/work

Each step is the command line in a process of its own, so its peak memory is its own. Prints a
Markdown table and writes everything to WORK/report.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def run(*arguments: object) -> tuple[dict[str, Any], float, float]:
    """Run one command; returns what it printed as JSON, its seconds and its peak memory in GB."""
    command = [sys.executable, "-m", "vitrina.cli", *map(str, arguments), "--json"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    # Linux counts ru_maxrss in KiB.
    return json.loads(printed), time.monotonic() - started, usage.ru_maxrss * 1024 / 1e9


def machine() -> str:
    """The processor and how many of it this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("catalogue")
    parser.add_argument("--test")
    parser.add_argument("--images", required=True)
    parser.add_argument("--text-model", default="lexical")
    parser.add_argument("--image-model", default="thumbnail")
    parser.add_argument("--head", default="mlp")
    parser.add_argument("--memory-rows", type=int, help="embed that many rows too, for its memory")
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"machine": machine(), "arguments": vars(given) | {"work": None}}
    models = ["--text-model", given.text_model, "--image-model", given.image_model]
    models += ["--images", given.images]

    steps = []
    if given.memory_rows:
        part = given.work / "train.parquet"
        pq.write_table(pq.read_table(given.catalogue).slice(0, given.memory_rows), part)
        _, seconds, peak = run("embed", part, "--store", given.work / "part", *models)
        steps.append((f"embed {given.memory_rows} rows", seconds, peak))
    store = given.work / "store"
    embedded, seconds, peak = run("embed", given.catalogue, "--store", store, *models)
    report["embed"] = embedded
    steps.append((f"embed {embedded['products']} rows", seconds, peak))
    report["index"], seconds, peak = run("index", store, "--features", "fused")
    steps.append(("index", seconds, peak))
    rows = []
    for features in ("text", "image", "fused"):
        trained, seconds, peak = run("train", store, "--features", features, "--head", given.head)
        report[features] = trained
        rows.append((features, trained["train"], trained["validation"], trained["vote"]))
        steps.append((f"train {features}", seconds, peak))
    if given.test:
        out = given.work / "submission.parquet"
        arguments = ("classify", given.test, "--store", store, "--out", out)
        report["classify"], seconds, peak = run(*arguments, "--format", "submission")
        written = pq.read_table(out)
        steps.append((f"classify {written.num_rows} rows", seconds, peak))
        gaps = written.column("predicted_category_id").null_count
        print(f"{out}: {written.num_rows} rows, {gaps} without a category\n")

    split = report["fused"]["split"]
    print(f"{given.text_model} + {given.image_model}, {given.head} head, {split} split\n")
    print("| features | train F1 | validation F1 (95% interval) | macro F1 | vote F1 |")
    print("|---|---|---|---|---|")
    for features, seen, held, voted in rows:
        low, high = held["weighted_f1_interval"]
        print(
            f"| {features} | {seen['weighted_f1']:.4f} | {held['weighted_f1']:.4f} "
            f"({low:.4f} to {high:.4f}) | {held['macro_f1']:.4f} | {voted['weighted_f1']:.4f} |"
        )
    print(f"\n| step, on {report['machine']} | seconds | peak memory, GB |\n|---|---|---|")
    for name, seconds, peak in steps:
        print(f"| {name} | {seconds:.0f} | {peak:.2f} |")
    report["steps"] = [dict(zip(("step", "seconds", "peak_gb"), one, strict=True)) for one in steps]
    (given.work / "report.json").write_text(json.dumps(report, indent=1, default=str))


if __name__ == "__main__":
    main()
