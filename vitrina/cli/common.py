"""Helpers shared by the commands: options, opening a store, printing a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, overload

import typer

from vitrina.cli.streams import as_json as json_text
from vitrina.cli.streams import echo

if TYPE_CHECKING:
    from vitrina.api import Store

StoreArgument = Annotated[
    str | None,
    typer.Argument(metavar="STORE", help="The store: a directory, or s3://BUCKET/PREFIX."),
]
StoreOption = Annotated[str | None, typer.Option("--store", help="The store, as an option.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, no progress.")]


def open_store(argument: str | None, option: str | None = None) -> Store:
    """Open the store that a command was given, as an argument or as `--store`.

    Raises BadParameter if neither was given, StoreError if there is no store there.
    """
    from vitrina import api

    return api.Store.open(place_of(argument, option), create=False)


def place_of(argument: str | None, option: str | None = None) -> str:
    """The location of a command's store. Raises BadParameter if none was given."""
    place = option if argument is None else argument
    if place is None:
        raise typer.BadParameter("give the store: a directory, or s3://BUCKET/PREFIX")
    return place


@overload
def typed(text: str) -> str: ...
@overload
def typed(text: None) -> None: ...
def typed(text: str | None) -> str | None:
    """An argument decoded as UTF-8. Under another locale, such as C, Python keeps undecodable bytes
    as lone surrogates, which are not characters."""
    return text and text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def show(as_json: bool, value: Any, *lines: str) -> None:
    """Print a command's result: the value as JSON, or else the lines."""
    if as_json:
        echo(json_text(value))
    else:
        for line in lines:
            echo(line)
