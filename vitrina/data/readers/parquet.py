"""`Records` of a Parquet file, or of a directory of Parquet files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from vitrina.data.arrow_types import holds_photos
from vitrina.data.readers.arrow_columns import declared_id_type, may_hold_text
from vitrina.data.readers.arrow_values import rows_of, unpacked_bytes
from vitrina.data.readers.base import Fault, IdType
from vitrina.data.readers.parquet_batches import group_batches, open_parquet
from vitrina.data.readers.unpacked import most_unpacked, out_of_proportion
from vitrina.errors import CatalogueError
from vitrina.ids import is_canonical_integer
from vitrina.parquet.footer import DamagedPagesError, read_footer

BATCH_ROWS = 4096
_FREE_BYTES = 1 << 27
"""Bytes of values allowed for any file, since a whole column may repeat one text."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class _Part:
    """One file, its column types, and the values from its folders' names (`key=value`)."""

    path: Path
    fields: dict[str, pa.DataType]
    folders: dict[str, int | str | None]


class ParquetRecords:
    """One Parquet file, or a directory of them, hive partitions included.

    The files of a directory may differ in their columns and in the columns' types.
    """

    path: Path | str
    first_row = 1
    typed = True
    names_grow = False
    notes: Sequence[str] = ()

    def __init__(self, path: Path, *, shown: str | None = None) -> None:
        """Read the schemas. Raises CatalogueError for a file that is not Parquet or is damaged.

        shown: the name for messages of a file that Vitrina wrote itself.
        """
        self.path = path if shown is None else shown
        self._own = shown is not None
        self._parts: list[_Part] = []
        names: list[str] = []
        for file in _files_in(path) if path.is_dir() else [path]:
            with _parquet_errors(file), open_parquet(file) as opened:
                schema = opened.schema_arrow
            names += schema.names if not names else (n for n in schema.names if n not in names)
            fields = dict(zip(schema.names, schema.types, strict=True))
            self._parts.append(_Part(file, fields, {}))
        if path.is_dir():
            self._parts = _with_folders(path, self._parts)
            folders = (name for part in self._parts for name in part.folders)
            names += dict.fromkeys(name for name in folders if name not in names)
        self.names = tuple(names)

    def count(self) -> int:
        """Return the number of rows that the files declare."""
        return sum(group.rows for part in self._parts for group in read_footer(part.path))

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:
        """Return the id type by schema; None if files differ or only the values determine it."""
        declared = declared_id_type(self.path, column, self._types(column), lists=lists)
        return None if self._in_folders(column) else declared

    def holds_text(self, column: str) -> bool:
        """Return True if the schema or the folders' names allow text or lists."""
        return self._in_folders(column) or any(map(may_hold_text, self._types(column)))

    def holds_bytes(self, column: str) -> bool:
        """Return True for binary data, records of {bytes, path}, or lists of these."""
        return holds_photos(next(iter(self._types(column)), pa.null()))

    def rows(
        self,
        columns: Sequence[str],
        id_column: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every row, one batch in memory at a time. Raises CatalogueError for damage."""
        for part in self._parts:
            with _parquet_errors(part.path):
                yield from self._rows_of(part, columns)

    def _in_folders(self, column: str) -> bool:
        return any(column in part.folders for part in self._parts)

    def _types(self, column: str) -> list[pa.DataType]:
        """Return the types of a column in the files, without null types."""
        kinds = dict.fromkeys(part.fields.get(column, pa.null()) for part in self._parts)
        return [kind for kind in kinds if not pa.types.is_null(kind)]

    def _rows_of(self, part: _Part, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        there = [name for name in dict.fromkeys(columns) if name in part.fields]
        whole = len(there) == len(columns)
        read = 0
        # A file of our own may repeat one text as often as its origin does.
        most = sys.maxsize if self._own else most_unpacked(part.path, _FREE_BYTES)
        for batch in _batches(part.path, there):
            read += unpacked_bytes(batch)
            if read > most:
                raise out_of_proportion(part.path, most)
            if whole:
                yield from rows_of(batch, columns)
                continue
            for row in rows_of(batch, there) if there else [()] * batch.num_rows:
                values = dict(zip(there, row, strict=True))
                yield tuple(values.get(name, part.folders.get(name)) for name in columns)


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    groups = read_footer(path)
    with open_parquet(path) as file:
        read = 0
        for number in range(file.num_row_groups):
            for batch in group_batches(path, file, groups, number, columns, BATCH_ROWS):
                read += batch.num_rows
                yield batch
        if read != file.metadata.num_rows:
            raise DamagedPagesError(f"{read} rows are there, {file.metadata.num_rows} are declared")


def _files_in(path: Path) -> list[Path]:
    files = sorted(
        file
        for file in path.rglob("*.parquet")
        if not any(part[0] in "._" for part in file.relative_to(path).parts)
    )
    if not files:
        raise CatalogueError(f"{path}: no .parquet file in this directory; name a file")
    return files


def _with_folders(root: Path, parts: list[_Part]) -> list[_Part]:
    """Add the values from folder names to the files; a key's values are integers if all are."""
    found: list[dict[str, str | None]] = []
    for part in parts:
        folders = part.path.relative_to(root).parts[:-1]
        pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
        found.append({key: None if text == _NO_VALUE else unquote(text) for key, text in pairs})
    values = [(key, text) for folders in found for key, text in folders.items() if text is not None]
    texts = {key for key, text in values if not is_canonical_integer(text)}

    def value(key: str, text: str | None) -> int | str | None:
        return text if text is None or key in texts else int(text)

    return [
        replace(part, folders={key: value(key, text) for key, text in folders.items()})
        for part, folders in zip(parts, found, strict=True)
    ]


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedPagesError as err:
        raise CatalogueError(f"{path}: can't be read as Parquet: it is damaged: {err}") from err
    except UnicodeDecodeError as err:
        raise CatalogueError(
            f"{path}: can't be read as Parquet: a name in it is not valid utf-8"
        ) from err
    except (OSError, pa.ArrowException) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise CatalogueError(f"{path}: can't be read as Parquet: {reason}") from err
