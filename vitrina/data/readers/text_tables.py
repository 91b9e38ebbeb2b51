"""CSV and JSON lines, perhaps gzipped, as rows of bare values.

Each class is a `Records`: it streams, and bad rows come out as a `Fault` in their place.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from vitrina.data.readers.base import INT64, Fault, IdType
from vitrina.errors import CatalogueError

Bytes: TypeAlias = "gzip.GzipFile | io.BufferedReader"

SAMPLE_ROWS = 1000
"""Rows looked at to learn the keys of a JSONL file and whether the encoding is right."""

_DELIMITERS = ",;\t|"
# In characters; a longer line is cut there, and so becomes a bad row of its own.
_LONGEST_LINE = 1 << 24
# A quote that is never closed would otherwise swallow the rest of the file.
_LONGEST_RECORD = 1 << 20
_LONGEST_INTEGER = len("-9223372036854775808.0")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
# What pandas writes for a column of integers with gaps.
_WHOLE_FLOAT = re.compile(r"(?:0|-?[1-9][0-9]*)\.0")
_MISSING = frozenset({"", "nan", "null"})
_UNDECODABLE = "not valid {}: its bytes can't be decoded"


class TextRecords:
    """What CSV and JSON lines share: text in some encoding, perhaps gzipped."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Take note of the file; nothing is opened."""
        self.path = path
        self._encoding = encoding
        self.names: tuple[str, ...] = ()

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Never, in text."""
        return False

    def _lines(self) -> Iterator[str]:
        """Lines with their ends; bytes that can't be decoded become lone surrogates."""
        with read_errors(self.path), open_text(self.path, self._encoding) as stream:
            while line := stream.readline(_LONGEST_LINE):
                rest = line
                while len(rest) == _LONGEST_LINE and rest[-1] not in "\r\n":
                    rest = stream.readline(_LONGEST_LINE)
                yield line

    def _fault(self, text: str) -> Fault | None:
        if text.isascii():
            return None
        try:
            text.encode()
        except UnicodeEncodeError:
            return Fault(_UNDECODABLE.format(self._encoding), undecodable=True)
        return None

    def _refuse_wrong_encoding(self, sample: Sequence[object]) -> None:
        bad = sum(isinstance(row, Fault) and row.undecodable for row in sample)
        if bad > len(sample) / 2:
            raise CatalogueError(
                f"{self.path}: {bad} of the first {len(sample)} rows are not valid "
                f"{self._encoding}; name the encoding with --encoding, such as --encoding cp1251"
            )


class CsvRecords(TextRecords):
    """A CSV file with a header. All values are text, but for columns asked of `id_types`."""

    def __init__(self, path: Path, delimiter: str | None, encoding: str) -> None:
        """Read the header and a sample. Raises CatalogueError where they make no sense."""
        super().__init__(path, encoding)
        head = next((line for line in self._lines() if line.strip()), "")
        self._refuse_wrong_encoding([self._fault(head)])
        self._delimiter = _delimiter_of(head) if delimiter is None else delimiter
        if len(self._delimiter) != 1 or self._delimiter in '"\r\n':
            raise CatalogueError(f"{path}: --delimiter must be one character, not {delimiter!r}")
        self._id_types: dict[str, IdType | None] = {}
        header = next(self._records(), None)
        if not isinstance(header, list):
            reason = header.reason if header else "there is none"
            raise CatalogueError(f"{path}: the header can't be read: {reason}")
        self.names = tuple(name.strip() for name in header)
        self._refuse_wrong_encoding(list(islice(self.rows(()), SAMPLE_ROWS)))

    def id_types(self, columns: Sequence[str]) -> tuple[IdType | None, ...]:
        """Integers only if every id of the whole file is one, as it would be written anew.

        From then on `rows` gives the ids of these columns in that type, None where missing.
        """
        forms: list[tuple[re.Pattern[str], ...]] = [(_INTEGER, _WHOLE_FLOAT)] * len(columns)
        seen: set[int] = set()
        for row in self.rows(columns):
            for place, value in enumerate(() if isinstance(row, Fault) else row):
                if value.strip().lower() not in _MISSING:
                    seen.add(place)
                    forms[place] = tuple(form for form in forms[place] if _fits(form, value))
        types: list[IdType | None] = [
            None if place not in seen else int if left else str for place, left in enumerate(forms)
        ]
        self._id_types = dict(zip(columns, types, strict=True))
        return tuple(types)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...] | Fault]:
        """Every row after the header; blank lines are none."""
        places = [self.names.index(name) for name in columns]
        ids = [(place, self._id_types[c]) for place, c in enumerate(columns) if c in self._id_types]
        for record in islice(self._records(), 1, None):
            if isinstance(record, Fault):
                yield record
                continue
            values: list[Any] = [record[place] for place in places]
            for place, kind in ids:
                text = values[place]
                if text.strip().lower() in _MISSING:
                    values[place] = None
                elif kind is int:
                    values[place] = int(text.removesuffix(".0"))
            yield tuple(values)

    def _records(self) -> Iterator[list[str] | Fault]:
        feed = _Feed(self._lines())
        reader = csv.reader(feed, delimiter=self._delimiter)
        while True:
            try:
                record = next(reader, None)
                fault = None if record is None else self._check(record, feed)
            except (csv.Error, _UnclosedError) as err:
                record, fault = [], Fault(str(err))
            if record is None:
                return
            if fault is not None:
                # Bad bytes leave the record's extent beyond doubt; anything else doesn't.
                if not fault.undecodable:
                    feed.take_back()
                yield fault
            elif record:
                yield record
            feed.clear()

    def _check(self, record: list[str], feed: _Feed) -> Fault | None:
        if record and self.names and len(record) != len(self.names):
            return Fault(f"{len(record)} fields, but the header has {len(self.names)}")
        if len(feed.taken) > 1:
            # Two stray quotes, lines apart, make one record of many; strictly it is none.
            next(csv.reader(feed.taken, delimiter=self._delimiter, strict=True))
        return self._fault("".join(record))


