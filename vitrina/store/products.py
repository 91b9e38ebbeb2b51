"""The product table: catalogue fields of each product, and hashes of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.ids import IdTable, id_keys
from vitrina.page.summary import Summary
from vitrina.results import Tabular
from vitrina.store.entries import FileEntry
from vitrina.store.files import Files
from vitrina.store.manifest import Manifest
from vitrina.store.parquet import (
    Access,
    Kind,
    check_columns,
    check_schema,
    check_values,
    kind_of_schema,
    open_parquet,
    read_table_as,
)
from vitrina.store.shards import array_keys, hashes_to_array
from vitrina.types import CategoryId, Codes, Mask, Modality, ProductId

T = TypeVar("T")

PART_ROWS = 100_000
GROUP_ROWS = 4096
HASH_COLUMNS = {Modality.TEXT: "text_hash", Modality.IMAGE: "image_hash"}


def content_hash(content: bytes) -> str:
    """The 16-byte BLAKE2b of some content, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def hash_bytes(text: str | None) -> bytes:
    """The 16 bytes of a hexadecimal content hash; all zero for none, as in arrays of hashes."""
    return bytes.fromhex(text) if text else bytes(16)


def schema(product_id: pa.DataType, category_id: pa.DataType) -> pa.Schema:
    """The schema of `products/`, for ids that are integers or strings."""
    return pa.schema(
        [
            pa.field("product_id", product_id, nullable=False),
            ("source", pa.string()),
            ("title", pa.string()),
            ("description", pa.string()),
            ("attributes", pa.list_(pa.string())),
            ("characteristics", pa.list_(pa.string())),
            ("shop", pa.string()),
            ("category_id", category_id),
            ("category_name", pa.string()),
            ("metadata", pa.string()),
            ("images", pa.list_(pa.string())),
            ("text_hash", pa.string()),
            ("image_hash", pa.string()),
            ("image_stamp", pa.string()),
        ]
    )


ID_COLUMNS = ("product_id", "category_id")

PRODUCTS = kind_of_schema(schema(pa.string(), pa.string()), ID_COLUMNS)
"""Column requirements of every part of the product table."""
# Stores of format 2 have no sources.
PRODUCTS["source"] = replace(PRODUCTS["source"], needed=False)


