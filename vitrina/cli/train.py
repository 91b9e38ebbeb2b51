"""The commands that train on a store's vectors: index, train."""

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
    fusion: Annotated[
        str,
        typer.Option(
            help="early (one head over all), late (a head for each modality), knn (early and the "
            "neighbours' vote) or stack (all of these)."
        ),
    ] = "early",
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Judge every fusion; take the best, or simplest as good."),
    ] = False,
    precision: Annotated[
        float, typer.Option(help="What accepted predictions promise: the share that is right.")
    ] = 0.95,
    balance: Annotated[
        str, typer.Option(help="How rare categories are heard: none, weights or prior.")
    ] = "none",
    split: Annotated[
        str, typer.Option(help="How validation rows are chosen: grouped or stratified.")
    ] = "grouped",
    name: Annotated[str | None, typer.Option(help="Default: FEATURES-HEAD.")] = None,
    refit: Annotated[bool, typer.Option(help="Fit the saved head on validation rows too.")] = True,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: as many as the rows call for.")
    ] = None,
    patience: Annotated[
        int,
        typer.Option(min=0, help="Stop after so many epochs that are no better; 0: never."),
    ] = 0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train and calibrate the head, and report how good it is."""
    from vitrina import api

    report = api.train(
        open_store(store, store_option),
        head,
        features=features,
        fusion=fusion,
        compare=compare,
        precision=precision,
        balance=balance,
        split=split,
        name=name,
        refit=refit,
        epochs=epochs,
        patience=patience,
        seed=seed,
        quiet=as_json,
    )
    show(as_json, report.to_json(), *report.lines())
