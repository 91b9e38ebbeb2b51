"""Plan of the sample: category, split and defects of every product, drawn in advance.

Only the plan covers the whole catalogue, in a few bytes per product. Text and photo of a product
are then generated from it and the seed alone, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from vitrina.errors import CatalogueError
from vitrina.sample.taxonomy import ONE_ROW, SampleCategory, categories

MIN_PRODUCTS = 50

_TEST_SHARE = 0.15
_MISSING_SHARE = 0.04
_BROKEN_SHARE = 0.01
_MIN_BROKEN = 3
_COPY_SHARE = 0.05
_WRONG_SHARE = 0.03
# Copies are mislabelled more often than other products: an audit looks for copies whose label
# differs from the original's.
_COPY_WRONG_WEIGHT = 4
_MIN_ROWS = 3


class Photo(IntEnum):
    """State of a product's photo."""

    OK = 0
    MISSING = 1
    TRUNCATED = 2
    EMPTY = 3
    NOT_AN_IMAGE = 4

    @property
    def broken(self) -> bool:
        """True if the file exists but is not a valid picture."""
        return self in BROKEN


BROKEN = (Photo.TRUNCATED, Photo.EMPTY, Photo.NOT_AN_IMAGE)


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """One entry per product, all arrays (products,).

    `true` and `given` are positions in `categories()`, int16; they differ if the label is wrong.
    `in_test` is bool. `photo` holds `Photo` values, int8. `original` is the position of the product
    that this one copies, or -1, int64. `same_photo` and `same_text` are bool: True for a
    byte-identical copy, False for products that are not copies.
    """

    true: npt.NDArray[np.int16]
    given: npt.NDArray[np.int16]
    in_test: npt.NDArray[np.bool_]
    photo: npt.NDArray[np.int8]
    original: npt.NDArray[np.int64]
    same_photo: npt.NDArray[np.bool_]
    same_text: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.true)


def draw_plan(products: int, seed: int) -> SamplePlan:
    """Draw the plan of a sample. Raises CatalogueError below `MIN_PRODUCTS` products."""
    if products < MIN_PRODUCTS:
        raise CatalogueError(f"a sample needs at least {MIN_PRODUCTS} products, not {products}")
    rng = np.random.default_rng([seed, products])
    in_test = np.zeros(products, np.bool_)
    in_test[rng.permutation(products)[: round(products * _TEST_SHARE)]] = True
    true = np.empty(products, np.int16)
    true[~in_test] = _draw_categories(int((~in_test).sum()), ONE_ROW, rng)
    true[in_test] = _draw_categories(int(in_test.sum()), 0, rng)
    photo = _draw_photos(products, rng)
    original = _draw_originals(true, photo, rng)
    copies = original >= 0
    return SamplePlan(
        true=true,
        given=_draw_labels(true, in_test, copies, rng),
        in_test=in_test,
        photo=photo,
        original=original,
        same_photo=copies & (rng.random(products) < 0.5),
        same_text=copies & (rng.random(products) < 0.25),
    )


def _draw_categories(rows: int, singles: int, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Category positions in random order, with counts close to Zipf's law."""
    many = len(categories()) - ONE_ROW
    used = min(many, max(1, (rows - singles) // (2 * _MIN_ROWS)))
    weights = (np.arange(used) + 2.5) ** -1.1
    floor = min(_MIN_ROWS, (rows - singles) // used) if singles else 0
    remaining = rows - singles - floor * used
    # Rounding the running total, not each share, makes the counts add up.
    ends = np.round(np.cumsum(weights / weights.sum()) * remaining) + floor * np.arange(1, used + 1)
    zipf = np.searchsorted(ends, np.arange(rows - singles), side="right")
    positions = np.concatenate([zipf, many + np.arange(singles)])
    return rng.permutation(positions).astype(np.int16)


def _draw_photos(products: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    photo = np.full(products, Photo.OK, np.int8)
    missing = round(products * _MISSING_SHARE)
    broken = max(_MIN_BROKEN, round(products * _BROKEN_SHARE))
    order = rng.permutation(products)
    photo[order[:missing]] = Photo.MISSING
    photo[order[missing : missing + broken]] = np.resize(BROKEN, broken)
    return photo


def _draw_originals(
    true: npt.NDArray[np.int16], photo: npt.NDArray[np.int8], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Choose copies and their originals: of the same category, with an intact photo, no copies."""
    original = np.full(len(true), -1, np.int64)
    fit = np.flatnonzero((photo == Photo.OK) & (true < len(categories()) - ONE_ROW))
    copies = rng.permutation(fit)[: round(len(true) * _COPY_SHARE)]
    copied = np.zeros(len(true), np.bool_)
    copied[copies] = True
    sources = fit[~copied[fit]]
    for position in np.unique(true[copies]):
        same = sources[true[sources] == position]
        copies_here = copies[true[copies] == position]
        if len(same):
            original[copies_here] = rng.choice(same, len(copies_here))
    return original


def _draw_labels(
    true: npt.NDArray[np.int16],
    in_test: npt.NDArray[np.bool_],
    copies: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """Labels in the catalogue; some train labels are wrong, each a closely related category."""
    given = true.copy()
    siblings = _find_siblings(np.unique(true[~in_test]))
    may_err = ~in_test & np.isin(true, list(siblings))
    weights = may_err * np.where(copies, _COPY_WRONG_WEIGHT, 1.0)
    wrong = min(round(float((~in_test).sum()) * _WRONG_SHARE), int(may_err.sum()))
    if wrong:
        erring = rng.choice(len(true), wrong, replace=False, p=weights / weights.sum())
        for at in np.sort(erring):
            given[at] = rng.choice(siblings[int(true[at])])
    return given


def _find_siblings(used: npt.NDArray[np.int16]) -> dict[int, list[int]]:
    """For each category with several rows, the closest categories, used as its wrong labels."""
    several = [int(position) for position in used if position < len(categories()) - ONE_ROW]
    siblings = {}
    for position in several:
        closeness = {
            other: _shared_steps(categories()[position], categories()[other])
            for other in several
            if other != position
        }
        best = max(closeness.values(), default=0)
        if best:
            siblings[position] = [other for other, steps in closeness.items() if steps == best]
    return siblings


def _shared_steps(one: SampleCategory, other: SampleCategory) -> int:
    steps = 0
    for mine, theirs in zip(one.path, other.path, strict=False):
        if mine != theirs:
            break
        steps += 1
    return steps
