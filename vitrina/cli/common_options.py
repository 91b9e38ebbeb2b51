"""The options of every command, which may stand before its name or after it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from vitrina import logs
from vitrina.cli import output
from vitrina.cli.config import settings_in_use

log = logging.getLogger(__name__)

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors and results only.")]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        help="Print what is decided and done, with times.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Read defaults of the options from this file instead of vitrina.toml.",
    ),
]
NoConfig = Annotated[bool, typer.Option("--no-config", help="Read no vitrina.toml.")]

COMMON: dict[str, tuple[Any, Any]] = {
    "quiet": (Quiet, False),
    "verbose": (Verbose, 0),
    "config": (Config, None),
    "no_config": (NoConfig, False),
}
"""Parameter, and its annotation and default."""


def with_common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every command, and obey them."""
    signature = inspect.signature(command, eval_str=True)
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in COMMON.items()
    ]

    @wraps(command)
    def wrapped(ctx: typer.Context, **arguments: Any) -> None:
        own = {name: arguments.pop(name) for name in COMMON}
        before = ctx.parent.params if ctx.parent else {}
        quiet = bool(own["quiet"] or before.get("quiet"))
        verbosity = int(own["verbose"] or 0) + int(before.get("verbose") or 0)
        if quiet and verbosity:
            raise typer.BadParameter("--quiet and --verbose exclude each other: give one of them")
        is_silent = quiet or (arguments.get("as_json") and not verbosity)
        logs.configure(logs.QUIET if is_silent else verbosity)
        for path in {one.file: None for one in settings_in_use(ctx)}:
            log.info("options from %s", path)
        with output.quiet(quiet):
            command(**arguments)

    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    given = signature.parameters.values()
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in given]
    vars(wrapped)["__signature__"] = signature.replace(parameters=[context, *own, *common])
    wrapped.__annotations__ = {one.name: one.annotation for one in [context, *own, *common]}
    return wrapped
