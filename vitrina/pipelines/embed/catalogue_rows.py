"""Conversion of a catalogue's products to rows of the product table, compared with the snapshot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Batch, Product, Rejection
from vitrina.errors import StoreError
from vitrina.ids import IdSet, Keys, id_keys
from vitrina.pipelines.common.photo_hashes import NO_PHOTO, Photographed, PhotoHasher
from vitrina.pipelines.embed.category_changes import CategoryTally
from vitrina.pipelines.embed.change_guard import ChangeCounts, share_words
from vitrina.pipelines.embed.id_forms import IdForms
from vitrina.pipelines.embed.ingest_result import Ingested, IngestOptions, NotFound, UnreadablePhoto
from vitrina.pipelines.embed.snapshot import ProductSnapshot
from vitrina.pipelines.embed.source_choice import SourceTwins
from vitrina.stage_timer import timed_each
from vitrina.store.products import content_hash
from vitrina.store.sources import Source
from vitrina.store.store import OpenStore
from vitrina.types import Codes, Mask, Modality, ProductId

Row = dict[str, Any]


class CatalogueRows:
    """Converts batches of a catalogue to rows of the product table, and counts changes.

    Attributes:
        seen: keys of the catalogue's usable rows.
        mentioned: keys of its rejected rows.
        nameless: number of rejected rows without a usable id.
        counts: products that lost or changed something.
        tally: counts of categories.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: OpenStore,
        snapshot: ProductSnapshot,
        forms: IdForms,
        options: IngestOptions,
        result: Ingested,
    ) -> None:
        self.result, self.seen, self.mentioned = result, IdSet(), IdSet()
        self.nameless = 0
        self.tally = CategoryTally()
        self._catalogue, self._snapshot, self._forms = catalogue, snapshot, forms
        self._options, self._source = options, result.source.name
        self._own = -1
        if self._source in snapshot.source_names:
            self._own = snapshot.source_names.index(self._source)
        own = self.own(snapshot.source_codes)
        self.counts = ChangeCounts(
            products=int(own.sum()),
            titles=int((own & snapshot.titled).sum()),
            labels=int((own & (snapshot.categories.codes >= 0)).sum()),
        )
        self._labels = [
            forms.category(key) if forms.category is str else key for key in snapshot.categories.ids
        ]
        self._twins = None
        if not options.accept_changes:
            self._twins = SourceTwins.of(store.sources, result.source, snapshot)
        self._hasher = None
        if options.photos and catalogue.images is not None:
            self._hasher = PhotoHasher(catalogue.images, rehash=options.rehash)

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """Convert a batch to rows of the table, one for each product, in order."""
        self._note_rejected(batch.rejected)
        products = batch.products
        if not products:
            return []
        ids = self._forms.product_ids([product.product_id for product in products])
        keys = id_keys(ids)
        self.seen.add(keys)
        self.result.fresh += len(products)
        positions = self._snapshot.positions(keys)
        self._refuse_others(ids, positions)
        if self._twins is not None:
            self._twins.add(products)
        rows = []
        for product_id, product, photo in zip(
            ids, products, self._photos(products, positions), strict=True
        ):
            if photo.reason:
                self.result.unreadable.append(
                    UnreadablePhoto(product_id, photo.reason, photo.tried)
                )
            if product.label_fault:
                self.result.faulty_labels.append(
                    Rejection(product.row, product.label_fault, product_id)
                )
            if photo.missing:
                self.result.not_found.append(NotFound(product_id, photo.missing))
            metadata = None
            if product.metadata:
                metadata = json.dumps(dict(product.metadata), ensure_ascii=False)
            text = product.text
            rows.append(
                {
                    "product_id": product_id,
                    "source": self._source or None,
                    "title": product.title,
                    "description": product.description,
                    "attributes": product.attributes,
                    "characteristics": product.characteristics,
                    "shop": product.shop,
                    "category_id": self._forms.category_id(product.category_id),
                    "category_name": product.category_name,
                    "metadata": metadata,
                    "images": photo.references,
                    "text_hash": content_hash(text.encode()) if text else None,
                    "image_hash": photo.hash,
                    "image_stamp": photo.stamp,
                }
            )
        if not self._catalogue.has_categories:
            self._keep_labels(rows, positions)
        self._count(rows, positions)
        return rows

    def _keep_labels(self, rows: Sequence[Row], positions: Codes) -> None:
        """Copy the categories of known products from the snapshot if the catalogue has no column of
        categories."""
        there = np.flatnonzero(positions >= 0)
        kept = self._snapshot.labels(positions[there])
        self.counts.unsaid += sum(category is not None for category, _ in kept)
        for place, (category, name) in zip(there.tolist(), kept, strict=True):
            rows[place] |= {"category_id": category, "category_name": name}

    def own(self, codes: Codes) -> Mask:
        """Select products of this source: (n,) bool. codes: (n,) int64, source of each product."""
        mask: Mask = codes == self._own
        return mask

    def check_twins(self) -> None:
        """Raise UnusualChangeError if the source looks like another source of the store under a new
        name."""
        if self._twins is not None:
            self._twins.check(self.result.fresh, self._catalogue.path)

    def _note_rejected(self, rejected: Sequence[Rejection]) -> None:
        ids = []
        for row in rejected:
            product_id = self._forms.rejected_id(row.product_id)
            self.result.rejected.append(Rejection(row.row, row.reason, product_id))
            if product_id is None:
                self.nameless += 1
            else:
                ids.append(product_id)
        self.mentioned.add(_keys_of_any(ids))

    def _refuse_others(self, ids: Sequence[ProductId], positions: Codes) -> None:
        """Raise StoreError for an id that belongs to a product of another source."""
        there = np.flatnonzero(positions >= 0)
        codes = self._snapshot.source_codes[positions[there]]
        others = np.flatnonzero(codes != self._own)
        if len(others):
            other = self._snapshot.source_names[codes[others[0]]]
            raise StoreError(
                f"{self._catalogue.path}: product {ids[there[others[0]]]} is in the store as a "
                f"product of {Source(other).title}; use --source {other!r} if these are its "
                "products, or another --source NAME"
            )

    def _photos(self, products: Sequence[Product], positions: Codes) -> Iterable[Photographed]:
        if self._hasher is None:
            # Nobody looked at the photos: what was known of them stands.
            return self._snapshot.photos(positions)
        known = [NO_PHOTO] * len(products)
        if not self._options.rehash:
            known = self._snapshot.stamped(positions, retry_failed=self._options.retry_failed)
        return timed_each("hashing photos", self._hasher.hash(products, known))

    def _count(self, rows: Sequence[Row], positions: Codes) -> None:
        """Count the changes and the categories of a batch."""
        result, snapshot = self.result, self._snapshot
        self.tally.add((row["category_id"], row["category_name"] or "") for row in rows)
        there = np.flatnonzero(positions >= 0)
        result.new += len(rows) - len(there)
        if not len(there):
            return
        known, at = [rows[place] for place in there.tolist()], positions[there]
        same_text = snapshot.same_hashes(Modality.TEXT, at, known)
        same = same_text & snapshot.same_hashes(Modality.IMAGE, at, known)
        same_rest = snapshot.same_rest(at, known)
        result.changed += int((~same).sum())
        result.relabelled += int((same & ~same_rest).sum())
        result.unchanged += int((same & same_rest).sum())
        self._compare_titles(known, at, same_text)
        if self._hasher is not None:
            had = snapshot.has_photo(at)
            self.counts.photographed += int(had.sum())
            lost = [row["image_hash"] is None for row in known]
            self.counts.photos_lost += int((had & np.array(lost, dtype=bool)).sum())
        self._compare_labels(known, at, same_text)

    def _compare_titles(self, rows: Sequence[Row], at: Codes, same_text: Mask) -> None:
        counts, had = self.counts, self._snapshot.titled[at]
        counts.titled += int(had.sum())
        changed = []
        for place in np.flatnonzero(had & ~same_text).tolist():
            title = rows[place]["title"]
            if not title:
                counts.titles_lost += 1
            elif not self._snapshot.same_title(int(at[place]), title):
                changed.append(place)
        counts.titles_changed += len(changed)
        before = self._snapshot.titles(at[changed])
        counts.replaced += sum(
            not share_words(old, rows[place]["title"])
            for old, place in zip(before, changed, strict=True)
        )

    def _compare_labels(self, rows: Sequence[Row], at: Codes, same_text: Mask) -> None:
        codes = self._snapshot.categories.codes[at]
        labelled = np.flatnonzero(codes >= 0).tolist()
        moves = Counter(
            (self._labels[codes[place]], rows[place]["category_id"], bool(same_text[place]))
            for place in labelled
        )
        for (before, now, is_same_text), count in moves.items():
            self.counts.labelled += count
            self.counts.labels_lost += count * (now is None)
            self.counts.labels_changed += count * (now is not None and now != before)
            self.tally.mentioned[before] += count
            self.tally.moves[before, now] += count * is_same_text


def _keys_of_any(ids: Sequence[ProductId]) -> Keys:
    """Return the keys of those ids that are valid."""
    keys = []
    for one in ids:
        try:
            keys.append(id_keys([one]))
        except ValueError:
            continue
    return np.concatenate(keys) if keys else np.empty(0, dtype=np.uint64)
