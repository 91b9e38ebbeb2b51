"""The embedding job: read the catalogue, plan what is new, encode it, commit shard by shard."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.embedder.load import NONE
from vitrina.errors import EncoderError
from vitrina.pipelines.encoders import load_if_named
from vitrina.pipelines.ingest import Ingested, ingest
from vitrina.pipelines.memory import give_back
from vitrina.pipelines.space import EmbedOptions, SpaceJob, SpaceReport
from vitrina.store.space import ERRORS_SCHEMA, error_row
from vitrina.store.store import Store, Writer
from vitrina.types import Modality

DEFAULT_MODELS = {
    Modality.TEXT: "hf:cointegrated/rubert-tiny2",
    Modality.IMAGE: "open_clip:ViT-B-32-quickgelu/openai",
}


@dataclass
class EmbedReport:
    """What the job did."""

    store: str
    products: int
    fresh: int
    rejected: int
    rejections: str
    spaces: list[SpaceReport] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def embed(catalogue: Catalogue, store: Store, options: EmbedOptions) -> EmbedReport:
    """Bring a store up to date with a catalogue.

    Raises StoreLockedError if another process writes to the store, EncoderError if a model
    can't be had, TooManyFailuresError past `max_failures`; all commits up to then stand.
    """
    with store.writer("embed") as writer:
        models = _models(catalogue, store, options)
        # A model that can't be had must be known before hours are spent on reading.
        loaded = {
            modality: load_if_named(name, modality)
            for modality, name in models.items()
            if name != NONE
        }
        with_photos = Modality.IMAGE in loaded
        done = ingest(catalogue, store, photos=with_photos, quiet=options.quiet)
        _commit_products(catalogue, store, writer, done, models)
        report = EmbedReport(
            str(store.path), len(store.products), done.fresh, len(done.rejected), done.rejections()
        )
        for modality in list(loaded):
            # Taken out, so that a finished encoder's memory is free for the next one.
            encoder = loaded.pop(modality)
            job = SpaceJob(
                store,
                writer,
                catalogue,
                done,
                options,
                modality=modality,
                model=models[modality],
                loaded=encoder,
            )
            report.spaces.append(job.run())
            del job, encoder
            give_back()
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
            rejected=writer.write_errors(store.layout.root, errors),
            reading=reading,
        )
    )
