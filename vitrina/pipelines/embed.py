"""The embedding job: read the catalogue, plan what is new, encode it, commit shard by shard."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.embedder.load import NONE
from vitrina.errors import EncoderError
from vitrina.memory import give_back
from vitrina.pipelines.encoders import Encoder, known_space, load_if_named
from vitrina.pipelines.ingest import Ingested, IngestOptions, ingest
from vitrina.pipelines.options import EmbedOptions
from vitrina.pipelines.space import SpaceJob, SpaceReport, check_asked
from vitrina.stages import stage, timed_run
from vitrina.store.space import ERRORS_SCHEMA, error_row
from vitrina.store.store import Store
from vitrina.store.writer import Writer
from vitrina.types import Modality

DEFAULT_MODELS = {
    Modality.TEXT: "hf:cointegrated/rubert-tiny2",
    Modality.IMAGE: "open_clip:ViT-B-32-quickgelu/openai",
}


@dataclass
class EmbedReport:
    """What the job did. Of the catalogue's rows: `new` products, `changed` in text or photo,
    `relabelled` in category or metadata alone, `unchanged`, and `rejected` rows. Of the store's
    other products: `kept`, or `removed` by pruning. stages: the run's seconds, each
    of which belongs to one of them."""

    store: str
    products: int
    new: int
    changed: int
    relabelled: int
    unchanged: int
    kept: int
    removed: int
    rejected: int
    rejections: str
    spaces: list[SpaceReport] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def embed(catalogue: Catalogue, store: Store, options: EmbedOptions) -> EmbedReport:
    """Bring a store up to date with a catalogue.

    Raises StoreLockedError if another process writes to the store, EncoderError if a model
    can't be had, TooManyFailuresError past `max_failures`; all commits up to then stand.
    """
    with timed_run() as run, store.writer("embed") as writer:
        models = _models(catalogue, store, options)
        used = {modality: name for modality, name in models.items() if name != NONE}
        # A model that can't be had must be known before hours are spent on reading; but one
        # that may find nothing to do is not loaded for it.
        loaded, before = {}, {}
        for modality, name in used.items():
            known = None if options.refit else known_space(store, modality, name)
            if known is None:
                loaded[modality] = load_if_named(name, modality, options.compute, store=store)
            else:
                check_asked(known, options)
                before[modality] = known.compute
        with_photos = Modality.IMAGE in used
        reading = IngestOptions(
            photos=with_photos,
            prune=options.prune,
            retry_failed=options.retry_failed,
            rehash=options.rehash,
            quiet=options.quiet,
        )
        with stage("reading the catalogue"):
            done = ingest(catalogue, store, writer, reading)
        with stage("committing"):
            _commit_products(catalogue, store, writer, done, models)
        report = EmbedReport(
            store.place,
            len(store.products),
            done.new,
            done.changed,
            done.relabelled,
            done.unchanged,
            done.kept,
            done.removed,
            len(done.rejected),
            done.rejections(),
        )
        for modality, name in used.items():

            def load(modality: Modality = modality, name: str = name) -> Encoder | None:
                # Taken out, so that a finished encoder's memory is free for the next one.
                there = loaded.pop(modality, None)
                if there is None:
                    kept = before.get(modality)
                    there = load_if_named(name, modality, options.compute, before=kept, store=store)
                return there

            with stage("planning"):
                job = SpaceJob(
                    store,
                    writer,
                    catalogue,
                    done,
                    options,
                    modality=modality,
                    model=name,
                    load=load,
                )
                report.spaces.append(job.run())
            del job
            give_back()
        report.stages, report.seconds = run.seconds(), round(run.total, 2)
        return report


def _models(catalogue: Catalogue, store: Store, options: EmbedOptions) -> dict[Modality, str]:
    remembered = store.manifest.reading.get("models", {})
    asked = {Modality.TEXT: options.text, Modality.IMAGE: options.image}
    models = {
        modality: name or remembered.get(modality) or DEFAULT_MODELS[modality]
        for modality, name in asked.items()
    }
    if catalogue.images is None:
        if options.image not in (None, NONE):
            raise EncoderError(
                f"--image-model {options.image} has nothing to look at; say where the photos "
                "are with --images"
            )
        models[Modality.IMAGE] = NONE
    if set(models.values()) == {NONE}:
        raise EncoderError("both models are none: there is nothing to embed")
    return models


def _commit_products(
    catalogue: Catalogue,
    store: Store,
    writer: Writer,
    done: Ingested,
    models: dict[Modality, str],
) -> None:
    rows = [
        error_row(item.product_id, stage="read", error=item.reason, row=item.row)
        for item in done.rejected
    ]
    errors = pa.Table.from_pylist(rows, schema=ERRORS_SCHEMA)
    reading = {
        "catalogue": catalogue.reading.to_json(),
        "models": {modality.value: name for modality, name in models.items()},
    }
    writer.commit(
        replace(
            store.manifest,
            products=done.products,
            rejected=writer.write_errors("", errors),
            reading=reading,
        )
    )
