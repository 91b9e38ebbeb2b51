"""Which labelled rows are trained on and which are validated on.

A stratified split is a grouped one in which every row is a group of its own, so one rule deals
both. No row is ever on both sides: what a head has learnt by heart says nothing of how good it is,
so a category of one product is only trained on, and reports count such categories (`Unjudged`).
Duplicates across the border would flatter in the same way; `group_rows` finds what must stay
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from vitrina.data.text import normalise_title
from vitrina.errors import TrainingError
from vitrina.ids import Keys
from vitrina.types import Codes, Mask, SplitKind

if TYPE_CHECKING:
    import numpy.typing as npt

_KEY_BYTES = 8


@dataclass(frozen=True)
class Split:
    """Rows for training and for validation. No row is among both.

    Attributes:
        kind: how it was made.
        seed: what the choice was drawn with.
        share: the share of rows that was wanted for validation.
        train: positions to train on, ascending.
        validation: positions to validate on, ascending.
    """

    kind: SplitKind
    seed: int
    share: float
    train: Codes
    validation: Codes

    def among(self, there: Mask, codes: Codes) -> Split:
        """The same without some rows, on either side. there: (n,) bool, those that stay. codes:
        as `split_rows` got them. Raises TrainingError if too little is left."""
        train, validation = (rows[there[rows]] for rows in (self.train, self.validation))
        _check_train(codes, train)
        if not len(validation):
            raise TrainingError(
                f"no product is left to validate on: of the {len(self.validation)} that are kept "
                "for it none has the text or photo that this model looks at; embed the missing "
                "ones, or train on other features"
            )
        return replace(self, train=train, validation=validation)


@dataclass(frozen=True)
class Unjudged:
    """Categories that no figure covers, since none of their products was judged.

    categories, of_categories: how many there are, of all that have a labelled product. rows,
    of_rows: their labelled products, of all labelled products.
    """

    categories: int
    of_categories: int
    rows: int
    of_rows: int

    @classmethod
    def of(cls, codes: Codes, judged: Codes) -> Unjudged:
        """codes: (n,) int64 classes, negative for unlabelled rows. judged: positions of the rows
        that figures are measured on."""
        labelled = codes[codes >= 0]
        alone = np.setdiff1d(labelled, codes[judged])
        return cls(
            categories=len(alone),
            of_categories=len(np.unique(labelled)),
            rows=int(np.isin(labelled, alone).sum()),
            of_rows=len(labelled),
        )

    def __str__(self) -> str:
        share = self.rows / max(1, self.of_rows)
        return (
            f"{self.categories} of {self.of_categories} categories, with {self.rows} of "
            f"{self.of_rows} labelled products ({share:.1%})"
        )


def split_rows(
    codes: Codes,
    groups: Codes | None,
    kind: SplitKind,
    *,
    share: float = 0.2,
    seed: int = 0,
    keys: Keys | None = None,
) -> Split:
    """Deal labelled rows to training and validation, class by class.

    Parameters
    ----------
    codes : (n,) int64, each row's class; negative for unlabelled rows, which are on neither side.
    groups : (n,) int64, each row's group; only a grouped split looks at it.
    kind : stratified: rows are dealt one by one. grouped: a group never crosses the border and is
        dealt with the class that most of its rows have. A class of one row, or of one group, is
        only trained on.
    share : the part of each class's rows that goes to validation, between 0 and 1.
    seed : what the choice is drawn with; nothing else, and no numbering, changes it.
    keys : (n,) uint64, one for each product, all different; by default its position. Chosen by
        key, a product keeps its side as others come and go, but for a few at the border.

    In every class of two groups or more, at least one is on either side, whatever the share.
    A group that would carry its class further past the share than the class now lacks is left
    to training, or one stock photo that joins thousands of products could take it all. A class
    that is nowhere the most frequent of its group may end up on one side only.

    Raises TrainingError if fewer than two classes have rows to train on, if no row is left to
    validate on, or for a share outside of its bounds; ValueError for groups that don't fit.
    """
    if not 0 < share < 1:
        raise TrainingError(f"the validation share must lie between 0 and 1, not {share}")
    rows = np.flatnonzero(codes >= 0)
    classes = np.unique(codes[rows], return_inverse=True)[1].astype(np.int64)
    if kind is SplitKind.STRATIFIED:
        members = np.arange(len(rows))
    elif groups is None or len(groups) != len(codes):
        raise ValueError("a grouped split needs a group number for every row")
    else:
        members = np.unique(groups[rows], return_inverse=True)[1]
    own = np.arange(len(codes), dtype=np.uint64) if keys is None else keys
    held_out = _deal(classes, members, draw_groups(members, own[rows], seed), share)[members]

    train, validation = rows[~held_out], rows[held_out]
    _check_train(codes, train)
    if not len(validation):
        raise TrainingError(_nothing_left(classes))
    return Split(kind, seed, share, train, validation)


def draw_groups(members: Codes, keys: Keys, *seed: int) -> Keys:
    """Draw a number for each group: (groups,) uint64, evenly from all of them.

    members: (n,) int64, the group of each row, numbered from 0. keys: (n,) uint64, the rows'. A
    group's number depends on the seed and on one of its rows alone, whatever its size, so it
    rarely changes as rows come and go.
    """
    order = np.lexsort((_scatter(keys), members))
    first = order[np.flatnonzero(np.diff(members[order], prepend=-1))]
    # What chose the row says nothing of what it draws: large groups draw as small ones do.
    return _scatter(keys[first] ^ np.random.SeedSequence(seed).generate_state(1, np.uint64))


def draw_by_group(groups: Codes, keys: Keys, *seed: int) -> Keys:
    """The number that each row's group draws, see `draw_groups`: (n,) uint64. groups: (n,) int64,
    numbered in any way. keys: (n,) uint64, the rows'."""
    members = np.unique(groups, return_inverse=True)[1]
    return draw_groups(members, keys, *seed)[members]


