"""Catalogue in: every product with the hash of its contents, into the store's product table."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Batch, Product, Rejection
from vitrina.errors import CatalogueError, StoreError
from vitrina.ids import IdSet, Keys, id_keys
from vitrina.pipelines.category_changes import (
    CategoryChanges,
    CategoryTally,
    compare_categories,
    reused_names,
)
from vitrina.pipelines.change_guard import (
    ChangeCounts,
    check_changes,
    check_rejections,
    share_words,
)
from vitrina.pipelines.id_forms import IdForms
from vitrina.pipelines.photos import NO_PHOTO, Photographed, PhotoHasher
from vitrina.pipelines.progress import Meter
from vitrina.pipelines.snapshot import ProductSnapshot
from vitrina.pipelines.source_choice import SourceTwins
from vitrina.stages import timed_each
from vitrina.store.manifest import FileEntry
from vitrina.store.products import ProductWriter, content_hash, schema
from vitrina.store.shards import array_keys
from vitrina.store.sources import Source, with_retired
from vitrina.store.store import Store
from vitrina.store.writer import Writer
from vitrina.types import Codes, Mask, Modality, ProductId

_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")


Row = dict[str, Any]


@dataclass(frozen=True)
class IngestOptions:
    """How to read a catalogue into a store.

    photos: whether to look at the photos. prune: drop the source's products that the catalogue
    does not mention. max_failures: the share of rows that may be unusable. accept_changes: however
    much vanished or changed. retry_failed: read photos again that could not be read. rehash: read
    all photos again, though their files look unchanged.
    """

    photos: bool = True
    prune: bool = False
    max_failures: float = 0.05
    accept_changes: bool = False
    retry_failed: bool = False
    rehash: bool = False
    quiet: bool = True


@dataclass(frozen=True)
class Unreadable:
    """A photo that can't be read. tried: in this run; else it failed before and looks the same."""

    product_id: ProductId
    reason: str
    tried: bool


@dataclass(frozen=True)
class NotFound:
    """A product of which the catalogue names photos, and none of them is there."""

    product_id: ProductId
    reason: str


@dataclass
class Ingested:
    """The outcome of reading a catalogue, in products.

    Attributes:
        source: of the catalogue, with the category ids that it has reused by now.
        products: parts of the new table.
        lasting: how many of these parts stay; the rest holds what a successful run prunes.
        retyped: whether the store's product ids become strings.
        fresh: rows of this catalogue, which come first in the table: `new` ones, `changed` in text
            or photo, `relabelled` in category or metadata alone, and `unchanged`.
        kept: rows of earlier catalogues that stand after them. spared: those of them that this
            catalogue mentions in a row that can't be used.
        removed: rows to be pruned, which stand last. unpruned: rows that would be pruned, were all
            rows readable.
        rejected: rows that can't be used. faulty_labels: rows whose category can't be used.
        unreadable: photos that are there and can't be read. not_found: those that aren't there.
        categories: what happened to the category tree.
    """

    source: Source
    products: tuple[FileEntry, ...] = ()
    lasting: int = 0
    retyped: bool = False
    fresh: int = 0
    new: int = 0
    changed: int = 0
    relabelled: int = 0
    unchanged: int = 0
    kept: int = 0
    spared: int = 0
    removed: int = 0
    unpruned: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    faulty_labels: list[Rejection] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    not_found: list[NotFound] = field(default_factory=list)
    categories: CategoryChanges = field(default_factory=CategoryChanges)

    @property
    def rows(self) -> int:
        """Rows of the catalogue."""
        return self.fresh + len(self.rejected)

    def rejections(self) -> str:
        """The commonest reasons, how often each came up and where first, for the summary."""
        return commonest(self.rejected)


def commonest(rows: Sequence[Rejection]) -> str:
    """The three commonest reasons of some rows, with how often each came up and where first.

    Reasons that differ in the values they quote are one.
    """
    first: dict[str, Rejection] = {}
    counted: Counter[str] = Counter()
    for row in rows:
        kind = _VALUE.sub("", row.reason)
        counted[kind] += 1
        first.setdefault(kind, row)
    return "; ".join(
        f"{first[kind].reason}: {count} rows, the first is row {first[kind].row}"
        if count > 1
        else f"{first[kind].reason}: row {first[kind].row}"
        for kind, count in counted.most_common(3)
    )


def ingest(
    catalogue: Catalogue, store: Store, writer: Writer, source: Source, options: IngestOptions
) -> Ingested:
    """Stream a catalogue into new parts of the product table; nothing is live until a commit.

    Raises CatalogueError if no row can be used, TooManyFailuresError if too many can't,
    UnusualChangeError if too much vanished or changed, StoreError if an id is of another source.
    """
    result = Ingested(source)
    forms = IdForms.of(catalogue, store, source)
    result.retyped = forms.retyped
    table = ProductWriter(writer, schema(*forms.arrow))
    snapshot = ProductSnapshot(store, forms.category)
    reading = _Reading(catalogue, store, snapshot, forms, options, result)
    try:
        with Meter("reading", unit="rows", quiet=options.quiet) as meter:
            for batch in catalogue.batches():
                table.add(reading.rows(batch))
                meter.advance(len(batch.products) + len(batch.rejected))
        if result.fresh == 0:
            raise CatalogueError(
                f"{catalogue.path}: no row can be used ({result.rejections() or 'it has no rows'})"
            )
        check_rejections(
            len(result.rejected),
            result.rows,
            options.max_failures,
            result.rejections(),
            catalogue.path,
        )
        reading.check_twins()
        _carry_over(store, snapshot, reading, table, options)
        reading.counts.removed = result.removed
        if not options.accept_changes:
            check_changes(reading.counts, catalogue.path, source.title)
        _compare_categories(snapshot, reading, options)
        result.products = table.finish()
        result.lasting = result.lasting or len(result.products)
    finally:
        table.close()
    return result


