"""The work of one machine: compute every n-th published order once, and end.

Results go to the staging folder; nothing is committed, so any number of workers can run while one
`vitrina embed --engine staged` adopts what they compute.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from vitrina._version import __version__
from vitrina.data.sources import open_images
from vitrina.embedder.model_ref import ModelRef
from vitrina.embedder.photos import Read
from vitrina.engines.base import compute_order, to_result
from vitrina.errors import EncoderError, ImageSourceError, StoreError
from vitrina.page.summary import Summarised, Summary
from vitrina.page.words import duration
from vitrina.pipelines.common.encoders import Encoder, load_encoder, model_of, settings_of
from vitrina.pipelines.common.machine_pin import check_machine
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.common.reading import remembered_reading
from vitrina.pipelines.work.options import WorkOptions
from vitrina.stage_timer import stage
from vitrina.store.orders import Order, OrderTerms
from vitrina.store.space import Space
from vitrina.store.staging import Staging
from vitrina.store.store import OpenStore
from vitrina.types import Modality

log = logging.getLogger(__name__)


@dataclass(repr=False)
class WorkReport(Summarised):
    """Result of a worker's run. orders: published ones of its part. computed: by this run. there:
    computed before. ignored: damaged, foreign or gone. contents: encoded texts or photos. failed:
    contents that can't be encoded. stages: seconds of each stage."""

    store: str
    part: str
    orders: int = 0
    computed: int = 0
    there: int = 0
    ignored: int = 0
    contents: int = 0
    failed: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def summary(self) -> Summary:
        """Counts of orders and contents."""
        counts = {name: getattr(self, name) for name in ("computed", "there", "ignored")}
        facts: list[tuple[str, Any]] = [
            ("orders", {name: count for name, count in counts.items() if count}),
            ("contents encoded", f"{self.contents:,}"),
            ("failed", self.failed or None),
            ("time", duration(self.seconds)),
        ]
        return Summary(f"Worked on part {self.part} of {self.store}", facts)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def work(store: OpenStore, options: WorkOptions) -> WorkReport:
    """Compute the orders of a part that have no result yet.

    Raises FingerprintError for another model, EncoderError if it can't be had or runs in other
    numbers here, StoreError for orders of another version, ImageSourceError if the photos can't be
    opened.
    """
    number, count = options.share
    report = WorkReport(store.place, options.part)
    with timed_job("working", options.quiet) as run, ExitStack() as stack:
        staging = Staging(store.files)
        names = [name for name, one in staging.orders.items() if one.number % count == number - 1]
        report.orders = len(names)
        worker = _Worker(store, options, stack)
        title = "computing orders"
        with Meter(title, len(names), unit="orders", quiet=options.quiet) as meter:
            for order in _read(store, staging, names, report, meter):
                with stage("encoding"):
                    encoded = compute_order(
                        worker.encoder(order.terms), order, worker.read(order.terms), _nothing
                    )
                with stage("writing"):
                    staging.put(to_result(encoded, order.key, order.terms))
                report.computed += 1
                report.contents += int(encoded.ok.sum())
                report.failed += len(encoded.errors)
                meter.advance(1)
        report.stages, report.seconds = run.seconds(), round(run.total, 2)
    return report


def _nothing(done: int) -> None:
    """Ignore the progress within an order."""


def _read(
    store: OpenStore, staging: Staging, names: list[str], report: WorkReport, meter: Meter
) -> Iterator[Order]:
    """Yield the orders that have no result, and count the others."""
    for name in names:
        try:
            order = staging.read(name)
        except FileNotFoundError:
            # Another worker was faster, and the result is committed.
            report.ignored += 1
        except StoreError as err:
            log.warning("%s", err)
            report.ignored += 1
        else:
            if order.terms.space not in store.manifest.spaces:
                log.warning("%s is of the space %s, which is gone", name, order.terms.space)
                report.ignored += 1
            elif staging.result(order.key, len(order.encoded), order.terms) is None:
                yield order
                continue
            else:
                report.there += 1
        meter.advance(1)


