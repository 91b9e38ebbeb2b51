"""Vitrina's fine-tuning of `finetuning.py`, in a process of its own.

python -m peers.worker_finetune TASK.json OUT.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from vitrina.embedder.finetuning.text_classes import TextClasses
from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.malloc import keep_freed
from vitrina.threads import one_thread_each
from vitrina.training import loop
from vitrina.training.config import TrainingConfig
from vitrina.training.loss import ClassLoss
from vitrina.types import Balance


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    keep_freed()
    folder = Path(task["folder"])
    data = np.load(folder / "data.npz")
    network = TrainableText(folder / "start", "start", TextShape(), seed=task["seed"])
    order, labels, validation = data["order"], data["labels"], data["validation"]
    used = TextClasses(
        network=network,
        tokens=TokenLists(data["flat"], data["starts"]),
        labels=labels,
        classes=task["classes"],
        rows=order,
        held_out=validation[:0],
        loss=ClassLoss.of(labels[order], task["classes"], Balance.NONE, task["smoothing"]),
        score_of=lambda true, predicted: 0.0,  # noqa: ARG005
    )
    recipe = TrainingConfig(
        epochs=1,
        batch_rows=task["batch"],
        rate=task["rate"],
        warm_up=task["warm_up"],
        weight_decay=task["weight_decay"],
        seed=task["seed"],
    )
    optimiser = used.optimiser(recipe, recipe.steps(len(order)))
    started = time.perf_counter()
    # The order is given, so that both see the same batches.
    with one_thread_each():
        for start in range(0, len(order), task["batch"]):
            loop._step(used, optimiser, order[start : start + task["batch"]], recipe)
    seconds = time.perf_counter() - started
    optimiser.finish(optimiser.weights())
    network.finish()
    predicted = used.logits(validation).argmax(axis=1)
    true = labels[validation]
    scores = {
        f"{kind}_f1": float(f1_score(true, predicted, average=kind, zero_division=0))
        for kind in ("weighted", "macro")
    }
    told = {"seconds": seconds, "per_second": len(order) / seconds, **scores}
    Path(sys.argv[2]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
