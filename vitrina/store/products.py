"""The product table: what the catalogue says of each product, and the hash of its contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.ids import IdTable, id_keys
from vitrina.store.files import sync
from vitrina.store.layout import TEMPORARY, Layout
from vitrina.store.manifest import FileEntry, Manifest
from vitrina.store.shards import hashes_to_array
from vitrina.types import Codes, Modality, ProductId

PART_ROWS = 100_000
GROUP_ROWS = 4096
HASH_COLUMNS = {Modality.TEXT: "text_hash", Modality.IMAGE: "image_hash"}


def content_hash(content: bytes) -> str:
    """The 16-byte BLAKE2b of some content, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def schema(product_id: pa.DataType, category_id: pa.DataType) -> pa.Schema:
    """The columns of `products/`, for ids that are integers or strings."""
    return pa.schema(
        [
            pa.field("product_id", product_id, nullable=False),
            ("title", pa.string()),
            ("description", pa.string()),
            ("attributes", pa.list_(pa.string())),
            ("characteristics", pa.list_(pa.string())),
            ("shop", pa.string()),
            ("category_id", category_id),
            ("category_name", pa.string()),
            ("images", pa.list_(pa.string())),
            ("text_hash", pa.string()),
            ("image_hash", pa.string()),
        ]
    )


@dataclass
class ProductWriter:
    """Writes the product table in bounded parts, under temporary names until `finish`.

    A part is named by its content, so a part that did not change is the file that is there.
    """

    layout: Layout
    schema: pa.Schema
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _parts: list[tuple[Path, int]] = field(default_factory=list)
    _writer: pq.ParquetWriter | None = None

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
        if self._writer is None:
            path = self.layout.products / f"{TEMPORARY}part-{len(self._parts):05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._parts.append((path, 0))
            self._writer = pq.ParquetWriter(path, self.schema, compression="zstd")
        self._writer.write_table(table)
        path, rows = self._parts[-1]
        self._parts[-1] = (path, rows + table.num_rows)
        if rows + table.num_rows >= PART_ROWS:
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def finish(self) -> tuple[FileEntry, ...]:
        """Flush, give the parts their names, and return them for the manifest."""
        self._flush()
        self._close()
        entries = []
        for number, (temporary, rows) in enumerate(self._parts):
            sync(temporary)
            entry = FileEntry.of(self.layout, temporary, rows)
            path = self.layout.products / f"part-{number:05d}-{entry.sha256[:12]}.parquet"
            temporary.replace(path)
            entries.append(replace(entry, path=self.layout.relative(path)))
        if entries:
            sync(self.layout.products)
        return tuple(entries)

    def abandon(self) -> None:
        """Drop what was written, after an error."""
        self._close()
        for path, _ in self._parts:
            path.unlink(missing_ok=True)


