"""The commands that maintain stores and the cache: info, verify, compact, cache."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vitrina.cache import PURPOSES, CacheKind, cache_root, cache_usage, clear_cache
from vitrina.cli.common import AsJson, StoreArgument, StoreOption, open_store, place_of, show
from vitrina.cli.output import is_quiet
from vitrina.errors import OptionError
from vitrina.options import choice


def info(
    store: StoreArgument = None, store_option: StoreOption = None, as_json: AsJson = False
) -> None:
    """Summarise a store's content."""
    from vitrina import api

    found = api.describe(open_store(store, store_option))
    lines = [
        f"products    {found['products']}, {found.get('with_category', 0)} with a category of "
        f"{found['categories']}, {found['rejected']} rows rejected"
    ]
    if len(found["sources"]) > 1 or any(one["name"] for one in found["sources"]):
        lines.extend(
            f"source      {one['name'] or '(unnamed)'}: {one['products']} products"
            f"{', ids begin with ' + repr(one['prefix']) if one['prefix'] else ''}"
            for one in found["sources"]
        )
    lines.extend(
        f"space       {space['name']}: {space['rows']} rows of {space['dim']} {space['dtype']} in "
        f"{space['shards']} shards, {space['errors']} errors, {space['model']}"
        f"{' run in ' + space['compute'] if space['compute'] else ''}, "
        f"fingerprint {space['fingerprint'][:12]}{'' if space['active'] else ' (not in use)'}"
        for space in found["spaces"]
    )
    lines.extend(
        f"index       {card['features']}: {card['factory']}, {card['rows']} vectors, "
        f"recall@{card['recall']['at']} {card['recall']['value']:.3f}"
        for card in found["indexes"]
    )
    lines.extend(
        f"head        {model['name']}: {model['categories']} categories, weighted F1 "
        f"{model['weighted_f1']:.4f} ({model['split']} split)"
        f"{', in use' if model['active'] else ''}"
        f"{_outdated(model)}"
        for model in found["models"]
    )
    said = found["decisions"]
    if any(said.values()):
        lines.append(
            f"decisions   {said['kept']} labels kept, {said['moved']} corrected, "
            f"{said['skipped']} skipped; {said['open']} suspects are open"
        )
    done = f"done: {found['store']} at commit {found['commit']}"
    show(as_json, found, done, result=lines)


def _outdated(model: dict[str, Any]) -> str:
    """Note on a head's staleness relative to the store's categories; "" for none."""
    told = ""
    if reused := model["reused_categories"]:
        ids = ", ".join(f"{key} (was {name!r})" for key, name in [*reused.items()][:3])
        told += f"; {len(reused)} of its category ids mean other categories now: {ids}"
    if model["unknown_products"]:
        told += (
            f"; {model['unknown_products']} products are of {model['unknown_categories']} "
            "categories that it was not trained on"
        )
    return f"{told}: run `vitrina train`" if told else ""


def verify(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Leave out damaged files, so that work can continue.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a store against its checksums."""
    from vitrina import api

    report = api.verify(place_of(store, store_option), repair=repair, quiet=as_json or is_quiet())
    lines = [str(problem) for problem in report.problems]
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"left out: {file}" for file in report.repaired]
    found = f"{len(report.problems)} problems" if report.problems else "nothing wrong"
    after = ", repaired: run `vitrina embed` with the catalogue" if report.repaired else ""
    done = (
        f"done: {found}{after}; {report.files} files, {report.bytes / 1e6:.1f} MB, "
        f"{report.products} products, {report.vectors} vectors at commit {report.commit}"
    )
    show(as_json, report.to_json(), done, result=lines)
    if {problem.file for problem in report.problems}.difference(report.repaired):
        raise typer.Exit(1)


def compact(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    keep: Annotated[
        int,
        typer.Option(min=1, max=3, metavar="INTEGER", help="Commits that stay readable, 1 to 3."),
    ] = 3,
    rows: Annotated[
        int, typer.Option(min=1, metavar="INTEGER", help="Maximum rows of a merged shard.")
    ] = 32_768,
    as_json: AsJson = False,
) -> None:
    """Merge small shards and drop dead rows."""
    from vitrina import api

    report = api.compact(
        open_store(store, store_option), keep=keep, rows=rows, quiet=as_json or is_quiet()
    )
    lines = [
        f"{space.space}: {space.shards_before} shards are {space.shards} now, {space.rows} rows, "
        f"{space.dropped} dropped"
        for space in report.spaces
    ]
    if report.decision_files > 1:
        lines.append(f"decisions: {report.decision_files} files are one now")
    lines.append(f"done: {report.freed / 1e6:.1f} MB freed in {report.store}")
    show(as_json, report.to_json(), *lines)


def cache(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KINDS",
            help=f"Kinds of files ({', '.join(CacheKind)}); default: all.",
            autocompletion=lambda incomplete: [
                one.value for one in CacheKind if one.startswith(incomplete)
            ],
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete these files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show or clear what Vitrina keeps outside of stores."""
    root = cache_root()
    try:
        named = [choice(CacheKind, one, "KINDS") for one in kinds or ()]
    except OptionError as err:
        raise typer.BadParameter(f"KINDS {err.problem}") from err
    chosen = [one for one in named if one] or [*CacheKind]
    found = clear_cache(chosen) if clear else cache_usage(chosen)
    lines = [
        f"{use.kind.value:<12} {use.bytes / 1e6:9.1f} MB {use.files:7} files  {PURPOSES[use.kind]}"
        for use in found
    ]
    size = sum(use.bytes for use in found) / 1e6
    value = {"path": str(root), "cleared": clear, "kinds": [use.to_json() for use in found]}
    done = f"{size:.1f} MB deleted from {root}" if clear else f"{size:.1f} MB in {root}"
    show(as_json, value, *lines, f"done: {done}")
