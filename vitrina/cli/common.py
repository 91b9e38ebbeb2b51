"""Helpers shared by the commands: options, opening a store, printing a result."""

from __future__ import annotations

import re
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
StoreOption = Annotated[str | None, typer.Option("--store", help="The same, as an option.")]
ImagesOption = Annotated[
    str | None,
    typer.Option(help="Folder, zip or tar of photos, web, or none; default: remembered."),
]
FeaturesOption = Annotated[
    str | None, typer.Option(help="text, image or fused; by default all that the store has.")
]
Seed = Annotated[int, typer.Option(min=0, help="Decides whatever is drawn at random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


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


def size_of(text: str) -> int:
    """Bytes, from a number with a unit: 200MB, 1.5GB, 512MiB.

    Raises BadParameter for anything else.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if not match:
        raise typer.BadParameter(f"{text!r} is no size; write it like 200MB or 1.5GB")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))
