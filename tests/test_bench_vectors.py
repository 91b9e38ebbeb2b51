"""The made-up vectors of benchmarks/index.py, the exact search they are judged by, the stores."""

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vitrina as vt

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = ("vectors", "ann_data", "ann_store")


@pytest.fixture
def peers(monkeypatch):
    """The modules under test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return SimpleNamespace(**{name: importlib.import_module(f"peers.{name}") for name in NAMES})


@pytest.fixture
def made(peers, tmp_path):
    recipe = peers.vectors.Recipe(text_dim=24, image_dim=40, categories=30, copies=0.1)
    return peers.vectors.make(tmp_path / "made", 1000, recipe)


def of_rows(peers, folder, matrix, **others):
    np.save(folder / "text.npy", matrix.astype(np.float32))
    told = {"rows": len(matrix), "queries": (), "own": False, **others}
    return peers.ann_data.VectorSet(folder, ("text",), **told)


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_vectors_are_of_unit_length_and_copies_are_exact(made):
    original = made.original
    copies = np.flatnonzero(original != np.arange(1000))
    assert len(copies) == 100
    assert (original[original] == original).all()
    assert (made.category[copies] == made.category[original[copies]]).all()
    for modality, dim in (("text", 24), ("image", 40)):
        vectors = made.vectors(modality)
        assert vectors.shape == (1000, dim)
        assert vectors.dtype == np.float16
        np.testing.assert_allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=2e-3)
        assert (vectors[copies] == vectors[original[copies]]).all()
        assert len(np.unique(vectors, axis=0)) == 900


def test_a_set_is_made_once_and_is_the_same_again(peers, made, tmp_path):
    before = (made.folder / "text.npy").stat().st_mtime_ns
    peers.vectors.make(made.folder, 1000, made.recipe)
    assert (made.folder / "text.npy").stat().st_mtime_ns == before
    again = peers.vectors.make(tmp_path / "again", 1000, made.recipe)
    other = peers.vectors.make(tmp_path / "other", 1000, replace(made.recipe, seed=1))
    assert (again.vectors("image") == made.vectors("image")).all()
    assert not (other.vectors("image") == made.vectors("image")).all()


def test_products_of_a_category_are_nearer(made):
    vectors = made.vectors("text").astype(np.float32)
    same = made.category[:, None] == made.category[None, :]
    cosines = vectors @ vectors.T
    np.fill_diagonal(same, False)
    others = ~same
    np.fill_diagonal(others, False)
    assert cosines[same].mean() > cosines[others].mean() + 0.2


def test_figures_know_the_dimension_and_the_copies(peers, tmp_path):
    # A sphere in six of forty directions: five dimensions around every point.
    matrix = np.zeros((4000, 40))
    matrix[:, :6] = np.random.default_rng(0).standard_normal((4000, 6))
    matrix[2000:2100] = matrix[:100]
    found = peers.vectors.figures(of_rows(peers, tmp_path, unit(matrix)), queries=4000)
    assert found.lid == pytest.approx(5, abs=0.5)
    assert found.energy[16] == pytest.approx(1, abs=1e-5)
    assert found.copies == 200 / 4000
    assert 1 > found.cosines[0] > found.cosines[1] > found.cosines[2] > found.cosines[3]


@pytest.mark.parametrize("size", [7, 100, 300])
def test_exact_search_is_brute_force(peers, tmp_path, size):
    matrix = unit(np.random.default_rng(0).standard_normal((300, 12)))
    one = of_rows(peers, tmp_path, matrix, queries=(3, 250), own=True)
    rows, scores = peers.ann_data.nearest(one.asked(), one.blocks(size), 5, own=one.own_rows)
    every = matrix[[3, 250]] @ matrix.T
    every[[0, 1], [3, 250]] = -2
    assert rows.tolist() == np.argsort(-every, axis=1)[:, :5].tolist()
    np.testing.assert_allclose(scores, -np.sort(-every, axis=1)[:, :5], atol=1e-6)
    rows, _ = peers.ann_data.nearest(one.asked(), [(0, one.take(np.arange(2)))], 3)
    assert np.sort(rows, axis=1).tolist() == [[-1, 0, 1]] * 2


def test_recall_counts_ties_but_nothing_twice(peers):
    least = np.array([0.5, 0.5])
    found = np.array([[4, 7, 9], [2, 2, -1]])
    scores = np.array([[0.9, 0.5 - 1e-6, 0.4], [0.9, 0.9, 0.9]])
    assert peers.ann_data.recall(found, scores, least) == pytest.approx(3 / 6)
    own = np.array([7, 5])
    assert peers.ann_data.without_own(found, own, 2).tolist() == [[4, 9], [2, 2]]


def test_a_store_of_made_up_products_is_whole_and_can_change(peers, made, tmp_path):
    place, copy = tmp_path / "store", tmp_path / "copy"
    peers.ann_store.make_store(place, made, 600)
    read = vt.vectors(vt.Store.open(place), "image")
    assert (read.matrix == made.vectors("image")[:600]).all()
    vt.build_index(vt.Store.open(place), "fused")
    peers.ann_store.copy_store(place, copy)
    assert not vt.Store.open(copy).manifest.indexes
    peers.ann_store.change_store(copy, made, np.arange(0, 100, 10), np.arange(700, 720))
    for one in (place, copy):
        report = vt.verify(one)
        assert report.ok
        assert not [note for note in report.notes if "not embedded" in note]
    changed = vt.vectors(vt.Store.open(copy), "text")
    there = [row for row in range(600) if row >= 100 or row % 10] + list(range(700, 720))
    assert changed.ids.to_pylist() == there
    assert (changed.matrix == made.vectors("text")[there]).all()
    assert len(vt.Store.open(place).products) == 600
    held, features = peers.ann_store.held_vectors(copy, tmp_path / "held", None, 50, seed=0)
    assert (features, held.rows, held.dim, len(held.queries)) == ("fused", 610, 64, 50)
    assert peers.ann_store.read_ids(tmp_path / "held").to_pylist() == there
