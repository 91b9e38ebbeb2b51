"""Choice of the torch device."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """Return a GPU (CUDA, then MPS) if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
