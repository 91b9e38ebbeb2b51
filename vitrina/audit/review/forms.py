"""Typed values of a request: whole numbers of bounded length, and forms.

No untrusted input reaches a general parser: the page's own scripts send only URL-encoded forms, so
multipart bodies and uploads are not read at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request

MOST_FIELDS = 1000
_MOST_DIGITS = 9
_MEDIA_TYPE = "application/x-www-form-urlencoded"
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class NotUnderstoodError(ValueError):
    """A form that the page did not send."""


def whole_number(text: str) -> int | None:
    """A number from 0 to 999,999,999 from its ASCII digits; None for any other text."""
    valid = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if valid else None


class FormFields:
    """The fields of a form, each with all its values in order."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    @classmethod
    def parse(cls, body: bytes, content_type: str = _MEDIA_TYPE) -> FormFields:
        """Read a URL-encoded body.

        Raises NotUnderstoodError for another content type, broken escapes or UTF-8, and more
        than `MOST_FIELDS` fields.
        """
        if not body:
            return cls({})
        if content_type.partition(";")[0].strip().lower() != _MEDIA_TYPE:
            raise NotUnderstoodError("the content type is not that of a form")
        try:
            text = body.decode("utf-8")
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
            )
        except ValueError as err:
            raise NotUnderstoodError(str(err)) from err
        if _BROKEN_ESCAPE.search(text):
            raise NotUnderstoodError("an escape is broken")
        fields: dict[str, list[str]] = {}
        for name, value in pairs:
            fields.setdefault(name, []).append(value)
        return cls(fields)

    @classmethod
    async def of(cls, request: Request) -> FormFields:
        """Read a request's form. Raises NotUnderstoodError, see `parse`."""
        return cls.parse(await request.body(), request.headers.get("content-type", ""))

    def get(self, name: str) -> str:
        """The last value of a field; "" if there is none."""
        values = self._fields.get(name)
        return values[-1] if values else ""

    def every(self, name: str) -> Sequence[str]:
        """All values of a field."""
        return self._fields.get(name, ())
