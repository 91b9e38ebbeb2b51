import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.data.split import Unevaluated, group_rows, split_rows, title_keys
from vitrina.errors import TrainingError
from vitrina.types import SplitKind

STRATIFIED, GROUPED = SplitKind.STRATIFIED, SplitKind.GROUPED


def array(*values):
    return np.array(values, np.int64)


def keys(*values):
    return np.array(values, np.uint64)


# Stratified.


def test_each_class_gives_its_share():
    codes = np.repeat(array(0, 1, 2), (100, 50, 7))
    split = split_rows(codes, None, STRATIFIED, share=0.2, seed=3)
    assert np.bincount(codes[split.validation]).tolist() == [20, 10, 1]
    assert np.bincount(codes[split.train]).tolist() == [80, 40, 6]
    assert (split.kind, split.seed, split.share) == (STRATIFIED, 3, 0.2)


@pytest.mark.parametrize("kind", SplitKind)
def test_the_only_row_of_a_class_is_trained_on_and_judges_nothing(kind):
    codes = array(5, 0, 5, 0, 9, 0, 0, 0, 7, -1)
    split = split_rows(codes, np.arange(10), kind)
    assert {4, 8} <= {*split.train}
    assert not {*split.train} & {*split.validation}
    found = Unevaluated.of(codes, split.validation)
    assert found == Unevaluated(categories=2, of_categories=4, rows=2, of_rows=9)
    assert str(found) == "2 of 4 categories, with 2 of 9 labelled products (22.2%)"


@pytest.mark.parametrize("kind", SplitKind)
def test_nothing_but_lone_rows(kind):
    with pytest.raises(TrainingError) as caught:
        split_rows(array(2, -1, 1, 7), np.arange(4), kind)
    assert str(caught.value) == (
        "no product is left to validate on: each of the 3 categories has one labelled product, "
        "which is needed to train on; merge rare categories into larger ones, or embed more "
        "products of each"
    )


def test_the_seed_decides():
    codes = np.repeat(array(0, 1), 100)
    first, again, other = (
        split_rows(codes, None, STRATIFIED, seed=seed).validation for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_numbering_decides_nothing():
    rng = np.random.default_rng(0)
    codes, groups = rng.integers(0, 4, 300), rng.integers(0, 90, 300)
    split = split_rows(codes, groups, GROUPED)
    renumbered = split_rows(codes, rng.permutation(90)[groups] * 1000 - 7, GROUPED)
    assert renumbered.validation.tolist() == split.validation.tolist()
    plain = split_rows(codes, None, STRATIFIED)
    assert split_rows(3 - codes, None, STRATIFIED).validation.tolist() == plain.validation.tolist()


@pytest.mark.parametrize("kind", SplitKind)
def test_products_keep_their_sides_as_others_come_and_go(kind):
    rng = np.random.default_rng(0)
    ids = rng.permutation(20_000).astype(np.uint64)
    codes, groups = rng.integers(0, 40, 20_000), rng.integers(0, 12_000, 20_000)
    before = split_rows(codes[:10_000], groups[:10_000], kind, keys=ids[:10_000])
    held = set(ids[before.validation].tolist())
    # In another order, a tenth more of them, and as many without a category.
    order = rng.permutation(12_000)
    later = np.where(np.arange(20_000) < 11_000, codes, -1)
    after = split_rows(later[order], groups[order], kind, keys=ids[order])
    judged = ids[order[after.validation]]
    known = np.isin(judged, ids[:10_000])
    seen = np.mean([one not in held for one in judged[known].tolist()])
    assert seen < 0.06
    assert abs(known.mean() - 10 / 11) < 0.03
    # By position instead, four in five of them would have been learnt from.
    shuffled = split_rows(later[order], groups[order], kind)
    assert np.mean([one not in held for one in ids[order[shuffled.validation]].tolist()]) > 0.7


# Grouped.


def test_a_class_of_one_group_is_only_trained_on():
    codes = array(0, 0, 0, 1, 1, 2)
    split = split_rows(codes, array(4, 4, 4, 5, 6, 7), GROUPED)
    assert sorted(codes[split.train]) == [0, 0, 0, 1, 2]
    assert codes[split.validation].tolist() == [1]
    found = Unevaluated.of(codes, split.validation)
    assert found == Unevaluated(categories=2, of_categories=3, rows=4, of_rows=6)


def test_a_huge_group_stays_in_training():
    codes = np.zeros(1000, np.int64)
    codes[-2:] = 1
    groups = np.arange(1000)
    groups[:600] = 0
    for seed in range(20):
        split = split_rows(codes, groups, GROUPED, seed=seed)
        assert 0 in split.train
        assert 195 <= (codes[split.validation] == 0).sum() <= 205


def test_a_group_goes_with_the_class_of_most_of_its_rows():
    # Class 1 has three rows in two groups of its own; its stray one goes with class 0's.
    codes = array(0, 0, 1, 0, 0, 1, 1, 1)
    groups = array(0, 0, 0, 1, 1, 2, 2, 3)
    for seed in range(10):
        validation = set(split_rows(codes, groups, GROUPED, seed=seed).validation.tolist())
        # The smaller group of either class: rows 3 and 4, and row 7.
        assert validation == {3, 4, 7}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_small_groups_keep_the_share(share):
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(10), 500)
    groups = codes * 1000 + rng.integers(0, 200, 5000)
    split = split_rows(codes, groups, GROUPED, share=share)
    shares = np.bincount(codes[split.validation]) / 500
    assert np.abs(shares - share).max() < 0.01


