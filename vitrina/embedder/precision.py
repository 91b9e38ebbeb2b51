"""Choice of an encoder's device and numeric format, by hardware checks and measurement."""

from __future__ import annotations

import hashlib
import logging
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from vitrina.cache import cache_folder
from vitrina.embedder.base import AGREEMENT
from vitrina.errors import EncoderError
from vitrina.store.damage import reason_of
from vitrina.threads import limit_torch, one_thread_each
from vitrina.types import Compute, Vectors

log = logging.getLogger(__name__)

WORTH = 1.1
"""Minimum speed-up over float32 for another format to be chosen."""

WORTH_TRAINING = 2.0
"""Minimum speed-up of matrix products for a CPU to train in bfloat16."""

TRIALS = 2
ALIKE = 1e-6
"""Maximum difference between vectors that count as identical, per component."""


def training_dtype(device: torch.device, *, transformer: bool = False) -> torch.dtype:
    """The dtype to train in: bfloat16 on a GPU that supports it in hardware.

    On a CPU bfloat16 loses small steps more easily, so it must pay off. Transformers, which are
    mostly matrix products, train in bfloat16 if that multiplies matrices `WORTH_TRAINING` times as
    fast as float32. The measurement is made once and cached.
    """
    if not has_bfloat16(device):
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16
    if not transformer:
        return torch.float32
    memo = _memo("matrix products", [Compute.FLOAT32, Compute.BFLOAT16])
    known = _recall(memo)
    if known is None:
        known = _faster_products()
        _remember(memo, known)
    return torch.bfloat16 if known is Compute.BFLOAT16 else torch.float32


def _faster_products() -> Compute:
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        pair = [torch.ones(shape, dtype=dtype) for shape in ((768, 512), (512, 768))]
        with one_thread_each():
            torch.mm(*pair)
            seconds[dtype] = min(_seconds(lambda both: torch.mm(*both), pair) for _ in range(9))
    worth = seconds[torch.float32] >= WORTH_TRAINING * seconds[torch.bfloat16]
    return Compute.BFLOAT16 if worth else Compute.FLOAT32


