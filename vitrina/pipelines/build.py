"""The indexing job: join the spaces to the products, build, measure, commit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vitrina.index.build import build_flat, write_index
from vitrina.index.search import VectorIndex
from vitrina.store import layout
from vitrina.store.gather import gather
from vitrina.store.store import Store
from vitrina.types import Features


@dataclass(frozen=True)
class IndexReport:
    """What was built. `left_out`: products without any vector. `recall`: at 10, measured."""

    store: str
    features: Features
    factory: str
    rows: int
    left_out: int
    dim: int
    recall: float
    build_seconds: float
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**asdict(self), "features": self.features.value}


def default_features(store: Store) -> Features:
    """Fused where the store has both spaces, else the one it has."""
    if len(store.manifest.active) == 1:
        return Features(next(iter(store.manifest.active)).value)
    return Features.FUSED


def build_index(
    store: Store, features: Features | None = None, *, seed: int = 0
) -> tuple[VectorIndex, IndexReport]:
    """Build the index of some features and make it live.

    Raises StoreError if a space is missing, StoreLockedError if another process writes.
    """
    with store.writer("index") as writer:
        features = features or default_features(store)
        spaces = store.spaces(features)
        gathered = gather(store.products, spaces)
        built = build_flat(gathered, store.products.ids, weights=(1.0,) * len(spaces), seed=seed)
        folder = writer.scratch / "index"
        card = write_index(
            folder,
            built,
            features=features,
            spaces={space.modality: space.name for space in spaces},
            fingerprints={space.modality: space.entry.fingerprint for space in spaces},
        )
        kept = writer.publish_folder(folder, lambda digest: layout.index(features, digest))
        writer.commit(store.manifest.with_index(features, kept))
    report = IndexReport(
        store.place,
        features,
        card["factory"],
        card["rows"],
        len(store.products) - card["rows"],
        card["dim"],
        card["recall"]["value"],
        card["build_seconds"],
        card["bytes"],
    )
    return VectorIndex.open(store.index_folder(features)), report
