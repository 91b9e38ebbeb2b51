"""What an index learns: a rotation and centres of lists, against numpy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from support.vectors import clustered, units
from vitrina.index import quantizer_training
from vitrina.index.quantizer_training import assign, assigner, centres, rotation


def stretched(rows, dim, seed=0):
    """Vectors that vary more in some directions than in others, off the axes."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return (rng.standard_normal((rows, dim)) * np.geomspace(3, 0.03, dim) @ turned + 1).astype("f4")


# -- rotation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "parts"), [(24, 1), (24, 24), (24, 8), (12, 6), (6, 1), (1, 1)])
def test_a_rotation_keeps_the_leading_variance_and_turns_nothing_else(size, parts):
    sample = stretched(3000, 24)
    matrix = rotation(sample, size, parts)
    assert (matrix.shape, matrix.dtype) == ((24, size), np.float32)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(size), atol=1e-5)
    variances = np.linalg.eigvalsh(np.cov(sample.T, bias=True))[::-1]
    kept = (sample @ matrix).var(axis=0, dtype=np.float64)
    np.testing.assert_allclose(np.sort(kept)[::-1], variances[:size], rtol=1e-3)


def test_every_part_of_a_code_gets_its_share():
    sample = stretched(3000, 24)
    parts = (sample @ rotation(sample, 24, 4)).var(axis=0, dtype=np.float64).reshape(4, 6)
    products = np.log(parts).sum(axis=1)
    assert np.ptp(products) < 0.5
    # Cut in order of variance, the first part would have all there is.
    in_order = np.sort(parts.ravel())[::-1].reshape(4, 6)
    assert np.ptp(np.log(in_order).sum(axis=1)) > 15


def test_the_same_sample_gives_the_same_rotation():
    sample = stretched(500, 16)
    np.testing.assert_array_equal(rotation(sample, 8, 4), rotation(sample.copy(), 8, 4))


def test_directions_without_any_variance_can_be_kept_too():
    sample = np.zeros((100, 8), dtype=np.float32)
    sample[:, :2] = np.random.default_rng(0).standard_normal((100, 2))
    matrix = rotation(sample, 8, 4)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-5)


@pytest.mark.parametrize(("size", "parts"), [(25, 5), (10, 3), (0, 2), (-4, 2)])
def test_a_size_that_does_not_fit(size, parts):
    with pytest.raises(ValueError, match=f"24 dimensions can't become {size} in {parts} parts"):
        rotation(units(50, 24), size, parts)


# -- centres --------------------------------------------------------------------------------------


def inertia(sample, found):
    distances = ((sample[:, None, :].astype(np.float64) - found[None]) ** 2).sum(axis=2)
    return distances.min(axis=1).sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_centres_are_as_good_as_those_of_scikit_learn(seed):
    sample = clustered(1500, 12, seed=seed)
    found = centres(sample, 40, seed)
    assert (found.shape, found.dtype) == ((40, 12), np.float32)
    theirs = KMeans(40, init="random", n_init=1, random_state=seed).fit(sample)
    assert inertia(sample, found) <= 1.05 * theirs.inertia_
    assert len(np.unique(assign(sample, found))) == 40


def test_a_seed_decides():
    sample = clustered(600, 8)
    before = sample.copy()
    one, same, other = (centres(sample, 20, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(sample, before)


def test_a_centre_that_attracts_nothing_is_moved():
    # Nine in ten rows are of one content, so most first centres are the same; were they left
    # where they are, two or three lists would serve all others.
    sample = units(400, 6)
    sample[40:] = sample[0]
    found = centres(sample, 12, 0)
    assert len(np.unique(assign(sample, found))) >= 10
    assert inertia(sample, found) < 0.6 * inertia(sample, sample[:1])


def test_as_many_lists_as_rows():
    sample = units(9, 5)
    found = centres(sample, 9, 0)
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(sample, axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="10 lists need at least as many training rows, not 9"):
        centres(sample, 10, 0)


# -- assign ---------------------------------------------------------------------------------------


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 6), st.integers(0, 99))
def test_assign_is_what_brute_force_gives(rows, lists, dim, seed):
    rng = np.random.default_rng(seed)
    # Lengths differ: the nearest is not that of the largest inner product.
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    found = (rng.standard_normal((lists, dim)) * rng.uniform(0.1, 3, (lists, 1))).astype(np.float32)
    distances = ((vectors[:, None].astype(np.float64) - found[None]) ** 2).sum(axis=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantizer_training, "BLOCK_ROWS", 7)
        nearest = assigner(found)
        for _ in range(2):
            at = nearest(vectors)
            assert at.dtype == np.int64
            chosen = distances[np.arange(rows), at]
            np.testing.assert_allclose(chosen, distances.min(axis=1, initial=np.inf), atol=1e-5)
    np.testing.assert_array_equal(assign(vectors, found), at)


def test_of_two_centres_as_near_the_first_is_taken():
    found = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    assert assign(np.array([[2, 1], [1, 1], [0, 2]], np.float32), found).tolist() == [0, 0, 1]
