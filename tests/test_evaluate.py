import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from vitrina.classifier.metrics import NEVER
from vitrina.errors import TrainingError
from vitrina.index.vote import DEFAULT_RULE, PRIORS, VoteRule, rules_to_try, vote
from vitrina.pipelines.index import vote_rules as module
from vitrina.pipelines.index.vote_report import (
    CategoryScore,
    CurvePoint,
    SizeBucket,
    format_evaluation,
)
from vitrina.pipelines.index.vote_rules import (
    choose_rule,
    coverage_curve,
    evaluate_votes,
    measure_rule,
    split_halves,
)
from vitrina.types import VoteKind

UNIFORM_OF_3 = VoteRule(VoteKind.UNIFORM, k=3)
UNIFORM_OF_5 = VoteRule(VoteKind.UNIFORM, k=5)


def graph(rows):
    """Codes, labels and scores of rows given as (code, labels) or (code, labels, scores)."""
    codes = np.array([row[0] for row in rows], np.int64)
    labels = np.array([row[1] for row in rows], np.int64)
    scores = [row[2] if len(row) > 2 else [0.5] * len(row[1]) for row in rows]
    return codes, labels, np.array(scores, np.float32).reshape(labels.shape)


def halves(choosing, reported, seed=0):
    """A graph whose rows fall into the halves that they are given for."""
    at_choosing, at_reported = split_halves(len(choosing) + len(reported), seed)
    rows = dict(zip(at_choosing.tolist(), choosing, strict=True))
    rows |= dict(zip(at_reported.tolist(), reported, strict=True))
    return graph([rows[at] for at in range(len(rows))])


def evaluated(arrays, classes, **more):
    names = [f"All->Group->Kind {code}" for code in range(classes)]
    ids = [100 + code for code in range(classes)]
    return evaluate_votes(*arrays, classes, names=names, ids=ids, **more)


def of_both(make):
    """Rows of two categories of equal size, so that no prior tells them apart."""
    return [row for _ in range(10) for true in (0, 1) for row in make(true, 1 - true)]


FIRST_ALONE = of_both(lambda t, w: [(t, [t, w, w, w, w])])
MAJORITY = of_both(lambda t, w: [(t, [w, t, t])])
MAJORITY_OF_5 = of_both(lambda t, w: [(t, [w, w, t, t, t])])
BY_SIMILARITY = of_both(
    lambda t, w: [(t, [w, t, t], [0.5, 0.5, 0.5]), (t, [t, w, w], [0.9, 0.3, 0.3])]
)
BY_SOFTMAX = of_both(
    lambda t, w: [(t, [w, t, t], [0.5, 0.49, 0.49]), (t, [t, w, w], [0.6, 0.5, 0.5])]
)
RIGHT_ANYHOW = of_both(lambda t, w: [(t, [t, t, t, t, w])])


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        pytest.param(RIGHT_ANYHOW, UNIFORM_OF_3, id="the simplest of equals"),
        # One voter would be right, but can't say how sure it is: all that is tried is wrong.
        pytest.param(FIRST_ALONE, UNIFORM_OF_3, id="never one voter"),
        pytest.param(MAJORITY, UNIFORM_OF_3, id="a majority"),
        pytest.param(MAJORITY_OF_5, UNIFORM_OF_5, id="a larger majority"),
        pytest.param(BY_SIMILARITY, VoteRule(k=3), id="similarity"),
        pytest.param(BY_SOFTMAX, VoteRule(VoteKind.SOFTMAX, 3, 0.1), id="the warmest softmax"),
    ],
)
def test_the_rule_that_is_right_is_chosen(rows, rule):
    assert choose_rule(*graph(rows), 2, seed=0) == rule


@pytest.mark.parametrize(
    ("large", "prior"),
    [
        # Two votes of the large category meet one of the small, which has 4 rows: the ratio of
        # sizes to the power of the prior must exceed 2.
        (8, None),
        (40, 0.5),
        (100, 0.25),
    ],
)
def test_a_prior_is_chosen_where_it_saves_a_small_category(large, prior):
    rows = [(0, [0, 0, 0])] * large + [(1, [0, 1, 0])] * 4
    rule = VoteRule(VoteKind.UNIFORM, 3, prior=prior or 0.0)
    assert choose_rule(*graph(rows), 2, seed=0) == rule


