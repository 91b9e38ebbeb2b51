"""What predictions are worth, on products that chose nothing: a third part of a store.

    python benchmarks/predictions.py --store shelf --head mlp

A fifth of the labelled products, whole groups of duplicates, is put aside before anything is
learnt. The others train heads, and choose how these are put together, how sure they are and what
is accepted, as `vitrina train --compare` does. Of the third part it is told, with intervals by
paired bootstrap: the fused model beside each modality by itself; the same once half of the photos
are gone, beside a head over text that answers for those; how well it is calibrated; and how many
products get a category, or an ancestor of it, at each promised precision, and how many of these
are right.

The vectors are those of the store. Where an encoder was fine-tuned on its products, it has seen the
third part too: use a store with frozen encoders. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from peers.machine import machine

import vitrina as vt
from vitrina.classifier.calibrate import error_by_chance, expected_calibration_error, reliability
from vitrina.classifier.metrics import difference, evaluate
from vitrina.data.split import split_rows
from vitrina.pipelines.common.store_split import split_store
from vitrina.store.gather import gather
from vitrina.types import Features, SplitKind


def main() -> None:
    """Measure one store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="with text and image vectors")
    parser.add_argument("--head", default="mlp", choices=("logistic", "mlp"))
    parser.add_argument("--precision", default="0.95,0.9,0.98", help="with commas between")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    case = Case(given.store, given.head, given.seed)
    print(f"{given.store}, {given.head} head, seed {given.seed}; {machine()}\n")
    print("\n".join(case.lines([float(one) for one in given.precision.split(",")])))


class Case:
    """A store in two parts, and the models that the first one makes."""

    def __init__(self, path: Path, head: str, seed: int) -> None:
        store = vt.Store.open(path, create=False)
        gathered = gather(store.products, store.spaces(Features.FUSED))
        labels = store.products.categories()
        codes = np.where(gathered.any_present(), labels.codes, -1)
        parted = split_store(store.products, codes, SplitKind.GROUPED, seed)
        # Drawn by another seed than what the model draws from the rest.
        split = split_rows(
            codes, parted.groups, SplitKind.GROUPED, seed=seed + 1_000_003, keys=parted.keys
        )
        self.head, self.seed, self.names = head, seed, labels.names
        self.codes, self.groups = codes, parted.groups
        self.learnt, self.third = split.train, split.validation
        self.blocks = gathered.dims
        vectors = [
            np.asarray(block, dtype=np.float32) * mask[:, None]
            for block, mask in zip(gathered.vectors, gathered.present, strict=True)
        ]
        self.x, self.cut = np.hstack(vectors), self.blocks[0]

    def lines(self, precisions: list[float]) -> list[str]:
        """Everything, as Markdown."""
        started = time.monotonic()
        model = self.fit(self.x, self.blocks, precision=precisions[0], compare=True)
        seconds = time.monotonic() - started
        seen, true = self.x[self.third], self.codes[self.third]
        fused = self.say(model, seen)
        text = self.say(self.fit(self.x[:, : self.cut], None), seen[:, : self.cut])
        image = self.say(self.fit(self.x[:, self.cut :], None), seen[:, self.cut :])
        return [
            f"{len(self.learnt)} products learnt from and chosen by, {len(true)} of a third part; "
            f"{len(self.names)} categories; fusion taken: {model.fusion_}; {seconds:.0f} s",
            "",
            "| third part | weighted F1 | macro F1 | fused ahead by (95% interval) |",
            "|---|---|---|---|",
            self.row("fused", fused, fused, true),
            self.row("text alone", text, fused, true),
            self.row("image alone", image, fused, true),
            *self.blinded(model, seen, fused, text, true),
            *self.calibration(model, seen, true),
            "",
            "| promised | categories: share of products, right | with ancestors: share, right |",
            "|---|---|---|",
            *(self.promised(model, one, seen, true) for one in precisions),
        ]

    def fit(self, x: np.ndarray, blocks: tuple[int, ...] | None, **more) -> vt.FusionClassifier:
        """A model of what is learnt from. Products without any of these vectors teach nothing."""
        model = vt.FusionClassifier(self.head, blocks=blocks, random_state=self.seed, **more)
        rows = self.learnt[x[self.learnt].any(axis=1)]
        known = np.unique(self.codes[rows])
        names = [self.names[code] for code in known]
        return model.fit(x[rows], self.codes[rows], groups=self.groups[rows], names=names)

    def say(self, model: vt.FusionClassifier, x: np.ndarray) -> np.ndarray:
        """(n,) int64 categories, -1 where there is nothing to look at."""
        return np.where(x.any(axis=1), model.predict(x), -1)

    def row(self, name: str, said: np.ndarray, other: np.ndarray, true: np.ndarray) -> str:
        """A line of the table of F1."""
        found = evaluate(true, said, None, classes=len(self.names), bootstrap=1)
        told = ""
        if other is not said:
            gap = difference(true, other, said, classes=len(self.names), seed=self.seed)
            told = f"{gap.value:.4f} ({gap.low:.4f} to {gap.high:.4f})"
        return f"| {name} | {found.weighted_f1:.4f} | {found.macro_f1:.4f} | {told} |"

    def blinded(
        self,
        model: vt.FusionClassifier,
        seen: np.ndarray,
        fused: np.ndarray,
        text: np.ndarray,
        true: np.ndarray,
    ) -> list[str]:
        """The same with half of the photos gone."""
        gone = np.random.default_rng(self.seed).random(len(seen)) < 0.5
        less = seen.copy()
        less[gone, self.cut :] = 0
        stand_in = np.where(gone, text, fused)
        said = self.say(model, less)
        gap = difference(true, stand_in, said, classes=len(self.names), seed=self.seed)
        return [
            self.row("fused, half of the photos gone", said, fused, true),
            self.row("the same, text alone answers for them", stand_in, fused, true),
            "",
            f"Behind text alone answering for them by {gap.value:.4f} ({gap.low:.4f} to "
            f"{gap.high:.4f})",
            "",
        ]

    def calibration(
        self, model: vt.FusionClassifier, seen: np.ndarray, true: np.ndarray
    ) -> list[str]:
        """How often what is so sure is right."""
        shares = model.predict_proba(seen)
        right = model.classes_[shares.argmax(axis=1)] == true
        sure = shares.max(axis=1).astype(np.float32)
        bins, chance = reliability(sure, right), error_by_chance(sure)
        return [
            f"Expected calibration error: {expected_calibration_error(bins):.4f}; {chance:.4f} is "
            "what chance makes of a perfect one"
        ]

    def promised(
        self, model: vt.FusionClassifier, precision: float, seen: np.ndarray, true: np.ndarray
    ) -> str:
        """What is let through at a promised precision."""
        if precision != model.precision:
            model = self.fit(self.x, self.blocks, precision=precision, fusion=model.fusion_)
        decided = model.decide(seen)
        paths = [name.split("->") for name in self.names]
        said = model.classes_[decided.chosen]
        holds = np.zeros(len(true), dtype=bool)
        for at in np.flatnonzero(decided.steps >= 0):
            path, step = paths[said[at]], decided.steps[at]
            kept = len(path) - step
            holds[at] = said[at] == true[at] if not step else path[:kept] == paths[true[at]][:kept]
        told = []
        for let in (decided.steps == 0, decided.steps >= 0):
            right = f"{holds[let].mean():.4f}" if let.any() else "-"
            told.append(f"{let.mean():.1%}, {right}")
        return f"| {precision:g} | {' | '.join(told)} |"


if __name__ == "__main__":
    main()