def has_bfloat16(device: torch.device) -> bool:
    """Check for hardware support of bfloat16 products.

    On a CPU this does not imply speed: without AMX, some CPUs multiply bfloat16 at half the speed
    of float32, others at twice. `choose` measures.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


Network = TypeVar("Network")
Items = TypeVar("Items", torch.Tensor, Sequence[Sequence[int]])


def choose(
    makers: Mapping[Compute, Callable[[], Network]],
    probe: Callable[[Network], Vectors],
    exact: Vectors,
    requested: Compute | None,
    *,
    fingerprint: str,
) -> tuple[Compute, Network]:
    """Choose the fastest numeric format whose vectors agree with the model's own.

    The choice for a model is cached, so that this machine measures once and all its runs give the
    same bytes.

    makers: by format, a function that creates the network. probe: runs a network over the probes.
    exact: (n, dim) float32, the probes' vectors by the model's own code. asked: use this format,
    without measuring. fingerprint: the model's.
    Raises EncoderError if the requested format is not available or does not agree, or none does.
    """
    if requested is not None and requested not in makers:
        raise EncoderError(
            f"this model can't be run in {requested} on this machine, only in {', '.join(makers)}"
        )
    memo = _memo(fingerprint, makers)
    known = None if requested else _recall(memo)
    if known is not None and known in makers:
        network = makers[known]()
        if agreement(exact, probe(network)) >= AGREEMENT[known]:
            log.info("computing in %s, as measured before on this machine", known)
            return known, network
    best: tuple[float, Compute, Network] | None = None
    for compute, make in makers.items():
        if requested not in (None, compute):
            continue
        network = make()
        cosine = agreement(exact, probe(network))
        if not cosine >= AGREEMENT[compute]:
            if requested is not None:
                raise EncoderError(
                    f"in {compute} this model's vectors fall to cosine {cosine:.4f} of float32, "
                    f"below {AGREEMENT[compute]}"
                )
            continue
        if requested is not None:
            return compute, network
        handicap = 1.0 if compute is Compute.FLOAT32 else WORTH
        seconds = handicap * min(_seconds(probe, network) for _ in range(TRIALS))
        if best is None or seconds < best[0]:
            best = (seconds, compute, network)
    if best is None:
        raise EncoderError("this model's vectors are not numbers; are its weights damaged?")
    _remember(memo, best[1])
    if len(makers) > 1:
        log.info("computing in %s, the fastest of %s on this machine", best[1], ", ".join(makers))
    return best[1], best[2]


def agreement(exact: Vectors, other: Vectors) -> float:
    """The minimum cosine over rows of two (n, dim) float32 arrays, L2-normalised."""
    return float(np.sum(exact * other, axis=1).min())


def _memo(fingerprint: str, makers: Iterable[Compute]) -> Path:
    """Cache file of the choice for a model, by kind of machine and version of torch."""
    machine = [torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability()]
    machine += [str(torch.cpu._is_avx512_bf16_supported()), str(torch.cpu._is_amx_tile_supported())]
    machine += [str(limit_torch()), *makers]
    if torch.cuda.is_available():
        machine.append(torch.cuda.get_device_name())
    digest = hashlib.blake2b(" ".join([fingerprint, *machine]).encode(), digest_size=16)
    return cache_folder("compute") / digest.hexdigest()


def _recall(memo: Path) -> Compute | None:
    try:
        return Compute(memo.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _remember(memo: Path, compute: Compute) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        memo.write_text(compute, encoding="ascii")
    except OSError:
        return


def _seconds(work: Callable[[Network], object], network: Network) -> float:
    started = time.perf_counter()
    work(network)
    return time.perf_counter() - started


def unit_vectors(
    pooled: Callable[[Items], torch.Tensor],
    items: Items,
    *,
    smaller: Callable[[Items], None],
    alone: Callable[[Items], str],
) -> Vectors:
    """Encode a batch, in halves if memory runs out: (len(items), dim) float32, L2-normalised.

    pooled: runs a network over a batch. items: the batch. smaller: callback that takes a batch that
    was too large. alone: describes a single item, for the error.
    Raises EncoderError if memory does not suffice for a single item.
    """
    try:
        with torch.inference_mode():
            unit = torch.nn.functional.normalize(pooled(items), dim=1)
            vectors: Vectors = unit.cpu().numpy()
            return vectors
    except (RuntimeError, MemoryError) as err:
        if not is_out_of_memory(err):
            raise
        if len(items) == 1:
            raise EncoderError(f"memory does not suffice for {alone(items)}") from err
    # Outside the handler, which keeps the failed attempt's memory alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    smaller(items)
    half = len(items) // 2
    parts = (items[:half], items[half:])
    return np.concatenate(
        [unit_vectors(pooled, part, smaller=smaller, alone=alone) for part in parts]
    )


def check_numbers(vectors: Vectors, model: str) -> None:
    """Raise EncoderError for vectors with NaN or infinity."""
    if not np.isfinite(vectors).all():
        raise EncoderError(f"{model}: its vectors are not numbers; are its weights damaged?")


def check_probes(vectors: Vectors, model: str) -> None:
    """Raise EncoderError if different probes get vectors that are not finite, or all identical.

    Neighbours by such vectors would be random.

    vectors: (n, dim) float32, L2-normalised.
    """
    check_numbers(vectors, model)
    if np.ptp(vectors, axis=0).max() < ALIKE:
        raise EncoderError(
            f"{model}: unlike inputs get one and the same vector; are its weights damaged?"
        )


@contextmanager
def first_run(model: str) -> Iterator[None]:
    """Raise EncoderError if a model fails on its probes, since libraries don't check all of its
    configuration before."""
    try:
        yield
    except EncoderError:
        raise
    except Exception as err:
        if is_out_of_memory(err):
            raise
        raise EncoderError(
            f"{model}: it can't be run ({reason_of(err)}); is its configuration damaged?"
        ) from err


def is_out_of_memory(err: BaseException) -> bool:
    """Check that an error is an out-of-memory error, of a GPU or a CPU."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(err)
    return isinstance(err, RuntimeError) and (
        "can't allocate memory" in text or "could not create a memory object" in text
    )
