"""Fusion of base models: heads over one modality or all, and the neighbours' vote.

All fusion here is a logarithmic opinion pool (Genest & Zidek, "Combining probability
distributions", 1986): the weighted sum of the base models' log-probabilities. The weights maximise
the likelihood of rows that no base model was trained on, which also calibrates the result: with a
single base model, its weight is one over the temperature of Guo et al. (2017). One temperature
can't fit labels of which some are wrong, so the pool is calibrated once more; see `temperatures`.
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
"""The name of the one base model that is no head, the neighbours' vote."""
FLOOR = 1e-3
"""Added to each category's share of the vote, so that its logarithm is finite."""
MOST = 100.0
"""Upper limit of a weight: a head that is never wrong would get an infinite one."""
BLOCK_VALUES = 1 << 23

Doubles: TypeAlias = "npt.NDArray[np.float64]"


def members_of(kind: FusionKind, features: Features) -> tuple[str, ...]:
    """Base models for products with all modalities: heads by their features, and `VOTE`."""
    single = tuple(one.value for one in features.modalities)
    return {
        FusionKind.EARLY: (features.value,),
        FusionKind.LATE: single,
        FusionKind.KNN: (features.value, VOTE),
        FusionKind.STACK: (*dict.fromkeys((features.value, *single)), VOTE),
    }[kind]


def fallback_models(kind: FusionKind, features: Features) -> tuple[str, ...]:
    """Fallback heads for products that lack a modality: those over a single modality."""
    base = members_of(kind, features)
    single = (one.value for one in features.modalities)
    return tuple(name for name in single if name not in base)


def kinds_of(features: Features) -> tuple[FusionKind, ...]:
    """The distinct kinds of fusion for these features, simplest first."""
    if len(features.modalities) > 1:
        return tuple(FusionKind)
    return FusionKind.EARLY, FusionKind.KNN


def applies_to(member: str, group_by_modality: Features) -> bool:
    """True if a base model applies to products with exactly these modalities."""
    return member in (VOTE, Features.FUSED) or group_by_modality in (member, Features.FUSED)


def modality_groups(features: Features) -> tuple[Features, ...]:
    """The sets of modalities by which `group_by_modality` groups products with these features."""
    return tuple(Features) if len(features.modalities) > 1 else (features,)


def group_by_modality(present: Mapping[Modality, Mask]) -> list[tuple[Features, Codes]]:
    """Rows grouped by the modalities they have; rows with none are grouped with complete ones.

    present: (n,) bool of each modality. Returns int64 rows of each set that has any.
    """
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
    """The neighbours' vote as logits, (n, classes). shares: (n, classes), see `vote_shares`."""
    logits: Floats = np.log(shares + np.float32(FLOOR))
    return logits


@dataclass(frozen=True)
class BlendCard:
    """A blend as `model.json` holds it. Raises ValueError for inconsistent fields."""

    members: tuple[str, ...]
    weights: Mapping[Features, tuple[Annotated[float, Meta(ge=0, le=MOST)], ...]]
    temperatures: Mapping[Features, Temperatures]

    def __post_init__(self) -> None:
        if len(set(self.members)) < len(self.members):
            raise ValueError("a base model occurs twice")
        for features, weights in self.weights.items():
            if len(weights) != len(self.members):
                raise ValueError(
                    f"{len(weights)} weights of {len(self.members)} members for {features}"
                )


@dataclass(frozen=True, eq=False)
class Blend:
    """Weights and calibration of base models, by the modalities that a product has.

    members: the base models. weights: for each set of modalities, (members,) float32, 0 for a base
    model that does not apply. temperatures: for each set, the calibration of the pool.
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
        """Fit the weights and the calibration for each set of modalities.

        members: base models for all products. scores: for each set of modalities that a product may
        have, some rows and the logits of each base model given no other modality: (len(rows),
        classes). true: (n,) int64, the class of every row. stand_ins: base models only for products
        that lack a modality.
        """
        models = (*members, *stand_ins)
        whole = max(scores, key=lambda one: len(one.modalities))
        weights, temperatures = {}, {}
        for features, (rows, parts) in scores.items():
            candidates = members if features is whole else models
            applicable = [name for name in candidates if applies_to(name, features)]
            found = np.zeros(len(models), dtype=np.float32)
            if applicable:
                some = [parts[name] for name in applicable]
                fitted = fit_weights(some, true[rows])
                found[[models.index(name) for name in applicable]] = fitted
                temperatures[features] = Temperatures.fit(_pool(some, fitted), true[rows])
            weights[features] = found
        return cls(models, weights, temperatures)

    def logits(self, parts: Mapping[str, Floats], present: Mapping[Modality, Mask]) -> Floats:
        """Pool and calibrate logits.

        parts: (n, classes) logits of each base model. present: (n,) bool of each modality. Returns
        (n, classes) float32; their `softmax` at temperature 1 are calibrated probabilities.
        """
        out = np.zeros_like(next(iter(parts.values())), dtype=np.float32)
        for features, rows in group_by_modality(present):
            terms = [
                (parts[name][rows], weight)
                for name, weight in zip(self.members, self.weights[features], strict=True)
                if weight and name in parts
            ]
            if terms:
                pooled = _pool(*zip(*terms, strict=True))
                out[rows] = self.temperatures.get(features, ONE).logits(pooled)
        return out

    def to_json(self) -> dict[str, Any]:
        """The blend as JSON values for `model.json`."""
        return {
            "members": list(self.members),
            "weights": {name.value: one.tolist() for name, one in self.weights.items()},
            "temperatures": {name.value: asdict(one) for name, one in self.temperatures.items()},
        }

    @classmethod
    def of(cls, card: BlendCard) -> Blend:
        """Build a blend from its card."""
        weights = {name: np.array(one, dtype=np.float32) for name, one in card.weights.items()}
        return cls(card.members, weights, card.temperatures)


def _pool(parts: Sequence[Floats], weights: Sequence[float] | Floats) -> Floats:
    pooled = np.zeros_like(parts[0], dtype=np.float32)
    for part, weight in zip(parts, weights, strict=True):
        pooled += np.float32(weight) * centred(part)
    return pooled


def fit_weights(parts: Sequence[Floats], labels: Codes) -> Floats:
    """The weights of least log-loss, none below zero: (len(parts),) float32.

    parts: (n, classes) logits each, of rows that no base model was trained on. labels: (n,) int64.
    The log-loss is convex in the weights, so the start does not matter. A ridge penalty with the
    weight of a single row, towards equal weights that sum to 1, decides if rows are few.
    Raises TrainingError for logits that are not finite.
    """
    # Imported here: slower to load than everything else in this module.
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
        offset = weights - even
        count = max(1, len(labels))
        return (total + float(offset @ offset) / 2) / count, (slope + offset) / count

    found = minimize(loss, even, jac=True, method="L-BFGS-B", bounds=[(0, MOST)] * len(parts))
    weights: Floats = found.x.astype(np.float32)
    return weights


def centred(logits: Floats) -> Floats:
    """Logits minus their row's maximum: the same probabilities on a common scale."""
    shifted: Floats = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float32)
    return shifted
