"""Index state: each product's content and location in a store, compared with an index."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vitrina.errors import StoreError
from vitrina.index.card import IndexCard
from vitrina.index.entries import Change, Entries, compare
from vitrina.index.fuse import Fusion
from vitrina.index.results import AGAIN, check_fingerprints
from vitrina.index.score import rows_known
from vitrina.index.search import VectorIndex
from vitrina.index.storage import Folder
from vitrina.pipelines.common.encoders import is_searched_by_text
from vitrina.store.files import to_json
from vitrina.store.rows import Rows
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.types import Features, Mask, Modality

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Staleness:
    """Staleness of an index: products added, changed or removed in the store since it was built.
    Added and changed products are not found until `vitrina index` is run."""

    added: int
    changed: int
    removed: int

    def __str__(self) -> str:
        parts = {"added": self.added, "changed": self.changed, "removed": self.removed}
        counts = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        return (
            f"the index is behind its store ({counts} since it was brought up to date); "
            "run `vitrina index`"
        )


def state_of(store: OpenStore, spaces: Sequence[Space]) -> str:
    """SHA-256 of all inputs of an index of these spaces, in hexadecimal."""
    seen = {
        "products": [entry.path for entry in store.manifest.products],
        "spaces": {space.name: [space.entry.fingerprint, *space.shards] for space in spaces},
    }
    return hashlib.sha256(to_json(seen)).hexdigest()


def current_entries(store: OpenStore, spaces: Sequence[Space]) -> tuple[Entries, Mask]:
    """Every product of a store as an index entry, and (n,) bool, products with a vector."""
    products = store.products
    there = np.zeros(len(products), dtype=bool)
    contents = np.zeros((len(products), 2), dtype=np.uint64)
    places = {}
    for number, space in enumerate(spaces):
        located = space.locate(products)
        hashes = products.hashes(space.modality).view(np.uint64).reshape(-1, 2)
        # Reversed for the second space, so that equal hashes of text and image do not cancel out.
        contents ^= np.where(located.done[:, None], hashes[:, :: 1 - 2 * number], np.uint64(0))
        places[space.modality] = (located.shard, located.row)
        there |= located.done
    return Entries(products.ids, contents.view("V16").ravel(), places), there


def changes(old: Entries, dead: Mask, now: Entries, there: Mask, spaces: Sequence[Space]) -> Change:
    """Changes between an index and a store; see `compare`. A product whose vectors are all zeros
    counts as one without a vector."""
    change = compare(old, dead, now, there)
    if len(change.fresh):
        fresh = now.take(change.fresh)
        rows = Rows.mapped(spaces, [fresh.places[space.modality] for space in spaces])
        blank = np.ones(len(fresh), dtype=bool)
        blank[rows_known(Fusion.plain((1.0,) * len(spaces)).over(rows))] = False
        if blank.any():
            there = there.copy()
            there[change.fresh[blank]] = False
            change = compare(old, dead, now, there)
    return change


def open_vectors(store: OpenStore, features: Features) -> tuple[VectorIndex, Staleness | None]:
    """Open an index for searching, and its staleness; rows of removed products are dead.

    Raises StoreError if it was not built or is damaged, FingerprintError if the store's encoders
    have changed.
    """
    folder = folder_of(store, features)
    card = card_of(folder, features)
    spaces = store.spaces(features)
    check_fingerprints(card.fingerprints, fingerprints_of(spaces), folder.where)
    entries, dead = folder.entries(card)
    behind = None
    if card.state != state_of(store, spaces):
        now, there = current_entries(store, spaces)
        entries = entries.with_ids_as(now.ids.type)
        change = changes(entries, dead, now, there, spaces)
        entries = entries.moved(change.kept, now, change.at)
        dead = np.ones_like(dead)
        dead[change.kept] = False
        behind = behind_by(change)
    rows = Rows.mapped(spaces, [entries.places[space.modality] for space in spaces], folder.damaged)
    index = VectorIndex(
        folder.engine(card),
        fusion_of(folder, card, spaces).over(rows, entries.lengths),
        entries.ids,
        dead,
        card.parameters.effort,
        card.told,
        folder.where,
    )
    return index, behind


def fusion_of(folder: Folder, card: IndexCard, spaces: Sequence[Space]) -> Fusion:
    """How an index fuses vectors of the spaces. Raises StoreError."""
    return folder.fusion(card, {space.modality: space.dim for space in spaces})


def whitened_modalities(
    store: OpenStore, features: Features, spaces: Sequence[Space]
) -> tuple[Modality, ...] | None:
    """The modalities that the index of some features whitens, or would whiten; None for those
    whose vectors lie in a narrow cone."""
    if features in store.manifest.indexes:
        try:
            card = card_of(folder_of(store, features), features)
        except StoreError:
            pass
        else:
            if card.fingerprints == fingerprints_of(spaces):
                return card.whitened or ()
    return () if all(map(is_searched_by_text, spaces)) else None


def fingerprints_of(spaces: Sequence[Space]) -> dict[str, str]:
    """The fingerprint of each space's encoder, by modality."""
    return {space.modality.value: space.entry.fingerprint for space in spaces}


def folder_of(store: OpenStore, features: Features) -> Folder:
    """The files of a live index. Raises StoreError if it was not built."""
    files = store.index_files(features)
    return Folder(files, store.files.where(store.manifest.indexes[features].path))


def card_of(folder: Folder, features: Features) -> IndexCard:
    """The card of the index of some features. Raises StoreError, also for one of others."""
    card = folder.card()
    if card.features is not features:
        raise StoreError(f"the index at {folder.where} is one of {card.features} vectors; {AGAIN}")
    return card


def behind_by(change: Change) -> Staleness | None:
    """The staleness of a change; None for no change."""
    behind = Staleness(change.added, change.changed, change.removed)
    return behind if behind != Staleness(0, 0, 0) else None


def warn_if_behind(behind: Staleness | None) -> None:
    """Log a warning of staleness, by default to standard error."""
    if behind:
        log.warning("%s", behind)
