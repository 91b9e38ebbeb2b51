"""YML, the feed that Russian shops publish (Yandex Market Language), as products.

A feed is XML: `<yml_catalog><shop>` with a name, a tree of categories and the offers. It is read
twice as a stream. The first pass learns what must be known before the first offer is given: the
types of ids, the shop's name, and the categories, which may stand after the offers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitrina.data.product import Product, Rejection
from vitrina.data.readers.base import INT64, IdType
from vitrina.data.readers.columns import Missing
from vitrina.data.readers.metadata import metadata_of
from vitrina.data.readers.xml_stream import BrokenXmlError, elements
from vitrina.data.text import clean
from vitrina.types import ProductId

_ROOT, _OFFER = "yml_catalog", "offer"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
# Deeper than any real tree, and short enough to write beside every product.
_DEEPEST_CATEGORY = 100

_PRICES = ("price", "oldprice")
_KEPT = (*_PRICES, "currencyId", "available", "url", "vendor", "vendorCode", "barcode")
_READ = frozenset(
    (*_KEPT, "name", "typePrefix", "model", "title", "description", "categoryId", "picture")
)


class YmlReader:
    """Reads a YML feed, XML in any encoding, perhaps gzipped. See `Reader` for the properties."""

    image_bytes: str | None = None
    has_text = True

    def __init__(self, path: Path) -> None:
        """Go through the feed once.

        A feed that breaks off is opened all the same: `rows` gives what stands before the break.

        Raises:
            CatalogueError: the file is no YML feed, or broken before anything is said in it.
        """
        self._path = path
        self.missing = Missing(path, ())
        self._shop = ""
        # Of each category, its name and its parent's id.
        self._categories: dict[str, tuple[str, str]] = {}
        offers: set[IdType] = set()
        named: set[IdType] = set()
        self.has_categories = False
        read = False
        try:
            for above, element in elements(path, _ROOT, _OFFER):
                read = True
                if element.tag == _OFFER:
                    offers |= _types(element.get("id"))
                    categories = _types(_category_of(element))
                    named |= categories
                    self.has_categories |= bool(categories)
                elif element.tag == "category" and above[-1:] == ["categories"]:
                    named |= self._learn_category(element)
                elif element.tag == "name" and above[-1:] == ["shop"]:
                    self._shop = self._shop or clean(_text(element))
        except BrokenXmlError:
            if not read:
                raise
        self.id_type: IdType = _common(offers) or str
        self.category_type = _common(named) if self.has_categories else None
        self.integer_ids = self.id_type is int
        self.integer_categories = self.category_type is int
        self.source = self._shop or None
        self.notes: list[str] = []
        self.repairs: dict[str, int] = {}

    def rows(self) -> Iterator[Product | Rejection]:
        """Every offer, in order, as a product or as the reason why it isn't one.

        Raises:
            CatalogueError: the feed is cut short or damaged, past the offers that were given.
        """
        found = (element for _, element in elements(self._path, _ROOT, _OFFER))
        offers = (element for element in found if element.tag == _OFFER)
        for row, offer in enumerate(offers, 1):
            yield self._product(row, offer)

    def _learn_category(self, element: Any) -> set[IdType]:
        category_id = (element.get("id") or "").strip()
        if category_id:
            parent = (element.get("parentId") or "").strip()
            self._categories.setdefault(category_id, (clean(_text(element)), parent))
        return _types(category_id)

    def _category_name(self, category_id: str) -> str | None:
        """The path of names to a category, as far up as it is known."""
        names: dict[str, str] = {}
        while category_id in self._categories and len(names) < _DEEPEST_CATEGORY:
            name, parent = self._categories[category_id]
            names[category_id] = name
            # A parent met before closes a ring.
            category_id = "" if parent in names else parent
        return "->".join(name for name in reversed(names.values()) if name) or None

    def _product(self, row: int, offer: Any) -> Product | Rejection:
        product_id = None
        try:
            product_id = _read_id("the offer's id", offer.get("id"), self.id_type)
            if product_id is None:
                return Rejection(row, "the offer has no id")
            category = _category_of(offer)
            category_id = _read_id("categoryId", category, self.category_type or str)
        except ValueError as err:
            return Rejection(row, str(err), product_id)
        parts: dict[str, list[str]] = {}
        for element in offer:
            if element.tag in _READ and (text := _text(element).strip()):
                parts.setdefault(element.tag, []).append(text)
        title = _title(parts, vendor_model=offer.get("type") == "vendor.model")
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
            metadata=metadata_of(_metadata(parts, offer.get("available"))),
        )


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
    for param in offer.iterchildren("param"):
        if value := clean(_text(param)):
            unit = clean(param.get("unit", ""))
            of_name = values.setdefault(clean(param.get("name", "")), {})
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
            yield tag, float(value)
        else:
            yield tag, value


def _first(parts: dict[str, list[str]], tag: str) -> str:
    """The first text of this tag that says anything, cleaned."""
    return next(filter(None, map(clean, parts.get(tag, ()))), "")


def _category_of(offer: Any) -> str:
    """The first category that the offer names; empty if none."""
    texts = (_text(element).strip() for element in offer.iterchildren("categoryId"))
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


def _is_integer(text: str) -> bool:
    """Whether it is an integer of 64 bits, in the form in which it would be written anew."""
    return _INTEGER.fullmatch(text) is not None and int(text) in INT64


def _types(text: str | None) -> set[IdType]:
    """The type of one id, if there is an id."""
    text = (text or "").strip()
    return {int if _is_integer(text) else str} if text else set()


def _common(types: set[IdType]) -> IdType | None:
    """Integers only if all ids are; None if there are none."""
    return None if not types else str if str in types else int


def _read_id(label: str, text: str | None, kind: IdType) -> ProductId | None:
    """An id of the type found before. Raises ValueError if the file has changed since."""
    text = (text or "").strip()
    if not text:
        return None
    if kind is int and not _is_integer(text):
        raise ValueError(f"{label} {text[:80]!r} is text, where all ids were integers before")
    return kind(text)
