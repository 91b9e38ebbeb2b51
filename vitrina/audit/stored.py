"""Stored form of an audit, validated on reading since a store may be untrusted."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitrina.typed_json import Count, Finite, Share, StoredId
from vitrina.types import Reason


@dataclass(frozen=True)
class StoredName:
    """A category and its path."""

    id: StoredId
    name: str


@dataclass(frozen=True)
class StoredMembers:
    """A count of products, and the first of them."""

    count: Count = 0
    products: tuple[StoredId, ...] = ()


@dataclass(frozen=True)
class StoredBin:
    """A bin of the histogram of scores."""

    low: Share
    high: Share
    count: Count


@dataclass(frozen=True)
class StoredPair:
    """A given and a suggested category, with the products that are suspect so."""

    given: StoredId
    suggested: StoredId
    count: Count = 0
    products: tuple[StoredId, ...] = ()


@dataclass(frozen=True)
class StoredTwins:
    """Two categories that the models confuse."""

    one: StoredId
    other: StoredId
    products: Count = 0
    share: Finite = 0
    kind: str = ""


@dataclass(frozen=True)
class StoredCategory:
    """A category with its suspects."""

    id: StoredId
    products: Count = 0
    suspects: Count = 0


@dataclass(frozen=True)
class StoredAudit:
    """Content of `audit.json`; see `card_of` in `pipelines.audit`. Older audits lack some."""

    key: str
    names: tuple[StoredName, ...]
    store: str = ""
    time: str = ""
    features: str = ""
    machine: str = ""
    products: Count = 0
    labelled: Count = 0
    checked: Count = 0
    settled: Count = 0
    suspects: Count = 0
    wrong_by_confident_learning: Count = 0
    folds: Count = 0
    seed: Count = 0
    took: Finite = 0
    copies_from: Finite = 0
    recorded: bool = True
    members: tuple[str, ...] = ()
    stages: dict[str, Finite] = field(default_factory=dict)
    reasons: dict[str, Count] = field(default_factory=dict)
    cleanlab: dict[str, Count] = field(default_factory=dict)
    scores: tuple[StoredBin, ...] = ()
    pairs: tuple[StoredPair, ...] = ()
    twins: tuple[StoredTwins, ...] = ()
    categories: tuple[StoredCategory, ...] = ()
    foreign_text: StoredMembers = StoredMembers()
    foreign_image: StoredMembers = StoredMembers()
    without_text: StoredMembers = StoredMembers()
    without_photo: StoredMembers = StoredMembers()
    without_both: StoredMembers = StoredMembers()

    def __post_init__(self) -> None:
        edges = [edge for one in self.scores for edge in (one.low, one.high)]
        if edges != sorted(edges) or any(one.low == one.high for one in self.scores):
            raise ValueError("the bins of the scores are out of order")


@dataclass(frozen=True)
class StoredEvidence:
    """One kind of evidence against a label."""

    kind: str
    against: Finite


@dataclass(frozen=True)
class StoredNear:
    """A neighbour or copy of a suspect."""

    product_id: StoredId
    category_id: StoredId | None
    score: Finite


@dataclass(frozen=True)
class StoredSuspect:
    """A row of `suspects.parquet`."""

    rank: Count
    product_id: StoredId
    title: str | None
    given_category_id: StoredId
    suggested_category_id: StoredId
    score: Finite
    given_probability: Finite
    suggested_probability: Finite
    reasons: tuple[Reason, ...]
    evidence: tuple[StoredEvidence, ...]
    text_category_id: StoredId | None
    image_category_id: StoredId | None
    neighbours: tuple[StoredNear, ...]
    copies: tuple[StoredNear, ...]
    batch: int
