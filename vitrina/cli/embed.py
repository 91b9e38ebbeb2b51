"""The command that brings a store up to date with a catalogue: embed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrina.cli.common import AsJson, Seed, show
from vitrina.cli.reading import reads_products
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions

if TYPE_CHECKING:
    from vitrina.pipelines.space import SpaceReport


@reads_products
def embed(
    catalogue: Annotated[
        Path,
        typer.Argument(
            help="Marketplace Parquet; a Parquet, CSV or JSONL table; a YML feed; WebDataset tars."
        ),
    ],
    store: Annotated[str, typer.Option(help="The store; made if it is not there.")],
    text_model: Annotated[
        str | None, typer.Option(help="hf:REPO, a directory, lexical, or none.")
    ] = None,
    image_model: Annotated[
        str | None,
        typer.Option(help="open_clip:ARCH/TAG, timm:NAME, a directory, thumbnail, or none."),
    ] = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
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

    made = api.Store.open(store)
    opened = api.open_batch(catalogue, made, reading, complete=True)
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
        *opened.notes,
        f"catalogue: {report.new} new, {report.changed} changed, {report.relabelled} with another "
        f"category or metadata, {report.unchanged} unchanged; {report.removed} removed, "
        f"{report.kept} kept that it does not mention",
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
    lines.append(f"done: {report.products} products in {store}, {report.seconds:.1f} s")
    show(as_json, report.to_json(), *lines)


def _where_the_time_went(space: SpaceReport) -> str:
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in space.stages.items())
    run_in = f" in {space.compute}" if space.compute else ""
    return f"{space.space}{run_in}: {shares} of the time; the bottleneck is {space.bottleneck}"
