"""Errors of one space: failed products, photos not found, and repaired photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vitrina.embedder.photos import Failure
from vitrina.pipelines.embed.ingest_result import Ingested
from vitrina.store.products import Products
from vitrina.store.space import ERRORS_SCHEMA, FIND, REPAIR, error_row, failed, failures, standing
from vitrina.types import Codes, Mask, Modality


class SpaceErrors:
    """The rows of a space's `errors.parquet`, read and extended by a run."""

    def __init__(
        self,
        products: Products,
        modality: Modality,
        recorded: pa.Table,
        ingested: Ingested,
        *,
        retry_failed: bool,
    ) -> None:
        """Keep the recorded rows that still apply: those of unchanged content, and photos that are
        still missing. retry_failed: drop failures of this catalogue."""
        self._products, self._modality = products, modality
        self._hashes = products.hashes(modality)
        rows, positions = standing(products, modality, recorded)
        fresh = positions < ingested.fresh
        # What could not be read or found has no hash; it is said anew.
        kept = ~fresh | products.has(modality)[positions]
        if retry_failed:
            mended = pc.equal(recorded.column("stage"), REPAIR).to_numpy()[rows]
            kept &= ~fresh | mended
        self._table = recorded.take(pa.array(rows[kept]))
        self._new: list[dict[str, object]] = []
        if modality is Modality.IMAGE:
            for stage, photos in (("read", ingested.unreadable), (FIND, ingested.not_found)):
                self._new += [
                    error_row(one.product_id, stage=stage, error=one.reason) for one in photos
                ]
        # What was wrong with mended photos, by the hash of their content.
        repairs = self._table.filter(pc.equal(self._table.column("stage"), REPAIR)).to_pylist()
        self._mended: dict[str, str] = {row["content_hash"]: row["error"] for row in repairs}

    @property
    def table(self) -> pa.Table:
        """All rows."""
        if self._new:
            new = pa.Table.from_pylist(self._new, schema=ERRORS_SCHEMA)
            self._table = pa.concat_tables([self._table, new])
            self._new = []
        return self._table

    @property
    def failed(self) -> Mask:
        """Products whose current content failed: (n,) bool."""
        return failed(self._products, self._modality, self.table)

    @property
    def reasons(self) -> list[str]:
        """Reasons of failed products, one for each."""
        reasons: list[str] = self.table.filter(failures(self.table)).column("error").to_pylist()
        return reasons

    def count(self, stage: str) -> int:
        """Number of rows of one stage."""
        return int(pc.sum(pc.equal(self.table.column("stage"), stage)).as_py() or 0)

    def fail(self, position: int, failure: Failure) -> None:
        """Add a product that can't be embedded."""
        self._add(position, failure.stage, failure.reason)

    def record_repair(self, position: int, what: str) -> None:
        """Record that a product's photo was repaired; `add_repairs` adds the row."""
        self._mended[self._hash(position)] = what

    def add_repairs(self, positions: Codes) -> None:
        """Add rows for products whose photos were repaired, now or for another product."""
        if self._mended:
            for position in positions.tolist():
                if what := self._mended.get(self._hash(position)):
                    self._add(position, REPAIR, what)

    def _add(self, position: int, stage: str, error: str) -> None:
        product_id = self._products.ids[position].as_py()
        row = error_row(product_id, stage=stage, error=error, content_hash=self._hash(position))
        self._new.append(row)

    def _hash(self, position: int) -> str:
        return str(self._hashes[position].tobytes().hex())


def commonest(reasons: Sequence[str]) -> str:
    """The most common reason."""
    return Counter(reasons).most_common(1)[0][0]
