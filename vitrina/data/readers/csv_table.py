"""`Records` of a CSV file, gzipped or not."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from vitrina.data.readers.base import Fault
from vitrina.data.readers.csv_lines import CsvLines, FieldsError, QuoteError
from vitrina.data.readers.text_tables import LONGEST_LINE, SAMPLE_ROWS, TextRecords
from vitrina.errors import CatalogueError, wrong_usage

_DELIMITERS = ",;\t|"

# The standard library's limit of 131,072 is too short for some descriptions; it is global to the
# process. Lines are cut at this length anyway.
csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))


class CsvRecords(TextRecords):
    """A CSV file with a header. All values are text."""

    typed = False

    def __init__(self, path: Path, delimiter: str | None, encoding: str | None) -> None:
        """Read the header and a sample. Raises CatalogueError if they are unusable."""
        super().__init__(path, encoding)
        self.names: tuple[str, ...] = ()
        head = next((line for line in self._lines() if line.strip()), "")
        self._refuse_wrong_encoding([self._fault(head)])
        self._delimiter = _delimiter_of(head) if delimiter is None else delimiter
        if len(self._delimiter) != 1 or self._delimiter in '"\r\n':
            problem = f"--delimiter must be one character, not {delimiter!r}"
            raise wrong_usage(CatalogueError(f"{path}: {problem}"))
        header = next(self._records(None), None)
        if not isinstance(header, list):
            reason = header.reason if header else "there is none"
            raise CatalogueError(f"{path}: the header can't be read: {reason}")
        self.names = tuple(name.strip() for name in header)
        self._refuse_wrong_encoding(list(islice(self.rows(()), SAMPLE_ROWS)))

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every row after the header; blank lines are skipped."""
        places = [self.names.index(name) for name in columns]
        id_place = None if id_column is None else self.names.index(id_column)
        for record in islice(self._records(id_place), 1, None):
            if isinstance(record, Fault):
                yield record
            else:
                yield tuple([record[place] for place in places])

    def _records(self, id_place: int | None) -> Iterator[list[str] | Fault]:
        lines = CsvLines(self._lines(), self._delimiter, len(self.names))
        reader = csv.reader(lines, delimiter=self._delimiter)
        while True:
            try:
                record = next(reader, None)
                fault = None if record is None else self._check(record, id_place)
            except (csv.Error, QuoteError) as err:
                record, fault = [], Fault(str(err), product_id=self._id_before(lines, id_place))
            except FieldsError as err:
                known = self._id_before(lines, id_place) if id_place == 0 else None
                record, fault = [], Fault(self._wrong_count(err.count), product_id=known)
            if record is None:
                return
            if fault is not None:
                # The record's extent is certain only if its sole fault is undecodable bytes.
                if not fault.undecodable:
                    lines.take_back()
                yield fault
            elif record:
                yield record
            lines.clear()

    def _check(self, record: list[str], id_place: int | None) -> Fault | None:
        if record and self.names and len(record) != len(self.names):
            reason = self._wrong_count(len(record))
            return Fault(reason, product_id=self._id_in(record, id_place))
        if (fault := self._fault("".join(record))) is None:
            return None
        found = "" if id_place is None else record[id_place]
        return Fault(
            fault.reason, undecodable=True, product_id=None if self._fault(found) else found
        )

    def _wrong_count(self, count: int) -> str:
        return f"{count} fields, but the header has {len(self.names)}"

    def _id_in(self, record: list[str], place: int | None) -> str | None:
        """Return the id in a record of the wrong length if its position is certain.

        It is at one end of the record, or counting from either end gives the same value.
        """
        if place is None:
            return None
        from_end = place - len(self.names)
        first = record[place] if place < len(record) else None
        last = record[from_end] if -from_end <= len(record) else None
        if place == 0:
            return first
        if from_end == -1:
            return last
        # Elsewhere, a stray delimiter may be before or after it.
        return first if first == last else None

    def _id_before(self, lines: CsvLines, place: int | None) -> str | None:
        """Return the id of a record whose quotes don't match, if it precedes the first open one."""
        if place is None or not lines.first:
            return None
        try:
            whole = next(csv.reader([lines.first], delimiter=self._delimiter), [])[:-1]
        except csv.Error:
            return None
        return whole[place] if place < len(whole) and '"' not in "".join(whole) else None


def _delimiter_of(header: str) -> str:
    def fields(mark: str) -> int:
        return len(next(csv.reader([header[: 1 << 16]], delimiter=mark), []))

    return max(_DELIMITERS, key=fields)
