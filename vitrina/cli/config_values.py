"""The keys of a configuration: which option each one sets, and to what."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import typer

from vitrina.cli.options import FieldOption
from vitrina.errors import OptionError, did_you_mean
from vitrina.options import Panel, checked, flag, join_values, kind_of, spec_of

EXCLUDED = {"config", "no_config", "help", "version", "install_completion", "show_completion"}
PATHS = {"PATH", "FOLDER", "FILE", "STORE", "CATALOGUE"}
"""Placeholders of options that are paths."""
PLACES = {"PLACE", "MODEL"}
"""Placeholders of options that are paths or other names."""
ABOVE_TABLES = "above the tables"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConfigFile:
    """A configuration as it was read.

    is_trusted: whether the user named it. is_beside: whether it was found beside the store.
    """

    path: Path
    text: str
    tables: Mapping[str, Any]
    is_trusted: bool
    is_beside: bool


@dataclass(frozen=True)
class Setting:
    """The default that a configuration has for one option, as the command line would give it."""

    file: Path
    flag: str
    value: Any


def settings_of(file: ConfigFile, commands: Mapping[str, Any], name: str) -> dict[str, Setting]:
    """Return the settings of one command by the names of its parameters, after checking the
    whole file. Raises BadParameter for an unknown key or a wrong value."""
    found: dict[str, Setting] = {}
    tables = {key: value for key, value in file.tables.items() if isinstance(value, dict)}
    known = {command: _Keys(one) for command, one in commands.items()}
    for key, value in file.tables.items():
        if key in tables:
            continue
        shared = {c: keys for c, keys in known.items() if key.replace("_", "-") in keys.shared}
        if not shared:
            names = {one for keys in known.values() for one in keys.shared}
            raise _fault(file, None, key, _unknown_above(key, known, names))
        for command, keys in shared.items():
            setting = keys.setting(file, None, key, value)
            if command == name:
                found |= setting
    for table, entries in tables.items():
        command = table.replace("_", "-")
        if command not in known:
            raise _fault(file, table, None, f"is no command{did_you_mean(command, known)}")
        for key, value in entries.items():
            setting = known[command].setting(file, table, key, value)
            if command == name:
                found |= setting
    return found


def _unknown_above(key: str, known: Mapping[str, _Keys], names: set[str]) -> str:
    owners = [command for command, keys in known.items() if key.replace("_", "-") in keys.params]
    if owners:
        return f"stands above the tables, but belongs into [{owners[0]}]"
    return f"is no option of all commands{did_you_mean(key, names)}"


class _Keys:
    """The keys of one command's table."""

    def __init__(self, command: Any) -> None:
        self.command = command
        self.fields: dict[str, FieldOption] = getattr(command.callback, "fields", {})
        self.params: dict[str, Any] = {}
        self.former: dict[str, str] = {}
        for param in command.params:
            if param.name not in EXCLUDED and not param.hidden:
                self.params |= dict.fromkeys(_keys(param), param)
        for one in self.fields.values():
            for alias in spec_of(one.field).aliases:
                self.former[alias.replace("_", "-")] = flag(one.field).removeprefix("--")

    @property
    def shared(self) -> set[str]:
        """The keys that may also stand above the tables: the store, and options of all commands."""
        return {
            key
            for key, param in self.params.items()
            if key == "store" or getattr(param, "rich_help_panel", None) in (None, Panel.GENERAL)
            if param.param_type_name == "option"
        }

    def setting(
        self, file: ConfigFile, table: str | None, key: str, value: Any
    ) -> dict[str, Setting]:
        """The setting of one key, by the name of the parameter."""
        name = key.replace("_", "-")
        if name in self.former and name not in self.params:
            log.warning("%s: %s is called %s now", file.path, key, self.former[name])
            name = self.former[name]
        param = self.params.get(name)
        if param is None:
            raise _fault(file, table, key, f"is no option{did_you_mean(name, self.params)}")
        option = self.fields.get(param.name)
        try:
            if option is not None:
                value = _of_field(option, value)
                if spec_of(option.field).right and not file.is_trusted:
                    raise ValueError(
                        "is a right, which only you may grant: give it on the command line, or "
                        "name this file with --config"
                    )
            else:
                value = _of_type(self.command, param, value)
            value = (
                [_located(file, param, one) for one in value]
                if isinstance(value, list)
                else _located(file, param, value)
            )
        except ValueError as err:
            problem = err.problem if isinstance(err, OptionError) else str(err)
            raise _fault(file, table, key, problem) from err
        label = f"--{name}" if param.param_type_name == "option" else str(param.metavar)
        return {param.name: Setting(file.path, label, value)}


def _keys(param: Any) -> Iterator[str]:
    if param.param_type_name == "argument":
        if param.name != "store":
            yield param.name
        return
    for one in param.opts:
        if one.startswith("--"):
            yield one.removeprefix("--")


def _of_field(option: FieldOption, value: Any) -> Any:
    """An option's value as typer takes it: a text, a list of texts or a switch."""
    if spec_of(option.field).listed:
        if isinstance(value, list):
            value = join_values(map(str, value))
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {value!r}")
        return [value]
    checked(option.field, option.hint, value)
    if option.kind is bool:
        return value
    if option.is_repeated:
        return [str(one) for one in (value if isinstance(value, list) else [value])]
    return str(value)


def _of_type(command: Any, param: Any, value: Any) -> Any:
    annotation = inspect.signature(command.callback).parameters[param.name].annotation
    kind, _ = kind_of(get_args(annotation)[0])
    if get_origin(kind) is list:
        values = value if isinstance(value, list) else [value]
        return [_plain(str, one) for one in values]
    return _plain(kind, value)


def _plain(kind: Any, value: Any) -> Any:
    wanted, noun = {bool: (bool, "true or false"), int: (int, "a whole number")}.get(
        kind, (str, "text")
    )
    if type(value) is not wanted:
        raise ValueError(f"must be {noun}, not {value!r}")
    return value


def _located(file: ConfigFile, param: Any, value: Any) -> Any:
    """A path, from the file's folder; any other value as it is."""
    if not isinstance(value, str) or param.metavar not in PATHS | PLACES:
        return value
    folder = file.path.parent.resolve()
    path = folder / value
    if file.is_beside:
        steps = ("/", "~")
        leaves = value.startswith(steps) or "://" in value or not _within(path, folder)
        if leaves:
            raise ValueError(
                f"leads out of the folder {folder}, which a file beside a store may not: {value!r}"
            )
    if "://" in value or value.startswith("~") or folder == Path.cwd().resolve():
        return value
    return str(path) if param.metavar in PATHS or path.exists() else value


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _fault(
    file: ConfigFile, table: str | None, key: str | None, problem: str
) -> typer.BadParameter:
    place = f"[{table}]" if key is None else f"{f'[{table}] ' if table else ''}{key}"
    line = _line(file.text, table, key)
    return typer.BadParameter(f"{file.path}{f', line {line}' if line else ''}: {place} {problem}")


def _line(text: str, table: str | None, key: str | None) -> int | None:
    """The line of a key, or of a table's header; None if it is written in another way."""
    current = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*\"?([\w-]+)\"?\s*\]", line):
            current = header[1]
            if key is None and current == table:
                return number
        elif (
            key is not None
            and current == table
            and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line)
        ):
            return number
    return None
