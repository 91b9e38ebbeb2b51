"""The commands that train encoders and compare methods: pretrain, finetune, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import AsJson, NeededStore, StoreArgument, StoreOption, open_store, show
from vitrina.cli.options import refuse_unused, with_options
from vitrina.options import Panel
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.pipelines.finetune.options import FinetuneOptions, PretrainOptions
from vitrina.stage_timer import stages_line


@with_options
def pretrain(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    *,
    options: PretrainOptions,
    as_json: AsJson = False,
) -> None:
    """Pretrain a text encoder on the catalogue's texts by masked language modelling."""
    from vitrina import api

    if not options.also:
        refuse_unused(options.reading, "--also")
    report = api.pretrain(open_store(store, store_option), options)
    after = ", ".join(f"{value:.4f}" for value in report.likelihood)
    show(
        as_json,
        report.to_json(),
        f"log-likelihood of masked words in {report.held_out} held-out texts: {report.before:.4f} "
        f"before, {after} after each epoch",
        f"time: {stages_line(report.stages)}",
        f"done: encoder {report.name} from {report.base}, {report.texts} texts of "
        f"{report.tokens} tokens, {report.seconds:.0f} s, {report.per_second:.0f} texts/s; "
        f"continue with `vitrina finetune --model {report.name}`",
    )


@with_options
def finetune(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    *,
    options: FinetuneOptions,
    as_json: AsJson = False,
) -> None:
    """Fine-tune an encoder on the store's categories; `embed` accepts it by its name."""
    from vitrina import api

    if not (options.catalogue or options.unlabelled):
        refuse_unused(options.reading, "--catalogue and --unlabelled")
    report = api.finetune(open_store(store, store_option), options)
    low, high = report.validation.weighted_f1_interval
    also = f" and {report.pseudo_labelled} pseudo-labelled ones" if report.pseudo_labelled else ""
    show(
        as_json,
        report.to_json(),
        "              weighted F1   macro F1   coverage at 95% precision",
        f"train         {report.train.weighted_f1:.4f}        {report.train.macro_f1:.4f}",
        f"validation    {report.validation.weighted_f1:.4f}        "
        f"{report.validation.macro_f1:.4f}     {report.validation.coverage_at_95:.3f}",
        f"split: {report.split}, {report.rows} training rows{also}, {report.held_out} for early "
        f"stopping, {report.validation.rows} for validation; 95% interval of validation {low:.4f} "
        f"to {high:.4f}",
        f"not evaluated, since too few products: {report.unevaluated}",
        f"time: {stages_line(report.stages)}",
        f"done: encoder {report.name} from {report.base}, {report.classes} categories, "
        f"{report.seconds:.0f} s, {report.per_second:.0f} products/s; embed with "
        f"--{report.modality}-model {report.name}",
    )


@with_options
def benchmark(
    catalogue: Annotated[
        str | None,
        typer.Argument(
            metavar="CATALOGUE",
            help="File of the products, or the URL of a database with --query; none if --store "
            "has them already.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            "--output",
            metavar="FOLDER",
            help="Folder to write table, report and predictions to.",
            rich_help_panel=Panel.FILES,
        ),
    ] = Path("benchmark"),
    store_option: NeededStore = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=Panel.FILES,
            help="File of further products, without categories, to predict. Can be given several "
            "times.",
        ),
    ] = None,
    *,
    options: BenchmarkOptions,
    as_json: AsJson = False,
) -> None:
    """Run a table of methods on one split, from TF-IDF to fused encoders."""
    from vitrina import api

    if (catalogue is None) == (store_option is None):
        raise typer.BadParameter("give either the products' file or a --store that has them")
    if catalogue is None and not options.unlabelled:
        refuse_unused(options.reading, "the products' file and --unlabelled")
    found = api.benchmark(
        out,
        [catalogue, *(also or ())] if catalogue else (),
        api.Store.open(store_option, create=False) if store_option else None,
        options,
    )
    wrote = "table.md, table.json, report.html"
    show(
        as_json,
        found.to_json(),
        *found.lines(),
        f"done: {len(found.table.rows)} methods; {wrote}"
        f"{' and submission.csv' if found.submission else ''} in {out}",
    )
