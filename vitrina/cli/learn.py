"""The commands that learn from a store's vectors: index, train."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vitrina.cli.common import (
    AsJson,
    FeaturesOption,
    Seed,
    StoreArgument,
    StoreOption,
    open_store,
    show,
    size_of,
)


def index(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    features: FeaturesOption = None,
    recall: Annotated[
        float | None,
        typer.Option(help="Share of the true ten nearest to find; default: the index's, or 0.99."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="What it may take, such as 200MB or 4GB; default: a quarter of all."),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(help="A FAISS factory string, or auto; default: as it is."),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build anew though an update would do.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure the neighbours' vote, keep the best rule.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Build the FAISS index or bring it up to date, and measure its recall."""
    from vitrina import api

    opened = open_store(store, store_option)
    card = api.build_index(
        opened,
        features,
        recall=recall,
        memory=None if memory is None else size_of(memory),
        factory=factory,
        rebuild=rebuild,
        seed=seed,
        quiet=as_json,
    ).card
    update, found = card["update"], card["recall"]
    lines = [
        f"{card['factory']} {_shown(card['parameters'])}: {card['queries_per_second']} queries/s, "
        f"recall@{found['at']} {found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f}) on "
        f"{found['queries']} queries held out, {card['bytes'] / 1e6:.1f} MB"
    ]
    if found["high"] < card["goal"]["recall"]:
        lines.append(f"this falls short of {card['goal']['recall']}: nothing tried reached it")
    value: dict[str, Any] = card
    if evaluate:
        evaluation = api.evaluate_index(opened, card["features"], seed=seed, quiet=as_json)
        lines += ["", *evaluation.lines(), ""]
        card = api.open_index(opened, card["features"]).card
        value = {"index": card, "evaluation": evaluation.to_json()}
    lines.append(
        f"done: {card['features']} index of {card['rows']} vectors of {card['dim']}, "
        f"{update['kind']} in {update['seconds']:.1f} s ({update['added']} added, "
        f"{update['changed']} changed, {update['removed']} removed)"
    )
    show(as_json, value, *lines)


def _shown(parameters: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "exact"


def train(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    head: Annotated[str, typer.Option(help="logistic or mlp.")] = "mlp",
    features: FeaturesOption = None,
    split: Annotated[
        str, typer.Option(help="How validation rows are chosen: grouped or stratified.")
    ] = "grouped",
    name: Annotated[str | None, typer.Option(help="Default: FEATURES-HEAD.")] = None,
    refit: Annotated[bool, typer.Option(help="Fit the saved head on validation rows too.")] = True,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: as many as the rows call for.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train and calibrate the head, and report how good it is."""
    from vitrina import api

    report = api.train(
        open_store(store, store_option),
        head,
        features=features,
        split=split,
        name=name,
        refit=refit,
        epochs=epochs,
        seed=seed,
        quiet=as_json,
    )
    lines = ["              weighted F1   macro F1   coverage at 95% precision"]
    for label, metrics in (
        ("train", report.train),
        ("validation", report.validation),
        ("vote", report.vote),
    ):
        covered = "" if label == "train" else f"{metrics.coverage_at_95:.3f}"
        lines.append(
            f"{label:<14}{metrics.weighted_f1:.4f}        {metrics.macro_f1:.4f}     {covered}"
        )
    low, high = report.validation.weighted_f1_interval
    lines.append(
        f"split: {report.split}, {report.train.rows} rows to train on, "
        f"{report.validation.rows} to validate; 95% interval of validation {low:.4f} to {high:.4f}"
    )
    if report.duplicated:
        lines.append(
            f"{report.duplicated} categories have one product, which stands on both sides of "
            "the split"
        )
    if report.seen:
        lines.append(
            f"{report.seen} validation products were learnt from by an encoder, which flatters all "
            "of this; use the --split and --seed that it was fine-tuned with"
        )
    lines.append(
        f"calibration: temperature {report.temperature:.2f}, expected error "
        f"{report.calibration_error_before:.3f} before, {report.calibration_error:.3f} after"
    )
    lines.append(f"done: head {report.model}, {report.classes} categories, {report.seconds:.0f} s")
    show(as_json, report.to_json(), *lines)
