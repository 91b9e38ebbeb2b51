"""Help of the commands: options in panels, drawn on a terminal, as plain sections elsewhere."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from os import environ
from typing import TYPE_CHECKING, Any

from vitrina.options import Panel

if TYPE_CHECKING:
    import typer

WIDEST, NARROWEST = 110, 40
"""Columns of the help, within the terminal's."""
FIRST_COLUMN = 30
"""Largest width of the names; longer ones stand in a line of their own."""
ARGUMENTS, COMMANDS = "Arguments", "Commands"


@dataclass(frozen=True)
class Section:
    """A titled list of names, each with its explanation."""

    title: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Help:
    """The help of one command. examples: lines to be shown as they are."""

    usage: str
    purpose: str
    sections: Sequence[Section]
    examples: Sequence[str]


def help_of(command: Any, ctx: typer.Context) -> Help:
    """Collect the help of a command or of the group of all commands."""
    # Typer marks what is required by braces; that there are no brackets is the older custom.
    pieces = " ".join(command.collect_usage_pieces(ctx)).translate({123: None, 125: None})
    sections: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
    commands = getattr(command, "commands", {})
    for name, one in commands.items():
        if not one.hidden:
            rows = sections.setdefault(one.rich_help_panel or COMMANDS, [])
            rows.append((name, one.get_short_help_str(limit=1000)))
    sections |= {str(panel): [] for panel in Panel}
    for param in command.get_params(ctx):
        if getattr(param, "hidden", False):
            continue
        is_argument = param.param_type_name == "argument"
        title = ARGUMENTS if is_argument else param.rich_help_panel or Panel.GENERAL
        sections.setdefault(str(title), []).append((_names(param), _explained(param)))
    return Help(
        f"Usage: {ctx.command_path} {pieces}",
        " ".join((command.help or "").split()),
        [Section(title, rows) for title, rows in sections.items() if rows],
        (command.epilog or "").splitlines(),
    )


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    names = sorted([*param.opts, *param.secondary_opts], key=lambda one: one.startswith("--"))
    value = "" if param.is_flag or _is_count(param) else f" {param.metavar or 'TEXT'}"
    return f"{', '.join(names)}{value}"


def _explained(param: Any) -> str:
    notes = []
    default = param.default
    if param.required:
        notes.append("required")
    elif param.param_type_name == "option" and param.is_flag and param.secondary_opts:
        if default is not None:
            notes.append(f"default: {(param.opts if default else param.secondary_opts)[0]}")
    elif default is not False and default not in (None, "", (), []) and not _is_count(param):
        notes.append(f"default: {default}")
    return f"{param.help or ''}{f' [{notes[0]}]' if notes else ''}"


def _is_count(param: Any) -> bool:
    return bool(getattr(param, "count", False))


def rendered(of: Help) -> str:
    """Return the text of a help, for the terminal or for the file that standard output is."""
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))
    is_terminal = sys.stdout.isatty() and environ.get("TERM") != "dumb"
    return _drawn(of, width) if is_terminal and width > 60 else _plain(of, width)


def _plain(of: Help, width: int) -> str:
    lines = [textwrap.fill(of.usage, width, subsequent_indent="  "), ""]
    lines += [textwrap.fill(of.purpose, width), ""]
    names = [name for section in of.sections for name, _ in section.rows]
    first = min(FIRST_COLUMN, width // 3, max(map(len, names)))
    for section in of.sections:
        lines.append(f"{section.title}:")
        for name, text in section.rows:
            indent = " " * (first + 4)
            body = textwrap.wrap(text, width - len(indent), break_on_hyphens=False) or [""]
            if len(name) > first:
                lines.append(f"  {name}")
            else:
                lines.append(f"  {name:{first}}  {body.pop(0)}")
            lines += [f"{indent}{line}" for line in body]
        lines.append("")
    if of.examples:
        lines += ["Examples:", *(f"  {line}" for line in of.examples), ""]
    return "\n".join(lines)


def _drawn(of: Help, width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.panel import Panel as Frame
    from rich.table import Table
    from rich.text import Text

    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    frame = box.ROUNDED if encoding.startswith("utf") else box.ASCII
    # Typer prints the text, so it is made of what a terminal understands.
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, highlight=False)
    console.print(Text(of.usage, style="bold"))
    console.print()
    console.print(Text(of.purpose))
    console.print()
    longest = max(len(name) for section in of.sections for name, _ in section.rows)
    for section in of.sections:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(width=min(FIRST_COLUMN, longest), style="bold cyan", overflow="fold")
        table.add_column(ratio=1)
        for name, text in section.rows:
            table.add_row(Text(name), Text(text))
        console.print(
            Frame(table, title=section.title, title_align="left", border_style="dim", box=frame)
        )
    if of.examples:
        console.print(Text("Examples:", style="bold"))
        for line in of.examples:
            console.print(Text(f"  {line}"), soft_wrap=True)
    return file.getvalue()
