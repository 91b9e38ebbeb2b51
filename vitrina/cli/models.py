"""The commands about models: those with short names, and those of a store for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrina.cli.common import AsJson, StoreArgument, StoreOption, open_store, show, typed
from vitrina.options import Panel
from vitrina.types import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitrina.embedder.known_models import KnownModel


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


def models(
    modality: Annotated[
        str | None,
        typer.Option(
            metavar=f"[{'|'.join(Modality)}]",
            help="Models of one modality; default: all.",
            rich_help_panel=Panel.MODELS,
            autocompletion=lambda incomplete: [
                one.value for one in Modality if one.startswith(incomplete)
            ],
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List good models for texts and photos, with short names and published figures."""
    from vitrina import api

    found = [*api.models(modality)]
    lines = _columns(found)
    done = f"done: {len(found)} models; give a name as --text-model or --image-model"
    show(as_json, [one.to_json() for one in found], done, result=lines)


def _columns(found: Sequence[KnownModel]) -> list[str]:
    """Two lines for each model, below one of headings."""
    rows = [("name", "MB", "dim", "speed", "licence", "published figure", "for")]
    rows += [
        (
            one.name,
            str(one.megabytes),
            str(one.dim),
            one.speed.value,
            one.licence,
            str(one.figure or "-"),
            one.use,
        )
        for one in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for at, row in enumerate(rows):
        cells = [
            cell.rjust(width) if name in ("MB", "dim") else cell.ljust(width)
            for cell, width, name in zip(row, widths, rows[0], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
        if at:
            one = found[at - 1]
            prompt = f"prompt {one.prompt!r}" if one.prompt else ""
            source = one.figure.source if one.figure else ""
            lines.append(f"  {', '.join(filter(None, (one.hub, prompt, source)))}")
    return lines
