"""MLP heads over a store's spaces, by width, dropout of inputs and number of training rows.

    vitrina embed uhtt.parquet --store STORE --text-model lexical --image-model none
    vitrina embed uhtt.parquet --store STORE --text-model path/to/e5 --image-model none
    python benchmarks/mlp_heads.py STORE --over text-e5 text-lexical --rows 2000 0 \\
        --recipes 512:0.1 512:0.4 1024:0.4 default

A recipe is the hidden width and the dropout of the inputs; `default` is what `train` does. Weighted
and macro F1, and log-loss of uncalibrated probabilities, on the validation rows of the grouped
split of each seed; rows: training rows, drawn at random, 0 for all. Nothing is chosen on the rows
that judge but by whoever reads the table. Prints a line for each run, and a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from peers.machine import machine
from sklearn.metrics import f1_score

from vitrina.classifier.calibrate import softmax
from vitrina.classifier.fit import FitOptions, fit_head
from vitrina.classifier.minibatch import predict
from vitrina.pipelines.common.store_split import split_store
from vitrina.store.gather import gather
from vitrina.store.store import OpenStore
from vitrina.types import HeadKind, SplitKind

DEFAULT = "default"


def options_of(recipe: str, seed: int) -> FitOptions:
    """The training options of a recipe."""
    if recipe == DEFAULT:
        return FitOptions(HeadKind.MLP, seed=seed)
    hidden, dropout = recipe.split(":")
    return FitOptions(HeadKind.MLP, hidden=int(hidden), input_dropout=float(dropout), seed=seed)


def main() -> None:
    """Run every recipe, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--over", nargs="+", required=True, help="spaces, or two with a plus")
    parser.add_argument("--rows", type=int, nargs="+", default=[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--recipes", nargs="+", default=["512:0.1", DEFAULT])
    given = parser.parse_args()
    store = OpenStore.open(given.store)
    codes = store.labels().codes
    classes = int(codes.max()) + 1
    found: dict[tuple[str, int, str], list[dict]] = {}
    for seed in given.seeds:
        split = split_store(store.products, codes, SplitKind.GROUPED, seed).split
        for over in given.over:
            gathered = gather(store.products, [store.open_space(name) for name in over.split("+")])
            for rows in given.rows:
                drawn = np.random.default_rng(seed).permutation(split.train)
                train = np.sort(drawn[: rows or len(drawn)])
                for recipe in given.recipes:
                    started = time.process_time()
                    head = fit_head(gathered, codes, train, classes, options_of(recipe, seed))
                    seconds = time.process_time() - started
                    shares = softmax(predict(head, gathered, split.validation), 1.0)
                    true, chosen = codes[split.validation], shares.argmax(axis=1)
                    own = np.maximum(shares[np.arange(len(true)), true], 1e-12)
                    line = {
                        "over": over,
                        "rows": len(train),
                        "recipe": recipe,
                        "seed": seed,
                        "weighted": f1_score(true, chosen, average="weighted", zero_division=0),
                        "macro": f1_score(true, chosen, average="macro", zero_division=0),
                        "log_loss": float(-np.log(own).mean()),
                        "cpu_seconds": seconds,
                    }
                    print(json.dumps(line), flush=True)
                    found.setdefault((over, len(train), recipe), []).append(line)
    print(f"\n{json.dumps(machine())}, seeds {given.seeds}\n")
    print("| over | training rows | width:dropout | weighted F1 | macro F1 | log-loss | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for (over, rows, recipe), runs in found.items():
        names = ("weighted", "macro", "log_loss", "cpu_seconds")
        means = [statistics.mean(one[name] for one in runs) for name in names]
        print(
            f"| {over} | {rows:,} | {recipe} | {means[0]:.4f} | {means[1]:.4f} | {means[2]:.3f} | "
            f"{means[3]:.0f} |"
        )


if __name__ == "__main__":
    main()
