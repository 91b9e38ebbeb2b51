"""Member lists of tar archives: the name, offset and size of each file, from headers only.

The pass over the headers takes some microseconds per header. `tarfile` takes ten times as long and
treats a damaged header as the end of the archive. Only regular files are listed: links, devices and
sparse files are skipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vitrina.data.legacy_names import decode_name
from vitrina.data.photo_lookup import inside
from vitrina.errors import ImageError

BLOCK = 512
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})

# Far beyond any path; more is damage.
_LONGEST_EXTENSION = 1 << 20
_MOST_SHARDS = 1_000_000
_TAR_NAME = re.compile(r".\.(?:tar(?:\.\w+)?|tgz)$", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
}
_PAX_RECORD = re.compile(rb"(\d{1,7}) ([^=]{1,1000}+)=")
_MOST_DIGITS = 30
_REGULAR = frozenset(b"0\x007")
# Links, devices, folders and pipes have no body, whatever size their header gives.
_BODILESS = frozenset(b"123456")
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"xgLKS"


class TarError(ValueError):
    """A file is not a readable tar archive; the message is a complete line."""


class Member(NamedTuple):
    """A regular file in an archive: its normalized name, and its offset and size in bytes."""

    name: str
    offset: int
    size: int


class Cut(NamedTuple):
    """Marker of an archive that is truncated or damaged at byte `at`."""

    at: int


def find_shards(location: Path, *, unless: Collection[str]) -> tuple[Path, ...]:
    """Return the tar archives at a location, in order; () if it is something else.

    A location is one archive; a directory with `.tar` files directly in it and no file with a
    suffix in `unless`; or a path with ranges in braces, such as `part-{000..012}.tar`.

    Raises TarError for an invalid range, or if an archive in a range is missing.
    """
    if location.is_dir():
        found = []
        with os.scandir(location) as entries:
            for entry in entries:
                suffix = "." + entry.name.rpartition(".")[2].lower()
                if suffix in unless:
                    return ()
                if suffix == ".tar" and entry.name[0] != ".":
                    found.append(location / entry.name)
        return tuple(sorted(found))
    if location.exists():
        return (location,) if _looks_tar(location) else ()
    if _TAR_NAME.search(location.name) and _RANGE.search(str(location)):
        return _expand(location)
    return ()


def members(path: Path) -> Iterator[Member | Cut]:
    """Yield every regular file in archive order, then a `Cut` if the archive is incomplete.

    Names that lead out of the archive are left out. Raises TarError for a file that is no tar
    archive or can't be read.
    """
    try:
        with path.open("rb") as file:
            yield from _walk(path, file.fileno())
    except OSError as err:
        raise TarError(f"{path}: {err.strerror or err}") from err


def _walk(path: Path, file: int) -> Iterator[Member | Cut]:
    end = os.fstat(file).st_size
    at, long_name, extended = 0, "", _Extended()
    while True:
        block = os.pread(file, BLOCK, at)
        if not block.strip(b"\0"):
            if not block and at == 0:
                raise TarError(f"{path}: this file is empty")
            return
        header = _header(block)
        if header is None:
            if at == 0:
                raise TarError(f"{path}: {_what(block)}")
            yield Cut(at)
            return
        name, size, kind = header
        body = at + BLOCK
        if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            if size > _LONGEST_EXTENSION or body + size > end:
                yield Cut(at)
                return
            if kind == _PAX:
                extended = _Extended.of(os.pread(file, size, body))
            elif kind == _LONG_NAME:
                long_name = _text(os.pread(file, size, body))
            at = body + _padded(size)
            continue
        if kind == _SPARSE:
            body = _after_sparse_map(file, block, body)
        size = 0 if kind in _BODILESS else size if extended.size is None else extended.size
        if body + size > end:
            yield Cut(at)
            return
        name = extended.name or long_name or name
        if kind in _REGULAR and not extended.sparse and name[-1:] not in ("", "/"):
            with suppress(ImageError):
                yield Member(inside(name), body, size)
        at, long_name, extended = body + _padded(size), "", _Extended()


def _header(block: bytes) -> tuple[str, int, int] | None:
    """Parse the name, size and kind of a member; None for an invalid header."""
    if len(block) < BLOCK:
        return None
    checksum = _number(block[148:156])
    # The checksum's own field counts as eight spaces.
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if checksum != total:
        return None
    size = _number(block[124:136])
    if size is None:
        return None
    name = _text(block[:100])
    # The old GNU format keeps times where POSIX has the path prefix.
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return name, size, block[156]


class _Extended(NamedTuple):
    """Fields of a pax header for the member after it."""

    name: str = ""
    size: int | None = None
    sparse: bool = False

    @classmethod
    def of(cls, data: bytes) -> _Extended:
        """Parse records of "LENGTH key=value\\n", up to the first that is malformed."""
        name, size, sparse, at = "", None, False, 0
        while match := _PAX_RECORD.match(data, at):
            end = at + int(match[1])
            value = data[match.end() : end - 1]
            if end <= match.end():
                break
            if match[2] == b"path":
                name = _text(value)
            elif match[2] == b"size" and value.isdigit():
                # More digits exceed any archive, and the limit of `int`.
                size = int(value[:_MOST_DIGITS])
            elif match[2].startswith(b"GNU.sparse."):
                sparse = True
            at = end
        return cls(name, size, sparse)


def _number(field: bytes) -> int | None:
    """Parse octal digits, or a binary number if the first byte is 0x80; None for neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        return None


def _text(field: bytes) -> str:
    """Decode a name up to its first zero byte to text, whatever its encoding."""
    return decode_name(field.partition(b"\0")[0])


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _after_sparse_map(file: int, block: bytes, at: int) -> int:
    """Return the offset of a GNU sparse file's body, after the blocks that map its holes."""
    more = block[482]
    while more:
        extension = os.pread(file, BLOCK, at)
        at += BLOCK
        more = extension[504] if len(extension) == BLOCK else 0
    return at


def _looks_tar(path: Path) -> bool:
    if _TAR_NAME.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            return _header(file.read(BLOCK)) is not None
    except OSError:
        return False


def _what(block: bytes) -> str:
    for magic, name in _COMPRESSED.items():
        if block.startswith(magic):
            return (
                f"compressed with {name}, so no file in it can be read on its own; "
                "unpack it, or pack it again without compression"
            )
    return "not a tar archive, or a damaged one; create it again"


def _expand(location: Path) -> tuple[Path, ...]:
    paths = [str(location)]
    while match := _RANGE.search(paths[0]):
        first, last = match[1], match[2]
        count = int(last) - int(first) + 1
        if count < 1 or count * len(paths) > _MOST_SHARDS:
            raise TarError(f"{location}: {match[0]} should count up, to {_MOST_SHARDS:,} at most")
        numbers = [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
        paths = [_RANGE.sub(number, path, count=1) for path in paths for number in numbers]
    for path in paths:
        if not Path(path).exists():
            raise TarError(f"{path}: no such file, though {location} names it")
    return tuple(map(Path, paths))
