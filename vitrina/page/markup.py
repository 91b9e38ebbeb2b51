"""The smallest pieces of markup: text made safe, elements with their attributes."""

from __future__ import annotations

import html
from collections.abc import Iterable

from vitrina.page.words import plain


def text(value: str) -> str:
    """Text that comes from data, safe within an element and within a quoted attribute."""
    return html.escape(plain(value))


def element(name: str, inside: str, **attributes: str | None) -> str:
    """An element around markup; `_` in an attribute's name stands for a hyphen, one at its end
    for nothing, and None leaves it out. The values are escaped."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{told}>{inside}</{name}>"


def scrolling(label: str, table: str) -> str:
    """A table in a box of its own, which scrolls sideways where it is too wide."""
    return element(
        "div", table, class_="card scroll", role="region", aria_label=label, tabindex="0"
    )


def section(name: str, title: str, body: str, hint: str = "") -> str:
    """A part of the page under its heading; hint: markup that says how to read it."""
    told = f'<p class="hint">{hint}</p>' if hint else ""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{told}{body}</section>'


def category(name: str) -> str:
    """A category's own name, below the path that leads to it."""
    *above, leaf = (part.strip() for part in name.split("->"))
    path = f'<span class="part-of">{text(" › ".join(above))}</span>' if above else ""
    return f"{path}{text(leaf or name)}"


def facts(told: Iterable[tuple[str, str]]) -> str:
    """What things are called and what they are, as a list in a card; nothing for no facts."""
    inside = [
        element(
            "div",
            f"<dt>{text(name)}</dt><dd>{text(value)}</dd>",
            class_="wide" if len(value) > 40 else None,
        )
        for name, value in told
    ]
    return f'<dl class="card facts">{"".join(inside)}</dl>' if inside else ""
