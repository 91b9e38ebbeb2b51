"""Lines of a CSV file for `csv.reader`, in which a bad record costs its first line alone.

Two stray quotes, lines apart, make one record of many. Such a record is rejected, and all of its
lines but the first are read again, as records of their own. How a line changes the state of the
quotes does not depend on where the record starts, so each line is followed once from inside quotes
and once as the first of a record, however often it is read again: the time is linear.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

# A quote that is never closed would otherwise swallow the rest of the file.
_LONGEST_RECORD = 1 << 20
_NOT_CLOSED = "a quote is opened and never closed"
_TOO_LONG = "a quote is opened and not closed for a million characters"

_MOST_PARSED_LINES = 32
"""A record of a wrong number of fields is parsed, for the id in it, only if it has no more lines
than that."""
_FORGET = 4096


class QuoteError(Exception):
    """A record of several lines is none: its quotes don't match."""


class FieldsError(Exception):
    """A record of many lines has a wrong number of fields, which is `count`."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class _Followed(NamedTuple):
    """The quotes of one line. fields: delimiters outside quotes. inside: whether it ends inside
    quotes. error: where they don't match, "" where they do."""

    fields: int
    inside: bool
    error: str = ""


class CsvLines:
    """An iterator over lines, for `csv.reader`. Call `clear` after each record.

    Held are the lines that were looked at beyond the current record. `_sizes` and `_fields` are the
    sums of the lengths, and of the delimiters seen from inside quotes, of all held lines before
    each; `_ends` are the places of lines that don't end inside quotes when they start there.
    """

    def __init__(self, lines: Iterator[str], delimiter: str, fields: int) -> None:
        """fields: of each record; 0 where that is not known yet."""
        self._lines = lines
        self._delimiter = delimiter
        self._most = fields
        self._held: list[str] = []
        self._sizes, self._fields = [0], [0]
        self._ends: list[int] = []
        self._errors: dict[int, str] = {}
        # The current record's first line, the next line to give, and the next to follow.
        self._start = self._at = self._followed = 0
        # How many lines were followed, in all.
        self.work = 0

    def __iter__(self) -> CsvLines:
        return self

    def __next__(self) -> str:
        if self._at == self._start + 1:
            self._look_ahead()
        if self._at == len(self._held) and not self._hold():
            if self._at > self._start:
                raise QuoteError(_NOT_CLOSED)
            raise StopIteration
        self._at += 1
        return self._held[self._at - 1]

    @property
    def first(self) -> str:
        """The current record's first line; "" before it was read."""
        return self._held[self._start] if self._at > self._start else ""

    def take_back(self) -> None:
        """Have all lines of the current record but the first read again."""
        self._at = min(self._at, self._start + 1)

    def clear(self) -> None:
        """Begin a new record."""
        self._start = at = self._at
        if at == len(self._held) or at > max(_FORGET, len(self._held) // 2):
            del self._held[:at], self._sizes[:at], self._fields[:at]
            self._ends = [end - at for end in self._ends if end >= at]
            self._errors = {end - at: why for end, why in self._errors.items() if end >= at}
            self._start = self._at = 0
            self._followed = max(self._followed - at, 0)

    def _hold(self) -> bool:
        """Read one more line; whether there is one."""
        line = next(self._lines, None)
        if line is None:
            return False
        self._held.append(line)
        self._sizes.append(self._sizes[-1] + len(line))
        self._fields.append(self._fields[-1])
        return True

    def _look_ahead(self) -> None:
        """Find out whether the current record, which goes on past its first line, is one.

        Raises QuoteError, FieldsError.
        """
        start = self._start
        if start + 1 == len(self._held) and not self._hold():
            raise QuoteError(_NOT_CLOSED)
        if self._sizes[start + 2] - self._sizes[start] > _LONGEST_RECORD:
            raise QuoteError(_TOO_LONG)
        first = self._follow(self._held[start], inside=False)
        if first.error:
            raise QuoteError(first.error)
        if not first.inside:
            return
        if self._most and first.fields >= self._most:
            raise QuoteError(_NOT_CLOSED)
        self._followed = max(self._followed, start + 1)
        while True:
            place = bisect_right(self._ends, start)
            end = self._ends[place] if place < len(self._ends) else self._followed
            # The first line with which the record is too long, or has too many fields.
            long = bisect_right(self._sizes, self._sizes[start] + _LONGEST_RECORD) - 1
            wide = len(self._held)
            if self._most:
                needed = self._fields[start + 1] + self._most - first.fields
                wide = bisect_left(self._fields, needed, start + 1, self._followed + 1) - 1
            if long <= min(end, wide) and long < self._followed:
                raise QuoteError(_TOO_LONG)
            if wide < end:
                raise QuoteError(_NOT_CLOSED)
            if end < self._followed:
                break
            if not self._follow_next(start):
                raise QuoteError(_NOT_CLOSED)
        if end in self._errors:
            raise QuoteError(self._errors[end])
        count = first.fields + self._fields[end + 1] - self._fields[start + 1] + 1
        if self._most and count != self._most and end - start >= _MOST_PARSED_LINES:
            raise FieldsError(count)

    def _follow_next(self, start: int) -> bool:
        """Follow one more line from inside quotes; whether there is one."""
        at = self._followed
        if at == len(self._held) and not self._hold():
            return False
        if self._sizes[at + 1] - self._sizes[start] > _LONGEST_RECORD:
            # A record that starts later may need it.
            raise QuoteError(_TOO_LONG)
        self._followed += 1
        found = self._follow(self._held[at], inside=True)
        self._fields[at + 1] = self._fields[at] + found.fields
        if found.error or not found.inside:
            self._ends.append(at)
        if found.error:
            self._errors[at] = found.error
        return True

    def _follow(self, line: str, *, inside: bool) -> _Followed:
        """Follow the quotes of one line."""
        self.work += 1
        at = fields = 0
        while True:
            if not inside:
                if line[at : at + 1] != '"':
                    at = line.find(self._delimiter, at) + 1
                    if not at:
                        return _Followed(fields, inside=False)
                    fields += 1
                    continue
                at += 1
            end = line.find('"', at)
            while end >= 0 and line[end + 1 : end + 2] == '"':
                end = line.find('"', end + 2)
            if end < 0:
                return _Followed(fields, inside=True)
            inside = False
            after = line[end + 1 : end + 2]
            if after in ("", "\r", "\n"):
                return _Followed(fields, inside=False)
            if after != self._delimiter:
                error = f"{self._delimiter!r} expected after '\"'"
                return _Followed(fields, inside=False, error=error)
            fields += 1
            at = end + 2
