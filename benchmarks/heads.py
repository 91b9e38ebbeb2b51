"""Vitrina's heads beside scikit-learn's LogisticRegression: the same rows, features and split.

    python benchmarks/heads.py --work build/bench/heads
    python benchmarks/heads.py --work build/bench/heads --rows 1000000 --only logistic
    python benchmarks/heads.py --work build/bench/heads --small

Made-up products: a text vector of 312 numbers and an image vector of 512, of length 1 each, side by
side; 874 categories whose sizes fall as in a marketplace (a few thousand rows, down to one). A
fifth is held out. Every contestant is a process of its own, which reads the features from the disk;
its seconds are those of fitting, its peak memory what came above the start, with the features in.

The log-loss is of plain probabilities on held-out rows, before any calibration. Results are kept in
WORK/heads.json as they come, and a run that was stopped goes on from there. Prints a Markdown table
and writes it to WORK/heads.md. `--small` sets the two ways of fitting a logistic head beside each
other on small catalogues.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from peers.machine import machine

DIMS = (312, 512)
CLASSES = 874
BLOCK = 20_000
CONTESTANTS = {
    "logistic": "Vitrina, logistic",
    "mlp": "Vitrina, MLP",
    "sklearn": "scikit-learn, C = 1",
    "sklearn-10": "scikit-learn, C = 10",
}


def main() -> None:
    """Run what has not been run yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=91_250, help="four fifths are trained on")
    parser.add_argument("--only", help="contestants, with commas between")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="all rows at once, or by batches")
    given = parser.parse_args()
    if given.small:
        print(small(given.work))
        return
    folder = given.work / str(given.rows)
    if given.worker:
        print(json.dumps(run(given.worker, folder)))
        return
    make(folder, given.rows)
    path = given.work / "heads.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in (given.only or ",".join(CONTESTANTS)).split(","):
        key = f"{given.rows}/{name}"
        if key not in results:
            print(f"{CONTESTANTS[name]} on {given.rows} rows ...", file=sys.stderr, flush=True)
            argv = [sys.executable, __file__, "--work", given.work, "--rows", given.rows]
            told = subprocess.run(
                [*map(str, argv), "--worker", name], check=True, capture_output=True, text=True
            )
            results[key] = json.loads(told.stdout.splitlines()[-1])
            path.write_text(json.dumps(results, indent=1))
    table = report(results)
    (given.work / "heads.md").write_text(table)
    print(table)


