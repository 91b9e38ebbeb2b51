"""Storage of an index on disk.

A base is written once; updates add small files next to it:

    index.faiss             the base
    rows-00000.parquet ...  its rows and those added since, in order (see `entries`)
    dead.parquet            positions of removed rows
    queries.parquet         the recall probe (see `recall_probe`)
    whitening.safetensors   arrays that whiten vectors, if any are (see `whitened`)
    index.json              the card

Files never change: an update is a folder of new files, and the commit lists old and new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.index.card import CARD_FILE, IndexCard
from vitrina.index.engine import Engine
from vitrina.index.entries import Entries
from vitrina.index.fuse import Fusion
from vitrina.index.recall_probe import Probe
from vitrina.index.results import AGAIN
from vitrina.index.whitened import read_whitenings, write_whitenings
from vitrina.store.files import write_json
from vitrina.store.parquet import Column, read_file_as
from vitrina.store.shards import numbers_of
from vitrina.types import Mask, Modality
from vitrina.whitening import Whitening

INDEX_FILE = "index.faiss"
DEAD_FILE = "dead.parquet"
QUERIES_FILE = "queries.parquet"
WHITENING_FILE = "whitening.safetensors"
ROWS_FILE = "rows-{:05d}.parquet"


@dataclass(frozen=True, eq=False)
class Folder:
    """Files of a live index by name, in one or more folders. where: for messages."""

    files: Mapping[str, Path]
    where: str

    def card(self) -> IndexCard:
        """Read `index.json`. Raises StoreError if it is missing, damaged, or lacks a part."""
        return IndexCard.read(self._path(CARD_FILE))

    def entries(self, card: IndexCard) -> tuple[Entries, Mask]:
        """Read the rows, and the mask of dead ones, (n,) bool. Raises StoreError."""
        paths = [self._path(name) for name in self.row_files]
        if not paths:
            raise StoreError(f"the index at {self.where} has no rows; {AGAIN}")
        entries = Entries.read(paths, card.modalities, AGAIN, card.whitened or ())
        dead = np.zeros(len(entries), dtype=bool)
        if DEAD_FILE in self.files:
            kind = {"position": Column((pa.int64(),), False, least=0, most=len(entries) - 1)}
            table = read_file_as(self._path(DEAD_FILE), kind, AGAIN)
            dead[numbers_of(table.column("position").combine_chunks(), np.int64)] = True
        if len(entries) < card.base or (~dead).sum() != card.rows:
            raise StoreError(
                f"the index at {self.where} is damaged: {(~dead).sum()} live rows where "
                f"{CARD_FILE} says {card.rows}; {AGAIN}"
            )
        return entries, dead

    @property
    def damaged(self) -> str:
        """Start of a message about rows that point to missing data."""
        return f"the index at {self.where} is damaged, {AGAIN}"

    @property
    def row_files(self) -> list[str]:
        """Names of the row files, in order."""
        return sorted(name for name in self.files if name.startswith("rows-"))

    def engine(self, card: IndexCard, *, mapped: bool = True) -> Engine:
        """Read the base. Raises StoreError."""
        path = self._path(INDEX_FILE)
        engine = Engine.read(path, card.factory, mapped=mapped)
        if (engine.dim, len(engine)) != (card.dim, card.base):
            raise StoreError(
                f"{self.where}/{INDEX_FILE} is not what {CARD_FILE} describes: {len(engine)} "
                f"vectors of {engine.dim}; {AGAIN}"
            )
        return engine

    def fusion(self, card: IndexCard, dims: Mapping[Modality, int]) -> Fusion:
        """Read how vectors are fused. dims: lengths of each modality's vectors. Raises
        StoreError."""
        found: dict[Modality, Whitening] = {}
        if card.whitened:
            own = {modality: dims[modality] for modality in card.whitened}
            found = read_whitenings(self._path(WHITENING_FILE), own, AGAIN)
        return Fusion(
            tuple(card.weights[modality] for modality in card.modalities),
            tuple(found.get(modality) for modality in card.modalities),
        )

    def probe(self, dim: int, rows: int) -> Probe | None:
        """Read the recall probe; None for an exact index.

        dim: of a vector. rows: of the index, dead ones included. Raises StoreError.
        """
        if QUERIES_FILE not in self.files:
            return None
        return Probe.read(self._path(QUERIES_FILE), dim, rows, AGAIN)

    def _path(self, name: str) -> Path:
        path = self.files.get(name)
        if path is None or not path.exists():
            raise StoreError(f"the index at {self.where} lacks {name}; {AGAIN}")
        return path


def write_parts(
    folder: Path,
    *,
    card: Mapping[str, Any],
    dead: Mask,
    probe: Probe | None,
    rows: tuple[str, Entries] | None = None,
    engine: Engine | None = None,
    whitenings: Mapping[Modality, Whitening] = MappingProxyType({}),
    others: int = 0,
) -> None:
    """Write the new files of an index into an empty folder.

    rows: name and content of a new row file. engine: a new base. whitenings: of a new index.
    others: bytes of the index's existing files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if engine is not None:
        engine.write(folder / INDEX_FILE)
    if whitenings:
        write_whitenings(folder / WHITENING_FILE, whitenings)
    if rows is not None:
        rows[1].write(folder / rows[0])
    if dead.any():
        column = pa.array(np.flatnonzero(dead))
        pq.write_table(
            pa.table({"position": column}),
            folder / DEAD_FILE,
            compression="zstd",
            write_page_checksum=True,
        )
    if probe is not None:
        probe.write(folder / QUERIES_FILE)
    size = others + sum(file.stat().st_size for file in folder.iterdir())
    write_json(folder / CARD_FILE, {**card, "bytes": size})
