"""Shared base of CSV and JSON tables: text files in any encoding, gzipped or not.

Both are `Records` that stream rows and yield a `Fault` in place of a bad row.
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
from vitrina.errors import CatalogueError, did_you_mean, wrong_usage

SAMPLE_ROWS = 1000
"""Number of rows sampled for the keys of a JSONL file and to check the encoding."""

LONGEST_LINE = 1 << 24
"""Maximum characters of a line; a longer line is cut there and becomes a bad row."""

ENCODINGS = ("utf-8", "cp1251", "koi8-r", "utf-16", "latin-1")
"""Common encodings, for messages."""

_UNDECODABLE = "not valid {}: its bytes can't be decoded"


class TextRecords:
    """A table in a text file. encoding: None for UTF-8, or UTF-16 with a byte order mark."""

    first_row = 1
    typed = True
    names_grow = False
    notes: Sequence[str] = ()

    def __init__(self, path: Path, encoding: str | None) -> None:
        """Store the arguments; nothing is opened."""
        self.path = path
        self._encoding = encoding

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:  # noqa: ARG002
        """Return None: only the values determine the type."""
        return None

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Return True: any column may hold text."""
        return True

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Return False: a text file holds no binary data."""
        return False

    def _lines(self) -> Iterator[str]:
        """Yield lines with their ends; undecodable bytes become lone surrogates."""
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
    """Open a file and decompress it while reading if it is gzipped.

    Reading raises CatalogueError if a gzipped file unpacks to more than `most_unpacked`.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return open_gzip(path) if zipped else path.open("rb")


def open_text(path: Path, encoding: str | None) -> TextIO:
    """Open a text file, gzipped or not; undecodable bytes become lone surrogates.

    encoding: None for UTF-8. A UTF-16 byte order mark overrides UTF-8. Raises CatalogueError for an
    unknown encoding.
    """
    stream = open_bytes(path)
    codec = encoding or UTF8
    if codec.lower().replace("_", "-") in (UTF8, "utf8"):
        # A byte order mark must not become part of the first column's name.
        marked = stream.peek(2)[:2] in (BOM_UTF16_LE, BOM_UTF16_BE)
        codec = "utf-16" if marked else "utf-8-sig"
    try:
        return io.TextIOWrapper(stream, codec, errors="surrogateescape", newline="")
    except (LookupError, ValueError) as err:
        stream.close()
        raise unknown_encoding(path, str(encoding)) from err


def unknown_encoding(path: Path, encoding: str) -> CatalogueError:
    """Return the error for an encoding that Python does not have."""
    hint = did_you_mean(encoding, ENCODINGS) or f"; give one such as {' or '.join(ENCODINGS[:2])}"
    return wrong_usage(CatalogueError(f"{path}: unknown --encoding {encoding!r}{hint}"))


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Convert errors of reading and decoding to CatalogueError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as err:
        raise CatalogueError(f"{path}: can't be read: {err}") from err
    except UnicodeError as err:
        raise CatalogueError(f"{path}: can't be decoded, see --encoding: {err}") from err
