"""Self-contained HTML pages with a strict content security policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from vitrina.page.markup import on_one_line
from vitrina.page.templates import HERE, environment, static_text


def document(folder: Path, name: str, **values: Any) -> Iterator[str]:
    """Render a page in pieces, so that values which are iterators are read one by one.

    folder: has `templates/NAME.html`, which extends `document.html`, `static/NAME.css` and
    `static/NAME.js`. values: for the template, `title` among them; text is shown on one line.

    The policy lets the page load nothing and run only this style and script, so even product text
    that became markup would not run.
    """
    style = "".join(
        static_text(*sheet)
        for sheet in ((HERE, "look.css"), (HERE, "document.css"), (folder, f"{name}.css"))
    )
    script = static_text(folder, f"{name}.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    pieces = (
        _environment(folder)
        .get_template(f"{name}.html")
        .generate(**values, policy=policy, style=Markup(style), script=Markup(script))
    )
    # A piece of markup would escape the text that it is added to.
    return map(str, pieces)


@cache
def _environment(folder: Path) -> Environment:
    return environment(folder, finalize=on_one_line)


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
