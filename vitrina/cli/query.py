"""The commands that ask a store about products: classify, neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import (
    AsJson,
    FeaturesOption,
    ImagesOption,
    StoreArgument,
    StoreOption,
    open_store,
    show,
)


def classify(
    catalogue: Annotated[Path, typer.Argument(help="The new batch, in the catalogue's form.")],
    store: Annotated[str, typer.Option(help="The store with the head.")],
    out: Annotated[Path, typer.Option(help="The predictions file to write.")],
    images: ImagesOption = None,
    model: Annotated[
        str | None, typer.Option(help="A head's name; default: the one trained last.")
    ] = None,
    format: Annotated[str, typer.Option(help="full or submission.")] = "full",
    top_k: Annotated[int, typer.Option(min=1, help="Categories to list for each product.")] = 5,
    neighbours: Annotated[int, typer.Option(min=1, help="Neighbours to list, and to vote.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Predict the categories of a new batch, with reasons."""
    from vitrina import api

    opened = open_store(store)
    report = api.classify_to(
        api.open_batch(catalogue, opened, images=images),
        opened,
        out,
        model=model,
        format=format,
        top_k=top_k,
        neighbours=neighbours,
        quiet=as_json,
    )
    lines = []
    if report.without_image or report.without_text:
        lines.append(f"{report.without_image} without a photo, {report.without_text} without text")
    if report.errors:
        lines.append(
            f"{report.failed} photos could not be used, {report.rejected} rows were rejected: "
            f"see {out.with_suffix('.errors.parquet')}"
        )
    if not report.voted:
        lines.append("no index of these features: no vote (run `vitrina index`)")
    lines.append(
        f"done: {report.products} products by {report.model}, {report.accepted} accepted, "
        f"{report.products / max(report.seconds, 1e-9):.0f}/s, in {out}"
    )
    show(as_json, report.to_json(), *lines)


def neighbours(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    product: Annotated[str | None, typer.Option(help="A product's id.")] = None,
    text: Annotated[str | None, typer.Option(help="Any text.")] = None,
    image: Annotated[Path | None, typer.Option(help="An image file.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    features: FeaturesOption = None,
    as_json: AsJson = False,
) -> None:
    """Find the nearest products of a product, a text or an image."""
    from vitrina import api

    if (product is None) == (text is None and image is None):
        raise typer.BadParameter("give either --product, or --text and --image or one of them")
    found = api.open_index(open_store(store, store_option), features).search(
        product=product, text=text, image=image, k=k
    )
    lines = [
        f"{near.score:.3f}  {near.product_id}  {near.title}  [{near.category_name or '-'}]"
        for near in found
    ]
    show(as_json, [near.to_json() for near in found], *lines, f"done: {len(found)} neighbours")
