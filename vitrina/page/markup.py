"""HTML helpers: escaped text, elements, sections and fact lists."""

from __future__ import annotations

import html
from collections.abc import Iterable

from vitrina.page.words import plain


def text(value: str) -> str:
    """Escape untrusted text for use in an element or a quoted attribute."""
    return html.escape(plain(value))


def element(name: str, inside: str, **attributes: str | None) -> str:
    """Return an element around markup.

    In an attribute's name, `_` becomes a hyphen and a trailing `_` is dropped. An attribute of None
    is left out. Values are escaped.
    """
    rendered = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{rendered}>{inside}</{name}>"


def scrolling(label: str, table: str) -> str:
    """Return a table in a box that scrolls sideways if the table is too wide."""
    return element(
        "div", table, class_="card scroll", role="region", aria_label=label, tabindex="0"
    )


def section(name: str, title: str, body: str, hint: str = "") -> str:
    """Return a section of the page. hint: markup shown under the heading as a reading aid."""
    note = f'<p class="hint">{hint}</p>' if hint else ""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{note}{body}</section>'


def category(name: str) -> str:
    """Return a category's own name below the path that leads to it; `->` separates the levels."""
    *above, leaf = (part.strip() for part in name.split("->"))
    path = f'<span class="part-of">{text(" › ".join(above))}</span>' if above else ""
    return f"{path}{text(leaf or name)}"


def facts(told: Iterable[tuple[str, str]]) -> str:
    """Return name-value pairs as a definition list in a card; "" for no pairs."""
    inside = [
        element(
            "div",
            f"<dt>{text(name)}</dt><dd>{text(value)}</dd>",
            class_="wide" if len(value) > 40 else None,
        )
        for name, value in told
    ]
    return f'<dl class="card facts">{"".join(inside)}</dl>' if inside else ""
