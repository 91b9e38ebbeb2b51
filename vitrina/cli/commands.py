"""The classes of a command and of their group: help in panels, defaults from `vitrina.toml`."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from vitrina.cli import config, help

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Base of all errors in what was typed; typer does not export it."""


class Command(TyperCommand):
    """A command whose options have their defaults in `vitrina.toml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the configuration that belongs to the arguments, then parse them."""
        config.set_defaults(self, ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a usage error that it raises knows the command."""
        try:
            return super().invoke(ctx)
        except UsageError as err:
            if getattr(err, "ctx", None) is None:
                vars(err)["ctx"] = ctx
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help in panels."""
        formatter.write(help.rendered(help.help_of(self, ctx)))


class Group(TyperGroup):
    """All commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in panels."""
        formatter.write(help.rendered(help.help_of(self, ctx)))
