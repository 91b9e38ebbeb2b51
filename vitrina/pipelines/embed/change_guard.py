"""Limits on the products that may vanish, change or fail in one run.

A folder of photos that was not mounted, a truncated feed, or an exporter with swapped columns looks
like a large change of the catalogue and would empty the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vitrina.data.text import normalise_title
from vitrina.errors import TooManyFailuresError, UnusualChangeError

VANISHED = 0.3
"""Share of products, photos, titles or categories that may vanish in one run."""
CHANGED = 0.5
"""Share of titles or categories that may change in one run."""
SLACK = 3
"""Rows that may vanish, change or fail whatever the share: a small catalogue bears accidents."""


USUAL_FAILURES = 0.05
"""Share of rows, and of products of a modality, that may fail by default."""
SHORTEST_WORD = 3
"""Letters of a word that tells what a product is."""


@dataclass
class ChangeCounts:
    """Counts of a source's known products, by the kind of their change.

    Attributes:
        products, titles, labels: products in the store; of these, with a title; with a category.
        removed: products that pruning drops.
        titled, photographed, labelled: products mentioned by the catalogue that had a title, a
            photo that was checked again, a category.
        titles_lost, photos_lost, labels_lost: of these, products that have none now.
        titles_changed, labels_changed: of these, products that have another one. These counts are
            relative to all products of the store, because a catalogue may consist of changed
            products alone.
        unsaid: products that keep their category because the catalogue has no categories.
        replaced: products whose title shares no word with the previous one: other products under
            the same ids.
    """

    products: int = 0
    titles: int = 0
    labels: int = 0
    removed: int = 0
    titled: int = 0
    titles_lost: int = 0
    titles_changed: int = 0
    unsaid: int = 0
    replaced: int = 0
    photographed: int = 0
    photos_lost: int = 0
    labelled: int = 0
    labels_lost: int = 0
    labels_changed: int = 0

    def unusual(self) -> Iterator[str]:
        """Describe each change that exceeds its limit."""
        for count, known, limit, what in (
            (self.removed, self.products, VANISHED, "products are no longer in it"),
            (self.photos_lost, self.photographed, VANISHED, "products with a photo lost it"),
            (self.titles_lost, self.titled, VANISHED, "products with a title lost it"),
            (self.labels_lost, self.labelled, VANISHED, "products with a category lost it"),
            (self.titles_changed, self.titles, CHANGED, "products have another title"),
            (self.labels_changed, self.labels, CHANGED, "products have another category"),
        ):
            if exceeds(count, known, limit):
                yield f"{count} of {known} {what}"
        if exceeds(self.unsaid, self.labels, VANISHED):
            yield f"it has no categories, and {self.unsaid} of its products had one (they keep it)"
        if self.replaced >= SLACK and self.replaced > CHANGED * self.titled:
            yield f"{self.replaced} of the {self.titled} that both have are other products"


@dataclass(frozen=True)
class FailureLimit:
    """Maximum number of rows or products that may fail in one run: a share of all, plus `slack`."""

    share: float
    slack: int = 0

    @classmethod
    def of(cls, share: float | None) -> FailureLimit:
        """Create the limit for `--max-failures`, exact to the row; None for the default, which adds
        `SLACK` to tolerate single failures in a small catalogue."""
        return USUAL_LIMIT if share is None else cls(share)

    def is_passed(self, failed: int, of: int) -> bool:
        """Return True if `failed` of `of` rows or products exceed the limit."""
        return failed > self.share * of + self.slack

    def __str__(self) -> str:
        more = f" (and {self.slack} more)" if self.slack else ""
        return f"--max-failures {self.share:g}{more}"


USUAL_LIMIT = FailureLimit(USUAL_FAILURES, SLACK)


def exceeds(count: int, of: int, share: float) -> bool:
    """Return True if a count exceeds a share of `of`, plus `SLACK`."""
    return count > share * of + SLACK


def share_words(one: str, other: str) -> bool:
    """Return True if two titles share a word, or one of them has no words."""
    mine, theirs = _words(one), _words(other)
    return not mine or not theirs or not mine.isdisjoint(theirs)


def _words(title: str) -> set[str]:
    words = normalise_title(title).split()
    return {word for word in words if len(word) >= SHORTEST_WORD and not word.isdecimal()}


def check_changes(counts: ChangeCounts, catalogue: object, source: str) -> None:
    """Raise UnusualChangeError if more products vanished or changed than is usual in one run."""
    if found := "; ".join(counts.unusual()):
        raise UnusualChangeError(
            f"{catalogue} looks damaged compared with the store's data of {source}: {found}. "
            "Nothing was committed. Check the catalogue (and --images), or use --accept-changes if "
            "this is intended; add another shop's products with --source NAME"
        )


def check_rejections(
    rejected: int, rows: int, limit: FailureLimit, reasons: str, catalogue: object
) -> None:
    """Raise TooManyFailuresError if more rows were rejected than the limit allows."""
    if limit.is_passed(rejected, rows):
        raise TooManyFailuresError(
            f"{catalogue}: {rejected} of {rows} rows can't be used, more than {limit} allows "
            f"({reasons}); nothing was committed: fix the rows, or raise --max-failures"
        )
