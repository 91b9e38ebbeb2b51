"""Cross-check of an audit by cleanlab, an optional dependency, on the same probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrina.errors import TrainingError
from vitrina.types import Codes, Floats, Mask


@dataclass(frozen=True, eq=False)
class Checked:
    """Result of a cross-check. issues: (n,) bool, products that cleanlab finds mislabelled."""

    issues: Mask

    def to_json(self, suspects: Codes) -> dict[str, int]:
        """Counts of issues, and of the audit's suspects among them."""
        return {
            "issues": int(self.issues.sum()),
            "suspects_among_them": int(self.issues[suspects].sum()),
        }


def cross_check(codes: Codes, shares: Floats) -> Checked:
    """Run cleanlab. codes: (n,) int64 labels, -1 for none. shares: (n, classes) probabilities.

    Raises TrainingError if it is not installed.
    """
    batched = cleanlab()
    rows = np.flatnonzero((codes >= 0) & (np.asarray(shares.sum(axis=1)) > 0))
    # Cleanlab expects every class to occur.
    present, labels = np.unique(codes[rows], return_inverse=True)
    some = shares[rows][:, present]
    some /= np.maximum(some.sum(axis=1, keepdims=True), 1e-9)
    found = batched(labels=labels, pred_probs=some, n_jobs=1, verbose=False)
    issues = np.zeros(len(codes), dtype=bool)
    issues[rows[found]] = True
    return Checked(issues)


def cleanlab() -> Any:
    """Cleanlab's batched label check, imported. Raises TrainingError if it is not installed."""
    try:
        from cleanlab.experimental.label_issues_batched import find_label_issues_batched
    except ImportError as err:
        raise TrainingError(
            "cleanlab is not installed; `pip install 'vitrina[cleanlab]'` installs it, or audit "
            "without it"
        ) from err
    return find_label_issues_batched
