"""A catalogue brought into a store, as commands do it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from fuzz.target import expect


def ingest_catalogue(
    path: Path,
    place: Path,
    images: Path | None,
    failures: float | None,
    keep: Any = (),
    given: dict[str, str] | None = None,
) -> None:
    """Read a catalogue into a store, as `vitrina embed` does, and read the store again."""
    from vitrina import api
    from vitrina.data.options import Columns, ReadingOptions
    from vitrina.pipelines.embed.change_guard import FailureLimit
    from vitrina.pipelines.embed.ingest import ingest
    from vitrina.pipelines.embed.ingest_result import IngestOptions
    from vitrina.pipelines.embed.job import EmbedReport, _commit_products
    from vitrina.pipelines.embed.source_choice import source_of
    from vitrina.types import Modality

    columns = Columns(keep=tuple(keep), image="image" if images else None)
    reading = ReadingOptions(
        images=None if images is None else str(images), columns=columns, **(given or {})
    )
    store = api.Store.open(place, create=True)
    with closing(api.open_batch(path, store, reading, complete=True)) as catalogue:
        catalogue.check_complete()
        with store.writer("embed") as writer:
            options = IngestOptions(photos=True, failures=FailureLimit.of(failures))
            source = source_of(catalogue, store, None)
            done = ingest(catalogue, store, writer, source, options)
            models = {Modality.TEXT: "lexical", Modality.IMAGE: "thumbnail"}
            _commit_products(catalogue, store, writer, done, models)
            json.dumps(EmbedReport.of(store, catalogue, done).to_json(), default=str).encode()
    again = api.Store.open(place, create=False)
    found = api.describe(again)
    json.dumps(found, default=str)
    expect(found["products"] == done.fresh, f"products: {found['products']} of {done.fresh}")
    problems = api.verify(place).problems
    expect(not problems, f"a store that does not verify: {problems[:1]}")


def import_annotations(place: Path, path: Path) -> None:
    from vitrina import api

    store = api.Store.open(place, create=False)
    added = api.import_decisions(store, path)
    again = api.Store.open(place, create=False)
    expect(len(again.decisions().all) == added, f"decisions: {added}")
    again.labels()
    json.dumps(api.describe(again), default=str)
    problems = api.verify(place).problems
    expect(not problems, f"a store that does not verify: {problems[:1]}")


def add_audit(place: Path) -> None:
    """Suspects without an audit: what annotations are about."""
    from vitrina.audit.results import Audit, Suspect
    from vitrina.store.store import OpenStore

    store = OpenStore.open(place, create=True)
    suspects = tuple(
        Suspect(number + 1, number, "x", 1 + number % 3, 2, 0.9, 0.1, 0.9) for number in range(3)
    )
    with store.writer("audit") as writer:
        Audit({"key": "x", "products": 6, "labelled": 6}, {1: "a"}, suspects).keep(store, writer)
