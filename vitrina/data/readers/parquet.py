"""Parquet files, and directories of them, as rows of bare values: a `Records`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.data.arrow_types import holds_photos
from vitrina.data.readers.base import Fault, IdType
from vitrina.errors import CatalogueError

if TYPE_CHECKING:
    import pyarrow.dataset as ds

BATCH_ROWS = 4096


class ParquetRecords:
    """One Parquet file, or a directory of them as an Arrow dataset, hive partitions included."""

    def __init__(self, path: Path) -> None:
        """Read the schema. Raises CatalogueError for what isn't Parquet or is damaged."""
        self.path = path
        self._dataset: ds.Dataset | None = None
        with _parquet_errors(path):
            if path.is_dir():
                self._dataset = _open_dataset(path)
                self._schema = self._dataset.schema
            else:
                self._schema = pq.read_schema(path)
        self.names = tuple(self._schema.names)

    def id_types(self, columns: Sequence[str]) -> tuple[IdType | None, ...]:
        """By the schema; floats and decimals count as integers. See `Records`."""
        return tuple(self._id_type(column) for column in columns)

    def holds_bytes(self, column: str) -> bool:
        """Whether it holds binary data, records of {bytes, path}, or lists of these."""
        return holds_photos(self._schema.field(column).type)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...] | Fault]:
        """Every row, a batch in memory at a time. Raises CatalogueError for damaged data."""
        with _parquet_errors(self.path):
            for batch in self._batches(list(columns)):
                yield from zip(*(_values(batch.column(name)) for name in columns), strict=True)

    def _batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if self._dataset is not None:
            yield from self._dataset.to_batches(
                columns=columns, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1
            )
            return
        # A buffered stream, or Arrow would fetch the whole of a row group first.
        with pq.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=columns)

    def _id_type(self, column: str) -> IdType | None:
        kind = self._schema.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return int
        texts = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary())
        if kind in texts:
            return str
        if pa.types.is_null(kind):
            return None
        raise CatalogueError(f"{self.path}: column {column!r} holds {kind}, which can't be an id")


def _open_dataset(path: Path) -> ds.Dataset:
    # Not above: it imports pandas where there is one, which takes longer than all the rest.
    import pyarrow.dataset as ds
    import pyarrow.fs as pafs

    root = path.absolute()
    files = sorted(
        file.as_posix()
        for file in root.rglob("*.parquet")
        if not any(part[0] in "._" for part in file.relative_to(root).parts)
    )
    if not files:
        raise CatalogueError(f"{path}: no .parquet file in this directory; name a file")
    streamed = ds.ParquetFragmentScanOptions(use_buffered_stream=True, pre_buffer=False)
    factory = ds.FileSystemDatasetFactory(
        pafs.LocalFileSystem(),
        files,
        ds.ParquetFileFormat(default_fragment_scan_options=streamed),
        ds.FileSystemFactoryOptions(
            partition_base_dir=root.as_posix(),
            partitioning=ds.HivePartitioning.discover(),
        ),
    )
    # Over all files: in the first one, a column may be all null and thus of no type.
    return factory.finish(factory.inspect(promote_options="permissive", fragments=None))


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise CatalogueError(f"{path}: can't be read as Parquet: {reason}") from err


def _values(column: pa.Array) -> list[Any]:
    """Python values; bytes where a text in the column is not valid UTF-8."""
    if pa.types.is_timestamp(column.type):
        # Nanoseconds have no Python value.
        column = column.cast(pa.string())
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        nested = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        raw = pa.large_list(pa.large_binary()) if nested else pa.large_binary()
        return list(column.cast(raw).to_pylist())