def test_the_prior_counts_rows_of_the_index_not_of_the_half():
    rows = [(0, [0, 0, 0])] * 8 + [(1, [0, 1, 0])] * 4
    rule = choose_rule(*graph(rows), 2, seed=0, counts=np.array([100, 4]))
    assert rule == VoteRule(VoteKind.UNIFORM, 3, prior=0.25)


@pytest.mark.parametrize(("odd", "rule"), [(2, UNIFORM_OF_3), (40, UNIFORM_OF_5)])
def test_a_rule_within_the_margin_of_the_best_is_as_good(odd, rule):
    # Each odd row costs three voters about 1 / 10,000 of weighted F1.
    rows = [(at % 2, [at % 2] * 5) for at in range(10_000 - odd)]
    rows += [(at % 2, [1 - at % 2] * 2 + [at % 2] * 3) for at in range(odd)]
    assert choose_rule(*graph(rows), 2, seed=0) == rule


@pytest.mark.parametrize(
    ("choosing", "reported", "rule", "accuracy", "default_accuracy"),
    [
        (of_both(lambda t, w: [(t, [t, t, w, w, w])]), MAJORITY_OF_5, UNIFORM_OF_3, 0.0, 1.0),
        (of_both(lambda t, w: [(t, [w, t, t, w, w])]), FIRST_ALONE, UNIFORM_OF_3, 0.0, 0.0),
    ],
)
def test_what_is_reported_was_not_chosen_on(choosing, reported, rule, accuracy, default_accuracy):
    for seed in range(3):
        result = evaluated(halves(choosing, reported, seed), 2, seed=seed)
        assert (result.rule, result.chosen_on) == (rule, len(choosing))
        assert (result.metrics.accuracy, result.metrics.rows) == (accuracy, len(reported))
        assert result.default_metrics.accuracy == default_accuracy


def test_halves_share_no_row_and_lose_none():
    for rows in (2, 7, 100):
        choosing, reported = split_halves(rows, seed=3)
        assert len(choosing) == rows // 2
        assert sorted([*choosing, *reported]) == list(range(rows))
    assert [*split_halves(100, 3)[0]] == [*split_halves(100, 3)[0]] != [*split_halves(100, 4)[0]]


# Counts of 40, 4 and 2: the votes of category 1 weigh 40 / 4 = 10 ** prior more than those of 0,
# which beats two to one at a prior of 0.5 (3.2) but not at 0.25 (1.8).
REPORTED = [
    *[(0, [0, 0, 0])] * 3,
    (0, [0, 0, 1]),
    (0, [1, 1, 0]),
    *[(1, [1, 1, 0])] * 2,
    (1, [0, 0, 1]),
    (2, [2, 2, 2]),
    (2, [-1, -1, -1]),
]
COUNTS = np.array([40, 4, 2])


@pytest.fixture
def by_hand():
    choosing = [(0, [1, 0, 0])] * 5 + [(1, [2, 1, 1])] * 3 + [(2, [1, 2, 2])] * 2
    return evaluated(halves(choosing, REPORTED), 3, counts=COUNTS)


def test_numbers_computed_by_hand(by_hand):
    assert by_hand.rule == UNIFORM_OF_3
    # F1 is 0.8, 2/3 and 2/3, over 5, 3 and 2 rows.
    assert by_hand.metrics.weighted_f1 == pytest.approx(22 / 30)
    assert by_hand.metrics.macro_f1 == pytest.approx(32 / 45)
    assert by_hand.metrics.accuracy == 0.7
    low, high = by_hand.metrics.weighted_f1_interval
    assert low < 22 / 30 < high
    assert by_hand.default_metrics == by_hand.metrics


def test_categories_computed_by_hand(by_hand):
    name = "All->Group->Kind {}".format
    third = pytest.approx(2 / 3)
    assert by_hand.by_category == (
        CategoryScore(100, name(0), 5, 0.8, 0.8, pytest.approx(0.8), 101, name(1), 1),
        CategoryScore(101, name(1), 3, third, third, third, 100, name(0), 1),
        CategoryScore(102, name(2), 2, 1.0, 0.5, third, None, None, 0),
    )
    assert [score.lost for score in by_hand.by_category] == pytest.approx([1, 1, 2 / 3])


