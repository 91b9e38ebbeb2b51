"""An image model prepared for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from PIL.Image import Image
from torch.nn.modules.batchnorm import _BatchNorm

from vitrina.device import best_device
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.load import ImageFiles
from vitrina.embedder.preprocessing import read_preparation
from vitrina.errors import EncoderError
from vitrina.threads import workers
from vitrina.training.dropout import with_quick_dropout

PART = {"cpu": 16, "cuda": 128, "mps": 32}
"""Photos per forward pass, by device."""


class TrainableImage:
    """An image model in training.

    Attributes:
        body: maps pixels to vectors.
        size: pixels of its input's edge.
        dim: dimension of a vector.
        workers: parts of a batch that run in parallel.
        part: photos per part; None for whole batches, which batch normalisation trained from
            scratch needs.
        fingerprint: of the initial weights.
    """

    def __init__(self, files: ImageFiles, *, from_scratch: bool) -> None:
        """Raises EncoderError for a model whose preprocessing does not end in a plain scaling."""
        self._parts = files.parts
        self.size = files.parts.size
        probe = Pillow.new("RGB", (self.size, self.size), (200, 100, 50))
        preparation = read_preparation(files.parts.transform, [probe])
        if not preparation.in_bytes:
            raise EncoderError(
                f"{files.model}: its preprocessing is of a kind that can't be trained through"
            )
        self._preparation = preparation
        self.device = best_device()
        network = files.parts.network
        with_quick_dropout(network)
        self.fingerprint = fingerprint(
            weights(network), {"size": self.size, "network": str(network)}
        )
        self.body: Any = network.to(self.device).to(memory_format=torch.channels_last)
        norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
        # Small batches would spoil a trained network's batch statistics.
        self._frozen = [] if from_scratch else norms
        self.part = None if from_scratch and norms else PART[self.device.type]
        alone = self.device.type != "cpu" or self.part is None
        self.workers = 1 if alone else workers(self.device)
        self._norms = norms
        self._from_scratch = from_scratch
        self.eval()
        with torch.no_grad():
            self.dim = int(self.vectors(self.pixels([probe])).shape[1])

    @property
    def rate(self) -> float:
        """Default learning rate: lower for transformers than for convolutions, and for trained
        weights than for random ones."""
        if not self._norms:
            return (0.2 if self._from_scratch else 0.03) / self.dim
        return 2e-3 if self._from_scratch else 5e-4

    def begin(self, dtype: torch.dtype) -> None:
        """Cast the network to the training dtype."""
        self._dtype = dtype
        self.body.to(dtype)
        for norm in self._norms:
            # bfloat16 would round away updates of the batch statistics.
            norm.float()

    _dtype = torch.float32

    def train(self) -> None:
        """Switch to training mode, with the batch statistics of trained networks frozen."""
        self.body.train()
        for norm in self._frozen:
            norm.eval()

    def eval(self) -> None:
        """Switch to inference mode."""
        self.body.eval()

    def served(self, image: Image) -> Image:
        """Crop a photo as in inference."""
        cropped: Image = self._preparation.crop(image)
        return cropped

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Convert photos of the network's size to its input, (n, 3, size, size) float32."""
        stacked = np.stack([np.asarray(image, dtype=np.uint8) for image in images])
        return self._preparation.finish(torch.from_numpy(stacked).to(self.device))

    def vectors(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels (n, 3, size, size) to (n, dim) float32, not normalised."""
        given = pixels.to(self._dtype, memory_format=torch.channels_last)
        out: torch.Tensor = self.body(given).float()
        return out

    def finish(self) -> None:
        """End training: move the network to the CPU in float32."""
        self._dtype = torch.float32
        self.body.float().eval().to("cpu").to(memory_format=torch.contiguous_format)

    def save(self, folder: Path) -> None:
        """Write the model in its original format: open_clip's or timm's."""
        self._parts.save(folder)
