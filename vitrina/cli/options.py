"""Command-line options from the dataclasses of options."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, replace
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from vitrina.cli import output
from vitrina.data.options import DEFAULT_OPTIONS, Columns, ReadingOptions
from vitrina.errors import OptionError
from vitrina.options import (
    Options,
    flag,
    kind_of,
    option_name,
    own_first,
    panel_of,
    spec_of,
)

QUIET, AS_JSON = "quiet", "as_json"
METAVARS = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
FORMER = "former_"
"""Prefix of the parameter of a former name."""

log = logging.getLogger(__name__)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is annotated with an `Options` class by the options
    of its fields.

    The command still receives one instance. A field that the command declares by itself keeps its
    default there; progress is off with `--json` and `--quiet`. An OptionError becomes BadParameter.
    """
    signature = inspect.signature(command, eval_str=True)
    groups = {name: one.annotation for name, one in signature.parameters.items() if _is(one)}
    own = set(signature.parameters) - set(groups)
    options = {
        name: [one for one in _options_of(kind) if one.name not in own]
        for name, kind in groups.items()
    }
    parameters = [
        part
        for one in signature.parameters.values()
        for part in (
            [part for option in options[one.name] for part in option.parameters]
            if one.name in options
            else [one]
        )
    ]

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        given: dict[str, Options] = {}
        for name, kind in groups.items():
            values = {one.name: one.given(arguments) for one in options[name]}
            given[name] = _made(kind, values)
            if hasattr(given[name], QUIET) and AS_JSON in arguments:
                is_quiet = arguments[AS_JSON] or output.is_quiet()
                given[name] = replace(given[name], **{QUIET: is_quiet})
        command(**arguments, **given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    vars(wrapped)["__signature__"] = signature.replace(parameters=parameters)
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    vars(wrapped)["fields"] = {one.name: one for group in options.values() for one in group}
    return wrapped


def usage_error(err: OptionError) -> typer.BadParameter:
    """Return the usage error that names an option as the command line does."""
    return typer.BadParameter(f"{err.flag} {err.problem}")


def refuse_unused(reading: ReadingOptions, serves: str) -> None:
    """Raise BadParameter for options given without the file that they apply to."""
    if reading != DEFAULT_OPTIONS:
        verb = "applies" if len(reading.flags) == 1 else "apply"
        raise typer.BadParameter(f"{', '.join(reading.flags)} {verb} to {serves}")


@dataclass(frozen=True)
class FieldOption:
    """A command-line option made of a field. owner: its class of options. hint: its type."""

    owner: type
    field: Field[Any]
    hint: Any

    @property
    def name(self) -> str:
        """The name of its parameter."""
        return option_name(self.field)

    @property
    def kind(self) -> Any:
        """The type of one value, without None and without the tuple of several."""
        kind, _ = kind_of(self.hint)
        return get_args(kind)[0] if get_origin(kind) is tuple else kind

    @property
    def is_repeated(self) -> bool:
        """Whether the option may be repeated for several values."""
        kind, _ = kind_of(self.hint)
        return get_origin(kind) is tuple

    @property
    def choices(self) -> list[str]:
        """The values of a choice; none for any other option."""
        if not (isinstance(self.kind, type) and issubclass(self.kind, StrEnum)):
            return []
        none = spec_of(self.field).none
        return [*map(str, self.kind), *([none] if isinstance(none, str) else [])]

    @property
    def metavar(self) -> str:
        """Placeholder of the value in help."""
        spec = spec_of(self.field)
        if spec.metavar:
            return spec.metavar
        if self.choices:
            return f"[{'|'.join(self.choices)}]"
        return "SIZE" if spec.parse else METAVARS.get(self.kind, "TEXT")

    @property
    def parameters(self) -> Iterator[inspect.Parameter]:
        """The parameters that typer makes the option and its hidden former names of.

        All values but those of switches are texts, which `Options` converts and checks.
        """
        spec, default = spec_of(self.field), self.field.default
        kind: Any = bool if self.kind is bool else str
        if self.is_repeated:
            kind = list[str]
        if kind is not bool and default not in (None, ()):
            default = f"{default:g}" if isinstance(default, float) else str(default)
        if default in (None, ()):
            kind, default = kind | None, None
        names = [spec.flag] if spec.flag and spec.flag.startswith("-") else [flag(self.field)]
        if kind is bool and default and "/" not in names[0]:
            names = [f"{names[0]}/--no-{names[0].removeprefix('--')}"]
        panel = panel_of(self.owner, self.field)
        shown: dict[str, Any] = {"help": spec.help, "rich_help_panel": panel}
        if self.kind is not bool:
            shown["metavar"] = self.metavar
        if self.choices:
            shown["autocompletion"] = lambda incomplete: [
                one for one in self.choices if one.startswith(incomplete)
            ]
        yield self._parameter(self.name, kind, default, names, shown)
        for alias in spec.aliases:
            name = f"--{alias.replace('_', '-')}"
            hidden = {"help": f"Former name of {flag(self.field)}.", "hidden": True}
            kind = list[str] if self.is_repeated else kind_of(kind)[0]
            yield self._parameter(f"{FORMER}{alias}", kind | None, None, [name], hidden)

    @staticmethod
    def _parameter(
        name: str, kind: Any, default: Any, names: list[str], shown: dict[str, Any]
    ) -> inspect.Parameter:
        return inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, typer.Option(*names, **shown)],
        )

    def given(self, arguments: dict[str, Any]) -> Any:
        """Take this option's value from a command's arguments, under its name or a former one."""
        value = arguments.pop(self.name)
        for alias in spec_of(self.field).aliases:
            former = arguments.pop(f"{FORMER}{alias}")
            if former is not None:
                name = alias.replace("_", "-")
                log.warning("--%s is called %s now", name, flag(self.field))
                value = former
        if value is not None and spec_of(self.field).listed:
            return ",".join(value)
        return self._number(value)

    def _number(self, value: Any) -> Any:
        """A number from its text; anything else as it is, for `Options` to refuse."""
        if self.kind not in (int, float) or not isinstance(value, str) or spec_of(self.field).parse:
            return value
        try:
            return self.kind(value)
        except ValueError:
            try:
                return float(value)
            except ValueError:
                return value


def _is(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    return isinstance(kind, type) and issubclass(kind, Options)


def _options_of(owner: type) -> Iterator[FieldOption]:
    hints = get_type_hints(owner)
    for field in own_first(owner):
        hint = hints[field.name]
        if hint in (Columns, ReadingOptions):
            yield from _options_of(hint)
        elif field.metadata and spec_of(field).command_line:
            yield FieldOption(owner, field, hint)


def _made(kind: type[Options], given: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in fields(kind):
        hint = hints[field.name]
        if hint in (Columns, ReadingOptions):
            values[field.name] = _made(hint, given)
        elif field.metadata and spec_of(field).command_line:
            value = given.get(option_name(field))
            if value is not None:
                values[field.name] = value
    try:
        return kind(**values)
    except OptionError as err:
        raise usage_error(err) from err
