"""YML, the feed that Russian shops publish (Yandex Market Language), as products.

A feed is XML: `<yml_catalog><shop>` with a name, a tree of categories and the offers. It is gone
through three times as a stream: for its encoding, for what must be known before the first offer
is given (the types of ids, the shop's name, and the categories, which may stand after the
offers), and for the offers. Faults of a feed are mended, or cost the offer that has them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from vitrina.data.product import Product, Rejection
from vitrina.data.readers.base import IdType
from vitrina.data.readers.feed.encoding import find_encoding
from vitrina.data.readers.feed.markup import UnreadableError
from vitrina.data.readers.feed.offers import OfferParser, glance, id_of
from vitrina.data.readers.feed.parts import BrokenFeedError, Feed, Leaf, OfferText
from vitrina.data.readers.feed.repairs import Repairs
from vitrina.data.readers.metadata import metadata_of
from vitrina.data.readers.missing_columns import Missing
from vitrina.data.text import clean
from vitrina.ids import is_canonical_integer
from vitrina.types import ProductId

# Three digits after a comma may be thousands, and stay text.
_NUMBER = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:[ \xa0\u202f][0-9]{3})+)(?:\.[0-9]+|,[0-9]{1,2})?")
_SPACE = re.compile(r"\s")
# Deeper than any real tree, and short enough to write beside every product.
_DEEPEST_CATEGORY = 100
_NAMED_EXAMPLES = 3

_PRICES = ("price", "oldprice")
_KEPT = (*_PRICES, "currencyId", "available", "url", "vendor", "vendorCode", "barcode")
_READ = (*_KEPT, "name", "typePrefix", "model", "title", "description", "categoryId", "picture")


def _spellings(tag: str) -> tuple[str, ...]:
    """A tag as feeds spell it."""
    return tuple(dict.fromkeys((tag, tag.lower(), tag.upper(), tag[0].upper() + tag[1:])))


_TAGS = {spelling: tag for tag in _READ for spelling in _spellings(tag)}
_PARAMS = _spellings("param")
_CATEGORIES = _spellings("categoryId")


def shop_of(path: Path, encoding: str | None = None) -> str | None:
    """The name of a feed's shop, where it stands before the offers; None if it does not.

    Raises CatalogueError if the file can't be read.
    """
    feed = Feed(path, find_encoding(path, encoding).codec, Counter())
    try:
        for part in feed.parts():
            if not isinstance(part, Leaf):
                return None
            if part.tag != "category" and (name := clean(part.text)):
                return name
    except BrokenFeedError:
        pass
    return None


class YmlReader:
    """Reads a YML feed in any encoding, perhaps gzipped. See `Reader` for the properties."""

    image_bytes: str | None = None
    has_text = True

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        """Go through the feed for all but the offers.

        A feed that breaks off is opened all the same: `rows` gives what stands before the break.

        Args:
            path: the feed.
            encoding: its encoding whatever it declares; None to find it out by its bytes.

        Raises:
            CatalogueError: the file is no YML feed, or broken before anything is said in it.
        """
        self._path = path
        self.missing = Missing(path, ())
        found = find_encoding(path, encoding)
        self._codec = found.codec
        self._shop = ""
        # Of each category, its name and its parent's id.
        self._tree: dict[str, tuple[str, str]] = {}
        self._renamed: dict[str, str] = {}
        offers: set[IdType] = set()
        named: set[IdType] = set()
        self.has_categories = False
        read = False
        unused: Repairs = Counter()
        feed = Feed(path, self._codec, unused)
        parser = OfferParser(feed.entities, unused)
        try:
            for part in feed.parts():
                read = True
                if isinstance(part, Leaf):
                    if part.tag == "category":
                        named |= self._learn_category(part)
                    else:
                        self._shop = self._shop or clean(part.text)
                else:
                    product_id, category_id = _ids(parser, part)
                    offers |= _types(product_id)
                    if category_id:
                        named |= _types(category_id)
                        self.has_categories = True
        except BrokenFeedError:
            if not read:
                raise
        self.id_type: IdType = _common(offers) or str
        self.category_type = _common(named) if self.has_categories else None
        self.integer_ids = self.id_type is int
        self.integer_categories = self.category_type is int
        self.source = self._shop or None
        self.repairs: Repairs = Counter()
        self.notes = [*filter(None, (found.note, _junk_note(feed), self._renamed_note()))]

    @property
    def categories(self) -> Mapping[str, str]:
        """The path of names to each category of the feed, by its id as text, with products or not;
        a category without any name has its id for one."""
        return {category: self._category_name(category) or category for category in self._tree}

    def rows(self) -> Iterator[Product | Rejection]:
        """Every offer, in order, as a product or as the reason why it isn't one.

        Raises:
            CatalogueError: the feed is cut short or damaged, past the offers that were given.
        """
        repairs: Repairs = Counter()
        self.repairs = repairs
        feed = Feed(self._path, self._codec, repairs)
        parser = OfferParser(feed.entities, repairs)
        offers = (part for part in feed.parts() if isinstance(part, OfferText))
        for row, offer in enumerate(offers, 1):
            yield self._row(row, offer, parser)

    def _row(self, row: int, offer: OfferText, parser: OfferParser) -> Product | Rejection:
        try:
            if offer.fault:
                raise UnreadableError(offer.fault)
            element = parser.parse(offer.text, cut=offer.cut)
        except UnreadableError as err:
            reason = f"the offer at line {offer.line} can't be read: {err}"
            return Rejection(row, reason, self._damaged_id(offer))
        return self._product(row, offer.line, element)

    def _damaged_id(self, offer: OfferText) -> ProductId | None:
        try:
            return _read_id("the offer's id", id_of(offer.text), self.id_type)
        except ValueError:
            return None

    def _learn_category(self, leaf: Leaf) -> frozenset[IdType]:
        category_id = leaf.attributes.get("id", "").strip()
        if category_id:
            parent, name = leaf.attributes.get("parentid", "").strip(), clean(leaf.text)
            known, _ = self._tree.setdefault(category_id, (name, parent))
            if name not in ("", known):
                self._renamed.setdefault(category_id, name)
        return _types(category_id)

    def _renamed_note(self) -> str:
        if not self._renamed:
            return ""
        examples = [
            f"{category} ({self._tree[category][0]!r} and {name!r})"
            for category, name in list(self._renamed.items())[:_NAMED_EXAMPLES]
        ]
        more = len(self._renamed) - len(examples)
        listed = ", ".join(examples) + (f" and {more} more" if more else "")
        return f"category ids with two names, of which the first is kept: {listed}"

    def _category_name(self, category_id: str) -> str | None:
        """The path of names to a category, as far up as it is known."""
        names: dict[str, str] = {}
        while category_id in self._tree and len(names) < _DEEPEST_CATEGORY:
            name, parent = self._tree[category_id]
            names[category_id] = name
            # A parent met before closes a ring.
            category_id = "" if parent in names else parent
        return "->".join(name for name in reversed(names.values()) if name) or None

    def _product(self, row: int, line: int, offer: Any) -> Product | Rejection:
        product_id = None
        try:
            product_id = _read_id("the offer's id", _attribute(offer, "id"), self.id_type)
            if product_id is None:
                return Rejection(row, f"the offer at line {line} has no id")
        except ValueError as err:
            return Rejection(row, str(err), product_id)
        category, label_fault = _category_of(offer), ""
        try:
            category_id = _read_id("categoryId", category, self.category_type or str)
        except ValueError as err:
            category_id, label_fault = None, str(err)
        parts: dict[str, list[str]] = {}
        for element in offer:
            tag = _TAGS.get(element.tag)
            if tag is not None and (text := _text(element).strip()):
                parts.setdefault(tag, []).append(text)
        title = _title(parts, vendor_model=_attribute(offer, "type") == "vendor.model")
        vendor = _first(parts, "vendor")
        return Product(
            row=row,
            product_id=product_id,
            title=title,
            description=_first(parts, "description"),
            attributes=(vendor,) if vendor and vendor.casefold() not in title.casefold() else (),
            characteristics=_characteristics(offer),
            shop=self._shop,
            category_id=category_id,
            category_name=self._category_name(category),
            images=tuple(parts.get("picture", ())),
            label_fault=label_fault,
            metadata=metadata_of(_metadata(parts, _attribute(offer, "available"))),
        )


def _ids(parser: OfferParser, offer: OfferText) -> tuple[str, str]:
    """The ids of an offer and of its category, empty where there are none."""
    try:
        if offer.fault:
            return "", ""
        if (seen := glance(offer.text)) is not None:
            return seen
        element = parser.parse(offer.text, cut=offer.cut)
    except UnreadableError:
        return "", ""
    return _attribute(element, "id"), _category_of(element)


def _attribute(element: Any, name: str) -> str:
    """The value of an attribute, whatever the case of its name; empty if it is not there."""
    value = element.get(name)
    if value is None:
        found = (value for key, value in element.items() if key.lower() == name)
        value = next(found, "")
    return str(value)


def _junk_note(feed: Feed) -> str:
    return "text before the feed's first tag was left out" if feed.junk else ""


def _title(parts: dict[str, list[str]], *, vendor_model: bool) -> str:
    """The offer's name. One of the type "vendor.model" has it in three parts."""
    name, model = _first(parts, "name"), _first(parts, "model")
    if vendor_model and (model or not name):
        return " ".join(filter(None, (_first(parts, "typePrefix"), _first(parts, "vendor"), model)))
    # Music and films ("artist.title") have a title in the name's place.
    return name or model or _first(parts, "title")


