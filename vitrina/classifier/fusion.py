"""Several classifiers' scores made one: heads over one modality or all, and the neighbours' vote.

All fusion here is a logarithmic opinion pool (Genest & Zidek, "Combining probability
distributions", 1986): each member's log-probabilities times its weight. The weights are fitted to
the likelihood of rows that no member learnt from, which calibrates the outcome as well: for one
member alone its weight is one over the temperature of Guo et al. (2017). One temperature can't fit
labels of which some are wrong, so the pool is calibrated once more; see `temperatures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vitrina.classifier.calibrate import softmax
from vitrina.classifier.temperatures import ONE, Temperatures
from vitrina.errors import TrainingError
from vitrina.types import Codes, Features, Floats, FusionKind, Mask, Modality

VOTE = "vote"
"""The member that is no head."""
FLOOR = 1e-3
"""What a vote gives a category that nobody voted for."""
MOST = 100.0
"""The largest weight: a head that is never wrong would have an infinite one."""
BLOCK_VALUES = 1 << 23

Doubles: TypeAlias = "npt.NDArray[np.float64]"


def members_of(kind: FusionKind, features: Features) -> tuple[str, ...]:
    """Who is heard of products that lack nothing: heads by what they look at, and `VOTE`."""
    alone = tuple(one.value for one in features.modalities)
    return {
        FusionKind.EARLY: (features.value,),
        FusionKind.LATE: alone,
        FusionKind.KNN: (features.value, VOTE),
        FusionKind.STACK: (*dict.fromkeys((features.value, *alone)), VOTE),
    }[kind]


def stand_ins_of(kind: FusionKind, features: Features) -> tuple[str, ...]:
    """Heads that are heard besides of products that lack a modality: those that see one alone."""
    there = members_of(kind, features)
    alone = (one.value for one in features.modalities)
    return tuple(name for name in alone if name not in there)


def kinds_of(features: Features) -> tuple[FusionKind, ...]:
    """The ways of fusion that differ, simplest first."""
    if len(features.modalities) > 1:
        return tuple(FusionKind)
    return FusionKind.EARLY, FusionKind.KNN


def heard(member: str, looked_at: Features) -> bool:
    """Whether a member has anything to say of a product that has just these modalities."""
    return member in (VOTE, Features.FUSED) or looked_at in (member, Features.FUSED)


def looked_at_of(features: Features) -> tuple[Features, ...]:
    """The sets of modalities that a product may have of these: what `looked_at` gives."""
    return tuple(Features) if len(features.modalities) > 1 else (features,)


def looked_at(present: Mapping[Modality, Mask]) -> list[tuple[Features, Codes]]:
    """Rows by what there is of them; those of which there is nothing stand with the complete."""
    some = list(present.values())
    if len(some) == 1:
        return [(Features(next(iter(present))), np.arange(len(some[0])))]
    text, image = present[Modality.TEXT], present[Modality.IMAGE]
    parts = {
        Features.FUSED: text == image,
        Features.TEXT: text & ~image,
        Features.IMAGE: image & ~text,
    }
    return [(features, np.flatnonzero(mask)) for features, mask in parts.items() if mask.any()]


def vote_logits(shares: Floats) -> Floats:
    """The neighbours' vote as a member: (n, classes) shares, see `vote_shares`."""
    logits: Floats = np.log(shares + np.float32(FLOOR))
    return logits


@dataclass(frozen=True)
class BlendCard:
    """A blend as `model.json` holds it. Raises ValueError for what contradicts itself."""

    members: tuple[str, ...]
    weights: Mapping[Features, tuple[Annotated[float, Meta(ge=0, le=MOST)], ...]]
    temperatures: Mapping[Features, Temperatures]

    def __post_init__(self) -> None:
        if len(set(self.members)) < len(self.members):
            raise ValueError("a member stands there twice")
        for features, weights in self.weights.items():
            if len(weights) != len(self.members):
                raise ValueError(
                    f"{len(weights)} weights of {len(self.members)} members for {features}"
                )


