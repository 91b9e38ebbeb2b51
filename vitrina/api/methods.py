"""Public functions as methods of the store, with signatures and docstrings made from theirs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from vitrina.api.inputs import StoreLike
from vitrina.api.keywords import NoInput, OneInput, ThreeInputs, TwoInputs

A = TypeVar("A")
B = TypeVar("B")
O = TypeVar("O")  # noqa: E741
P = ParamSpec("P")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)

STORE = "store"
"""Name of the parameter that becomes the object of the method."""

_PARAMETER = re.compile(rf"^{STORE} : .*\n(?:    .*\n)+", re.MULTILINE)
_NO_PARAMETERS = "Parameters\n----------\n\n"
_CALL = re.compile(rf"\bvt\.([a-z_]+)\(((?:[^()]+, )?){STORE}(?:, )?([^()]*)\)")


class StoreMethod(Protocol[T_co]):
    """A method of a class, of type `T_co` when it is taken from an instance."""

    def __get__(self, instance: Any, owner: Any = None, /) -> T_co: ...


@overload
def method(function: OneInput[StoreLike, O, P, R]) -> StoreMethod[NoInput[O, P, R]]: ...
@overload
def method(  # type: ignore[overload-overlap]
    function: TwoInputs[A, StoreLike, O, P, R],
) -> StoreMethod[OneInput[A, O, P, R]]: ...
@overload
def method(  # type: ignore[overload-overlap]
    function: TwoInputs[StoreLike, B, O, P, R],
) -> StoreMethod[OneInput[B, O, P, R]]: ...
@overload
def method(  # type: ignore[overload-overlap]
    function: ThreeInputs[A, StoreLike, B, O, P, R],
) -> StoreMethod[TwoInputs[A, B, O, P, R]]: ...
@overload
def method(  # type: ignore[overload-overlap]
    function: ThreeInputs[StoreLike, A, B, O, P, R],
) -> StoreMethod[TwoInputs[A, B, O, P, R]]: ...
@overload
def method(function: Callable[Concatenate[StoreLike, P], R]) -> StoreMethod[Callable[P, R]]: ...
def method(function: Callable[..., Any]) -> Any:
    """Return a function with a parameter `store` as a method of a store.

    Every reference to the function in its docstring's examples becomes one to the method.
    """
    parameters = list(inspect.signature(function).parameters.values())
    names = [one.name for one in parameters]
    place = names.index(STORE)
    own = parameters[:place] + parameters[place + 1 :]

    @wraps(function)
    def call(self: Any, /, *args: Any, **given: Any) -> Any:
        if len(args) < place:
            return function(*args, **{STORE: self}, **given)
        return function(*args[:place], self, *args[place:], **given)

    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(function).replace(parameters=[this, *own])
    vars(call)["__signature__"] = signature
    call.__qualname__ = f"Store.{function.__name__}"
    call.__doc__ = as_method(inspect.getdoc(function) or "")
    return call


def as_method(doc: str) -> str:
    """Return a function's docstring without its store, whose examples call the store's methods."""
    text = _PARAMETER.sub("", doc).replace(_NO_PARAMETERS, "")
    return _CALL.sub(_call, text)


def _call(found: re.Match[str]) -> str:
    name, before, after = found.groups()
    return f"{STORE}.{name}({f'{before}{after}'.removesuffix(', ')})"
