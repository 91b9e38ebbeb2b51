"""Detection of files that a killed writer left in a store and that no commit names.

Files of other origin are never touched. A file is Vitrina's if its name is of a form that `layout`
makes and one of these holds:

- its content has the checksum in its name;
- it is in a folder whose name contains the checksum of all files there;
- a journal names it with its checksum: a writer writes one before it publishes a folder;
- a commit that is being deleted names it (see `history.read_retired`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from vitrina.errors import StoreError
from vitrina.store import layout
from vitrina.store.entries import FileEntry
from vitrina.store.files import Files, folder_checksum, to_json
from vitrina.store.history import read_retired
from vitrina.store.names import FOLDER_ROLES, SINGLE_ROLES, Role, parse
from vitrina.typed_json import parse_json


def to_journal(entries: Iterable[FileEntry]) -> tuple[str, bytes]:
    """The name and the content of a journal."""
    content = to_json([[entry.path, entry.sha256] for entry in entries])
    return layout.journal(hashlib.sha256(content).hexdigest()), content


class Leftovers:
    """Recognises Vitrina's files that no commit names.

    Attributes:
        notes: names of journals, and of manifests of commits that are being deleted; delete these
            after the files they name.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._journalled: dict[str, str] = {}
        retired = read_retired(files)
        self._forgotten = frozenset[str]().union(*(one.names for one in retired.values()))
        self.notes = [*retired]
        for name in files.names(""):
            parsed = parse(name)
            if parsed and parsed.role is Role.JOURNAL and self._read_journal(name, parsed.digest):
                self.notes.append(name)

    def among(self, names: Iterable[str]) -> list[str]:
        """Names of Vitrina's files among `names`, none of which a commit names."""
        ours: list[str] = []
        folders: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for name in names:
            original = name.removeprefix(layout.retired(""))
            parsed = parse(original)
            if parsed is None:
                continue
            if original in self._forgotten:
                ours.append(name)
            elif parsed.role in SINGLE_ROLES:
                if self._checksum(name).startswith(parsed.digest):
                    ours.append(name)
            elif parsed.role in FOLDER_ROLES and name == original:
                if self._checksum(name) == self._journalled.get(name):
                    ours.append(name)
                else:
                    folders[parsed.folder][parsed.inside] = self._checksum(name)
        for folder, sums in folders.items():
            if folder.endswith(f"-{folder_checksum(sums)[: layout.DIGEST]}"):
                ours += [layout.below(folder, inside) for inside in sums]
        return ours

    def _read_journal(self, name: str, digest: str) -> bool:
        with suppress(FileNotFoundError, StoreError):
            content = self._files.read(name)
            if hashlib.sha256(content).hexdigest().startswith(digest):
                pairs = parse_json(content, list[tuple[str, str]], name, "it is ignored")
                self._journalled.update(pairs)
                return True
        return False

    def _checksum(self, name: str) -> str:
        try:
            return hashlib.sha256(self._files.open(name).read_buffer()).hexdigest()
        except OSError:
            # A fenced writer may still be cleaning up; or the file is of other origin, and this
            # process can't read it.
            return ""
