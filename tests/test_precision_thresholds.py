import numpy as np
import pytest

from vitrina.classifier.backoff import BackOff, ThresholdsCard
from vitrina.classifier.metrics import NEVER
from vitrina.classifier.precision_thresholds import thresholds_at_precision
from vitrina.classifier.tree import CategoryTree
from vitrina.typed_json import convert_json

CATEGORIES = 60


def predictions(rows, seed, bent=0.8):
    """Groups, confidence and rightness of a classifier that is too sure of some categories."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(99)
    sizes = world.pareto(1.0, CATEGORIES) + 0.05
    skill = world.normal(0, bent, CATEGORIES)
    groups = rng.choice(CATEGORIES, rows, p=sizes / sizes.sum())
    logit = rng.normal(2.5, 2.5, rows)
    confidence = 1 / (1 + np.exp(-logit))
    right = rng.random(rows) < 1 / (1 + np.exp(-(logit + skill[groups])))
    return groups, confidence.astype(np.float32), right


@pytest.mark.parametrize("precision", [0.9, 0.95])
def test_the_promise_is_kept_on_other_rows(precision):
    reached, told = [], []
    for seed in range(6):
        found = thresholds_at_precision(*predictions(4000, seed), CATEGORIES, precision, seed=seed)
        groups, confidence, right = predictions(100_000, 1000 + seed)
        accepted = found.accept(groups, confidence)
        assert accepted.mean() == pytest.approx(found.coverage, abs=0.03)
        reached.append(right[accepted].mean())
        told.append(found.reached)
    assert np.mean(reached) >= precision - 0.003
    assert min(reached) >= precision - 0.02
    assert min(told) >= precision


def test_a_category_that_is_often_wrong_needs_more():
    groups, confidence, right = predictions(20_000, 0)
    bad = groups == np.bincount(groups).argmax()
    right = right & ~(bad & (np.random.default_rng(1).random(len(bad)) < 0.3))
    found = thresholds_at_precision(groups, confidence, right, CATEGORIES, 0.95)
    assert found.of[groups[bad][0]] > np.median(found.of)


def test_nothing_is_accepted_where_nothing_is_right_enough():
    groups, confidence, _ = predictions(500, 0)
    found = thresholds_at_precision(groups, confidence, np.zeros(500, bool), CATEGORIES, 0.95)
    assert (found.of == np.float32(NEVER)).all()
    assert (found.coverage, np.isnan(found.reached)) == (0, True)
    assert not found.accept(groups, np.ones(500, np.float32)).any()


def test_all_is_accepted_where_all_is_right():
    groups, confidence, _ = predictions(500, 0)
    found = thresholds_at_precision(groups, confidence, np.ones(500, bool), CATEGORIES, 0.95)
    assert found.accept(groups, confidence).mean() > 0.95


def test_duplicates_choose_nothing_for_one_another():
    """Copies of a row that is right by luck would speak for themselves."""
    rng = np.random.default_rng(0)
    together = np.repeat(np.arange(400), 10)
    groups = rng.integers(0, 200, 400)[together]
    confidence = np.full(4000, 0.5, np.float32)
    right = (rng.random(400) < 0.5)[together]
    alone = thresholds_at_precision(groups, confidence, right, 200, 0.9)
    held = thresholds_at_precision(groups, confidence, right, 200, 0.9, together=together)
    assert held.coverage < alone.coverage


# Backing off.

NAMES = [f"{top}->{middle}->{leaf}" for top in "ab" for middle in "cd" for leaf in "efghi"]


def siblings(rows, seed):
    """Probabilities of leaves that are told apart badly, in families that are told apart well."""
    rng = np.random.default_rng(seed)
    true = rng.integers(len(NAMES), size=rows)
    logits = rng.normal(0, 1, (rows, len(NAMES)))
    logits += 5.0 * (np.arange(len(NAMES)) // 5 == true[:, None] // 5)
    logits[np.arange(rows), true] += rng.choice([0.5, 6.0], rows)
    shares = np.exp(logits)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), true


def test_what_is_unsure_backs_off_to_what_is_sure():
    tree = CategoryTree.of(NAMES)
    found = BackOff.fit(tree, *siblings(4000, 0), 0.95)
    probabilities, true = siblings(20_000, 1)
    decided = found.decide(probabilities)
    nodes = found.nodes(decided)
    let, leaf = decided.steps >= 0, decided.steps == 0
    assert 0.3 < leaf.mean() < 0.8
    assert let.mean() > leaf.mean() + 0.15
    for some in (leaf, decided.steps == 1, let):
        kept = tree.holds(nodes[some][:, None], true[some])[:, 0]
        assert kept.mean() > 0.94
    # What is told is what was asked of: the class itself, or one of those above it.
    lines = tree.lines[decided.chosen[let]]
    assert (lines[np.arange(len(lines)), decided.steps[let]] == nodes[let]).all()
    assert (nodes[~let] == -1).all()
    np.testing.assert_array_equal(decided.shares[leaf], decided.confidence[leaf])
    assert (decided.shares[~let] == 0).all()


def test_what_was_found_is_written_and_read_back():
    tree = CategoryTree.of(NAMES)
    found = BackOff.fit(tree, *siblings(2000, 0), 0.95)
    probabilities, _ = siblings(500, 1)
    again = BackOff.of(
        tree, convert_json(found.to_json(), tuple[ThresholdsCard, ...], "it", "mend it")
    )
    decided, other = found.decide(probabilities), again.decide(probabilities)
    assert (decided.steps == other.steps).mean() > 0.998
    assert [one.precision for one in again.thresholds] == [0.95] * len(found.thresholds)
