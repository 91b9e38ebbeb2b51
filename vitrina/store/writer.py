"""Operations of a store's one writer: publish files, commit, and clean up."""

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
from vitrina.store.entries import FileEntry, FolderEntry, Segment
from vitrina.store.files import Claim, Files, checksum, folder_checksum, to_json
from vitrina.store.format import StoreCard, read_card
from vitrina.store.history import newest, newest_number, numbers, read_history
from vitrina.store.leftovers import Leftovers, to_journal
from vitrina.store.manifest import Manifest
from vitrina.store.manifest_check import check
from vitrina.store.segments import divided, write_segment

KEPT = 3
"""Number of commits that stay readable; successive commits that only add files count as one."""

_FENCES = 5
_FOLDERS = (layout.INDEXES, layout.MODELS, layout.AUDITS)


class Writer:
    """Publishes files under names with their checksum, then commits a manifest that names them."""

    def __init__(
        self, files: Files, manifest: Manifest, claim: Claim, show: Callable[[Manifest], None]
    ) -> None:
        """manifest: the newest known commit. claim: the right to write. show: called with each
        commit that becomes the newest."""
        self._files = files
        self._manifest = manifest
        self._claim = claim
        self._show_commit = show
        self._history: list[Manifest] = []
        self._uncommitted: dict[str, tuple[FileEntry, ...]] = {}

    @property
    def scratch(self) -> Path:
        """A local folder for unfinished files."""
        return self._files.scratch

    def begin(self) -> None:
        """Create the store if it is new, fence off an earlier writer, and clean up after it."""
        manifest = newest(self._files)
        segmented = any(space.segments for space in manifest.spaces.values())
        self._require_format(layout.SEGMENTED_VERSION if segmented else layout.FORMAT_VERSION)
        self._set_newest(manifest)
        if self._claim.contested:
            self._fence()
        self._history = read_history(self._files)
        self.tidy(KEPT)

    def _require_format(self, least: int) -> None:
        """Raise the store's format version, if it is lower."""
        card = StoreCard(0, datetime.now(UTC).isoformat(timespec="seconds"))
        if self._files.exists(layout.CARD):
            card = read_card(self._files)
        if card.format < least:
            self._files.write(layout.CARD, to_json(asdict(replace(card, format=least))))

    def _set_newest(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._show_commit(manifest)

    def go_back(self) -> None:
        """Delete manifests newer than the newest whole one."""
        whole = newest(self._files, damaged_too=True).sequence
        for number in numbers(self._files):
            if number > whole:
                self._files.delete(layout.manifest(number))

    def publish(self, temporary: Path, name_of: Callable[[str], str], rows: int = 0) -> FileEntry:
        """Rename a scratch file to the name for its checksum, and return its entry.

        It is not live until a commit names it. name_of: returns the name for a SHA-256.
        """
        digest, size = checksum(temporary), temporary.stat().st_size
        name = name_of(digest)
        self._files.publish(temporary, name)
        self._files.checksums.note(name, digest)
        return FileEntry(name, rows, size, digest)

    def publish_folder(
        self, folder: Path, name_of: Callable[[str], str], beside: Sequence[FileEntry] = ()
    ) -> FolderEntry:
        """Publish a folder of files under the name for the checksum of them all.

        beside: published files in other folders that belong to it too.
        """
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        sums = {path.relative_to(folder).as_posix(): checksum(path) for path in files}
        name = name_of(folder_checksum(sums))
        entries = tuple(
            FileEntry(f"{name}/{inside}", 0, path.stat().st_size, digest)
            for path, (inside, digest) in zip(files, sums.items(), strict=True)
        )
        # Only the journal identifies a partly published folder as ours to the next writer.
        journal, content = to_journal(entries)
        self._uncommitted[journal] = entries
        self._files.write(journal, content)
        for path, entry in zip(files, entries, strict=True):
            self._files.publish(path, entry.path)
            self._files.checksums.note(entry.path, entry.sha256)
        shutil.rmtree(folder, ignore_errors=True)
        return FolderEntry(name, (*beside, *entries))

    def write_errors(self, folder: str, errors: pa.Table) -> FileEntry:
        """Write a table of errors for the next commit. folder: "" for the store's root."""
        path = self.scratch / "errors.parquet"
        pq.write_table(errors, path, compression="zstd", write_page_checksum=True)
        return self.publish(
            path, lambda digest: layout.errors_of_commit(folder, digest), errors.num_rows
        )

    def commit(self, manifest: Manifest) -> None:
        """Make `manifest` the newest; everything it names must have been published.

        It supersedes the intermediate commits (`step`) before it, which do not count among those
        that stay readable.

        A manifest equal to the newest is not committed. Raises StoreError if its parts are
        inconsistent, StoreLockedError if another writer has committed meanwhile.
        """
        before = self._manifest
        changed = replace(manifest, sequence=before.sequence) != before
        if changed:
            self._put(manifest)
        for journal in self._uncommitted:
            self._files.delete(journal)
        self._uncommitted.clear()
        if changed:
            self._retire_replaced(before, self._manifest)

    def abandon(self) -> None:
        """Delete folders published in whole or in part since the last commit, after a failed job.

        In a bucket the next writer does that: the network may have failed.
        """
        if not self._uncommitted or self._files.copies:
            return
        with suppress(OSError, StoreError):
            self._set_newest(newest(self._files))
            known = [*self._history, self._manifest]
            named = frozenset[str]().union(*(manifest.names for manifest in known))
            for journal, entries in self._uncommitted.items():
                for entry in entries:
                    if entry.path not in named:
                        self._files.delete(entry.path)
                self._files.delete(journal)

    def tidy(self, keep: int) -> int:
        """Keep the newest `keep` commits readable; delete files that only older ones name, and
        files that were never committed. Returns the bytes deleted.

        Files not made by Vitrina are left alone (see `leftovers`).
        """
        self._thin()
        kept = self._newest(keep)
        dropped, self._history = self._history[: -len(kept)], kept
        for manifest in dropped:
            self._retire(layout.manifest(manifest.sequence))
        if keep == 1 and len(kept) == 1:
            # A single manifest is written twice, since no other could replace it.
            self._put(self._manifest)
            self._history.append(self._manifest)
        leftovers = Leftovers(self._files)
        freed = self._sort_out(leftovers)
        for name in leftovers.notes:
            self._files.delete(name)
        known = {manifest.sequence for manifest in self._history}
        for number in numbers(self._files):
            # A partial commit of a fenced writer, or one that a repair reverted.
            if number not in known and number < self._manifest.sequence:
                self._files.delete(layout.manifest(number))
        self._files.forget(set(self._manifest.names))
        self._show(Manifest(), self._manifest)
        return freed

    def _sort_out(self, leftovers: Leftovers) -> int:
        """Move every data file to its place, and delete leftovers. Returns the bytes deleted."""
        live = self._manifest.names
        named = frozenset[str]().union(*(manifest.names for manifest in self._history))
        unnamed, freed = [], 0
        for name in self._data_files():
            if name not in named:
                unnamed.append(name)
            elif name not in live and not _stays(name):
                self._retire(name)
        for name in self._files.tree(layout.RETIRED):
            original = name.removeprefix(layout.retired(""))
            if original in live and not self._files.exists(original):
                # The commit that retired it is gone, or was damaged and reverted.
                self._files.move(name, original)
            elif original in live:
                freed += self._delete(name)
            elif original not in named:
                unnamed.append(name)
        return freed + sum(self._delete(name) for name in leftovers.among(unnamed))

    def _newest(self, keep: int) -> list[Manifest]:
        """The newest `keep` commits; one whose files are all in the next is not counted."""
        kept: list[Manifest] = []
        for manifest in reversed(self._history):
            keep -= not (kept and not manifest.names_beyond([kept[0]]))
            if keep < 0:
                break
            kept.insert(0, manifest)
        return kept

    def _put(self, manifest: Manifest) -> None:
        self._claim.check()
        try:
            spaces = {
                name: divided(name, entry, self._segments(name))
                for name, entry in manifest.spaces.items()
            }
            manifest = replace(manifest, sequence=self._manifest.sequence + 1, spaces=spaces)
            check(manifest)
        except ValueError as err:
            raise StoreError(f"{self._files.place}: it can't be committed that {err}") from err
        self._write_segments(manifest)
        name = layout.manifest(manifest.sequence)
        content = manifest.to_bytes()
        try:
            self._files.create(name, content)
            # A later commit means that this number was free because its manifest was deleted.
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
        self._set_newest(manifest)

    def _segments(self, space: str) -> tuple[Segment, ...]:
        """The segments of a space in the newest commit."""
        entry = self._manifest.spaces.get(space)
        return entry.segments if entry else ()

    def _write_segments(self, manifest: Manifest) -> None:
        """Write the lists of shards that the newest commit lacks."""
        for name, space in manifest.spaces.items():
            for segment in space.segments:
                if segment not in self._segments(name):
                    self._require_format(layout.SEGMENTED_VERSION)
                    write_segment(self._files, segment)

    def _fence(self) -> None:
        """Take the next number, so that an earlier lock holder can no longer commit."""
        for _ in range(_FENCES):
            try:
                return self._put(self._manifest)
            except StoreLockedError:
                self._set_newest(newest(self._files))
        raise StoreError(f"{self._files.place}: other writers commit all the time; try again later")

    def _retire_replaced(self, before: Manifest, after: Manifest) -> None:
        """Retire files that the commit replaced, since other readers list the folders."""
        for name in before.names_beyond([after]):
            if not _stays(name):
                self._retire(name)
        self._show(before, after)
        self._history.append(after)
        self._thin()
        while len(self._history) > KEPT:
            self._forget(self._history.pop(0))

    def _forget(self, manifest: Manifest) -> None:
        """Delete a commit that left the history, and the files that it alone names."""
        name = layout.manifest(manifest.sequence)
        # If this process is killed, the next writer finds the rest by the retired manifest.
        self._retire(name)
        # Lists of shards last: the retired manifest needs them.
        for own in sorted(manifest.names_beyond(self._history), key=layout.is_segment):
            self._files.delete(layout.retired(own))
            self._files.delete(own)
        self._files.delete(layout.retired(name))

    def _retire(self, name: str) -> None:
        """Retire a file. A missing one is ignored: a repair leaves out lost files."""
        with suppress(FileNotFoundError):
            self._files.move(name, layout.retired(name))

    def _thin(self) -> None:
        """Delete manifests of superseded intermediate commits, and those whose files the next one
        has too. The last two always stay, so that there is one to go back to."""
        while len(self._history) > 2 and self._history[-2].step > self._history[-1].step:
            self._forget(self._history.pop(-2))
        for at in range(len(self._history) - 3, -1, -1):
            if not self._history[at].names_beyond([self._history[at + 1]]):
                self._files.delete(layout.manifest(self._history.pop(at).sequence))

    def _show(self, before: Manifest, after: Manifest) -> None:
        """Update errors.parquet and space.json to a commit, for other readers."""
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
        """All files, live or not, in the root and the folders that commits write to."""
        folders = (layout.MANIFESTS, layout.PRODUCTS, layout.SPACES, *_FOLDERS)
        found = self._files.names("")
        return found + [name for folder in folders for name in self._files.tree(folder)]

    def _delete(self, name: str) -> int:
        try:
            size = self._files.size(name)
        except FileNotFoundError:
            # A fenced writer may still be cleaning up.
            return 0
        self._files.delete(name)
        return size


def _stays(name: str) -> bool:
    """True for a file that stays in its place when it leaves the newest commit: other readers do
    not read it by listing its folder."""
    return name.startswith(_FOLDERS) or layout.is_segment(name)
