"""Where an encoder runs, and in how many bits: found by looking and measuring, never by asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from vitrina.types import Vectors

AGREEMENT = 0.9995
"""The least cosine to float32 over the probes at which bfloat16 weights are used.

Vectors are promised to stay within 0.999, and a catalogue holds worse cases than a few probes.
"""


def best_device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 by itself; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def lower_precision(model: torch.nn.Module, encode: Callable[[], Vectors]) -> torch.dtype:
    """Cast a model to bfloat16 where that is faster hardware and gives the same vectors.

    encode: runs the model over some probes, (n, dim) float32, L2-normalised.
    Returns the dtype that the model is left in.
    """
    device = next(model.parameters()).device
    if not has_bfloat16(device):
        return torch.float32
    exact = encode()
    kept = {name: tensor.detach().clone() for name, tensor in _tensors(model)}
    model.to(torch.bfloat16)
    cosine = np.sum(exact * encode(), axis=1)
    if float(cosine.min()) >= AGREEMENT:
        return torch.bfloat16
    model.to(torch.float32)
    with torch.no_grad():
        for name, tensor in _tensors(model):
            tensor.copy_(kept[name])
    return torch.float32


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    # Not `state_dict`, which leaves out the buffers that are computed at load.
    yield from model.named_parameters()
    yield from model.named_buffers()
