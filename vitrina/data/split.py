"""Train/validation split of labelled rows, stratified or grouped.

A stratified split is a grouped split in which every row is its own group, so one rule makes both.
No row is on both sides, since validation on training rows measures memorization. A category of one
product is therefore only trained on, and reports count such categories (`Unevaluated`). Duplicates
across the split would inflate scores in the same way; `group_rows` finds rows that must stay
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
    """Disjoint training and validation rows.

    Attributes:
        kind: the kind of split.
        seed: the random seed.
        share: the requested share of validation rows.
        train: positions to train on, ascending.
        validation: positions to validate on, ascending.
    """

    kind: SplitKind
    seed: int
    share: float
    train: Codes
    validation: Codes

    def among(self, there: Mask, codes: Codes) -> Split:
        """Return the split restricted to some rows.

        there: (n,) bool, True for rows that stay. codes: as passed to `split_rows`. Raises
        TrainingError if too little is left.
        """
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
class Unevaluated:
    """Counts of categories without any evaluated product, which no metric covers.

    categories, of_categories: their number, and the number of categories with labelled products.
    rows, of_rows: their labelled products, and all labelled products.
    """

    categories: int
    of_categories: int
    rows: int
    of_rows: int

    @classmethod
    def of(cls, codes: Codes, judged: Codes) -> Unevaluated:
        """Count the unevaluated categories.

        codes: (n,) int64 classes, negative for unlabelled rows. judged: positions of the evaluated
        rows.
        """
        labelled = codes[codes >= 0]
        unevaluated = np.setdiff1d(labelled, codes[judged])
        return cls(
            categories=len(unevaluated),
            of_categories=len(np.unique(labelled)),
            rows=int(np.isin(labelled, unevaluated).sum()),
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
    """Split labelled rows into training and validation rows, class by class.

    Parameters
    ----------
    codes : (n,) int64, each row's class; negative for unlabelled rows, which are on neither side.
    groups : (n,) int64, each row's group; used only by a grouped split.
    kind : stratified: rows are split one by one. grouped: groups stay whole, and a group counts for
        the majority class of its rows. A class of one row, or of one group, is only trained on.
    share : the share of each class's rows that goes to validation, between 0 and 1.
    seed : random seed; the numbering of classes and groups does not change the result.
    keys : (n,) uint64, one distinct key per product; by default its position. With product keys, a
        product keeps its side as others come and go, except for a few near the threshold.

    Every class of two groups or more has at least one group on each side, whatever the share. A
    group stays in training if it would overshoot its class's share by more than the class still
    lacks; otherwise one stock photo shared by thousands of products could fill the validation set.
    A class that is no group's majority class may end up on one side only.

    Raises TrainingError if fewer than two classes have training rows, if no validation row is left,
    or for a share out of bounds; ValueError for missing groups or groups of another length.
    """
    if not 0 < share < 1:
        raise TrainingError(f"the validation share must be between 0 and 1, not {share}")
    rows = np.flatnonzero(codes >= 0)
    classes = np.unique(codes[rows], return_inverse=True)[1].astype(np.int64)
    if kind is SplitKind.STRATIFIED:
        group_ids = np.arange(len(rows))
    elif groups is None or len(groups) != len(codes):
        raise ValueError("a grouped split needs a group number for every row")
    else:
        group_ids = np.unique(groups[rows], return_inverse=True)[1]
    own = np.arange(len(codes), dtype=np.uint64) if keys is None else keys
    held_out = _pick(classes, group_ids, draw_groups(group_ids, own[rows], seed), share)[group_ids]

    train, validation = rows[~held_out], rows[held_out]
    _check_train(codes, train)
    if not len(validation):
        raise TrainingError(_nothing_left(classes))
    return Split(kind, seed, share, train, validation)


def draw_groups(members: Codes, keys: Keys, *seed: int) -> Keys:
    """Draw a uniform random number for each group: (groups,) uint64.

    members: (n,) int64, the group of each row, numbered from 0. keys: (n,) uint64, the rows' keys.
    A group's number depends only on the seed and on one of its rows, so it rarely changes as rows
    come and go.
    """
    order = np.lexsort((_scatter(keys), members))
    first = order[np.flatnonzero(np.diff(members[order], prepend=-1))]
    # Scattered again with the seed, so the draw is independent of how the row was chosen, and large
    # groups draw from the same distribution as small ones.
    return _scatter(keys[first] ^ np.random.SeedSequence(seed).generate_state(1, np.uint64))


def draw_by_group(groups: Codes, keys: Keys, *seed: int) -> Keys:
    """Draw a random number for each row, equal within a group: (n,) uint64; see `draw_groups`.

    groups: (n,) int64, in any numbering. keys: (n,) uint64, the rows' keys.
    """
    group_ids = np.unique(groups, return_inverse=True)[1]
    return draw_groups(group_ids, keys, *seed)[group_ids]


def group_rows(*keys: npt.NDArray[np.uint64]) -> Codes:
    """Group products into the connected components of shared keys.

    `keys` are arrays of (n,) uint64, such as hashes of titles and of photos. 0 means no key, and
    equal values in different arrays are unrelated. Returns (n,) int64: group numbers from 0, in the
    order of their first rows. Raises ValueError if there is no array or their lengths differ.
    """
    # Imported here: it takes longer to import than all the modules that read a catalogue.
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
        # A chain through equal keys connects them as well as all pairs would.
        same = values[order[1:]] == values[order[:-1]]
        left.append(order[:-1][same])
        right.append(order[1:][same])
    ends = (np.concatenate(left), np.concatenate(right))
    edges = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(rows, rows))
    labels = connected_components(edges, directed=False)[1]
    _, first, group_ids = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group_ids].astype(np.int64)


def title_keys(titles: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hash titles after `normalise_title`: (n,) uint64, 0 if that leaves nothing."""
    return np.fromiter((_key(normalise_title(title)) for title in titles), np.uint64, len(titles))


def _key(title: str) -> int:
    if not title:
        return 0
    data = title.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=_KEY_BYTES).digest(), "little")


def _scatter(keys: Keys) -> Keys:
    """Map keys to pseudorandom numbers, one to one: the finaliser of SplitMix64.

    Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scattered: Keys = mixed ^ (mixed >> np.uint64(31))
    return scattered


def _pick(classes: Codes, group_ids: Codes, drawn: Keys, share: float) -> Mask:
    """Choose the groups that go to validation: (groups,) bool, True for validation."""
    sizes = np.bincount(group_ids)
    group_class = _majority(classes, group_ids)
    # The smallest group of a class is always held out, so that each class is evaluated at the
    # least cost.
    by_size = np.lexsort((drawn, sizes, group_class))
    later = np.ones(len(sizes), np.bool_)
    starts = np.flatnonzero(np.diff(group_class[by_size], prepend=-1))
    later[by_size[starts]] = False
    order = np.lexsort((drawn, later, group_class))
    # A plain loop, since whether a group fits depends on all groups before it.
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


def _majority(classes: Codes, group_ids: Codes) -> Codes:
    """Return the majority class of each group, the lowest in a tie: (groups,) int64."""
    count = int(classes.max(initial=0)) + 1
    pairs, rows = np.unique(group_ids * count + classes, return_counts=True)
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
    """Build the message for an empty validation set.

    classes: (n,) int64, the class of each labelled row; each class has rows of one group only.
    """
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
