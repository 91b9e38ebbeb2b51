"""Who is trained on and who is validated on: one split of a store for all that is trained in it.

An encoder, a head and a baseline that were made with one kind of split and one seed were all kept
from the same products, so what they reach on these can be compared, and put together. A product
keeps its side as others come and go, so an encoder made last month is still judged by products that
it has not seen.
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

HELD_SHARE = 0.03
MOST_HELD = 4000
"""Of the training rows so many, at most, are kept to stop by."""


@dataclass(frozen=True, eq=False)
class StoreSplit:
    """A split of a store's labelled products. groups: (n,) int64 of all of its products; those of
    one group never stand on two sides. keys: (n,) uint64, the products'."""

    split: Split
    groups: Codes
    keys: Keys

    def unseen(self, seen: Mask) -> StoreSplit:
        """The same, where no product judges that something has learnt from already, or from a copy
        of it. seen: (n,) bool, such products, whose groups are barred with them.

        Raises TrainingError if no product is left to validate on.
        """
        if not seen.any():
            return self
        rows = self.split.validation
        kept = rows[~np.isin(self.groups[rows], self.groups[seen])]
        if not len(kept):
            raise TrainingError(
                f"an encoder has learnt from all {len(rows)} products that are kept to validate "
                "on, so nothing could be measured; use the --split and --seed that it was "
                "fine-tuned with"
            )
        return replace(self, split=replace(self.split, validation=kept))

    def hold(self, rows: Codes, seed: int) -> tuple[Codes, Codes]:
        """Part some training rows again: to learn from, and to tell by when to stop."""
        members = np.unique(self.groups[rows], return_inverse=True)[1]
        order = np.argsort(draw_groups(members, self.keys[rows], seed, 1))
        wanted = min(MOST_HELD, HELD_SHARE * len(rows))
        sizes = np.bincount(members)[order]
        fits = sizes <= wanted
        chosen = np.zeros(len(order), dtype=np.bool_)
        chosen[order] = fits & (np.cumsum(np.where(fits, sizes, 0)) <= wanted)
        held = chosen[members]
        return rows[~held], rows[held]


def split_store(products: Products, codes: Codes, kind: SplitKind, seed: int) -> StoreSplit:
    """Split a store's labelled products. codes: (n,) int64, the class of each, -1 for none.

    Raises TrainingError if there is too little to split.
    """
    if kind is SplitKind.GROUPED:
        groups = group_rows(*duplicate_keys(products))
    else:
        groups = np.arange(len(codes))
    keys = array_keys(products.ids)
    return StoreSplit(split_rows(codes, groups, kind, seed=seed, keys=keys), groups, keys)
