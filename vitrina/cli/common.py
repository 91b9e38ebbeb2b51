"""Helpers shared by the commands: options, opening a store, printing a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, overload

import typer

from vitrina.cli.output import is_quiet
from vitrina.cli.streams import as_json as json_text
from vitrina.cli.streams import echo
from vitrina.options import Panel

if TYPE_CHECKING:
    from vitrina.api import Store

_PLACE = "The store: a directory, or s3://BUCKET/PREFIX"


def _store_option(help: str) -> Any:
    return typer.Option("--store", metavar="STORE", help=help, rich_help_panel=Panel.FILES)


StoreArgument = Annotated[str | None, typer.Argument(metavar="STORE", help=f"{_PLACE}.")]
StoreOption = Annotated[str | None, _store_option("The store, in place of the argument.")]
NeededStore = Annotated[str | None, _store_option(f"{_PLACE}.")]
CreatedStore = Annotated[str | None, _store_option(f"{_PLACE}; created if it does not exist.")]
Seed = Annotated[int, typer.Option(min=0, metavar="INTEGER", help="Random seed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, no progress.")]


def open_store(argument: str | None, option: str | None = None) -> Store:
    """Open the store that a command was given, as an argument or as `--store`.

    Raises BadParameter if neither was given, StoreError if there is no store there.
    """
    from vitrina import api

    return api.Store.open(place_of(argument, option), create=False)


def place_of(argument: str | None, option: str | None = None) -> str:
    """The location of a command's store. Raises BadParameter if none was given."""
    if argument is not None and option is not None and argument != option:
        raise typer.BadParameter(
            f"two stores are given, {argument} and --store {option}: give one of them"
        )
    place = option if argument is None else argument
    if place is None:
        raise typer.BadParameter(
            'give the store: --store DIRECTORY, or a line such as store = "shelf" in vitrina.toml'
        )
    return place


@overload
def typed(text: str) -> str: ...
@overload
def typed(text: None) -> None: ...
def typed(text: str | None) -> str | None:
    """An argument decoded as UTF-8. Under another locale, such as C, Python keeps undecodable bytes
    as lone surrogates, which are not characters."""
    return text and text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def show(as_json: bool, value: Any, *summary: str, result: Sequence[str] = ()) -> None:
    """Print the value as JSON, or else the lines of the result and, unless quiet, of the summary.

    result: what the command was run for, such as neighbours; empty if it is in a file.
    """
    if as_json:
        echo(json_text(value))
    else:
        for line in (*result, *(() if is_quiet() else summary)):
            echo(line)
