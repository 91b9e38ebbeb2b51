"""Stream of a feed's parts: the offers, the categories and the shop's name.

Offers are cut out of the text at their tags, so that a fault in one does not affect the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from vitrina.data.readers.feed.markup import (
    CDATA,
    CDATA_END,
    COMMENT,
    COMMENT_END,
    TAG,
    UnreadableError,
    attributes_of,
    is_closed,
    plain,
    tag_at,
)
from vitrina.data.readers.feed.prologue import ROOT, SHOP, Root, entities_of, find_root
from vitrina.data.readers.feed.repairs import Repairs
from vitrina.data.readers.feed.stream import FeedText
from vitrina.data.readers.text_tables import open_bytes, read_errors
from vitrina.errors import CatalogueError

LONGEST_ELEMENT = 1 << 23
"""Maximum characters of one offer: an unclosed tag must not swallow the rest of the file."""

LONGEST_PROLOGUE = 1 << 20
"""Maximum characters before the outermost tag."""

_LONGEST_TAG = 1 << 16
_LONGEST_EDGE = 64
_DEEPEST = 256
_OFFER = "offer"
_TREES = frozenset(("categories", SHOP))
_ENDS = {COMMENT: COMMENT_END, CDATA: CDATA_END}
# HTML that needs no end tag.
_VOID = frozenset(("br", "hr", "img", "p", "b", "input", "meta", "link"))

_MARKUP = re.compile(r"<(?:!--|!\[CDATA\[|/?(?=[^\W\d]))")
_EDGES = r"(?P<own></offer\s*>)|<offer(?=[\s/>])|</(?:offers|shop|yml_catalog)\s*>"
# Ends of an offer, and starts of comments and sections that may hide one.
_OFFER_EDGE = re.compile(rf"<!--|<!\[CDATA\[|{_EDGES}", re.IGNORECASE)
_SKIPPED_EDGE = re.compile(_EDGES, re.IGNORECASE)
# Likewise for a text element outside of offers.
_LEAF_EDGE = re.compile(
    r"<!--|<!\[CDATA\[|</?(?:name|category|categories|shop|offers?|company|url|platform"
    r"|currenc(?:y|ies)|yml_catalog)(?=[\s/>])",
    re.IGNORECASE,
)


class BrokenFeedError(CatalogueError):
    """The feed is truncated or damaged; the parts before the damage have been read."""


@dataclass(frozen=True, slots=True)
class OfferText:
    """Text of one offer.

    Attributes:
        line: line number of its start.
        text: its markup without template code.
        cut: whether its end tag is missing.
        fault: reason why the text is incomplete, "" if it is complete.
    """

    line: int
    text: str
    cut: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text element outside of offers; `tag` and attribute names are in lower case."""

    tag: str
    attributes: dict[str, str]
    text: str


