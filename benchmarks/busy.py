"""Jobs beside busy processes: how much longer they take where other work runs on the same CPUs.

    python benchmarks/busy.py --work build/bench/busy
    python benchmarks/busy.py --work build/bench/busy --busy 0 --rounds 5 --against ../before

Every job runs beside 0, 2 and 4 processes for each two CPUs, which loop for ever. A job that uses
all CPUs gets its fair share if it takes twice and three times as long as alone; a job of one thread
takes less. `--against` gives another checkout, whose runs alternate with this one's: the ratio of
their best times tells whether it became slower. The machine should be idle: the load before each
run is printed. Prints a Markdown table and writes it to WORK/busy.md. Six minutes on two idle CPUs.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from peers.models import write_rubert

HERE = Path(__file__).resolve().parent
PRODUCTS = 300
FIT = """
import numpy as np
import vitrina as vt
rng = np.random.default_rng(0)
y = np.arange(300) % 6
X = rng.normal(size=(300, 24)).astype(np.float32)
X[np.arange(300), y] += 2
vt.FusionClassifier().fit(X, y)
"""


@dataclass(frozen=True)
class Run:
    """Seconds of one run. load: average of the machine over the minute before it."""

    wall: float
    cpu: float
    load: float


def main() -> None:
    """Run every job beside every number of busy processes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--busy", default="0,2,4", help="busy processes for each two CPUs")
    parser.add_argument("--only", help="jobs, with commas between")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a run ends")
    given = parser.parse_args()
    work = given.work.resolve()
    jobs = prepare(work)
    names = given.only.split(",") if given.only else [*jobs]
    trees = [HERE.parent, *([given.against.resolve()] if given.against else [])]
    lines = [
        "| job | version | busy | wall s | CPU s | times as long as alone | load before |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        alone: dict[Path, float] = {}
        for busy in map(int, given.busy.split(",")):
            count = busy * len(os.sched_getaffinity(0)) // 2
            runs: dict[Path, list[Run]] = {tree: [] for tree in trees}
            for _ in range(given.rounds):
                for tree in trees:
                    # Nobody else's work, beside what is asked for.
                    with busy_processes(count):
                        runs[tree].append(run(jobs[name], work, tree, given.limit))
            for tree, found in runs.items():
                wall = median(one.wall for one in found)
                alone.setdefault(tree, wall)
                lines.append(
                    f"| {name} | {'this' if tree == trees[0] else tree.name} | {count} | "
                    f"{wall:.1f} | {median(one.cpu for one in found):.1f} | "
                    f"{wall / alone[tree]:.2f} | {max(one.load for one in found):.1f} |"
                )
                print(lines[-1], file=sys.stderr, flush=True)
    table = "\n".join(lines)
    (work / "busy.md").write_text(table + "\n")
    print(table)


def prepare(work: Path) -> dict[str, list[str]]:
    """Make the stores and the model; the command of each job, by name."""
    work.mkdir(parents=True, exist_ok=True)
    sample, model = work / "sample", work / "model"
    if not (work / "ready").exists():
        shutil.rmtree(sample, ignore_errors=True)
        call("demo", "--products", PRODUCTS, "--out", sample)
        words = [f"слово{at} товар {at % 7}" for at in range(500)]
        write_rubert(model, None, words)
        (work / "ready").touch()
    store, catalogue = sample / "store", sample / "catalogue"
    vitrina = [sys.executable, "-m", "vitrina.cli"]
    jobs = {
        "demo": [*vitrina, "demo", "--products", PRODUCTS, "--out", work / "demo"],
        "classify": [
            *(*vitrina, "classify", catalogue / "test.parquet", "--store", store),
            *("--images", catalogue / "images.zip", "--out", work / "predictions.parquet"),
        ],
        "train": [*vitrina, "train", store, "--head", "mlp"],
        "finetune": [
            *(*vitrina, "finetune", store, "--modality", "text", "--model", model),
            *("--from-scratch", "--epochs", "3", "--out", "tuned"),
        ],
        "fit": [sys.executable, "-c", FIT],
    }
    return {name: [str(word) for word in command] for name, command in jobs.items()}


def call(*words: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "vitrina.cli", *map(str, words)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        stdout=subprocess.DEVNULL,
    )


def run(command: list[str], work: Path, tree: Path, limit: float) -> Run:
    """Run one job of a checkout; its seconds, or those up to the limit."""
    shutil.rmtree(work / "demo", ignore_errors=True)
    shutil.rmtree(work / "sample" / "store" / "models" / "tuned", ignore_errors=True)
    before, load = resource.getrusage(resource.RUSAGE_CHILDREN), os.getloadavg()[0]
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    started = time.monotonic()
    with (work / "log").open("w") as log:
        child = subprocess.Popen(
            command, cwd=work, env={**env, "PYTHONPATH": str(tree)}, stdout=log, stderr=log
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait() and 0
    wall = time.monotonic() - started
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}; see {work / 'log'}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, load)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep `count` processes busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    main()