def test_curve_computed_by_hand(by_hand):
    # Four rows are sure and right; with the next five, 7 of 9 would be.
    precisions = (0.80, 0.85, 0.90, 0.95, 0.98, 0.99)
    assert by_hand.curve == tuple(CurvePoint(precision, 0.4, 1.0) for precision in precisions)
    assert (by_hand.metrics.coverage_at_95, by_hand.metrics.threshold_at_95) == (0.4, 1.0)


def test_sizes_computed_by_hand(by_hand):
    assert by_hand.by_size == (
        SizeBucket(2, 4, 2, 5, pytest.approx(2 / 3), 0.6, (0.6, 0.6, 0.8)),
        SizeBucket(30, 99, 1, 5, pytest.approx(0.8), 0.8, (0.8, 0.8, 0.6)),
    )


def test_a_category_of_one_row_and_one_of_many():
    rows = [(0, [0, 0, 0])] * 300 + [(1, [0, 0, 0])]
    seed = next(seed for seed in range(100) if 300 in split_halves(301, seed)[1])
    first, last = evaluated(graph(rows), 2, seed=seed).by_size
    assert (first.smallest, first.largest, first.rows, first.accuracy) == (1, 1, 1, 0.0)
    assert (last.smallest, last.largest, last.rows, last.accuracy) == (300, None, 150, 1.0)


def test_what_a_category_is_taken_for_most_often():
    choosing = [(code, [code]) for code in range(4) for _ in range(2)]
    # Category 3 is never true among the reported, and 2 is taken for 0 and 1 equally often.
    reported = [(2, [1]), (2, [0]), (1, [0]), (1, [3]), (1, [3]), (0, [0]), (0, [0]), (0, [-1])]
    result = evaluated(halves(choosing, reported), 4)
    confused = {
        one.category_id: (one.confused_with, one.confused_rows) for one in result.by_category
    }
    assert confused == {100: (None, 0), 101: (103, 2), 102: (100, 1), 103: (None, 0)}
    assert [one.rows for one in result.by_category] == [3, 3, 2, 0]
    assert [one.precision for one in result.by_category] == [0.5, 0.0, 0.0, 0.0]


def test_curve_takes_rows_of_equal_confidence_together():
    confidence = np.array([0.9] * 10 + [0.8] * 10 + [0.5] * 5, np.float32)
    right = np.array([True] * 10 + [True] * 7 + [False] * 8)
    points = coverage_curve(right, confidence)
    high, middle = float(np.float32(0.9)), float(np.float32(0.8))
    # 17 of the first 20 are right: just 85%.
    assert {point.precision: (point.coverage, point.threshold) for point in points} == {
        0.80: (0.8, middle),
        0.85: (0.8, middle),
        0.90: (0.4, high),
        0.95: (0.4, high),
        0.98: (0.4, high),
        0.99: (0.4, high),
    }


def test_curve_never_accepts_a_row_without_a_vote():
    curve = coverage_curve(np.array([True] * 99 + [False]), np.array([1.0] * 99 + [0], np.float32))
    assert {(point.coverage, point.threshold) for point in curve} == {(0.99, 1.0)}
    nothing = coverage_curve(np.zeros(3, bool), np.zeros(3, np.float32))
    assert {(point.coverage, point.threshold) for point in nothing} == {(0.0, NEVER)}


CLASSES = 4
ROW = st.tuples(
    st.integers(0, CLASSES - 1),
    st.lists(st.integers(-1, CLASSES - 1), min_size=5, max_size=5),
    st.lists(st.integers(1, 8).map(lambda eighths: eighths / 8), min_size=5, max_size=5),
)


