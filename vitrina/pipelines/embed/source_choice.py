"""Selection of a catalogue's source, and a check against mistaken ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow.compute as pc

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product
from vitrina.errors import UnusualChangeError
from vitrina.ids import id_keys
from vitrina.pipelines.embed.snapshot import ProductSnapshot
from vitrina.store.sources import Source, Sources
from vitrina.store.store import OpenStore

ALIKE = 0.5
"""Share of a new source's products that stand in the store under another source's name, with the
same id and the same title, from which both are taken for one."""


def source_of(catalogue: Catalogue, store: OpenStore, asked: str | None) -> Source:
    """Return the source of a catalogue's products; see `Sources.resolve`."""
    sources = store.sources
    if asked is None and catalogue.source is not None and _made_before_sources(store):
        # Its one source is unnamed, though a feed named it.
        shops = pc.unique(store.products.column("shop")).to_pylist()
        if shops == [catalogue.source]:
            return replace(next(iter(sources)), alias=catalogue.source)
    return sources.resolve(asked, catalogue.source, catalogue.path)


def _made_before_sources(store: OpenStore) -> bool:
    return len(store.products) > 0 and "source" not in store.products.schema.names


@dataclass
class SourceTwins:
    """Counts the products of a new source that the store has under another source."""

    sources: Sequence[Source]
    source: Source
    snapshot: ProductSnapshot
    alike: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, sources: Sources, source: Source, snapshot: ProductSnapshot) -> SourceTwins | None:
        """Create the counter; None if the source is not new."""
        if not len(sources) or sources.named(source.name) is not None:
            return None
        return cls(tuple(sources), source, snapshot)

    def add(self, products: Sequence[Product]) -> None:
        """Count products by their ids in the catalogue."""
        ids = [product.product_id for product in products]
        for one in self.sources:
            theirs = [f"{one.prefix}{product_id}" for product_id in ids] if one.prefix else ids
            positions = self.snapshot.positions(id_keys(theirs))
            for at in np.flatnonzero(positions >= 0).tolist():
                # The whole text would not do: it holds the shop's name.
                same = self.snapshot.same_title(int(positions[at]), products[at].title)
                self.alike[one.name] += same

    def check(self, products: int, catalogue: object) -> None:
        """Raise UnusualChangeError if most products belong to another source."""
        for one in self.sources:
            if self.alike[one.name] > ALIKE * products:
                raise UnusualChangeError(
                    f"{catalogue} belongs to the new source {self.source.name!r}, but "
                    f"{self.alike[one.name]} of its {products} products are in the store as "
                    f"those of {one.title}, with the same ids and titles. Nothing was committed. "
                    f"Use --source {one.name!r} to update these, or --accept-changes to "
                    "keep both"
                )
