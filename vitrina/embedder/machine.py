"""The kind of machine that makes an encoder's vectors.

Float arithmetic differs between CPUs, GPUs and versions of their libraries. The vectors of built-in
probes decide whether two machines give the same bytes; the other fields describe the machine.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from msgspec import Meta

from vitrina.embedder.base import AGREEMENT, ImageEncoder, TextEncoder
from vitrina.embedder.probes import PROBES, probe_images
from vitrina.types import Compute, Modality, Vectors

if TYPE_CHECKING:
    from collections.abc import Mapping

Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Word = Annotated[str, Meta(max_length=100, pattern=r"\A[ -~]*\Z")]


@dataclass(frozen=True)
class Machine:
    """A kind of machine, as a space's card pins it.

    probe: hash of the encoder's vectors of the probes. compute: the encoder's numeric format; None
    for an encoder without a choice of formats. torch: its version; None for an encoder without
    torch. cpu: torch's name of the CPU's capability. vnni, amx: instructions for products of bytes
    and of tiles.
    """

    probe: Sha256
    architecture: Word
    compute: Compute | None = None
    torch: Word | None = None
    cpu: Word | None = None
    vnni: bool = False
    amx: bool = False
    gpu: Word | None = None

    @classmethod
    def of(cls, encoder: TextEncoder | ImageEncoder) -> Machine:
        """Describe this machine, and run an encoder over the probes."""
        details = encoder.card.details
        compute = details.get("compute")
        facts = {} if compute is None else _torch_facts(details)
        vectors = np.asarray(_probe_vectors(encoder), "<f4")
        probe = hashlib.sha256(vectors.tobytes()).hexdigest()
        return cls(
            probe, platform.machine(), None if compute is None else Compute(compute), **facts
        )

    def to_json(self) -> dict[str, Any]:
        """The machine as a space's card holds it."""
        return asdict(self)

    @property
    def agreement(self) -> float:
        """Minimum cosine of its vectors to the model's own float32 vectors, over the probes."""
        return AGREEMENT[self.compute or Compute.FLOAT32]

    def __str__(self) -> str:
        facts = [
            self.compute,
            self.torch and f"torch {self.torch}",
            self.gpu,
            self.architecture,
            self.cpu,
            "VNNI" if self.vnni else None,
            "AMX" if self.amx else None,
        ]
        return ", ".join(filter(None, facts))


def _probe_vectors(encoder: TextEncoder | ImageEncoder) -> Vectors:
    if encoder.card.modality is Modality.TEXT:
        return cast("TextEncoder", encoder).encode(PROBES)
    of_images = cast("ImageEncoder", encoder)
    with of_images.together():
        return of_images.encode([of_images.prepare(image) for image in probe_images()])


def _torch_facts(details: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    device = details.get("device", "cpu")
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "vnni": bool(torch.cpu._is_vnni_supported()),
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
    }