class Feed:
    """A feed whose encoding is known; `parts` reads it once.

    Attributes:
        entities: text of the entities that the DOCTYPE declares; set before the first part.
        junk: whether text before the outermost tag was skipped; set before the first part.
    """

    def __init__(self, path: Path, codec: str, repairs: Repairs) -> None:
        """Prepare without opening the file. repairs: counter of repairs."""
        self.entities: dict[str, str] = {}
        self.junk = False
        self._path = path
        self._codec = codec
        self._repairs = repairs

    def parts(self) -> Iterator[OfferText | Leaf]:
        """Yield every offer, every category and the shop's name, in file order.

        Raises:
            BrokenFeedError: the feed is truncated or damaged; the message names the line.
            CatalogueError: the file can't be opened, or is no feed.
        """
        with read_errors(self._path), open_bytes(self._path) as stream:
            feed = self._feed = FeedText(stream, self._codec, self._repairs)
            root = self._begin()
            around: list[str] = []
            closed = root.empty
            whole = was_cut = False
            remaining = 0
            while (tag := self._next_tag()) is not None:
                name = tag[2].lower()
                if closed:
                    if not tag[1] and name in (_OFFER, ROOT):
                        raise self._broken("Extra content at the end of the document")
                    feed.advance(tag.end())
                elif tag[1]:
                    whole = whole or name == SHOP
                    closed = name == root.name.lower()
                    while name in around and around.pop() != name:
                        pass
                    line = feed.line
                    feed.advance(tag.end())
                    if name == _OFFER and not remaining:
                        yield OfferText(line, "", fault="its first tag is missing")
                    remaining = max(remaining - (name == _OFFER), 0)
                elif name == _OFFER:
                    offer = self._offer(tag)
                    # The end tag of an offer cut by the next one may follow the next one.
                    remaining = remaining + 1 if offer.cut else remaining * was_cut
                    was_cut = offer.cut
                    yield offer
                elif _is_leaf(name, around):
                    yield self._leaf(tag, name)
                else:
                    if name not in _VOID and not tag[3].endswith("/") and len(around) < _DEEPEST:
                        around.append(name)
                    feed.advance(tag.end())
            if feed.fault is not None or not (closed or whole or feed.closes_root):
                raise self._broken(feed.fault or f"Premature end, <{root.name}> is not closed")

    def _begin(self) -> Root:
        """Advance to the end of the outermost tag."""
        feed = self._feed
        root, first = None, ""
        while root is None and len(feed.text) <= LONGEST_PROLOGUE and feed.more():
            root, first = find_root(feed.text)
        if root is None:
            if first:
                raise CatalogueError(
                    f"{self._path}: XML whose outermost tag is <{first}>, where a YML feed has "
                    f"<{ROOT}>; give a YML feed, or a table as CSV"
                )
            where = "" if feed.ended else f" in the first {LONGEST_PROLOGUE >> 10} KB"
            raise self._broken(feed.fault or f"there is no <{ROOT}>{where}")
        self.entities.update(entities_of(self._path, feed.text[: root.start]))
        self.junk = root.junk
        feed.advance(root.end)
        return root

    def _next_tag(self) -> re.Match[str] | None:
        """Advance to the next tag outside of comments and CDATA sections; None at the end."""
        feed = self._feed
        while True:
            markup = _MARKUP.search(feed.text, feed.at)
            if markup is None:
                # The text may end with the start of a mark.
                begun = feed.text.rfind("<", max(feed.at, len(feed.text) - len(CDATA)))
                feed.advance(len(feed.text) if begun < 0 else begun)
                if not feed.more():
                    return None
                continue
            feed.advance(markup.start())
            if markup[0] == COMMENT:
                self._skip_comment()
            elif markup[0] == CDATA:
                self._skip_section()
            elif (tag := self._tag()) is not None:
                return tag
            else:
                feed.advance(feed.at + 1)

    def _tag(self) -> re.Match[str] | None:
        """Read the tag at the current position to its end; None if there is no tag."""
        feed = self._feed
        while (tag := TAG.match(feed.text, feed.at)) is None:
            if len(feed.text) - feed.at > _LONGEST_TAG or not feed.more():
                return tag_at(feed.text, feed.at)
        return tag

    def _skip_comment(self) -> None:
        """Advance past the end of a comment, or to the end of the feed."""
        feed = self._feed
        while (end := feed.find(COMMENT_END, feed.at)) < 0:
            feed.advance(max(feed.at, len(feed.text) - len(COMMENT_END)))
            if not feed.more():
                feed.advance(len(feed.text))
                return
        feed.advance(end + len(COMMENT_END))

    def _skip_section(self) -> None:
        """Advance past a CDATA section, or past its start mark if it isn't closed."""
        feed = self._feed
        while (end := feed.find(CDATA_END, feed.at)) < 0:
            if len(feed.text) - feed.at > _LONGEST_TAG or not feed.more():
                break
        inner = feed.at + len(CDATA)
        closed = end >= 0 and is_closed(feed.text, inner, end, "</")
        feed.advance(end + len(CDATA_END) if closed else inner)

    def _offer(self, tag: re.Match[str]) -> OfferText:
        """Read the offer at the current position."""
        feed = self._feed
        line, cut = feed.line, False
        start, end = tag.span()
        if not tag[3].endswith("/"):
            closing = f"</{tag[2]}>"
            place = feed.find(closing, end)
            if place >= 0 and _is_simple(feed.text, end, place, f"<{tag[2]}"):
                end = place + len(closing)
            else:
                edge = self._edge(_OFFER_EDGE, end - start, closing[:-1], LONGEST_ELEMENT)
                if edge is None and len(feed.text) - feed.at <= LONGEST_ELEMENT:
                    raise self._broken(feed.fault or f"Premature end, <{tag[2]}> is not closed")
                if edge is None:
                    self._skip_offer()
                    fault = f"it has no end in {LONGEST_ELEMENT >> 10} KB"
                    return OfferText(line, tag[0], fault=fault)
                end = edge.end() if edge["own"] else edge.start()
                cut = edge["own"] is None
        text = feed.text[feed.at : end]
        feed.advance(end)
        return OfferText(line, text, cut)

    def _skip_offer(self) -> None:
        """Advance to the next possible start of an offer without keeping the text."""
        feed = self._feed
        feed.advance(feed.at + 1)
        while (edge := _SKIPPED_EDGE.search(feed.text, feed.at)) is None:
            feed.advance(max(feed.at, len(feed.text) - _LONGEST_EDGE))
            if not feed.more():
                return
        feed.advance(edge.end() if edge["own"] else edge.start())

    def _leaf(self, tag: re.Match[str], name: str) -> Leaf:
        """Read the text element at the current position."""
        feed = self._feed
        start, end = tag.span()
        inner = ""
        if tag[3].endswith("/"):
            feed.advance(end)
        else:
            edge = self._edge(_LEAF_EDGE, end - start, f"</{tag[2]}", _LONGEST_TAG)
            place = feed.at + end - start
            stop = edge.start() if edge else place
            inner = feed.text[place:stop]
            feed.advance(stop)
        attributes = attributes_of(self._plain(tag[3]))
        return Leaf(
            name,
            {key.lower(): value for key, value in attributes.items()},
            unescape(self._plain(inner)),
        )

    def _edge(
        self, edges: re.Pattern[str], offset: int, closing: str, limit: int
    ) -> re.Match[str] | None:
        """Find the first edge outside of comments and CDATA sections, at `offset` or later.

        `offset` counts from the current position. `closing` is the end tag that identifies an
        unclosed CDATA section. None if there is no edge within the limit or before the feed's end.
        """
        feed = self._feed
        while True:
            text, at = feed.text, feed.at + offset
            is_all = feed.ended or len(text) - feed.at > limit
            while (edge := edges.search(text, at)) is not None:
                mark = _ENDS.get(edge[0])
                if mark is None:
                    return edge
                end = feed.find(mark, edge.end())
                if end < 0 and not is_all:
                    at = edge.start()
                    break
                at = edge.end()
                if end >= 0 and (edge[0] == COMMENT or is_closed(text, at, end, closing)):
                    at = end
            else:
                at = max(at, len(text) - _LONGEST_EDGE)
            if is_all:
                return None
            offset = at - feed.at
            feed.more()

    def _plain(self, text: str) -> str:
        try:
            return plain(text, self.entities, self._repairs)
        except UnreadableError:
            return plain(text, {}, self._repairs)

    def _broken(self, reason: str) -> BrokenFeedError:
        self._feed.advance(len(self._feed.text))
        line, reason = self._feed.line, " ".join(reason.split())
        return BrokenFeedError(
            f"{self._path}: cut short or damaged at line {line}: {reason}; export it again"
        )


def _is_leaf(name: str, around: Sequence[str]) -> bool:
    parent = around[-1] if around else SHOP
    return parent == SHOP if name == "name" else name == "category" and parent in _TREES


def _is_simple(text: str, start: int, end: int, opening: str) -> bool:
    """Return True if no nested offer, open CDATA section or open comment precedes the end tag.

    start, end: extent of the offer's content.
    """
    return (
        text.find(opening, start, end) < 0
        and text.rfind(CDATA, start, end) <= text.rfind(CDATA_END, start, end)
        and text.rfind(COMMENT, start, end) <= text.rfind(COMMENT_END, start, end)
    )
