"""Calibration under label noise: a mixture of a sharp and a soft distribution.

After Zhang, Kailkhura & Han, "Mix-n-Match: Ensemble and Compositional Methods for Uncertainty
Calibration in Deep Learning" (2020), whose ensemble temperature scaling mixes the distribution at a
fitted temperature, the one at temperature 1 and the uniform one. A wrong label never gets a high
probability, however good the classifier is, and under one temperature a few wrong labels lower the
confidence of all predictions. Here both temperatures are fitted, since logits of a pool have no
natural scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from vitrina.classifier.calibrate import softmax
from vitrina.typed_json import Share
from vitrina.types import Codes, Floats

FITTED_VALUES = 1 << 22
"""Upper limit of logits in the fit: a sample of rows is enough for so few parameters."""
STARTS = ((0.0, -1.5, -2.0, -5.0), (0.5, -1.0, 0.0, -5.0), (0.0, -3.0, -3.0, -3.0))
"""Starting points of the search; see `_Fit`."""
BOUNDS = ((-4.0, 4.0), (-5.0, -0.05), (-12.0, 3.0), (-12.0, 3.0))
LEAST = 1e-30
"""Lower limit of a probability, so that its logarithm is finite."""

Factor = Annotated[float, Meta(ge=1e-6, le=1e6)]
"""Inverse temperature; the limits lie far beyond fitted ones, and no float32 overflows."""
Doubles: TypeAlias = "npt.NDArray[np.float64]"


@dataclass(frozen=True)
class Temperatures:
    """Calibrated probabilities of logits z: sharp_share * softmax(sharp * z) + soft_share *
    softmax(soft * z), and the uniform distribution for the rest. The most probable class stays."""

    sharp: Factor = 1.0
    soft: Factor = 1.0
    sharp_share: Share = 1.0
    soft_share: Share = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for shares that sum to more than 1."""
        if self.sharp_share + self.soft_share > 1 + 1e-6:
            raise ValueError(f"shares of {self.sharp_share} and {self.soft_share} of the whole")

    @classmethod
    def fit(cls, logits: Floats, true: Codes) -> Temperatures:
        """Fit the mixture by maximum likelihood.

        logits: (n, classes) float32 of held-out rows, at most 0, the largest of each row 0. true:
        (n,) int64 classes. A penalty with the weight of one correct row decides if rows are few.
        """
        # Imported here: slower to load than everything else in this module.
        from scipy.optimize import minimize

        max_rows = max(1, FITTED_VALUES // logits.shape[1])
        if len(true) > max_rows:
            rows = np.random.default_rng(0).choice(len(true), max_rows, replace=False)
            logits, true = logits[rows], true[rows]
        fit = _Fit(logits, true)
        found = [
            minimize(fit.loss, start, jac=True, method="L-BFGS-B", bounds=BOUNDS)
            for start in STARTS
        ]
        best = min(found, key=lambda one: float(one.fun))
        sharp, soft, shares = _unpack(best.x)
        return cls(float(sharp), float(soft), float(shares[0]), float(shares[1]))

    def logits(self, logits: Floats) -> Floats:
        """Map (n, classes) float32 logits to log-probabilities; `ONE` returns them unchanged."""
        if self == ONE:
            return logits
        even = max(0.0, 1 - self.sharp_share - self.soft_share) / logits.shape[1]
        mixed = np.float32(self.sharp_share) * softmax(logits, 1 / self.sharp)
        mixed += np.float32(self.soft_share) * softmax(logits, 1 / self.soft)
        mixed += np.float32(even)
        out: Floats = np.log(np.maximum(mixed, np.float32(LEAST)))
        return out


ONE = Temperatures()
"""No change: for a pool that is already calibrated."""


def _unpack(x: Doubles) -> tuple[float, float, Doubles]:
    sharp = np.exp(x[0])
    shares = np.exp([0.0, x[2], x[3]])
    return sharp, sharp * np.exp(x[1]), shares / shares.sum()


@dataclass(frozen=True, eq=False)
class _Fit:
    """The loss as a function of x: the logarithms of the sharp factor, of soft / sharp factor, and
    of the soft and the uniform share, each divided by the sharp share."""

    logits: Floats
    true: Codes

    def loss(self, x: Doubles) -> tuple[float, Doubles]:
        """The mean negative log-likelihood, and its gradient, (4,)."""
        sharp, soft, shares = _unpack(x)
        own, slope = zip(*(self._at(factor) for factor in (sharp, soft)), strict=True)
        even = np.full(len(self.true), 1 / self.logits.shape[1])
        likely = np.maximum(shares @ np.stack([*own, even]), LEAST)
        # The responsibility of each component for each row.
        responsibility = [
            share * part / likely for share, part in zip(shares, [*own, even], strict=True)
        ]
        by_sharp, by_soft = (float(responsibility[at] @ slope[at]) for at in range(2))
        gradient = -np.array(
            [
                sharp * by_sharp + soft * by_soft,
                soft * by_soft,
                (responsibility[1] - shares[1]).sum(),
                (responsibility[2] - shares[2]).sum(),
            ]
        )
        total = -float(np.log(likely).sum())
        # The penalty: one more correct row, of the sharp component alone, at a factor near 1.
        total += float(x[0] ** 2) / 2 - float(np.log(shares[0]))
        gradient += np.array([x[0], 0.0, shares[1], shares[2]])
        count = len(self.true) + 1
        return total / count, gradient / count

    def _at(self, factor: float) -> tuple[Doubles, Doubles]:
        """The likelihood of each row's class at a factor, and the derivative of its logarithm with
        respect to the factor: (n,) float64 each."""
        shares = softmax(self.logits, 1 / factor)
        at = np.arange(len(self.true))
        mean = np.einsum("nc,nc->n", shares, self.logits, dtype=np.float64)
        slope: Doubles = self.logits[at, self.true] - mean
        return shares[at, self.true].astype(np.float64), slope
