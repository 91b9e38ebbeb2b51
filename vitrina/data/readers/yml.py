"""Reader of YML feeds (Yandex Market Language), which Russian shops publish.

A feed is XML: `<yml_catalog><shop>` with a name, a tree of categories and the offers. It is
streamed three times: for its encoding; for the types of ids, the shop's name and the categories,
which may follow the offers; and for the offers. Faults are repaired, or reject only the offer that
has them.
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

# Three digits after a comma may be thousands, so such a text is not converted.
_NUMBER = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:[ \xa0\u202f][0-9]{3})+)(?:\.[0-9]+|,[0-9]{1,2})?")
_SPACE = re.compile(r"\s")
# Deeper than any real tree, and short enough to store with every product.
_DEEPEST_CATEGORY = 100
_NAMED_EXAMPLES = 3

_PRICES = ("price", "oldprice")
_KEPT = (*_PRICES, "currencyId", "available", "url", "vendor", "vendorCode", "barcode")
_READ = (*_KEPT, "name", "typePrefix", "model", "title", "description", "categoryId", "picture")


def _spellings(tag: str) -> tuple[str, ...]:
    """Return the spellings of a tag in feeds."""
    return tuple(dict.fromkeys((tag, tag.lower(), tag.upper(), tag[0].upper() + tag[1:])))


_TAGS = {spelling: tag for tag in _READ for spelling in _spellings(tag)}
_PARAMS = _spellings("param")
_CATEGORIES = _spellings("categoryId")


def shop_of(path: Path, encoding: str | None = None) -> str | None:
    """Return the name of a feed's shop if it precedes the offers, else None.

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
    """Reader of a YML feed in any encoding, gzipped or not. See `Reader` for the properties."""

    image_bytes: str | None = None
    image_file: Path | None = None
    has_text = True

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        """Read ids, categories and the shop's name from the feed.

        A truncated feed can be opened too: `rows` yields the offers before the break.

        Args:
            path: the feed.
            encoding: its encoding, which overrides the declaration; None to detect it.

        Raises:
            CatalogueError: the file is no YML feed, or is broken before its first part.
        """
        self._path = path
        self.missing = Missing(path, ())
        found = find_encoding(path, encoding)
        self._codec = found.codec
        self._shop = ""
        # Name and parent id of each category.
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
                        named |= self._add_category(part)
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
        """Path of names of each category in the feed's tree, by its id as text.

        A category without any name has its id as its path.
        """
        return {category: self._category_name(category) or category for category in self._tree}

    def rows(self) -> Iterator[Product | Rejection]:
        """Yield every offer in order, as a product or as a rejection.

        Raises:
            CatalogueError: the feed is truncated or damaged after the offers yielded so far.
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

    def _add_category(self, leaf: Leaf) -> frozenset[IdType]:
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
        """Return the path of names to a category, as far up as it is known."""
        names: dict[str, str] = {}
        while category_id in self._tree and len(names) < _DEEPEST_CATEGORY:
            name, parent = self._tree[category_id]
            names[category_id] = name
            # A parent seen before closes a cycle.
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
    """Return the ids of an offer and of its category, each "" if there is none."""
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
    """Return an attribute's value, ignoring the case of its name; "" if it is missing."""
    value = element.get(name)
    if value is None:
        found = (value for key, value in element.items() if key.lower() == name)
        value = next(found, "")
    return str(value)


def _junk_note(feed: Feed) -> str:
    return "text before the feed's first tag was left out" if feed.junk else ""


def _title(parts: dict[str, list[str]], *, vendor_model: bool) -> str:
    """Return the offer's name. An offer of type "vendor.model" has it in three parts."""
    name, model = _first(parts, "name"), _first(parts, "model")
    if vendor_model and (model or not name):
        return " ".join(filter(None, (_first(parts, "typePrefix"), _first(parts, "vendor"), model)))
    # Music and films ("artist.title") have a title instead of a name.
    return name or model or _first(parts, "title")


def _characteristics(offer: Any) -> tuple[str, ...]:
    """Return each `param` as "name: value unit", joining those of one name with commas."""
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
    """Return the first non-empty text of a tag, cleaned; "" if there is none."""
    return next(filter(None, map(clean, parts.get(tag, ()))), "")


def _category_of(offer: Any) -> str:
    """Return the first category id of an offer; "" if it has none."""
    texts = (_text(element).strip() for element in offer.iterchildren(*_CATEGORIES))
    return next(filter(None, texts), "")


def _text(element: Any) -> str:
    """Return all text in an element; tags separate words, as in HTML, and entities stay as is."""
    if not len(element):
        return element.text or ""
    parts = [element.text or ""]
    for child in element:
        # The `tag` of an entity is a function, not text.
        is_tag = isinstance(child.tag, str)
        parts.append(f" {_text(child)} " if is_tag else child.text)
        parts.append(child.tail or "")
    return "".join(parts)


_INTEGERS: frozenset[IdType] = frozenset((int,))
_TEXTS: frozenset[IdType] = frozenset((str,))
_NONE: frozenset[IdType] = frozenset()


def _types(text: str) -> frozenset[IdType]:
    """Return a set of the type of one id; empty if there is no id."""
    text = text.strip()
    return _INTEGERS if is_canonical_integer(text) else _TEXTS if text else _NONE


def _common(types: AbstractSet[IdType]) -> IdType | None:
    """Return int only if all ids are integers; None if there are none."""
    return None if not types else str if str in types else int


def _read_id(label: str, text: str | None, kind: IdType) -> ProductId | None:
    """Convert to an id of the detected type. Raises ValueError if the file has changed since."""
    text = (text or "").strip()
    if not text:
        return None
    if kind is int and not is_canonical_integer(text):
        raise ValueError(f"{label} {text[:80]!r} is text, where all ids were integers before")
    return kind(text)
