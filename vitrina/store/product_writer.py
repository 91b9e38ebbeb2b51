"""Writes the product table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.store import layout
from vitrina.store.entries import FileEntry
from vitrina.store.products import GROUP_ROWS, PART_ROWS
from vitrina.store.writer import Writer


@dataclass
class ProductWriter:
    """Writes the product table in bounded parts, to the scratch folder until `finish`.

    A part is named by its content, so an unchanged part keeps its existing file.
    """

    writer: Writer
    schema: pa.Schema
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _parts: list[tuple[Path, int]] = field(default_factory=list)
    _open: pq.ParquetWriter | None = None

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows, each a dict of the schema's columns."""
        for row in rows:
            self._rows.append(row)
            if len(self._rows) == GROUP_ROWS:
                self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_pylist(self._rows, schema=self.schema)
        self._rows.clear()
        if self._open is None:
            path = self.writer.scratch / f"products-{len(self._parts):05d}.parquet"
            self._parts.append((path, 0))
            self._open = pq.ParquetWriter(
                path, self.schema, compression="zstd", write_page_checksum=True
            )
        self._open.write_table(table)
        path, rows = self._parts[-1]
        self._parts[-1] = (path, rows + table.num_rows)
        if rows + table.num_rows >= PART_ROWS:
            self.close()

    def close(self) -> None:
        """Close the open file; rows still buffered are not written."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def end_part(self) -> int:
        """End the current part: later rows go to new parts.

        Returns the number of parts so far.
        """
        self._flush()
        self.close()
        return len(self._parts)

    def finish(self) -> tuple[FileEntry, ...]:
        """Flush, publish the parts, and return their manifest entries."""
        self.end_part()
        return tuple(
            self.writer.publish(path, partial(layout.product_part, number), rows)
            for number, (path, rows) in enumerate(self._parts)
        )
