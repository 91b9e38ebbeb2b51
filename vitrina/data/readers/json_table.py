"""`Records` of JSON lines, or of a file with one array of JSON objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from vitrina.data.readers.base import Fault
from vitrina.data.readers.text_tables import (
    LONGEST_LINE,
    SAMPLE_ROWS,
    TextRecords,
    open_text,
    read_errors,
)
from vitrina.errors import CatalogueError

_CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")
_NEXT_OBJECT = re.compile(r"\}\s*,\s*(?=\{)")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_STRINGS = re.compile(_TEXT)


class JsonRecords(TextRecords):
    """JSON objects, one on each line or all in one array."""

    names_grow = True

    def __init__(self, path: Path, encoding: str | None, *, array: bool = False) -> None:
        """Collect the keys of a sample. Raises CatalogueError if it holds no object."""
        super().__init__(path, encoding)
        self._array = array
        self._keys: dict[str, None] = {}
        sample = list(islice(self._objects(None), SAMPLE_ROWS))
        self._refuse_wrong_encoding(sample)
        if not any(isinstance(row, dict) for row in sample):
            where = "in the array" if array else f"on any of the first {len(sample)} lines"
            raise CatalogueError(
                f"{path}: no JSON object {where}; write one on each line, or one list of them"
            )
        self._keys.update(dict.fromkeys(chain.from_iterable(r for r in sample if type(r) is dict)))

    @property
    def names(self) -> tuple[str, ...]:
        """Keys seen so far, in order of first occurrence."""
        return tuple(self._keys)

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every object as a row; None for a key that it lacks."""
        keys = self._keys
        for row in self._objects(id_column):
            if isinstance(row, Fault):
                yield row
                continue
            if not row.keys() <= keys.keys():
                keys.update(dict.fromkeys(row))
            yield tuple(map(row.get, columns))

    def _objects(self, id_column: str | None) -> Iterator[dict[str, Any] | Fault]:
        texts = self._elements() if self._array else self._lines()
        for text in texts:
            if text.isspace():
                continue
            fault = self._fault(text)
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as err:
                value, fault = None, fault or Fault(f"broken JSON: {err}")
            if fault is None and not isinstance(value, dict):
                fault = Fault("not a JSON object")
            if fault is None:
                yield value
            else:
                yield self._with_id(fault, text, value, id_column)

    def _with_id(self, fault: Fault, text: str, value: Any, id_column: str | None) -> Fault:
        if id_column is None:
            return fault
        found = value.get(id_column) if isinstance(value, dict) else id_in(text, id_column)
        if isinstance(found, str) and self._fault(found):
            found = None
        return Fault(fault.reason, fault.undecodable, found)

    def _elements(self) -> Iterator[str]:
        """Yield the text of each element of the array, with about `LONGEST_LINE` in memory at most.

        Raises CatalogueError for an array without an end.
        """
        decoder = json.JSONDecoder()
        with read_errors(self.path), open_text(self.path, self._encoding) as stream:
            buffer, ended = stream.read(_CHUNK), False
            at = buffer.index("[") + 1
            while True:
                at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
                if buffer.startswith("]", at):
                    if rest := (buffer[at + 1 :] + stream.read(_CHUNK)).strip():
                        yield rest
                    return
                end, broken_at = 0, at
                try:
                    end = decoder.raw_decode(buffer, at)[1] if at < len(buffer) else 0
                except json.JSONDecodeError as err:
                    broken_at = err.pos
                except (ValueError, RecursionError):
                    pass
                # A number at the end of the buffer may be incomplete.
                if end and (ended or end < len(buffer)):
                    yield buffer[at:end]
                    at = end
                elif not ended and len(buffer) - at < LONGEST_LINE:
                    more = stream.read(max(_CHUNK, len(buffer) - at))
                    buffer, at, ended = buffer[at:] + more, 0, not more
                elif at == len(buffer):
                    raise CatalogueError(f"{self.path}: cut short: the JSON array has no end")
                else:
                    found = _NEXT_OBJECT.search(buffer, broken_at)
                    # The last element ends before the array's end, if there is one.
                    end = found.start() + 1 if found else len(buffer.rstrip().removesuffix("]"))
                    yield buffer[at:end]
                    at = end


def id_in(text: str, column: str) -> int | str | None:
    """Return the value of a broken JSON object's own key, if the value is complete."""
    for key in re.finditer(re.escape(json.dumps(column, ensure_ascii=False)) + r"\s*:\s*", text):
        above = _STRINGS.sub("", text[: key.start()])
        if above.count("{") - above.count("}") != 1 or above.count("[") != above.count("]"):
            continue
        found = re.compile(rf"({_TEXT})|(-?[0-9]{{1,40}})(?=\s*[,}}])").match(text, key.end())
        if found:
            value: int | str = json.loads(found[0], strict=False) if found[1] else int(found[2])
            return value
    return None
