"""What a classifier is to lessen: cross-entropy, smoothed and balanced between classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as fn

from vitrina.types import Balance, Codes, Floats

GUESSES = 8
"""Classes of a guess that are kept, the likeliest."""


@dataclass(frozen=True, eq=False)
class Guesses:
    """What a trained network makes of rows without a label.

    places: (n,) int64, where each of all rows stands here; -1 for one that has a label. classes:
    (m, k) int64, the likeliest classes. odds: (m, k) float32, their probabilities.
    """

    places: Codes
    classes: Codes
    odds: Floats


@dataclass(frozen=True, eq=False)
class ClassLoss:
    """Cross-entropy of logits.

    smoothing: the share of each label that is spread over all classes (Szegedy et al.,
    "Rethinking the Inception Architecture", 2016). weights: (classes,) float32, what a row of each
    class counts; their mean over rows is 1. shift: (classes,) float32 added to the logits.
    """

    smoothing: float
    weights: torch.Tensor | None
    shift: torch.Tensor | None

    @classmethod
    def of(cls, labels: Codes, classes: int, balance: Balance, smoothing: float = 0.0) -> ClassLoss:
        """For rows with these labels.

        balance: `WEIGHTS` gives a row of a class of n rows a weight of 1/sqrt(n), so that rare
        classes are heard without drowning the rest; `PRIOR` adds the logarithm of each class's
        share to its logit while training, so that the logits that are left say what speaks for a
        class beyond its frequency (Menon et al., "Long-tail learning via logit adjustment", 2021).
        """
        counts = np.bincount(labels, minlength=classes).astype(np.float64)
        weights = shift = None
        if balance is Balance.WEIGHTS:
            raw = 1 / np.sqrt(np.maximum(counts, 1))
            weights = torch.from_numpy((raw / raw[labels].mean()).astype(np.float32))
        elif balance is Balance.PRIOR:
            shift = torch.from_numpy(np.log(np.maximum(counts, 1) / len(labels)).astype(np.float32))
        return cls(smoothing, weights, shift)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean over rows. logits: (n, classes). labels: (n,) int64."""
        return self._of_labels(logits, labels).mean()

    def with_guesses(
        self, logits: torch.Tensor, labels: torch.Tensor, rows: Codes, guesses: Guesses
    ) -> torch.Tensor:
        """The same where some rows have a guess instead of a label, whose whole distribution they
        are to agree with; it has been smooth already. rows: (n,) int64, numbers of the rows."""
        places = torch.from_numpy(guesses.places[rows]).to(logits.device)
        guessed = places >= 0
        losses = torch.zeros(len(rows), device=logits.device)
        if not bool(guessed.all()):
            losses[~guessed] = self._of_labels(logits[~guessed], labels[~guessed])
        if bool(guessed.any()):
            at = places[guessed].cpu().numpy()
            classes = torch.from_numpy(guesses.classes[at]).to(logits.device)
            odds = torch.from_numpy(guesses.odds[at]).to(logits.device)
            sure = self.scores(logits[guessed]).log_softmax(dim=1)
            rest = (1 - odds.sum(dim=1)).clamp(min=0)
            losses[guessed] = -(sure.gather(1, classes) * odds).sum(dim=1) - rest * sure.mean(dim=1)
        return losses.mean()

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits as they are trained, (n, classes) float32: with the shift."""
        scores = logits.float()
        return scores if self.shift is None else scores + self.shift.to(scores.device)

    def _of_labels(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = self.scores(logits)
        losses = fn.cross_entropy(scores, labels, reduction="none", label_smoothing=self.smoothing)
        if self.weights is not None:
            losses = losses * self.weights.to(losses.device)[labels]
        return losses
