"""Heads: a multinomial logistic or an MLP classifier over the vectors of one or two modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vitrina.errors import StoreError
from vitrina.training.dropout import Dropout
from vitrina.types import Floats, HeadKind, Mask

HEAD_FILE = "head.safetensors"


@dataclass(frozen=True)
class HeadShape:
    """What a head is made of: enough to build it empty.

    dims: the vector length of each modality. scales: what each block of inputs is multiplied
    by, which sets how much the weight decay trusts it. hidden: the MLP's width.
    """

    kind: HeadKind
    dims: tuple[int, ...]
    scales: tuple[float, ...]
    classes: int
    hidden: int = 512
    dropout: float = 0.3

    def to_json(self) -> dict[str, Any]:
        """As `model.json` holds it."""
        return {**asdict(self), "kind": self.kind.value}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> HeadShape:
        """Read it back."""
        parts = {**value, "kind": HeadKind(value["kind"])}
        return cls(**{**parts, "dims": tuple(parts["dims"]), "scales": tuple(parts["scales"])})


class Head(torch.nn.Module):
    """Class scores from vectors and the bits that say which of them are there.

    With two modalities the input is both vectors, the two mask bits, and each vector once more
    for the products that lack the other one: a product without a photo is judged by weights
    that were trained for that, and its presence does not bend those of complete products.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        alone = sum(shape.dims) if len(shape.dims) > 1 else 0
        width = sum(shape.dims) + alone + len(shape.dims)
        if shape.kind is HeadKind.LOGISTIC:
            self.layers: torch.nn.Module = torch.nn.Linear(width, shape.classes)
            torch.nn.init.zeros_(self.layers.weight)
            torch.nn.init.zeros_(self.layers.bias)
        else:
            self.layers = torch.nn.Sequential(
                Dropout(0.1),
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
        """What the first layer gets of the same: (n, width) float32."""
        # Unit vectors have components near 1/sqrt(dim); as features they should be near 1.
        spread = [
            vector * mask.unsqueeze(1) * vector.shape[1] ** 0.5
            for vector, mask in zip(vectors, present, strict=True)
        ]
        parts = [block * scale for block, scale in zip(spread, self.shape.scales, strict=True)]
        if len(spread) > 1:
            for block, other in zip(spread, reversed(present), strict=True):
                parts.append(block * (1 - other).unsqueeze(1))
        parts.append(torch.stack(list(present), dim=1))
        return torch.cat(parts, dim=1)

    def logits(self, vectors: Sequence[Floats], present: Sequence[Mask]) -> Floats:
        """The same over numpy arrays, without gradients: (n, classes) float32."""
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
    """Write `head.safetensors`; the shapes go into `model.json` with the rest."""
    tensors = {
        f"{member}.{name}": tensor.contiguous()
        for member, head in heads.items()
        for name, tensor in head.state_dict().items()
    }
    # As bytes first: a full disk is then an OSError like any other.
    (folder / HEAD_FILE).write_bytes(save(tensors))


def load_heads(folder: Path, shapes: Mapping[str, HeadShape]) -> dict[str, Head]:
    """Read saved heads.

    Raises StoreError if the file is missing or does not fit the shapes.
    """
    path = folder / HEAD_FILE
    heads = {member: Head(shape) for member, shape in shapes.items()}
    try:
        tensors = load_file(path)
        for member, head in heads.items():
            begin = f"{member}."
            own = {name: one for name, one in tensors.items() if name.startswith(begin)}
            head.load_state_dict({name.removeprefix(begin): one for name, one in own.items()})
    except (OSError, RuntimeError, ValueError, SafetensorError) as err:
        raise StoreError(f"{path} does not hold this head's weights; train it anew") from err
    return {member: head.eval() for member, head in heads.items()}