class _Reading:
    """Turns batches of a catalogue into rows of the table, and counts what became of each.

    Attributes:
        seen: keys of the products that the catalogue gave. mentioned: keys of its other rows.
        nameless: rows that can't be used and tell no id.
        counts: what vanished or changed. tally: what the catalogue says of its categories.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: Store,
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
            self._hasher = PhotoHasher(catalogue.images, anew=options.rehash)

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """One row of the table for each product of a batch, in order."""
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
                self.result.unreadable.append(Unreadable(product_id, photo.reason, photo.tried))
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
        """Give products the categories that they have: a catalogue without a column of categories
        says nothing of them."""
        there = np.flatnonzero(positions >= 0)
        kept = self._snapshot.labels(positions[there])
        self.counts.unsaid += sum(category is not None for category, _ in kept)
        for place, (category, name) in zip(there.tolist(), kept, strict=True):
            rows[place] |= {"category_id": category, "category_name": name}

    def own(self, codes: Codes) -> Mask:
        """(n,) bool: which products of the store, by their sources' codes, are of this source."""
        mask: Mask = codes == self._own
        return mask

    def check_twins(self) -> None:
        """Raise UnusualChangeError where the source looks like one of the store's under another
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
        """Raise StoreError for an id that a product of another source has."""
        there = np.flatnonzero(positions >= 0)
        codes = self._snapshot.source_codes[positions[there]]
        others = np.flatnonzero(codes != self._own)
        if len(others):
            other = self._snapshot.source_names[codes[others[0]]]
            raise StoreError(
                f"{self._catalogue.path}: product {ids[there[others[0]]]} stands in the store as a "
                f"product of {Source(other).title}; say --source {other!r} if these are its "
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
        """Count what became of the products of a batch, and what its categories are."""
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
    """Keys of ids of which some may be no ids at all."""
    keys = []
    for one in ids:
        try:
            keys.append(id_keys([one]))
        except ValueError:
            continue
    return np.concatenate(keys) if keys else np.empty(0, dtype=np.uint64)


def _carry_over(
    store: Store,
    snapshot: ProductSnapshot,
    reading: _Reading,
    table: ProductWriter,
    options: IngestOptions,
) -> None:
    """Carry over the products that the catalogue did not give, and put those to be pruned last.

    A product whose row can't be used stays as it was. Where such a row does not even tell whose it
    is, any product that is missing may be meant, and none is pruned.
    """
    if not len(snapshot):
        return
    result = reading.result
    gone: list[Codes] = []
    columns = [name for name in table.schema.names if name in store.products.schema.names]
    held_back = bool(reading.nameless) and not options.accept_changes
    # Without rows to carry over, their ids are all that is read.
    for start, batch in store.products.batches(["product_id"]):
        keys = array_keys(batch.column("product_id"))
        others = ~reading.seen.contains(keys)
        if not others.any():
            continue
        at = np.flatnonzero(others) + start
        mentioned = reading.mentioned.contains(keys[others])
        own = reading.own(snapshot.source_codes[at])
        result.spared += int((mentioned & own).sum())
        dropped = own & ~mentioned if options.prune else np.zeros(len(at), dtype=bool)
        if held_back:
            result.unpruned += int(dropped.sum())
            dropped[:] = False
        result.kept += int((~dropped).sum())
        result.removed += int(dropped.sum())
        table.add(_rows_at(store, at[~dropped], columns, table.schema))
        gone.append(at[dropped])
    if result.removed:
        result.lasting = table.end_part()
        for at in gone:
            table.add(_rows_at(store, at, columns, table.schema))


def _rows_at(
    store: Store, at: Codes, columns: Sequence[str], wanted: pa.Schema
) -> list[dict[str, Any]]:
    """Rows of the store's table as rows of the new one, whose ids may be strings by now."""
    if not len(at):
        return []
    taken = store.products.take(at, columns)
    kinds = pa.schema([wanted.field(name) for name in columns])
    rows: list[dict[str, Any]] = taken.cast(kinds).to_pylist()
    return rows


def _compare_categories(
    snapshot: ProductSnapshot, reading: _Reading, options: IngestOptions
) -> None:
    """Find what happened to the category tree; ids that were reused are noted with the source."""
    if not reading.tally.products:
        return
    result = reading.result
    before = snapshot.category_names(result.source.name)
    labels = snapshot.categories
    counted = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.ids))
    kind = snapshot.category_id
    sizes = {kind(key): int(n) for key, n in zip(labels.ids, counted.tolist(), strict=True)}
    before = {kind(key): names for key, names in before.items()}
    prune = options.prune and not result.unpruned
    result.categories = compare_categories(before, sizes, reading.tally, prune=prune)
    if reused := reused_names(result.categories, before):
        result.source = with_retired(result.source, reused)
