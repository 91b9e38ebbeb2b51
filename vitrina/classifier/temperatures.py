"""Calibration of labels of which some are wrong: a mixture of a sharp and a soft distribution.

After Zhang, Kailkhura & Han, "Mix-n-Match: Ensemble and Compositional Methods for Uncertainty
Calibration in Deep Learning" (2020), whose ensemble temperature scaling mixes the distribution at a
fitted temperature, the one at temperature 1 and the even one. A product whose label is wrong is
never likely, however well it was understood, and under one temperature a few of these make all
others look less sure than they are. Here both temperatures are fitted, since logits of a pool have
no scale of their own.
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
"""Logits that are fitted by, at most: for five numbers a sample of rows says enough."""
STARTS = ((0.0, -1.5, -2.0, -5.0), (0.5, -1.0, 0.0, -5.0), (0.0, -3.0, -3.0, -3.0))
"""Where the search begins: see `_Fit`."""
BOUNDS = ((-4.0, 4.0), (-5.0, -0.05), (-12.0, 3.0), (-12.0, 3.0))
LEAST = 1e-30

Factor = Annotated[float, Meta(ge=1e-6, le=1e6)]
"""One over a temperature; far beyond what is fitted, and no float32 overflows."""
Doubles: TypeAlias = "npt.NDArray[np.float64]"


@dataclass(frozen=True)
class Temperatures:
    """What is made of logits z: sharp_share * softmax(sharp * z) + soft_share * softmax(soft * z),
    and the even distribution for the rest. The likeliest class stays the likeliest."""

    sharp: Factor = 1.0
    soft: Factor = 1.0
    sharp_share: Share = 1.0
    soft_share: Share = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for shares of more than the whole."""
        if self.sharp_share + self.soft_share > 1 + 1e-6:
            raise ValueError(f"shares of {self.sharp_share} and {self.soft_share} of the whole")

    @classmethod
    def fit(cls, logits: Floats, true: Codes) -> Temperatures:
        """The mixture of the highest likelihood.

        logits: (n, classes) float32 of rows that nothing learnt from, at most 0, the largest of
        each row 0. true: (n,) int64 classes. What a single row that is right would say decides
        where rows are few.
        """
        # Not above: it takes longer to import than everything else here.
        from scipy.optimize import minimize

        most = max(1, FITTED_VALUES // logits.shape[1])
        if len(true) > most:
            rows = np.random.default_rng(0).choice(len(true), most, replace=False)
            logits, true = logits[rows], true[rows]
        fit = _Fit(logits, true)
        found = [
            minimize(fit.loss, start, jac=True, method="L-BFGS-B", bounds=BOUNDS)
            for start in STARTS
        ]
        best = min(found, key=lambda one: float(one.fun))
        sharp, soft, shares = _parts(best.x)
        return cls(float(sharp), float(soft), float(shares[0]), float(shares[1]))

    def logits(self, logits: Floats) -> Floats:
        """(n, classes) float32 logits to log-probabilities; of `ONE`, as they came."""
        if self == ONE:
            return logits
        even = max(0.0, 1 - self.sharp_share - self.soft_share) / logits.shape[1]
        mixed = np.float32(self.sharp_share) * softmax(logits, 1 / self.sharp)
        mixed += np.float32(self.soft_share) * softmax(logits, 1 / self.soft)
        mixed += np.float32(even)
        out: Floats = np.log(np.maximum(mixed, np.float32(LEAST)))
        return out


ONE = Temperatures()
"""Of a pool that is calibrated as it is."""


def _parts(x: Doubles) -> tuple[float, float, Doubles]:
    sharp = np.exp(x[0])
    shares = np.exp([0.0, x[2], x[3]])
    return sharp, sharp * np.exp(x[1]), shares / shares.sum()


@dataclass(frozen=True, eq=False)
class _Fit:
    """The loss over x: the logarithms of the sharp factor, of the soft one over it, and of the soft
    and the even share over the sharp one."""

    logits: Floats
    true: Codes

    def loss(self, x: Doubles) -> tuple[float, Doubles]:
        """The mean negative log-likelihood, and its gradient, (4,)."""
        sharp, soft, shares = _parts(x)
        own, slope = zip(*(self._at(factor) for factor in (sharp, soft)), strict=True)
        even = np.full(len(self.true), 1 / self.logits.shape[1])
        likely = np.maximum(shares @ np.stack([*own, even]), LEAST)
        # Of each row, how much of its likelihood each part gives.
        heard = [share * part / likely for share, part in zip(shares, [*own, even], strict=True)]
        by_sharp, by_soft = (float(heard[at] @ slope[at]) for at in range(2))
        gradient = -np.array(
            [
                sharp * by_sharp + soft * by_soft,
                soft * by_soft,
                (heard[1] - shares[1]).sum(),
                (heard[2] - shares[2]).sum(),
            ]
        )
        total = -float(np.log(likely).sum())
        # One more row that is right, which the sharp part alone tells, at a factor of about 1.
        total += float(x[0] ** 2) / 2 - float(np.log(shares[0]))
        gradient += np.array([x[0], 0.0, shares[1], shares[2]])
        count = len(self.true) + 1
        return total / count, gradient / count

    def _at(self, factor: float) -> tuple[Doubles, Doubles]:
        """Of each row the likelihood of its class at a factor, and the slope of its logarithm by
        the factor: (n,) float64 each."""
        shares = softmax(self.logits, 1 / factor)
        at = np.arange(len(self.true))
        mean = np.einsum("nc,nc->n", shares, self.logits, dtype=np.float64)
        slope: Doubles = self.logits[at, self.true] - mean
        return shares[at, self.true].astype(np.float64), slope
