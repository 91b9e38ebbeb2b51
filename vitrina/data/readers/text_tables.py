"""Text files, perhaps gzipped, in some encoding: what CSV and JSON tables share.

Both are `Records`: they stream, and bad rows come out as a `Fault` in their place.
"""

from __future__ import annotations

import io
import zlib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vitrina.data.readers.base import UTF8, Fault, IdType
from vitrina.data.readers.unpacked import open_gzip
from vitrina.errors import CatalogueError

SAMPLE_ROWS = 1000
"""Rows looked at to learn the keys of a JSONL file and whether the encoding is right."""

LONGEST_LINE = 1 << 24
"""In characters; a longer line is cut there, and so becomes a bad row of its own."""

_UNDECODABLE = "not valid {}: its bytes can't be decoded"


class TextRecords:
    """A table in a text file. encoding: None for UTF-8, or UTF-16 if a byte order mark says so."""

    first_row = 1
    typed = True
    names_grow = False
    notes: Sequence[str] = ()

    def __init__(self, path: Path, encoding: str | None) -> None:
        """Take note of the file; nothing is opened."""
        self.path = path
        self._encoding = encoding

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:  # noqa: ARG002
        """None: only the values tell."""
        return None

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Perhaps."""
        return True

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Never, in text."""
        return False

    def _lines(self) -> Iterator[str]:
        """Lines with their ends; bytes that can't be decoded become lone surrogates."""
        with read_errors(self.path), open_text(self.path, self._encoding) as stream:
            while line := stream.readline(LONGEST_LINE):
                rest = line
                while len(rest) == LONGEST_LINE and rest[-1] not in "\r\n":
                    rest = stream.readline(LONGEST_LINE)
                yield line

    def _fault(self, text: str) -> Fault | None:
        if text.isascii():
            return None
        try:
            text.encode()
        except UnicodeEncodeError:
            reason = _UNDECODABLE.format(self._encoding or UTF8)
            return Fault(reason, undecodable=True)
        return None

    def _refuse_wrong_encoding(self, sample: Sequence[object]) -> None:
        bad = sum(isinstance(row, Fault) and row.undecodable for row in sample)
        if bad > len(sample) / 2:
            raise CatalogueError(
                f"{self.path}: {bad} of the first {len(sample)} rows are not valid "
                f"{self._encoding or UTF8}; "
                "name the encoding with --encoding, such as --encoding cp1251"
            )


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file, and unzip it on the way if it is gzipped.

    Reading raises CatalogueError for one that unpacks to more than its bytes are worth.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return open_gzip(path) if zipped else path.open("rb")


def open_text(path: Path, encoding: str | None) -> TextIO:
    """Open a text file, gzipped or not; undecodable bytes become lone surrogates.

    encoding: None for UTF-8. That is taken for UTF-16 where a byte order mark says so.
    """
    stream = open_bytes(path)
    codec = encoding or UTF8
    if codec.lower().replace("_", "-") in (UTF8, "utf8"):
        # A byte order mark is no part of the first column's name.
        marked = stream.peek(2)[:2] in (BOM_UTF16_LE, BOM_UTF16_BE)
        codec = "utf-16" if marked else "utf-8-sig"
    try:
        return io.TextIOWrapper(stream, codec, errors="surrogateescape", newline="")
    except (LookupError, ValueError) as err:
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
