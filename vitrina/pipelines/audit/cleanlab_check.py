"""A cross-check by cleanlab, where it is installed, given the same probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrina.errors import TrainingError
from vitrina.types import Codes, Floats, Mask


@dataclass(frozen=True, eq=False)
class Checked:
    """issues: (n,) bool, the products that cleanlab takes for mislabelled."""

    issues: Mask

    def to_json(self, suspects: Codes) -> dict[str, int]:
        """How far it agrees with an audit's suspects."""
        return {
            "issues": int(self.issues.sum()),
            "suspects_among_them": int(self.issues[suspects].sum()),
        }


def cross_check(codes: Codes, shares: Floats) -> Checked:
    """Ask cleanlab. codes: (n,) int64 labels, -1 for none. shares: (n, classes) probabilities.

    Raises TrainingError if it is not installed.
    """
    batched = cleanlab()
    rows = np.flatnonzero((codes >= 0) & (np.asarray(shares.sum(axis=1)) > 0))
    # It wants every class to be there.
    present, labels = np.unique(codes[rows], return_inverse=True)
    some = shares[rows][:, present]
    some /= np.maximum(some.sum(axis=1, keepdims=True), 1e-9)
    found = batched(labels=labels, pred_probs=some, n_jobs=1, verbose=False)
    issues = np.zeros(len(codes), dtype=bool)
    issues[rows[found]] = True
    return Checked(issues)


def cleanlab() -> Any:
    """What cleanlab is asked by. Raises TrainingError if it is not installed."""
    try:
        from cleanlab.experimental.label_issues_batched import find_label_issues_batched
    except ImportError as err:
        raise TrainingError(
            "cleanlab is not installed; `pip install 'vitrina[cleanlab]'` installs it, or audit "
            "without it"
        ) from err
    return find_label_issues_batched
