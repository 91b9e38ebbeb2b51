"""Vectors of a benchmark: frozen ones from the store, and ones of encoders fine-tuned for it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from vitrina.data.sources import ImageSource
from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.embedder.photos import encode_photos
from vitrina.errors import EncoderError, HubUnreachableError, StoreError
from vitrina.parallel import no_progress
from vitrina.pipelines.benchmark.cache_keys import key_of
from vitrina.pipelines.benchmark.dataset import BenchmarkData, in_blocks
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.pipelines.common.encoders import load_encoder
from vitrina.pipelines.common.product_inputs import references
from vitrina.pipelines.finetune.encoder_files import base_text, chosen_base
from vitrina.pipelines.finetune.options import FinetuneOptions
from vitrina.pipelines.finetune.trainer import FinetunedEncoder, tune_image, tune_text
from vitrina.store.gather import Gathered, gather
from vitrina.types import Features, Mask, Modality, Vectors

EFFICIENTNET = ModelRef.parse("timm:efficientnet_b1", Modality.IMAGE)
MARK = "made-for"
"""File beside an encoder's files, with the cache key that it was trained for."""


def is_left_out(options: BenchmarkOptions, modality: Modality) -> bool:
    """True if the options leave a modality out."""
    name: str | None = getattr(options, modality.value)
    return name == ModelKind.NONE


class Encoders:
    """Frozen and fine-tuned encoders of a benchmark, and their vectors, each computed once."""

    def __init__(
        self,
        ground: BenchmarkData,
        options: BenchmarkOptions,
        images: ImageSource | None,
        out: Path,
    ) -> None:
        self._ground, self._options, self._images, self._out = ground, options, images, out
        self._tuned: dict[Modality, FinetunedEncoder] = {}
        self._vectors: dict[tuple[Modality, bool], tuple[Vectors, Mask]] = {}
        self.efficientnet_random = False

    def gathered(self, features: Features, tuned: bool) -> Gathered:
        """The vectors of some features, frozen or fine-tuned.

        Raises EncoderError or StoreError if they cannot be had.
        """
        parts = [self._of(modality, tuned) for modality in features.modalities]
        vectors, present = zip(*parts, strict=True)
        return Gathered(features.modalities, vectors, present)

    def _of(self, modality: Modality, tuned: bool) -> tuple[Vectors, Mask]:
        if (modality, tuned) not in self._vectors:
            vectors = self._encoded(modality) if tuned else self._stored(modality)
            self._vectors[modality, tuned] = vectors
        return self._vectors[modality, tuned]

    def _stored(self, modality: Modality) -> tuple[Vectors, Mask]:
        space = self._ground.store.space(modality)
        if is_left_out(self._options, modality):
            raise StoreError(f"--{modality}-model none leaves it out")
        found = gather(self._ground.store.products, [space])
        return found.vectors[0].astype(np.float32), found.present[0]

    def _encoded(self, modality: Modality) -> tuple[Vectors, Mask]:
        """Vectors of the fine-tuned encoder, as `embed` would make them."""
        if not self._is_kept(modality):
            self.tuned(modality)
        encoder = load_encoder(
            ModelRef.of_trained(f"{modality}-tuned", modality), self._folder(modality)
        )
        count = len(self._ground.codes)
        there = self._ground.store.products.has(modality)
        out = np.zeros((count, encoder.card.dim), dtype=np.float32)
        rows = np.flatnonzero(there)
        if modality is Modality.TEXT:
            words = cast("TextEncoder", encoder)
            for block in in_blocks(rows):
                out[block] = words.encode([self._ground.texts[row] for row in block])
            return out, there
        assert self._images is not None
        places = list(references(self._ground.store.products, no_progress))
        for block in in_blocks(rows):
            photos = [places[row] for row in block]
            found = encode_photos(
                cast("ImageEncoder", encoder),
                photos,
                self._images.read,
                max_pixels=self._options.reading.max_pixels,
            )
            out[block] = found.vectors
            there[block] = found.ok
        return out, there

    def tuned(self, modality: Modality) -> FinetunedEncoder:
        """The encoder of a modality, fine-tuned. Raises EncoderError if it can't be had."""
        if modality not in self._tuned:
            if is_left_out(self._options, modality):
                raise EncoderError(f"--{modality}-model none leaves it out")
            make = self._tuned_text if modality is Modality.TEXT else self._tuned_image
            tuned = make()
            # Saved at once, so that a benchmark resumed after a crash does not train it again.
            folder = self._folder(modality)
            folder.mkdir(parents=True, exist_ok=True)
            tuned.save(folder)
            (folder / MARK).write_text(self._mark(modality))
            self._tuned[modality] = tuned
        return self._tuned[modality]

    def _folder(self, modality: Modality) -> Path:
        return self._out / "encoders" / f"{modality}-tuned"

    def _is_kept(self, modality: Modality) -> bool:
        path = self._folder(modality) / MARK
        return path.exists() and path.read_text() == self._mark(modality)

    def _mark(self, modality: Modality) -> str:
        return key_of(f"{modality}-tuned", self._ground, self._options)

    def _tuned_text(self) -> FinetunedEncoder:
        ground, options = self._ground, self._options
        return tune_text(
            ground.store,
            base_text(ground.store, chosen_base(ground.store, Modality.TEXT, options.text)),
            ground.codes,
            ground.store_split,
            FinetuneOptions(
                modality=Modality.TEXT,
                model=options.text,
                from_scratch=options.from_scratch,
                lower_case=options.lower_case,
                max_length=options.max_length,
                pooling=options.pooling,
                unlabelled=options.unlabelled,
                reading=options.reading,
                epochs=options.text_epochs,
                split=options.split,
                seed=options.seed,
                quiet=options.quiet,
            ),
        )

    def _tuned_image(
        self, model: ModelRef | None = None, from_scratch: bool = False
    ) -> FinetunedEncoder:
        ground, options = self._ground, self._options
        if self._images is None:
            raise EncoderError("there are no photos to look at; say where they are with --images")
        return tune_image(
            ground.store,
            model or chosen_base(ground.store, Modality.IMAGE, options.image),
            self._images,
            ground.codes,
            ground.store_split,
            FinetuneOptions(
                modality=Modality.IMAGE,
                model=str(model) if model else options.image,
                from_scratch=from_scratch,
                reading=options.reading,
                image_size=options.image_size,
                epochs=options.image_epochs,
                split=options.split,
                seed=options.seed,
                quiet=options.quiet,
            ),
        )

    def efficientnet(self) -> FinetunedEncoder:
        """EfficientNet_b1, fine-tuned from its published weights or, where the hub is out of reach,
        from random ones."""
        try:
            return self._tuned_image(EFFICIENTNET)
        except HubUnreachableError:
            self.efficientnet_random = True
            return self._tuned_image(EFFICIENTNET, from_scratch=True)
