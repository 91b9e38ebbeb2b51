"""Options and result of a catalogue's ingestion."""

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
    """Options of an ingestion.

    photos: whether to read photos. prune: drop the source's products that the catalogue does not
    mention. failures: limit on rejected rows. accept_changes: accept any number of vanished or
    changed products. retry_failed: read unreadable photos again. rehash: read all photos again,
    even if their files look unchanged.
    """

    photos: bool = True
    prune: bool = False
    failures: FailureLimit = USUAL_LIMIT
    accept_changes: bool = False
    retry_failed: bool = False
    rehash: bool = False
    quiet: bool | None = None


@dataclass(frozen=True)
class UnreadablePhoto:
    """A photo that can't be read. tried: in this run; otherwise in a previous one, and its file
    looks unchanged."""

    product_id: ProductId
    reason: str
    tried: bool


@dataclass(frozen=True)
class NotFound:
    """A product whose photos are named in the catalogue but all missing."""

    product_id: ProductId
    reason: str


@dataclass
class Ingested:
    """Result of an ingestion; counts are in products.

    Attributes:
        source: the catalogue's source, with the category ids that it has reused so far.
        products: parts of the new table.
        lasting: number of these parts to keep; the other parts hold the products to prune.
        retyped: whether the store's product ids become strings.
        fresh: rows of this catalogue, first in the table: `new`, `changed` in text or photo,
            `relabelled` in category or metadata alone, and `unchanged`.
        kept: rows of earlier catalogues, after them. spared: those of them that this catalogue
            mentions in a rejected row.
        removed: rows to prune, last in the table. unpruned: rows that would be pruned if no row
            had been rejected.
        rejected: rejected rows. faulty_labels: rows with an unusable category.
        unreadable: photos that exist but can't be read. not_found: products without any of their
            photos.
        categories: changes of the category tree.
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
        """Number of the catalogue's rows."""
        return self.fresh + len(self.rejected)

    def rejections(self) -> str:
        """The most common reasons for rejections, with counts and first rows, for the summary."""
        return commonest(self.rejected)


def commonest(rows: Sequence[Rejection]) -> str:
    """Return the three most common rejection reasons, each with its count and first row.

    Reasons that differ only in quoted values are counted together.
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