ROWS = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 12)), min_size=1, max_size=60)


@given(
    rows=ROWS, seed=st.integers(0, 5), share=st.floats(0.01, 0.99), kind=st.sampled_from(SplitKind)
)
def test_what_every_split_holds_to(rows, seed, share, kind):
    codes, groups = np.array(rows, np.int64).T
    members = groups if kind is GROUPED else np.arange(len(codes))
    of_class = {
        int(code): {int(member) for member in members[codes == code]} for code in set(codes) - {-1}
    }
    try:
        split = split_rows(codes, groups, kind, share=share, seed=seed)
    except TrainingError:
        # Only where it is due: one class, or every class within one group.
        assert len(of_class) < 2 or kind is GROUPED or max(map(len, of_class.values())) == 1
        return
    train, validation = split.train, split.validation
    assert sorted({*train, *validation}) == np.flatnonzero(codes >= 0).tolist()
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    # What is trained on judges nothing, whatever the split.
    assert not len(np.intersect1d(train, validation))
    unjudged = Unevaluated.of(codes, validation)
    judged = {*codes[validation].tolist()}
    assert unjudged.categories == len(of_class.keys() - judged)
    assert unjudged.rows == sum(code >= 0 and code not in judged for code in codes.tolist())
    assert (unjudged.of_categories, unjudged.of_rows) == (len(of_class), (codes >= 0).sum())
    if kind is GROUPED:
        assert not {*groups[train]} & {*groups[validation]}
    else:
        counts = np.bincount(codes[codes >= 0])
        assert set(codes[train]) == set(of_class)
        assert judged == {code for code in of_class if counts[code] > 1}
        for code in judged:
            wanted = share * counts[code]
            got = (codes[validation] == code).sum()
            assert abs(got - wanted) <= 1 or got in (1, counts[code] - 1)
    again = split_rows(codes, groups, kind, share=share, seed=seed)
    assert again.validation.tolist() == validation.tolist()


@given(
    sizes=st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=8), min_size=2, max_size=5),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
)
def test_groups_of_one_class_each(sizes, share, seed):
    codes = np.repeat(np.arange(len(sizes)), [sum(of_class) for of_class in sizes])
    flat = [size for of_class in sizes for size in of_class]
    groups = np.repeat(np.arange(len(flat)), flat)
    if all(len(of_class) == 1 for of_class in sizes):
        with pytest.raises(TrainingError, match="no product is left to validate on"):
            split_rows(codes, groups, GROUPED, share=share, seed=seed)
        return
    split = split_rows(codes, groups, GROUPED, share=share, seed=seed)
    assert set(codes[split.train]) == set(range(len(sizes)))
    for code, of_class in enumerate(sizes):
        held_out = int((codes[split.validation] == code).sum())
        assert (held_out > 0) == (len(of_class) > 1)
        # Past the share by half a group at most, but for the one that must go.
        assert held_out <= max(share * sum(of_class) + max(of_class) / 2, min(of_class))


