"""Checks of safetensors files, which may come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_tensors(file: Any, shapes: Mapping[str, tuple[int, ...]], noun: str) -> None:
    """Raise ValueError unless an open file holds exactly the float32 tensors of these shapes.

    Only its header is read, so that the sizes that it claims allocate nothing. noun: for tensors,
    in messages.
    """
    if (have := set(file.keys())) != shapes.keys():
        other = min(have ^ shapes.keys())
        raise ValueError(f"{'no' if other in shapes else 'an unknown'} {noun} {other!r}")
    for name, shape in shapes.items():
        there = file.get_slice(name)
        if (tuple(there.get_shape()), there.get_dtype()) != (shape, "F32"):
            raise ValueError(
                f"{name} is {there.get_dtype()} of {there.get_shape()}, not F32 of {[*shape]}"
            )
