"""The commands that train on a store's vectors: index, train."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vitrina.cli.common import AsJson, StoreArgument, StoreOption, open_store, show
from vitrina.cli.options import with_options
from vitrina.options import Panel
from vitrina.pipelines.index.options import IndexOptions
from vitrina.pipelines.train.options import TrainOptions


@with_options
def index(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    evaluate: Annotated[
        bool,
        typer.Option(
            "--evaluate",
            help="Evaluate the neighbours' vote and save the best vote rule.",
            rich_help_panel=Panel.EVALUATION,
        ),
    ] = False,
    *,
    options: IndexOptions,
    as_json: AsJson = False,
) -> None:
    """Build or update the FAISS index, and measure its recall."""
    from vitrina import api

    opened = open_store(store, store_option)
    card = api.build_index(opened, options).card
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
        evaluation = api.evaluate_index(
            opened, card["features"], seed=options.seed, quiet=options.quiet
        )
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


@with_options
def train(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    *,
    options: TrainOptions,
    as_json: AsJson = False,
) -> None:
    """Train, calibrate and evaluate the head, a classifier over the vectors."""
    from vitrina import api

    report = api.train(open_store(store, store_option), options)
    show(as_json, report.to_json(), *report.lines())
