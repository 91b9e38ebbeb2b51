"""Options of the jobs: frozen dataclasses whose fields carry help, default and limits.

A subclass of `Options` is the one place where a job's parameters are spelled. The command line's
options, and the keywords and docstrings of the Python functions, are made from its fields, and
every instance checks itself. A new option is a new field.
"""

from __future__ import annotations

import inspect
import math
import operator
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from vitrina.errors import OptionError, did_you_mean

Choice = TypeVar("Choice", bound=StrEnum)

_SPEC = "option"
_VALUE = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=,|\Z)|([^,]+)')
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*")


class Panel(StrEnum):
    """Groups of options in a command's help, in the order of their panels."""

    FILES = "Input and output"
    MODELS = "Models"
    SEARCH = "Search"
    TRAINING = "Training"
    EVALUATION = "Evaluation"
    PAGE = "Page"
    PHOTOS = "Photos"
    READING = "Reading the catalogue"
    COLUMNS = "Columns of the catalogue"
    UPDATE = "Updating the store"
    GENERAL = "General"


@dataclass(frozen=True)
class OptionSpec:
    """Description of an option beyond its type and default.

    Attributes:
        help: one sentence or two for `--help` and the docstring.
        flag: the command line's name without dashes, if it differs from the field's: "out". A name
            with dashes is taken as it is: "--lower-case/--keep-case".
        least, most: inclusive limits of a number.
        above, below: exclusive limits of a number.
        none: further value that means None: "none", or 0.
        listed: whether one text may hold several values, as `split_values` reads them; an option of
            several values may always be repeated.
        parse: converts a text into the value.
        command_line: whether the command line has the option.
        unset: values that reset a setting that a store remembers.
        panel: the group in a command's help; None: `PANEL` of the class that has the field.
        metavar: placeholder of the value in help; None: by the field's type.
        aliases: former names, which still work, as Python spells them: "batch_rows".
        right: whether it permits what is refused otherwise, so that only the user may set it.
    """

    help: str
    flag: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    none: Any = None
    listed: bool = False
    parse: Callable[[str], Any] | None = None
    command_line: bool = True
    unset: tuple[str, ...] = ()
    panel: Panel | None = None
    metavar: str | None = None
    aliases: tuple[str, ...] = ()
    right: bool = False


def option(help: str, *, default: Any = None, repr: bool = True, **spec: Any) -> Any:
    """Return a dataclass field that is an option.

    repr: False if no result depends on the option. spec: as of `OptionSpec`.
    """
    metadata = {_SPEC: OptionSpec(help, **spec)}
    return field(default=default, metadata=metadata, repr=repr)


def spec_of(of: Field[Any]) -> OptionSpec:
    """Return the description of a field made by `option`."""
    return of.metadata[_SPEC]  # type: ignore[no-any-return]


def option_name(of: Field[Any]) -> str:
    """Return an option's name as a Python name: `id_column`."""
    name = spec_of(of).flag or of.name
    return of.name if name.startswith("-") else name.replace("-", "_")


def flag(of: Field[Any]) -> str:
    """Return an option's name on the command line: `--id-column`."""
    name = spec_of(of).flag or of.name
    return name.split("/")[0] if name.startswith("-") else f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Options:
    """Base class of a job's options.

    An instance converts texts to the types of its fields: to members of enums, paths, tuples, sizes
    in bytes. Raises OptionError for an unknown choice, another type or a value out of range.
    """

    PANEL: ClassVar[Panel] = Panel.GENERAL
    """Panel of the class's own fields in a command's help."""

    def __post_init__(self) -> None:
        hints = hints_of(type(self))
        for one in fields(self):
            if _SPEC in one.metadata:
                value = checked(one, hints[one.name], getattr(self, one.name))
                object.__setattr__(self, one.name, value)


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """Options of every job."""

    quiet: bool | None = option(
        "Show no progress; default: shown only in a notebook or in IPython on a terminal.",
        command_line=False,
    )


_HINTS: dict[type, dict[str, Any]] = {}


def hints_of(options: type[Options]) -> dict[str, Any]:
    """Types of the fields of an options class."""
    if options not in _HINTS:
        _HINTS[options] = get_type_hints(options)
    return _HINTS[options]


def own_first(options: type[Options]) -> list[Field[Any]]:
    """Fields of an options class, its own before those of its bases."""
    order = {name: rank for rank, name in enumerate(_names(options))}
    return sorted(fields(options), key=lambda one: order[one.name])


def _names(options: type[Options]) -> Iterable[str]:
    seen: dict[str, None] = {}
    for kind in options.__mro__:
        seen.update(dict.fromkeys(inspect.get_annotations(kind)))
    return seen


def panel_of(options: type, of: Field[Any]) -> Panel:
    """Panel of an option in a command's help."""
    if (panel := spec_of(of).panel) is not None:
        return panel
    owner = next(one for one in options.__mro__ if of.name in inspect.get_annotations(one))
    return Panel(getattr(owner, "PANEL", Panel.GENERAL))


def former_names(options: type) -> dict[str, str]:
    """Names of an options class's fields by their former names."""
    return {
        alias: one.name
        for one in fields(options)
        if _SPEC in one.metadata
        for alias in spec_of(one).aliases
    }


