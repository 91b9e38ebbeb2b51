"""Defaults of the options from `vitrina.toml`."""

from __future__ import annotations

from typing import Any


def set_defaults(command: Any, ctx: Any, args: list[str]) -> None:
    """Give the options of a command the defaults that the configuration has for them."""
