"""Suspect cards: the data that templates show of a suspect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vitrina.audit.results import AuditNeighbour, Suspect
from vitrina.audit.review.categories import CategoryList, CategoryPath
from vitrina.audit.review.product_cache import ProductCache, mentioned
from vitrina.audit.review.queue import Queue
from vitrina.store.decisions import Decision
from vitrina.types import CategoryId, ProductId, Reason

_LONGEST = 600
_NEAR = 8
_FACTS = 14


class Side(StrEnum):
    """The suspect's category, given or suggested, that another product supports."""

    GIVEN = "given"
    SUGGESTED = "suggested"
    NEITHER = "neither"


@dataclass(frozen=True)
class Path:
    """A category's path, and the first segment where it differs from the other category's."""

    category: CategoryPath
    differs: int

    @property
    def same(self) -> tuple[str, ...]:
        """The segments that both share."""
        return self.category.path[: self.differs]

    @property
    def other(self) -> tuple[str, ...]:
        """The segments from the first difference on."""
        return self.category.path[self.differs :]


@dataclass(frozen=True)
class Beside:
    """A neighbour or a copy. row: in the product table, None for a product no longer in it."""

    title: str
    category: CategoryPath | None
    score: float
    side: Side
    row: int | None
    photo: bool


@dataclass(frozen=True)
class Opinion:
    """The prediction from one modality alone. kind: `text` or `photo`."""

    kind: str
    category: CategoryPath
    side: Side


@dataclass(frozen=True)
class Card:
    """All data shown of a suspect.

    alike: the number of others in its batch that are open. known: the key of the current decision.
    settled: that decision, if it settles the product.
    """

    suspect: Suspect
    text: Mapping[str, Any]
    given: Path
    suggested: Path
    reasons: tuple[tuple[Reason, float | None], ...]
    opinions: tuple[Opinion, ...]
    neighbours: tuple[Beside, ...]
    copies: tuple[Beside, ...]
    alike: int
    known: str
    settled: Decision | None
    skipped: bool

    @property
    def title(self) -> str:
        """The product's title."""
        return self.suspect.title or str(self.text.get("title") or "")

    @property
    def facts(self) -> list[str]:
        """Its attributes and characteristics."""
        both = (*(self.text.get("attributes") or ()), *(self.text.get("characteristics") or ()))
        return [*dict.fromkeys(both)][:_FACTS]

    @property
    def description(self) -> str:
        """The beginning of its description."""
        text = str(self.text.get("description") or "")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]}…"


class CardMaker:
    """Builds the cards of suspects."""

    def __init__(self, categories: CategoryList, shelf: ProductCache, queue: Queue) -> None:
        self._categories, self._shelf, self._queue = categories, shelf, queue

    def of(self, one: Suspect) -> Card:
        """The card of a suspect. Raises StoreError or OSError if the store can't be read."""
        texts = self._shelf.texts(mentioned(one))
        settled, skipped = self._queue.settled(one), self._queue.skipped(one)
        given, suggested = self.paths(one)
        standing = settled or skipped
        others = [other for other in self._queue.alike(one) if other is not one]
        predictions = (("text", one.text_category), ("photo", one.image_category))
        return Card(
            suspect=one,
            text=texts.get(one.product_id, {}),
            given=given,
            suggested=suggested,
            reasons=tuple((kind, one.evidence.get(kind.value)) for kind in one.reasons),
            opinions=tuple(
                Opinion(kind, self._categories[key], side(key, one))
                for kind, key in predictions
                if key is not None
            ),
            neighbours=self._beside(one, one.neighbours[:_NEAR], texts),
            copies=self._beside(one, one.copies[:_NEAR], texts),
            alike=sum(self._queue.settled(other) is None for other in others),
            known=standing.key if standing else "",
            settled=settled,
            skipped=skipped is not None,
        )

    def paths(self, one: Suspect) -> tuple[Path, Path]:
        """The given and the suggested category of a suspect, compared."""
        given, suggested = self._categories[one.given], self._categories[one.suggested]
        shared = 0
        for here, there in zip(given.path[:-1], suggested.path[:-1], strict=False):
            if here != there:
                break
            shared += 1
        return Path(given, shared), Path(suggested, shared)

    def tile(self, one: Suspect) -> Mapping[str, Any]:
        """Data of a suspect in a grid: `suspect`, `title`, `row`, `photo`, `known`."""
        text = self._shelf.texts([one.product_id]).get(one.product_id, {})
        standing = self._queue.settled(one) or self._queue.skipped(one)
        return {
            "suspect": one,
            "title": one.title or text.get("title") or "",
            "row": text.get("row"),
            "photo": text.get("photo", False),
            "known": standing.key if standing else "",
        }

    def _beside(
        self,
        one: Suspect,
        near: Sequence[AuditNeighbour],
        texts: Mapping[ProductId, Mapping[str, Any]],
    ) -> tuple[Beside, ...]:
        found = []
        for other in near:
            text, key = texts.get(other.product_id, {}), other.category_id
            found.append(
                Beside(
                    title=text.get("title") or "",
                    category=None if key is None else self._categories[key],
                    score=other.score,
                    side=side(key, one),
                    row=text.get("row"),
                    photo=text.get("photo", False),
                )
            )
        return tuple(found)


def side(key: CategoryId | None, one: Suspect) -> Side:
    """The side that a category is on: given, suggested or neither."""
    if key == one.given:
        return Side.GIVEN
    return Side.SUGGESTED if key == one.suggested else Side.NEITHER
