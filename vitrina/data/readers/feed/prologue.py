"""Start of a feed: its outermost tag, the text before it, and its declared entities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from vitrina.data.readers.feed.encoding import decode_head
from vitrina.data.readers.feed.markup import COMMENT, COMMENT_END, Finder, tag_at
from vitrina.data.readers.feed.php import strip_code
from vitrina.errors import CatalogueError

ROOT, SHOP = "yml_catalog", "shop"

_STEP = re.compile(r"<!--|<!DOCTYPE|<(?=[^\W\d])", re.IGNORECASE)
_DOCTYPE = re.compile(
    r"<!DOCTYPE(?:[^\[<>\"']++|\"[^\"]*+\"|'[^']*+')*+"
    r"(?:\[(?:[^\]\"'<]++|\"[^\"]*+\"|'[^']*+'|<!--(?:[^-]++|-(?!->))*+-->|<)*+\]\s*+)?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"<!ENTITY\s+(%\s+)?([^\s\"'<>]+)\s*(?:\"([^\"]*+)\"|'([^']*+)')?")
_CHARACTER = re.compile(r"&#(?:[0-9]{1,7}|x[0-9A-Fa-f]{1,6});")
_OFFER = re.compile(r"<offer[\s>]", re.IGNORECASE)
# Tags of a server warning written into the feed.
_OF_WARNINGS = frozenset(("br", "b", "p", "pre", "font", "i", "strong", "div", "span", "small"))
# In a table, a feed inside a field doesn't begin a line.
_BEGINS_LINE = re.compile(r"(?:\A|[\r\n>])[ \t\ufeff]*\Z")
_OTHER_FORMS = (b"PAR1", b"PK\x03\x04", b"ARROW1", b"{")


@dataclass(frozen=True)
class Root:
    """Outermost tag of a feed.

    Attributes:
        start: its position in the text.
        end: the position after it.
        name: its name as written.
        empty: whether it is a self-closing tag.
        junk: whether it follows text that belongs to no feed.
    """

    start: int
    end: int
    name: str
    empty: bool
    junk: bool


def find_root(text: str) -> tuple[Root | None, str]:
    """Find the outermost tag in a feed's first text; return it and the name of the first tag.

    It is `<yml_catalog>` at any position, or `<shop>` as the first tag if an offer follows.
    """
    ends = Finder(text, COMMENT_END)
    first = ""
    at = 0
    junk = seen_doctype = False
    while (step := _STEP.search(text, at)) is not None:
        place = step.start()
        junk = junk or (not text[at:place].replace("\ufeff", " ").isspace() and at < place)
        at = step.end()
        if step[0] == COMMENT:
            if ends.find(at) < 0:
                break
            at = ends.find(at) + len(COMMENT_END)
        elif len(step[0]) > 1:
            doctype = None if seen_doctype else _DOCTYPE.match(text, place)
            seen_doctype = True
            at = doctype.end() if doctype else at
        elif (tag := tag_at(text, place)) is not None:
            at = tag.end()
            name = tag[2].lower()
            is_shop = not first and name == SHOP and _OFFER.search(text, at) is not None
            if not tag[1] and (is_shop or name.rpartition(":")[2] == ROOT):
                return Root(place, at, tag[2], tag[3].endswith("/"), junk), first or tag[2]
            junk = True
            first = first or ("" if name in _OF_WARNINGS else tag[2])
    return None, first


def is_feed(head: bytes) -> bool:
    """Return True if a file that begins with `head` is a YML feed or other XML declared as such."""
    if head.lstrip().startswith(_OTHER_FORMS):
        return False
    text = decode_head(head).lstrip()
    if text.startswith(("<?xml", "<!DOCTYPE yml_catalog", "<yml_catalog")):
        return True
    text = strip_code(text, final=True).text
    root, _ = find_root(text)
    return root is not None and _BEGINS_LINE.search(text[: root.start][-200:]) is not None


def entities_of(path: Path, prologue: str) -> dict[str, str]:
    """Return the text of each entity that a prologue declares.

    Raises CatalogueError for an entity that is more than plain text. No file is opened.
    """
    found: dict[str, str] = {}
    for declared in _ENTITY.finditer(prologue):
        value = declared[3] if declared[3] is not None else declared[4]
        text = _CHARACTER.sub(lambda reference: unescape(reference[0]), value or "")
        if declared[1] or value is None or "<" in text or "&" in text:
            raise CatalogueError(
                f"{path}: its DOCTYPE declares the entity {declared[2]!r}, which is more than "
                "plain text and might be an attack; export the feed without it"
            )
        found.setdefault(declared[2], text)
    return found
