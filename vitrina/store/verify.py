"""Verification of every byte of a store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.errors import StoreError, printable
from vitrina.ids import IdSet
from vitrina.page.summary import MOST_ROWS, Summarised, Summary, SummaryTable, counted, size
from vitrina.parallel import Progress, map_ahead, no_progress
from vitrina.store import layout
from vitrina.store.checksums import faults_of
from vitrina.store.decisions import decision_files, decisions_in
from vitrina.store.entries import FileEntry, FolderEntry, SpaceEntry
from vitrina.store.files import Files, UnsafeFileError, to_json
from vitrina.store.history import numbers, read_manifest
from vitrina.store.leftovers import Leftovers
from vitrina.store.manifest import Manifest
from vitrina.store.names import is_upkeep
from vitrina.store.products import Products
from vitrina.store.shards import array_keys
from vitrina.store.space import Space, failed, read_errors
from vitrina.store.staging import Staging, strays
from vitrina.store.store import OpenStore
from vitrina.types import Mask

DROP = "`vitrina verify STORE --repair` leaves it out"
AGAIN = "then `vitrina embed` redoes what it held"


@dataclass(frozen=True)
class Problem:
    """One problem. file: its name in the store. what: the fault. way_out: the remedy.
    repairable: whether `repair` is the remedy; it leaves files out and changes none."""

    file: str
    what: str
    way_out: str
    repairable: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.way_out}"


@dataclass(repr=False)
class VerifyReport(Summarised):
    """Result of a verification. notes: remarks that are not problems."""

    store: str
    commit: int = 0
    files: int = 0
    bytes: int = 0
    products: int = 0
    vectors: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if there are no problems."""
        return not self.problems

    def summary(self) -> Summary:
        """Counts, and the problems."""
        found = counted(len(self.problems), "problem") if self.problems else "no problem"
        facts = [
            ("commit", self.commit),
            ("files", f"{self.files:,}, {size(self.bytes)}"),
            ("products", f"{self.products:,}"),
            ("vectors", f"{self.vectors:,}"),
            ("repaired", self.repaired),
        ]
        rows = [[one.file, one.what, one.way_out] for one in self.problems[:MOST_ROWS]]
        table = SummaryTable(["file", "problem", "remedy"], rows, len(self.problems) - len(rows))
        title = f"Verified {self.store}: {found}"
        return Summary(title, facts, table if rows else None, self.notes)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**asdict(self), "ok": self.ok}


def verify(store: OpenStore, progress: Progress = no_progress) -> VerifyReport:
    """Verify a store's newest whole commit, and that the files of earlier commits exist.

    store: opened with `damaged_too`, so that a damaged manifest is reported and not raised.
    progress: called with 1 for each file of `store.manifest.files()` once it is verified.
    """
    return _Check(store, progress).run()


