"""griffe extension: what the package makes when it is imported, and one form of docstrings.

The functions of the public API get their keywords, with descriptions, from classes of options
(`vitrina/api/keywords.py`), and a class gets methods made of functions: no static analysis sees it.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

from vitrina.api.keywords import PLACE

ATTRIBUTES = re.compile(r"^Attributes:\n((?:[ ]{4}.*(?:\n|\Z)|\n(?=[ ]{4}))+)", re.M)
CHOICES = re.compile(r"^(\w+ : )\{([^}\n]*)\}", re.M)
ENTRY = re.compile(r"([\w, ]+): ")


class Vitrina(griffe.Extension):
    """Completes what static analysis of `vitrina` finds."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Replace attributes of a class that are functions when it is imported by these."""
        if not cls.path.startswith("vitrina.api."):
            return
        for name, member in [*cls.members.items()]:
            found = None if not member.is_attribute else getattr(_imported(cls.path), name, None)
            if inspect.isfunction(found) and found.__doc__:
                cls.set_member(name, _function(name, found, member))

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Complete a function with keywords; bring a docstring into numpydoc form."""
        if obj.docstring is None:
            return
        if obj.is_function and PLACE in obj.docstring.value:
            found = _imported(obj.path)
            obj.docstring.value = inspect.cleandoc(found.__doc__)
            obj.parameters = _parameters(found)  # type: ignore[attr-defined]
        obj.docstring.value = as_numpydoc(obj.docstring.value)


def _imported(path: str) -> Any:
    """The object at a dotted path: of a module, or of a class in one."""
    module, *names = path, *()
    while True:
        try:
            found = import_module(module)
            break
        except ModuleNotFoundError:
            module, _, name = module.rpartition(".")
            names.insert(0, name)
    for name in names:
        found = getattr(found, name)
    return found


def _function(name: str, found: Any, member: griffe.Object | griffe.Alias) -> griffe.Function:
    """A function as griffe has it, at the place of the attribute that it was assigned to."""
    returns = inspect.signature(found).return_annotation
    made = griffe.Function(
        name,
        lineno=member.lineno,
        endlineno=member.endlineno,
        parameters=_parameters(found),
        returns=None if returns is inspect.Signature.empty else str(returns),
    )
    made.docstring = griffe.Docstring(
        as_numpydoc(inspect.cleandoc(found.__doc__)), parent=made, parser=griffe.Parser.numpy
    )
    return made


def _parameters(found: Any) -> griffe.Parameters:
    made = []
    for one in inspect.signature(found).parameters.values():
        default = None if one.default is inspect.Parameter.empty else _code(one.default)
        annotation = None if one.annotation is inspect.Parameter.empty else str(one.annotation)
        kind = griffe.ParameterKind(one.kind.description)
        made.append(griffe.Parameter(one.name, annotation=annotation, kind=kind, default=default))
    return griffe.Parameters(*made)


def _code(value: Any) -> str:
    """A default as one would write it; a frozen dataclass of defaults by its name."""
    shown = repr(value)
    return shown if len(shown) < 40 else f"{type(value).__name__}()"


def as_numpydoc(text: str) -> str:
    """A docstring whose section `Attributes:` has become a numpydoc one.

    Choices in braces become alternatives, since griffe takes the first for the default.
    """

    def section(found: re.Match[str]) -> str:
        lines = []
        for line in found[1].rstrip().splitlines():
            text = line[4:]
            entry = ENTRY.match(text)
            if entry and not text.startswith(" "):
                lines += [f"{entry[1]} :", f"    {text[entry.end() :]}"]
            else:
                lines.append(f"    {text.strip()}")
        return "Attributes\n----------\n" + "\n".join(lines) + "\n"

    text = CHOICES.sub(lambda found: f"{found[1]}{found[2].replace(', ', ' | ')}", text)
    return ATTRIBUTES.sub(section, text)
