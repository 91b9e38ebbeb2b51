"""CSV that spreadsheets open right, and in which no cell is a formula.

UTF-8 with a byte order mark, by which Excel tells the encoding. A text that a spreadsheet would
take for a formula gets an apostrophe before it, as OWASP advises ("CSV injection"); a number that
is text, such as "-5" or "+79161234567", is harmless and stays as it is.
"""

from __future__ import annotations

import codecs
from contextlib import suppress
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

_FORMULA = r"(?s)^([=@\t\r\n]|[+-].*[^0-9.,])"
GUARD = "'"


class CsvFile:
    """Writer of a CSV file. guarded: whether spreadsheets are the readers: with a byte order mark,
    and no formulas."""

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, separator: str = ",", *, guarded: bool = True
    ) -> None:
        """schema: flat columns. With the separator `;`, numbers have a decimal comma."""
        if guarded:
            file.write(codecs.BOM_UTF8)
        self._guarded = guarded
        self._comma = separator == ";"
        options = pa_csv.WriteOptions(delimiter=separator)
        self._schema = pa.schema([(one.name, self._kind(one.type)) for one in schema])
        self._writer = pa_csv.CSVWriter(file, self._schema, write_options=options)

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        columns = [
            self._column(column).cast(kind)
            for column, kind in zip(table.columns, self._schema.types, strict=True)
        ]
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def discard(self) -> None:
        """Close without a complaint."""
        with suppress(Exception):
            self._writer.close()

    def _kind(self, kind: pa.DataType) -> pa.DataType:
        if pa.types.is_dictionary(kind):
            return self._kind(kind.value_type)
        plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
        if plain or (pa.types.is_floating(kind) and not self._comma):
            return kind
        return pa.string()

    def _column(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = pc.replace_substring(column, "\0", "")
            return guarded(column) if self._guarded else column
        if pa.types.is_floating(kind):
            # "nan" is no number to a spreadsheet.
            column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
            if self._comma:
                return pc.replace_substring(column.cast(pa.string()), ".", ",")
        if pa.types.is_timestamp(kind):
            return pc.strftime(column, "%Y-%m-%d %H:%M:%S") if kind.tz is None else _utc(column)
        return column


def guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Put an apostrophe before texts that a spreadsheet would take for a formula."""
    risky = pc.match_substring_regex(column, _FORMULA)
    return pc.if_else(risky, pc.binary_join_element_wise(GUARD, column, ""), column)


def unguarded(text: str) -> str:
    """Remove that apostrophe."""
    if text[:1] == GUARD and text[1:2] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        return text[1:]
    return text


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601, with the time zone."""
    return pc.strftime(column.cast(pa.timestamp("s", "UTC"), safe=False), "%Y-%m-%dT%H:%M:%SZ")
