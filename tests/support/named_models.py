"""Loading of models by the names that users give them."""

from pathlib import Path

from vitrina.embedder import load
from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.load import ImageFiles
from vitrina.embedder.model_ref import ModelRef
from vitrina.types import Compute, Modality


def load_text(name: str, kept: Path | None = None, compute: Compute | None = None) -> TextEncoder:
    return load.load_text(_parsed(name, Modality.TEXT, kept), kept, compute)


def load_image(name: str, kept: Path | None = None, compute: Compute | None = None) -> ImageEncoder:
    return load.load_image(_parsed(name, Modality.IMAGE, kept), kept, compute)


def find_image(name: str, *, size: int | None = None, from_scratch: bool = False) -> ImageFiles:
    model = ModelRef.parse(name, Modality.IMAGE)
    return load.find_image(model, size=size, from_scratch=from_scratch)


def _parsed(name: str, modality: Modality, kept: Path | None) -> ModelRef:
    # What lies in a folder of its own was fitted or trained.
    return ModelRef.parse(name, modality, [name] if kept else ())