@settings(max_examples=40)
@given(st.lists(ROW, min_size=2, max_size=30), st.integers(0, 3))
def test_the_parts_of_a_report_agree(rows, seed):
    arrays = graph(rows)
    counts = np.full(CLASSES, 3)
    result = evaluated(arrays, CLASSES, seed=seed, counts=counts)
    scores, buckets, total = result.by_category, result.by_size, result.metrics.rows
    assert sum(one.rows for one in scores) == sum(one.rows for one in buckets) == total
    assert np.mean([one.f1 for one in scores]) == pytest.approx(result.metrics.macro_f1)
    lost = math.fsum(one.lost for one in scores)
    assert 1 - lost / total == pytest.approx(result.metrics.weighted_f1)
    right = math.fsum(one.accuracy * one.rows for one in buckets)
    assert right / total == pytest.approx(result.metrics.accuracy)
    coverages = [point.coverage for point in result.curve]
    assert coverages == sorted(coverages, reverse=True)
    # Sizes are all equal, so a prior changes nothing.
    assert all(set(one.accuracy_by_prior) == {one.accuracy} for one in buckets)


def test_a_grid_scores_as_sklearn_does():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 6, 200), rng.integers(-1, 6, 200)
    ours = module._Tally.of(true, predicted, 7).weighted_f1
    labels = list(range(6))
    theirs = f1_score(true, predicted, average="weighted", labels=labels, zero_division=0)
    assert ours == pytest.approx(theirs)


def random_graph(rows=400, classes=6, columns=10):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, classes, rows)
    labels = np.where(
        rng.random((rows, columns)) < 0.5,
        codes[:, None],
        rng.integers(-1, classes, (rows, columns)),
    )
    scores = -np.sort(-rng.random((rows, columns), dtype=np.float32), axis=1)
    return codes, labels, scores


def test_the_same_seed_gives_the_same_report():
    arrays = random_graph()
    first, again, other = (evaluated(arrays, 6, seed=seed).to_json() for seed in (0, 0, 1))
    assert first == again != other


def test_rows_that_vote_in_blocks_give_the_same(monkeypatch):
    whole = evaluated(random_graph(), 6)
    monkeypatch.setattr(module, "VOTE_BLOCK", 17)
    assert evaluated(random_graph(), 6) == whole


def test_a_large_half_is_drawn_from(monkeypatch):
    asked = []

    def spy(labels, *args, **options):
        asked.append(len(labels))
        return vote(labels, *args, **options)

    monkeypatch.setattr(module, "GRID_ROWS", 20)
    monkeypatch.setattr(module, "vote", spy)
    result = evaluated(halves(MAJORITY * 4, MAJORITY * 4), 2)
    assert (result.rule, result.chosen_on, result.metrics.rows) == (UNIFORM_OF_3, 20, 80)
    # The grid, then the rule, the default and the rule with each prior.
    tried = len(list(rules_to_try(3)))
    assert asked == [20] * tried + [80] * (1 + 1 + len(PRIORS))


def test_json_holds_plain_values(by_hand):
    plain = by_hand.to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["rule"] == {"kind": "uniform", "k": 3, "temperature": 0.1, "prior": 0.0}
    assert plain["curve"][0] == {"precision": 0.8, "coverage": 0.4, "threshold": 1.0}
    assert plain["by_size"][0]["accuracy_by_prior"] == {"0.0": 0.6, "0.25": 0.6, "0.5": 0.8}


def test_lines_for_a_terminal(by_hand):
    interval = "{:.4f} to {:.4f}".format(*by_hand.metrics.weighted_f1_interval)
    lines = format_evaluation(by_hand)
    assert lines == [
        "vote                             weighted F1      95% interval  macro F1  accuracy",
        f"uniform, 3 nearest                    0.7333  {interval}    0.7111    0.7000",
        f"default: similarity, 10 nearest       0.7333  {interval}    0.7111    0.7000",
        "10 rows, each without itself; the rule was chosen on 10 others",
        "",
        "precision  rows accepted  from a vote's share of",
        "      80%          40.0%                  1.0000",
        "      85%          40.0%                  1.0000",
        "      90%          40.0%                  1.0000",
        "      95%          40.0%                  1.0000",
        "      98%          40.0%                  1.0000",
        "      99%          40.0%                  1.0000",
        "",
        "category of  categories  rows  weighted F1  accuracy  prior 0  prior 0.25  prior 0.5",
        "2-4 rows              2     5        0.667     0.600    0.600       0.600      0.800",
        "30-99 rows            1     5        0.800     0.800    0.800       0.800      0.600",
        "",
        "loses most  rows  precision  recall     F1  most often predicted as",
        "Kind 1         3      0.667   0.667  0.667  Kind 0",
        "Kind 0         5      0.800   0.800  0.800  Kind 1",
        "Kind 2         2      1.000   0.500  0.667",
    ]


