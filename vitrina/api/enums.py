"""Conversion of user strings to enums."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from vitrina.errors import CatalogueError

Member = TypeVar("Member", bound=StrEnum)


def member(kind: type[Member], value: str | None) -> Member | None:
    """The enum member with a value; None for None. Raises CatalogueError for an unknown value."""
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError as err:
        choices = ", ".join(kind)
        raise CatalogueError(f"{value!r} is not one of {choices}") from err