def make(folder: Path, rows: int, classes: int = CLASSES) -> None:
    """Write features, classes and who is trained on, a block at a time."""
    if (folder / "y.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    sizes = 1 / np.arange(1, classes + 1) ** 1.1
    labels = rng.choice(classes, rows, p=sizes / sizes.sum())
    centres = [rng.standard_normal((classes, dim)) for dim in DIMS]
    # Families of categories look alike, and some rows look like another of their family.
    for centre in centres:
        centre += (
            1.5 * rng.standard_normal((classes // 8 + 1, centre.shape[1]))[np.arange(classes) // 8]
        )
    matrix = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (rows, sum(DIMS)))
    for start in range(0, rows, BLOCK):
        some = labels[start : start + BLOCK]
        parts = []
        for centre, dim, noise in zip(centres, DIMS, (2.5, 4.0), strict=True):
            part = centre[some] + noise * rng.standard_normal((len(some), dim))
            parts.append(part / np.linalg.norm(part, axis=1, keepdims=True))
        matrix[start : start + BLOCK] = np.hstack(parts)
    matrix.flush()
    np.save(folder / "held.npy", rng.random(rows) < 0.2)
    wrong = rng.random(rows) < 0.05
    noisy = np.where(wrong, labels // 8 * 8 + rng.integers(8, size=rows), labels)
    np.save(folder / "y.npy", np.minimum(noisy, classes - 1))


def small(work: Path) -> str:
    """A logistic head by L-BFGS on all rows at once beside one by minibatches."""
    from dataclasses import replace

    from vitrina.classifier import fit
    from vitrina.store.gather import Gathered
    from vitrina.types import HeadKind, Modality

    plain = fit.FitOptions(HeadKind.LOGISTIC)
    lines = [
        "| training rows | categories | seconds at once, by batches | log-loss | weighted F1 |",
        "|---|---|---|---|---|",
    ]
    for rows, classes in ((500, 10), (1000, 20), (2000, 10), (2000, 50), (4000, 100)):
        folder = work / f"small-{rows}-{classes}"
        make(folder, rows + 2000, classes)
        matrix, labels = np.load(folder / "x.npy"), np.load(folder / "y.npy")
        there = (np.ones(len(labels), dtype=bool),)
        gathered = Gathered((Modality.TEXT,), (matrix,), there)
        train, judged = np.arange(rows), np.arange(rows, rows + 2000)
        found = []
        fit.AT_ONCE = rows * classes
        for options in (plain, replace(plain, epochs=40)):
            fit.fit_head(gathered, labels, train[:100], classes, options)
            started = time.monotonic()
            head = fit.fit_head(gathered, labels, train, classes, options)
            found.append((time.monotonic() - started, *judge(head, gathered, labels, judged)))
        pairs = zip((2, 4, 4), *found, strict=True)
        shown = (f"{one:.{digits}f}, {other:.{digits}f}" for digits, one, other in pairs)
        lines.append(f"| {rows:,} | {classes} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def judge(head, gathered, labels: np.ndarray, judged: np.ndarray) -> tuple[float, float]:
    """Log-loss and weighted F1 of a head on some rows."""
    from vitrina.classifier.calibrate import softmax
    from vitrina.classifier.minibatch import predict

    return measure(softmax(predict(head, gathered, judged), 1.0), labels[judged])


def measure(shares: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Log-loss and weighted F1 of probabilities."""
    from sklearn.metrics import f1_score

    own = np.maximum(shares[np.arange(len(true)), true], 1e-12)
    f1 = f1_score(true, shares.argmax(axis=1), average="weighted")
    return round(float(-np.log(own).mean()), 4), round(f1, 4)


def run(name: str, folder: Path) -> dict:
    """Fit one contestant and measure it. Imports come before the clock and the memory's start."""
    import torch
    from sklearn.linear_model import LogisticRegression

    from vitrina.classifier.calibrate import softmax
    from vitrina.classifier.fit import FitOptions, fit_head
    from vitrina.classifier.minibatch import predict
    from vitrina.store.gather import Gathered
    from vitrina.types import HeadKind, Modality

    labels, held = np.load(folder / "y.npy"), np.load(folder / "held.npy")
    train, judged = np.flatnonzero(~held), np.flatnonzero(held)
    # The first optimiser has torch import its compiler: 180 MB, whatever it then steps.
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    before = memory("VmRSS")
    if name.startswith("sklearn"):
        features = np.load(folder / "x.npy")[train]
        strength = 10.0 if name.endswith("10") else 1.0
        started = time.monotonic()
        model = LogisticRegression(C=strength, max_iter=1000).fit(features, labels[train])
        seconds, peak = time.monotonic() - started, memory("VmHWM")
        shares = np.full((len(judged), CLASSES), 1e-12)
        matrix = np.load(folder / "x.npy", mmap_mode="r")
        shares[:, model.classes_] = model.predict_proba(np.asarray(matrix[judged]))
        steps = int(model.n_iter_.max())
    else:
        matrix = np.load(folder / "x.npy", mmap_mode="r")
        gathered = Gathered((Modality.TEXT,), (matrix,), (np.ones(len(labels), dtype=bool),))
        started = time.monotonic()
        head = fit_head(gathered, labels, train, CLASSES, FitOptions(kind=HeadKind(name)))
        seconds, peak = time.monotonic() - started, memory("VmHWM")
        shares = softmax(predict(head, gathered, judged), 1.0)
        steps = None
    log_loss, weighted_f1 = measure(shares, labels[judged])
    return {
        "seconds": round(seconds, 1),
        "peak_bytes": peak - before,
        "feature_bytes": len(train) * sum(DIMS) * 4,
        "log_loss": log_loss,
        "weighted_f1": weighted_f1,
        "train_rows": len(train),
        "steps": steps,
        "machine": machine(),
    }


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if name in x)
    return int(line.split()[1]) * 1024


def report(results: dict) -> str:
    """The table."""
    lines = [
        "| contestant | training rows | seconds | peak memory, of the features | log-loss "
        "| weighted F1 |",
        "|---|---|---|---|---|---|",
    ]
    for key, one in results.items():
        name = CONTESTANTS[key.split("/")[1]]
        share = one["peak_bytes"] / one["feature_bytes"]
        lines.append(
            f"| {name} | {one['train_rows']:,} | {one['seconds']:,} | {share:.2f} | "
            f"{one['log_loss']:.4f} | {one['weighted_f1']:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
