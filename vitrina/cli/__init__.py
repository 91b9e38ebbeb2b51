"""The command line: each command parses, calls the library once, prints, sets the exit code."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, NoReturn

import typer

from vitrina import disk, logs, temporary_files
from vitrina._version import __version__
from vitrina.cli import (
    audit,
    demo,
    embed,
    finetune,
    interrupts,
    maintenance,
    models,
    query,
    streams,
    train,
)
from vitrina.errors import OptionError, VitrinaError
from vitrina.limits import limit_thread_pools

app = typer.Typer(
    help="Embed a marketplace's products, classify new ones, audit the labels it has.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        streams.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


# `vitrina --help` lists them in this order.
app.command()(demo.demo)
app.command()(embed.embed)
app.command()(finetune.pretrain)
app.command()(finetune.finetune)
app.command()(train.index)
app.command()(train.train)
app.command()(query.classify)
app.command()(query.neighbours)
app.command()(audit.audit)
app.command()(audit.review)
app.command()(audit.decisions)
app.command()(finetune.benchmark)
app.command()(models.export_model)
app.command()(maintenance.info)
app.command()(maintenance.verify)
app.command()(maintenance.compact)


def main() -> None:
    """Run the command line. A VitrinaError or disk error prints one line and exits with code 1, an
    OptionError with 2; a signal prints one line and exits with 128 plus its number."""
    # Photo errors are in errors.parquet; Pillow's warnings would break the progress bar.
    warnings.filterwarnings("ignore", module="PIL")
    limit_thread_pools()
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
            app()
        finally:
            streams.finish()
    except BaseException as err:
        ended_well = isinstance(err, SystemExit) and not err.code
        if signals.first is not None and not ended_well:
            # Typer, native code and our own code turn Interrupted into other exceptions. The signal
            # may have come while temporary files were being removed.
            temporary_files.remove_all()
            streams.echo(interrupts.LINE, err=True)
            sys.exit(signals.code)
        if isinstance(err, OptionError):
            _fail(f"{err.flag} {err.problem}", code=2)
        if isinstance(err, VitrinaError):
            _fail(str(err))
        fault = err if isinstance(err, OSError) else disk.full_disk(err)
        if fault is not None:
            # The disk is full or gone, or a folder not writable: no fault of the code.
            _fail(disk.describe_fault(fault))
        raise


def _fail(message: str, code: int = 1) -> NoReturn:
    streams.echo(f"vitrina: {' '.join(message.split())}", err=True)
    sys.exit(code)
