"""Marketplace format: a product's text as one JSON object in the column `text_fields`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vitrina.data.readers.base import UnreadableValue
from vitrina.data.text import clean, is_missing

TEXT_FIELDS = "text_fields"
METADATA = ("sale", "shop_id", "rating")
"""Columns in addition to `text_fields` that are kept as metadata."""

# All three have the same format of names and values, and often the same content.
_CHARACTERISTICS = ("custom_characteristics", "defined_characteristics", "filters")


@dataclass(frozen=True, slots=True)
class TextFields:
    """Cleaned content of `text_fields`. Characteristics are "name: v1, v2"."""

    title: str = ""
    description: str = ""
    attributes: tuple[str, ...] = ()
    characteristics: tuple[str, ...] = ()


def parse_text_fields(value: Any) -> TextFields:
    """Parse one row's `text_fields`: JSON text, the object itself, or null for no text.

    Parts of the JSON object may be missing, null or of unexpected types; any text in them is used.

    Raises:
        ValueError: the JSON is broken or holds no object; the message is the reason.
    """
    if isinstance(value, str | bytes):
        try:
            missing = is_missing(value) if isinstance(value, str) else not value.strip()
            value = None if missing else json.loads(value)
        except (ValueError, RecursionError) as err:
            raise ValueError(f"broken JSON in text_fields: {err}") from err
    if isinstance(value, UnreadableValue):
        raise ValueError(value.reason)
    if value is None:
        return TextFields()
    if not isinstance(value, dict):
        raise ValueError(f"text_fields is not a JSON object but a {type(value).__name__}")
    characteristics: list[str] = []
    for name in _CHARACTERISTICS:
        if part := value.get(name):
            characteristics += texts(part)
    attributes = value.get("attributes")
    return TextFields(
        title=text_of(value.get("title")),
        description=text_of(value.get("description")),
        attributes=tuple(texts(attributes)) if attributes else (),
        characteristics=tuple(dict.fromkeys(characteristics)),
    )


def text_of(value: Any) -> str:
    """Return all text in a value of any type, cleaned, on one line.

    A text that is `NaN`, `null` or the like becomes "". Raises ValueError, with the reason, for an
    unreadable value; UnicodeDecodeError for bytes that are no text.
    """
    if isinstance(value, str):
        return "" if is_missing(value) else clean(value)
    return ", ".join(texts(value))


def texts(value: Any) -> list[str]:
    """Return each text in a value of any type, cleaned; an object gives "name: v1, v2" per name.

    Null, NaN and empty text give nothing. Whole floats are written as integers, which become floats
    in a column with gaps. Raises the exceptions of `text_of`.
    """
    if isinstance(value, UnreadableValue):
        raise ValueError(value.reason)
    if value is None or value != value:
        return []
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts(part)]
    if isinstance(value, dict):
        pairs = ((clean(name), text_of(part)) for name, part in value.items())
        return [f"{name}: {text}" if name else text for name, text in pairs if text]
    if isinstance(value, bytes):
        value = value.decode()
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    text = clean(value if isinstance(value, str) else str(value))
    return [text] if text else []
