"""Encoder protocols, the encoder card, and the reader of fitted encoders' state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from vitrina.errors import EncoderError, FingerprintError
from vitrina.store.damage import blamed_on
from vitrina.types import Compute, Modality, Vectors

if TYPE_CHECKING:
    from PIL.Image import Image

Texts: TypeAlias = Callable[[], Iterable[Sequence[str]]]
"""Starts a pass over texts in batches; may be called again."""

Images: TypeAlias = Callable[[], "Iterable[Iterable[Image]]"]
"""Starts a pass over decoded images in batches; may be called again."""


Prepared: TypeAlias = npt.NDArray[Any]
"""One preprocessed picture in an encoder's own input form: bytes, floats or features."""


AGREEMENT = {Compute.FLOAT32: 0.9999, Compute.BFLOAT16: 0.9995, Compute.INT8: 0.99}
"""Minimum cosine to the model's own float32 vectors, over the probes, to use each format."""


@dataclass(frozen=True)
class EncoderCard:
    """Identity of the encoder that made a space. `model` is the name that `load` takes.

    `fingerprint` covers everything that determines the output except the device and the numeric
    format: these are chosen so that vectors stay close to float32's (`AGREEMENT`).
    `details` describes the fingerprint's inputs for readers.
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
        """Check that a fingerprint is this encoder's.

        wanted_by: names what the fingerprint belongs to. Raises FingerprintError naming both.
        """
        if fingerprint != self.fingerprint:
            raise FingerprintError(
                f"{wanted_by} was made with {self.modality} encoder {fingerprint[:12]}, "
                f"but {self.model} is {self.fingerprint[:12]}; "
                "use the model it was made with, or embed, index and train again"
            )


class TextEncoder(Protocol):
    """Maps texts to vectors."""

    @property
    def card(self) -> EncoderCard:
        """The encoder's card."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Texts to (len(texts), dim) float32, L2-normalised, in the order given."""
        ...


@runtime_checkable
class PromptedTextEncoder(Protocol):
    """A text encoder that has a prompt of its own for search queries."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """As `TextEncoder.encode`, for search queries."""
        ...


def encode_queries(encoder: TextEncoder, texts: Sequence[str]) -> Vectors:
    """Search queries to (len(texts), dim) float32, L2-normalised, in the order given."""
    if isinstance(encoder, PromptedTextEncoder):
        return encoder.encode_queries(texts)
    return encoder.encode(texts)


class ImageEncoder(Protocol):
    """Maps decoded images to vectors in two steps, the first of which runs in threads."""

    @property
    def card(self) -> EncoderCard:
        """The encoder's card."""
        ...

    @property
    def edge(self) -> int:
        """Shortest edge, in pixels, that `prepare` needs."""
        ...

    @property
    def batch(self) -> int:
        """Batch size of `encode`."""
        ...

    def together(self) -> AbstractContextManager[int]:
        """Context for calls of `encode` from several threads, which must start within it. Gives the
        useful number of threads, 1 if a single one is as fast."""
        ...

    def prepare(self, image: Image) -> Prepared:
        """Preprocess one RGB image for `encode`; thread-safe."""
        ...

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """Prepared images to (len(prepared), dim) float32, L2-normalised."""
        ...


class Fitted(Protocol):
    """An encoder that is fitted on a catalogue and kept in its store."""

    def save(self, folder: Path) -> None:
        """Write the fitted state into an existing folder, without pickle."""
        ...


REFIT = "run `vitrina embed` with --refit"
LARGEST = 1e6
"""Largest value in a fitted encoder, so that no vector overflows."""
LONGEST = 1 << 16
"""Largest vector dimension of a fitted encoder."""


def load_state(path: Path, kinds: Mapping[str, tuple[str, int]]) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a fitted encoder.

    kinds: dtype (safetensors' name) and number of dimensions of each array. All arrays have equal
    length along the first axis; the second has at most `LONGEST`.

    Raises EncoderError if the file is missing or damaged, holds other arrays, or float32 values
    that are not finite or exceed `LARGEST`.
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