def _characteristics(offer: Any) -> tuple[str, ...]:
    """Each `param` as "name: value unit", those of one name as "name: value unit, value unit"."""
    values: dict[str, dict[str, None]] = {}
    for param in offer.iterchildren(*_PARAMS):
        if value := clean(_text(param)):
            unit = clean(param.get("unit") or param.get("UNIT", ""))
            name = clean(param.get("name") or param.get("NAME", ""))
            of_name = values.setdefault(name, {})
            of_name[f"{value} {unit}" if unit else value] = None
    joined = ((name, ", ".join(of_name)) for name, of_name in values.items())
    return tuple(f"{name}: {text}" if name else text for name, text in joined)


def _metadata(parts: dict[str, list[str]], available: str | None) -> Iterator[tuple[str, Any]]:
    for tag in _KEPT:
        value = ", ".join(parts.get(tag, ())) if tag == "barcode" else parts.get(tag, [""])[0]
        if tag == "available":
            value = (available or value).strip()
            yield tag, {"true": True, "false": False}.get(value.lower(), value)
        elif tag in _PRICES and _NUMBER.fullmatch(value):
            yield tag, float(_SPACE.sub("", value).replace(",", "."))
        else:
            yield tag, value


def _first(parts: dict[str, list[str]], tag: str) -> str:
    """The first text of this tag that says anything, cleaned."""
    return next(filter(None, map(clean, parts.get(tag, ()))), "")


