"""Jinja2 environments of all pages, with the templates and filters that pages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vitrina.page.bars import bar
from vitrina.page.markup import script_json

HERE = Path(__file__).parent
LOOK = HERE / "static" / "look.css"
"""Style sheet of all pages: colours and type."""


def environment(folder: Path, *, finalize: Callable[[object], str] | None = None) -> Environment:
    """Return an environment with a folder's `templates/`, and after them those of this package.

    All values are escaped, and unknown names raise `jinja2.UndefinedError`. finalize: is applied to
    each value before it is escaped.
    """
    made = Environment(
        loader=FileSystemLoader([folder / "templates", HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "bar": bar,
        "decimals": "{:.3f}".format,
        "number": "{:,}".format,
        "percent": "{:.0%}".format,
        "script_json": script_json,
    }
    return made


def static_text(folder: Path, name: str) -> str:
    """Return a style sheet or script of a folder's `static/`."""
    return (folder / "static" / name).read_text(encoding="utf-8")
