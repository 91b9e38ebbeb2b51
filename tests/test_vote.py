import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.errors import StoreError
from vitrina.index.vote import DEFAULT_RULE, RuleCard, VoteRule, rules_to_try, vote
from vitrina.typed_json import convert_json
from vitrina.types import VoteKind

CLASSES = 5
# Few values, so that sums and nearest neighbours tie often.
NEIGHBOURS = st.tuples(
    st.integers(-1, CLASSES - 1), st.integers(-2, 8).map(lambda eighths: eighths / 8)
)
QUERIES = st.integers(0, 6).flatmap(
    lambda k: st.lists(st.lists(NEIGHBOURS, min_size=k, max_size=k), max_size=8).map(
        lambda rows: (rows, k)
    )
)


COUNTS = [1, 4, 9, 16, 100]
EXACT = [VoteKind.UNIFORM, VoteKind.SIMILARITY]
EXACT_RULES = st.builds(
    VoteRule, st.sampled_from(EXACT), st.integers(1, 8), prior=st.sampled_from([0.0, 1.0, 2.0])
)
ROUNDED_RULES = st.builds(
    VoteRule,
    st.sampled_from(VoteKind),
    st.integers(1, 8),
    st.sampled_from([0.02, 0.1, 1.0]),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)


def plain_sums(neighbours, rule, counts):
    """One query's sum for each category that has a vote, and its nearest score; exact numbers
    but for a softmax or a prior that is no whole number."""
    cast = [(label, score) for label, score in neighbours[: rule.k] if label >= 0 and score > 0]
    best = max((score for _, score in cast), default=0)
    sums, nearest = {}, {}
    for label, score in cast:
        weight = {
            VoteKind.UNIFORM: Fraction(1),
            VoteKind.SIMILARITY: Fraction(float(score)),
            VoteKind.SOFTMAX: math.exp((float(score) - float(best)) / rule.temperature),
        }[rule.kind]
        if rule.prior:
            power = rule.prior
            weight /= counts[label] ** (int(power) if power == int(power) else power)
        sums[label] = sums.get(label, 0) + weight
        nearest[label] = max(nearest.get(label, 0), score)
    return sums, nearest


def plain_vote(neighbours, rule, counts):
    """One query's code and share, in exact arithmetic."""
    sums, nearest = plain_sums(neighbours, rule, counts)
    if not sums:
        return -1, 0.0
    code = min(sums, key=lambda label: (-sums[label], -nearest[label], label))
    return code, float(sums[code] / sum(sums.values()))


def arrays(rows, k):
    labels = np.array([[label for label, _ in row] for row in rows], dtype=np.int64)
    scores = np.array([[score for _, score in row] for row in rows], dtype=np.float32)
    return labels.reshape(len(rows), k), scores.reshape(len(rows), k)


def check(rows, k, classes, rule=None, counts=None):
    given_vote = vote(
        *arrays(rows, k),
        classes=classes,
        rule=rule,
        counts=None if counts is None else np.array(counts),
    )
    plain_rule = rule or VoteRule(k=k + 1)
    expected = [plain_vote(row, plain_rule, counts) for row in rows]
    assert given_vote.codes.tolist() == [code for code, _ in expected]
    np.testing.assert_allclose(given_vote.shares, [share for _, share in expected], rtol=1e-6)
    assert (given_vote.codes.dtype, given_vote.shares.dtype) == (np.int64, np.float32)


def one(neighbours, rule=None, counts=None):
    """The code and the share that one product's neighbours give it."""
    result = vote(
        *arrays([neighbours], len(neighbours)),
        classes=CLASSES,
        rule=rule,
        counts=None if counts is None else np.array(counts),
    )
    return result.codes.item(), pytest.approx(result.shares.item(), rel=1e-6)


@given(QUERIES)
def test_vote_is_what_plain_python_gives(queries):
    rows, k = queries
    check(rows, k, CLASSES)


@given(QUERIES, EXACT_RULES)
def test_a_rule_is_what_plain_python_gives(queries, rule):
    rows, k = queries
    check(rows, k, CLASSES, rule, COUNTS)


