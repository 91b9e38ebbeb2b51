"""Store split: one split into train and validation rows for all trainings on a store.

Encoders, heads and baselines with the same kind of split and seed hold out the same products, so
their metrics can be compared, and their predictions combined. A product keeps its side when others
are added or removed, so an older encoder is still evaluated on products that it was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vitrina.data.split import Split, draw_groups, group_rows, split_rows
from vitrina.errors import TrainingError
from vitrina.ids import Keys
from vitrina.pipelines.common.group_keys import duplicate_keys
from vitrina.store.products import Products
from vitrina.store.shards import array_keys
from vitrina.types import Codes, Mask, SplitKind

EARLY_STOPPING_SHARE = 0.03
MOST_EARLY_STOPPING_ROWS = 4000
"""Upper bounds on the early-stopping split: share of the training rows, and rows."""


@dataclass(frozen=True, eq=False)
class StoreSplit:
    """A split of a store's labelled products. groups: (n,) int64 of all products; a group stays on
    one side. keys: (n,) uint64 of the products."""

    split: Split
    groups: Codes
    keys: Keys

    def unseen(self, seen: Mask) -> StoreSplit:
        """A copy without the validation rows in `seen`, or in a group with one of them.

        seen: (n,) bool, products that an encoder was trained on. Raises TrainingError if no
        validation row is left.
        """
        if not seen.any():
            return self
        rows = self.split.validation
        kept = rows[~np.isin(self.groups[rows], self.groups[seen])]
        if not len(kept):
            raise TrainingError(
                f"an encoder was trained on all {len(rows)} validation "
                "products, so there is nothing to evaluate on; use the --split and --seed that it "
                "was fine-tuned with"
            )
        return replace(self, split=replace(self.split, validation=kept))

    def early_stopping_split(self, rows: Codes, seed: int) -> tuple[Codes, Codes]:
        """Split training rows: the rows to train on, and the early-stopping split, which keeps
        groups together."""
        group_codes = np.unique(self.groups[rows], return_inverse=True)[1]
        order = np.argsort(draw_groups(group_codes, self.keys[rows], seed, 1))
        wanted = min(MOST_EARLY_STOPPING_ROWS, EARLY_STOPPING_SHARE * len(rows))
        sizes = np.bincount(group_codes)[order]
        fits = sizes <= wanted
        chosen = np.zeros(len(order), dtype=np.bool_)
        chosen[order] = fits & (np.cumsum(np.where(fits, sizes, 0)) <= wanted)
        stopping_rows = chosen[group_codes]
        return rows[~stopping_rows], rows[stopping_rows]


def split_store(products: Products, codes: Codes, kind: SplitKind, seed: int) -> StoreSplit:
    """Split a store's labelled products. codes: (n,) int64, the class of each, -1 for none.

    Raises TrainingError if there are too few rows to split.
    """
    if kind is SplitKind.GROUPED:
        groups = group_rows(*duplicate_keys(products))
    else:
        groups = np.arange(len(codes))
    keys = array_keys(products.ids)
    return StoreSplit(split_rows(codes, groups, kind, seed=seed, keys=keys), groups, keys)
