"""The audit report: one self-contained HTML file.

The static parts are rendered here; the page's script renders the suspects' cards from JSON as they
scroll into view. Text is written before the photos, so that a browser shows the first cards before
it has read the whole file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from vitrina.audit.cards import ReportCards, block
from vitrina.audit.report_parts import body
from vitrina.audit.results import Audit
from vitrina.audit.thumbs import thumbnail
from vitrina.page.document import opening
from vitrina.page.look import base_style
from vitrina.parallel import Progress, map_ahead, no_progress
from vitrina.store.decisions import Decision
from vitrina.store.files import replacing
from vitrina.types import ProductId

LARGE, SMALL = 160, 64
"""Longer edge of a suspect's photo and of a neighbour's, in pixels."""
THREADS = 2

Titles = Callable[[Sequence[ProductId]], Mapping[ProductId, str]]
Photos = Callable[[Sequence[ProductId]], Iterable[tuple[ProductId, bytes]]]


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
    cards = ReportCards(audit, decided or {}, most)
    script = _resource("report.js")
    store = audit.card.get("store")
    title = f"Vitrina audit · {store}" if store else "Vitrina audit"
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as page:
        page.write(opening(title, base_style() + _resource("report.css"), script))
        page.write(body(audit, cards, title))
        page.write(block("index", cards.index()))
        named = titles(cards.products)
        for number, chunk in enumerate(cards.chunks(named)):
            page.write(block(f"chunk{number}", chunk))
        page.write(f"<script>{script}</script>\n")
        # Browsers compute no style for the content of a hidden element, however large.
        page.write('<div hidden="">\n')
        page.writelines(_thumbnails(cards, photos, progress))
        page.write("</div></body></html>\n")


def _thumbnails(cards: ReportCards, photos: Photos, progress: Progress) -> Iterator[str]:
    """An inert element for each product's photo, which the script finds by the product's number.

    The element of a repeated photo holds only the number of the first product with it.
    """
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
        digest = hashlib.sha256(made).digest()
        same = seen.setdefault(digest, number)
        if same != number:
            yield f'<script type="text/plain" id="p{number}" data-same="p{same}"></script>\n'
        else:
            encoded = base64.b64encode(made).decode("ascii")
            yield f'<script type="text/plain" id="p{number}">{encoded}</script>\n'
    progress(remaining)


def _resource(name: str) -> str:
    return resources.files("vitrina.audit").joinpath(name).read_text(encoding="utf-8")
