"""How long, how fast and by what rule a network is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from vitrina.errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """Of any training.

    Attributes:
        epochs: passes over the rows, at most.
        batch_rows: rows that one step learns from.
        rate: the learning rate at its height.
        warm_up: the share of all steps in which the rate rises to that height.
        weight_decay: AdamW's.
        clip: the norm that a step's gradient is cut to; 0 for none.
        average: the decay per step of the moving average of weights that is kept in the end;
            0 for the weights themselves.
        patience: epochs without a better score after which it ends; 0 for all epochs.
        seed: decides the order of rows and every draw.
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
        """Raise TrainingError for what can't be."""
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
                    f"{name.replace('_', '-')} lies between 0 and 1, not at {getattr(self, name)}"
                )

    def steps(self, rows: int) -> int:
        """The steps of all epochs over so many rows."""
        return self.epochs * -(-rows // self.batch_rows)

    def to_json(self) -> dict[str, Any]:
        """As a card holds it."""
        return asdict(self)


def rate_at(step: int, steps: int, warm_up: float = 0.1) -> float:
    """The share of the learning rate at a step: linear warm-up, then a cosine down to zero
    (Loshchilov & Hutter, "SGDR", 2017)."""
    warm = (step + 1) / max(1, int(steps * warm_up))
    return min(warm, 0.5 * (1 + math.cos(math.pi * step / steps)))
