"""Fault-tolerant scanning and repair of XML tags, attributes and references.

Every function takes time linear in the text, whatever its content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape, unescape
from html.entities import html5

from vitrina.data.readers.feed.repairs import FeedRepair, Repairs

LONGEST_EXPANSION = 1 << 16
"""Maximum characters that declared entities may add to one offer."""

CDATA, CDATA_END = "<![CDATA[", "]]>"
COMMENT, COMMENT_END = "<!--", "-->"

_NAME = r"[^\W\d][\w:.-]*+"
# A quoted value may contain ">". If quotes are unbalanced, the tag ends at the first ">".
TAG = re.compile(rf"<(/?)({_NAME})((?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+)>")
_LOOSE_TAG = re.compile(rf"<(/?)({_NAME})([^<>]*+)>")
# A tag without its ">" before the next tag, and a tag with "<" in its values.
_OPEN_TAG = re.compile(
    rf"<(/?)({_NAME})((?:\s+[\w:.-]++\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'))*+\s*+)(?=<|\Z)"
)
_WIDE_TAG = re.compile(
    rf"<(/?)({_NAME})((?:\s+[\w:.-]++\s*+=\s*+(?:\"[^\"]{{0,500}}+\"|'[^']{{0,500}}+'))++\s*+/?)>"
)
# A value without its closing quote ends before the next attribute.
_NEXT = r"(?<!\s)\s++[\w:.-]++\s*+=\s*+[\"']"
_ATTRIBUTE = re.compile(
    rf"(?<![\w:.-])({_NAME})\s*+=\s*+"
    rf"(?:\"((?:(?!{_NEXT})[^\"])*+)\"?|'((?:(?!{_NEXT})[^'])*+)'?|([^\s\"'<>]++))"
)
_GOOD_ATTRIBUTES = re.compile(rf"(?:\s+{_NAME}\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'))*+\s*+/?")
_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(
    r"&(?:#(?:([0-9]{1,12})|[xX]([0-9A-Fa-f]{1,12}))(;?)|([^\W\d][\w.-]{0,63});)?"
)
_OF_XML = frozenset(("amp", "lt", "gt", "quot", "apos"))
_SECTION = re.compile(r"<!--|<!\[CDATA\[")


class UnreadableError(ValueError):
    """A part of a feed can't be repaired; the message is the reason."""


def tag_at(text: str, at: int) -> re.Match[str] | None:
    """Match the tag at `at`: groups are "/" of an end tag, the name, and the rest of the tag."""
    for form in (TAG, _LOOSE_TAG, _OPEN_TAG, _WIDE_TAG):
        if (tag := form.match(text, at)) is not None:
            return tag
    return None


def attributes_of(inside: str) -> dict[str, str]:
    """Return the attributes in a tag; of two with the same name, the first."""
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(inside.removesuffix("/")):
        value = match[2] or match[3] or match[4] or ""
        found.setdefault(match[1], unescape(value) if "&" in value else value)
    return found


def are_faulty(inside: str) -> bool:
    """Return True if a tag's attributes are no valid XML, such as unquoted or repeated ones."""
    names = [match[1] for match in _ATTRIBUTE.finditer(inside)]
    return len(set(names)) < len(names) or _GOOD_ATTRIBUTES.fullmatch(inside) is None


def plain(text: str, entities: Mapping[str, str], repairs: Repairs) -> str:
    """Normalize markup: no CDATA sections, no comments, valid characters and references only.

    CDATA sections become escaped text. HTML entities are replaced; unknown entities and bare
    ampersands are escaped.

    Args:
        text: the markup.
        entities: text of the entities that the feed declares.
        repairs: counter of repairs.

    Raises:
        UnreadableError: declared entities lengthen the text by more than `LONGEST_EXPANSION`.
    """
    text, invalid = _INVALID.subn(" ", text)
    if invalid:
        repairs[FeedRepair.CONTROL] += invalid
    references = _References(entities, repairs)
    ends = Finder(text, CDATA_END), Finder(text, COMMENT_END)
    out: list[str] = []
    at = 0
    while (section := _SECTION.search(text, at)) is not None:
        out.append(references.mend(text[at : section.start()]))
        at = section.end()
        if section[0] == CDATA:
            end, after = _cdata_end(text, section, ends[0])
            if after == end:
                repairs[FeedRepair.CDATA] += 1
            out.append(escape(text[at:end]))
            at = after
        elif (end := ends[1].find(at)) >= 0:
            at = end + len(COMMENT_END)
        else:
            repairs[FeedRepair.LESS_THAN] += 1
            out.append("&lt;!--")
    out.append(references.mend(text[at:]))
    return "".join(out)


