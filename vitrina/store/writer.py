"""What only the one writer of a store may do: put files, commit, and tidy up behind itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError, StoreLockedError
from vitrina.store import layout
from vitrina.store.entries import FileEntry, FolderEntry
from vitrina.store.files import Claim, Files, checksum, folder_checksum, to_json
from vitrina.store.format import StoreCard, read_card
from vitrina.store.history import newest, newest_number, numbers, read_history
from vitrina.store.leftovers import Leftovers, to_journal
from vitrina.store.manifest import Manifest
from vitrina.store.manifest_check import check

KEPT = 3
"""Commits that stay readable, counting as one those that only add to the one before."""

_FENCES = 5
_FOLDERS = (layout.INDEXES, layout.MODELS, layout.AUDITS)


class Writer:
    """Puts files under names that tell their content, then commits a manifest that names them."""

    def __init__(
        self, files: Files, manifest: Manifest, claim: Claim, show: Callable[[Manifest], None]
    ) -> None:
        """manifest: the newest commit that is known. claim: the right to write. show: is given
        each commit that becomes the newest."""
        self._files = files
        self._manifest = manifest
        self._claim = claim
        self._show_commit = show
        self._history: list[Manifest] = []
        self._uncommitted: dict[str, tuple[FileEntry, ...]] = {}

    @property
    def scratch(self) -> Path:
        """A local folder for files in the making."""
        return self._files.scratch

    def begin(self) -> None:
        """Make the store if it is new, fence off an earlier writer, and tidy up after it."""
        card = StoreCard(0, datetime.now(UTC).isoformat(timespec="seconds"))
        if self._files.exists(layout.CARD):
            card = read_card(self._files)
        if card.format != layout.FORMAT_VERSION:
            newest_format = replace(card, format=layout.FORMAT_VERSION)
            self._files.write(layout.CARD, to_json(asdict(newest_format)))
        self._look(newest(self._files))
        if self._claim.contested:
            self._fence()
        self._history = read_history(self._files)
        self.tidy(KEPT)

    def _look(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._show_commit(manifest)

    def go_back(self) -> None:
        """Delete the manifests that are newer than the newest whole one."""
        whole = newest(self._files, damaged_too=True).sequence
        for number in numbers(self._files):
            if number > whole:
                self._files.delete(layout.manifest(number))

    def publish(self, temporary: Path, name_of: Callable[[str], str], rows: int = 0) -> FileEntry:
        """Give a file from the scratch folder the name that its checksum makes, and describe it.

        It is not live before a commit names it.
        """
        digest, size = checksum(temporary), temporary.stat().st_size
        name = name_of(digest)
        self._files.publish(temporary, name)
        self._files.checksums.note(name, digest)
        return FileEntry(name, rows, size, digest)

    def publish_folder(
        self, folder: Path, name_of: Callable[[str], str], beside: Sequence[FileEntry] = ()
    ) -> FolderEntry:
        """The same for a folder of files, which is named by the checksum of them all.

        beside: files that are published already and belong to it too, wherever they lie.
        """
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        sums = {path.relative_to(folder).as_posix(): checksum(path) for path in files}
        name = name_of(folder_checksum(sums))
        entries = tuple(
            FileEntry(f"{name}/{inside}", 0, path.stat().st_size, digest)
            for path, (inside, digest) in zip(files, sums.items(), strict=True)
        )
        # Of a folder that is put in part, the next writer can tell only by this that it is ours.
        journal, content = to_journal(entries)
        self._uncommitted[journal] = entries
        self._files.write(journal, content)
        for path, entry in zip(files, entries, strict=True):
            self._files.publish(path, entry.path)
            self._files.checksums.note(entry.path, entry.sha256)
        shutil.rmtree(folder, ignore_errors=True)
        return FolderEntry(name, (*beside, *entries))

    def write_errors(self, folder: str, errors: pa.Table) -> FileEntry:
        """Write a table of failures for the next commit. folder: "" for the store's root."""
        path = self.scratch / "errors.parquet"
        pq.write_table(errors, path, compression="zstd", write_page_checksum=True)
        return self.publish(
            path, lambda digest: layout.errors_of_commit(folder, digest), errors.num_rows
        )

    def commit(self, manifest: Manifest) -> None:
        """Make `manifest` the newest; everything it names must have been published.

        It takes the place of commits before it that were but steps on the way to it: these do not
        count among those that stay readable.

        A manifest that says what the newest says already is no commit. Raises StoreLockedError
        if another writer has committed meanwhile.
        """
        before = self._manifest
        changed = replace(manifest, sequence=before.sequence) != before
        if changed:
            self._put(manifest)
        for journal in self._uncommitted:
            self._files.delete(journal)
        self._uncommitted.clear()
        if changed:
            self._settle(before, self._manifest)

    def abandon(self) -> None:
        """Delete folders that were put in whole or in part since the last commit: the job failed.

        In a bucket the next writer does that: this one's network may have failed.
        """
        if not self._uncommitted or self._files.copies:
            return
        with suppress(OSError, StoreError):
            self._look(newest(self._files))
            known = [*self._history, self._manifest]
            named = frozenset[str]().union(*(manifest.names for manifest in known))
            for journal, entries in self._uncommitted.items():
                for entry in entries:
                    if entry.path not in named:
                        self._files.delete(entry.path)
                self._files.delete(journal)

    def tidy(self, keep: int) -> int:
        """Keep the newest `keep` commits readable; delete what only older ones name, and what
        was never committed. Returns the bytes deleted.

        What Vitrina did not make is left where it is (see `leftovers`).
        """
        self._thin()
        kept = self._newest(keep)
        dropped, self._history = self._history[: -len(kept)], kept
        for manifest in dropped:
            self._retire(layout.manifest(manifest.sequence))
        if keep == 1 and len(kept) == 1:
            # Of a manifest that no other can stand in for, there are two.
            self._put(self._manifest)
            self._history.append(self._manifest)
        leftovers = Leftovers(self._files)
        freed = self._sort_out(leftovers)
        for name in leftovers.notes:
            self._files.delete(name)
        known = {manifest.sequence for manifest in self._history}
        for number in numbers(self._files):
            # Half a commit of a fenced writer, or one that repair went back from.
            if number not in known and number < self._manifest.sequence:
                self._files.delete(layout.manifest(number))
        self._files.forget(set(self._manifest.names))
        self._show(Manifest(), self._manifest)
        return freed

    def _sort_out(self, leftovers: Leftovers) -> int:
        """Put every data file where it belongs, and delete leftovers. Returns the bytes deleted."""
        live = self._manifest.names
        named = frozenset[str]().union(*(manifest.names for manifest in self._history))
        unnamed, freed = [], 0
        for name in self._data_files():
            if name not in named:
                unnamed.append(name)
            elif name not in live and not name.startswith(_FOLDERS):
                self._retire(name)
        for name in self._files.tree(layout.RETIRED):
            original = name.removeprefix(layout.retired(""))
            if original in live and not self._files.exists(original):
                # The commit that put it aside is gone, or was damaged and gone back from.
                self._files.move(name, original)
            elif original in live:
                freed += self._delete(name)
            elif original not in named:
                unnamed.append(name)
        return freed + sum(self._delete(name) for name in leftovers.among(unnamed))

    def _newest(self, keep: int) -> list[Manifest]:
        """The newest `keep` commits; one that names no file which the next lacks is not counted."""
        kept: list[Manifest] = []
        for manifest in reversed(self._history):
            keep -= not (kept and manifest.names <= kept[0].names)
            if keep < 0:
                break
            kept.insert(0, manifest)
        return kept

    def _put(self, manifest: Manifest) -> None:
        self._claim.check()
        manifest = replace(manifest, sequence=self._manifest.sequence + 1)
        try:
            check(manifest)
        except ValueError as err:
            raise StoreError(f"{self._files.place}: it can't be committed that {err}") from err
        name = layout.manifest(manifest.sequence)
        content = manifest.to_bytes()
        try:
            self._files.create(name, content)
            # A later one means that this number was free because it was tidied away.
            taken = newest_number(self._files) != manifest.sequence
            if taken:
                self._files.delete(name)
        except FileExistsError:
            taken = True
        if taken:
            raise StoreLockedError(
                f"{self._files.place}: another writer made commit {manifest.sequence} meanwhile; "
                "nothing of it was overwritten, run this again to go on from there"
            )
        self._look(manifest)

    def _fence(self) -> None:
        """Take the next number, so that whoever held the lock before can't commit any more."""
        for _ in range(_FENCES):
            try:
                return self._put(self._manifest)
            except StoreLockedError:
                self._look(newest(self._files))
        raise StoreError(f"{self._files.place}: other writers commit all the time; try again later")

    def _settle(self, before: Manifest, after: Manifest) -> None:
        """Put aside what the commit replaced: other readers go by what lies in a folder."""
        gone = before.names - after.names
        for name in gone:
            if not name.startswith(_FOLDERS):
                self._retire(name)
        self._show(before, after)
        self._history.append(after)
        self._thin()
        while len(self._history) > KEPT:
            self._forget(self._history.pop(0))

    def _forget(self, manifest: Manifest) -> None:
        """Delete a commit that is no longer in the history, and what it alone names."""
        name = layout.manifest(manifest.sequence)
        # What is left of it when this process is killed, the next writer finds by its manifest.
        self._retire(name)
        for own in manifest.names.difference(*(one.names for one in self._history)):
            self._files.delete(layout.retired(own))
            self._files.delete(own)
        self._files.delete(layout.retired(name))

    def _retire(self, name: str) -> None:
        """Put a file aside. One that was lost is what a repair leaves out."""
        with suppress(FileNotFoundError):
            self._files.move(name, layout.retired(name))

    def _thin(self) -> None:
        """Delete manifests that were steps on the way to the newest, and those whose files the
        next one has too; the last two stay in any case, so that there is one to go back to."""
        while len(self._history) > 2 and self._history[-2].step > self._history[-1].step:
            self._forget(self._history.pop(-2))
        for at in range(len(self._history) - 3, -1, -1):
            if self._history[at].names <= self._history[at + 1].names:
                self._files.delete(layout.manifest(self._history.pop(at).sequence))

    def _show(self, before: Manifest, after: Manifest) -> None:
        """Let errors.parquet and space.json be what a commit says, for other readers."""
        for entry in set(after.errors()) - set(before.errors()):
            folder = entry.path.rpartition("/")[0]
            with suppress(FileNotFoundError):
                self._copy(self._files.read(entry.path), layout.errors(folder))
        for name, space in after.spaces.items():
            if name not in before.spaces or before.spaces[name].card != space.card:
                self._copy(to_json(dict(space.card)), layout.space_card(name))

    def _copy(self, content: bytes, name: str) -> None:
        if not self._files.exists(name) or self._files.read(name) != content:
            self._files.write(name, content)

    def _data_files(self) -> list[str]:
        """The files, live or not, in the folders where commits put files."""
        folders = (layout.PRODUCTS, layout.SPACES, *_FOLDERS)
        found = self._files.names("")
        return found + [name for folder in folders for name in self._files.tree(folder)]

    def _delete(self, name: str) -> int:
        try:
            size = self._files.size(name)
        except FileNotFoundError:
            # Another writer, whose right was taken over, may be tidying up still.
            return 0
        self._files.delete(name)
        return size
