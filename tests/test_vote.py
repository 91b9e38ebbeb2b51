from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.index.vote import vote

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


def plain_vote(neighbours):
    """One query's code and share, in exact arithmetic."""
    sums, nearest = {}, {}
    for label, score in neighbours:
        if label >= 0 and score > 0:
            sums[label] = sums.get(label, 0) + Fraction(float(score))
            nearest[label] = max(nearest.get(label, 0), score)
    if not sums:
        return -1, 0.0
    code = min(sums, key=lambda label: (-sums[label], -nearest[label], label))
    return code, float(sums[code] / sum(sums.values()))


def check(rows, k, classes):
    labels = np.array([[label for label, _ in row] for row in rows], dtype=np.int64)
    scores = np.array([[score for _, score in row] for row in rows], dtype=np.float32)
    shape = (len(rows), k)
    given_vote = vote(labels.reshape(shape), scores.reshape(shape), classes=classes)
    expected = [plain_vote(row) for row in rows]
    assert given_vote.codes.tolist() == [code for code, _ in expected]
    np.testing.assert_allclose(given_vote.shares, [share for _, share in expected], rtol=1e-6)
    assert (given_vote.codes.dtype, given_vote.shares.dtype) == (np.int64, np.float32)


@given(QUERIES)
def test_vote_is_what_plain_python_gives(queries):
    rows, k = queries
    check(rows, k, CLASSES)


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
    result = vote(
        np.array([[label for label, _ in neighbours]]),
        np.array([[score for _, score in neighbours]], dtype=np.float32),
        classes=CLASSES,
    )
    assert result.codes.tolist() == [code]
    assert result.shares.tolist() == pytest.approx([share])


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
