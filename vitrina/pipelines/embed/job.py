"""The embedding job: ingest the catalogue, plan, encode, and commit shard by shard."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.embedder.model_ref import ModelKind, ModelRef
from vitrina.errors import EncoderError, wrong_usage
from vitrina.ids import id_keys
from vitrina.malloc import trim
from vitrina.page.summary import Summarised, Summary, counted
from vitrina.page.words import duration
from vitrina.pipelines.common.encoders import choose_model
from vitrina.pipelines.common.progress import timed_job
from vitrina.pipelines.embed.category_changes import CategoryChanges
from vitrina.pipelines.embed.encoder_choice import choose_encoder
from vitrina.pipelines.embed.engine_choice import check_engine
from vitrina.pipelines.embed.ingest import ingest
from vitrina.pipelines.embed.ingest_result import Ingested, IngestOptions, commonest
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.embed.source_choice import source_of
from vitrina.pipelines.embed.space_job import SpaceJob
from vitrina.pipelines.embed.space_report import SpaceReport
from vitrina.stage_timer import stage
from vitrina.store import layout
from vitrina.store.products import Products
from vitrina.store.retype import with_string_ids
from vitrina.store.space import ERRORS_SCHEMA, error_row, read_errors
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Modality


@dataclass(repr=False)
class EmbedReport(Summarised):
    """Result of the job.

    The catalogue's `rows` are `new`, `changed` in text or photo, `relabelled` in category or
    metadata alone, `unchanged`, or `rejected`. The store's other products are `kept`, or `removed`
    by pruning. Of those kept, `spared` are mentioned in a rejected row, and `unpruned` would have
    been removed if every rejected row had a usable id.

    source: the catalogue's source. faulty_labels: products with an unusable category. repairs:
    defects of the file that were repaired. notes: how the file was read. categories: changes of the
    category tree. retyped: whether the store's product ids became strings. stages: seconds of each
    stage; together, the duration of the run.
    """

    store: str
    source: str
    rows: int
    products: int
    new: int
    changed: int
    relabelled: int
    unchanged: int
    kept: int
    spared: int
    removed: int
    unpruned: int
    rejected: int
    rejections: str
    faulty_labels: int
    label_faults: str
    categories: CategoryChanges
    retyped: bool = False
    repairs: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spaces: list[SpaceReport] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def of(cls, store: OpenStore, catalogue: Catalogue, done: Ingested) -> EmbedReport:
        """Create the report of an ingestion, before any embedding."""
        return cls(
            store=store.place,
            source=done.source.name,
            rows=done.rows,
            products=done.fresh + done.kept,
            new=done.new,
            changed=done.changed,
            relabelled=done.relabelled,
            unchanged=done.unchanged,
            kept=done.kept,
            spared=done.spared,
            removed=done.removed,
            unpruned=done.unpruned,
            rejected=len(done.rejected),
            rejections=done.rejections(),
            faulty_labels=len(done.faulty_labels),
            label_faults=commonest(done.faulty_labels),
            categories=done.categories,
            retyped=done.retyped,
            repairs={str(what): count for what, count in catalogue.repairs.items()},
            notes=[*catalogue.notes, *filter(None, [catalogue.label_hint])],
        )

    def summary(self) -> Summary:
        """Counts of products, and a line for each space."""
        counts = {
            "new": self.new,
            "changed": self.changed,
            "relabelled": self.relabelled,
            "unchanged": self.unchanged,
            "kept of earlier catalogues": self.kept,
            "removed": self.removed,
        }
        facts: list[tuple[str, Any]] = [
            ("products", f"{self.products:,}"),
            ("of these", {name: count for name, count in counts.items() if count}),
            ("not pruned", self.unpruned or None),
            ("rejected rows", f"{self.rejected:,}: {self.rejections}" if self.rejected else None),
            (
                "unusable labels",
                f"{self.faulty_labels:,}: {self.label_faults}" if self.faulty_labels else None,
            ),
            ("repairs", self.repairs),
            *((f"space {one.space}", one.line()) for one in self.spaces),
            ("time", duration(self.seconds)),
        ]
        source = f", source {self.source}" if self.source else ""
        notes = [*self.categories.lines(), *self.notes]
        title = f"Embedded {counted(self.rows, 'row')} into {self.store}{source}"
        return Summary(title, facts, notes=notes)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "categories": self.categories.to_json()}


def embed(catalogue: Catalogue, store: OpenStore, options: EmbedOptions) -> EmbedReport:
    """Bring a store up to date with a catalogue.

    Raises StoreLockedError if another process writes to the store, EncoderError if a model is
    unavailable, PhotosNotFoundError if none of the catalogue's photos exists, TooManyFailuresError
    if more than `max_failures` fail; previous commits remain.
    """
    with timed_job("embedding", options.quiet) as run, store.writer("embed") as writer:
        models = _models(catalogue, store, options)
        used = [model for model in models.values() if model.kind is not ModelKind.NONE]
        photos = any(model.modality is Modality.IMAGE for model in used)
        if photos:
            catalogue.check_photos()
        check_engine(options, catalogue, photos=photos)
        # A model that can't be had must be known before hours are spent on reading; but one
        # that may find nothing to do is not loaded for it.
        choices = [choose_encoder(store, model, options) for model in used]
        reading = IngestOptions(
            photos=photos,
            prune=options.prune,
            failures=options.failures,
            accept_changes=options.accept_changes,
            retry_failed=options.retry_failed,
            rehash=options.rehash,
            quiet=options.quiet,
        )
        source = source_of(catalogue, store, options.source)
        with stage("reading the catalogue"):
            done = ingest(catalogue, store, writer, source, reading)
        with stage("committing"):
            _commit_products(catalogue, store, writer, done, models)
        report = EmbedReport.of(store, catalogue, done)
        while choices:
            with stage("planning"):
                # Taken out, so that a finished encoder's memory is free for the next one.
                job = SpaceJob(store, writer, catalogue, done, options, choices.pop(0))
                report.spaces.append(job.run())
            del job
            trim()
        if done.removed and any(space.waiting for space in report.spaces):
            # Their vectors may be what a later run reuses.
            report.products += done.removed
            report.kept, report.removed = done.kept + done.removed, 0
        elif done.removed:
            with stage("committing"):
                _prune(store, writer, done)
        report.stages, report.seconds = run.seconds(), round(run.total, 2)
        return report


def _models(
    catalogue: Catalogue, store: OpenStore, options: EmbedOptions
) -> dict[Modality, ModelRef]:
    asked = {Modality.TEXT: options.text, Modality.IMAGE: options.image}
    if catalogue.images is None:
        if options.image not in (None, ModelKind.NONE):
            raise EncoderError(
                f"--image-model {options.image} has nothing to look at; say where the photos "
                "are with --images"
            )
        asked[Modality.IMAGE] = ModelKind.NONE.value
    models = {modality: choose_model(store, modality, name) for modality, name in asked.items()}
    if all(model.kind is ModelKind.NONE for model in models.values()):
        raise wrong_usage(EncoderError("both models are none: there is nothing to embed"))
    return models


def _prune(store: OpenStore, writer: Writer, done: Ingested) -> None:
    """Drop the products that the catalogue no longer mentions, after everything else succeeded."""
    manifest = replace(store.manifest, products=done.products[: done.lasting], step=False)
    there = Products(store.files, manifest).table
    for name, space in manifest.spaces.items():
        errors = read_errors(store.files, space.errors)
        kept = there.positions(id_keys(errors.column("product_id").to_pylist())) >= 0
        if not kept.all():
            written = writer.write_errors(layout.space(name), errors.filter(pa.array(kept)))
            manifest = manifest.with_space(name, replace(space, errors=written))
    writer.commit(manifest)


def _commit_products(
    catalogue: Catalogue,
    store: OpenStore,
    writer: Writer,
    done: Ingested,
    models: dict[Modality, ModelRef],
) -> None:
    rows = [
        error_row(item.product_id, stage=stage, error=item.reason, row=item.row)
        for stage, items in (("read", done.rejected), ("category", done.faulty_labels))
        for item in items
    ]
    errors = pa.Table.from_pylist(rows, schema=ERRORS_SCHEMA)
    settings = catalogue.reading.to_json()
    source = replace(done.source, reading=settings)
    reading = {
        "catalogue": settings,
        "models": {modality.value: str(model) for modality, model in models.items()},
        **store.sources.with_source(source).to_json(),
    }
    manifest = replace(
        store.manifest,
        products=done.products,
        rejected=writer.write_errors("", errors),
        reading=reading,
        step=done.removed > 0,
    )
    if done.retyped:
        manifest = with_string_ids(store, writer, manifest)
    writer.commit(manifest)
