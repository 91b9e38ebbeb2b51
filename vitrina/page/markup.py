"""Escaping of untrusted values: in HTML and SVG, and as JSON in script elements."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup, escape

from vitrina.page.words import plain

_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def text(value: str) -> Markup:
    """Escape untrusted text, on one line, for use in an element or a quoted attribute."""
    return escape(plain(value))


def on_one_line(value: object) -> str:
    """Return a template's value as text on one line, to be escaped; markup stays as it is."""
    return value if isinstance(value, Markup) else plain(str(value))


def script_json(value: Any) -> Markup:
    """Return JSON for a script element, escaped so that no value can close it or open another."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(content.translate(_ESCAPES))
