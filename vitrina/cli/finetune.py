"""The commands that train encoders and compare methods: pretrain, finetune, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrina.cli.common import (
    AsJson,
    Seed,
    StoreArgument,
    StoreOption,
    open_store,
    show,
)
from vitrina.cli.reading import reads_products, refuse_unused
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.stage_timer import stages_line

FromScratch = Annotated[
    bool, typer.Option("--from-scratch", help="Begin with random weights of the model's shape.")
]
LowerCase = Annotated[
    bool | None,
    typer.Option("--lower-case/--keep-case", help="Default: as the tokenizer does."),
]
MaxLength = Annotated[int, typer.Option(min=0, help="Tokens of a text; 0: the model's own limit.")]
HowPooled = Annotated[
    str | None,
    typer.Option(
        "--pooling",
        help="cls, mean, cls+mean, max or mean_sqrt_len_tokens; default: the model's own.",
    ),
]
Unlabelled = Annotated[
    list[Path] | None,
    typer.Option(
        help="A file of further products; may be given again. The tuned text encoder guesses their "
        "categories and learns again, from these too."
    ),
]
WarmUp = Annotated[float, typer.Option(help="Share of steps in which the rate rises.")]
WeightDecay = Annotated[float, typer.Option(help="AdamW's.")]
TextModel = Annotated[
    str | None,
    typer.Option(help="hf:REPO, a directory, an encoder trained here; default: the store's."),
]


@reads_products
def pretrain(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    model: TextModel = None,
    out: Annotated[str, typer.Option(help="The encoder's name.")] = "text-pretrained",
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A file of further products; may be given again. Its text is read too."),
    ] = None,
    from_scratch: FromScratch = False,
    lower_case: LowerCase = None,
    max_length: MaxLength = 128,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: 3.")] = None,
    batch_rows: Annotated[
        int | None, typer.Option(min=1, help="Texts of a step; default: 256.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate at its height; default: 0.15 / width.")
    ] = None,
    warm_up: WarmUp = 0.06,
    weight_decay: WeightDecay = 0.01,
    split: Annotated[
        str,
        typer.Option(help="Whose validation products are left out: grouped, stratified, or none."),
    ] = "grouped",
    seed: Seed = 0,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    as_json: AsJson = False,
) -> None:
    """Teach a text encoder the catalogue's language, labelled or not; finetune goes on from it."""
    from vitrina import api

    if not also:
        refuse_unused(reading, "--also")
    report = api.pretrain(
        open_store(store, store_option),
        model=model,
        name=out,
        also=also or (),
        reading=reading,
        from_scratch=from_scratch,
        lower_case=lower_case,
        max_length=max_length or None,
        epochs=epochs,
        batch_rows=batch_rows,
        rate=rate,
        warm_up=warm_up,
        weight_decay=weight_decay,
        split=None if split == "none" else split,
        seed=seed,
        quiet=as_json,
    )
    after = ", ".join(f"{value:.4f}" for value in report.likelihood)
    show(
        as_json,
        report.to_json(),
        f"log-likelihood of hidden words in {report.held} texts held out: {report.before:.4f} "
        f"before, {after} after each epoch",
        f"time: {stages_line(report.stages)}",
        f"done: encoder {report.name} from {report.base}, {report.texts} texts of "
        f"{report.tokens} tokens, {report.seconds:.0f} s, {report.per_second:.0f} texts/s; go on "
        f"with `vitrina finetune --model {report.name}`",
    )


