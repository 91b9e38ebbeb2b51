"""Who learns and who is judged where few rows are labelled."""

import numpy as np
import pytest

from vitrina.data.split import split_rows
from vitrina.errors import TrainingError
from vitrina.pipelines.common.store_split import StoreSplit
from vitrina.pipelines.train.cross_validation import PARTS, Fold, cross_validation_folds
from vitrina.types import SplitKind


def parted_of(codes, groups, kind=SplitKind.GROUPED):
    keys = np.arange(len(codes), dtype=np.uint64)
    return StoreSplit(split_rows(codes, groups, kind, keys=keys), groups, keys)


@pytest.fixture
def some():
    rng = np.random.default_rng(0)
    groups = rng.integers(300, size=500)
    codes = (groups * 7) % 9
    codes[rng.random(500) < 0.1] = -1
    return codes, groups


def turns(codes, groups, unseen=None, kind=SplitKind.GROUPED):
    parted = parted_of(codes, groups, kind)
    first = Fold(parted.split.train, parted.split.validation)
    everybody = np.ones(len(codes), dtype=bool)
    return first, cross_validation_folds(
        first, codes, parted, everybody if unseen is None else unseen, 0
    )


def test_every_labelled_row_is_judged_once_by_what_never_saw_its_group(some):
    codes, groups = some
    first, found = turns(codes, groups)
    assert found[0] is first
    assert len(found) == PARTS + 1
    asked = np.concatenate([one.test_rows for one in found])
    assert len(np.unique(asked)) == len(asked)
    labelled = np.flatnonzero(codes >= 0)
    assert set(asked) <= set(labelled)
    # None is left out but those of a category that no other group has.
    assert len(asked) == len(labelled)
    for one in found:
        assert not set(groups[one.train_rows]) & set(groups[one.test_rows])
        assert (codes[one.train_rows] >= 0).all()
        assert len(one.train_rows) > 0.6 * len(labelled)


def test_a_category_that_nobody_learnt_is_not_asked_about(some):
    codes, groups = some
    codes[groups == 5] = 9
    _, found = turns(codes, groups)
    for one in found:
        assert set(codes[one.test_rows]) <= set(codes[one.train_rows])
    assert not any((groups[one.test_rows] == 5).any() for one in found)


def test_what_an_encoder_has_learnt_from_never_judges(some):
    codes, groups = some
    seen = np.random.default_rng(1).random(500) < 0.5
    _, found = turns(codes, groups, ~seen)
    assert not any(seen[one.test_rows].any() for one in found[1:])
    assert len(found) == PARTS + 1
    everything = turns(codes, groups, np.zeros(500, dtype=bool))[1]
    assert len(everything) == 1


@pytest.mark.parametrize("kind", SplitKind)
def test_the_only_row_of_a_category_is_never_judged(some, kind):
    codes, _ = some
    codes[0] = 9
    _, found = turns(codes, np.arange(500), kind=kind)
    asked = np.concatenate([one.test_rows for one in found])
    assert 0 not in asked
    assert len(np.unique(asked)) == len(asked) == (codes >= 0).sum() - 1


def test_what_was_learnt_from_already_never_judges(some):
    codes, groups = some
    parted = parted_of(codes, groups)
    seen = np.zeros(500, dtype=bool)
    assert parted.unseen(seen) is parted
    seen[parted.split.validation[0]] = True
    judges = parted.unseen(seen).split.validation
    # Nor do its copies.
    barred = groups[parted.split.validation[0]]
    expected = parted.split.validation[groups[parted.split.validation] != barred]
    assert judges.tolist() == expected.tolist()
    with pytest.raises(TrainingError, match=r"use the --split and --seed that it was fine-tuned"):
        parted.unseen(np.ones(500, dtype=bool))
