"""A model's preprocessing in two steps: one for decoding threads, one for the model's device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image
from timm.data.transforms import MaybeToTensor
from torchvision.transforms import Compose, Normalize, ToTensor

from vitrina.embedder.base import Prepared

Transform = Callable[[Image], Any]


@dataclass(frozen=True)
class Preparation:
    """A model's preprocessing. crop: the first step. in_bytes: pictures stay uint8, a quarter of
    the memory, and `finish` scales them. mean, deviation: (3,) float64 for pixels from 0 to 1."""

    crop: Transform
    in_bytes: bool
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    def apply(self, image: Image) -> Prepared:
        """One RGB image to (height, width, 3) uint8, or (3, height, width) float32 if not
        `in_bytes`."""
        cropped = self.crop(image)
        ready: Prepared = np.asarray(cropped) if self.in_bytes else cropped.numpy()
        return ready

    def finish(self, pictures: torch.Tensor) -> torch.Tensor:
        """A batch of results of `apply` to the model's input: (n, 3, height, width) float32."""
        if not self.in_bytes:
            return pictures
        device = pictures.device
        mean = torch.as_tensor(255 * self.mean, dtype=torch.float32, device=device)
        scale = torch.as_tensor(1 / (255 * self.deviation), dtype=torch.float32, device=device)
        return ((pictures.float() - mean) * scale).permute(0, 3, 1, 2)


def read_preparation(transform: Transform, probes: Sequence[Image]) -> Preparation:
    """Split the scaling off the end of a transform, if it ends in one.

    probes: RGB images on which the split transform must give the same result.
    """
    nothing, unit = np.zeros(3), np.ones(3)
    whole = Preparation(transform, False, nothing, unit)
    steps = getattr(transform, "transforms", [])
    if len(steps) < 3 or not isinstance(steps[-1], Normalize):
        return whole
    if not isinstance(steps[-2], ToTensor | MaybeToTensor):
        return whole
    mean, deviation = (np.array([float(x) for x in one]) for one in (steps[-1].mean, steps[-1].std))
    cut = Preparation(Compose(steps[:-2]), True, mean, deviation)
    if mean.shape != (3,) or deviation.shape != (3,) or not deviation.all():
        return whole
    for image in probes:
        finished = cut.finish(torch.from_numpy(np.array(cut.apply(image)))[None])[0]
        if not torch.allclose(finished, transform(image), atol=1e-5):
            return whole
    return cut