class _UnclosedError(Exception):
    """A quoted field goes on past the end of the file, or past all measure."""


class _Feed:
    """Lines for `csv.reader`; all but a bad record's first line can be given again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._size = 0
        self.taken: list[str] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines, None)
        if line is None:
            if self.taken:
                raise _UnclosedError("a quote is opened and never closed")
            raise StopIteration
        self.taken.append(line)
        self._size += len(line)
        if self._size > _LONGEST_RECORD and len(self.taken) > 1:
            raise _UnclosedError("a quote is opened and not closed for a million characters")
        return line

    def take_back(self) -> None:
        self._again.extendleft(reversed(self.taken[1:]))

    def clear(self) -> None:
        self.taken.clear()
        self._size = 0


class JsonlRecords(TextRecords):
    """A file of JSON objects, one on each line."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Learn the keys from a sample. Raises CatalogueError where it holds no object."""
        super().__init__(path, encoding)
        sample = list(islice(self._objects(), SAMPLE_ROWS))
        self._refuse_wrong_encoding(sample)
        objects = [row for row in sample if isinstance(row, dict)]
        if not objects:
            raise CatalogueError(f"{path}: no JSON object on any of the first {len(sample)} lines")
        self.names = tuple(dict.fromkeys(chain.from_iterable(objects)))

    def id_types(self, columns: Sequence[str]) -> tuple[IdType | None, ...]:
        """By the first id of each column, for the sake of which the file is read that far."""
        return first_id_types(self.rows(columns), columns)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...] | Fault]:
        """Every line that is not blank; None for a key that an object lacks."""
        for row in self._objects():
            yield row if isinstance(row, Fault) else tuple(map(row.get, columns))

    def _objects(self) -> Iterator[dict[str, Any] | Fault]:
        for line in self._lines():
            if fault := self._fault(line):
                yield fault
            elif not line.isspace():
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as err:
                    yield Fault(f"broken JSON: {err}")
                    continue
                yield value if isinstance(value, dict) else Fault("not a JSON object")


def first_id_types(
    rows: Iterable[tuple[Any, ...] | Fault], columns: Sequence[str]
) -> tuple[IdType | None, ...]:
    """The type of the first id in each of `columns`, whose values the rows are; None for none."""
    types: dict[str, IdType] = {}
    for row in rows:
        for column, value in zip(columns, () if isinstance(row, Fault) else row, strict=False):
            if isinstance(value, str | bytes) and value.strip():
                types.setdefault(column, str)
            elif type(value) in (int, float) and value == value:
                types.setdefault(column, int)
        if len(types) == len(columns):
            break
    return tuple(types.get(column) for column in columns)


def open_bytes(path: Path) -> Bytes:
    """Open a file, and unzip it on the way if it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a text file, gzipped or not; undecodable bytes become lone surrogates."""
    stream = open_bytes(path)
    # A byte order mark is no part of the first column's name.
    codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        return io.TextIOWrapper(stream, codec, errors="surrogateescape", newline="")
    except LookupError as err:
        stream.close()
        raise CatalogueError(f"{path}: unknown --encoding {encoding!r}") from err


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while text is read into CatalogueError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as err:
        raise CatalogueError(f"{path}: can't be read: {err}") from err
    except UnicodeError as err:
        raise CatalogueError(f"{path}: can't be decoded, see --encoding: {err}") from err


def _delimiter_of(header: str) -> str:
    def fields(mark: str) -> int:
        # Shorter than the longest field that `csv` takes.
        return len(next(csv.reader([header[: 1 << 16]], delimiter=mark), []))

    return max(_DELIMITERS, key=fields)


def _fits(form: re.Pattern[str], text: str) -> bool:
    return (
        form.fullmatch(text) is not None
        and len(text) <= _LONGEST_INTEGER
        and int(text.removesuffix(".0")) in INT64
    )
