"""The guard against a catalogue's bad day: limits on what may vanish, change or fail in one run.

A folder of photos that was not mounted, a feed cut to a tenth, an exporter that swapped two
columns: each looks like a great change, and would empty the store if it were believed.
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
    """Products of a source that were known before, counted by what became of them.

    Attributes:
        products, titles, labels: how many the store held, how many of them with a title, with a
            category.
        removed: how many pruning drops.
        titled, photographed, labelled: how many of those that the catalogue mentions had a title, a
            photo that was looked at again, a category.
        titles_lost, photos_lost, labels_lost: how many of these have none any more.
        titles_changed, labels_changed: how many have another one. A catalogue may consist of
            nothing else, so this is counted against all that the store held.
        unsaid: how many have a category, which a catalogue without categories says nothing of: they
            keep it.
        replaced: titles that share no word with what they were: other products under the same ids.
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
        """Each change that is greater than a day's."""
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
    """Limit on rows or products that fail in one run: a share of all, and `slack` more."""

    share: float
    slack: int = 0

    @classmethod
    def of(cls, share: float | None) -> FailureLimit:
        """The limit that `--max-failures` gives, kept to the row; None for the default, which has
        `SLACK`, so that a small catalogue bears an accident."""
        return USUAL_LIMIT if share is None else cls(share)

    def is_passed(self, failed: int, of: int) -> bool:
        """True if `failed` of `of` rows or products exceed the limit."""
        return failed > self.share * of + self.slack

    def __str__(self) -> str:
        more = f" (and {self.slack} more)" if self.slack else ""
        return f"--max-failures {self.share:g}{more}"


USUAL_LIMIT = FailureLimit(USUAL_FAILURES, SLACK)


def exceeds(count: int, of: int, share: float) -> bool:
    """True if a count exceeds a share of `of`, with `SLACK` more."""
    return count > share * of + SLACK


def share_words(one: str, other: str) -> bool:
    """True if two titles have a word in common, or one of them has no word."""
    mine, theirs = _words(one), _words(other)
    return not mine or not theirs or not mine.isdisjoint(theirs)


def _words(title: str) -> set[str]:
    words = normalise_title(title).split()
    return {word for word in words if len(word) >= SHORTEST_WORD and not word.isdecimal()}


def check_changes(counts: ChangeCounts, catalogue: object, source: str) -> None:
    """Raise UnusualChangeError where more vanished or changed than a day explains."""
    if found := "; ".join(counts.unusual()):
        raise UnusualChangeError(
            f"{catalogue} looks damaged compared with the store's data of {source}: {found}. "
            "Nothing was committed. Check the catalogue (and --images), or use --accept-changes if "
            "this is intended; add another shop's products with --source NAME"
        )


def check_rejections(
    rejected: int, rows: int, limit: FailureLimit, reasons: str, catalogue: object
) -> None:
    """Raise TooManyFailuresError where more rows can't be used than may fail."""
    if limit.is_passed(rejected, rows):
        raise TooManyFailuresError(
            f"{catalogue}: {rejected} of {rows} rows can't be used, more than {limit} allows "
            f"({reasons}); nothing was committed: fix the rows, or raise --max-failures"
        )