@reads_products
def finetune(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    modality: Annotated[str, typer.Option(help="text or image.")] = "text",
    model: Annotated[
        str | None,
        typer.Option(help="As embed takes it, or an encoder trained here; default: the store's."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="Its name; default: MODALITY-tuned.")] = None,
    from_scratch: FromScratch = False,
    lower_case: LowerCase = None,
    max_length: MaxLength = 128,
    pooling: HowPooled = None,
    unlabelled: Unlabelled = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="The products' file, if the store can't find the photos.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=16, help="Pixels of an image model's input; default: its own.")
    ] = None,
    augment: Annotated[bool, typer.Option(help="Show photos otherwise in every pass.")] = True,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; default: 6.")] = None,
    batch_rows: Annotated[
        int | None, typer.Option(min=1, help="Products of a step; default: 128 texts, 64 photos.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Learning rate at its height; default: what suits it."),
    ] = None,
    warm_up: WarmUp = 0.06,
    weight_decay: WeightDecay = 0.01,
    layer_decay: Annotated[
        float, typer.Option(help="A layer learns at the rate of the one above times this.")
    ] = 0.9,
    smoothing: Annotated[float, typer.Option(help="Of labels.")] = 0.1,
    balance: Annotated[
        str, typer.Option(help="How rare categories are heard: none, weights or prior.")
    ] = "none",
    word_dropout: Annotated[float, typer.Option(help="Share of tokens hidden in training.")] = 0.0,
    average: Annotated[
        float, typer.Option(help="Decay of the average of weights that is kept; 0: the last ones.")
    ] = 0.999,
    patience: Annotated[
        int, typer.Option(min=0, help="Epochs without a better score before it ends; 0: go on.")
    ] = 2,
    split: Annotated[
        str, typer.Option(help="Whose validation products never enter: grouped or stratified.")
    ] = "grouped",
    seed: Seed = 0,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    as_json: AsJson = False,
) -> None:
    """Train an encoder on the store's categories; `embed` takes it by its name."""
    from vitrina import api

    if not (catalogue or unlabelled):
        refuse_unused(reading, "--catalogue and --unlabelled")
    report = api.finetune(
        open_store(store, store_option),
        modality,
        model=model,
        name=out,
        from_scratch=from_scratch,
        lower_case=lower_case,
        max_length=max_length or None,
        pooling=pooling,
        unlabelled=unlabelled or (),
        catalogue=catalogue,
        reading=reading,
        image_size=image_size,
        augment=augment,
        epochs=epochs,
        batch_rows=batch_rows,
        rate=rate,
        warm_up=warm_up,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
        smoothing=smoothing,
        balance=balance,
        word_dropout=word_dropout,
        average=average,
        patience=patience,
        split=split,
        seed=seed,
        quiet=as_json,
    )
    low, high = report.validation.weighted_f1_interval
    also = f" and {report.guessed} without a category" if report.guessed else ""
    show(
        as_json,
        report.to_json(),
        "              weighted F1   macro F1   coverage at 95% precision",
        f"train         {report.train.weighted_f1:.4f}        {report.train.macro_f1:.4f}",
        f"validation    {report.validation.weighted_f1:.4f}        "
        f"{report.validation.macro_f1:.4f}     {report.validation.coverage_at_95:.3f}",
        f"split: {report.split}, {report.rows} rows to train on{also}, {report.held} to stop by, "
        f"{report.validation.rows} to validate; 95% interval of validation {low:.4f} to {high:.4f}",
        f"not judged, for want of products to spare: {report.unjudged}",
        f"time: {stages_line(report.stages)}",
        f"done: encoder {report.name} from {report.base}, {report.classes} categories, "
        f"{report.seconds:.0f} s, {report.per_second:.0f} products/s; embed with "
        f"--{report.modality}-model {report.name}",
    )


@reads_products
def benchmark(
    catalogue: Annotated[
        Path | None, typer.Argument(help="The products; none if --store has them already.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for table, report and predictions.")] = Path(
        "benchmark"
    ),
    store_option: StoreOption = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A file of further products, without categories, to predict."),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="Methods to run, with commas between; default: all.")
    ] = None,
    text_model: TextModel = None,
    image_model: Annotated[
        str | None, typer.Option(help="As embed takes it, or an encoder trained here.")
    ] = None,
    from_scratch: FromScratch = False,
    lower_case: LowerCase = None,
    max_length: MaxLength = 128,
    pooling: HowPooled = None,
    unlabelled: Unlabelled = None,
    image_size: Annotated[
        int | None, typer.Option(min=16, help="Pixels that photos are fine-tuned at.")
    ] = None,
    text_epochs: Annotated[int | None, typer.Option(min=1, help="Of fine-tuning.")] = None,
    image_epochs: Annotated[int | None, typer.Option(min=1, help="Of fine-tuning.")] = None,
    split: Annotated[str, typer.Option(help="grouped or stratified.")] = "grouped",
    again: Annotated[bool, typer.Option("--again", help="Run what was run before.")] = False,
    seed: Seed = 0,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    as_json: AsJson = False,
) -> None:
    """Run a table of methods on one split, from TF-IDF to fused encoders."""
    from vitrina import api

    if (catalogue is None) == (store_option is None):
        raise typer.BadParameter("give either the products' file or a --store that has them")
    if catalogue is None and not unlabelled:
        refuse_unused(reading, "the products' file and --unlabelled")
    found = api.benchmark(
        out,
        [catalogue, *(also or ())] if catalogue else (),
        store=api.Store.open(store_option, create=False) if store_option else None,
        reading=reading,
        rows=tuple(name.strip() for name in (rows or "").split(",") if name.strip()),
        text=text_model,
        image=image_model,
        from_scratch=from_scratch,
        lower_case=lower_case,
        max_length=max_length or None,
        pooling=pooling,
        unlabelled=unlabelled or (),
        image_size=image_size,
        text_epochs=text_epochs,
        image_epochs=image_epochs,
        split=split,
        seed=seed,
        again=again,
        quiet=as_json,
    )
    wrote = "table.md, table.json, report.html"
    show(
        as_json,
        found.to_json(),
        *found.lines(),
        f"done: {len(found.table.rows)} methods; {wrote}"
        f"{' and submission.csv' if found.submission else ''} in {out}",
    )
