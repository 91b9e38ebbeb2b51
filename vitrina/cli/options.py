"""Command-line options from the dataclasses of options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, replace
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from vitrina import logs
from vitrina.data.options import DEFAULT_OPTIONS, Columns, ReadingOptions
from vitrina.errors import OptionError
from vitrina.options import Options, OptionSpec, kind_of, option_name, own_first, spec_of

QUIET, AS_JSON = "quiet", "as_json"


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is annotated with an `Options` class by the options
    of its fields.

    The command still receives one instance. A field that the command declares by itself keeps its
    default there; progress is off with `--json`. An OptionError becomes BadParameter.
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
            [option.parameter for option in options[one.name]] if one.name in options else [one]
        )
    ]

    @wraps(command)
    def wrapped(**arguments: Any) -> None:
        if arguments.get(AS_JSON):
            logs.configure(logs.QUIET)
        given: dict[str, Options] = {}
        for name, kind in groups.items():
            values = {one.name: arguments.pop(one.name) for one in options[name]}
            given[name] = _made(kind, values)
            if hasattr(given[name], QUIET) and AS_JSON in arguments:
                given[name] = replace(given[name], **{QUIET: arguments[AS_JSON]})
        command(**arguments, **given)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    vars(wrapped)["__signature__"] = signature.replace(parameters=parameters)
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
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
class _Option:
    """A command-line option. hint: the type of its field."""

    field: Field[Any]
    hint: Any

    @property
    def name(self) -> str:
        return option_name(self.field)

    @property
    def parameter(self) -> inspect.Parameter:
        """The parameter that typer makes the option of."""
        spec, default = spec_of(self.field), self.field.default
        kind, _ = kind_of(self.hint)
        names = [spec.flag] if spec.flag and spec.flag.startswith("-") else []
        several = get_origin(kind) is tuple
        if several and spec.separator is None:
            kind = list[get_args(kind)[0]]  # type: ignore[misc]
        elif spec.parse is not None or not isinstance(kind, type) or (_is_enum(kind) and spec.none):
            # A text that `Options` converts.
            kind = str
        if kind is bool and default is False and not names:
            names = [f"--{self.name.replace('_', '-')}"]
        if default in (None, ()):
            kind, default = kind | None, None
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, typer.Option(*names, help=spec.help, **_limits(spec))],
        )


def _is(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    return isinstance(kind, type) and issubclass(kind, Options)


def _is_enum(kind: type) -> bool:
    return issubclass(kind, StrEnum)


def _limits(spec: OptionSpec) -> dict[str, Any]:
    """Limits that typer checks and shows; `Options` checks them all."""
    least = spec.least if spec.none is None else None
    return {"min": least, "max": spec.most} if spec.parse is None else {}


def _options_of(owner: type) -> Iterator[_Option]:
    hints = get_type_hints(owner)
    for field in own_first(owner):
        hint = hints[field.name]
        if hint in (Columns, ReadingOptions):
            yield from _options_of(hint)
        elif field.metadata and spec_of(field).command_line:
            # Several names of columns are one text, separated by commas.
            yield _Option(field, str | None if owner is Columns else hint)


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
