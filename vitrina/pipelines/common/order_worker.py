"""The encoders and photos of a machine that computes orders, opened once each."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from vitrina._version import __version__
from vitrina.data.image_limits import MAX_PIXELS
from vitrina.data.sources import open_images
from vitrina.embedder.model_ref import ModelRef
from vitrina.embedder.photos import Read
from vitrina.engines.base import compute_order, to_result
from vitrina.errors import EncoderError, ImageSourceError, StoreError
from vitrina.parallel import no_progress
from vitrina.pipelines.common.encoders import Encoder, load_encoder, model_of, settings_of
from vitrina.pipelines.common.machine_pin import check_machine
from vitrina.pipelines.common.reading import remembered_reading
from vitrina.stage_timer import stage
from vitrina.store.orders import Order, OrderResult, OrderTerms
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.types import Modality


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of a worker that its orders do not carry.

    text, image: names of the models here; None for those that the store remembers. images: the
    photos' place here; None for the catalogue's. max_pixels: maximum of a photo. allow_private:
    whether photos may be fetched from private addresses; None for the environment's setting.
    """

    text: str | None = None
    image: str | None = None
    images: str | None = None
    max_pixels: int = MAX_PIXELS
    allow_private: bool | None = None


class OrderWorker:
    """Computes orders of a store's spaces; to be closed."""

    def __init__(self, store: OpenStore, settings: WorkerSettings) -> None:
        self._store, self._settings, self._stack = store, settings, ExitStack()
        self._encoders: dict[OrderTerms, Encoder] = {}
        self._photos: Read | None = None

    def close(self) -> None:
        """Close the photos."""
        self._stack.close()

    def prepare(self, terms: OrderTerms) -> None:
        """Load the encoder of orders with some terms, and open the photos.

        Raises FingerprintError for another model, EncoderError if it can't be had or runs in other
        numbers here, StoreError for terms of another version and for a machine that does not
        reproduce the space's vectors, ImageSourceError if the photos can't be opened.
        """
        self._encoder(terms)
        self._read(terms)

    def compute(self, order: Order) -> OrderResult:
        """Compute an order. Raises what `prepare` does."""
        self.prepare(order.terms)
        with stage("encoding"):
            encoder, read = self._encoder(order.terms), self._read(order.terms)
            encoded = compute_order(encoder, order, read, no_progress)
        return to_result(encoded, order.key, order.terms)

    def _encoder(self, terms: OrderTerms) -> Encoder:
        if terms not in self._encoders:
            # One space's encoder at a time is in memory.
            self._encoders.clear()
            self._encoders[terms] = self._load(terms)
        return self._encoders[terms]

    def _read(self, terms: OrderTerms) -> Read | None:
        """Fetches a photo; None for text."""
        if terms.modality is Modality.TEXT:
            return None
        if self._photos is None:
            self._photos = self._open_photos()
        return self._photos

    def _load(self, terms: OrderTerms) -> Encoder:
        space = self._space(terms)
        chosen = {Modality.TEXT: self._settings.text, Modality.IMAGE: self._settings.image}
        name, entry = chosen[terms.modality], space.entry.encoder
        model = model_of(space)
        if name is not None and entry is None:
            model = ModelRef.parse(name, terms.modality, ())
        kept = None
        if entry is not None:
            kept = self._store.folder(entry, "run `vitrina embed` with --refit")
        encoder = load_encoder(model, kept, before=space.compute, settings=settings_of(space))
        encoder.card.check(terms.fingerprint, f"the space {terms.space}")
        compute = encoder.card.details.get("compute", "")
        if terms.compute and compute != terms.compute:
            raise EncoderError(
                f"the vectors of the space {terms.space} are made in {terms.compute}, and this "
                f"machine runs {model} in {compute}; work on machines of one kind"
            )
        check_machine(space, encoder)
        return encoder

    def _space(self, terms: OrderTerms) -> Space:
        """The space of some orders. Raises StoreError if their terms are not this machine's."""
        if terms.version != __version__:
            raise StoreError(
                f"the orders of the space {terms.space} were published by Vitrina "
                f"{terms.version}, and this is {__version__}; install one version everywhere"
            )
        space = self._store.open_space(terms.space)
        there = (space.modality, space.entry.fingerprint, space.compute or "")
        if there != (terms.modality, terms.fingerprint, terms.compute):
            raise StoreError(
                f"orders in {self._store.place} are of the encoder {terms.fingerprint[:12]} in "
                f"{terms.compute or 'its own numbers'}, and the space {terms.space} is of "
                f"{space.entry.fingerprint[:12]} in {space.compute or 'its own numbers'}; run "
                "`vitrina compact`, then publish again"
            )
        kind = space.vector_type
        if (kind.list_size, space.card["dtype"]) != (terms.dim, terms.dtype):
            raise StoreError(
                f"orders in {self._store.place} ask for {terms.dim} numbers of {terms.dtype}, and "
                f"the space {terms.space} has {kind.list_size} of {space.card['dtype']}"
            )
        limit = self._settings.max_pixels
        if terms.modality is Modality.IMAGE and terms.max_pixels != limit:
            raise StoreError(
                f"the orders of the space {terms.space} were published with photos of at most "
                f"{terms.max_pixels} pixels, and this worker takes {limit}; give both the same "
                "--max-megapixels"
            )
        return space

    def _open_photos(self) -> Read:
        reading = remembered_reading(self._store)
        location = self._settings.images or reading.images
        if location is None:
            raise ImageSourceError(
                f"{self._store.place} does not remember where the photos are; give --images"
            )
        fetching = reading.fetching
        if self._settings.allow_private is not None:
            fetching = replace(fetching, allow_private=self._settings.allow_private)
        source = open_images(
            location,
            template=None,
            photos=reading.photos,
            sample=(),
            splits=(),
            fetching=fetching,
        )
        self._stack.callback(source.close)
        return source.read
