"""Options of tables that are written."""

from __future__ import annotations

from dataclasses import dataclass

from vitrina.options import JobOptions, Panel, option
from vitrina.types import IfExists

_SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}


def _separator(text: str) -> str:
    mark = _SEPARATORS.get(text.lower(), text)
    if mark not in _SEPARATORS.values():
        raise ValueError("must be a comma, a semicolon, tab or |")
    return mark


@dataclass(frozen=True, kw_only=True)
class CsvOptions(JobOptions):
    """Options of CSV tables."""

    csv_separator: str = option(
        "Separator of a CSV table: , ; tab or |. With ; numbers have a decimal comma, as in Excel "
        "in Russian and most languages of Europe.",
        default=",",
        parse=_separator,
        metavar="MARK",
        panel=Panel.FILES,
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions(CsvOptions):
    """Options of tables that may go to a database."""

    table: str | None = option(
        "Table to write, as NAME or SCHEMA.NAME, if the output is a database.",
        panel=Panel.FILES,
        metavar="NAME",
    )
    if_exists: IfExists = option(
        "If that table exists: fail, append, or replace.",
        default=IfExists.FAIL,
        panel=Panel.FILES,
    )