class Products:
    """A snapshot's product table. Only ids, hashes and categories are ever held whole."""

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        self._paths = [layout.root / entry.path for entry in manifest.products]
        self._rows = sum(entry.rows for entry in manifest.products)
        self._group: tuple[tuple[Path, int], pa.Table] | None = None

    def __len__(self) -> int:
        return self._rows

    def column(self, name: str) -> pa.ChunkedArray:
        """One column, whole: for ids, hashes and categories, which are small."""
        if not self._paths:
            raise StoreError("the store holds no products yet; run `vitrina embed` first")
        return pa.chunked_array(
            [
                chunk
                for path in self._paths
                for chunk in pq.read_table(path, columns=[name]).column(0).chunks
            ]
        )

    @property
    def schema(self) -> pa.Schema:
        """The table's columns and their types."""
        return pq.read_schema(self._paths[0])

    @cached_property
    def ids(self) -> pa.Array:
        """(n,) int64 or string: the product ids in the table's order."""
        return self.column("product_id").combine_chunks()

    @cached_property
    def table(self) -> IdTable:
        """Finds positions by product id."""
        blocks = [
            id_keys(self.ids.slice(start, PART_ROWS).to_pylist())
            for start in range(0, len(self.ids), PART_ROWS)
        ]
        return IdTable(np.concatenate(blocks))

    def hashes(self, modality: Modality) -> npt.NDArray[np.void]:
        """(n,) `V16` content hashes of one modality, zero where there is nothing to embed."""
        return hashes_to_array(self.column(HASH_COLUMNS[modality]))

    def categories(self) -> Categories:
        """The label of every product."""
        seen: dict[Any, int] = {}
        names: dict[Any, str] = {}
        blocks = []
        for _, batch in self.batches(["category_id", "category_name"], rows=PART_ROWS):
            encoded = batch.column("category_id").dictionary_encode()
            number = [seen.setdefault(key, len(seen)) for key in encoded.dictionary.to_pylist()]
            local = encoded.indices.fill_null(len(number)).to_numpy(zero_copy_only=False)
            blocks.append(np.array([*number, -1], dtype=np.int64)[local])
            first = pa.table(batch).group_by("category_id").aggregate([("category_name", "min")])
            for row in first.to_pylist():
                if row["category_name_min"] is not None:
                    names.setdefault(row["category_id"], row["category_name_min"])
        ids = sorted(seen)
        rank = np.full(len(ids) + 1, -1, dtype=np.int64)
        for place, key in enumerate(ids):
            rank[seen[key]] = place
        codes = rank[np.concatenate(blocks)] if blocks else np.zeros(0, dtype=np.int64)
        return Categories(tuple(ids), codes, tuple(names.get(key, "") for key in ids))

    def batches(
        self, columns: Sequence[str], rows: int = GROUP_ROWS
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Stream some columns in order, each batch with the position of its first row."""
        start = 0
        for path in self._paths:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=rows, columns=list(columns)):
                yield start, batch
                start += batch.num_rows

    def take(self, positions: Codes, columns: Sequence[str]) -> pa.Table:
        """Read some rows, in the order asked for; cheap where positions stand close together."""
        order = np.argsort(positions, kind="stable")
        wanted = positions[order]
        pieces: list[pa.Table] = []
        for path, group, start, stop in self._groups:
            low, high = np.searchsorted(wanted, (start, stop))
            if low < high:
                table = self._read_group(path, group).select(list(columns))
                pieces.append(table.take(pa.array(wanted[low:high] - start)))
        if not pieces:
            return pa.table({name: [] for name in columns})
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables(pieces).take(pa.array(back))

    @cached_property
    def _groups(self) -> list[tuple[Path, int, int, int]]:
        groups, start = [], 0
        for path in self._paths:
            metadata = pq.read_metadata(path)
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                groups.append((path, group, start, start + rows))
                start += rows
        return groups

    def _read_group(self, path: Path, group: int) -> pa.Table:
        # Shards ask for rows almost in order, so the group in hand serves most of them.
        if self._group is None or self._group[0] != (path, group):
            self._group = ((path, group), pq.ParquetFile(path).read_row_group(group))
        return self._group[1]

    def titles(self, ids: Sequence[ProductId]) -> list[dict[str, Any]]:
        """`product_id`, `title`, `category_id` and `category_name` of some products."""
        positions = self.table.positions(id_keys(ids))
        columns = ["product_id", "title", "category_id", "category_name"]
        return self.take(positions, columns).to_pylist()  # type: ignore[no-any-return]

    def counts(self) -> dict[str, int]:
        """How many products have a text, an image, a category."""
        have = {"text": "text_hash", "image": "image_hash", "category": "category_id"}
        counted = {}
        for name, column in have.items():
            counted[name] = len(self) - self.column(column).null_count
        counted["categories"] = len(pc.unique(self.column("category_id")).drop_null())
        return counted


@dataclass(frozen=True)
class Categories:
    """Labels. ids: the category ids, sorted. codes: (n,) position in `ids`, -1 for unlabelled.
    names: the path of each category, "" where the catalogue gives none."""

    ids: tuple[Any, ...]
    codes: Codes
    names: tuple[str, ...]
