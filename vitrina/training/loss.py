"""Classification losses: smoothed, class-balanced cross-entropy, with soft pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as fn

from vitrina.types import Balance, Codes, Floats

_log_softmax_backward = torch.ops.aten._log_softmax_backward_data.default

GUESSES = 8
"""Classes kept per pseudo-label, the most probable ones."""


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """Soft pseudo-labels that a trained network predicts for m rows without a label.

    places: (n,) int64, each row's position in `classes` and `odds`; -1 for a labelled row.
    classes: (m, k) int64, the most probable classes. odds: (m, k) float32, their probabilities.
    """

    places: Codes
    classes: Codes
    probabilities: Floats


@dataclass(frozen=True, eq=False)
class ClassLoss:
    """Cross-entropy loss over logits.

    smoothing: label smoothing (Szegedy et al., "Rethinking the Inception Architecture", 2016).
    weights: (classes,) float32, the weight of a row of each class; their mean over rows is 1.
    shift: (classes,) float32 added to the logits.
    """

    smoothing: float
    weights: torch.Tensor | None
    shift: torch.Tensor | None

    @classmethod
    def of(cls, labels: Codes, classes: int, balance: Balance, smoothing: float = 0.0) -> ClassLoss:
        """Create the loss for training rows with these labels, (n,) int64.

        balance: class-imbalance handling. `WEIGHTS` gives a row of a class of n rows a weight
        proportional to 1/sqrt(n), which raises rare classes without letting them dominate.
        `PRIOR` adds the logarithm of each class's share to its logit in training, so that the
        network's own logits exclude class frequency (Menon et al., "Long-tail learning via logit
        adjustment", 2021).
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
        """The mean loss over rows. logits: (n, classes). labels: (n,) int64."""
        return self._of_labels(logits, labels).mean()

    def gradient(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The gradient of the mean loss with respect to the logits, (n, classes) float32, by the
        operations of autograd. Parameters as in `__call__`."""
        likely = fn.log_softmax(self.scores(logits), dim=1)
        each = torch.full_like(labels, 1 / len(labels), dtype=torch.float32)
        if self.weights is not None:
            each = each * self.weights.to(labels.device)[labels]
        each = each.neg_().unsqueeze(1)
        targets = (each * (self.smoothing / likely.shape[1])).expand_as(likely).contiguous()
        targets.scatter_add_(1, labels.unsqueeze(1), each * (1 - self.smoothing))
        gradient: torch.Tensor = _log_softmax_backward(targets, likely, 1, torch.float32)
        return gradient

    def with_pseudo_labels(
        self, logits: torch.Tensor, labels: torch.Tensor, rows: Codes, pseudo_labels: SoftTargets
    ) -> torch.Tensor:
        """The mean loss over rows, some with a pseudo-label in place of a label.

        Those rows take cross-entropy against the pseudo-label's distribution, without label
        smoothing. rows: (n,) int64, the row numbers that index `guesses.places`.
        """
        places = torch.from_numpy(pseudo_labels.places[rows]).to(logits.device)
        guessed = places >= 0
        losses = torch.zeros(len(rows), device=logits.device)
        if not bool(guessed.all()):
            losses[~guessed] = self._of_labels(logits[~guessed], labels[~guessed])
        if bool(guessed.any()):
            at = places[guessed].cpu().numpy()
            classes = torch.from_numpy(pseudo_labels.classes[at]).to(logits.device)
            probabilities = torch.from_numpy(pseudo_labels.probabilities[at]).to(logits.device)
            log_probs = self.scores(logits[guessed]).log_softmax(dim=1)
            rest = (1 - probabilities.sum(dim=1)).clamp(min=0)
            losses[guessed] = -(log_probs.gather(1, classes) * probabilities).sum(
                dim=1
            ) - rest * log_probs.mean(dim=1)
        return losses.mean()

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits with the shift added, (n, classes) float32."""
        scores = logits.float()
        return scores if self.shift is None else scores + self.shift.to(scores.device)

    def _of_labels(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        scores = self.scores(logits)
        losses = fn.cross_entropy(scores, labels, reduction="none", label_smoothing=self.smoothing)
        if self.weights is not None:
            losses = losses * self.weights.to(losses.device)[labels]
        return losses
