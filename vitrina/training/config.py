"""Training config: epochs, batch size, learning rate schedule, early stopping."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from vitrina.errors import TrainingError


@dataclass(frozen=True)
class TrainingConfig:
    """Training hyperparameters.

    Attributes:
        epochs: maximum passes over the training rows.
        batch_rows: rows per step.
        rate: the peak learning rate.
        warm_up: the share of all steps in which the rate rises to its peak.
        weight_decay: AdamW's weight decay.
        clip: the maximum gradient norm of a step; 0 for no clipping.
        average: the decay per step of the moving average of weights that is kept at the end;
            0 for the weights themselves.
        patience: early stopping: epochs without a better score before training ends; 0 to run
            all epochs.
        seed: random seed of the row order and of every other draw.
    """

    epochs: int
    batch_rows: int
    rate: float
    warm_up: float = 0.06
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise TrainingError for values out of range."""
        if self.epochs < 1 or self.batch_rows < 1:
            raise TrainingError(
                f"training takes at least one epoch of batches of one row, not {self.epochs} of "
                f"{self.batch_rows}"
            )
        if not self.rate > 0:
            raise TrainingError(f"the learning rate must be above 0, not {self.rate}")
        for name in ("warm_up", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(
                    f"{name.replace('_', '-')} must be between 0 and 1, not {getattr(self, name)}"
                )

    def steps(self, rows: int) -> int:
        """The number of steps in all epochs over `rows` rows."""
        return self.epochs * -(-rows // self.batch_rows)

    def to_json(self) -> dict[str, Any]:
        """The config as JSON values."""
        return asdict(self)


def rate_at(step: int, steps: int, warm_up: float = 0.1) -> float:
    """The learning rate at a step as a share of its peak: linear warm-up, then cosine decay to zero
    (Loshchilov & Hutter, "SGDR", 2017)."""
    warm = (step + 1) / max(1, int(steps * warm_up))
    return min(warm, 0.5 * (1 + math.cos(math.pi * step / steps)))
