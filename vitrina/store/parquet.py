"""Opening the Parquet files that a snapshot names, wherever they lie by now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.store.files import Files
from vitrina.store.layout import retired

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
    where = files.where(name)
    source = None
    try:
        source = _open(files, name, access)
        yield source
    except FileNotFoundError as err:
        raise StoreError(
            f"{where} is missing from the store; {REPAIR}; or, if another commit replaced it "
            "since this snapshot was opened, open the store again"
        ) from err
    # A changed byte in the footer may also leave out a column, or garble its name.
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as err:
        reason = str(err).splitlines()[0] if str(err) else type(err).__name__
        raise StoreError(f"{where} is damaged ({reason}); {REPAIR}") from err
    finally:
        if source is not None:
            source.close()


def _open(files: Files, name: str, access: Access) -> pa.NativeFile:
    try:
        return _open_as(files, name, access)
    except FileNotFoundError:
        # A later commit replaced it: what an older snapshot names lies aside for a while.
        return _open_as(files, retired(name), access)


def _open_as(files: Files, name: str, access: Access) -> pa.NativeFile:
    if access is Access.OFTEN:
        return pa.memory_map(str(files.local(name)))
    return files.open(name) if access is Access.WHOLE else files.open_parts(name)