class _Worker:
    """The encoders and photos of this machine, opened once each."""

    def __init__(self, store: OpenStore, options: WorkOptions, stack: ExitStack) -> None:
        self._store, self._options, self._stack = store, options, stack
        self._encoders: dict[OrderTerms, Encoder] = {}
        self._photos: Read | None = None

    def encoder(self, terms: OrderTerms) -> Encoder:
        """The encoder for orders with some terms."""
        if terms not in self._encoders:
            # One space's encoder at a time is in memory.
            self._encoders.clear()
            self._encoders[terms] = self._load(terms)
        return self._encoders[terms]

    def read(self, terms: OrderTerms) -> Read | None:
        """Fetches a photo; None for text."""
        if terms.modality is Modality.TEXT:
            return None
        if self._photos is None:
            self._photos = self._open_photos()
        return self._photos

    def _load(self, terms: OrderTerms) -> Encoder:
        space = self._space(terms)
        chosen = {Modality.TEXT: self._options.text, Modality.IMAGE: self._options.image}
        name, entry = chosen[terms.modality], space.entry.encoder
        model = model_of(space)
        if name is not None and entry is None:
            model = ModelRef.parse(name, terms.modality, ())
        kept = None
        if entry is not None:
            kept = self._store.folder(entry, "run `vitrina embed` with --refit")
        encoder = load_encoder(model, kept, before=space.compute, settings=settings_of(space))
        encoder.card.check(terms.fingerprint, f"the space {terms.space}")
        compute = encoder.card.details.get("compute", "")
        if terms.compute and compute != terms.compute:
            raise EncoderError(
                f"the vectors of the space {terms.space} are made in {terms.compute}, and this "
                f"machine runs {model} in {compute}; work on machines of one kind"
            )
        check_machine(space, encoder)
        return encoder

    def _space(self, terms: OrderTerms) -> Space:
        """The space of some orders. Raises StoreError if their terms are not this machine's."""
        if terms.version != __version__:
            raise StoreError(
                f"the orders of the space {terms.space} were published by Vitrina "
                f"{terms.version}, and this is {__version__}; install one version everywhere"
            )
        space = self._store.open_space(terms.space)
        there = (space.modality, space.entry.fingerprint, space.compute or "")
        if there != (terms.modality, terms.fingerprint, terms.compute):
            raise StoreError(
                f"orders in {self._store.place} are of the encoder {terms.fingerprint[:12]} in "
                f"{terms.compute or 'its own numbers'}, and the space {terms.space} is of "
                f"{space.entry.fingerprint[:12]} in {space.compute or 'its own numbers'}; run "
                "`vitrina compact`, then publish again"
            )
        kind = space.vector_type
        if (kind.list_size, space.card["dtype"]) != (terms.dim, terms.dtype):
            raise StoreError(
                f"orders in {self._store.place} ask for {terms.dim} numbers of {terms.dtype}, and "
                f"the space {terms.space} has {kind.list_size} of {space.card['dtype']}"
            )
        limit = self._options.max_pixels
        if terms.modality is Modality.IMAGE and terms.max_pixels != limit:
            raise StoreError(
                f"the orders of the space {terms.space} were published with photos of at most "
                f"{terms.max_pixels} pixels, and this worker takes {limit}; give both the same "
                "--max-megapixels"
            )
        return space

    def _open_photos(self) -> Read:
        reading = remembered_reading(self._store)
        location = self._options.images or reading.images
        if location is None:
            raise ImageSourceError(
                f"{self._store.place} does not remember where the photos are; give --images"
            )
        source = open_images(
            location,
            template=None,
            photos=reading.photos,
            sample=(),
            splits=(),
            fetching=reading.fetching,
        )
        self._stack.callback(source.close)
        return source.read