def _category_of(offer: Any) -> str:
    """The first category that the offer names; empty if none."""
    texts = (_text(element).strip() for element in offer.iterchildren(*_CATEGORIES))
    return next(filter(None, texts), "")


def _text(element: Any) -> str:
    """All text in an element: tags in it part words, as in HTML; entities stay as written."""
    if not len(element):
        return element.text or ""
    parts = [element.text or ""]
    for child in element:
        # Of an entity, the tag is no text but a function.
        is_tag = isinstance(child.tag, str)
        parts.append(f" {_text(child)} " if is_tag else child.text)
        parts.append(child.tail or "")
    return "".join(parts)


_INTEGERS: frozenset[IdType] = frozenset((int,))
_TEXTS: frozenset[IdType] = frozenset((str,))
_NONE: frozenset[IdType] = frozenset()


def _types(text: str) -> frozenset[IdType]:
    """The type of one id, if there is an id."""
    text = text.strip()
    return _INTEGERS if is_canonical_integer(text) else _TEXTS if text else _NONE


def _common(types: AbstractSet[IdType]) -> IdType | None:
    """Integers only if all ids are; None if there are none."""
    return None if not types else str if str in types else int


def _read_id(label: str, text: str | None, kind: IdType) -> ProductId | None:
    """An id of the type found before. Raises ValueError if the file has changed since."""
    text = (text or "").strip()
    if not text:
        return None
    if kind is int and not is_canonical_integer(text):
        raise ValueError(f"{label} {text[:80]!r} is text, where all ids were integers before")
    return kind(text)
