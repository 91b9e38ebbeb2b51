"""Recognition of the objects that can be read as a catalogue.

A library is asked only if it is loaded: an object of pandas can't be there before pandas is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from vitrina.data.location import MemoryTableName
from vitrina.data.readers.memory.records import DictRecords, MemoryRecords
from vitrina.data.readers.memory.tables import ArrowTable, DatasetTable, PandasTable
from vitrina.errors import CatalogueError
from vitrina.page.summary import counted

ReadableRecords: TypeAlias = MemoryRecords | DictRecords

_KINDS = (
    "a path, a pandas or Polars DataFrame, an Arrow table, stream or dataset, or a list of "
    "dictionaries"
)


def memory_records(source: Any) -> ReadableRecords:
    """Open a table in memory.

    A stream (a `pyarrow.RecordBatchReader`, a DuckDB relation) is first written to a temporary file
    without a name, since a catalogue is read more than once. Raises CatalogueError for an object
    that is no table, and for an iterator of rows, which can be read only once.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    dataset = sys.modules.get("pyarrow.dataset")
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return MemoryRecords(PandasTable(_name("pandas DataFrame", len(source)), source))
    if polars is not None and isinstance(source, polars.LazyFrame):
        source = source.collect()
    if polars is not None and isinstance(source, polars.DataFrame):
        return MemoryRecords(_polars_table(source, polars))
    if isinstance(source, pa.RecordBatch):
        source = pa.Table.from_batches([source])
    if isinstance(source, pa.Table):
        return MemoryRecords(ArrowTable.of(_name("Arrow table", source.num_rows), source))
    if dataset is not None and isinstance(source, dataset.Dataset):
        return MemoryRecords(DatasetTable(MemoryTableName("the Arrow dataset"), source, {}))
    if isinstance(source, Mapping) or hasattr(source, "to_frame"):
        kind = type(source).__name__
        raise CatalogueError(f"a {kind} is no table of products; give {_KINDS}")
    if hasattr(source, "__arrow_c_stream__"):
        return MemoryRecords(_spooled(source))
    if isinstance(source, Iterator):
        raise CatalogueError(
            f"a {type(source).__name__} can be read only once, and a catalogue is read more often; "
            "give a list of the rows, or a pyarrow.RecordBatchReader for more than memory holds"
        )
    if isinstance(source, Iterable):
        count = len(source) if isinstance(source, Sized) else None
        return DictRecords(_name(type(source).__name__, count), source)
    raise CatalogueError(f"{type(source).__name__} is no catalogue; give {_KINDS}")


def _name(kind: str, rows: int | None) -> MemoryTableName:
    return MemoryTableName(
        f"the {kind}" if rows is None else f"the {kind} ({counted(rows, 'row')})"
    )


def _polars_table(frame: Any, polars: Any) -> ArrowTable:
    """A Polars DataFrame, of which Arrow shares the memory; its columns of objects are raw."""
    objects = [name for name, kind in frame.schema.items() if kind == polars.Object]
    raw = {name: frame.get_column(name).to_list() for name in objects}
    table = pa.table(frame.drop(objects)) if len(objects) < frame.width else pa.table({})
    if not table.num_columns:
        table = pa.table({"": pa.nulls(frame.height)})
    return ArrowTable.of(_name("Polars DataFrame", frame.height), table, raw)


def _spooled(source: Any) -> ArrowTable:
    """A stream's rows, mapped from a temporary file that is gone when they are."""
    kind = type(source).__name__
    folder = Path(tempfile.gettempdir())
    try:
        reader = pa.RecordBatchReader.from_stream(source)
        descriptor, place = tempfile.mkstemp(prefix="vitrina-", suffix=".arrow")
        os.close(descriptor)
        path = Path(place)
        try:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
            with pa.memory_map(str(path)) as mapped:
                table = pa.ipc.open_file(mapped).read_all()
        finally:
            with suppress(OSError):
                path.unlink()
    except (OSError, pa.ArrowException) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise CatalogueError(
            f"the {kind} can't be read into a temporary file in {folder}: {reason}"
        ) from err
    return ArrowTable.of(_name(kind, table.num_rows), table)
