"""Two modalities' vectors as one: inner products are weighted means of cosines."""

import numpy as np
import pytest

from support.vectors import fused, fused_rows, units
from vitrina.index.fuse import Fusion


def fuse(vectors, present, weights):
    return Fusion.plain(weights).fuse(vectors, present)


def test_the_inner_product_is_the_weighted_mean_of_cosines():
    text, image = units(20, 5, seed=1), units(20, 8, seed=2)
    both = np.ones(20, dtype=bool)
    whole = fuse([text, image], [both, both], (3.0, 1.0))
    assert whole.shape == (20, 13)
    assert whole.dtype == np.float32
    expected = 0.75 * text @ text.T + 0.25 * image @ image.T
    np.testing.assert_allclose(whole @ whole.T, expected, atol=1e-6)


def test_a_product_that_lacks_a_modality_keeps_unit_length():
    text, image = units(3, 2, seed=1), units(3, 2, seed=2)
    whole = fuse(
        [text, image],
        [np.array([True, False, False]), np.array([False, True, False])],
        (1.0, 3.0),
    )
    np.testing.assert_allclose(whole[0], [*text[0], 0, 0], atol=1e-6)
    # The mask decides: what the vectors hold where it is False is never looked at.
    np.testing.assert_allclose(whole[1], [0, 0, *image[1]], atol=1e-6)
    assert whole[2].tolist() == [0, 0, 0, 0]


def test_only_the_ratio_of_weights_matters():
    text, image = units(4, 3, seed=1), units(4, 3, seed=2)
    mask = np.ones(4, dtype=bool)
    one, other = (fuse([text, image], [mask, mask], pair) for pair in ((1, 2), (50, 100)))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_modality_is_itself():
    text = units(4, 3)
    np.testing.assert_allclose(fuse([text], [np.ones(4, dtype=bool)], (0.2,)), text, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_are_read_and_fused_in_the_order_asked_for(dtype):
    text, image = units(9, 5, seed=1).astype(dtype), units(9, 4, seed=2).astype(dtype)
    has_text, has_image = np.arange(9) % 2 == 0, np.arange(9) % 3 == 0
    rows = fused_rows(text, image, present=[has_text, has_image], weights=(2.0, 1.0))
    at = np.array([6, 1, 2, 6, 3, 0])
    read = rows.read(at)
    expected = fused([text, image], [has_text, has_image], (2.0, 1.0))[at]
    np.testing.assert_allclose(read, expected, atol=1e-6)
    assert read.dtype == np.float32
    assert np.linalg.norm(read, axis=1).round(6).tolist() == [1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_positive_is_refused(weight):
    with pytest.raises(ValueError, match="positive"):
        fuse([np.eye(2, dtype=np.float32)], [np.ones(2, dtype=bool)], (weight,))


def test_arguments_that_disagree_are_refused():
    eye, mask = np.eye(2, dtype=np.float32), np.ones(2, dtype=bool)
    with pytest.raises(ValueError, match="2 modalities, not 1 and 1"):
        fuse([eye], [mask], (1, 1))
    with pytest.raises(ValueError, match=r"differ in rows: \[2, 3\]"):
        fuse([eye], [np.ones(3, dtype=bool)], (1,))
