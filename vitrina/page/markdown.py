"""Escaping of untrusted text in Markdown."""

from __future__ import annotations

import re

from vitrina.page.words import plain


def escaped(text: str) -> str:
    """Escape catalogue text for Markdown, on one line, so that it creates no markup, HTML, link or
    table cell."""
    one_line = re.sub(r"([\\`*_\[\]<&|~$!#])", r"\\\1", plain(text))
    # A bare URL becomes a link too.
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", one_line)


def code(text: str) -> str:
    """Text as a code span, fenced by more backticks than it contains."""
    one_line = plain(text)
    longest = max((len(run) for run in re.findall("`+", one_line)), default=0)
    fence, gap = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{gap}{one_line}{gap}{fence}"
