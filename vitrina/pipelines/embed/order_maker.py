"""Orders of a space's plan: their terms, and the texts or photo references of their contents."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from vitrina._version import __version__
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import TEXT_FIELDS, encoder_text
from vitrina.data.sources import WEB, NamedImages
from vitrina.errors import ImageSourceError
from vitrina.store.orders import Order, OrderTerms
from vitrina.store.products import Products
from vitrina.store.space import Space
from vitrina.types import Codes, Dtype, Modality


@dataclass(frozen=True)
class OrderMaker:
    """Makes the orders of one space."""

    terms: OrderTerms
    products: Products
    first: Codes

    @classmethod
    def of(cls, products: Products, first: Codes, space: Space, catalogue: Catalogue) -> OrderMaker:
        """first: (n,) from `first_positions`. Raises StoreError if the space's card is invalid."""
        kind = space.vector_type
        is_text = space.modality is Modality.TEXT
        terms = OrderTerms(
            space=space.name,
            modality=space.modality,
            fingerprint=space.entry.fingerprint,
            compute=space.compute or "",
            dtype=Dtype(space.card["dtype"]),
            dim=kind.list_size,
            max_pixels=0 if is_text else catalogue.reading.max_pixels,
            version=__version__,
        )
        return cls(terms, products, first)

    def order(self, positions: Codes, encoded: Codes) -> Order:
        """The order of some products. encoded: (m,) int64, the rows whose contents are encoded."""
        wanted = positions[encoded]
        texts, photos = [], []
        if self.terms.modality is Modality.TEXT:
            rows = self.products.take(wanted, TEXT_FIELDS).to_pylist()
            texts = [encoder_text(**row) for row in rows]
        else:
            photos = self.products.take(wanted, ["images"]).column("images").to_pylist()
        return Order(
            self.terms,
            positions,
            self.products.ids.take(pa.array(positions)),
            self.products.hashes(self.terms.modality)[positions],
            self.first[positions],
            encoded,
            texts,
            photos,
        )


def check_reachable(catalogue: Catalogue) -> None:
    """Raise ImageSourceError if other machines can't open a catalogue's photos."""
    location = catalogue.reading.images
    if location is not None and (location == WEB or isinstance(catalogue.images, NamedImages)):
        return
    raise ImageSourceError(
        f"{catalogue.path}: the photos are in the catalogue itself, where `vitrina work` can't "
        "reach them; put them into a folder, an archive or on the web, or use --engine local"
    )
