"""Removal of PHP and other template code left in a feed.

Feeds are often saved as the template that prints them, with code before the declaration, between
tags, inside tags and inside values. The code is removed before tags are parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vitrina.data.readers.feed.markup import Finder

LONGEST_BLOCK = 1 << 16
"""Maximum characters of one block; longer text is no block."""

# `<script language="php">` is PHP's oldest form.
_OPENING = re.compile(r"<(?:\?|%|script\s[^<>]{0,60}\bphp\b[^<>]{0,20}>)", re.IGNORECASE)
_DECLARATION = re.compile(r"<\?xml(?![\w.:-])", re.IGNORECASE)
# Some declarations lack their second question mark, and some contain code.
_WHOLE_DECLARATION = re.compile(
    r"<\?xml(?:[^<>?]++|\?(?!>)|<\?(?:[^?]++|\?(?!>))*+\?>)*+\??>", re.IGNORECASE
)
_STYLESHEET = re.compile(r"<\?xml-[^<>]*>", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"<\?(?!php\b)([a-z_][\w.:-]*+)"
    r"(?:(?:\s+[\w.:-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))++\s*|[^$();\[\]{}=<>\"'?]*+)\?>",
    re.IGNORECASE,
)
_KEYWORDS_WORDS = (
    "php if else elseif endif for foreach endfor endforeach while endwhile switch case "
    "default endswitch break continue return exit die echo print include include_once require "
    "require_once use namespace global static function class try catch finally throw goto "
    "declare isset unset empty list array new clone const abstract final do"
)
_KEYWORDS = frozenset(_KEYWORDS_WORDS.split())
# A run of code, closed strings and closed comments. "?>" ends the block even in a line comment. An
# end tag or another opening is never code.
_CODE = re.compile(
    r"""(?:[^"'/\#?<]++
    |"(?:[^"\\]++|\\.)*+"
    |'(?:[^'\\]++|\\.)*+'
    |/\*(?:[^*]++|\*(?!/))*+\*/
    |(?://|\#)(?:[^\r\n?]++|\?(?!>))*+
    |/(?![*/])
    |\?(?!>)
    |<(?!/[a-z]|\?|!--|!\[CDATA\[|<<)
    )*+""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_HEREDOC = re.compile(r"<<<[ \t]*([\"']?)(\w+)\1[ \t]*\r?\n")
_ANOTHER = re.compile(r"<\?(?!xml)", re.IGNORECASE)
_HAS_TAGS = re.compile(r"</[a-z]|<offer\s", re.IGNORECASE)
_LONGEST_DECLARATION = 1000
# Characters of a text that may be scanned without success, as a bound on hostile input.
_PATIENCE = 1 << 20
# Maximum length of a partial opening at the end of the text.
_LONGEST_OPENING = 100


@dataclass
class WithoutCode:
    """Text without its template code.

    Attributes:
        text: the remaining text.
        held: the text after it that is undecided until more of the file is read.
        blocks: number of removed blocks.
        gaps: position in `text` and number of line ends of each removed piece that has any.
        closes_root: whether the code prints the feed's last end tag.
    """

    text: str
    pending: str = ""
    blocks: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    closes_root: bool = False


def strip_code(text: str, *, final: bool) -> WithoutCode:
    """Remove template code, XML declarations and processing instructions.

    PHP ends at the first `?>` outside its strings and block comments or, if quotes are unbalanced,
    at the first `?>`. A `<?` without an end is text, except at the end of the file.

    Args:
        text: a piece of the feed that begins with the previous piece's `held`.
        final: whether the piece ends the file.
    """
    if "<?" not in text and "<%" not in text and "<script" not in text:
        cut = len(text) if final else _last_opening(text, 0)
        return WithoutCode(text[:cut], text[cut:])
    blocks = _Blocks(text, final=final)
    kept: list[str] = []
    gaps: list[tuple[int, int]] = []
    at = length = removed = 0
    closes_root = False
    while (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        end = blocks.end(start)
        if end is None:
            break
        kept.append(text[at : start + (end == start)])
        length += len(kept[-1])
        at = max(end, start + 1)
        if end == start:
            continue
        block = text[start:end]
        removed += block.count("<?", 2) if _is_xml(block) else 1
        closes_root |= "</yml_catalog" in block
        if lines := block.count("\n"):
            gaps.append((length, lines))
    cut = opening.start() if opening else len(text) if final else _last_opening(text, at)
    kept.append(text[at:cut])
    return WithoutCode("".join(kept), text[cut:], removed, tuple(gaps), closes_root)


def _last_opening(text: str, start: int) -> int:
    """Return the position of an unfinished tag near the end of the text, else the text's end."""
    at = text.rfind("<", max(start, len(text) - _LONGEST_OPENING))
    return at if at >= 0 and ">" not in text[at:] else len(text)


class _Blocks:
    """Search for the ends of code blocks in one text."""

    def __init__(self, text: str, *, final: bool) -> None:
        self._text = text
        self._final = final
        self._ends = Finder(text, "?>")
        self._script_ends = Finder(text, "</script>")
        self._patience = _PATIENCE

    def end(self, start: int) -> int | None:
        """Return the end of the block at `start`; `start` if it is no code, None if undecided."""
        text = self._text
        if _DECLARATION.match(text, start):
            whole = _WHOLE_DECLARATION.match(text, start, start + _LONGEST_DECLARATION)
            final = self._is_final(start, _LONGEST_DECLARATION)
            return whole.end() if whole else start if final else None
        if text.startswith("<?", start):
            return self._end_of_php(start)
        final = self._is_final(start, LONGEST_BLOCK)
        if text.startswith("<%", start):
            tag = text.find("<", start + 1)
            end = text.find("%>", start, tag if tag >= 0 else start + LONGEST_BLOCK)
            return end + 2 if end >= 0 else start if final or tag >= 0 else None
        end = self._script_ends.find(start)
        if 0 <= end < start + LONGEST_BLOCK:
            return end + len("</script>")
        return start if final else None

    def _is_final(self, start: int, longest: int) -> bool:
        """Return True if more text could not change the result for `start`."""
        return self._final or len(self._text) - start > longest

    def _end_of_php(self, start: int) -> int | None:
        text, limit = self._text, start + LONGEST_BLOCK
        at = self._end_of_code(start + 2, limit)
        first = self._ends.find(start + 2)
        if text.startswith("?>", at):
            # With an unbalanced quote, an apparent string extends into another block.
            return (first if _ANOTHER.search(text, first, at) else at) + 2
        if text.startswith("<", at) and not text.startswith("<<<", at):
            return first + 2 if 0 <= first < at else start
        # A string, a comment or the block itself is unclosed so far.
        if not self._is_final(start, LONGEST_BLOCK):
            return None
        if 0 <= first < limit:
            return first + 2
        if len(text) > limit or (at < len(text) and _HAS_TAGS.search(text, at)):
            return start
        return len(text)

    def _end_of_code(self, at: int, limit: int) -> int:
        """Return the position of the "?>" that ends the code, or of the first text that is none."""
        start = at
        while self._patience > 0:
            code = _CODE.match(self._text, at, limit)
            at = code.end() if code else at
            heredoc = _HEREDOC.match(self._text, at, limit)
            end = None
            if heredoc is not None:
                closing = re.compile(rf"^[ \t]*{heredoc[2]}\b", re.MULTILINE)
                end = closing.search(self._text, heredoc.end(), limit)
            if end is None:
                break
            at = end.end()
        if not self._text.startswith("?>", at):
            # An unclosed string or comment is scanned to the limit.
            open_ended = self._text.startswith(("'", '"', "/*", "<<<"), at)
            self._patience -= LONGEST_BLOCK if open_ended else at - start
        return at


def _is_xml(block: str) -> bool:
    """Return True for an XML declaration or an ordinary processing instruction."""
    if _DECLARATION.match(block) or _STYLESHEET.match(block):
        return True
    instruction = _INSTRUCTION.fullmatch(block)
    return instruction is not None and instruction[1].lower().rstrip(":") not in _KEYWORDS
