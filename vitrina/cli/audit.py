"""The commands about labels: audit, review, decisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vitrina.audit.review.options import ReviewOptions
from vitrina.cli.common import (
    AsJson,
    StoreArgument,
    StoreOption,
    open_store,
    show,
)
from vitrina.cli.options import with_options
from vitrina.cli.streams import echo
from vitrina.database.url import without_secrets
from vitrina.options import Panel
from vitrina.pipelines.audit.options import AuditOptions, ExportOptions
from vitrina.stage_timer import stages_line

SHOWN = 5
"""Suspects printed in the terminal."""


@with_options
def audit(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            "--output",
            metavar="PATH",
            help="HTML report to write, with a table of all products beside it; or a .parquet, "
            ".csv, .xlsx or .jsonl file for the table alone.",
            rich_help_panel=Panel.FILES,
        ),
    ] = Path("report.html"),
    *,
    options: AuditOptions,
    as_json: AsJson = False,
) -> None:
    """Rank the labels that are probably wrong, and explain why."""
    from vitrina import api

    options = replace(options, out=out)
    written = " and ".join(map(str, filter(None, (options.report, options.destination))))
    found = api.audit(open_store(store, store_option), options)
    card = found.card
    lines = [
        f"{one.rank:>4}  {one.score:.2f}  {one.product_id}  {one.title}\n"
        f"            {found.names[one.given] or one.given}\n"
        f"         -> {found.names[one.suggested] or one.suggested}"
        for one in found.suspects[:SHOWN]
    ]
    if card["settled"]:
        lines.append(f"{card['settled']} products were reviewed before")
    if "cleanlab" in card:
        lines.append(
            f"cleanlab finds {card['cleanlab']['issues']}, among them "
            f"{card['cleanlab']['suspects_among_them']} of these"
        )
    lines.append(f"time: {stages_line(card['stages'])}")
    way = "review them with `vitrina review`"
    if not card["recorded"]:
        way = "not recorded in the store, which may only be read; `vitrina review` needs a copy"
    lines.append(
        f"done: {card['suspects']} of {card['checked']} labels are suspect, "
        f"{card['wrong_by_confident_learning']} are wrong by confident learning's count; {written} "
        f"in {card['took']:.0f} s; {way}"
    )
    show(as_json, dict(card), *lines)


@with_options
def review(
    store: StoreArgument = None, store_option: StoreOption = None, *, options: ReviewOptions
) -> None:
    """Serve a local page to confirm or correct suspect labels; the store keeps the decisions."""
    from vitrina.api.auditing import serve_review

    serve_review(open_store(store, store_option), options, echo)
    show(False, None, "done: all decisions are in the store; `vitrina train` applies them")


@with_options
def decisions(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=Panel.FILES,
            help="Write corrected labels (.xlsx, .csv, .parquet, .jsonl, or a database's URL), or "
            "open suspects as Label Studio tasks (.json).",
        ),
    ] = None,
    read: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="PATH",
            help="Read corrected labels (.xlsx, .csv, .parquet, .jsonl), or a JSON export of Label "
            "Studio.",
            rich_help_panel=Panel.FILES,
        ),
    ] = None,
    *,
    options: ExportOptions,
    as_json: AsJson = False,
) -> None:
    """Summarise reviewers' decisions; export corrected labels, or import them."""
    from vitrina import api

    if options.changed_only and export is None:
        raise typer.BadParameter("--changed-only applies to --export: give that too")
    opened = open_store(store, store_option)
    value: dict[str, object] = {}
    lines = []
    if read is not None:
        value["imported"] = api.import_decisions(opened, read)
        lines.append(f"{value['imported']} decisions were new in {read}")
    if export is not None:
        value["exported"] = api.export_decisions(opened, export, options)
        lines.append(f"{value['exported']} rows are in {without_secrets(export)}")
    value |= api.describe(opened)["decisions"]
    lines.append(
        f"done: {value['kept']} labels kept, {value['moved']} corrected, {value['skipped']} "
        f"skipped; {value['open']} suspects of the last audit are open"
    )
    show(as_json, value, result=lines)
