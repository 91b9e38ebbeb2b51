"""`index.json`: the card of an index, validated because the store may not be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from vitrina.index.choose import kind_of
from vitrina.index.results import AGAIN, Effort
from vitrina.index.vote import RuleCard
from vitrina.typed_json import Count, Finite, Share, convert_json, load_json
from vitrina.types import Features, IndexKind, Modality

CARD_FILE = "index.json"

Candidates = Annotated[int, Meta(ge=1, le=1 << 14)]
Weight = Annotated[float, Meta(gt=0, le=1e3)]


@dataclass(frozen=True)
class Goal:
    """Requirements on an index. recall: the share of the true ten nearest. memory: maximum bytes.
    factory: FAISS's factory string; None to choose one."""

    recall: Share = 0.99
    memory: Count = 1 << 32
    factory: Annotated[str, Meta(max_length=200)] | None = None

    def to_json(self) -> dict[str, Any]:
        """The goal as JSON values of `index.json`."""
        return {"recall": self.recall, "memory": self.memory, "factory": self.factory}


@dataclass(frozen=True)
class Parameters:
    """Search parameters by FAISS's names; see `Effort`."""

    nprobe: Annotated[int, Meta(ge=1, le=1 << 24)] | None = None
    efSearch: Annotated[int, Meta(ge=1, le=1 << 16)] | None = None  # noqa: N815
    candidates: Candidates = 1

    @property
    def effort(self) -> Effort:
        """The parameters as `Effort`."""
        return Effort(self.nprobe or self.efSearch or 1, self.candidates)


@dataclass(frozen=True)
class RecallCard:
    """The measured recall; see `Recall`."""

    at: Count
    value: Share
    low: Share
    high: Share
    queries: Count


@dataclass(frozen=True)
class UpdateCard:
    """The last update."""

    kind: str
    added: Count
    changed: Count
    removed: Count
    seconds: Finite


@dataclass(frozen=True)
class VoteCard:
    """The chosen vote rule and its scores."""

    rule: RuleCard
    weighted_f1: Share = 0.0
    macro_f1: Share = 0.0
    coverage_at_95: Share = 0.0
    rows: Count = 0


@dataclass(frozen=True)
class IndexCard:
    """Content of `index.json`. whitened: modalities whose vectors are whitened; None in an index of
    an earlier version, which whitens none. told: the same as plain JSON, including unknown keys.

    Raises ValueError for a card that contradicts itself.
    """

    features: Features
    kind: IndexKind
    factory: Annotated[str, Meta(max_length=200)]
    parameters: Parameters
    dim: Annotated[int, Meta(ge=1, le=1 << 20)]
    goal: Goal
    trained_rows: Count
    modalities: tuple[Modality, ...]
    weights: Mapping[Modality, Weight]
    fingerprints: Mapping[str, str]
    shards: Mapping[Modality, tuple[str, ...]]
    base: Count
    rows: Count
    state: str
    recall: RecallCard
    queries_per_second: Finite
    bytes: Count
    update: UpdateCard
    vote: VoteCard | None = None
    whitened: tuple[Modality, ...] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.modalities != self.features.modalities:
            raise ValueError(f"{self.features} vectors made of {', '.join(self.modalities)}")
        for name in ("weights", "fingerprints", "shards"):
            if getattr(self, name).keys() != set(self.modalities):
                raise ValueError(f"its {name} are not those of {', '.join(self.modalities)}")
        if not set(self.whitened or ()) <= set(self.modalities):
            raise ValueError(f"it whitens {', '.join(self.whitened or ())} vectors, which it lacks")
        if self.kind is not kind_of(self.factory):
            raise ValueError(f"{self.factory!r} makes no index of the kind {self.kind}")

    @classmethod
    def read(cls, path: Path) -> IndexCard:
        """Read a card. Raises StoreError; OSError if the file is missing."""
        return cls.of(load_json(path.read_bytes(), str(path), AGAIN), str(path))

    @classmethod
    def of(cls, value: Any, where: str) -> IndexCard:
        """Convert JSON to a card. where: for messages. Raises StoreError."""
        return replace(convert_json(value, cls, where, AGAIN), told=value)
