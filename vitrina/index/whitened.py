"""Directions of whitened vectors, computed so that equal vectors give equal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save

from vitrina.jit import compiled
from vitrina.store.damage import blamed_on
from vitrina.store.tensors import check_tensors
from vitrina.types import Floats, Modality
from vitrina.whitening import Whitening, tensor_shapes

TILE = 4
"""Rows that the kernel multiplies together."""
LARGEST = 1e6
"""Upper limit of a whitening's absolute numbers: with it no sum of a product overflows."""


def multiply(vectors: Floats, factor: Floats) -> Floats:
    """`vectors @ factor`, (n, dim) float32, each row by itself. factor: of a `Whitening`.

    A library's product of matrices gives equal rows other last bits at other places of a batch, so
    duplicates would no longer tie.
    """
    if factor.ndim == 1:
        scaled: Floats = (vectors * factor).astype(np.float32)
        return scaled
    # Whole tiles, so that every row is computed by the same instructions.
    padded = np.zeros((-(-len(vectors) // TILE) * TILE, vectors.shape[1]), dtype=np.float32)
    padded[: len(vectors)] = vectors
    out = np.zeros_like(padded)
    _multiply(padded, factor, out)
    return out[: len(vectors)]


def directions(whitening: Whitening, vectors: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Whiten (n, dim) vectors and scale them to length 1; rows of zeros stay zeros.

    Returns them, float32, and their lengths before, (n,) float32, 0 for rows of zeros.
    """
    out = multiply(vectors - whitening.centre, whitening.factor)
    lengths: Floats = np.linalg.norm(out, axis=1)
    lengths[~vectors.any(axis=1)] = 0
    known = (lengths > 0)[:, None]
    np.divide(out, lengths[:, None], out=out, where=known)
    return np.where(known, out, np.float32(0)), lengths


@compiled
def _multiply(vectors: Floats, factor: Floats, out: Floats) -> None:
    """Add `vectors @ factor` to `out`, (n, dim) each, n a multiple of `TILE`.

    Four rows by four numbers at a time, which is four times as fast as a plain loop.
    """
    dim = vectors.shape[1]
    whole = dim - dim % 4
    for row in range(0, vectors.shape[0], 4):
        a, b, c, d = vectors[row], vectors[row + 1], vectors[row + 2], vectors[row + 3]
        for k in range(0, whole, 4):
            a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            c0, c1, c2, c3 = c[k], c[k + 1], c[k + 2], c[k + 3]
            d0, d1, d2, d3 = d[k], d[k + 1], d[k + 2], d[k + 3]
            for at in range(dim):
                f0, f1 = factor[k, at], factor[k + 1, at]
                f2, f3 = factor[k + 2, at], factor[k + 3, at]
                out[row, at] += a0 * f0 + a1 * f1 + a2 * f2 + a3 * f3
                out[row + 1, at] += b0 * f0 + b1 * f1 + b2 * f2 + b3 * f3
                out[row + 2, at] += c0 * f0 + c1 * f1 + c2 * f2 + c3 * f3
                out[row + 3, at] += d0 * f0 + d1 * f1 + d2 * f2 + d3 * f3
        for k in range(whole, dim):
            for at in range(dim):
                number = factor[k, at]
                out[row, at] += a[k] * number
                out[row + 1, at] += b[k] * number
                out[row + 2, at] += c[k] * number
                out[row + 3, at] += d[k] * number


def write_whitenings(path: Path, whitenings: Mapping[Modality, Whitening]) -> None:
    """Write the arrays of each modality's whitening as safetensors. Raises OSError."""
    tensors: dict[str, Floats] = {}
    for modality, one in whitenings.items():
        tensors |= {f"{modality}.centre": one.centre, f"{modality}.factor": one.factor}
    # Serialised to bytes first, so that a full disk raises OSError.
    path.write_bytes(save(tensors))


def read_whitenings(
    path: Path, dims: Mapping[Modality, int], way_out: str
) -> dict[Modality, Whitening]:
    """Read the whitening of each modality. dims: lengths of the vectors.

    Raises StoreError, naming the file and `way_out`, if it is missing, does not hold exactly these
    arrays, or holds NaN, infinity or a number beyond `LARGEST`.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for modality, dim in dims.items():
        centre, factor = tensor_shapes(dim)
        wanted |= {f"{modality}.centre": centre, f"{modality}.factor": factor}
    with blamed_on(str(path), way_out), safe_open(path, "np") as file:
        check_tensors(file, wanted, "array")
        arrays = {}
        for name in wanted:
            arrays[name] = np.array(file.get_tensor(name))
            # False for NaN as well.
            if not np.abs(arrays[name]).max() <= LARGEST:
                raise ValueError(f"{name} has numbers that are no whitening")
        return {one: Whitening(arrays[f"{one}.centre"], arrays[f"{one}.factor"]) for one in dims}
