"""Where a catalogue's rows come from: a path, or a table in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class MemoryTableName:
    """Name of a table in memory, such as "the pandas DataFrame", in place of a path."""

    name: str

    def __str__(self) -> str:
        return self.name


Location: TypeAlias = Path | str | MemoryTableName
"""A file or a directory, a database's name, or a table in memory; its text begins messages."""
