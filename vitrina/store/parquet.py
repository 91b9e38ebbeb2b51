"""Opening the Parquet files that a snapshot names, wherever they lie by now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.store.files import Files
from vitrina.store.layout import retired

T = TypeVar("T")

REPAIR = "run `vitrina verify STORE --repair`, then embed again: only what it held is redone"


class Access(Enum):
    """What a file is opened for; it matters where files are fetched from afar."""

    WHOLE = "all of it is read once"
    PARTS = "a small part of it is read"
    OFTEN = "it is read again and again"


@contextmanager
def open_parquet(files: Files, name: str, access: Access) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of a snapshot for the length of a `with` block.

    Raises StoreError if it is gone, or found damaged while it is read.
    """
    with open_source(files, name, access) as source:
        yield pq.ParquetFile(source, page_checksum_verification=True)


@contextmanager
def open_source(files: Files, name: str, access: Access) -> Iterator[pa.NativeFile]:
    """The same for the bare bytes of a Parquet file."""
    with (
        told_of(files, name),
        wherever_it_lies(name, lambda now: _open_as(files, now, access)) as source,
    ):
        yield source


@contextmanager
def told_of(files: Files, name: str) -> Iterator[None]:
    """Whatever goes wrong inside with a Parquet file of a snapshot is raised as StoreError."""
    where = files.where(name)
    try:
        yield
    except FileNotFoundError as err:
        raise StoreError(
            f"{where} is missing from the store; {REPAIR}; or, if another commit replaced it "
            "since this snapshot was opened, open the store again"
        ) from err
    # A changed byte in the footer may also leave out a column, or garble its name.
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise StoreError(f"{where} is damaged ({reason}); {REPAIR}") from err


def wherever_it_lies(name: str, use: Callable[[str], T]) -> T:
    """Use a file of a snapshot by its name, or else by the one that it has once a later commit
    replaced it: it lies aside for a while."""
    try:
        return use(name)
    except FileNotFoundError:
        return use(retired(name))


def _open_as(files: Files, name: str, access: Access) -> pa.NativeFile:
    if access is Access.OFTEN:
        return pa.memory_map(str(files.local(name)))
    return files.open(name) if access is Access.WHOLE else files.open_parts(name)
