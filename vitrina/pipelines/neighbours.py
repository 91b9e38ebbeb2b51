"""Looking up neighbours: a product, a text or an image in; products with titles and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitrina.embedder.base import ImageEncoder, TextEncoder
from vitrina.embedder.photos import prepare_photo
from vitrina.errors import ImageError, ImageSourceError, StoreError
from vitrina.ids import id_keys
from vitrina.index.fuse import fuse
from vitrina.index.search import Found, Neighbour, VectorIndex
from vitrina.index.vote import Vote, vote
from vitrina.pipelines.encoders import encoder_of
from vitrina.store.products import Categories
from vitrina.store.store import Store
from vitrina.types import CategoryId, Codes, Features, Floats, Mask, Modality, ProductId, Vectors


@dataclass(frozen=True)
class Near:
    """One neighbour. score: the cosine of the index's vectors, higher is nearer.

    Between complete products of a fused index that is the mean of their text and image cosines.
    A query that has only one modality reaches 0.71 there at most, since half of each complete
    product is unknown to it.
    """

    product_id: ProductId
    score: float
    title: str
    category_id: CategoryId | None
    category_name: str | None

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


class Index:
    """A store's index with the products behind it."""

    def __init__(self, store: Store, vectors: VectorIndex) -> None:
        self.store = store
        self.vectors = vectors
        self._categories: Categories | None = None
        self._labels: Codes | None = None

    @classmethod
    def open(cls, store: Store, features: Features | None = None) -> Index:
        """Open the index of some features; by default the fused one, or the only one there is.

        Raises StoreError if it was not built, FingerprintError if the store's spaces have
        changed since.
        """
        built = [Features(name) for name in store.manifest.indexes]
        if features is None:
            features = built[0] if len(built) == 1 else Features.FUSED
        vectors = VectorIndex.open(store.index_folder(features))
        vectors.check(
            {modality: store.space(modality).entry.fingerprint for modality in vectors.modalities}
        )
        return cls(store, vectors)

    @property
    def card(self) -> dict[str, Any]:
        """What `index.json` holds: factory string, parameters, measured recall, fingerprints."""
        return self.vectors.card

    def search(
        self,
        *,
        product: ProductId | None = None,
        text: str | None = None,
        image: str | Path | None = None,
        k: int = 10,
    ) -> list[Near]:
        """The k nearest products of a product, a text, an image, or a text with an image.

        Raises StoreError for a product that the index does not hold, ImageSourceError for an
        image that can't be used.
        """
        near = self._near(product, text, image, k)
        rows = self.store.products.titles([one.product_id for one in near])
        return [
            Near(
                one.product_id,
                round(one.score, 6),
                row["title"],
                row["category_id"],
                row["category_name"],
            )
            for one, row in zip(near, rows, strict=True)
        ]

    def _near(
        self, product: ProductId | None, text: str | None, image: str | Path | None, k: int
    ) -> list[Neighbour]:
        """The k nearest that the store still holds: products may have gone since it was built."""
        query = None if product is not None else self._encode(text, image)
        wanted = k
        while True:
            if query is None:
                assert product is not None
                found = self._of_product(product, wanted)
            else:
                found = self.vectors.search(query, wanted)
            near = found.neighbours(0)
            there = self.store.products.table.positions(id_keys([one.product_id for one in near]))
            live = [one for one, row in zip(near, there, strict=True) if row >= 0]
            if len(live) >= k or len(near) < wanted:
                return live[:k]
            wanted += max(k, len(near) - len(live))

    def find(self, vectors: Sequence[Floats], present: Sequence[Mask], k: int) -> Found:
        """Neighbours of new products; `vectors` and `present` in the index's modalities' order."""
        return self.vectors.search(fuse(vectors, present, self.vectors.weights), k)

    def vote(self, found: Found) -> tuple[Vote, Codes]:
        """The category vote of the neighbours, and each neighbour's own code, (q, k)."""
        if self._labels is None:
            rows = self.store.products.table.positions(
                id_keys(self.vectors.product_ids.to_pylist())
            )
            self._labels = np.where(rows >= 0, self.categories.codes[rows], -1)
        labels = np.where(found.positions >= 0, self._labels[found.positions], -1)
        return vote(labels, found.scores, classes=len(self.categories.ids)), labels

    @property
    def categories(self) -> Categories:
        """The labels that vote."""
        if self._categories is None:
            self._categories = self.store.products.categories()
        return self._categories

    def _of_product(self, product: ProductId, k: int) -> Found:
        typed = _typed(product, self.vectors.product_ids.type)
        vector = None if typed is None else self.vectors.vector(typed)
        if vector is None:
            raise StoreError(
                f"product {product} is not in the index at {self.vectors.folder}; it is unknown, "
                "has no vector, or came after the index was built (`vitrina index`)"
            )
        return self.vectors.search(vector, k, exclude=[typed])

    def _encode(self, text: str | None, image: str | Path | None) -> Vectors:
        given = {Modality.TEXT: text, Modality.IMAGE: image}
        asked = [modality for modality, value in given.items() if value is not None]
        if not asked:
            raise StoreError("give a product, a text or an image to find neighbours of")
        lacking = [modality for modality in asked if modality not in self.vectors.modalities]
        if lacking:
            raise StoreError(
                f"the index at {self.vectors.folder} holds no {lacking[0]} vectors; "
                f"run `vitrina index` with --features {lacking[0]} or fused"
            )
        vectors, present = [], []
        for modality in self.vectors.modalities:
            space = self.store.space(modality)
            value = given[modality]
            vectors.append(
                np.zeros((1, space.dim), dtype=np.float32)
                if value is None
                else _encode_one(encoder_of(self.store, space), modality, value)
            )
            present.append(np.array([value is not None]))
        return fuse(vectors, present, self.vectors.weights)


def _encode_one(encoder: Any, modality: Modality, value: str | Path) -> Vectors:
    if modality is Modality.TEXT:
        return cast("TextEncoder", encoder).encode([str(value)])
    images = cast("ImageEncoder", encoder)
    try:
        ready = prepare_photo(images, Path(value).read_bytes())
    except (OSError, ImageError) as err:
        raise ImageSourceError(f"{value} can't be used as an image: {err}") from err
    return images.encode([ready])


def _typed(product: ProductId, kind: Any) -> ProductId | None:
    """The id as the store's type; a command line only gives strings."""
    if str(kind) != "int64":
        return str(product)
    try:
        return int(product)
    except ValueError:
        return None
