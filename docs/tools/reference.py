"""Markdown of the reference: commands from the parser, options from their dataclasses."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import typer

import vitrina
from vitrina.api.keywords import _plain, _type_name
from vitrina.cli import app
from vitrina.options import _SPEC, Options, flag, hints_of, own_first, spec_of


def commands() -> dict[str, Any]:
    """The commands by name, in the order of `vitrina --help`."""
    return dict(typer.main.get_command(app).commands)


def commands_table() -> str:
    """Tables of all commands by panel, each linked to its page."""
    panels: dict[str, list[str]] = {}
    for name, command in commands().items():
        row = f"| [`vitrina {name}`]({page_of(name)}) | {_first_sentence(command)} |"
        panels.setdefault(getattr(command, "rich_help_panel", None) or "", []).append(row)
    lines: list[str] = []
    for panel, rows in panels.items():
        lines += [f"## {panel}", ""] if panel else []
        lines += ["| command | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def page_of(name: str) -> str:
    """File name of a command's page; index.md is the list of all."""
    return "index-command.md" if name == "index" else f"{name}.md"


def command_page(name: str) -> str:
    """Usage, description, arguments and options of a command."""
    command = commands()[name]
    context = typer.Context(command, info_name=f"vitrina {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [_description(command), "", "```text", f"vitrina {name} {usage}", "```", ""]
    if command.epilog:
        lines += ["```bash", *map(str.strip, command.epilog.strip().splitlines()), "```", ""]
    for panel, parameters in _panels(command).items():
        lines += [f"## {panel}", "", '<dl class="options">']
        for one in parameters:
            lines += _parameter(one, context)
        lines += ["</dl>", ""]
    return "\n".join(lines)


def _description(command: Any) -> str:
    return (command.help or "").replace("\f", "").strip()


def _first_sentence(command: Any) -> str:
    return _description(command).split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _panels(command: Any) -> dict[str, list[Any]]:
    panels: dict[str, list[Any]] = {}
    for one in command.params:
        if getattr(one, "hidden", False):
            continue
        usual = "Arguments" if _is_argument(one) else "Options"
        panels.setdefault(getattr(one, "rich_help_panel", None) or usual, []).append(one)
    return panels


def _is_argument(one: Any) -> bool:
    return bool(one.param_type_name == "argument")


def _parameter(one: Any, context: typer.Context) -> Iterator[str]:
    names = [one.display_name_raw] if _is_argument(one) else [*one.opts, *one.secondary_opts]
    shown = ", ".join(f"<code>{html.escape(name)}</code>" for name in names)
    kind = "" if _is_argument(one) or one.is_flag else _kind(one, context)
    anchor = "argument" if _is_argument(one) else max(one.opts, key=len).strip("-")
    title = f'{shown} <span class="meta">{html.escape(kind)}</span>'
    yield f'<dt id="{html.escape(anchor)}">{title}</dt>'
    notes = [note for note in (_default(one, context), _environment(one), _several(one)) if note]
    meta = f' <span class="meta">({html.escape("; ".join(notes))})</span>' if notes else ""
    yield f"<dd>{_marked(getattr(one, 'help', None) or '')}{meta}</dd>"


def _marked(text: str) -> str:
    """Escaped text with its `code` kept as code."""
    parts = html.escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def _kind(one: Any, context: typer.Context) -> str:
    """Choices, the range or the type of an option's value."""
    shown = str(one.metavar or one.display_type(context)).strip("<>")
    return shown.replace("|", " | ")


def _default(one: Any, context: typer.Context) -> str:
    if one.required:
        return "required"
    value = one.get_default(context, call=False)
    if value in (None, False, (), []):
        return ""
    if value is True:
        return "on by default"
    return f"default {value.value if isinstance(value, Enum) else value}"


def _environment(one: Any) -> str:
    found = one.envvar
    return "" if not found else f"or ${found if isinstance(found, str) else ', $'.join(found)}"


def _several(one: Any) -> str:
    return "can be given several times" if getattr(one, "multiple", False) else ""


def options_classes() -> list[type[Options]]:
    """The public classes of options."""
    found = [getattr(vitrina, name) for name in vitrina.__all__]
    return [
        one
        for one in found
        if isinstance(one, type)
        and is_dataclass(one)
        and any(_SPEC in each.metadata for each in fields(one))
    ]


def options_page() -> str:
    """A table of the fields of each public class of options."""
    lines: list[str] = []
    for kind in options_classes():
        summary = (kind.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        lines += [f"## {kind.__name__}", "", summary, "", "| field | option | type, default | |"]
        lines.append("|---|---|---|---|")
        for one in own_first(kind):
            if one.metadata:
                lines.append(_option_row(one, kind))
            else:
                lines.append(f"| `{one.name}` | | `{hints_of(kind)[one.name].__name__}` | |")
        lines.append("")
    return "\n".join(lines)


def _option_row(one: Any, kind: type[Options]) -> str:
    spec = spec_of(one)
    shown = f"`{flag(one)}`" if spec.command_line else ""
    default = "" if one.default in (None, ()) else f", `{_plain(one.default)}`"
    kind_name = _type_name(hints_of(kind)[one.name])
    cells = [f"`{one.name}`", shown, f"{kind_name}{default}", spec.help]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
