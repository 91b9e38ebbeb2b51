"""The marketplace form: a product's text as one JSON object in the column `text_fields`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vitrina.data.readers.base import UnreadableValue
from vitrina.data.text import clean, is_missing

TEXT_FIELDS = "text_fields"
METADATA = ("sale", "shop_id", "rating")
"""Columns beside `text_fields` that are kept as metadata."""

# All three hold "name: values" in the same shape, and often the same ones.
_CHARACTERISTICS = ("custom_characteristics", "defined_characteristics", "filters")


@dataclass(frozen=True, slots=True)
class TextFields:
    """What `text_fields` says of a product, cleaned. Characteristics are "name: v1, v2"."""

    title: str = ""
    description: str = ""
    attributes: tuple[str, ...] = ()
    characteristics: tuple[str, ...] = ()


def parse_text_fields(value: Any) -> TextFields:
    """Read one row's `text_fields`: JSON text, the object itself, or null for no text.

    Inside a JSON object anything goes: a part that is missing, null or of another type than
    expected gives what text it holds.

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
    """All text in a value of any type, cleaned, on one line.

    A whole field that is `NaN`, `null` or the like is as good as none. Raises ValueError, with
    the reason, for what can't be read; UnicodeDecodeError for bytes that are no text.
    """
    if isinstance(value, str):
        return "" if is_missing(value) else clean(value)
    return ", ".join(texts(value))


def texts(value: Any) -> list[str]:
    """Each text in a value of any type, cleaned: of an object "name: v1, v2" each.

    Null, NaN and empty text give nothing; whole floats are shown as integers, since that is
    what they were before their column got a gap. Raises as `text_of`.
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
