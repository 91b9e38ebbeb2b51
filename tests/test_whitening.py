"""Whitening: what it does to a cone of vectors, and heads saved with and without it."""

import numpy as np
import pytest
import torch

from vitrina import whitening
from vitrina.classifier.card import HeadShape
from vitrina.classifier.fit import FitOptions, fit_head
from vitrina.classifier.heads import Head, load_heads, save_heads
from vitrina.classifier.minibatch import predict
from vitrina.store.gather import Gathered
from vitrina.types import HeadKind, Modality
from vitrina.whitening import Whitening


def cone(rows=600, dim=12, seed=0):
    """Unit vectors about one direction, which differ along a few directions more than others."""
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal((rows, dim)) * np.geomspace(0.3, 0.01, dim)
    raw = spread + np.eye(dim)[0] * 3
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32), spread


def applied(found, vectors):
    """The whitened vectors."""
    centred = vectors - found.centre
    return centred @ found.factor if found.factor.ndim > 1 else centred * found.factor


@pytest.mark.parametrize("widest", [2048, 4])
def test_whitened_vectors_have_mean_zero_and_length_one(monkeypatch, widest):
    monkeypatch.setattr(whitening, "WIDEST_MATRIX", widest)
    vectors, _ = cone()
    assert np.linalg.norm(vectors.mean(axis=0)) > 0.98
    found = Whitening.fit(vectors.astype(np.float16), np.arange(500))
    assert found.centre.dtype == found.factor.dtype == np.float32
    assert (found.centre.shape, found.factor.shape) == whitening.tensor_shapes(12)
    out = applied(found, vectors.astype(np.float16)[:500])
    assert np.abs(out.mean(axis=0)).max() < 1e-3
    assert np.square(out).sum(axis=1).mean() == pytest.approx(1, abs=1e-3)
    # Directions' variances come nearer to each other, and keep their order.
    before, after = (np.sort(np.var(one[:500], axis=0)) for one in (vectors, out))
    assert after[-1] / after[0] < before[-1] / before[0] / 2


def test_a_sample_of_rows_and_only_the_given_rows_count(monkeypatch):
    vectors, _ = cone()
    rows = np.arange(0, 600, 2)
    other = vectors.copy()
    other[1::2] = 7
    first, second = (Whitening.fit(one, rows) for one in (vectors, other))
    assert np.array_equal(first.factor, second.factor)
    monkeypatch.setattr(whitening, "SAMPLED", 100)
    fewer = Whitening.fit(vectors, rows)
    third = Whitening.fit(vectors, rows[::3])
    assert np.array_equal(fewer.factor, third.factor)
    assert not np.array_equal(fewer.factor, first.factor)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_vectors_that_do_not_differ_are_not_whitened(rows):
    vectors = np.full((8, 3), 0.5, dtype=np.float16)
    assert Whitening.fit(vectors, np.arange(rows)) is None


def test_vectors_in_no_cone_are_not_whitened():
    vectors, _ = cone()
    assert Whitening.fit(vectors, np.arange(600)) is not None
    assert Whitening.fit(vectors - vectors.mean(axis=0), np.arange(600)) is None


def test_a_head_over_a_cone_learns_what_lies_across_it(monkeypatch):
    vectors, spread = cone(rows=1500)
    codes = (spread[:, 2:5] > 0) @ np.array([4, 2, 1])
    gathered = Gathered((Modality.TEXT,), (vectors,), (np.ones(1500, dtype=bool),))
    options = FitOptions(HeadKind.LOGISTIC, epochs=10)
    found = []
    for narrow in (0.25, 1.1):
        # No cone is as narrow as the second.
        monkeypatch.setattr(whitening, "NARROW", narrow)
        head = fit_head(gathered, codes, np.arange(1000), 8, options)
        assert head.shape.whitened == ((True,) if narrow < 1 else ())
        chosen = predict(head, gathered, np.arange(1000, 1500)).argmax(axis=1)
        found.append(np.mean(chosen == codes[1000:]))
    assert found[0] > found[1] + 0.2
    assert found[0] > 0.6


def test_heads_with_and_without_whitening_survive_saving(tmp_path):
    vectors, _ = cone()
    other = vectors[:, :5] - vectors[:, :5].mean(axis=0)
    inputs = [vectors, other], [np.ones(600, dtype=bool)] * 2
    shape = HeadShape(HeadKind.MLP, (12, 5), (1.0, 0.3), 3, hidden=4)
    whitened = HeadShape(HeadKind.MLP, (12, 5), (1.0, 0.3), 3, hidden=4, whitened=(True, False))
    heads = {"text": Head(shape), "fused": Head(whitened)}
    parts = [Whitening.fit(one, np.arange(600)) for one in inputs[0]]
    heads["fused"].set_whitening(parts)
    save_heads(tmp_path, heads)
    loaded = load_heads(tmp_path, {name: head.shape for name, head in heads.items()})
    for name, head in heads.items():
        assert set(head.state_dict()) == set(head.shape.tensors)
        assert np.array_equal(loaded[name].logits(*inputs), head.logits(*inputs))
    # The same weights over vectors that were whitened before.
    plain = heads["text"]
    plain.load_state_dict({name: heads["fused"].state_dict()[name] for name in plain.state_dict()})
    outside = [applied(parts[0], vectors), other]
    with torch.inference_mode():
        expected = plain.logits(outside, inputs[1])
    np.testing.assert_allclose(heads["fused"].logits(*inputs), expected, atol=1e-5)
