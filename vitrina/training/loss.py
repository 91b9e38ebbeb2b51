"""What a classifier is to lessen: cross-entropy, smoothed and balanced between classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as fn

from vitrina.types import Balance, Codes


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
        scores = logits.float()
        if self.shift is not None:
            scores = scores + self.shift.to(scores.device)
        losses = fn.cross_entropy(scores, labels, reduction="none", label_smoothing=self.smoothing)
        if self.weights is not None:
            losses = losses * self.weights.to(losses.device)[labels]
        return losses.mean()
