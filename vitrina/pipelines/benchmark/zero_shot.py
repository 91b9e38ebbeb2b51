"""Zero-shot classification: photos against categories' names, by a model with two towers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from vitrina.embedder.base import TextEncoder, normalise
from vitrina.errors import TrainingError
from vitrina.store.gather import Gathered
from vitrina.types import Codes, Floats, Vectors

ZERO_SHOT = "zero-shot"
"""Name of the method."""

TEMPLATES = {"ru": ("{}", "фото: {}"), "en": ("{}", "a photo of {}")}
"""Texts of a category, by the language of its name; the mean of their vectors is taken, as of the
prompts of CLIP (Radford et al., 2021)."""

SCALE = 100.0
"""Factor of cosines in logits, CLIP's own; calibration changes it."""

NO_NAME = -1e4
"""Logit of a category without a name."""

_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)


class ZeroShot:
    """Classifier that was trained on no product of the catalogue.

    names: of the categories, by code; the last part of a path is taken. gathered: the photos'
    vectors.
    """

    def __init__(self, tower: TextEncoder, names: Sequence[str | None], gathered: Gathered) -> None:
        """Raises TrainingError if no category has a name."""
        self._photos: Vectors = gathered.vectors[0]
        self._named = np.array([bool(name and name.strip()) for name in names])
        if not self._named.any():
            raise TrainingError("no category has a name to compare photos with")
        self._categories = np.zeros((len(names), tower.card.dim), dtype=np.float32)
        texts = [_texts(name) for name in names if name and name.strip()]
        flat = tower.encode([text for some in texts for text in some])
        self._categories[self._named] = normalise(
            flat.reshape(len(texts), -1, tower.card.dim).mean(1)
        )

    def logits(self, rows: Codes) -> Floats:
        """(len(rows), classes) float32."""
        cosines = self._photos[rows] @ self._categories.T
        return np.where(self._named, SCALE * cosines, NO_NAME).astype(np.float32)


def _texts(name: str) -> list[str]:
    last = name.rpartition("->")[2].strip() or name.strip()
    language = "ru" if _CYRILLIC.search(last) else "en"
    return [template.format(last) for template in TEMPLATES[language]]
