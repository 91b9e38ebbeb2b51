"""Writes the audit report: one self-contained HTML file.

The templates render the static parts; the page's script renders the suspects' cards from JSON as
they scroll into view. Text is written before the photos, so that a browser shows the first cards
before it has read the whole file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from vitrina.audit.report import tables
from vitrina.audit.report.cards import PLAIN, ReportCards
from vitrina.audit.report.filters import FilterChoices
from vitrina.audit.report.summary import ReportEvidence, ReportSummary
from vitrina.audit.results import Audit
from vitrina.audit.thumbs import thumbnail
from vitrina.page.document import document
from vitrina.parallel import Progress, map_ahead, no_progress
from vitrina.store.decisions import Decision
from vitrina.store.files import replacing
from vitrina.types import ProductId

LARGE, SMALL = 160, 64
"""Longer edge of a suspect's photo and of a neighbour's, in pixels."""
THREADS = 2
HERE = Path(__file__).parent

Titles = Callable[[Sequence[ProductId]], Mapping[ProductId, str]]
Photos = Callable[[Sequence[ProductId]], Iterable[tuple[ProductId, bytes]]]


@dataclass(frozen=True)
class ReportPhoto:
    """A product's photo in the page. number: the product's. content: base64 of a WebP; "" for a
    repeated photo, where same is the number of the first product with it."""

    number: int
    content: str
    same: int | None


def write_report(
    path: Path,
    audit: Audit,
    *,
    titles: Titles,
    photos: Photos,
    decided: Mapping[ProductId, Decision] | None = None,
    most: int = 10_000,
    progress: Progress = no_progress,
) -> None:
    """Write the page atomically.

    titles: returns the titles of products. photos: yields the original photos, in any order, of
    the products that have a readable one. decided: reviewers' decisions by product. most: upper
    limit of suspects shown. progress: called for each thumbnail; products without one are counted
    at the end. Raises OSError if the disk fails.
    """
    cards, card = ReportCards(audit, decided or {}, most), audit.card
    store = card.get("store")
    pieces = document(
        HERE,
        "report",
        title=f"Vitrina audit · {store}" if store else "Vitrina audit",
        summary=ReportSummary.of(card, cards),
        evidence=ReportEvidence.of(card),
        pairs=tables.pairs(card, cards),
        worst=tables.worst(card, cards),
        twins=tables.twins(card, cards),
        missing=tables.missing(card),
        cards=cards,
        first=cards.suspects[:PLAIN],
        filters=FilterChoices.of(cards),
        index=cards.index(),
        chunks=cards.chunks(titles(cards.products)),
        thumbnails=_thumbnails(cards, photos, progress),
    )
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as page:
        page.writelines(pieces)


def _thumbnails(cards: ReportCards, photos: Photos, progress: Progress) -> Iterator[ReportPhoto]:
    """Each product's photo, which the script finds by the product's number."""
    numbers = {key: number for number, key in enumerate(cards.products)}
    large = {one.product_id for one in cards.suspects}

    def small(found: tuple[ProductId, bytes]) -> tuple[ProductId, bytes | None]:
        key, photo = found
        return key, thumbnail(photo, LARGE if key in large else SMALL)

    seen: dict[bytes, int] = {}
    remaining = len(numbers)
    for key, made in map_ahead(small, photos(cards.products), THREADS):
        number = numbers.pop(key, None)
        if number is None:
            continue
        remaining -= 1
        progress(1)
        if made is None:
            continue
        same = seen.setdefault(hashlib.sha256(made).digest(), number)
        if same != number:
            yield ReportPhoto(number, "", same)
        else:
            yield ReportPhoto(number, Markup(base64.b64encode(made).decode("ascii")), None)
    progress(remaining)