@given(QUERIES, ROUNDED_RULES)
def test_a_rule_that_rounds_is_close_to_plain_python(queries, rule):
    rows, k = queries
    result = vote(*arrays(rows, k), classes=CLASSES, rule=rule, counts=np.array(COUNTS))
    for row, code, share in zip(rows, result.codes.tolist(), result.shares, strict=True):
        sums, _ = plain_sums(row, rule, COUNTS)
        if not sums:
            assert (code, share) == (-1, 0)
            continue
        # Sums that are equal but for rounding may go either way.
        assert math.isclose(sums[code], max(sums.values()), rel_tol=1e-9)
        assert math.isclose(share, sums[code] / sum(sums.values()), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("neighbours", "code", "share"),
    [
        pytest.param([(2, 0.5), (1, 0.25), (1, 0.5)], 1, 0.6, id="the larger sum wins"),
        pytest.param([(3, 0.5), (3, 0.5), (4, 1.0)], 4, 0.5, id="a tie goes to the nearest"),
        pytest.param([(3, 0.5), (1, 0.5)], 1, 0.5, id="then to the smallest code"),
        pytest.param([(3, -0.5), (1, 0.25)], 1, 1.0, id="a negative score abstains"),
        pytest.param([(-1, 1.0), (1, 0.25)], 1, 1.0, id="no label abstains"),
        pytest.param([(3, 0.0), (1, -1.0)], -1, 0.0, id="nobody votes"),
        pytest.param([(-1, 0.0), (-1, 0.0)], -1, 0.0, id="no neighbours"),
    ],
)
def test_who_wins(neighbours, code, share):
    assert one(neighbours) == (code, share)


COLD = VoteRule(VoteKind.SOFTMAX, temperature=1e-4)
WARM = VoteRule(VoteKind.SOFTMAX, temperature=1.0)
MILD = VoteRule(VoteKind.SOFTMAX, temperature=0.1)


@pytest.mark.parametrize(
    ("neighbours", "rule", "code", "share"),
    [
        pytest.param(
            [(3, 0.9), (1, 0.2), (1, 0.2)], VoteRule(VoteKind.UNIFORM), 1, 2 / 3, id="uniform"
        ),
        pytest.param([(3, 0.9), (1, 0.2), (1, 0.2)], DEFAULT_RULE, 3, 9 / 13, id="similarity"),
        pytest.param(
            [(3, 0.9), (1, 0.8), (1, 0.8)], MILD, 3, 1 / (1 + 2 / math.e), id="softmax at 0.1"
        ),
        pytest.param(
            [(3, 0.9), (1, 0.8), (1, 0.8)],
            WARM,
            1,
            2 * math.exp(-0.1) / (1 + 2 * math.exp(-0.1)),
            id="softmax at 1",
        ),
        pytest.param([(3, 0.9), (1, 0.1)], COLD, 3, 1.0, id="the coldest softmax"),
        pytest.param([(-1, 0.9), (1, 0.1)], COLD, 1, 1.0, id="relative to the best that votes"),
        pytest.param([(3, 0.5), (1, 0.5)], MILD, 1, 0.5, id="a softmax tie"),
        pytest.param(
            [(4, 0.9), (1, 0.5), (1, 0.3), (4, 0.1)],
            VoteRule(VoteKind.UNIFORM),
            4,
            0.5,
            id="a uniform tie goes to the nearest",
        ),
        pytest.param(
            [(3, 0.5), (1, 0.25), (1, 0.75)], VoteRule(k=1), 3, 1.0, id="only the first votes"
        ),
        pytest.param([(-1, 0.5), (1, 0.25)], VoteRule(k=1), -1, 0.0, id="the first has no label"),
    ],
)
def test_who_wins_by_a_rule(neighbours, rule, code, share):
    assert one(neighbours, rule) == (code, share)


@pytest.mark.parametrize(
    ("kind", "prior", "code", "share"),
    [
        # Category 0 has 100 rows and two votes of 0.6, category 1 has 4 rows and one of 0.5.
        (VoteKind.UNIFORM, 0.0, 0, 2 / 3),
        (VoteKind.UNIFORM, 0.5, 1, 0.5 / (0.5 + 0.2)),
        (VoteKind.UNIFORM, 1.0, 1, 0.25 / (0.25 + 0.02)),
        (VoteKind.SIMILARITY, 0.0, 0, 1.2 / 1.7),
        (VoteKind.SIMILARITY, 0.25, 0, 1.2 / (1.2 + 0.5 * 5**0.5)),
        (VoteKind.SIMILARITY, 0.5, 1, 0.25 / (0.25 + 0.12)),
        (VoteKind.SOFTMAX, 0.5, 0, 0.2 / (0.2 + 0.5 / math.e)),
        (VoteKind.SOFTMAX, 1.0, 1, 0.25 / (0.25 + 0.02 * math.e)),
    ],
)
def test_a_prior_lifts_small_categories(kind, prior, code, share):
    neighbours = [(0, 0.6), (0, 0.6), (1, 0.5)]
    given_rule = VoteRule(kind, prior=prior)
    assert one(neighbours, given_rule, [100, 4, 1, 1, 1]) == (code, share)


def test_equal_sums_after_the_prior_are_a_tie():
    # 6 / 9 and 2 / 3 of a vote: equal in floats too, since each is one division.
    neighbours = [(4, 0.5)] * 6 + [(2, 0.5)] * 2
    rule = VoteRule(VoteKind.UNIFORM, prior=1.0)
    assert one(neighbours, rule, [1, 1, 3, 1, 9]) == (2, 0.5)


