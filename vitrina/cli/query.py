"""The commands that query a store: classify, neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import (
    AsJson,
    NeededStore,
    StoreArgument,
    StoreOption,
    open_store,
    show,
    typed,
)
from vitrina.cli.options import refuse_unused, with_options
from vitrina.data.options import ReadingOptions
from vitrina.errors import StoreError
from vitrina.options import Panel
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.index.options import QueryOptions
from vitrina.tables.destination import Destination


@with_options
def classify(
    catalogue: Annotated[
        str,
        typer.Argument(
            metavar="CATALOGUE",
            help="New products, in the catalogue's format: a file, or a database.",
        ),
    ],
    *,
    store: NeededStore = None,
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            "--output",
            metavar="PATH",
            help="Predictions: a .parquet, .csv, .xlsx or .jsonl file, or a database's URL.",
            rich_help_panel=Panel.FILES,
        ),
    ],
    options: ClassifyOptions,
    reading: ReadingOptions,
    as_json: AsJson = False,
) -> None:
    """Predict the categories of new products, with reasons."""
    from vitrina import api

    Destination.of(out, options)
    opened = open_store(None, store)
    report = api.classify_to(api.open_batch(catalogue, opened, reading), opened, out, options)
    lines = [*report.notes]
    if report.without_image or report.without_text:
        lines.append(f"{report.without_image} without a photo, {report.without_text} without text")
    if report.errors:
        lines.append(
            f"{report.failed} photos could not be used, {report.rejected} rows were rejected: "
            f"see {report.errors_out}"
        )
    if not report.voted:
        lines.append("no index of these features: no vote (run `vitrina index`)")
    if report.reused:
        lines.append(report.reused_line)
    if report.unknown:
        lines.append(report.unknown_line)
    lines.append(
        f"done: {report.products} products by {report.model}, {report.accepted} accepted, "
        f"{report.backed_off} more as far as an ancestor, "
        f"{report.products / max(report.seconds, 1e-9):.0f}/s, in {report.out}"
    )
    show(as_json, report.to_json(), *lines)


@with_options
def neighbours(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    product: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Product id to search for.", rich_help_panel=Panel.FILES),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Text to search for; with --features image, among photos (of CLIP or SigLIP).",
            rich_help_panel=Panel.FILES,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Image file to search for.", rich_help_panel=Panel.FILES),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Many queries: a Parquet file of ids alone, or new products, in a file or a "
            "database.",
            rich_help_panel=Panel.FILES,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            "--output",
            metavar="PATH",
            help="Neighbours: a .parquet, .csv, .xlsx or .jsonl file, or a database's URL.",
            rich_help_panel=Panel.FILES,
        ),
    ] = None,
    *,
    options: QueryOptions,
    as_json: AsJson = False,
) -> None:
    """Find the nearest products of a product, a text, an image, or of many products."""
    from vitrina import api
    from vitrina.api.query import write_neighbours

    reading = options.reading
    requested = [product is not None, text is not None or image is not None, queries is not None]
    if sum(requested) != 1:
        raise typer.BadParameter("give one of --product, --text and/or --image, and --queries")
    if queries is not None and out is None:
        raise typer.BadParameter("--queries needs --out, the file to write")
    if queries is None:
        others = reading if image is None else replace(reading, max_megapixels=None)
        refuse_unused(others, "--queries; one image goes with --image")
    if requested[1] and (options.no_duplicates or options.other_shops):
        raise typer.BadParameter("--no-duplicates and --other-shops need a product to compare with")
    destination = None if out is None else Destination.of(out, options)
    category = None if options.category is None else typed(str(options.category))
    options = replace(options, category=category, where=tuple(map(typed, options.where)))
    try:
        _ = options.only
    except StoreError as err:
        raise typer.BadParameter(f"--where {err}") from err
    opened = open_store(store, store_option)
    if queries is not None and out is not None:
        report = api.neighbours_to(opened, queries, out, options)
        show(as_json, report.to_json(), *report.lines())
        return
    found = api.open_index(opened, options.features).search(
        product=typed(product),
        text=typed(text),
        image=image,
        k=options.k,
        category=options.category,
        where=options.where,
        no_duplicates=options.no_duplicates,
        other_shops=options.other_shops,
        max_pixels=reading.max_pixels,
    )
    lines = [
        f"{near.score:.3f}  {near.product_id}  {near.title}  [{near.category_name or '-'}]"
        for near in found
    ]
    done = f"done: {len(found)} neighbours"
    if destination is not None:
        write_neighbours(opened, found, destination)
        done += f", in {destination}"
    show(as_json, [near.to_json() for near in found], done, result=lines)
