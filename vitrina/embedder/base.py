"""What every encoder is: a card, and a way from items to vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from vitrina.errors import EncoderError, FingerprintError
from vitrina.store.damage import blamed_on
from vitrina.types import Modality, Vectors

if TYPE_CHECKING:
    from PIL.Image import Image

Texts: TypeAlias = Callable[[], Iterable[Sequence[str]]]
"""Starts a pass over some texts, a batch at a time; may be called again."""

Images: TypeAlias = Callable[[], "Iterable[Iterable[Image]]"]
"""Starts a pass over some decoded images, a batch at a time; may be called again."""


Prepared: TypeAlias = npt.NDArray[Any]
"""One picture as an encoder takes it: bytes, floats or features, as the encoder has it."""


@dataclass(frozen=True)
class EncoderCard:
    """Which encoder made a space. `model` is what `load` takes to make it again.

    `fingerprint` covers all that decides the output but the device and the numbers it is run in:
    those are chosen so that vectors stay close to float32's (`precision.AGREEMENT`).
    `details` says for people what the fingerprint was taken over.
    """

    modality: Modality
    model: str
    revision: str | None
    fingerprint: str
    dim: int
    details: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The card as `space.json` holds it."""
        return {**asdict(self), "modality": self.modality.value}

    def check(self, fingerprint: str, wanted_by: str) -> None:
        """Refuse to serve what another encoder made.

        Raises FingerprintError naming both.
        """
        if fingerprint != self.fingerprint:
            raise FingerprintError(
                f"{wanted_by} was made with {self.modality} encoder {fingerprint[:12]}, "
                f"but {self.model} is {self.fingerprint[:12]}; "
                "use the model it was made with, or embed, index and train anew"
            )


class TextEncoder(Protocol):
    """Turns texts into vectors."""

    @property
    def card(self) -> EncoderCard:
        """What this encoder is."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given."""
        ...


class ImageEncoder(Protocol):
    """Turns decoded images into vectors, in two steps so that the first runs in threads."""

    @property
    def card(self) -> EncoderCard:
        """What this encoder is."""
        ...

    @property
    def edge(self) -> int:
        """The shortest edge, in pixels, that `prepare` makes use of."""
        ...

    @property
    def batch(self) -> int:
        """Images that `encode` takes at once."""
        ...

    def together(self) -> AbstractContextManager[int]:
        """To be entered before `encode` is called from several threads, which are started within;
        gives how many gain by that, 1 where a single one is as fast."""
        ...

    def prepare(self, image: Image) -> Prepared:
        """One RGB image to what `encode` takes; thread-safe."""
        ...

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """Prepared images to (len(prepared), dim) float32, L2-normalised."""
        ...


class Fitted(Protocol):
    """An encoder that was fitted on a catalogue and is kept in its store."""

    def save(self, folder: Path) -> None:
        """Write the fitted state into an existing folder, without pickle."""
        ...


REFIT = "run `vitrina embed` with --refit"
LARGEST = 1e6
"""The largest number in a fitted encoder: with it no vector overflows."""
LONGEST = 1 << 16
"""The longest vector of a fitted encoder."""


def load_state(path: Path, kinds: Mapping[str, tuple[str, int]]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an encoder that was fitted on a catalogue.

    kinds: of each array its dtype, as safetensors names it, and its dimensions. All have one length
    along the first, and along the second no more than `LONGEST`.

    Raises EncoderError if the file is missing or damaged, holds other arrays, or numbers that are
    not finite.
    """
    with blamed_on(str(path), REFIT, EncoderError), safe_open(path, "np") as file:
        if (have := set(file.keys())) != kinds.keys():
            raise ValueError(f"arrays {sorted(have)}, not {sorted(kinds)}")
        lengths = set()
        for name, (dtype, dimensions) in kinds.items():
            part = file.get_slice(name)
            shape = part.get_shape()
            if (part.get_dtype(), len(shape)) != (dtype, dimensions) or 0 in shape:
                raise ValueError(f"{name} is {part.get_dtype()} of {shape}")
            if dimensions > 1 and shape[1] > LONGEST:
                raise ValueError(f"{name} gives vectors of {shape[1]} numbers")
            lengths.add(shape[0])
        if len(lengths) > 1:
            raise ValueError(f"arrays of the lengths {sorted(lengths)}")
        arrays: dict[str, npt.NDArray[Any]] = {name: file.get_tensor(name) for name in kinds}
        for name, array in arrays.items():
            if array.dtype == np.float32 and not (np.abs(array) <= LARGEST).all():
                raise ValueError(f"{name} has numbers that are out of range")
    return arrays


def normalise(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Scale rows to unit L2 length; a row of zeros stays as it is. (n, dim) float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
