"""Category subtree: a category id or a path, and the products below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from vitrina.errors import StoreError
from vitrina.store.products import Products
from vitrina.types import CategoryId, Mask

ARROW = "->"
"""Separator between the segments of a category path."""
COLUMNS = ("category_id", "category_name")

_NEAREST = 3


@dataclass(frozen=True)
class Subtree:
    """A category, or a node of the tree, and everything below it.

    A product belongs to it if its category id is in `ids`, its category name is in `names`, or it
    has no name and its id is in `usual`.
    """

    ids: pa.Array
    names: pa.Array
    usual: pa.Array
    columns = COLUMNS

    @classmethod
    def find(cls, products: Products, category: CategoryId) -> Subtree:
        """Find a category; see `filters.matching`. Raises StoreError if no product has it."""
        usual, names = _usual_names(products)
        paths = {name: _segments(name) for name in names}
        wanted = str(category).strip()
        ids = [one for one in usual if str(one) == wanted]
        node = _segments(usual[ids[0]] if ids else wanted)
        below = {name for name, path in paths.items() if node and path[: len(node)] == node}
        if ids:
            below = {name for name in below if paths[name] != node}
        elif not below:
            near = ", ".join(map(repr, _nearest(wanted, usual, names)))
            raise StoreError(
                f"no product has the category {category!r}; "
                + (f"the nearest are {near}" if near else "none of them has any")
            )
        kind = products.schema.field("category_id").type
        return cls(
            pa.array(ids, kind),
            pa.array(sorted(below), pa.string()),
            pa.array([one for one, name in usual.items() if name in below], kind),
        )

    def holds(self, batch: pa.RecordBatch) -> Mask:
        """(n,) bool: products of a batch of `columns` that belong to it."""
        ids, names = (batch.column(name) for name in self.columns)
        unnamed = pc.and_(names.is_null(), pc.is_in(ids, self.usual))
        found = pc.or_(pc.is_in(ids, self.ids), pc.or_(pc.is_in(names, self.names), unnamed))
        mask: Mask = found.to_numpy(zero_copy_only=False)
        return mask


def _usual_names(products: Products) -> tuple[dict[CategoryId, str], set[str]]:
    """The most frequent name of each category id, "" for none; and all names."""
    pairs: Counter[tuple[CategoryId | None, str]] = Counter()
    for _, batch in products.batches(COLUMNS):
        counted = pa.table(batch).group_by(list(COLUMNS)).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            pairs[row["category_id"], row["category_name"] or ""] += row["count_all"]
    usual: dict[CategoryId, str] = {}
    for (one, name), _ in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0][1])):
        if one is not None:
            # Any name, however rare, is preferred to none.
            usual[one] = usual.get(one) or name
    return usual, {name for _, name in pairs if name}


def _segments(path: str) -> tuple[str, ...]:
    parts = (" ".join(part.split()) for part in path.casefold().split(ARROW))
    return tuple(filter(None, parts))


def _nearest(wanted: str, usual: dict[CategoryId, str], names: Iterable[str]) -> list[str]:
    """Ids and paths most similar to `wanted`, by the path or its last segment; at most three."""
    shown: dict[str, str] = {str(one): str(one) for one in usual}
    for name in sorted(names):
        parts = [part.strip() for part in name.split(ARROW)]
        for depth in range(1, len(parts) + 1):
            path = ARROW.join(parts[:depth])
            shown.setdefault(path.casefold(), path)
            shown.setdefault(parts[depth - 1].casefold(), path)
    close = get_close_matches(wanted.casefold(), shown, n=2 * _NEAREST, cutoff=0.0)
    return list(dict.fromkeys(shown[one] for one in close))[:_NEAREST]
