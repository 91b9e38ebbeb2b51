"""Update of one space: read what it has, plan what it lacks, encode that, commit."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import pyarrow as pa

from vitrina.data.catalogue import Catalogue
from vitrina.embedder.machine import Machine
from vitrina.embedder.photos import Encoded, Failure
from vitrina.engines.base import OrderEngine, PlannedOrder
from vitrina.errors import EncoderError, TooManyFailuresError
from vitrina.malloc import trim
from vitrina.pipelines.common.encoders import Encoder
from vitrina.pipelines.common.machine_pin import on_this_machine
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.embed.commit_pace import CommitPace
from vitrina.pipelines.embed.encoder_choice import EncoderChoice, check_requested, load_for_space
from vitrina.pipelines.embed.engine_choice import engine_for
from vitrina.pipelines.embed.ingest_result import Ingested, UnreadablePhoto
from vitrina.pipelines.embed.new_space import fit_encoder, space_for
from vitrina.pipelines.embed.options import DTYPE, EmbedOptions
from vitrina.pipelines.embed.order_maker import OrderMaker
from vitrina.pipelines.embed.space_errors import SpaceErrors, commonest
from vitrina.pipelines.embed.space_report import SpaceReport
from vitrina.stage_timer import Stages, stage, timed_each
from vitrina.store import layout
from vitrina.store.entries import FileEntry
from vitrina.store.manifest import Manifest
from vitrina.store.plan import first_positions, plan_shards, shard_rows
from vitrina.store.shards import array_to_hashes, write_shard
from vitrina.store.space import FIND, REPAIR, Space, read_errors
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Codes, EngineKind, Mask, Modality, Stored

log = logging.getLogger(__name__)


WHAT = {Modality.TEXT: "text", Modality.IMAGE: "photos"}
"""Content of each modality, for messages."""


class SpaceJob:
    """Embeds one modality of the store's products: reads, plans, encodes, commits."""

    def __init__(
        self,
        store: OpenStore,
        writer: Writer,
        catalogue: Catalogue,
        ingested: Ingested,
        options: EmbedOptions,
        choice: EncoderChoice,
    ) -> None:
        self._store, self._writer, self._catalogue = store, writer, catalogue
        self._ingested, self._options = ingested, options
        self._choice, self._model = choice, choice.model
        self._modality = choice.model.modality
        self._encoder: Encoder | None = None
        self._dtype = options.dtype or DTYPE
        self._products = store.products
        self._hashes = self._products.hashes(self._modality)
        self._first = first_positions(self._hashes)
        is_image = self._modality is Modality.IMAGE
        self._unreadable: list[UnreadablePhoto] = ingested.unreadable if is_image else []
        # The catalogue's products that have this modality, whether it can be read or not.
        there = np.count_nonzero(self._first[: ingested.fresh] >= 0)
        self._embeddable = int(there) + len(self._unreadable)
        self._stages = Stages()
        self._pace = CommitPace()
        self._engine: OrderEngine | None = None
        self._uncommitted: list[PlannedOrder] = []

    def run(self) -> SpaceReport:
        """Embed what the space lacks, then make it the active space of its modality.

        Raises TooManyFailuresError if more than `max_failures` fail; finished shards are
        committed.
        """
        self._read_space(self._open_space())
        shards = self._plan_shards()
        self._check_failures()
        planned, title = sum(map(len, shards)), f"embedding {WHAT[self._modality]}"
        kept, name = self.report.unchanged, self._space.name
        line = "%s: %d products of space %s keep their vectors, %d are to be embedded"
        log.info(line, self._modality, kept, name, planned)
        self._maker = OrderMaker.of(self._products, self._first, self._space, self._catalogue)
        self._engine = engine = engine_for(
            self._store,
            self._space,
            self._catalogue,
            self._options,
            self._maker,
            self._encoder,
            self._stages,
        )
        self.report.waiting = planned
        with Meter(title, planned, quiet=self._options.quiet) as meter:
            # Written while the next one is encoded.
            made = engine.run(map(self._cut, shards), meter.advance)
            try:
                for shard, encoded in timed_each(f"encoding {self._modality}s", made):
                    with stage("committing"):
                        self._finish_shard(shard, encoded)
                        self.report.waiting -= len(shard.positions)
                        self._check_failures()
            finally:
                # What is done is kept if the run is stopped.
                if self._pace.pending:
                    self._commit(self._store.manifest)
            self.report.seconds = round(meter.seconds, 2)
        return self._finish(engine)

    def _open_space(self) -> Space:
        """Open the space to fill; create one for an encoder without a space."""
        if self._choice.space is not None:
            return self._store.open_space(self._choice.space)
        self._encoder = self._choice.loaded
        if self._encoder is None:
            self._check_fit()
        with stage(f"fitting {self._model}"):
            if self._encoder is None:
                self._encoder = fit_encoder(
                    self._products, self._catalogue, self._modality, self._options.seed
                )
        return self._space_for(self._encoder)

    def _space_for(self, encoder: Encoder) -> Space:
        rows = self._options.shard_rows or shard_rows(int((self._first >= 0).sum()))
        return space_for(
            self._store, self._writer, self._model, encoder, self._machine, self._dtype, rows
        )

    @cached_property
    def _machine(self) -> Machine:
        """This machine, with the encoder, which is loaded once."""
        assert self._encoder is not None
        return Machine.of(self._encoder)

    def _check_fit(self) -> None:
        """Raise an error if an encoder would be fitted while photos can't be reached: it is fitted
        once and then used unchanged."""
        failed = [photo.reason for photo in self._unreadable if photo.tried]
        if self._too_many(len(failed)):
            raise TooManyFailuresError(
                f"{len(failed)} of {self._embeddable} products' photos can't be read, more than "
                f"{self._options.failures} allows (most often: "
                f"{commonest(failed)}); {self._model} is not fitted on the rest"
            )
        if (self._first < 0).all():
            raise EncoderError(
                f"no product has {'text' if self._modality is Modality.TEXT else 'a photo'} that "
                f"{self._model} could be fitted on; use --{self._modality}-model none"
            )

    def _read_space(self, space: Space) -> None:
        """Read which products have a vector in a space, and which failed."""
        check_requested(space, self._options)
        self._space = space
        self._located = space.locate(self._products)
        self._recorded = read_errors(self._store.files, space.entry.errors)
        self._errors = SpaceErrors(
            self._products,
            self._modality,
            self._recorded,
            self._ingested,
            retry_failed=self._options.retry_failed,
        )
        # By the first product of each content, a row to copy its vector from; -1 for none.
        self._source_row = np.full(len(self._products), -1, dtype=np.int64)
        self._add_source_rows(np.flatnonzero(self._located.done))
        # By the same: contents whose vectors are being made, and those that can't be encoded.
        self._coming = np.zeros(len(self._products), dtype=bool)
        self._broken: dict[int, Failure] = {}
        self.report = SpaceReport(
            space.name,
            str(self._model),
            space.dim,
            unchanged=int(self._located.done.sum()),
            not_found=self._errors.count(FIND),
        )
        without = int((self._first < 0).sum())
        self.report.missing = without - len(self._unreadable) - self.report.not_found
        if self._modality is Modality.IMAGE:
            self.report.found = self._embeddable
            by_template = getattr(self._catalogue.images, "template", None) is not None
            named = self._embeddable + len(self._ingested.not_found)
            self.report.sought = self._ingested.fresh if by_template else named

    def _add_source_rows(self, positions: Codes) -> None:
        self._source_row[self._first[positions]] = positions

    def _plan_shards(self) -> list[Codes]:
        """Plan the shards that the space lacks, and load the encoder if they have new content."""
        shards = self._planned()
        if any(map(self._has_new_content, shards)):
            if self._encoder is None and self._options.engine is EngineKind.LOCAL:
                self._load_encoder()
                shards = self._planned()
            if self._encoder is not None:
                mixed = self._options.mixed_machines
                self._space = on_this_machine(self._space, self._machine, is_mixed=mixed)
        # Of photos that failed before and look the same, no new failure is counted.
        self.report.failed = sum(photo.tried for photo in self._unreadable)
        return shards

    def _planned(self) -> list[Codes]:
        rows = self._options.shard_rows or self._space.shard_rows
        return plan_shards(self._first, self._idle(), rows)

    def _load_encoder(self) -> None:
        """Load the space's encoder; if it has changed, open a new space."""
        self._encoder = self._choice.loaded or load_for_space(
            self._store, self._choice, self._space, self._options.compute
        )
        if self._encoder.card.fingerprint != self._space.entry.fingerprint:
            self._read_space(self._space_for(self._encoder))

    def _idle(self) -> Mask:
        idle = self._located.done | self._errors.failed
        if self._modality is Modality.IMAGE:
            # Photos of products from earlier catalogues may lie where this one can't reach.
            idle[self._ingested.fresh :] = True
        return idle

    def _has_new_content(self, shard: Codes) -> bool:
        """Return True if a shard has content that no product has a vector of."""
        return bool((self._source_row[self._first[shard]] < 0).any())

    def _cut(self, positions: Codes) -> PlannedOrder:
        """Make an order of a shard: of its contents that have no vector, in the space or in earlier
        orders."""
        _, start, inverse = np.unique(
            self._first[positions], return_index=True, return_inverse=True
        )
        content = positions[start]
        place = self._first[content]
        new = np.flatnonzero((self._source_row[place] < 0) & ~self._coming[place])
        if not len(new):
            return PlannedOrder(positions, content, inverse, new)
        self._coming[place[new]] = True
        make = partial(self._maker.order, positions, start[new])
        return PlannedOrder(positions, content, inverse, new, make)

    def _finish_shard(self, shard: PlannedOrder, encoded: Encoded | None) -> None:
        """Write the rows of a shard, and commit if a commit is due."""
        place = self._first[shard.content]
        source = self._source_row[place]
        # As they are stored: a large shard's are hundreds of megabytes.
        vectors = np.zeros((len(place), self._space.dim), dtype=self._space.card["dtype"])
        vectors[source >= 0] = self._space.vectors(self._located, source[source >= 0])
        embedded = 0
        if encoded is not None:
            vectors[shard.new], embedded = encoded.vectors, int(encoded.ok.sum())
            for at, failure in encoded.errors.items():
                self._broken[int(place[shard.new[at]])] = failure
            for at, what in encoded.mended.items():
                self._errors.record_repair(int(place[shard.new[at]]), what)
        whose = place[shard.inverse]
        good = np.array([one not in self._broken for one in whose.tolist()], dtype=bool)
        for bad in np.flatnonzero(~good):
            self._errors.fail(int(shard.positions[bad]), self._broken[int(whose[bad])])
            self.report.failed += 1
        self._errors.add_repairs(shard.positions[good])
        self.report.embedded += embedded
        self.report.reused += int(good.sum()) - embedded
        self._uncommitted.append(shard)
        self._publish(shard.positions[good], vectors[shard.inverse[good]])

    def _publish(self, positions: Codes, vectors: Stored) -> None:
        with self._stages.timed("write"):
            if len(positions):
                shards = (*self._space.entry.shards, self._write(positions, vectors))
                entry = replace(self._space.entry, shards=shards)
                self._space = Space.open(self._store.files, self._space.name, entry)
                self._located.mark(positions, len(shards) - 1)
                self._add_source_rows(positions)
            if self._pace.is_due():
                self._commit(self._store.manifest)
        trim()

    def _commit(self, manifest: Manifest) -> None:
        """Commit a manifest with the space's shards and errors."""
        with self._pace.commit():
            self._writer.commit(self._with_entry(manifest))
        if self._engine is not None:
            self._engine.committed(self._uncommitted)
        self._uncommitted.clear()
        # With the lists of shards that it has now.
        self._space = self._store.open_space(self._space.name)

    def _write(self, positions: Codes, vectors: Stored) -> FileEntry:
        path = self._writer.scratch / "shard.parquet"
        ids = self._products.ids.take(pa.array(positions))
        hashes = array_to_hashes(self._hashes[positions])
        write_shard(path, ids, hashes, vectors, self._space.card["dtype"])
        named = partial(layout.shard, self._space.name, self._space.entry.next_number)
        return self._writer.publish(path, named, len(positions))

    def _with_entry(self, manifest: Manifest) -> Manifest:
        entry, table = self._space.entry, self._errors.table
        if entry.errors is None or not table.equals(self._recorded):
            entry = replace(entry, errors=self._writer.write_errors(self._folder, table))
            self._recorded = table
            self._space = Space.open(self._store.files, self._space.name, entry)
        return manifest.with_space(self._space.name, entry)

    def _finish(self, engine: OrderEngine) -> SpaceReport:
        """Make the space active for its modality, unless orders wait; complete the report."""
        if self._encoder is not None:
            self.report.compute = self._encoder.card.details.get("compute")
        self.report.stages = self._stages.shares()
        self.report.bottleneck = self._stages.bottleneck
        self.report.failed = len(self._errors.reasons)
        self.report.mended = self._errors.count(REPAIR)
        if self.report.waiting:
            return self.report
        self._commit(self._store.manifest.with_active(self._modality, self._space.name))
        engine.finish()
        return self.report

    def _check_failures(self) -> None:
        if not self._too_many(self.report.failed):
            return
        self._commit(self._store.manifest)
        raise TooManyFailuresError(
            f"{self.report.failed} of {self._embeddable} products failed, more than "
            f"{self._options.failures} allows (most often: "
            f"{commonest(self._errors.reasons)}); what is done is kept, and "
            f"{self._store.files.where(layout.errors(self._folder))} says why"
        )

    def _too_many(self, failed: int) -> bool:
        return self._options.failures.is_passed(failed, self._embeddable)

    @property
    def _folder(self) -> str:
        return layout.space(self._space.name)