def choice(kind: type[Choice], value: str | None, name: str) -> Choice | None:
    """Return the member of an enum with a value; None for None. name: of the option.

    Raises OptionError that lists the choices for any other value.
    """
    if value is None:
        return None
    try:
        return _member(kind, value)
    except ValueError as err:
        raise OptionError(name, str(err)) from err


def _member(kind: type[Choice], value: Any, none: Any = None) -> Choice:
    try:
        return kind(value)
    except ValueError as err:
        choices = [*map(str, kind), *([none] if isinstance(none, str) else [])]
        hint = did_you_mean(str(value), choices)
        raise ValueError(f"must be {listed(choices)}, not {value!r}{hint}") from err


def listed(choices: Iterable[str]) -> str:
    """Return choices as a phrase: "cls, mean or max"."""
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}" if others else last


def split_values(text: str) -> tuple[str, ...]:
    """Return the values of a text separated by commas; as in CSV, a value with a comma is quoted:
    `"Price, EUR",stock`."""
    pairs = (match.groups() for match in _VALUE.finditer(text))
    values = (plain.strip() if quoted is None else _unquoted(quoted) for quoted, plain in pairs)
    return tuple(value for value in values if value)


def join_values(values: Iterable[str]) -> str:
    """Return values as a text from which `split_values` reads them."""
    return ",".join(map(quoted, values))


def quoted(value: str) -> str:
    """Return one value of such a text, in quotes if it needs them."""
    plain = "," not in value and not value.startswith('"') and value == value.strip()
    return value if plain else '"' + value.replace('"', '""') + '"'


def _unquoted(value: str) -> str:
    return value.replace('""', '"')


def byte_size(text: str) -> int:
    """Bytes of a number with a unit: 200MB, 1.5GB, 512MiB.

    Raises ValueError for anything else.
    """
    match = _SIZE.fullmatch(text.lower())
    if not match:
        raise ValueError("must be a size such as 200MB or 1.5GB")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))


def kind_of(hint: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether None was among it."""
    if get_origin(hint) in (Union, UnionType):
        kinds = [one for one in get_args(hint) if one is not NoneType]
        optional = len(kinds) < len(get_args(hint))
        return (kinds[0] if len(kinds) == 1 else hint), optional
    return hint, False


def checked(of: Field[Any], hint: Any, value: Any) -> Any:
    """Return an option's value as its type. Raises OptionError for one that it can't take."""
    spec = spec_of(of)
    kind, optional = kind_of(hint)
    if value is None or (spec.none is not None and _same(value, spec.none)):
        if optional:
            return None
        raise _refusal(of, f"must not be {value!r}")
    if spec.parse is not None and isinstance(value, str):
        try:
            value = spec.parse(value)
        except ValueError as err:
            raise _refusal(of, f"{err}, not {value!r}") from err
    return _limited(of, _converted(of, kind, value))


def _converted(of: Field[Any], kind: Any, value: Any) -> Any:
    if get_origin(kind) is tuple:
        return _several(of, get_args(kind)[0], value)
    if not isinstance(kind, type):
        return value
    if issubclass(kind, StrEnum):
        try:
            return _member(kind, value, spec_of(of).none)
        except ValueError as err:
            raise _refusal(of, str(err)) from err
    if kind is bool:
        # NumPy's booleans too.
        if type(value).__name__ not in ("bool", "bool_"):
            raise _refusal(of, f"must be True or False, not {value!r}")
        return bool(value)
    if kind is int:
        return _whole(of, value)
    if kind is float:
        return _real(of, value)
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if kind is Path and isinstance(value, (str, os.PathLike)):
        return Path(value)
    if not isinstance(value, kind):
        noun = "text" if kind is str else f"a {kind.__name__}"
        raise _refusal(of, f"must be {noun}, not {value!r}")
    return value


def _several(of: Field[Any], kind: Any, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) and spec_of(of).listed:
        value = split_values(value)
    elif isinstance(value, (str, os.PathLike)):
        value = [value]
    try:
        return tuple(_converted(of, kind, one) for one in value)
    except TypeError as err:
        raise _refusal(of, f"must be a sequence, not {value!r}") from err


def _whole(of: Field[Any], value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, float) and value.is_integer():
            # 4e9 bytes.
            return int(value)
        return operator.index(value)
    except TypeError as err:
        raise _refusal(of, f"must be a whole number, not {value!r}") from err


def _real(of: Field[Any], value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise _refusal(of, f"must be a number, not {value!r}")
    return number


def _limited(of: Field[Any], value: Any) -> Any:
    limits = [
        (one, inside, phrase.format(one))
        for one, inside, phrase in _limits(spec_of(of))
        if one is not None
    ]
    if all(inside(value, one) for one, inside, _ in limits):
        return value
    raise _refusal(of, f"must be {' and '.join(phrase for *_, phrase in limits)}, not {value!r}")


def _limits(spec: OptionSpec) -> tuple[tuple[Any, Callable[[Any, Any], bool], str], ...]:
    """Each limit of a number, its comparison, and its phrase."""
    return (
        (spec.least, operator.ge, "at least {:g}"),
        (spec.above, operator.gt, "above {:g}"),
        (spec.most, operator.le, "at most {:g}"),
        (spec.below, operator.lt, "below {:g}"),
    )


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)


def _refusal(of: Field[Any], problem: str) -> OptionError:
    return OptionError(of.name, problem, flag=flag(of))
