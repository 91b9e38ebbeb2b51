"""Formatting of text and durations for a page."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Return text on one line, without control characters or lone surrogates."""
    one_line = re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ufffe\uffff]+", " ", text).strip()
    return one_line.encode("utf-8", "replace").decode("utf-8")


def duration(seconds: float) -> str:
    """Format a duration as "0.4 s", "52 s", "3 min 20 s" or "1 h 12 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"
