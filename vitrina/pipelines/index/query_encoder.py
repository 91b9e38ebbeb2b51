"""Vectors of queries: of a text, an image, or both, by the encoders of an index."""

from __future__ import annotations

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitrina.data.photo_values import encoded
from vitrina.data.sources.base import read_photo
from vitrina.embedder.base import ImageEncoder, TextEncoder, encode_queries
from vitrina.embedder.photos import prepare_photo
from vitrina.errors import (
    EncoderError,
    HubUnreachableError,
    ImageError,
    ImageSourceError,
    StoreError,
)
from vitrina.index.search import VectorIndex
from vitrina.pipelines.common.encoders import Encoder, encoder_of, text_tower_of
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.types import Modality, Vectors


class IndexQueries:
    """Encodes queries for an index of a store. Encoders are loaded once, when they are needed."""

    def __init__(self, store: OpenStore, vectors: VectorIndex) -> None:
        self.store, self.vectors = store, vectors

    def encode(self, text: str | None, image: str | Path | Any, max_pixels: int) -> Vectors:
        """A text, an image or both as one query: (1, dim) float32, L2-normalised.

        image: a file, its bytes, a PIL image or (h, w, 3) uint8 pixels. max_pixels: larger images
        are refused.
        Raises StoreError if there is nothing to search for, or the index has no vectors to compare
        it with, ImageSourceError for an image that can't be used.
        """
        given = {Modality.TEXT: text, Modality.IMAGE: image}
        queries = [modality for modality, value in given.items() if value is not None]
        if not queries:
            raise StoreError("give a product, a text or an image to find neighbours of")
        lacking = [modality for modality in queries if modality not in self.vectors.modalities]
        if lacking == [Modality.TEXT]:
            return self._encode_for_photos(str(text), image, max_pixels)
        if lacking:
            raise StoreError(
                f"the index at {self.vectors.where} holds no {lacking[0]} vectors; "
                f"run `vitrina index` with --features {lacking[0]} or fused"
            )
        vectors, present = [], []
        for modality in self.vectors.modalities:
            space = self.store.space(modality)
            value = given[modality]
            vectors.append(
                np.zeros((1, space.dim), dtype=np.float32)
                if value is None
                else _encode_one(self._encoder(space), modality, value, max_pixels)
            )
            present.append(np.array([value is not None]))
        return self.vectors.fusion.fuse(vectors, present)

    def _encode_for_photos(self, text: str, image: str | Path | Any, max_pixels: int) -> Vectors:
        """A text, or the mean of a text and an image, as a query among vectors of photos."""
        space = self.store.space(Modality.IMAGE)
        if self.vectors.rows.whitened:
            raise StoreError(
                f"the index at {self.vectors.where} compares photos with photos alone: their model "
                "had no text tower when it was built; run `vitrina index --rebuild`"
            )
        vectors = self._text_tower.encode([text])
        if image is not None:
            vectors = vectors + _encode_one(self._encoder(space), Modality.IMAGE, image, max_pixels)
        return self.vectors.fusion.fuse([vectors], [np.array([True])])

    @cached_property
    def _text_tower(self) -> TextEncoder:
        space = self.store.space(Modality.IMAGE)
        try:
            return text_tower_of(self.store, space)
        except HubUnreachableError:
            raise
        except EncoderError as err:
            raise StoreError(
                f"the index at {self.vectors.where} holds no text vectors, and its photos can't be "
                f"searched by text ({err}); run `vitrina index` with --features text or fused, or "
                "embed photos with a CLIP or SigLIP"
            ) from err

    def _encoder(self, space: Space) -> Encoder:
        """The encoder of a space; loaded once."""
        fingerprint = space.entry.fingerprint
        if fingerprint not in self._encoders:
            self._encoders[fingerprint] = encoder_of(self.store, space)
        return self._encoders[fingerprint]

    @cached_property
    def _encoders(self) -> dict[str, Encoder]:
        return {}


def _encode_one(
    encoder: Any, modality: Modality, value: str | Path | Any, max_pixels: int
) -> Vectors:
    if modality is Modality.TEXT:
        return encode_queries(cast("TextEncoder", encoder), [str(value)])
    images = cast("ImageEncoder", encoder)
    name = (
        str(value)
        if isinstance(value, (str, PathLike))
        else f"an object of type {type(value).__name__}"
    )
    try:
        data = read_photo(Path(value), name) if isinstance(value, (str, PathLike)) else None
        data = encoded(value) if data is None else data
        if data is None:
            raise ValueError("give a file, its bytes, a PIL image or (h, w, 3) uint8 pixels")
        ready = prepare_photo(images, data, max_pixels).ready
    except (OSError, ValueError, ImageError) as err:
        raise ImageSourceError(f"{name} can't be used as an image: {err}") from err
    return images.encode([ready])
