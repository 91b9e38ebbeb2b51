"""Compaction: merges small shards, and drops rows of removed or changed products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.errors import StoreError
from vitrina.page.summary import Summarised, Summary, SummaryTable, size
from vitrina.parallel import Progress, no_progress
from vitrina.store import layout
from vitrina.store.decisions import merge_decisions
from vitrina.store.entries import FileEntry
from vitrina.store.parquet import REPAIR
from vitrina.store.plan import plan_merges
from vitrina.store.shards import array_to_hashes, read_shards, write_shard
from vitrina.store.space import Located, Space
from vitrina.store.staging import Staging, strays
from vitrina.store.store import OpenStore
from vitrina.store.writer import KEPT, Writer
from vitrina.types import Stored

COMPACT_ROWS = 32_768
"""Maximum rows of a merged shard: 54 MB at 824 float16 numbers."""


@dataclass(frozen=True)
class SpaceCompaction:
    """Result for one space. dropped: number of rows that no product needed any more."""

    space: str
    shards_before: int
    shards: int
    rows: int
    dropped: int


@dataclass(repr=False)
class CompactReport(Summarised):
    """Result of a compaction. freed: bytes deleted, files of deleted commits included.
    decision_files: number of decision files before they were merged."""

    store: str
    kept_commits: int
    freed: int = 0
    decision_files: int = 0
    spaces: list[SpaceCompaction] = field(default_factory=list)

    def summary(self) -> Summary:
        """Shards before and after, by space."""
        rows = [[s.space, s.shards_before, s.shards, s.rows, s.dropped] for s in self.spaces]
        head = ["space", "shards before", "after", "rows", "dropped rows"]
        facts = [("commits kept", self.kept_commits), ("freed", size(self.freed))]
        table = SummaryTable(head, rows) if rows else None
        return Summary(f"Compacted {self.store}", facts, table)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


def compact(
    store: OpenStore,
    *,
    keep: int = KEPT,
    rows: int = COMPACT_ROWS,
    progress: Progress = no_progress,
) -> CompactReport:
    """Rewrite small shards and those with dead rows, in one commit; live content is unchanged.

    keep: number of commits that stay readable, the newest included. rows: maximum rows of a merged
    shard. progress: called with the number of shards processed since the last call.
    Raises StoreError if a shard is damaged, StoreLockedError if another process writes.
    """
    report = CompactReport(store.place, keep)
    with store.writer("compact") as writer:
        manifest = store.manifest
        rewritten = []
        for name in manifest.spaces:
            space = store.open_space(name)
            after = _rewrite(store, writer.scratch, space, rows, progress)
            rewritten.append((space, after))
        # All are published at the end: readers that list the folder see rows twice until the
        # commit.
        for space, after in rewritten:
            shards = tuple(_publish(writer, space, piece) for piece in after)
            manifest = manifest.with_space(space.name, replace(space.entry, shards=shards))
            total = sum(shard.rows for shard in shards)
            report.spaces.append(
                SpaceCompaction(
                    space.name,
                    len(space.entry.shards),
                    len(shards),
                    total,
                    space.entry.rows - total,
                )
            )
        writer.commit(manifest)
        report.decision_files = merge_decisions(store.files)
        report.freed = writer.tidy(keep)
        staging = Staging(store.files)
        report.freed += sum(map(staging.delete, strays(store, staging)))
    return report


@dataclass(frozen=True)
class _Piece:
    """A merged shard in the scratch folder."""

    path: Path
    number: int
    rows: int


def _publish(writer: Writer, space: Space, piece: FileEntry | _Piece) -> FileEntry:
    if isinstance(piece, FileEntry):
        return piece
    named = partial(layout.shard, space.name, piece.number)
    return writer.publish(piece.path, named, piece.rows)


def _rewrite(
    store: OpenStore, scratch: Path, space: Space, rows: int, progress: Progress
) -> list[FileEntry | _Piece]:
    """A space's shards in order: those that stay, and merged ones in place of the others."""
    before = space.entry.shards
    located = space.locate(store.products)
    live = np.bincount(located.shard[located.done], minlength=len(before))
    number, id_type = space.entry.next_number, store.products.ids.type
    after: list[FileEntry | _Piece] = []
    for group in plan_merges([shard.rows for shard in before], live.tolist(), rows):
        progress(len(group))
        if len(group) == 1 and live[group[0]] == before[group[0]].rows:
            after.append(before[group[0]])
            continue
        sizes = piece_sizes(int(live[group].sum()), rows)
        for ids, hashes, vectors in _batches(space, located, group, sizes, id_type):
            path = scratch / layout.shard(space.name, number, "merged")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_shard(path, ids, hashes, vectors, space.card["dtype"], group_rows=None)
            after.append(_Piece(path, number, len(ids)))
            number += 1
    return after


def piece_sizes(live: int, rows: int) -> list[int]:
    """Row counts of the shards that hold `live` rows: as few shards as possible.

    If there are several, each is at least half full, so the next compaction leaves it alone.
    """
    count = -(-live // rows)
    return [live // count + (at < live % count) for at in range(count)]


def _batches(
    space: Space,
    located: Located,
    group: Sequence[int],
    sizes: Sequence[int],
    id_type: pa.DataType,
) -> Iterator[tuple[pa.Array, pa.Array, Stored]]:
    """Yield the live rows of some shards, one batch for each new shard."""
    ids: list[pa.Array] = []
    hashes: list[Any] = []
    vectors: list[Stored] = []
    filled, later_sizes = 0, iter(sizes)
    size = next(later_sizes, 0)
    shards = [space.entry.shards[at] for at in group]
    for batch in read_shards(space.files, shards, vectors=space.vector_type):
        assert batch.vectors is not None
        shard = group[batch.shard]
        if batch.ids.type != id_type:
            raise StoreError(
                f"{space.files.where(space.shards[shard])} has ids of {batch.ids.type}, the "
                f"store's are {id_type}; {REPAIR}"
            )
        serving = np.sort(located.row[located.shard == shard])
        inside = (serving >= batch.start) & (serving < batch.start + len(batch.ids))
        chosen = serving[inside] - batch.start
        while len(chosen):
            take = chosen[: size - filled]
            ids.append(batch.ids.take(pa.array(take)))
            hashes.append(batch.hashes[take])
            vectors.append(batch.vectors[take])
            filled, chosen = filled + len(take), chosen[len(take) :]
            if filled == size:
                yield _joined(ids, hashes, vectors)
                filled, size = 0, next(later_sizes, 0)


def _joined(
    ids: list[pa.Array], hashes: list[Any], vectors: list[Stored]
) -> tuple[pa.Array, pa.Array, Stored]:
    joined = pa.concat_arrays(ids), array_to_hashes(np.concatenate(hashes)), np.concatenate(vectors)
    for parts in (ids, hashes, vectors):
        parts.clear()
    return joined
