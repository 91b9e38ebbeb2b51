"""Thumbnail image encoder without a download: colour layout and oriented gradients, reduced by PCA.

The colour layout is a grid of mean colours in CIELAB; the gradients are HOG (Dalal and Triggs,
2005). PCA is exact over the whole sample: the covariance of features is summed in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow
from safetensors.numpy import save
from skimage.color import rgb2lab
from skimage.feature import hog
from threadpoolctl import ThreadpoolController

from vitrina.embedder.base import REFIT, EncoderCard, Images, load_state, normalise
from vitrina.embedder.fingerprint import fingerprint
from vitrina.errors import EncoderError
from vitrina.types import Floats, Modality, Vectors

if TYPE_CHECKING:
    from PIL.Image import Image

SETTINGS: dict[str, Any] = {
    "format": 1,
    "edge": 64,
    "grid": 8,
    "orientations": 9,
    "cell": 8,
    "block": 2,
    "colour_weight": 2.0,
}
FEATURES = 3 * 8**2 + 9 * 2**2 * (64 // 8 - 2 + 1) ** 2
"""Feature count: grid colours, plus orientations of each cell of each block."""
DIM = 256


class Thumbnail:
    """A fitted thumbnail encoder.

    mean: (m,) float32 of the raw features. components: (m, dim) float32, partly whitened.
    """

    def __init__(self, mean: Floats, components: Floats) -> None:
        self._mean = mean
        self._components = components
        arrays = {"mean": mean, "components": components}
        self.card = EncoderCard(
            modality=Modality.IMAGE,
            model="thumbnail",
            revision=None,
            fingerprint=fingerprint(arrays, SETTINGS),
            dim=components.shape[1],
            details=dict(SETTINGS),
        )

    @property
    def edge(self) -> int:
        """Edge in pixels of the square that every image is scaled to."""
        return int(SETTINGS["edge"])

    @classmethod
    def fit(cls, images: Images, *, dim: int = DIM) -> Thumbnail:
        """Fit the components on a catalogue's images, in one pass.

        Raises EncoderError if there is no image.
        """
        moments = _Moments()
        for batch in images():
            moments.add(np.stack([describe(image) for image in batch]))
        if not moments.count:
            raise EncoderError(
                "no photo can be decoded, so thumbnail can't be fitted; fix the "
                "photos, or use --image-model none"
            )
        count, mean = moments.count, moments.mean
        values, vectors = moments.principal()
        leading = np.argsort(-values, kind="stable")[: min(dim, count, len(values))]
        # The first components are brightness and outline. Division by the square root of the
        # deviation keeps them from dominating the cosine; full whitening would amplify noise.
        # A mean leaves one direction fewer than there are photos; the last one has no variance.
        least = max(values[leading][max(0, min(dim, count - 1, len(values)) - 1)], 1e-8)
        scale = np.maximum(values[leading], least) ** -0.25
        components = np.ascontiguousarray(vectors[:, leading] * scale, dtype=np.float32)
        return cls(mean.astype(np.float32), components)

    @property
    def batch(self) -> int:
        """Images per batch of `encode`."""
        return 64

    def together(self) -> AbstractContextManager[int]:
        """One thread: most time is spent in `prepare`."""
        return nullcontext(1)

    def prepare(self, image: Image) -> Floats:
        """One RGB image to its raw features, (m,) float32; thread-safe."""
        return describe(image)

    def encode(self, prepared: Sequence[Floats]) -> Vectors:
        """Raw features to (len(prepared), dim) float32, L2-normalised."""
        # The sums of a matrix product depend on the number of threads.
        with _blas().limit(limits=1, user_api="blas"):
            return normalise((np.stack(prepared) - self._mean) @ self._components)

    def save(self, folder: Path) -> None:
        """Write `thumbnail.safetensors`."""
        arrays = {"mean": self._mean, "components": self._components}
        # Serialised first, so that a full disk raises a plain OSError.
        (folder / "thumbnail.safetensors").write_bytes(save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Thumbnail:
        """Read a saved encoder. Raises EncoderError if it is missing or damaged."""
        path = folder / "thumbnail.safetensors"
        arrays = load_state(path, {"mean": ("F32", 1), "components": ("F32", 2)})
        if len(arrays["mean"]) != FEATURES:
            raise EncoderError(
                f"{path} is damaged ({len(arrays['mean'])} features, not {FEATURES}); {REFIT}"
            )
        return cls(arrays["mean"], arrays["components"])


class _Moments:
    """Mean and covariance of feature rows, summed in float64. Few rows are kept as they are: the
    directions that they span are found many times as fast as those of a whole covariance."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: list[Floats] = []
        self._total: Any = 0.0
        self._products: Any = 0.0

    def add(self, rows: Floats) -> None:
        """Add rows, (n, m) float32."""
        self.count += len(rows)
        self._total = self._total + rows.sum(axis=0, dtype=np.float64)
        self._rows.append(rows)
        if self.count > FEATURES // 4:
            for kept in self._rows:
                block = kept.astype(np.float64)
                self._products = self._products + block.T @ block
            self._rows = []

    @property
    def mean(self) -> Floats:
        """Mean of the rows, (m,) float64."""
        mean: Floats = self._total / self.count
        return mean

    def principal(self) -> tuple[Floats, Floats]:
        """Variances (r,), ascending, and their directions (m, r), float64. r: m, or the number of
        rows if these are few."""
        mean = self.mean
        if self._rows:
            centred = np.concatenate(self._rows).astype(np.float64) - mean
            basis, within = np.linalg.qr(centred.T)
            values, vectors = np.linalg.eigh(within @ within.T / self.count)
            return values, basis @ vectors
        values, vectors = np.linalg.eigh(self._products / self.count - np.outer(mean, mean))
        return values, vectors


@cache
def _blas() -> ThreadpoolController:
    """The thread pools of the libraries that NumPy multiplies matrices with."""
    return ThreadpoolController()


def describe(image: Image) -> Floats:
    """Colour layout and HOG of an RGB image: (grid * grid * 3 + HOG cells,) float32."""
    edge, grid = SETTINGS["edge"], SETTINGS["grid"]
    square = image.resize((edge, edge), Pillow.Resampling.BOX, reducing_gap=2.0)
    small = square.resize((grid, grid), Pillow.Resampling.BOX)
    colours = rgb2lab(np.asarray(small)).ravel() / 100
    gradients = hog(
        np.asarray(square.convert("L"), dtype=np.float32),
        orientations=SETTINGS["orientations"],
        pixels_per_cell=(SETTINGS["cell"],) * 2,
        cells_per_block=(SETTINGS["block"],) * 2,
        feature_vector=True,
    )
    # Each HOG block has unit length; the weight gives the colours about equal influence.
    weighted = colours * SETTINGS["colour_weight"]
    return np.concatenate([weighted, gradients]).astype(np.float32)
