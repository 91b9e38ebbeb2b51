"""The decorator that gives a function the fields of its options as keywords."""

from __future__ import annotations

import inspect
import logging
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, replace
from enum import StrEnum
from functools import wraps
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, get_args, get_origin, overload

from vitrina.errors import did_you_mean
from vitrina.options import Options, former_names, hints_of, kind_of, own_first, spec_of

P = ParamSpec("P")
A = TypeVar("A", contravariant=True)
B = TypeVar("B", contravariant=True)
C = TypeVar("C", contravariant=True)
O = TypeVar("O", contravariant=True)  # noqa: E741
R = TypeVar("R", covariant=True)

log = logging.getLogger(__name__)

PLACE = "{options}"
"""Line of a docstring that the descriptions of the options replace."""


class NoInput(Protocol[O, P, R]):
    """A function of options, or of their fields as keywords."""

    @overload
    def __call__(self, options: O, /) -> R: ...
    @overload
    def __call__(self, /, *args: P.args, **fields: P.kwargs) -> R: ...
    @overload
    def __call__(self, /, *args: Any, **fields: Any) -> R: ...


class OneInput(Protocol[A, O, P, R]):
    """A function of one input and of options, or of their fields as keywords.

    The third overload accepts what the class of options converts, such as texts for enums, and the
    last one inputs by name.
    """

    @overload
    def __call__(self, first: A, options: O, /) -> R: ...
    @overload
    def __call__(self, first: A, /, *args: P.args, **fields: P.kwargs) -> R: ...
    @overload
    def __call__(self, first: A, /, *args: Any, **fields: Any) -> R: ...
    @overload
    def __call__(self, **given: Any) -> R: ...


class TwoInputs(Protocol[A, B, O, P, R]):
    """A function of two inputs and of options, or of their fields as keywords."""

    @overload
    def __call__(self, first: A, second: B, options: O, /) -> R: ...
    @overload
    def __call__(self, first: A, second: B, /, *args: P.args, **fields: P.kwargs) -> R: ...
    @overload
    def __call__(self, first: A, second: B, /, *args: Any, **fields: Any) -> R: ...
    @overload
    def __call__(self, first: A, /, **given: Any) -> R: ...
    @overload
    def __call__(self, **given: Any) -> R: ...


class ThreeInputs(Protocol[A, B, C, O, P, R]):
    """A function of three inputs and of options, or of their fields as keywords."""

    @overload
    def __call__(self, first: A, second: B, third: C, options: O, /) -> R: ...
    @overload
    def __call__(
        self, first: A, second: B, third: C, /, *args: P.args, **fields: P.kwargs
    ) -> R: ...
    @overload
    def __call__(self, first: A, second: B, third: C, /, *args: Any, **fields: Any) -> R: ...
    @overload
    def __call__(self, first: A, second: B, /, **given: Any) -> R: ...
    @overload
    def __call__(self, first: A, /, **given: Any) -> R: ...
    @overload
    def __call__(self, **given: Any) -> R: ...


