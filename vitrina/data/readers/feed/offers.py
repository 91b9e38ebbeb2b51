"""Parsing of one feed offer to an element, with repair of faulty markup."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from typing import Any

from lxml import etree

from vitrina.data.readers.feed.markup import (
    UnreadableError,
    are_faulty,
    attributes_of,
    plain,
    tag_at,
)
from vitrina.data.readers.feed.repairs import FeedRepair, Repairs

LONGEST_REPAIRED = 1 << 20
"""Maximum characters of an offer with faulty tags."""

# YML elements of an offer: one that begins inside another ends the other.
_FIELDS_WORDS = (
    "name typeprefix vendor vendorcode model title url price oldprice currencyid categoryid "
    "picture description param barcode sales_notes available delivery pickup store "
    "country_of_origin manufacturer_warranty market_category local_delivery_cost author "
    "publisher series year isbn artist delivery-options pickup-options dimensions weight vat "
    "cpa age downloadable condition quantity stock_quantity group_id keywords purchase_price "
    "min-quantity step-quantity shop-sku manufacturer outlets"
)
_FIELDS = frozenset(_FIELDS_WORDS.split())
_ALSO_HTML = frozenset(("picture", "param", "title"))
# HTML elements left between the fields.
_NO_FIELDS_WORDS = "br hr img p b i u a ul li ol div span strong font table tr td"
_NO_FIELDS = frozenset(_NO_FIELDS_WORDS.split())
_TITLES = frozenset(("name", "model", "title", "typeprefix"))
# YML names have no prefix.
_NAMESPACE_ERRORS = range(etree.ErrorTypes.NS_ERR_XML_NAMESPACE, etree.ErrorTypes.NS_ERR_COLON + 1)
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


# Patterns of the usual form of an offer. Tags inside CDATA sections don't count.
_ID = re.compile(r"<offer\s+id=\"([^\"<>&\x00-\x1f]*+)\"(?=[\s/>])")
_CATEGORY = re.compile(r"<categoryId(?:\s[^<>]*+)?>\s*+([^<>&\x00-\x1f]++)</categoryId>")
_SECTION = re.compile(r"<!\[CDATA\[.*?\]\]>", re.DOTALL)
_LONGEST_GLANCE = 1 << 16
_NO_NAME = "its tags are damaged, and no name can be read"


def glance(text: str) -> tuple[str, str] | None:
    """Extract an offer's id and first category id without parsing; None if that may be wrong.

    The category id is "" if the offer names none.
    """
    if len(text) > _LONGEST_GLANCE or (product := _ID.match(text)) is None:
        return None
    if "<!" in text:
        text = _SECTION.sub("", text)
    category = _CATEGORY.search(text)
    if category is None and ("<categ" in text or "<!" in text):
        return None
    return product[1], category[1].strip() if category else ""


def id_of(text: str) -> str:
    """Return the id of an offer that can't be parsed; "" if it is unreadable."""
    tag = tag_at(text, 0)
    return attributes_of(tag[3]).get("id", "") if tag else ""


class OfferParser:
    """Parser of offers that counts its repairs."""

    def __init__(self, entities: Mapping[str, str], repairs: Repairs) -> None:
        """`entities`: text of the entities that the feed's DOCTYPE declares."""
        self._entities = entities
        self._repairs = repairs
        # Set if the last offer had faults: many feeds have the same faults in each offer.
        self._faults_are_likely = False
        # The parser fetches and expands nothing.
        options = {"resolve_entities": False, "no_network": True, "load_dtd": False}
        options |= {"huge_tree": False, "collect_ids": False}
        options |= {"remove_comments": True, "remove_pis": True}
        self._parser = etree.XMLParser(**options)
        self._namespace_parser = etree.XMLParser(recover=True, **options)

    def parse(self, text: str, *, cut: bool = False) -> Any:
        """Parse one offer to an element. cut: whether its end tag is missing.

        Raises:
            UnreadableError: the offer is damaged beyond repair; the message is the reason.
        """
        if cut and text.find("<", 1) < 0:
            raise UnreadableError(_NO_NAME)
        element = None if cut or self._faults_are_likely else self._well_formed(text)
        if element is None:
            before = self._repairs.total()
            text = plain(text, self._entities, self._repairs)
            self._faults_are_likely = self._repairs.total() > before
            element = None if cut else self._well_formed(text)
        return _mended(text, self._repairs) if element is None else element

    def _well_formed(self, text: str) -> Any:
        """Parse well-formed text to an element; None for other text."""
        data = text.encode()
        try:
            return etree.fromstring(data, self._parser)
        except etree.XMLSyntaxError as err:
            # An undeclared namespace is harmless, and lxml reports it after all other errors.
            well_formed = err.code in _NAMESPACE_ERRORS
        return etree.fromstring(data, self._namespace_parser) if well_formed else None


