"""Command-line options from `ReadingOptions`, for commands that read a file of products."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from vitrina.data.options import DEFAULT_OPTIONS, Columns, ReadingOptions, option_name

PARAMETER = "reading"


def reads_products(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `reading` by an option for each field of `ReadingOptions`.

    The command still receives them as one `ReadingOptions`.
    """
    signature = inspect.signature(command, eval_str=True)
    options = [_parameter(field, hint) for field, hint in _fields()]
    parameters = [
        one
        for own in signature.parameters.values()
        for one in (options if own.name == PARAMETER else [own])
    ]

    @wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {one.name: arguments.pop(one.name) for one in options}
        command(**arguments, **{PARAMETER: _reading(given)})

    vars(with_options)["__signature__"] = signature.replace(parameters=parameters)
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options


def refuse_unused(reading: ReadingOptions, serves: str) -> None:
    """Raise BadParameter for options given without the file that they apply to."""
    if reading != DEFAULT_OPTIONS:
        verb = "serves" if len(reading.flags) == 1 else "serve"
        raise typer.BadParameter(f"{', '.join(reading.flags)} {verb} {serves}")


def _fields() -> Iterator[tuple[Field[Any], Any]]:
    """Each field that becomes an option, with its type, in the order of `--help`."""
    hints = get_type_hints(ReadingOptions)
    for field in fields(ReadingOptions):
        if hints[field.name] is Columns:
            # Several names are one text, separated by commas.
            yield from ((column, str | None) for column in fields(Columns))
        else:
            yield field, hints[field.name]


def _parameter(field: Field[Any], kind: Any) -> inspect.Parameter:
    least, most = field.metadata["min"] or None, field.metadata["max"]
    option = typer.Option(help=field.metadata["help"], min=least, max=most)
    return inspect.Parameter(
        option_name(field),
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[kind, option],
    )


def _reading(given: dict[str, Any]) -> ReadingOptions:
    def of(owner: type[ReadingOptions] | type[Columns]) -> dict[str, Any]:
        named = {field.name: given.get(option_name(field)) for field in fields(owner)}
        return {name: value for name, value in named.items() if value is not None}

    return ReadingOptions(**{**of(ReadingOptions), "columns": Columns(**of(Columns))})