class Finder:
    """Search for a mark from ascending positions, in total time linear in the text."""

    def __init__(self, text: str, mark: str) -> None:
        self._text = text
        self._mark = mark
        self._from = self._found = len(text) + 1

    def find(self, at: int) -> int:
        """Return the first position of the mark from `at` on, -1 if there is none."""
        if at < self._from or 0 <= self._found < at:
            self._found = self._text.find(self._mark, at)
            self._from = at
        return self._found


def is_closed(text: str, start: int, end: int, closing: str) -> bool:
    """Return True if a CDATA section with content from `start` to `end` is closed there.

    It is not if the end tag `closing` and then another section precede that end.
    """
    tag = text.find(closing, start, end)
    return tag < 0 or text.find(CDATA, tag, end) < 0


def _cdata_end(text: str, section: re.Match[str], ends: Finder) -> tuple[int, int]:
    """Return the end of a CDATA section's content and of the section; equal if it isn't closed."""
    start, inner = section.span()
    opened = text.rfind("<", 0, start)
    around = tag_at(text, opened) if opened >= 0 else None
    closing = f"</{around[2]}" if around and not around[1] else "</"
    end = ends.find(inner)
    if end >= 0 and is_closed(text, inner, end, closing):
        return end, end + len(CDATA_END)
    end = text.find(closing, inner)
    if end < 0:
        last = text.rfind("</")
        end = last if last >= inner else len(text)
    return end, end


class _References:
    """Repair of the references in the pieces of one text."""

    def __init__(self, entities: Mapping[str, str], repairs: Repairs) -> None:
        self._entities = entities
        self._repairs = repairs
        self._expanded = 0
        self._surrogates = False

    def mend(self, text: str) -> str:
        if CDATA_END in text:
            self._repairs[FeedRepair.CDATA] += text.count(CDATA_END)
            text = text.replace(CDATA_END, " ")
        if "&" not in text:
            return text
        self._surrogates = False
        text = _REFERENCE.sub(self._mended, text)
        if self._surrogates:
            # Characters past U+FFFF, each written as two surrogate references.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def _mended(self, reference: re.Match[str]) -> str:
        decimal, hexadecimal, semicolon, name = reference.groups()
        if name is not None:
            return self._entity(name)
        if decimal is None and hexadecimal is None:
            self._repairs[FeedRepair.AMPERSAND] += 1
            return "&amp;"
        code = int(decimal) if decimal else int(hexadecimal, 16)
        if 0xD800 <= code < 0xE000:
            self._repairs[FeedRepair.CHARACTER] += 1
            self._surrogates = True
            return chr(code)
        if code > 0x10FFFF or _INVALID.match(chr(code)):
            self._repairs[FeedRepair.CHARACTER] += 1
            return " "
        if not semicolon:
            self._repairs[FeedRepair.CHARACTER] += 1
        return f"&#{code};"

    def _entity(self, name: str) -> str:
        if name in _OF_XML:
            return f"&{name};"
        if (declared := self._entities.get(name)) is not None:
            self._expanded += len(declared)
            if self._expanded > LONGEST_EXPANSION:
                raise UnreadableError(
                    f"entities of the DOCTYPE make it more than {LONGEST_EXPANSION >> 10} KB longer"
                )
            return escape(declared)
        known = html5.get(f"{name};") or html5.get(f"{name.lower()};")
        if known is None:
            self._repairs[FeedRepair.UNKNOWN_ENTITY] += 1
            return f"&amp;{name};"
        self._repairs[FeedRepair.ENTITY] += 1
        return escape(known)
