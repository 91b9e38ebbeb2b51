"""mkdocs hooks: pages made from the code, and a note on pages that have no translation.

A page of the command line has one line, `<!-- vitrina: NAME -->`, in whose place the hook puts
what the parser itself knows of the command, so that the page can't differ from `--help`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reference import command_page, commands_table, options_page

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

MARKS = {
    "vitrina": lambda name: command_page(name),
    "commands": lambda _: commands_table(),
    "options": lambda _: options_page(),
}
MARK = re.compile(r"^<!-- (vitrina|commands|options)(?:: ([\w-]+))? -->$", re.M)

UNTRANSLATED = '!!! note "Эта страница есть только на английском языке"\n\n'


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in what comes from the code."""
    made = MARK.sub(lambda found: MARKS[found[1]](found[2]), markdown)
    locale = getattr(page.file, "locale", "en")
    built = getattr(page.file, "locale_alternate_of", locale)
    return made if locale == built else _noted(made)


def _noted(markdown: str) -> str:
    """The note goes below the title."""
    title, newline, rest = markdown.partition("\n")
    return f"{title}{newline}\n{UNTRANSLATED}\n{rest}"