class with_keywords(Generic[O, P]):  # noqa: N801
    """Decorator of a function whose last positional parameter is an `Options` instance.

    The function then takes these options as one value, their fields as keywords, or both, where the
    keywords override fields. Fields that are not keyword-only can be positional too. Its signature
    and its docstring list the fields. Raises TypeError for an unknown keyword, with the closest
    name, and OptionError for an invalid value.
    """

    def __init__(self, options: Callable[P, O]) -> None:
        self._options: Any = options

    @overload
    def __call__(self, job: Callable[[A, O], R]) -> OneInput[A, O, P, R]: ...
    @overload
    def __call__(self, job: Callable[[A, B, O], R]) -> TwoInputs[A, B, O, P, R]: ...
    @overload
    def __call__(self, job: Callable[[A, B, C, O], R]) -> ThreeInputs[A, B, C, O, P, R]: ...
    @overload
    def __call__(self, job: Callable[..., R]) -> Callable[..., R]: ...
    def __call__(self, job: Callable[..., R]) -> Callable[..., R]:
        """Return the function with the fields as keywords."""
        kind = self._options
        parameters = list(inspect.signature(job, eval_str=False).parameters.values())
        at = next(n for n, one in enumerate(parameters) if one.annotation == kind.__name__)
        inputs, name, others = parameters[:at], parameters[at].name, parameters[at + 1 :]
        positional = [one.name for one in fields(kind) if not one.kw_only]
        keywords = {one.name for one in fields(kind)}
        former = former_names(kind)
        signature = inspect.Signature([*inputs, *_parameters(kind), *others])
        own_signature = inspect.Signature([*inputs, *others])

        @wraps(job)
        def wrapped(*args: Any, **given: Any) -> R:
            given = _renamed(given, former)
            rest = list(args[len(inputs) :])
            base = given.pop(name, None)
            if rest and isinstance(rest[0], kind):
                base = rest.pop(0)
            if base is not None and not isinstance(base, kind):
                raise TypeError(f"{name} must be {kind.__name__}, not {base!r}")
            _refuse_unknown(job.__name__, given, signature)
            bound = own_signature.bind(
                *args[: len(inputs)],
                **{key: value for key, value in given.items() if key not in keywords},
            )
            chosen = {key: value for key, value in given.items() if key in keywords}
            if len(rest) > len(positional):
                raise TypeError(f"{job.__name__}() takes only {positional} by position")
            for key, value in zip(positional, rest, strict=False):
                if key in chosen:
                    raise TypeError(f"{job.__name__}() got multiple values for {key!r}")
                chosen[key] = value
            options = kind(**chosen) if base is None else replace(base, **chosen)
            bound.apply_defaults()
            own = {one.name: bound.arguments[one.name] for one in others}
            return job(*(bound.arguments[one.name] for one in inputs), options, **own)

        vars(wrapped)["__signature__"] = signature
        wrapped.__doc__ = documented(job.__doc__, kind)
        return wrapped


def documented(doc: str | None, kind: type[Options]) -> str | None:
    """Return a docstring in which the options' descriptions, in numpydoc form, replace `PLACE`."""
    if doc is None:
        return None
    text = inspect.cleandoc(doc)
    return text.replace(PLACE, "\n".join(_described(one, kind) for one in own_first(kind)))


def _described(of: Field[Any], kind: type[Options]) -> str:
    spec = spec_of(of) if of.metadata else None
    help = spec.help if spec else f"See `{hints_of(kind)[of.name].__name__}`."
    kind_name = _type_name(hints_of(kind)[of.name])
    default = "optional" if of.default in (None, ()) else f"default {_plain(of.default)}"
    return f"{of.name} : {kind_name}, {default}\n{textwrap.indent(textwrap.fill(help, 92), '    ')}"


def _type_name(hint: Any) -> str:
    kind, _ = kind_of(hint)
    if get_origin(kind) is tuple:
        return f"sequence of {get_args(kind)[0].__name__}"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "{" + ", ".join(repr(str(one)) for one in kind) + "}"
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("|", "or")


def _plain(value: Any) -> str:
    if isinstance(value, (StrEnum, str)):
        return repr(str(value))
    return repr(value) if isinstance(value, (bool, int, float)) else "optional"


def _parameters(kind: type[Options]) -> list[inspect.Parameter]:
    made = []
    for one in fields(kind):
        default = str(one.default) if isinstance(one.default, StrEnum) else one.default
        made.append(
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY
                if one.kw_only
                else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if default is MISSING else default,
                annotation=one.type,
            )
        )
    order = {one.name: rank for rank, one in enumerate(own_first(kind))}
    return sorted(made, key=lambda one: (one.kind, order[one.name]))


def _renamed(given: dict[str, Any], former: dict[str, str]) -> dict[str, Any]:
    """Keywords under their present names."""
    for key in former.keys() & given.keys():
        log.warning("%s is called %s now", key, former[key])
    return {former.get(key, key): value for key, value in given.items()}


def _refuse_unknown(job: str, given: dict[str, Any], signature: inspect.Signature) -> None:
    for key in given:
        if key not in signature.parameters:
            hint = did_you_mean(key, signature.parameters)
            raise TypeError(f"{job}() got an unexpected keyword argument {key!r}{hint}")
