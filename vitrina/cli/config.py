"""Configuration: defaults of the options from `vitrina.toml`.

The file of the working directory precedes the one beside the store; `--config` or `$VITRINA_CONFIG`
replaces both. A file that was merely found grants no rights, and counts only if its owner is this
user or root and not everyone may write it. One beside the store may come with a stranger's store,
so its paths also stay within its own folder.
"""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from vitrina.cli.config_values import ConfigFile, Setting, settings_of

NAME, VARIABLE = "vitrina.toml", "VITRINA_CONFIG"
STORE = ("store", "store_option")
"""Parameters of commands that name the store."""
MOST_BYTES = 1 << 20
_META = "vitrina.settings"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A file where a configuration is looked for. trusted: whether the user named the file.
    beside: whether it is where the store is, and not where the user is."""

    path: Path
    trusted: bool = False
    beside: bool = False


def set_defaults(command: Any, ctx: Any, args: list[str]) -> None:
    """Give the options of a command the defaults that the configuration has for them.

    Raises BadParameter for a file that can't be read, an unknown key or a wrong value.
    """
    if ctx.resilient_parsing or not set(args).isdisjoint(ctx.help_option_names):
        return
    typed, _, _ = command.make_parser(ctx).parse_args(args=list(args))
    before = ctx.parent.params if ctx.parent else {}
    commands = ctx.parent.command.commands if ctx.parent else {ctx.info_name: command}
    settings: dict[str, Setting] = {}
    for file in _files(typed, before, ctx.info_name):
        settings |= settings_of(file, commands, ctx.info_name)
    _settle(settings, typed)
    ctx.default_map = {name: one.value for name, one in settings.items()}
    ctx.meta[_META] = list(settings.values())


def settings_in_use(ctx: Any) -> list[Setting]:
    """The settings that the configuration has for the options of a command."""
    found: list[Setting] = ctx.meta.get(_META, [])
    return found


def _files(
    typed: Mapping[str, Any], before: Mapping[str, Any], command: str
) -> Iterator[ConfigFile]:
    """Yield the configurations of a command, the last one preceding the others."""
    given = typed.get("config") or before.get("config")
    if typed.get("no_config") or before.get("no_config"):
        if given:
            raise typer.BadParameter("--config and --no-config exclude each other")
        return
    named = given or os.environ.get(VARIABLE)
    if named:
        if (file := _read(Candidate(Path(named).expanduser(), trusted=True))) is not None:
            yield file
        return
    folder = Path.cwd()
    here = None if (folder / "store.json").exists() else _read(Candidate(folder / NAME))
    store = _store(typed, {} if here is None else here.tables, command)
    if store is not None:
        if folder.is_relative_to(store):
            # Within a store nothing is trusted.
            here = None
        if store.parent != folder:
            beside = _read(Candidate(store.parent / NAME, beside=True))
            if beside is not None:
                yield beside
    if here is not None:
        yield here


def _store(typed: Mapping[str, Any], tables: Mapping[str, Any], command: str) -> Path | None:
    """The folder of the store that was typed, or that the working directory's file names."""
    table = tables.get(command)
    own = table.get("store") if isinstance(table, dict) else None
    place = next((typed[name] for name in STORE if typed.get(name)), own or tables.get("store"))
    return None if not isinstance(place, str) or "://" in place else Path(place).resolve()


def _read(place: Candidate) -> ConfigFile | None:
    """Read a file. None if there is none, or none that may be used."""
    try:
        about = place.path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise typer.BadParameter(f"{place.path} is not a regular file")
        if not place.trusted and (reason := _distrust(about)):
            log.warning("%s is not used, since %s: name it with --config", place.path, reason)
            return None
        if about.st_size > MOST_BYTES:
            raise typer.BadParameter(f"{place.path} is larger than a configuration may be, 1 MB")
        data = place.path.read_bytes()
    except FileNotFoundError:
        if place.trusted:
            raise typer.BadParameter(f"there is no configuration file {place.path}") from None
        return None
    except OSError as err:
        raise typer.BadParameter(f"{place.path} can't be read: {err.strerror}") from err
    try:
        text = data.decode("utf-8")
        tables = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as err:
        raise typer.BadParameter(f"{place.path} is not valid TOML: {err}") from err
    return ConfigFile(place.path, text, tables, place.trusted, place.beside)


def _distrust(about: os.stat_result) -> str | None:
    """The reason why a file that was found is not used."""
    if about.st_uid not in (os.geteuid(), 0):
        return f"it belongs to another user ({about.st_uid})"
    if about.st_mode & stat.S_IWOTH:
        return "everyone may write it"
    return None


def _settle(settings: dict[str, Setting], typed: Mapping[str, Any]) -> None:
    """Drop defaults that exclude what was typed: a store beside another, or beside a catalogue."""
    if typed.get("store"):
        settings.pop("store_option", None)
    if typed.get("catalogue") or ("catalogue" in settings and not typed.get("store_option")):
        settings.pop("store_option", None)
    elif typed.get("store_option"):
        settings.pop("catalogue", None)
