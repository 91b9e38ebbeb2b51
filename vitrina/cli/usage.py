"""Usage errors as one line that names the option and the way out."""

from __future__ import annotations

import re
from typing import Any

import typer

from vitrina.cli.config import settings_in_use
from vitrina.errors import did_you_mean, near_names

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Base of all errors in what was typed; typer does not export it."""


def usage_line(err: Any) -> str:
    """Return the message of a usage error of a command, or of the name of one."""
    ctx = getattr(err, "ctx", None)
    path = "vitrina" if ctx is None else _path(ctx)
    problem = " ".join(_problem(err, ctx).split()).rstrip(".")
    problem += _origin(problem, ctx)
    mark = "" if problem.endswith("?") else ";"
    return f"{problem}{mark} see `{path} --help`"


def _origin(problem: str, ctx: Any) -> str:
    """The configuration that sets an option which the message is about."""
    for one in [] if ctx is None else settings_in_use(ctx):
        if re.search(rf"{re.escape(one.flag)}(?![\w-])", problem):
            return f" ({one.flag} is set in {one.file})"
    return ""


def _path(ctx: Any) -> str:
    return "vitrina" if ctx.parent is None else f"vitrina {ctx.info_name}"


def _problem(err: Any, ctx: Any) -> str:
    unknown = getattr(err, "option_name", None)
    if unknown is not None and hasattr(err, "possibilities"):
        return _unknown_option(unknown, ctx)
    if unknown is not None and "requires" in err.message:
        param = _param(unknown, ctx)
        return f"{unknown} needs a value: {unknown} {getattr(param, 'metavar', None) or 'VALUE'}"
    param = getattr(err, "param", None)
    if type(err).__name__ == "MissingParameter" and param is not None:
        return f"{_label(param)} is missing: {_first_sentence(param.help)}"
    if "No such command" in err.message:
        return _unknown_command(err, ctx)
    if "unexpected extra argument" in err.message:
        return _extra_argument(err, ctx)
    if "Missing command" in err.message:
        return "a command is missing, such as `vitrina demo`"
    if param is None:
        return str(err.message)
    limits = [(param.min, "at least"), (param.max, "at most")]
    told = " and ".join(f"{words} {limit}" for limit, words in limits if limit is not None)
    return f"{_label(param)} must be a whole number, {told}" if told else f"{_label(param)}: {err}"


def _unknown_option(name: str, ctx: Any) -> str:
    shown = [param for param in ctx.command.params if not param.hidden]
    known = [one for param in shown for one in (*param.opts, *param.secondary_opts)]
    # Without the dashes, which all of them share.
    near = near_names(name.strip("-"), [one[2:] for one in known if one.startswith("--")])
    near = [f"--{one}" for one in near] or [one for one in known if one == f"-{name.strip('-')}"]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    if ctx.parent is None:
        others = [other for other, command in ctx.command.commands.items() if _takes(command, name)]
        where = "before the command's name"
        if others:
            return f"{name} can't stand {where}: give it after {_commands(others)}"
        return f"there is no option {name} {where}{hint}"
    others = [
        other
        for other, command in ctx.parent.command.commands.items()
        if command is not ctx.command and _takes(command, name)
    ]
    if not hint and others:
        hint = f"; it is an option of {_commands(others)}"
    return f"vitrina {ctx.info_name} has no option {name}{hint}"


def _takes(command: Any, name: str) -> bool:
    return any(name in (*param.opts, *param.secondary_opts) for param in command.params)


def _commands(names: list[str]) -> str:
    return ", ".join(f"`vitrina {name}`" for name in names)


def _unknown_command(err: Any, ctx: Any) -> str:
    name = err.message.split("'")[1]
    hint = did_you_mean(name, ctx.command.commands) or ": " + ", ".join(ctx.command.commands)
    return f"there is no command {name!r}{hint}"


def _extra_argument(err: Any, ctx: Any) -> str:
    extra = err.message.partition("(s) (")[2].rpartition(")")[0]
    problem = f"vitrina {ctx.info_name} takes no further argument {extra!r}"
    names = {param.name for param in ctx.command.params}
    if "store" in names and _param("--store", ctx).name == "store":
        if ctx.params.get("store") is not None:
            return f"{problem}: one run takes one catalogue"
        return f"{problem}: give the store as --store {extra.split()[-1]}"
    return problem


def _param(name: str, ctx: Any) -> Any:
    return next(
        (one for one in ctx.command.params if name in (*one.opts, *one.secondary_opts)), None
    )


def _label(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return max(param.opts, key=len) if "--out" not in param.opts else "--out"


def _first_sentence(text: str | None) -> str:
    first = (text or "").split(". ")[0].rstrip(".")
    return first[:1].lower() + first[1:]
