"""The classes of a command and of their group: help in panels, defaults from `vitrina.toml`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand, TyperGroup

from vitrina.cli import config, help
from vitrina.cli.usage import UsageError


@contextmanager
def _known_to(ctx: Any) -> Iterator[None]:
    """Record the command in a usage error that does not name one."""
    try:
        yield
    except UsageError as err:
        if getattr(err, "ctx", None) is None:
            vars(err)["ctx"] = ctx
        raise


class Command(TyperCommand):
    """A command whose options have their defaults in `vitrina.toml`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the configuration that belongs to the arguments, then parse them."""
        with _known_to(ctx):
            config.set_defaults(self, ctx, args)
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a usage error that it raises knows the command."""
        with _known_to(ctx):
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help in panels."""
        formatter.write(help.rendered(help.help_of(self, ctx)))


class Group(TyperGroup):
    """All commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command's name."""
        with _known_to(ctx):
            return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in panels."""
        formatter.write(help.rendered(help.help_of(self, ctx)))
