"""The plain transformers.Trainer of `finetuning.py`, in an environment of its own.

python -m peers.worker_trainer TASK.json OUT.json
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import SequentialSampler
from transformers import (
    AutoModel,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


class Classifier(torch.nn.Module):
    """The encoder, mean pooling, and a linear head of zeros: what Vitrina trains."""

    def __init__(self, folder: Path, classes: int, smoothing: float) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, trust_remote_code=False)
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, classes)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.smoothing = smoothing

    def forward(self, input_ids, attention_mask, labels=None):
        """As Trainer calls it."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        logits = self.head(self.dropout((states * mask).sum(1) / mask.sum(1)))
        if labels is None:
            return {"logits": logits}
        loss = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        return {"loss": loss, "logits": logits}


class Rows(torch.utils.data.Dataset):
    """Token lists with labels, in a given order."""

    def __init__(self, data, order, *, labelled: bool) -> None:
        self.flat, self.starts, self.labels = data["flat"], data["starts"], data["labels"]
        self.order, self.labelled = order, labelled

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, at: int) -> dict:
        row = self.order[at]
        ids = self.flat[self.starts[row] : self.starts[row + 1]].tolist()
        found = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        return {**found, "labels": int(self.labels[row])} if self.labelled else found


class InOrder(Trainer):
    """A Trainer that takes batches as they come."""

    def _get_train_sampler(self, *args):
        return SequentialSampler(args[0] if args else self.train_dataset)


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(task["threads"])
    folder = Path(task["folder"])
    data = dict(np.load(folder / "data.npz").items())
    model = Classifier(folder / "start", task["classes"], task["smoothing"])
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=1,
        per_device_train_batch_size=task["batch"],
        per_device_eval_batch_size=256,
        learning_rate=task["rate"],
        lr_scheduler_type="cosine",
        warmup_steps=task["warm_up"],
        weight_decay=task["weight_decay"],
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        bf16=task["bf16"],
        seed=task["seed"],
    )
    trainer = InOrder(
        model=model,
        args=arguments,
        train_dataset=Rows(data, data["order"], labelled=True),
        data_collator=DataCollatorWithPadding(
            AutoTokenizer.from_pretrained(folder / "start", trust_remote_code=False)
        ),
    )
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    validation = data["validation"]
    logits = trainer.predict(Rows(data, validation, labelled=False)).predictions
    predicted, true = logits.argmax(axis=1), data["labels"][validation]
    told = {"seconds": seconds, "per_second": len(data["order"]) / seconds}
    told |= {f"{kind}_f1": value for kind, value in f1_scores(true, predicted).items()}
    Path(sys.argv[2]).write_text(json.dumps(told))


def f1_scores(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Weighted and macro F1 as scikit-learn has them."""
    present = np.union1d(true, predicted)
    scores, support = [], []
    for one in present:
        hits = int(((true == one) & (predicted == one)).sum())
        both = int((true == one).sum() + (predicted == one).sum())
        scores.append(2 * hits / both)
        support.append(int((true == one).sum()))
    return {
        "weighted": float(np.average(scores, weights=support)),
        "macro": float(np.mean(scores)),
    }


if __name__ == "__main__":
    main()
