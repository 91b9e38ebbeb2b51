"""The commands that query a store: classify, neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vitrina.cli.common import (
    AsJson,
    FeaturesOption,
    StoreArgument,
    StoreOption,
    open_store,
    show,
    typed,
)
from vitrina.cli.reading import reads_products, refuse_unused
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions


@reads_products
def classify(
    catalogue: Annotated[Path, typer.Argument(help="The new batch, in the catalogue's form.")],
    store: Annotated[str, typer.Option(help="The store with the head.")],
    out: Annotated[Path, typer.Option(help="The predictions file to write.")],
    model: Annotated[
        str | None, typer.Option(help="A head's name; default: the one trained last.")
    ] = None,
    format: Annotated[str, typer.Option(help="full or submission.")] = "full",
    top_k: Annotated[int, typer.Option(min=1, help="Categories to list for each product.")] = 5,
    neighbours: Annotated[int, typer.Option(min=1, help="Neighbours to list.")] = 10,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    as_json: AsJson = False,
) -> None:
    """Predict the categories of a new batch, with reasons."""
    from vitrina import api

    opened = open_store(store)
    report = api.classify_to(
        api.open_batch(catalogue, opened, reading),
        opened,
        out,
        model=model,
        format=format,
        top_k=top_k,
        neighbours=neighbours,
        quiet=as_json,
    )
    lines = [*report.notes]
    if report.without_image or report.without_text:
        lines.append(f"{report.without_image} without a photo, {report.without_text} without text")
    if report.errors:
        lines.append(
            f"{report.failed} photos could not be used, {report.rejected} rows were rejected: "
            f"see {out.with_suffix('.errors.parquet')}"
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
        f"{report.products / max(report.seconds, 1e-9):.0f}/s, in {out}"
    )
    show(as_json, report.to_json(), *lines)


@reads_products
def neighbours(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    product: Annotated[str | None, typer.Option(help="A product's id.")] = None,
    text: Annotated[str | None, typer.Option(help="Any text.")] = None,
    image: Annotated[Path | None, typer.Option(help="An image file.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Many: Parquet with ids alone, or a batch of new products."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The Parquet file to write, with --queries.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    category: Annotated[
        str | None, typer.Option(help="Only of this category id, or below this category path.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only such as 'price<=1000'; may be repeated.")
    ] = None,
    no_duplicates: Annotated[
        bool, typer.Option("--no-duplicates", help="None with the product's title or photo.")
    ] = False,
    other_shops: Annotated[
        bool, typer.Option("--other-shops", help="None of the product's own shop.")
    ] = False,
    features: FeaturesOption = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    as_json: AsJson = False,
) -> None:
    """Find the nearest products of a product, a text, an image, or of many products."""
    from vitrina import api

    asked = [product is not None, text is not None or image is not None, queries is not None]
    if sum(asked) != 1:
        raise typer.BadParameter("give one of --product, --text and/or --image, and --queries")
    if (queries is None) != (out is None):
        raise typer.BadParameter("--queries and --out go together")
    if queries is None:
        others = reading if image is None else replace(reading, max_megapixels=None)
        refuse_unused(others, "--queries; one image goes with --image")
    if asked[1] and (no_duplicates or other_shops):
        raise typer.BadParameter("--no-duplicates and --other-shops need a product to compare with")
    opened = open_store(store, store_option)
    only: dict[str, Any] = {
        "k": k,
        "category": typed(category),
        "where": [typed(one) for one in where or ()],
        "no_duplicates": no_duplicates,
        "other_shops": other_shops,
    }
    if queries is not None and out is not None:
        report = api.neighbours_to(
            opened, queries, out, features=features, reading=reading, quiet=as_json, **only
        )
        show(as_json, report.to_json(), *report.lines())
        return
    found = api.open_index(opened, features).search(
        product=typed(product),
        text=typed(text),
        image=image,
        max_pixels=reading.max_pixels,
        **only,
    )
    lines = [
        f"{near.score:.3f}  {near.product_id}  {near.title}  [{near.category_name or '-'}]"
        for near in found
    ]
    show(as_json, [near.to_json() for near in found], *lines, f"done: {len(found)} neighbours")