class _Check:
    def __init__(self, store: OpenStore, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._files: Files = store.files
        self._report = VerifyReport(store.place, store.manifest.sequence)
        self._bad: set[str] = set()

    def run(self) -> VerifyReport:
        if not self._files.exists(layout.CARD):
            self._problem(layout.CARD, "missing", "`vitrina verify STORE --repair` writes it again")
        older = self._manifests()
        manifest = self._store.manifest
        parts = [(part, None) for part in manifest.products]
        shards = [(shard, space) for space in manifest.spaces.values() for shard in space.shards]
        tables = [(entry, None) for entry in manifest.errors()]
        looked: list[tuple[FileEntry, SpaceEntry | None]] = [*parts, *shards, *tables]
        known = {entry.path for entry, _ in looked}
        others = [(entry, None) for entry in manifest.files() if entry.path not in known]
        for length, found in map_ahead(self._file, [*looked, *others], self._files.workers):
            self._report.files += length is not None
            self._report.bytes += length or 0
            self._report.problems.extend(found)
            self._bad.update(problem.file for problem in found)
            self._progress(1)
        self._older_commits(older)
        self._products()
        for name in manifest.spaces:
            self._space(self._store.open_space(name))
        self._decisions()
        self._unnamed_files(older)
        return self._report

    def _manifests(self) -> list[Manifest]:
        older = []
        for number in numbers(self._files):
            if number == self._store.manifest.sequence:
                continue
            try:
                older.append(read_manifest(self._files, number))
            except (StoreError, FileNotFoundError) as err:
                newer = number > self._store.manifest.sequence
                way = f"goes back to commit {self._store.manifest.sequence}"
                self._problem(
                    layout.manifest(number),
                    "cut short or changed" if isinstance(err, StoreError) else "missing",
                    f"`vitrina verify STORE --repair` {way if newer else 'deletes it'}",
                )
        return older

    def _file(
        self, looked: tuple[FileEntry, SpaceEntry | None]
    ) -> tuple[int | None, list[Problem]]:
        """Verify a file against its manifest entry. Returns its size, None if it can't be read, and
        its problems."""
        entry, space = looked
        name = entry.path
        again = AGAIN
        if name.startswith(layout.AUDITS):
            again = "then `vitrina audit` creates it again"
        if name.startswith((layout.INDEXES, layout.MODELS)):
            again = "then `vitrina index` or `vitrina train` creates it again"
            if any(name in _paths(one.encoder) for one in self._store.manifest.spaces.values()):
                again = "then `vitrina embed` fits the encoder again and redoes its space"
        way = f"{DROP}, {again}"
        if layout.is_segment(name):
            way = "`vitrina verify STORE --repair` writes it again"
        try:
            content = self._read(name)
        except FileNotFoundError:
            return None, [Problem(name, "missing", way)]
        except UnsafeFileError as err:
            return None, [Problem(name, err.what, err.way_out, repairable=False)]
        except OSError as err:
            return None, [Problem(name, f"can't be read ({err.strerror or err})", way)]
        return len(content), [Problem(name, what, way) for what in faults_of(content, entry, space)]

    def _read(self, name: str) -> pa.Buffer:
        try:
            return self._files.open(name).read_buffer()
        except FileNotFoundError:
            # Retired by a later commit, or by a damaged one that a repair will revert.
            return self._files.open(layout.retired(name)).read_buffer()

    def _older_commits(self, older: list[Manifest]) -> None:
        """Check that the files needed only by older commits exist."""
        live = self._store.manifest.names
        for manifest in older:
            for entry in manifest.files():
                if entry.path not in live and entry.path not in self._bad:
                    there = any(
                        self._files.exists(name)
                        for name in (entry.path, layout.retired(entry.path))
                    )
                    if not there:
                        self._bad.add(entry.path)
                        self._problem(
                            entry.path,
                            f"missing, and commit {manifest.sequence} needs it",
                            "`vitrina verify STORE --repair` forgets older commits",
                        )

    def _products(self) -> None:
        self._report.products = len(self._store.products)
        parts = self._store.manifest.products
        if not parts or self._bad.intersection(part.path for part in parts):
            return
        seen = IdSet()
        for _, batch in self._store.products.batches(["product_id"], rows=100_000):
            ids = batch.column("product_id")
            twice = int((~seen.add(array_keys(ids))).sum())
            if ids.null_count or twice:
                what = f"{twice} products occur twice" if twice else "a product has no id"
                way = "embed the catalogue again"
                self._problem(layout.PRODUCTS, what, way, repairable=False)
                return

    def _space(self, space: Space) -> None:
        broken = self._bad.intersection(space.shards)
        self._report.vectors += space.entry.rows
        parts = self._store.manifest.products
        if broken or not parts or self._bad.intersection(part.path for part in parts):
            return
        products = self._store.products
        twice, done = _live_rows(space, products)
        if twice:
            self._problem(
                layout.space(space.name),
                f"{twice} products have more than one live vector",
                "`vitrina compact STORE` keeps one of each",
                repairable=False,
            )
        if self._store.manifest.active.get(space.modality) != space.name:
            return
        errors = space.entry.errors
        recorded = read_errors(
            self._files, errors if errors and errors.path not in self._bad else None
        )
        content = products.has(space.modality)
        left = int((content & ~done & ~failed(products, space.modality, recorded)).sum())
        if left:
            self._report.notes.append(
                f"{space.name}: {left} products are not embedded yet; run `vitrina embed`"
            )
        dead = space.entry.rows - int(done.sum()) - twice
        if dead:
            self._report.notes.append(
                f"{space.name}: {dead} of {space.entry.rows} rows are of products that changed or "
                "are gone; `vitrina compact` drops them"
            )

    def _decisions(self) -> None:
        for name in decision_files(self._files):
            try:
                decisions_in(self._files, name)
            except StoreError as err:
                self._problem(
                    name,
                    str(err).partition(" is ")[2].partition(";")[0],
                    "bring it back from a backup; `vitrina verify STORE --repair` puts it aside",
                )
            except FileNotFoundError:
                continue
            self._report.files += 1

    def _unnamed_files(self, older: list[Manifest]) -> None:
        named = self._store.manifest.names.union(*(one.names for one in older))
        retired = layout.retired("")
        unnamed = [name for name in self._files.tree("") if name.removeprefix(retired) not in named]
        leftovers = Leftovers(self._files)
        ours = leftovers.among(unnamed)
        if ours:
            self._report.notes.append(
                f"{len(ours)} files that no commit names, such as {ours[0]}: a killed run's; "
                "the next writer deletes them"
            )
        known = {*ours, *leftovers.notes, *self._staged()}
        others = [name for name in unnamed if name not in known and not is_upkeep(name)]
        if others:
            self._report.notes.append(
                f"{len(others)} files that are not Vitrina's, such as {printable(others[0])}; "
                "they are left alone"
            )
        for entry in self._store.manifest.errors():
            shown = layout.errors(entry.path.rpartition("/")[0])
            if entry.path not in self._bad and self._differs(shown, self._files.read(entry.path)):
                self._report.notes.append(f"{shown} is not the newest; the next writer renews it")
        for name, space in self._store.manifest.spaces.items():
            shown = layout.space_card(name)
            if self._differs(shown, to_json(dict(space.card))):
                self._report.notes.append(f"{shown} was changed; the next writer renews it")

    def _staged(self) -> list[str]:
        """Note orders and results that no commit names. Returns their names."""
        staging = Staging(self._files)
        names = staging.names
        readable = not self._bad.intersection(self._store.manifest.names)
        gone = strays(self._store, staging) if names and readable else []
        if gone:
            self._report.notes.append(
                f"{len(gone)} files in {layout.STAGING} that no run needs any more, such as "
                f"{gone[0]}; `vitrina compact` deletes them"
            )
        if len(names) > len(gone):
            self._report.notes.append(
                f"{len(names) - len(gone)} orders and results wait in {layout.STAGING}; "
                "`vitrina work` computes, and `vitrina embed` commits them"
            )
        return names

    def _differs(self, name: str, content: bytes) -> bool:
        return not self._files.exists(name) or self._files.read(name) != content

    def _problem(self, file: str, what: str, way_out: str, *, repairable: bool = True) -> None:
        self._report.problems.append(Problem(file, what, way_out, repairable))


def _paths(folder: FolderEntry | None) -> set[str]:
    return {file.path for file in folder.files} if folder else set()


def _live_rows(space: Space, products: Products) -> tuple[int, Mask]:
    """Number of surplus live rows of products, and (n,) bool: products that have a live row."""
    done = np.zeros(len(products), dtype=bool)
    twice = 0
    for positions in space.live_positions(products):
        twice += len(positions) - len(np.unique(positions)) + int(done[np.unique(positions)].sum())
        done[positions] = True
    return twice, done