class Products(Tabular):
    """A snapshot's product table. Only ids, hashes and categories are loaded whole."""

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self._files = files
        self._parts = manifest.products
        self._rows = sum(entry.rows for entry in manifest.products)
        self._group: tuple[tuple[str, int], pa.Table] | None = None
        self._hashes: dict[Modality, npt.NDArray[np.void]] = {}

    def __len__(self) -> int:
        return self._rows

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the table into memory. columns: their names; None for all."""
        names = self.schema.names if columns is None else list(columns)
        return pa.table({name: self.column(name) for name in names})

    def summary(self) -> Summary:
        """Number of products, and the columns."""
        columns = list(self.schema.names) if self._parts else []
        return Summary(f"Products: {len(self):,}", [("columns", ", ".join(columns))])

    def column(self, name: str) -> pa.ChunkedArray:
        """One column, whole: for ids, hashes and categories, which are small."""
        chunks = [chunk for part in self._columns(name, lambda one: one.chunks) for chunk in part]
        return pa.chunked_array(chunks, self.schema.field(name).type)

    def _columns(self, name: str, use: Callable[[pa.ChunkedArray], T]) -> Iterator[T]:
        """Yield the results of `use` on one column of each part. use: raises pa.ArrowInvalid for an
        invalid column."""
        self._require_products()
        for part in self._parts:
            with self._open(part) as file:
                made = use(read_table_as(file, self._kind, [name]).column(0))
            yield made

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's columns and their types."""
        self._require_products()
        with open_parquet(self._files, self._parts[0], Access.OFTEN) as file:
            check_schema(file.schema_arrow, PRODUCTS)
            return pa.schema([one for one in file.schema_arrow if one.name in PRODUCTS])

    @cached_property
    def _kind(self) -> Kind:
        """Column requirements with the id types of the first part, which all parts must share."""
        types = {name: self.schema.field(name).type for name in ID_COLUMNS}
        return {
            **PRODUCTS,
            **{name: replace(PRODUCTS[name], types=(types[name],)) for name in types},
        }

    def _require_products(self) -> None:
        if not self._parts:
            raise StoreError("the store holds no products yet; run `vitrina embed` first")

    def _open(self, part: FileEntry) -> AbstractContextManager[pq.ParquetFile]:
        return open_parquet(self._files, part, Access.OFTEN)

    @cached_property
    def ids(self) -> pa.Array:
        """(n,) int64 or string: the product ids in the table's order."""
        return self.column("product_id").combine_chunks()

    @cached_property
    def table(self) -> IdTable:
        """Lookup of positions by product id."""
        blocks = [
            array_keys(self.ids.slice(start, PART_ROWS))
            for start in range(0, len(self.ids), PART_ROWS)
        ]
        return IdTable(np.concatenate(blocks))

    def hashes(self, modality: Modality) -> npt.NDArray[np.void]:
        """(n,) `V16` content hashes of one modality, zero where there is nothing to embed."""
        if modality not in self._hashes:
            self._hashes[modality] = self._hash_array(HASH_COLUMNS[modality])
        return self._hashes[modality]

    def has(self, modality: Modality) -> Mask:
        """(n,) bool: products with content of a modality."""
        halves = self.hashes(modality).view(np.uint64).reshape(-1, 2)
        mask: Mask = (halves != 0).any(axis=1)
        return mask

    def stamps(self) -> npt.NDArray[np.void]:
        """(n,) `V16` hashes of the photo files' state, zero where it is unknown."""
        return self._hash_array("image_stamp")

    def _hash_array(self, name: str) -> npt.NDArray[np.void]:
        return np.concatenate([*self._columns(name, hashes_to_array)])

    def sources(self) -> tuple[tuple[str, ...], Codes]:
        """Names of the products' sources, and (n,) int64: the index of each product's source. A
        product without one belongs to the unnamed source, ""."""
        if "source" not in self.schema.names:
            return ("",), np.zeros(len(self), dtype=np.int64)
        column = self.column("source").fill_null("").combine_chunks()
        encoded = column.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return tuple(encoded.dictionary.to_pylist()), codes

    def categories(self, retired: Mapping[str, Sequence[str]] | None = None) -> Categories:
        """The catalogue's label of every product.

        retired: for reused category ids, as text, the names of the categories they meant before; a
        product with such a name has no label.
        """
        seen: dict[Any, int] = {}
        names: dict[Any, str] = {}
        blocks = []
        for _, batch in self.batches(["category_id", "category_name"], rows=PART_ROWS):
            if retired:
                batch = _without_retired(batch, retired)
            encoded = batch.column("category_id").dictionary_encode()
            number = [seen.setdefault(key, len(seen)) for key in encoded.dictionary.to_pylist()]
            local = encoded.indices.fill_null(len(number)).to_numpy(zero_copy_only=False)
            blocks.append(np.array([*number, -1], dtype=np.int64)[local])
            # The newest catalogue's products come first, so its names take precedence.
            column = batch.column("category_name")
            named = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
            # Arrow's own grouping would import pyarrow.dataset, which takes 0.2 s.
            for code, at in zip(*np.unique(local[named], return_index=True), strict=True):
                if code < len(number):
                    key = encoded.dictionary[int(code)].as_py()
                    names.setdefault(key, column[int(named[at])].as_py())
        ids = sorted(seen)
        rank = np.full(len(ids) + 1, -1, dtype=np.int64)
        for place, key in enumerate(ids):
            rank[seen[key]] = place
        codes = rank[np.concatenate(blocks)] if blocks else np.zeros(0, dtype=np.int64)
        return Categories(tuple(ids), codes, tuple(names.get(key, "") for key in ids))

    def batches(
        self, columns: Sequence[str], rows: int = GROUP_ROWS
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Stream columns in order; yields each batch with the position of its first row."""
        start = 0
        for part in self._parts:
            stop = start + part.rows
            with self._open(part) as file:
                check_schema(file.schema_arrow, self._kind)
                check_columns(file, columns)
                for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                    check_values(batch, self._kind)
                    yield start, batch
                    start += batch.num_rows
                if start != stop:
                    raise pa.ArrowInvalid(f"{start - stop + part.rows} rows, not {part.rows}")

    def take(self, positions: Codes, columns: Sequence[str]) -> pa.Table:
        """Read rows in the order of `positions`; cheap if these are close together."""
        order = np.argsort(positions, kind="stable")
        wanted = positions[order]
        pieces: list[pa.Table] = []
        found = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(found[(found >= 0) & (wanted < len(self))]).tolist():
            part, group, start, stop = self._groups[number]
            low, high = np.searchsorted(wanted, (start, stop))
            table = self._read_group(part, group)
            # Parts may differ in which columns may hold nulls.
            table = pa.table([table.column(name) for name in columns], list(columns))
            pieces.append(table.take(pa.array(wanted[low:high] - start)))
        if not pieces:
            return pa.table({name: [] for name in columns})
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables(pieces).take(pa.array(back))

    @cached_property
    def _starts(self) -> Codes:
        """Position of the first row of each row group."""
        return np.array([start for _, _, start, _ in self._groups], dtype=np.int64)

    @cached_property
    def _groups(self) -> list[tuple[FileEntry, int, int, int]]:
        groups, start = [], 0
        for part in self._parts:
            with self._open(part) as file:
                sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
                if min(sizes, default=0) < 0 or sum(sizes) != part.rows:
                    raise pa.ArrowInvalid(f"{sum(sizes)} rows in its groups, not {part.rows}")
            for group, rows in enumerate(sizes):
                groups.append((part, group, start, start + rows))
                start += rows
        return groups

    def _read_group(self, part: FileEntry, group: int) -> pa.Table:
        # Rows are read almost in order, so one cached group serves most of them.
        cached = self._group
        if cached is None or cached[0] != (part.path, group):
            with self._open(part) as file:
                # Another thread may replace the cached group at any time.
                table = read_table_as(file, self._kind, self.schema.names, group=group)
            self._group = cached = ((part.path, group), table)
        return cached[1]

    def titles(self, ids: Sequence[ProductId]) -> list[dict[str, Any]]:
        """`product_id`, `title`, `category_id` and `category_name` of some products.

        Raises StoreError for an id that the store does not hold.
        """
        positions = self.table.positions(id_keys(ids))
        if (positions < 0).any():
            unknown = ids[int(np.argmin(positions))]
            raise StoreError(
                f"the store holds no product {unknown!r}, which its index names; run "
                "`vitrina index --rebuild` to build it again"
            )
        columns = ["product_id", "title", "category_id", "category_name"]
        return self.take(positions, columns).to_pylist()  # type: ignore[no-any-return]

    def category_counts(self) -> dict[CategoryId, int]:
        """Number of products in each category."""
        found = pc.value_counts(self.column("category_id").drop_null()).to_pylist()
        return {one["values"]: one["counts"] for one in found}

    def counts(self) -> dict[str, int]:
        """Number of products with a text, an image, a category; and number of categories."""
        have = {"text": "text_hash", "image": "image_hash", "category": "category_id"}
        counted = {}
        for name, column in have.items():
            counted[name] = len(self) - self.column(column).null_count
        counted["categories"] = len(pc.unique(self.column("category_id")).drop_null())
        return counted


def _without_retired(batch: pa.RecordBatch, retired: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    """Category ids and names of a batch; an id is null if its name is a retired one."""
    ids, names = batch.column("category_id"), batch.column("category_name")
    text = ids.cast(pa.string())
    for key, before in retired.items():
        old = pc.and_(pc.equal(text, key), pc.is_in(names, pa.array(before, pa.string())))
        ids = pc.if_else(pc.fill_null(old, False), pa.scalar(None, ids.type), ids)
    return pa.record_batch([ids, names], ["category_id", "category_name"])


@dataclass(frozen=True)
class Categories:
    """Labels. ids: the category ids, sorted. codes: (n,) position in `ids`, -1 for unlabelled.
    names: the path of each category, "" if the catalogue gives none."""

    ids: tuple[Any, ...]
    codes: Codes
    names: tuple[str, ...]
