"""Options and outcome of reading a catalogue into a store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from vitrina.data.product import Rejection
from vitrina.pipelines.embed.category_changes import CategoryChanges
from vitrina.pipelines.embed.change_guard import USUAL_LIMIT, FailureLimit
from vitrina.store.entries import FileEntry
from vitrina.store.sources import Source
from vitrina.types import ProductId

_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")


@dataclass(frozen=True)
class IngestOptions:
    """Options of reading a catalogue into a store.

    photos: whether to look at the photos. prune: drop the source's products that the catalogue
    does not mention. failures: how many rows may be unusable. accept_changes: however
    much vanished or changed. retry_failed: read photos again that could not be read. rehash: read
    all photos again, though their files look unchanged.
    """

    photos: bool = True
    prune: bool = False
    failures: FailureLimit = USUAL_LIMIT
    accept_changes: bool = False
    retry_failed: bool = False
    rehash: bool = False
    quiet: bool = True


@dataclass(frozen=True)
class UnreadablePhoto:
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
    unreadable: list[UnreadablePhoto] = field(default_factory=list)
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