def test_without_a_rule_all_columns_vote_and_by_default_ten():
    neighbours = [(3, 0.5)] * 10 + [(1, 0.5)] * 11
    assert one(neighbours) == (1, 11 / 21)
    assert one(neighbours, DEFAULT_RULE) == (3, 1.0)
    assert one(neighbours, VoteRule(k=1000)) == (1, 11 / 21)


def test_thousands_of_classes_and_queries():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 5000, (400, 30))
    # Most votes go to a few classes of each row, so that sums matter.
    labels = np.where(rng.random(labels.shape) < 0.7, labels[:, :1], labels)
    scores = rng.uniform(-0.2, 1, labels.shape).astype(np.float32)
    rows = [list(zip(*pair, strict=True)) for pair in zip(labels, scores, strict=True)]
    check(rows, 30, 5000)


def test_labels_that_are_no_codes_are_refused():
    scores = np.ones((1, 2), dtype=np.float32)
    with pytest.raises(ValueError, match=r"\[-1, 5\), not \[0, 5\]"):
        vote(np.array([[0, 5]]), scores, classes=5)
    with pytest.raises(ValueError, match=r"\[-1, 5\), not \[-2, 0\]"):
        vote(np.array([[0, -2]]), scores, classes=5)
    with pytest.raises(ValueError, match=r"must both be \(q, k\)"):
        vote(np.array([[0, 1, 2]]), scores, classes=5)


def test_counts_that_do_not_fit_the_rule_are_refused():
    rule = VoteRule(prior=0.5)
    with pytest.raises(ValueError, match=r"prior of 0\.5 needs the count"):
        one([(3, 0.5)], rule)
    with pytest.raises(ValueError, match=r"counts must be \(5,\), not \(4,\)"):
        one([(3, 0.5)], rule, [1] * 4)
    with pytest.raises(ValueError, match="category 3 votes, but its count is 0"):
        one([(3, 0.5), (1, 0.5)], rule, [1, 1, 1, 0, 1])
    # A category that does not vote may be empty.
    assert one([(3, 0.5)], rule, [0, 0, 0, 1, 0]) == (3, 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "uniform"}, "kind is one of"),
        ({"k": 0}, "whole one from 1 on, not 0"),
        ({"k": 2.0}, "whole one from 1 on, not 2.0"),
        ({"k": True}, "whole one from 1 on, not True"),
        ({"temperature": 0.0}, "temperature must be positive, not 0.0"),
        ({"temperature": float("inf")}, "temperature must be positive, not inf"),
        ({"temperature": "0.1"}, "temperature must be positive, not '0.1'"),
        ({"prior": -0.5}, r"prior must be in \[0, 16\], not -0.5"),
        ({"prior": float("nan")}, r"prior must be in \[0, 16\], not nan"),
        ({"prior": 17.0}, r"prior must be in \[0, 16\], not 17.0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VoteRule(**wrong)


@given(st.one_of(EXACT_RULES, ROUNDED_RULES))
def test_a_rule_survives_json(rule):
    told = json.loads(json.dumps(rule.to_json()))
    assert convert_json(told, RuleCard, "it", "mend it").rule == rule


PLAIN = {"kind": "similarity", "k": 10, "temperature": 0.1, "prior": 0.0}


def test_the_default_rule_in_json():
    assert DEFAULT_RULE.to_json() == PLAIN


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "uniform",
        {},
        {name: PLAIN[name] for name in PLAIN if name != "prior"},
        {**PLAIN, "kind": "loudest"},
        {**PLAIN, "kind": []},
        {**PLAIN, "k": "10"},
        {**PLAIN, "k": None},
        {**PLAIN, "prior": True},
        {**PLAIN, "temperature": -1},
        {**PLAIN, "temperature": float("nan")},
        {**PLAIN, "k": 10**9},
    ],
)
def test_what_is_no_rule_in_json_is_refused(value):
    with pytest.raises(StoreError, match=r"it is not what it should be .*; mend it$"):
        convert_json(value, RuleCard, "it", "mend it")


def test_rules_to_try_come_simplest_first():
    assert {rule.k for rule in rules_to_try(2)} == {3}
    rules = list(rules_to_try(50))
    assert len(rules) == len(set(rules)) == 5 * 3 * (1 + 1 + 4)
    kinds = list(VoteKind)
    keys = [(rule.k, kinds.index(rule.kind), rule.prior, -rule.temperature) for rule in rules]
    assert keys == sorted(keys)
    assert {rule.k for rule in rules_to_try(10)} == {3, 5, 10}
