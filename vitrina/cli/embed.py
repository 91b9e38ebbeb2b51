"""The command that brings a store up to date with a catalogue: embed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrina.cli.common import AsJson, ImagesOption, Seed, show
from vitrina.stages import told

if TYPE_CHECKING:
    from vitrina.pipelines.space import SpaceReport


def embed(
    catalogue: Annotated[
        Path,
        typer.Argument(
            help="Marketplace Parquet; a Parquet, CSV or JSONL table; a YML feed; WebDataset tars."
        ),
    ],
    store: Annotated[str, typer.Option(help="The store; made if it is not there.")],
    images: ImagesOption = None,
    text_model: Annotated[
        str | None, typer.Option(help="hf:REPO, a directory, lexical, or none.")
    ] = None,
    image_model: Annotated[
        str | None,
        typer.Option(help="open_clip:ARCH/TAG, timm:NAME, a directory, thumbnail, or none."),
    ] = None,
    image_template: Annotated[
        str | None, typer.Option(help="A photo's name, such as images/{product_id}.jpg.")
    ] = None,
    photos: Annotated[
        int | None, typer.Option(min=1, help="Photos of a product to use; default: 1.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Default: product_id.")] = None,
    title_column: Annotated[str | None, typer.Option(help="Default: title.")] = None,
    description_column: Annotated[str | None, typer.Option(help="Default: description.")] = None,
    attribute_columns: Annotated[
        str | None, typer.Option(help="Further columns to add to the text, with commas between.")
    ] = None,
    shop_column: Annotated[str | None, typer.Option(help="Default: shop_title.")] = None,
    category_column: Annotated[str | None, typer.Option(help="Default: category_id.")] = None,
    category_name_column: Annotated[
        str | None, typer.Option(help="Default: category_name.")
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="A column of photo names or URLs, or of the photos themselves."),
    ] = None,
    keep_columns: Annotated[
        str | None, typer.Option(help="Columns to keep beside the text, such as price,stock.")
    ] = None,
    fetchers: Annotated[
        int | None, typer.Option(min=1, help="With --images web: photos fetched at once.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Fetch photos from private addresses too.")
    ] = False,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV; found out by default.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a CSV or JSONL, such as cp1251; default: utf-8.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float16 or float32, as vectors are kept; default: as the store has it."),
    ] = None,
    compute: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16 or int8, the numbers that models are run in; "
            "default: as the store has it, else the fastest here that keep the vectors."
        ),
    ] = None,
    max_failures: Annotated[
        float, typer.Option(min=0, max=1, help="The share of products that may fail.")
    ] = 0.05,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop products that the catalogue does not mention.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before.")
    ] = False,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read photos again whose files look unchanged.")
    ] = False,
    refit: Annotated[bool, typer.Option(help="Fit lexical and thumbnail anew.")] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Read a catalogue, embed what is new or changed, commit."""
    from vitrina import api
    from vitrina.data.readers import Columns

    columns = Columns(
        product_id=id_column,
        title=title_column,
        description=description_column,
        attributes=_names(attribute_columns),
        keep=_names(keep_columns),
        shop=shop_column,
        category_id=category_column,
        category_name=category_name_column,
        image=image_column,
    )
    made = api.Store.open(store)
    opened = api.open_batch(
        catalogue,
        made,
        images=images,
        image_template=image_template,
        photos=photos,
        columns=columns,
        delimiter=delimiter,
        encoding=encoding,
        fetchers=fetchers,
        allow_private=allow_private or None,
    )
    report = api.embed(
        opened,
        made,
        text=text_model,
        image=image_model,
        dtype=dtype,
        compute=compute,
        max_failures=max_failures,
        prune=prune,
        retry_failed=retry_failed,
        rehash=rehash,
        refit=refit,
        seed=seed,
        quiet=as_json,
    )
    lines = [
        f"catalogue: {report.new} new, {report.changed} changed, {report.relabelled} with another "
        f"category or metadata, {report.unchanged} unchanged; {report.removed} removed, "
        f"{report.kept} kept that it does not mention"
    ]
    lines += [
        f"{space.space}: {space.embedded} embedded in {space.seconds:.0f} s, {space.reused} reused "
        f"from identical content, {space.unchanged} unchanged, {space.missing} have none, "
        f"{space.failed} failed"
        for space in report.spaces
    ]
    lines += [_where_the_time_went(space) for space in report.spaces if space.bottleneck]
    if report.rejected:
        lines.append(f"rejected {report.rejected} rows ({report.rejections}), see errors.parquet")
    lines.append(f"time: {told(report.stages)}")
    lines.append(f"done: {report.products} products in {store}, {report.seconds:.1f} s")
    show(as_json, report.to_json(), *lines)


def _where_the_time_went(space: SpaceReport) -> str:
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in space.stages.items())
    run_in = f" in {space.compute}" if space.compute else ""
    return (
        f"{space.space}{run_in}: of encoding, {shares} of the threads' time; the bottleneck is "
        f"{space.bottleneck}"
    )


def _names(given: str | None) -> tuple[str, ...]:
    return tuple(given.split(",")) if given else ()
