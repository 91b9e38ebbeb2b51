"""Line iterator for `csv.reader` in which a malformed record costs only its first line.

Two stray quotes on different lines join many records into one. Such a record is rejected, and its
lines after the first are read again as records of their own. The effect of a line on the quote
state does not depend on where the record starts, so each line is scanned once from inside quotes
and once as the first line of a record, however often it is read again. The total time is linear.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

# An unclosed quote would otherwise swallow the rest of the file.
_LONGEST_RECORD = 1 << 20
_NOT_CLOSED = "a quote is opened and never closed"
_TOO_LONG = "a quote is opened and not closed for a million characters"

_MOST_PARSED_LINES = 32
"""Maximum lines of a record with a wrong number of fields that is still parsed for its id."""
_FORGET = 4096


class QuoteError(Exception):
    """The quotes of a record of several lines don't match."""


class FieldsError(Exception):
    """A record of many lines has a wrong number of fields; `count` is that number."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class _LineQuotes(NamedTuple):
    """Quote state of one line.

    fields: number of delimiters outside quotes. inside: whether the line ends inside quotes.
    error: message if the quotes don't match, else "".
    """

    fields: int
    inside: bool
    error: str = ""


class CsvLines:
    """Line iterator for `csv.reader`. Call `clear` after each record.

    `_buffer` holds the lines read beyond the current record. `_sizes` and `_fields` are prefix sums
    over it: of line lengths, and of delimiters for lines that start inside quotes. `_ends` are the
    positions of lines that start inside quotes and don't end inside quotes.
    """

    def __init__(self, lines: Iterator[str], delimiter: str, fields: int) -> None:
        """fields: the number of fields per record; 0 if not known yet."""
        self._lines = lines
        self._delimiter = delimiter
        self._most = fields
        self._buffer: list[str] = []
        self._sizes, self._fields = [0], [0]
        self._ends: list[int] = []
        self._errors: dict[int, str] = {}
        # Positions of the current record's first line, the next line to yield, the next to scan.
        self._start = self._at = self._scanned = 0
        # Total number of scanned lines.
        self.work = 0

    def __iter__(self) -> CsvLines:
        return self

    def __next__(self) -> str:
        if self._at == self._start + 1:
            self._look_ahead()
        if self._at == len(self._buffer) and not self._read_line():
            if self._at > self._start:
                raise QuoteError(_NOT_CLOSED)
            raise StopIteration
        self._at += 1
        return self._buffer[self._at - 1]

    @property
    def first(self) -> str:
        """The current record's first line; "" before it is read."""
        return self._buffer[self._start] if self._at > self._start else ""

    def take_back(self) -> None:
        """Move back, so that all lines of the current record but the first are read again."""
        self._at = min(self._at, self._start + 1)

    def clear(self) -> None:
        """Begin a new record."""
        self._start = at = self._at
        if at == len(self._buffer) or at > max(_FORGET, len(self._buffer) // 2):
            del self._buffer[:at], self._sizes[:at], self._fields[:at]
            self._ends = [end - at for end in self._ends if end >= at]
            self._errors = {end - at: why for end, why in self._errors.items() if end >= at}
            self._start = self._at = 0
            self._scanned = max(self._scanned - at, 0)

    def _read_line(self) -> bool:
        """Read one more line into the buffer; return False at the end."""
        line = next(self._lines, None)
        if line is None:
            return False
        self._buffer.append(line)
        self._sizes.append(self._sizes[-1] + len(line))
        self._fields.append(self._fields[-1])
        return True

    def _look_ahead(self) -> None:
        """Check that the current record, which continues past its first line, is well-formed.

        Raises QuoteError, FieldsError.
        """
        start = self._start
        if start + 1 == len(self._buffer) and not self._read_line():
            raise QuoteError(_NOT_CLOSED)
        if self._sizes[start + 2] - self._sizes[start] > _LONGEST_RECORD:
            raise QuoteError(_TOO_LONG)
        first = self._follow(self._buffer[start], inside=False)
        if first.error:
            raise QuoteError(first.error)
        if not first.inside:
            return
        if self._most and first.fields >= self._most:
            raise QuoteError(_NOT_CLOSED)
        self._scanned = max(self._scanned, start + 1)
        while True:
            place = bisect_right(self._ends, start)
            end = self._ends[place] if place < len(self._ends) else self._scanned
            # The first line with which the record is too long, or has too many fields.
            long = bisect_right(self._sizes, self._sizes[start] + _LONGEST_RECORD) - 1
            wide = len(self._buffer)
            if self._most:
                needed = self._fields[start + 1] + self._most - first.fields
                wide = bisect_left(self._fields, needed, start + 1, self._scanned + 1) - 1
            if long <= min(end, wide) and long < self._scanned:
                raise QuoteError(_TOO_LONG)
            if wide < end:
                raise QuoteError(_NOT_CLOSED)
            if end < self._scanned:
                break
            if not self._follow_next(start):
                raise QuoteError(_NOT_CLOSED)
        if end in self._errors:
            raise QuoteError(self._errors[end])
        count = first.fields + self._fields[end + 1] - self._fields[start + 1] + 1
        if self._most and count != self._most and end - start >= _MOST_PARSED_LINES:
            raise FieldsError(count)

    def _follow_next(self, start: int) -> bool:
        """Scan one more line from inside quotes; return False at the end."""
        at = self._scanned
        if at == len(self._buffer) and not self._read_line():
            return False
        if self._sizes[at + 1] - self._sizes[start] > _LONGEST_RECORD:
            # A record that starts later may need it.
            raise QuoteError(_TOO_LONG)
        self._scanned += 1
        found = self._follow(self._buffer[at], inside=True)
        self._fields[at + 1] = self._fields[at] + found.fields
        if found.error or not found.inside:
            self._ends.append(at)
        if found.error:
            self._errors[at] = found.error
        return True

    def _follow(self, line: str, *, inside: bool) -> _LineQuotes:
        """Scan the quotes of one line."""
        self.work += 1
        at = fields = 0
        while True:
            if not inside:
                if line[at : at + 1] != '"':
                    at = line.find(self._delimiter, at) + 1
                    if not at:
                        return _LineQuotes(fields, inside=False)
                    fields += 1
                    continue
                at += 1
            end = line.find('"', at)
            while end >= 0 and line[end + 1 : end + 2] == '"':
                end = line.find('"', end + 2)
            if end < 0:
                return _LineQuotes(fields, inside=True)
            inside = False
            after = line[end + 1 : end + 2]
            if after in ("", "\r", "\n"):
                return _LineQuotes(fields, inside=False)
            if after != self._delimiter:
                error = f"{self._delimiter!r} expected after '\"'"
                return _LineQuotes(fields, inside=False, error=error)
            fields += 1
            at = end + 2
