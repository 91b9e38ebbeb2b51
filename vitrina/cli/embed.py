"""The command that brings a store up to date with a catalogue: embed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from vitrina.cli.common import AsJson, CreatedStore, place_of, show
from vitrina.cli.options import with_options
from vitrina.cli.output import is_quiet
from vitrina.cli.streams import echo
from vitrina.data.options import ReadingOptions, whole_table
from vitrina.options import Panel
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.stage_timer import stages_line

if TYPE_CHECKING:
    from vitrina.pipelines.embed.job import EmbedReport
    from vitrina.pipelines.embed.space_report import SpaceReport


@with_options
def embed(
    catalogue: Annotated[
        str,
        typer.Argument(
            metavar="CATALOGUE",
            help="Marketplace Parquet; a Parquet, CSV, JSON or Excel table; a YML feed; "
            "WebDataset tars; the URL of a database, with --query or --table.",
        ),
    ],
    store: CreatedStore = None,
    *,
    options: EmbedOptions,
    reading: ReadingOptions,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The table of a database to read, in place of --query.",
            rich_help_panel=Panel.FILES,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a catalogue, embed what is new or changed, and commit."""
    from vitrina import api

    if table is not None:
        if reading.query is not None:
            raise typer.BadParameter("give one of --query and --table")
        reading = replace(reading, query=whole_table(table))
    place = place_of(None, store)
    made = api.Store.open(place, create=True)
    opened = api.open_batch(catalogue, made, reading, complete=True)
    if not as_json and not is_quiet():
        # Printed first, before hours are spent on a catalogue that was misread.
        for note in filter(None, (*opened.notes, opened.label_hint)):
            echo(note)
    report = api.embed(opened, made, replace(options, source=reading.source))
    others = f"{report.kept} kept that it does not mention"
    if report.spared:
        others = f"{report.kept} kept, {report.spared} of them because their rows can't be used"
    lines = [
        f"catalogue: {report.new} new, {report.changed} changed, {report.relabelled} with another "
        f"category or metadata, {report.unchanged} unchanged; {report.removed} removed, {others}",
    ]
    lines += _what_was_faulty(report)
    lines += report.categories.lines()
    lines += [
        f"{space.space}: {space.embedded} embedded in {space.seconds:.0f} s, {space.reused} reused "
        f"from identical content, {space.unchanged} unchanged, {space.missing} have none, "
        f"{space.failed} failed"
        for space in report.spaces
    ]
    lines += [
        f"{space.space}: {space.waiting} products wait; `vitrina work {place}` computes their "
        "vectors, and the next embed adopts them"
        for space in report.spaces
        if space.waiting
    ]
    lines += [line for space in report.spaces for line in _photos(space)]
    lines += [_where_the_time_went(space) for space in report.spaces if space.bottleneck]
    lines.append(f"time: {stages_line(report.stages)}")
    lines.append(f"done: {report.products} products in {place}, {report.seconds:.1f} s")
    show(as_json, report.to_json(), *lines)


def _photos(space: SpaceReport) -> list[str]:
    if not space.sought:
        return []
    lines = [f"photos found for {space.found} of {space.sought} products"]
    if space.not_found:
        lines[0] += f"; {space.not_found} name photos that are not there"
    if space.mended:
        lines.append(f"{space.mended} damaged photos were repaired")
    if space.not_found or space.mended:
        lines[-1] += f", see spaces/{space.space}/errors.parquet"
    return lines


def _what_was_faulty(report: EmbedReport) -> list[str]:
    lines = []
    if report.rejected:
        lines.append(
            f"rejected {report.rejected} of {report.rows} rows ({report.rejections}), see "
            "errors.parquet"
        )
    if report.faulty_labels:
        lines.append(
            f"{report.faulty_labels} products have no category, since theirs can't be used "
            f"({report.label_faults}), see errors.parquet"
        )
    if report.repairs:
        mended = "; ".join(f"{what}: {count}" for what, count in report.repairs.items())
        lines.append(f"repaired in the file: {mended}")
    if report.unpruned:
        lines.append(
            f"{report.unpruned} products that are no longer in the catalogue were kept, since "
            "the products of unreadable rows are unknown: fix these rows, or use "
            "--accept-changes"
        )
    if report.retyped:
        lines.append("the store's product ids are text from now on; nothing else changed")
    return lines


def _where_the_time_went(space: SpaceReport) -> str:
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in space.stages.items())
    run_in = f" in {space.compute}" if space.compute else ""
    return (
        f"{space.space}{run_in}: of encoding, {shares} of the threads' time; the bottleneck is "
        f"{space.bottleneck}"
    )