@dataclass(frozen=True, eq=False)
class Blend:
    """Who is heard, and how much, by what there is of a product.

    weights: for products with all modalities and for those that lack one, one weight per member, 0
    for a member that has nothing to say of them. temperatures: for each of these, what calibrates
    the pool.
    """

    members: tuple[str, ...]
    weights: Mapping[Features, Floats]
    temperatures: Mapping[Features, Temperatures] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        members: Sequence[str],
        scores: Mapping[Features, tuple[Codes, Mapping[str, Floats]]],
        true: Codes,
        stand_ins: Sequence[str] = (),
    ) -> Blend:
        """members: heard of all products. scores: for each set of modalities that a product may
        have, some rows and what each member says of these where it sees no more: (len(rows),
        classes) logits. true: (n,) int64, the class of every row. stand_ins: heard of products that
        lack a modality alone."""
        everybody = (*members, *stand_ins)
        whole = max(scores, key=lambda one: len(one.modalities))
        weights, temperatures = {}, {}
        for features, (rows, parts) in scores.items():
            there = members if features is whole else everybody
            listening = [name for name in there if heard(name, features)]
            found = np.zeros(len(everybody), dtype=np.float32)
            if listening:
                some = [parts[name] for name in listening]
                fitted = fit_weights(some, true[rows])
                found[[everybody.index(name) for name in listening]] = fitted
                temperatures[features] = Temperatures.fit(_pool(some, fitted), true[rows])
            weights[features] = found
        return cls(everybody, weights, temperatures)

    def logits(self, parts: Mapping[str, Floats], present: Mapping[Modality, Mask]) -> Floats:
        """parts: what each member says, (n, classes) logits. present: (n,) bool of each modality.
        Returns (n, classes) float32, calibrated: `softmax` of them at 1 are probabilities."""
        out = np.zeros_like(next(iter(parts.values())), dtype=np.float32)
        for features, rows in looked_at(present):
            voices = [
                (parts[name][rows], weight)
                for name, weight in zip(self.members, self.weights[features], strict=True)
                if weight and name in parts
            ]
            if voices:
                pooled = _pool(*zip(*voices, strict=True))
                out[rows] = self.temperatures.get(features, ONE).logits(pooled)
        return out

    def to_json(self) -> dict[str, Any]:
        """As `model.json` holds it."""
        return {
            "members": list(self.members),
            "weights": {name.value: one.tolist() for name, one in self.weights.items()},
            "temperatures": {name.value: asdict(one) for name, one in self.temperatures.items()},
        }

    @classmethod
    def of(cls, card: BlendCard) -> Blend:
        """Read it back."""
        weights = {name: np.array(one, dtype=np.float32) for name, one in card.weights.items()}
        return cls(card.members, weights, card.temperatures)


def _pool(parts: Sequence[Floats], weights: Sequence[float] | Floats) -> Floats:
    pooled = np.zeros_like(parts[0], dtype=np.float32)
    for part, weight in zip(parts, weights, strict=True):
        pooled += np.float32(weight) * centred(part)
    return pooled


def fit_weights(parts: Sequence[Floats], labels: Codes) -> Floats:
    """The weights of least log-loss, none below zero: (len(parts),) float32.

    parts: (n, classes) logits each, of rows that none of the members learnt from. labels: (n,)
    int64. The log-loss is convex in the weights, so there is one best, whatever it begins with. A
    pull of a single row's strength to equal weights that sum to 1 decides where rows are few.
    Raises TrainingError for logits that are not finite.
    """
    # Not above: it takes longer to import than everything else here.
    from scipy.optimize import minimize

    if not all(np.isfinite(part).all() for part in parts):
        raise TrainingError("the head gives NaN or infinity; train it with a lower learning rate")

    even = np.full(len(parts), 1 / len(parts))

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        total, slope = 0.0, np.zeros(len(parts))
        step = max(1, BLOCK_VALUES // parts[0].shape[1])
        for start in range(0, len(labels), step):
            some = [centred(part[start : start + step]) for part in parts]
            true = labels[start : start + step]
            rows = np.arange(len(true))
            pooled = np.zeros_like(some[0])
            for one, part in zip(weights, some, strict=True):
                pooled += np.float32(one) * part
            shares = softmax(pooled, 1.0)
            total -= float(np.log(np.maximum(shares[rows, true], 1e-30)).sum(dtype=np.float64))
            for at, part in enumerate(some):
                expected = np.einsum("nc,nc->", shares, part, dtype=np.float64)
                slope[at] += float(expected) - float(part[rows, true].sum(dtype=np.float64))
        away = weights - even
        count = max(1, len(labels))
        return (total + float(away @ away) / 2) / count, (slope + away) / count

    found = minimize(loss, even, jac=True, method="L-BFGS-B", bounds=[(0, MOST)] * len(parts))
    weights: Floats = found.x.astype(np.float32)
    return weights


def centred(logits: Floats) -> Floats:
    """Logits less their row's largest: the same probabilities, and numbers of a like size."""
    shifted: Floats = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float32)
    return shifted