def group_rows(*keys: npt.NDArray[np.uint64]) -> Codes:
    """Put products that share a key into one group, and so on through shared neighbours.

    `keys` are arrays of (n,) uint64, such as hashes of titles and hashes of photos; 0 stands
    for no key, and equal values in different arrays mean nothing. Returns (n,) int64: group
    numbers from 0, in the order of their first rows. Raises ValueError where there is no array
    or their lengths differ.
    """
    # Not above: it takes longer to import than everything that reads a catalogue.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len({len(values) for values in keys}) != 1:
        raise ValueError("grouping needs at least one array of keys, all of one length")
    rows = len(keys[0])
    if rows == 0:
        return np.empty(0, np.int64)
    left, right = [], []
    for values in keys:
        order = np.argsort(values, kind="stable")
        order = order[values[order] != 0]
        # A chain through equal keys joins them as well as all pairs would.
        same = values[order[1:]] == values[order[:-1]]
        left.append(order[:-1][same])
        right.append(order[1:][same])
    ends = (np.concatenate(left), np.concatenate(right))
    edges = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(rows, rows))
    labels = connected_components(edges, directed=False)[1]
    _, first, members = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[members].astype(np.int64)


def title_keys(titles: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hash titles, (n,) uint64: equal where `normalise_title` is, 0 where it leaves nothing."""
    return np.fromiter((_key(normalise_title(title)) for title in titles), np.uint64, len(titles))


def _key(title: str) -> int:
    if not title:
        return 0
    data = title.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=_KEY_BYTES).digest(), "little")


def _scatter(keys: Keys) -> Keys:
    """Numbers as good as random, different for different keys: the finaliser of SplitMix64
    (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014)."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scattered: Keys = mixed ^ (mixed >> np.uint64(31))
    return scattered


def _deal(classes: Codes, members: Codes, drawn: Keys, share: float) -> Mask:
    """Say of each group whether it goes to validation: (groups,) bool."""
    sizes = np.bincount(members)
    group_class = _majority(classes, members)
    # The smallest comes first and always goes: that leaves no class unjudged at the least cost.
    by_size = np.lexsort((drawn, sizes, group_class))
    later = np.ones(len(sizes), np.bool_)
    starts = np.flatnonzero(np.diff(group_class[by_size], prepend=-1))
    later[by_size[starts]] = False
    order = np.lexsort((drawn, later, group_class))
    # A loop over plain integers: whether a group fits depends on all that went before it.
    ordered_sizes = sizes[order].tolist()
    chosen: list[int] = []
    for start, end in pairwise((*starts.tolist(), len(order))):
        target = share * sum(ordered_sizes[start:end])
        taken = 0
        for place in range(start, end - 1):
            size = ordered_sizes[place]
            if place == start or taken + size / 2 <= target:
                chosen.append(place)
                taken += size
    held_out = np.zeros(len(order), np.bool_)
    held_out[order[chosen]] = True
    return held_out


def _majority(classes: Codes, members: Codes) -> Codes:
    """The class that most rows of each group have, the lowest of equals: (groups,) int64."""
    count = int(classes.max(initial=0)) + 1
    pairs, rows = np.unique(members * count + classes, return_counts=True)
    group, group_class = np.divmod(pairs, count)
    order = np.lexsort((group_class, -rows, group))
    best = np.flatnonzero(np.diff(group[order], prepend=-1))
    majority: Codes = group_class[order[best]]
    return majority


def _check_train(codes: Codes, train: Codes) -> None:
    trained = len(np.unique(codes[train]))
    if trained < 2:
        raise TrainingError(
            f"a head needs products of at least two categories to train on, not of {trained}; "
            "read a catalogue with more labelled products"
        )


def _nothing_left(classes: Codes) -> str:
    """Why no row can be validated on. classes: (n,) int64, the class of each labelled row, of
    which each has rows of one group alone."""
    sizes = np.bincount(classes)
    count, alone = len(sizes), int((sizes == 1).sum())
    way_out = "merge rare categories into larger ones, or embed more products of each"
    if alone == count:
        return (
            f"no product is left to validate on: each of the {count} categories has one labelled "
            f"product, which is needed to train on; {way_out}"
        )
    return (
        f"no product is left to validate on: of {count} categories, {alone} with one labelled "
        f"product and {count - alone} with only copies (the same title or photo); {way_out}. Where "
        "a stock photo alone makes them look alike, `--split stratified` deals them one by one"
    )
