"""PHP and other template code that was left in a feed: finds each block and its end.

Feeds are often saved as the template that prints them, with code before the declaration, between
tags, inside tags and inside values. The code is removed before anything looks for tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_BLOCK = 1 << 16
"""Characters that one block may take; a longer one is no block."""

# `<script language="php">` is PHP's oldest form.
_OPENING = re.compile(r"<(?:\?|%|script\s[^<>]{0,60}\bphp\b[^<>]{0,20}>)", re.IGNORECASE)
_DECLARATION = re.compile(r"<\?xml(?![\w.:-])", re.IGNORECASE)
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
# Code up to what is neither code nor a closed string or comment. In a line comment, too, "?>"
# ends the block. An end tag or another opening is never code.
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
_HAS_TAGS = re.compile(r"</[a-z]|<offer\s", re.IGNORECASE)
# As much of an opening as may stand at the end of what is there.
_LONGEST_OPENING = 100


@dataclass
class Stripped:
    """Text without its template code.

    Attributes:
        text: what is left.
        held: what follows it and can't be judged before more of the file is there.
        blocks: how many blocks were removed.
        gaps: of each removed piece with line ends in it, its place in `text` and their number.
        closes_root: whether the code prints the feed's last end tag.
    """

    text: str
    held: str = ""
    blocks: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    closes_root: bool = False


def strip_code(text: str, *, final: bool) -> Stripped:
    """Remove template code, XML declarations and processing instructions.

    PHP ends at the first `?>` outside its strings and block comments; where quotes are odd, at
    the first one at all. A `<?` without an end is text, but at the end of the file. Linear.

    Args:
        text: a piece of the feed, from where the last one was `held`.
        final: whether the file ends there.
    """
    if "<?" not in text and "<%" not in text and "<script" not in text:
        cut = len(text) if final else _last_opening(text, 0)
        return Stripped(text[:cut], text[cut:])
    kept: list[str] = []
    gaps: list[tuple[int, int]] = []
    at = length = blocks = 0
    closes_root = False
    while (opening := _OPENING.search(text, at)) is not None:
        start = opening.start()
        end = _end(text, start, final=final)
        if end is None:
            break
        kept.append(text[at:start] if end != start else text[at : start + 1])
        length += len(kept[-1])
        if end == start:
            at = start + 1
            continue
        block = text[start:end]
        if not _is_xml(block):
            blocks += 1
            closes_root |= "</yml_catalog" in block
        if lines := block.count("\n"):
            gaps.append((length, lines))
        at = end
    cut = opening.start() if opening else len(text) if final else _last_opening(text, at)
    kept.append(text[at:cut])
    return Stripped("".join(kept), text[cut:], blocks, tuple(gaps), closes_root)


def _last_opening(text: str, start: int) -> int:
    """Where a tag begins that isn't ended, near the end of the text; else its end."""
    at = text.rfind("<", max(start, len(text) - _LONGEST_OPENING))
    return at if at >= 0 and ">" not in text[at:] else len(text)


def _end(text: str, start: int, *, final: bool) -> int | None:
    """Where the block that begins at `start` ends; `start` if it is none, None if unknown yet."""
    # What is longer than any block is judged by what there is of it.
    final = final or len(text) - start > LONGEST_BLOCK
    if text.startswith("<?", start):
        if _DECLARATION.match(text, start):
            # Some lack their second question mark.
            end = text.find(">", start) + 1
            return end or (start if final else None)
        return _php_end(text, start, final=final)
    if text.startswith("<%", start):
        end, tag = text.find("%>", start), text.find("<", start + 1)
        if 0 <= end < (tag if tag >= 0 else len(text)):
            return end + 2
        return start if final or tag >= 0 else None
    end = text.find("</script>", start, start + LONGEST_BLOCK)
    return end + len("</script>") if end >= 0 else start if final else None


def _php_end(text: str, start: int, *, final: bool) -> int | None:
    limit = start + LONGEST_BLOCK
    at = _code_end(text, start + 2, limit)
    if text.startswith("?>", at):
        return at + 2
    first = text.find("?>", start + 2, limit)
    at_tag = text[at : at + 1] == "<" and not text.startswith("<<<", at)
    if at_tag:
        return first + 2 if 0 <= first < at else start
    # A string, a comment or the block itself has no end so far.
    if not final:
        return None
    if first >= 0:
        return first + 2
    if len(text) > limit or (at < len(text) and _HAS_TAGS.search(text, at)):
        return start
    return len(text)


def _code_end(text: str, at: int, limit: int) -> int:
    while True:
        code = _CODE.match(text, at, limit)
        at = code.end() if code else at
        heredoc = _HEREDOC.match(text, at, limit)
        if heredoc is None:
            return at
        closing = re.compile(rf"^[ \t]*{heredoc[2]}\b", re.MULTILINE)
        end = closing.search(text, heredoc.end(), limit)
        if end is None:
            return at
        at = end.end()


def _is_xml(block: str) -> bool:
    """Whether it is an XML declaration or an ordinary processing instruction."""
    if _DECLARATION.match(block) or _STYLESHEET.match(block):
        return True
    instruction = _INSTRUCTION.fullmatch(block)
    return instruction is not None and instruction[1].lower() not in _KEYWORDS
