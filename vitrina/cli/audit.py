"""The commands about labels: audit, review, decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import (
    AsJson,
    FeaturesOption,
    ImagesOption,
    Seed,
    StoreArgument,
    StoreOption,
    open_store,
    show,
)
from vitrina.cli.streams import echo
from vitrina.stage_timer import stages_line

SHOWN = 5
"""Suspects printed in the terminal."""


def audit(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    out: Annotated[
        Path, typer.Option(help="The report to write; a Parquet of everything lies beside it.")
    ] = Path("report.html"),
    features: FeaturesOption = None,
    images: ImagesOption = None,
    most: Annotated[int, typer.Option(min=1, help="Suspects to explain and show.")] = 10_000,
    folds: Annotated[int, typer.Option(min=2, help="Parts that judge one another.")] = 5,
    cleanlab: Annotated[
        bool, typer.Option("--cleanlab", help="Ask cleanlab too, given the same probabilities.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Rank the labels that are probably wrong, and say why."""
    from vitrina import api

    if out.suffix != ".html":
        raise typer.BadParameter(f"the report is a page: give a name that ends in .html, not {out}")
    found = api.audit(
        open_store(store, store_option),
        out,
        features=features,
        images=images,
        most=most,
        folds=folds,
        cleanlab=cleanlab,
        seed=seed,
        quiet=as_json,
    )
    card = found.card
    lines = [
        f"{one.rank:>4}  {one.score:.2f}  {one.product_id}  {one.title}\n"
        f"            {found.names[one.given] or one.given}\n"
        f"         -> {found.names[one.suggested] or one.suggested}"
        for one in found.suspects[:SHOWN]
    ]
    if card["settled"]:
        lines.append(f"{card['settled']} products were judged by reviewers already")
    if "cleanlab" in card:
        lines.append(
            f"cleanlab finds {card['cleanlab']['issues']}, among them "
            f"{card['cleanlab']['suspects_among_them']} of these"
        )
    lines.append(f"time: {stages_line(card['stages'])}")
    way = "judge them with `vitrina review`"
    if not card["recorded"]:
        way = "not recorded in the store, which may only be read; `vitrina review` needs a copy"
    lines.append(
        f"done: {card['suspects']} of {card['checked']} labels are suspect, "
        f"{card['wrong_by_confident_learning']} are wrong by confident learning's count; {out} and "
        f"{out.with_suffix('.parquet').name} in {card['took']:.0f} s; {way}"
    )
    show(as_json, dict(card), *lines)


def review(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    host: Annotated[
        str, typer.Option(help="Anything but this machine alone makes the address hold a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8765,
    token: Annotated[str | None, typer.Option(help="That token; default: one is made up.")] = None,
    reviewer: Annotated[str, typer.Option(help="Your name; default: asked for on the page.")] = "",
    language: Annotated[str | None, typer.Option(help="ru or en; default: the browser's.")] = None,
    images: ImagesOption = None,
) -> None:
    """Serve a local page to keep or correct suspect labels; decisions land in the store."""
    from vitrina import api

    api.review(
        open_store(store, store_option),
        host=host,
        port=port,
        token=token,
        reviewer=reviewer,
        language=language,
        images=images,
        say=echo,
    )
    echo("done: all decisions are in the store; `vitrina train` applies them")


def decisions(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write corrected labels (.parquet, .csv), or open suspects as Label Studio's "
            "tasks (.json)."
        ),
    ] = None,
    read: Annotated[
        Path | None, typer.Option("--import", help="Read Label Studio's JSON export.")
    ] = None,
    changed_only: Annotated[
        bool, typer.Option("--changed-only", help="Leave out labels that were confirmed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what reviewers decided; export corrected labels, import Label Studio's."""
    from vitrina import api

    opened = open_store(store, store_option)
    value: dict[str, object] = {}
    lines = []
    if read is not None:
        value["imported"] = api.import_decisions(opened, read)
        lines.append(f"{value['imported']} decisions were new in {read}")
    if export is not None:
        value["exported"] = api.export_decisions(opened, export, changed_only=changed_only)
        lines.append(f"{value['exported']} rows are in {export}")
    value |= api.describe(opened)["decisions"]
    lines.append(
        f"done: {value['kept']} labels kept, {value['moved']} corrected, {value['skipped']} "
        f"skipped; {value['open']} suspects of the last audit are open"
    )
    show(as_json, value, *lines)
