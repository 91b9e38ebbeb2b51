"""A trained head as it lies in a store: its weights, its categories, its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrina.classifier.calibrate import softmax
from vitrina.classifier.heads import Head, HeadShape
from vitrina.errors import FingerprintError, StoreError
from vitrina.store.files import making_folder, read_json, write_json
from vitrina.types import CategoryId, Codes, Floats, Mask, Modality


@dataclass(frozen=True)
class Model:
    """A head ready to predict.

    categories and names: id and path of each class. spaces, fingerprints: what its vectors must
    come from. accept_from: the probability from which on predictions were 95% right on
    validation. report: what training said.
    """

    name: str
    head: Head
    categories: tuple[CategoryId, ...]
    names: tuple[str, ...]
    spaces: Mapping[Modality, str]
    fingerprints: Mapping[Modality, str]
    temperature: float
    accept_from: float
    report: Mapping[str, Any]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it looks at, in the order of its inputs."""
        return tuple(self.spaces)

    def probabilities(self, vectors: list[Floats], present: list[Mask]) -> Floats:
        """Calibrated probabilities, (n, classes) float32; `vectors` and `present` as `Head`'s."""
        return softmax(self.head.logits(vectors, present), self.temperature)

    def check(self, modality: Modality, fingerprint: str) -> None:
        """Refuse vectors of another encoder.

        Raises FingerprintError naming both.
        """
        ours = self.fingerprints[modality]
        if ours != fingerprint:
            raise FingerprintError(
                f"the head {self.name} was trained on {modality} vectors of encoder {ours[:12]} "
                f"({self.spaces[modality]}), but those at hand are of encoder "
                f"{fingerprint[:12]}; run `vitrina train` again"
            )

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `model.json` into a folder that appears whole."""
        card = {
            "name": self.name,
            "shape": self.head.shape.to_json(),
            "categories": [
                {"id": category, "name": name}
                for category, name in zip(self.categories, self.names, strict=True)
            ],
            "inputs": [
                {"modality": modality, "space": space, "fingerprint": self.fingerprints[modality]}
                for modality, space in self.spaces.items()
            ],
            "temperature": self.temperature,
            "accept_from": self.accept_from,
            "report": dict(self.report),
        }
        with making_folder(folder) as temporary:
            self.head.save(temporary)
            write_json(temporary / "model.json", card)

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model.

        Raises StoreError if a part is missing or damaged.
        """
        path = folder / "model.json"
        card = read_json(path)
        try:
            return cls(
                name=card["name"],
                head=Head.load(folder, HeadShape.from_json(card["shape"])),
                categories=tuple(entry["id"] for entry in card["categories"]),
                names=tuple(entry["name"] for entry in card["categories"]),
                spaces={Modality(entry["modality"]): entry["space"] for entry in card["inputs"]},
                fingerprints={
                    Modality(entry["modality"]): entry["fingerprint"] for entry in card["inputs"]
                },
                temperature=card["temperature"],
                accept_from=card["accept_from"],
                report=card["report"],
            )
        except (KeyError, TypeError, ValueError) as err:
            raise StoreError(f"{path} is not a head that this version can read: {err}") from err


def top(probabilities: Floats, k: int) -> tuple[Codes, Floats]:
    """The k likeliest classes of each row, best first: (n, k) int64 and (n, k) float32."""
    k = min(k, probabilities.shape[1])
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k].astype(np.int64)
    return order, np.take_along_axis(probabilities, order, axis=1)