# What can't be split.


@pytest.mark.parametrize("codes", [[], [-1, -1], [3, 3, 3], [3, -1]])
@pytest.mark.parametrize("kind", SplitKind)
def test_too_few_classes(codes, kind):
    codes = np.array(codes, np.int64)
    with pytest.raises(TrainingError, match=r"^a head needs products of at least two categories"):
        split_rows(codes, np.arange(len(codes)), kind)


def test_nothing_but_copies():
    with pytest.raises(
        TrainingError, match=r"of 2 categories, 0 with one labelled.* and 2 with only"
    ):
        split_rows(array(0, 0, 1, 1), array(0, 0, 1, 1), GROUPED)
    # Copies that stand in several categories, and a category without any.
    with pytest.raises(
        TrainingError, match=r"of 3 categories, 1 with one labelled product and 2 with"
    ):
        split_rows(array(0, 0, 1, 1, 2), array(0, 0, 1, 1, 2), GROUPED)
    with pytest.raises(TrainingError, match=r"merge rare categories.*`--split stratified` deals"):
        split_rows(array(0, 0, 1, 1), array(3, 3, 3, 3), GROUPED)


def test_nothing_to_validate_on_among_some():
    codes = np.repeat(array(0, 1), 10)
    split = split_rows(codes, None, STRATIFIED)
    there = np.ones(20, dtype=bool)
    there[split.validation] = False
    with pytest.raises(TrainingError, match=r"of the 4 that are kept for it none has the text or"):
        split.among(there, codes)
    there[split.validation[0]] = True
    assert split.among(there, codes).validation.tolist() == split.validation[:1].tolist()


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_shares_that_make_no_sense(share):
    with pytest.raises(TrainingError, match="validation share must be between 0 and 1"):
        split_rows(array(0, 1), None, STRATIFIED, share=share)


@pytest.mark.parametrize("groups", [None, array(1)])
def test_a_grouped_split_needs_groups(groups):
    with pytest.raises(ValueError, match="a group number for every row"):
        split_rows(array(0, 1), groups, GROUPED)


# Groups.


def test_rows_that_share_a_key_are_one_group():
    titles, photos = keys(7, 8, 7, 0, 9, 0), keys(0, 5, 0, 5, 0, 0)
    assert group_rows(titles, photos).tolist() == [0, 1, 0, 1, 2, 3]
    assert group_rows(titles).tolist() == [0, 1, 0, 2, 3, 4]


def test_groups_are_joined_through_others():
    titles = keys(1, 1, 2, 3, 0)
    photos = keys(0, 4, 4, 5, 5)
    assert group_rows(titles, photos).tolist() == [0, 0, 0, 1, 1]


def test_equal_keys_of_different_kinds_mean_nothing():
    assert group_rows(keys(6, 0), keys(0, 6)).tolist() == [0, 1]


def test_groups_of_nothing():
    groups = group_rows(keys())
    assert (groups.tolist(), groups.dtype) == ([], np.int64)
    for wrong in ((), (keys(1), keys(1, 2))):
        with pytest.raises(ValueError, match="at least one array of keys, all of one length"):
            group_rows(*wrong)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25))
def test_groups_equal_those_found_one_by_one(pairs):
    groups = list(range(len(pairs)))
    for i, one in enumerate(pairs):
        for j, other in enumerate(pairs):
            if any(a == b != 0 for a, b in zip(one, other, strict=True)):
                old, new = groups[i], groups[j]
                groups = [new if group == old else group for group in groups]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    columns = np.array(pairs, np.uint64).reshape(-1, 2).T
    assert group_rows(*columns).tolist() == [numbers[group] for group in groups]


def test_title_keys():
    one, other, third, *empty = title_keys(["Чехол  iPhone-6", "ЧЕХОЛ iphone 6!", "чехол", "", "!"])
    assert one == other != third
    assert empty == [0, 0]
    # Fixed, so that a split made anew on another machine is the same.
    assert int(third).to_bytes(8, "little").hex() == "12820378616798a8"
    assert title_keys(["\ud800", "a"]).dtype == np.uint64
