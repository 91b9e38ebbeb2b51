"""The command line: each command parses, calls the library once, prints, sets the exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NoReturn

import typer

from vitrina import disk, logs, temporary_files
from vitrina._version import __version__
from vitrina.cli import (
    audit,
    conversion,
    demo,
    embed,
    finetune,
    interrupts,
    maintenance,
    models,
    query,
    streams,
    train,
    work,
)
from vitrina.cli.commands import Command, Group
from vitrina.cli.common_options import Config, NoConfig, Quiet, Verbose, with_common_options
from vitrina.cli.examples import EXAMPLES
from vitrina.cli.usage import UsageError, usage_line
from vitrina.errors import OptionError, VitrinaError
from vitrina.limits import VITRINA_THREADS, use_threads

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start here": (demo.demo, models.models, embed.embed, train.index, train.train),
    "Every day": (query.classify, query.neighbours, maintenance.info),
    "Improve": (finetune.pretrain, finetune.finetune, finetune.benchmark, models.export_model),
    "Review": (audit.audit, audit.review, audit.decisions),
    "Maintain": (
        maintenance.verify,
        maintenance.compact,
        work.work,
        maintenance.cache,
        conversion.convert_model,
    ),
}
"""The commands by panel, in the order of `vitrina --help`. A new command is a new entry; its
examples are in `examples.py`."""

app = typer.Typer(
    cls=Group,
    help="Embed a marketplace's products, classify new ones, audit the labels it has.",
    epilog="""vitrina demo
vitrina embed train.parquet --store shelf --images images.zip
vitrina COMMAND --help""",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        streams.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    quiet: Quiet = False,  # noqa: ARG001
    verbose: Verbose = 0,  # noqa: ARG001
    config: Config = None,  # noqa: ARG001
    no_config: NoConfig = False,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="INTEGER",
            envvar=VITRINA_THREADS,
            help="Number of threads; default: one per CPU that this process may use.",
        ),
    ] = None,
) -> None:
    if threads:
        use_threads(threads)


for _panel, _commands in COMMANDS.items():
    for _command in _commands:
        app.command(
            cls=Command,
            rich_help_panel=_panel,
            short_help=_command.__doc__,
            epilog="\n".join(EXAMPLES[_command.__name__.replace("_", "-")]),
        )(with_common_options(_command))


@cache
def command_line() -> Any:
    """Make the commands and their options once."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line. A VitrinaError or disk error prints one line and exits with code 1, an
    OptionError with 2; a signal prints one line and exits with 128 plus its number."""
    # Photo errors are in errors.parquet; Pillow's warnings would break the progress bar.
    warnings.filterwarnings("ignore", module="PIL")
    streams.prepare()
    logs.configure()
    try:
        with interrupts.taken() as signals:
            _run(signals)
    except interrupts.Interrupted as err:
        # It came just before the command, or after it.
        streams.echo(interrupts.LINE, err=True)
        sys.exit(err.code)
    finally:
        logs.remove()


def _run(signals: interrupts.Signals) -> None:
    try:
        try:
            code = command_line()(prog_name="vitrina", standalone_mode=False)
        finally:
            streams.finish()
        if code:
            sys.exit(code)
    except BaseException as err:
        ended_well = isinstance(err, SystemExit) and not err.code
        if signals.first is not None and not ended_well:
            # Typer, native code and our own code turn Interrupted into other exceptions. The signal
            # may have come while temporary files were being removed.
            temporary_files.remove_all()
            streams.echo(interrupts.LINE, err=True)
            sys.exit(signals.code)
        if isinstance(err, UsageError):
            _usage_error(err)
        if isinstance(err, OptionError):
            _fail(f"{err.flag} {err.problem}", code=2)
        if isinstance(err, VitrinaError):
            _fail(str(err), code=err.exit_code)
        fault = err if isinstance(err, OSError) else disk.full_disk(err)
        if fault is not None:
            # The disk is full or gone, or a folder not writable: no fault of the code.
            _fail(disk.describe_fault(fault))
        raise


def _usage_error(err: Any) -> NoReturn:
    if type(err).__name__ == "NoArgsIsHelpError":
        typer.echo(err.ctx.get_help())
        sys.exit(2)
    _fail(usage_line(err), code=2)


def _fail(message: str, code: int = 1) -> NoReturn:
    streams.echo(f"vitrina: {' '.join(message.split())}", err=True)
    sys.exit(code)
