"""The command that exports a model of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import AsJson, StoreArgument, StoreOption, open_store, show, typed
from vitrina.options import Panel


def export_model(
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="DIRECTORY",
            help="A new or empty directory.",
            rich_help_panel=Panel.FILES,
        ),
    ],
    store: StoreArgument = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A trained encoder, a space (see `vitrina info`), its model, or a head.",
            show_default=False,
        ),
    ] = None,
    store_option: StoreOption = None,
    as_json: AsJson = False,
) -> None:
    """Write an encoder for sentence-transformers, open_clip, timm or transformers, or a head."""
    from vitrina import api

    if store_option is not None and name is None:
        # The only argument is the name, then.
        store, name = None, store
    if name is None:
        raise typer.BadParameter("give the NAME of an encoder, a space or a head")
    report = api.export_model(open_store(store, store_option), typed(name), to)
    show(
        as_json,
        report.to_json(),
        f"{report.library}: {report.opening}",
        f"done: {report.name} in {report.directory}, {len(report.files)} files, "
        f"{report.bytes / 1e6:.1f} MB",
    )
