"""Repair of a store: drops its damaged or missing files from the commit."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, count

from vitrina.store import layout
from vitrina.store.entries import FolderEntry, SpaceEntry
from vitrina.store.manifest import Manifest
from vitrina.store.segments import write_segment
from vitrina.store.store import OpenStore
from vitrina.store.verify import VerifyReport


def repair(store: OpenStore, report: VerifyReport) -> VerifyReport:
    """Commit a manifest without the files that `report` lists as damaged or missing.

    Damaged manifests are deleted: the store goes back to the newest whole commit. Products and
    vectors that were lost are embedded again by the next `vitrina embed` of their catalogue.
    Raises StoreLockedError if another process writes, StoreError if no commit is whole.
    """
    if report.ok:
        if store.files.exists(layout.OWNER):
            # A repair was killed before its final cleanup.
            with store.writer("verify"):
                pass
        return report
    broken = {problem.file for problem in report.problems if problem.repairable}
    with store.writer("verify", damaged_too=True) as writer:
        manifest = without(store.manifest, broken)
        for space in store.manifest.spaces.values():
            for segment in space.segments:
                if not broken.isdisjoint((segment.file.path, segment.copy.path)):
                    write_segment(store.files, segment)
        for name in broken:
            # Decisions can't be recomputed, so a damaged file is kept for manual recovery.
            if name.startswith(layout.DECISIONS):
                store.files.move(name, _free(store, f"{name}{layout.DAMAGED}"))
        writer.commit(manifest)
        # Older commits may name the same files, so they can't be restored either.
        writer.tidy(1)
    report.repaired = sorted(broken)
    return report


def _free(store: OpenStore, name: str) -> str:
    """The name, with a number appended if a file has it already."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(one for one in names if not store.files.exists(one))


def without(manifest: Manifest, broken: set[str]) -> Manifest:
    """The manifest without broken files. A folder is dropped whole, a space with its encoder."""

    def whole(folder: FolderEntry | None) -> bool:
        return folder is None or not broken.intersection(file.path for file in folder.files)

    spaces: dict[str, SpaceEntry] = {}
    for name, space in manifest.spaces.items():
        if whole(space.encoder):
            shards = tuple(shard for shard in space.shards if shard.path not in broken)
            gone = space.errors is None or space.errors.path in broken
            spaces[name] = replace(space, shards=shards, errors=None if gone else space.errors)
    models = {name: folder for name, folder in manifest.models.items() if whole(folder)}
    rejected = manifest.rejected
    return replace(
        manifest,
        products=tuple(part for part in manifest.products if part.path not in broken),
        rejected=None if rejected is None or rejected.path in broken else rejected,
        spaces=spaces,
        active={mode: name for mode, name in manifest.active.items() if name in spaces},
        indexes={name: folder for name, folder in manifest.indexes.items() if whole(folder)},
        models=models,
        model=manifest.model if manifest.model in models else next(iter(models), None),
        encoders={name: one for name, one in manifest.encoders.items() if whole(one)},
        audit=manifest.audit if whole(manifest.audit) else None,
    )
