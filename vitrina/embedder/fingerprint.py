"""Encoder fingerprint: a hash of everything that determines an encoder's output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


def fingerprint(arrays: Mapping[str, npt.NDArray[Any]], settings: Mapping[str, Any]) -> str:
    """Hash named arrays and settings.

    arrays: weights by name. settings: everything else that determines the output (tokenizer,
    preprocessing, pooling, length limit, normalisation), as JSON values.
    Returns 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(settings, sort_keys=True, ensure_ascii=False).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def weights(module: torch.nn.Module) -> dict[str, npt.NDArray[Any]]:
    """A module's parameters and buffers as float32 or integer arrays, whatever its own dtype."""
    arrays = {}
    for name, tensor in module.state_dict().items():
        whole = tensor.detach().cpu()
        arrays[name] = (whole.float() if whole.is_floating_point() else whole).numpy()
    return arrays
