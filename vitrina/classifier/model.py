"""A trained classifier in a store: its weights, categories and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrina.classifier.backoff import BackOff
from vitrina.classifier.calibrate import softmax
from vitrina.classifier.card import AGAIN, CARD_FILE, ModelCard
from vitrina.classifier.fusion import VOTE, Blend, vote_logits
from vitrina.classifier.heads import Head, load_heads, save_heads
from vitrina.classifier.tree import CategoryTree
from vitrina.errors import FingerprintError, StoreError
from vitrina.store.damage import blamed_on
from vitrina.store.files import making_folder, write_json
from vitrina.types import CategoryId, Codes, Features, Floats, FusionKind, IdType, Mask, Modality


@dataclass(frozen=True)
class Model:
    """A trained classifier: heads, fusion weights, calibration and thresholds.

    features: its input modalities. fusion: how its base models are combined. heads: each by the
    name of its features. blend: weights and calibration of the base models. back_off: thresholds
    for accepting predictions. vote: the rule of the neighbours' vote as JSON, if that is a base
    model. categories, names: id and path of each class. spaces, fingerprints: of the encoder that
    each modality's vectors must come from. report: the training report, as JSON.
    """

    name: str
    features: Features
    fusion: FusionKind
    heads: Mapping[str, Head]
    blend: Blend
    back_off: BackOff
    vote: Mapping[str, Any] | None
    categories: tuple[CategoryId, ...]
    names: tuple[str, ...]
    spaces: Mapping[Modality, str]
    fingerprints: Mapping[Modality, str]
    report: Mapping[str, Any]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The input modalities, in the order of `vectors`."""
        return self.features.modalities

    def probabilities(
        self, vectors: Sequence[Floats], present: Sequence[Mask], shares: Floats | None = None
    ) -> Floats:
        """Calibrated probabilities, (n, classes) float32.

        vectors and present: (n, dim) float32 and (n,) bool for each of `modalities`. shares: (n,
        classes), the neighbours' vote; without it only the heads predict.
        """
        parts = self.scores(vectors, present)
        if shares is not None and VOTE in self.blend.members:
            parts[VOTE] = vote_logits(shares)
        masks = dict(zip(self.modalities, present, strict=True))
        return softmax(self.blend.logits(parts, masks), 1.0)

    def scores(self, vectors: Sequence[Floats], present: Sequence[Mask]) -> dict[str, Floats]:
        """Logits of each head, by its features: (n, classes) float32."""
        return head_scores(self.heads, self.modalities, vectors, present)

    def check(self, modality: Modality, fingerprint: str, dim: int | None = None) -> None:
        """Refuse vectors of another encoder or another length.

        Raises FingerprintError naming both, StoreError for the length.
        """
        ours = self.fingerprints[modality]
        if ours != fingerprint:
            raise FingerprintError(
                f"the head {self.name} was trained on {modality} vectors of encoder {ours[:12]} "
                f"({self.spaces[modality]}), but those at hand are of encoder "
                f"{fingerprint[:12]}; run `vitrina train` again"
            )
        for member, head in self.heads.items():
            modalities = Features(member).modalities
            for one, own in zip(modalities, head.shape.dims, strict=True):
                if one is modality and dim not in (None, own):
                    raise StoreError(
                        f"the head {self.name} takes {modality} vectors of {own} numbers, but "
                        f"those of {self.spaces[modality]} have {dim}; {AGAIN}"
                    )

    def save(self, folder: Path, card: str) -> None:
        """Write `head.safetensors`, `model.json` and `card.md` into a folder, atomically.
        card: Markdown, for people."""
        content = {
            "name": self.name,
            "features": self.features.value,
            "fusion": self.fusion.value,
            "shapes": {member: head.shape.to_json() for member, head in self.heads.items()},
            "blend": self.blend.to_json(),
            "back_off": self.back_off.to_json(),
            "vote": dict(self.vote) if self.vote else None,
            "categories": [
                {"id": category, "name": name}
                for category, name in zip(self.categories, self.names, strict=True)
            ],
            "inputs": [
                {"modality": modality, "space": space, "fingerprint": self.fingerprints[modality]}
                for modality, space in self.spaces.items()
            ],
            "report": dict(self.report),
        }
        with making_folder(folder) as temporary:
            save_heads(temporary, self.heads)
            write_json(temporary / CARD_FILE, content)
            (temporary / "card.md").write_text(card, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, category_id: IdType = int) -> Model:
        """Read a model. category_id: the type of its store's category ids.

        Raises StoreError if a file is missing or damaged.
        """
        path = folder / CARD_FILE
        card = ModelCard.read(folder)
        with blamed_on(str(path), AGAIN):
            categories = card.ids(category_id)
            back_off = BackOff.of(CategoryTree.of(card.names), card.back_off)
        return cls(
            name=card.name,
            features=card.features,
            fusion=card.fusion,
            heads=load_heads(folder, card.shapes),
            blend=Blend.of(card.blend),
            back_off=back_off,
            vote=card.vote,
            categories=categories,
            names=card.names,
            spaces={one.modality: one.space for one in card.inputs},
            fingerprints={one.modality: one.fingerprint for one in card.inputs},
            report=card.report,
        )


def head_scores(
    heads: Mapping[str, Head],
    modalities: Sequence[Modality],
    vectors: Sequence[Floats],
    present: Sequence[Mask],
) -> dict[str, Floats]:
    """Logits of each head, by its features: (n, classes) float32.

    vectors, present: (n, dim) float32 and (n,) bool for each of `modalities`.
    """
    places = {one: place for place, one in enumerate(modalities)}
    out = {}
    for member, head in heads.items():
        own = [places[one] for one in Features(member).modalities]
        out[member] = head.logits([vectors[at] for at in own], [present[at] for at in own])
    return out


def top(probabilities: Floats, k: int) -> tuple[Codes, Floats]:
    """The k most probable classes of each row, best first, and their probabilities: (n, k) int64
    and (n, k) float32. k is at most the number of classes."""
    k = min(k, probabilities.shape[1])
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k].astype(np.int64)
    return order, np.take_along_axis(probabilities, order, axis=1)
