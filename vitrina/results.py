"""Results as tables: Arrow inside, and pandas, Polars or Arrow for the user.

`Tabular` is what every result with rows has in common: `to_arrow`, `to_pandas`, `to_polars`, and
the Arrow stream interface, by which DuckDB, Polars and pyarrow read it directly. `ResultTable` is
such a result that holds its table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import pyarrow as pa

from vitrina.optional import needed_for
from vitrina.options import choice
from vitrina.page.summary import (
    MOST_ROWS,
    Summarised,
    Summary,
    SummaryTable,
    counted,
    leaf,
    shown,
    words,
)
from vitrina.types import IfExists

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Row = TypeVar("Row")

_CELL = 60


class Tabular(Summarised):
    """A result with rows."""

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        raise NotImplementedError

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        Integers stay integers: `int64`, or `Int64` in a column with missing values; booleans
        likewise `bool` or `boolean`. Text is `str`. Lists and records are Python lists and
        dictionaries, None where missing.
        """
        import pandas as pd

        table = self.to_arrow()
        columns = {
            name: _series(column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        return pd.DataFrame(columns, columns=table.column_names)

    def to_polars(self) -> pl.DataFrame:
        """Return the rows as a Polars DataFrame. Raises MissingPackageError without Polars."""
        with needed_for("a Polars DataFrame"):
            import polars as pl
        frame: pl.DataFrame = pl.from_arrow(self.to_arrow())  # type: ignore[assignment]
        return frame

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows

    def write(
        self,
        out: str | Path,
        *,
        csv_separator: str = ",",
        table: str | None = None,
        if_exists: str = "fail",
    ) -> int:
        """Write the rows to a file or to a table of a database, and return their number.

        out: a file that ends in .parquet, .csv, .xlsx, .jsonl, .csv.gz or .jsonl.gz, or a
        database's URL. Lists and records are flattened where the format has none. table,
        if_exists: of a database; `if_exists` is fail, append or replace.

        Raises CatalogueError if it can't be written, OptionError for a name that ends otherwise and
        for a wrong option.
        """
        from vitrina.tables.options import OutputOptions
        from vitrina.tables.write import write_table

        rows = self.to_arrow()
        exists = choice(IfExists, if_exists, "if_exists") or IfExists.FAIL
        options = OutputOptions(csv_separator=csv_separator, table=table, if_exists=exists)
        return write_table([rows], rows.schema, out, options)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow().__arrow_c_stream__(requested_schema)


class ResultTable(Tabular, Generic[Row]):
    """A table of results: a sequence of rows, with columns by name.

    `table[0]` is a row, `table[2:5]` some of them, `table["title"]` a column (a
    `pyarrow.ChunkedArray`). Equal tables have equal columns and rows.
    """

    noun = "row"
    """Noun for a row, for `repr`."""

    def __init__(self, table: pa.Table) -> None:
        """table: kept as it is, not copied."""
        self._table = table

    def to_arrow(self) -> pa.Table:
        """Return the Arrow table, not copied."""
        return self._table

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self._table.schema

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        names: list[str] = self._table.column_names
        return names

    @property
    def num_rows(self) -> int:
        """Number of rows; the same as `len`."""
        return int(self._table.num_rows)

    @property
    def num_columns(self) -> int:
        """Number of columns."""
        return int(self._table.num_columns)

    @property
    def columns(self) -> list[pa.ChunkedArray]:
        """All columns, in order."""
        columns: list[pa.ChunkedArray] = self._table.columns
        return columns

    def column(self, name: str | int) -> pa.ChunkedArray:
        """Return one column. Raises KeyError for an unknown name."""
        return self._table.column(name)

    def row_of(self, values: Mapping[str, Any]) -> Row:
        """Make a row from its values by column; a dictionary unless a subclass has its own type."""
        return values  # type: ignore[return-value]

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[Row]:
        for batch in self._table.to_batches(max_chunksize=1024):
            yield from map(self.row_of, batch.to_pylist())

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> ResultTable[Row]: ...
    @overload
    def __getitem__(self, key: str) -> pa.ChunkedArray: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            return self.column(key)
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._with(self._table.slice(start, max(0, stop - start)))
            return self._with(self._table.take(list(range(start, stop, step))))
        at = range(len(self))[key]
        return self.row_of(self._table.slice(at, 1).to_pylist()[0])

    def _with(self, table: pa.Table) -> ResultTable[Row]:
        return type(self)(table)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultTable):
            other = other.to_arrow()
        return bool(self._table.equals(other)) if isinstance(other, pa.Table) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def summary(self) -> Summary:
        """The first rows."""
        return Summary(self.title, (), table_of(self))

    @property
    def title(self) -> str:
        """The first line of `repr`."""
        return f"{type(self).__name__}: {counted(len(self), self.noun)}"


def table_of(result: Tabular, rows: int = MOST_ROWS) -> SummaryTable:
    """The first rows of a result, for its summary."""
    table = result.to_arrow()
    first = table.slice(0, rows).to_pylist()
    names = table.column_names
    cells = [[cell(name, row[name]) for name in names] for row in first]
    return SummaryTable(names, cells, table.num_rows - len(first))


def arrow_type(ids: Iterable[int | str | None]) -> pa.DataType:
    """The type of a column of ids: int64, or string if one is a text."""
    return pa.string() if any(isinstance(one, str) for one in ids) else pa.int64()


def cell(name: str, value: Any) -> Any:
    """A value of a column, for a summary: of a category path, its last name."""
    if isinstance(value, (int, float)):
        return value
    if name.endswith("category_name") and isinstance(value, str):
        value = leaf(value)
    return words(shown(value), _CELL)


def _series(column: pa.ChunkedArray) -> Any:
    """Convert a column to the dtype that people expect; see `to_pandas`."""
    import pandas as pd

    kind = column.type
    if pa.types.is_nested(kind):
        return pd.Series(column.to_pylist(), dtype=object)
    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    if column.null_count and kind in nullable:
        return column.to_pandas(types_mapper=nullable.get)
    return column.to_pandas()
