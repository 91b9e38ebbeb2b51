"""Fine-tuning a text encoder on a CPU: Vitrina beside a plain transformers.Trainer.

    python benchmarks/finetuning.py --work build/bench/finetuning --model DIR --store PATH

Both begin with the same weights (--model: a directory; with --from-scratch random ones of its
shape), learn the same products of a store in the same batches with the same schedule, label
smoothing and learning rate, and are measured on the same validation products.

The Trainer is used as its documentation shows: a collator pads each batch to its longest text, and
AdamW steps all parameters. It computes in float32; --bf16 has it run once more with bf16=True.
Vitrina computes in what it finds quicker on the machine. Each runs in a process of its own, one
after the other. Prints Markdown, and writes WORK/finetuning.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from peers.contestants import Contestant
from peers.machine import machine

HERE = Path(__file__).resolve().parent
ENVIRONMENT = ".venv-trainer"
THEIRS = HERE.parent / ENVIRONMENT / "bin" / "python"


def prepare(given: argparse.Namespace, folder: Path) -> dict:
    """Tokens, labels and the order of batches, as both take them."""
    import torch

    import vitrina as vt
    from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
    from vitrina.pipelines.common.store_split import split_store
    from vitrina.pipelines.finetune.encoder_files import text_tokens
    from vitrina.types import SplitKind

    store = vt.Store.open(given.store, create=False)
    shape = TextShape(given.from_scratch, given.lower_case or None, given.max_length)
    network = TrainableText(given.model, str(given.model), shape, seed=given.seed)
    network.save(folder / "start")
    tokens = text_tokens(store.products, network.tokenize)
    codes = store.products.categories().codes
    split = split_store(store.products, codes, SplitKind.GROUPED, given.seed).split
    rng = np.random.default_rng(given.seed)
    train = rng.permutation(split.train)[: given.rows]
    validation = np.sort(rng.permutation(split.validation)[: given.rows // 4])
    classes = np.unique(codes[train])
    labels = np.searchsorted(classes, codes)
    labels = np.where(np.isin(codes, classes), labels, -1)
    order = np.concatenate([rng.permutation(train) for _ in range(given.epochs)])
    np.savez(
        folder / "data.npz",
        flat=np.asarray(tokens.flat),
        starts=tokens.starts,
        labels=labels,
        order=order,
        validation=validation,
    )
    return {
        "folder": str(folder),
        "classes": len(classes),
        "batch": given.batch,
        "rate": given.rate or 0.1 / network.width,
        "smoothing": 0.1,
        "warm_up": 0.06,
        "weight_decay": 0.01,
        "threads": torch.get_num_threads(),
        "seed": given.seed,
        "bf16": False,
    }


def run(python: Path, module: str, task: dict) -> dict:
    """One contestant in its process."""
    path = Path(task["folder"]) / "task.json"
    path.write_text(json.dumps(task))
    out = Path(task["folder"]) / f"{module}.json"
    out.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": str(task["threads"]),
    }
    subprocess.run(
        [str(python), "-m", f"peers.{module}", str(path), str(out)],
        cwd=HERE,
        env=environment,
        check=True,
    )
    return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000, help="products to learn from")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, help="default: 0.1 / width")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--from-scratch", action="store_true", help="begin with random weights")
    parser.add_argument("--lower-case", action="store_true", help="read texts in lower case")
    parser.add_argument("--bf16", action="store_true", help="the Trainer in bfloat16 too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", type=Path, default=THEIRS)
    given = parser.parse_args()
    given.work, given.model, given.peers = (
        given.work.absolute(),
        given.model.absolute(),
        given.peers.absolute(),
    )
    given.work.mkdir(parents=True, exist_ok=True)
    task = prepare(given, given.work)
    runs = [
        ("Vitrina", Path(sys.executable), "worker_finetune", task),
        ("transformers.Trainer", given.peers, "worker_trainer", task),
    ]
    if given.bf16:
        runs.append(("the same, bf16=True", given.peers, "worker_trainer", {**task, "bf16": True}))
    results = {}
    for name, python, module, told in runs:
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        missing = Contestant(name, "peer", "", python=python, environment=ENVIRONMENT).missing
        results[name] = {"left_out": missing} if missing else run(python, module, told)
    about = {"machine": machine(), "task": task, "rows": given.rows, "epochs": given.epochs}
    (given.work / "finetuning.json").write_text(json.dumps({**about, "results": results}, indent=1))
    print(f"\n{json.dumps(about['machine'])}; {given.rows:,} products, {given.epochs} epochs\n")
    print("| | products/s | seconds | weighted F1 | macro F1 |")
    print("|---|---:|---:|---:|---:|")
    for name, one in results.items():
        if "left_out" in one:
            print(f"| {name} | left out: {one['left_out']} | | | |")
            continue
        print(
            f"| {name} | {one['per_second']:,.0f} | {one['seconds']:,.0f} | "
            f"{one['weighted_f1']:.4f} | {one['macro_f1']:.4f} |"
        )


if __name__ == "__main__":
    main()
