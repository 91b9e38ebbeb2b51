"""Atomic writes: a file or a folder appears complete under its name, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitrina.disk import filling
from vitrina.errors import CatalogueError
from vitrina.temporary_files import removing

TEMPORARY = ".tmp-"
"""Prefix of unfinished files; those that exist when a writer starts are left from a crash."""


def check_file(out: Path) -> None:
    """Raise CatalogueError if no file can be written to `out`; for a check before any work.

    A missing folder is not an error.
    """
    if out.exists() and not out.is_file():
        raise CatalogueError(f"{out} is no file that could be replaced; give another name")
    check_folder(out.parent)


def check_folder(folder: Path) -> None:
    """Raise CatalogueError if files can't be written to a folder, which may not exist yet."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        probe(there)
    except OSError as err:
        raise CatalogueError(
            f"{folder}: nothing can be written there ({err.strerror or err}); give another place, "
            "or get the right to write"
        ) from err


def probe(folder: Path) -> None:
    """Create an unnamed file in a folder and drop it at once. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder):
        return


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success flush it to disk and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    # Left by a killed run; or a link that would redirect the write to another file.
    temporary.unlink(missing_ok=True)
    with removing(lambda: temporary.unlink(missing_ok=True)), filling(path):
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on success flush its files and rename it to `path`."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    with removing(lambda: shutil.rmtree(temporary, ignore_errors=True)), filling(path):
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
        sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
