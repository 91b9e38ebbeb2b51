"""Dropout with a fast generator per thread, so that parallel batches draw reproducible masks.

On a CPU PyTorch draws mask bits one by one, from one generator for all threads. That takes a
quarter of a small network's training time, and the draws depend on the order of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_here = threading.local()


@contextmanager
def drawing(*seed: int) -> Iterator[None]:
    """Seed this thread's dropout generator inside a `with` block."""
    _here.draws = np.random.Generator(np.random.SFC64(seed))
    try:
        yield
    finally:
        del _here.draws


class Dropout(torch.nn.Module):
    """Dropout (Srivastava et al., "Dropout", 2014) that needs `drawing` on a CPU.

    The probability is rounded to a multiple of 1/256.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply dropout as `torch.nn.Dropout` does."""
        if not self.training or not round(256 * self.p):
            return x
        if x.device.type != "cpu":
            return torch.nn.functional.dropout(x, self.p)
        return x * self.factors(x)

    def factors(self, x: torch.Tensor) -> torch.Tensor:
        """Draw the factors, of the shape of `x`, that `forward` multiplies by in training."""
        share = round(256 * self.p)
        if not share:
            return torch.ones_like(x)
        if x.device.type != "cpu":
            return torch.nn.functional.dropout(torch.ones_like(x), self.p)
        drawn = _here.draws.integers(0, 256, size=tuple(x.shape), dtype=np.uint8)
        # In numpy: torch multiplies booleans by a number several times slower.
        factors = np.multiply(drawn >= share, np.float32(256 / (256 - share)), dtype=np.float32)
        return torch.from_numpy(factors).to(x.dtype)


def with_quick_dropout(module: torch.nn.Module) -> None:
    """Replace every `torch.nn.Dropout` of a network by `Dropout`."""
    for name, part in list(module.named_children()):
        if isinstance(part, torch.nn.Dropout):
            setattr(module, name, Dropout(part.p))
        else:
            with_quick_dropout(part)
