"""Heads: a multinomial logistic or an MLP classifier over the vectors of one or two modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from vitrina.classifier.card import AGAIN, HeadShape
from vitrina.store.damage import blamed_on
from vitrina.store.tensors import check_tensors
from vitrina.training.dropout import Dropout
from vitrina.types import Floats, HeadKind, Mask
from vitrina.whitening import Whitening, tensor_shapes

HEAD_FILE = "head.safetensors"
WHITENING = ("centre", "factor")
"""Names of the two tensors of each modality's whitening, before its number."""
LARGEST = 1e6
"""Upper limit of a head's absolute weights: with it no sum of a prediction overflows."""


class Head(torch.nn.Module):
    """Class logits from vectors and their presence masks.

    With two modalities the input is both vectors, each vector once more for products that lack the
    other one, and the two mask bits. Products without a photo thus have weights of their own, and
    training on them does not distort the weights of complete products. Vectors of
    a modality that the shape says are whitened are so first.
    """

    def __init__(self, shape: HeadShape, input_dropout: float = 0.0) -> None:
        """input_dropout: of an MLP in training."""
        super().__init__()
        self.shape = shape
        width = shape.width
        for number in shape.whitened_numbers:
            for name, size in zip(WHITENING, tensor_shapes(shape.dims[number]), strict=True):
                self.register_buffer(f"{name}_{number}", torch.zeros(size))
        if shape.kind is HeadKind.LOGISTIC:
            self.layers: torch.nn.Module = torch.nn.Linear(width, shape.classes)
            torch.nn.init.zeros_(self.layers.weight)
            torch.nn.init.zeros_(self.layers.bias)
        else:
            self.layers = torch.nn.Sequential(
                Dropout(input_dropout),
                torch.nn.Linear(width, shape.hidden),
                torch.nn.GELU(),
                Dropout(shape.dropout),
                torch.nn.Linear(shape.hidden, shape.classes),
            )

    def forward(
        self, vectors: Sequence[torch.Tensor], present: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """vectors: (n, dim) float32 for each modality, L2-normalised; present: (n,) float32 of
        0 and 1 for each. Returns (n, classes) float32 logits."""
        logits: torch.Tensor = self.layers(self.inputs(vectors, present))
        return logits

    def inputs(
        self, vectors: Sequence[torch.Tensor], present: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Input of the first layer: (n, width) float32. Parameters as in `forward`."""
        # Components of unit vectors are near 1/sqrt(dim); features should be near 1.
        spread = [
            self._whitened(vector, number) * mask.unsqueeze(1) * vector.shape[1] ** 0.5
            for number, (vector, mask) in enumerate(zip(vectors, present, strict=True))
        ]
        parts = [block * scale for block, scale in zip(spread, self.shape.scales, strict=True)]
        if len(spread) > 1:
            for block, other in zip(spread, reversed(present), strict=True):
                parts.append(block * (1 - other).unsqueeze(1))
        parts.append(torch.stack(list(present), dim=1))
        return torch.cat(parts, dim=1)

    def set_whitening(self, whitenings: Sequence[Whitening | None]) -> None:
        """Set the whitening of each modality; None where the shape has none."""
        for number, one in enumerate(whitenings):
            if one is not None:
                for name, array in zip(WHITENING, (one.centre, one.factor), strict=True):
                    self.get_buffer(f"{name}_{number}").copy_(torch.from_numpy(array))

    def _whitened(self, vector: torch.Tensor, number: int) -> torch.Tensor:
        if number not in self.shape.whitened_numbers:
            return vector
        centre, factor = (self.get_buffer(f"{name}_{number}") for name in WHITENING)
        centred = vector - centre
        return centred @ factor if factor.ndim > 1 else centred * factor

    def logits(self, vectors: Sequence[Floats], present: Sequence[Mask]) -> Floats:
        """`forward` over numpy arrays, without dropout and gradients: (n, classes) float32."""
        self.eval()
        own = next(self.parameters())
        with torch.inference_mode():
            scores = self(
                [torch.from_numpy(np.ascontiguousarray(block)).to(own) for block in vectors],
                [torch.from_numpy(mask.astype(np.float32)).to(own) for mask in present],
            )
        array: Floats = scores.float().cpu().numpy()
        return array


def save_heads(folder: Path, heads: Mapping[str, Head]) -> None:
    """Write `head.safetensors`; the shapes belong in `model.json`. Raises OSError."""
    tensors = {
        f"{member}.{name}": tensor.contiguous()
        for member, head in heads.items()
        for name, tensor in head.state_dict().items()
    }
    # Serialised to bytes first, so that a full disk raises OSError.
    (folder / HEAD_FILE).write_bytes(save(tensors))


def load_heads(folder: Path, shapes: Mapping[str, HeadShape]) -> dict[str, Head]:
    """Read saved heads.

    Raises StoreError if the file is missing, does not hold exactly the tensors of the shapes, or
    holds NaN, infinity or a number beyond `LARGEST`.
    """
    path = folder / HEAD_FILE
    with blamed_on(str(path), AGAIN), safe_open(path, "pt") as file:
        wanted = {
            f"{member}.{name}": (*size,)
            for member, shape in shapes.items()
            for name, size in shape.tensors.items()
        }
        check_tensors(file, wanted, "tensor")
        heads = {}
        for member, shape in shapes.items():
            tensors = {name: file.get_tensor(f"{member}.{name}") for name in shape.tensors}
            for name, tensor in tensors.items():
                least, most = tensor.aminmax()
                if not (least >= -LARGEST and most <= LARGEST):
                    raise ValueError(f"{member}.{name} has numbers that are no weights")
            # On the meta device: initialising weights takes longer than reading these.
            with torch.device("meta"):
                heads[member] = Head(shape)
            heads[member].load_state_dict(
                {n: one.clone() for n, one in tensors.items()}, assign=True
            )
    return {member: head.eval() for member, head in heads.items()}
