"""The command that runs the main job on a built-in sample: demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitrina.cli.common import AsJson, Seed, show
from vitrina.cli.output import is_quiet
from vitrina.cli.streams import echo
from vitrina.options import Panel

if TYPE_CHECKING:
    from vitrina.pipelines.demo import DemoReport


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            "--output",
            metavar="FOLDER",
            help="Folder to write everything to.",
            rich_help_panel=Panel.FILES,
        ),
    ] = Path("demo"),
    products: Annotated[
        int,
        typer.Option(
            min=50,
            metavar="INTEGER",
            help="Number of products in the sample, at least 50.",
            rich_help_panel=Panel.FILES,
        ),
    ] = 1200,
    catalogue_only: Annotated[
        bool,
        typer.Option(
            "--catalogue-only",
            help="Write the sample catalogue and stop.",
            rich_help_panel=Panel.FILES,
        ),
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run all main steps on a built-in sample catalogue, offline."""
    from vitrina.pipelines import demo as job

    if catalogue_only:
        sample = job.write_catalogue(out, products, seed)
        show(as_json, {"out": str(out), "products": sample.products}, f"wrote {out}")
        return
    quiet = as_json or is_quiet()
    say = (lambda _: None) if quiet else echo
    report = job.demo(out, products=products, seed=seed, say=say, quiet=quiet)
    if as_json:
        show(as_json, report.to_json())
        return
    show(False, None, "", *job.showcase(report), *_demo_summary(report))


def _demo_summary(report: DemoReport) -> list[str]:
    f1 = {head.features.value: head.validation.weighted_f1 for head in report.heads}
    best = "fused beats both" if f1["fused"] > max(f1["text"], f1["image"]) else "fused is not best"
    plain = report.heads[-1].baseline.metrics
    beside = "" if plain is None else f", TF-IDF {plain.weighted_f1:.3f}"
    return [
        "",
        f"broken photos of the catalogue found: {report.broken_found}, listed in "
        f"{report.out}/store/spaces/image-thumbnail/errors.parquet",
        f"store: {report.out}/store    predictions: {report.out}/predictions.parquet",
        f"audit: {report.out}/report.html",
        f"try: vitrina neighbours {report.out}/store --text 'красная кружка', or "
        f"vitrina review {report.out}/store",
        f"done: validation weighted F1 text {f1['text']:.3f}, image {f1['image']:.3f}, "
        f"fused {f1['fused']:.3f}: {best}{beside}",
    ]
