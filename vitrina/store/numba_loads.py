"""Numba intrinsics that load float16 and float32 numbers from memory addresses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vitrina.jit import compiled
from vitrina.types import Floats


def _load(kind: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        number = builder.load(builder.gep(pointer, [args[1]]))
        # A page's numbers start right after its header, unaligned.
        number.align = 1
        return builder.fpext(number, ir.FloatType()) if kind == ir.HalfType() else number

    return generate


@intrinsic
def half_at(_typing: Any, _address: Any, _place: Any) -> Any:
    """Load the float16 at an index after an address, as float32."""
    return types.float32(types.uint64, types.int64), _load(ir.HalfType())


@intrinsic
def single_at(_typing: Any, _address: Any, _place: Any) -> Any:
    """Load the float32 at an index after an address."""
    return types.float32(types.uint64, types.int64), _load(ir.FloatType())


@compiled
def copy_rows(addresses: npt.NDArray[np.uint64], half: bool, out: Floats) -> None:
    """Copy float16 or float32 rows into `out`, (n, dim) float32; zeros where an address is 0."""
    for at in range(len(addresses)):
        address = addresses[at]
        if address == 0:
            out[at, :] = 0
        elif half:
            for c in range(out.shape[1]):
                out[at, c] = half_at(address, c)  # type: ignore[call-arg]
        else:
            for c in range(out.shape[1]):
                out[at, c] = single_at(address, c)  # type: ignore[call-arg]
