"""The command that converts a model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import AsJson, show
from vitrina.options import Panel


def convert_model(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIRECTORY", help="Directory of a model with weights as pickle.", exists=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="A new directory for the whole model; default: beside the pickles, which stay.",
            show_default=False,
            rich_help_panel=Panel.FILES,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert pickled weights of a model to safetensors, without running code from them."""
    from vitrina import api

    made = api.convert_model(directory, out)
    show(
        as_json,
        made.to_json(),
        *(f"wrote {name}" for name in made.files),
        f"done: {made.tensors} tensors, {made.bytes / 1e6:.1f} MB in {made.directory}",
    )
