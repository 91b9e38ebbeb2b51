"""Dropout by a quick generator of its own, so that batches side by side draw what they would alone.

On a CPU PyTorch draws the bits of a mask one by one, from one generator for all threads: a quarter
of a small network's training, and other draws each time that threads overtake each other.
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
    """Within a `with` block this thread's dropout draws from a generator with this seed."""
    _here.draws = np.random.Generator(np.random.SFC64(seed))
    try:
        yield
    finally:
        del _here.draws


class Dropout(torch.nn.Module):
    """Sets a share of all numbers to zero while training, and scales the others up. (Srivastava
    et al., "Dropout", 2014.) The share is taken in steps of 1/256. Needs `drawing` on a CPU."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Dropout`."""
        share = round(256 * self.p)
        if not self.training or not share:
            return x
        if x.device.type != "cpu":
            return torch.nn.functional.dropout(x, self.p)
        drawn = _here.draws.integers(0, 256, size=tuple(x.shape), dtype=np.uint8)
        kept = torch.from_numpy(drawn) >= share
        return x * (kept * (256 / (256 - share))).to(x.dtype)


def with_quick_dropout(module: torch.nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` of a network."""
    for name, part in list(module.named_children()):
        if isinstance(part, torch.nn.Dropout):
            setattr(module, name, Dropout(part.p))
        else:
            with_quick_dropout(part)