def test_lines_bear_long_names_no_names_and_nothing_to_accept():
    wrong = of_both(lambda _, w: [(0, [w]), (1, [w])])
    result = evaluate_votes(*graph(wrong), 2, names=["", "x" * 60], ids=["a", "b"], seed=1)
    lines = format_evaluation(result)
    assert f"{'x' * 27}…" in "\n".join(lines)
    assert any(line.startswith("a ") for line in lines)
    assert any(line.endswith("none") for line in lines)


@pytest.mark.parametrize("rows", [[], [(0, [0])]])
def test_too_few_rows_are_refused(rows):
    codes, labels, scores = graph(rows)
    with pytest.raises(TrainingError, match="labelled row"):
        evaluated((codes, labels.reshape(-1, 1), scores.reshape(-1, 1)), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.array([0, -1])}, r"codes must be in \[0, 2\), not \[-1, 0\]"),
        ({"codes": np.array([0, 2])}, r"codes must be in \[0, 2\), not \[0, 2\]"),
        ({"labels": np.zeros((3, 1), np.int64)}, r"must both be \(2, K\)"),
        ({"labels": np.zeros((2, 0), np.int64), "scores": np.zeros((2, 0))}, "a neighbour to vote"),
        ({"labels": np.full((2, 1), 2)}, r"labels must be in \[-1, 2\)"),
        ({"counts": np.array([0, 1])}, "counts must be"),
        ({"counts": np.array([1])}, "counts must be"),
        ({"names": ["one"]}, "2 categories, but 1 names and 2 ids"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    given = {
        "codes": np.array([0, 1]),
        "labels": np.zeros((2, 1), np.int64),
        "scores": np.ones((2, 1), np.float32),
        "classes": 2,
        "names": ["", ""],
        "ids": [1, 2],
    }
    with pytest.raises(ValueError, match=message):
        evaluate_votes(**{**given, **change})


def test_a_category_that_no_neighbour_can_have_is_only_missed():
    codes, labels = np.array([0, 0, 1, 0]), np.zeros((4, 3), np.int64)
    scores, counts = np.full((4, 3), 0.5, np.float32), np.array([9, 0])
    rule = choose_rule(codes, labels, scores, 2, seed=0, counts=counts)
    cast = vote(labels, scores, classes=2, rule=rule, counts=counts)
    assert cast.codes.tolist() == [0, 0, 0, 0]


def test_another_rule_is_measured_on_the_reported_half():
    arrays = halves(MAJORITY * 2, BY_SIMILARITY, seed=5)
    result = evaluated(arrays, 2, seed=5)
    assert result.rule == UNIFORM_OF_3
    assert measure_rule(UNIFORM_OF_3, *arrays, 2, seed=5) == result.metrics
    assert measure_rule(DEFAULT_RULE, *arrays, 2, seed=5) == result.default_metrics
    # Of each pair of rows a majority is right once, and similarity twice.
    assert (result.metrics.accuracy, result.default_metrics.accuracy) == (0.5, 1.0)
    first = measure_rule(VoteRule(VoteKind.UNIFORM, 1), *arrays, 2, seed=5)
    assert (first.accuracy, first.rows) == (0.5, len(BY_SIMILARITY))


def test_default_rule_is_measured_beside_it():
    assert VoteRule(VoteKind.SIMILARITY, k=10, prior=0.0) == DEFAULT_RULE
    # Of eleven neighbours the ten nearest are split 5 to 5, and the nearest of all is wrong.
    reported = of_both(lambda t, w: [(t, [w, *[t] * 5, *[w] * 4, t])])
    result = evaluated(halves(of_both(lambda t, w: [(t, [w, t, t, *[w] * 8])]), reported), 2)
    assert (result.rule, result.metrics.accuracy) == (UNIFORM_OF_3, 1.0)
    assert result.default_metrics.accuracy == 0.5