def _mended(text: str, repairs: Repairs) -> Any:
    """Build the element of an offer with faulty tags from its usable tags.

    An offer has one level of fields, so no tree is needed: a field ends at its end tag or, if that
    is missing, where the next field begins. Other tags inside a field count as HTML and stay in its
    text.

    Args:
        text: the offer after `plain`.
        repairs: counter of repairs.

    Raises:
        UnreadableError: the offer is too long, or its first tag or name can't be read.
    """
    if len(text) > LONGEST_REPAIRED:
        raise UnreadableError(f"its tags are damaged, and it has over {LONGEST_REPAIRED >> 10} KB")
    opening = tag_at(text, 0)
    if opening is None:
        raise UnreadableError("its first tag can't be read")
    fields = _Fields(text, opening.end())
    offer = _element(opening)
    offer.extend(fields.found)
    if not any(field.tag.lower() in _TITLES and (field.text or "").strip() for field in offer):
        raise UnreadableError(_NO_NAME)
    attributes = fields.faulty + are_faulty(opening[3])
    counts = {
        FeedRepair.ATTRIBUTE: attributes,
        FeedRepair.LESS_THAN: fields.signs,
        FeedRepair.TAG: fields.odd,
    }
    if not any(counts.values()):
        counts[FeedRepair.TAG] = 1
    for repair, count in counts.items():
        if count:
            repairs[repair] += count
    return offer


class _Fields:
    """Fields of an offer, found among tags that may not match.

    Attributes:
        found: elements of the fields.
        faulty: number of fields with faulty attributes.
        odd: number of tags that are stray, unclosed, or HTML.
        signs: number of "<" that begin no tag.
    """

    def __init__(self, text: str, start: int) -> None:
        self.found: list[Any] = []
        self.faulty = self.odd = 0
        self._text = text
        self._tags = [tag for at in _places(text, start) if (tag := tag_at(text, at))]
        self.signs = text.count("<", start) - len(self._tags)
        self._openings: dict[str, list[int]] = {}
        self._closings: dict[str, list[int]] = {}
        for tag in self._tags:
            of_kind = self._closings if tag[1] else self._openings
            of_kind.setdefault(tag[2].lower(), []).append(tag.start())
        self._name = ""
        self._opened: set[str] = set()
        self._parts: list[str] = []
        self._at = start
        self._read()

    def _read(self) -> None:
        for tag in self._tags:
            name = tag[2].lower()
            if self._name:
                if not self._ends(tag, name):
                    self._keep(tag, name)
                    continue
                closes = tag[1] and name == self._name
                self._close(tag.start())
                if closes:
                    continue
                self.odd += 1
            if tag[1]:
                if name == "offer":
                    return
                self.odd += 1
            elif name in _NO_FIELDS:
                self.odd += 1
            else:
                self._open(tag, name)
        if self._name:
            self.odd += 1
            self._close(len(self._text))

    def _open(self, tag: re.Match[str], name: str) -> None:
        self.faulty += are_faulty(tag[3])
        self.found.append(_element(tag))
        if not tag[3].endswith("/"):
            self._name, self._at = name, tag.end()

    def _close(self, end: int) -> None:
        text = "".join((*self._parts, self._text[self._at : end]))
        self.found[-1].text = unescape(text) if "&" in text else text
        self._name = ""
        self._parts.clear()
        self._opened.clear()

    def _keep(self, tag: re.Match[str], name: str) -> None:
        """Keep a tag in the field's text, but drop an end tag without a start tag."""
        self.odd += 1
        if not tag[1]:
            self._opened.add(name)
        elif name not in self._opened:
            self._parts += (self._text[self._at : tag.start()], " ")
            self._at = tag.end()

    def _ends(self, tag: re.Match[str], name: str) -> bool:
        """Return True if the open field ends at a tag."""
        if tag[1] or name == self._name:
            return name in (self._name, "offer")
        if name not in _FIELDS:
            return False
        if self._name == "description" or name in _ALSO_HTML:
            # The tag counts as HTML, unless the field isn't closed later.
            closing = _next(self._closings.get(self._name, ()), tag.start())
            again = _next(self._openings.get(self._name, ()), tag.start())
            return closing is None or (again is not None and again < closing)
        return True


def _element(tag: re.Match[str]) -> Any:
    attributes = {
        name: value for name, value in attributes_of(tag[3]).items() if _PLAIN_NAME.fullmatch(name)
    }
    return etree.Element(tag[2] if _PLAIN_NAME.fullmatch(tag[2]) else "_", attributes)


def _places(text: str, start: int) -> Iterator[int]:
    while (start := text.find("<", start)) >= 0:
        yield start
        start += 1


def _next(places: Sequence[int], after: int) -> int | None:
    at = bisect_right(places, after)
    return places[at] if at < len(places) else None
