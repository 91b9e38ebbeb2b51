import json
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrina.errors import FingerprintError, StoreError
from vitrina.index import build, search
from vitrina.index.build import build_flat, write_index
from vitrina.index.fuse import fuse
from vitrina.index.search import Neighbour, VectorIndex
from vitrina.store.gather import Gathered
from vitrina.types import Features, Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


def unit(matrix):
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def random_units(rows, dim, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((rows, dim)))


def text_only(vectors, present=None):
    mask = np.ones(len(vectors), dtype=bool) if present is None else present
    return Gathered((TEXT,), (vectors,), (mask,))


def written(folder, gathered, ids, weights=None):
    weights = weights or (1.0,) * len(gathered.modalities)
    built = build_flat(gathered, pa.array(ids), weights=weights)
    write_index(
        folder,
        built,
        features=Features.FUSED if len(weights) == 2 else Features(gathered.modalities[0].value),
        spaces={TEXT: "rubert", IMAGE: "clip"},
        fingerprints={TEXT: "aaaa", IMAGE: "bbbb"},
    )
    return VectorIndex.open(folder)


def brute_force(vectors, queries, k, own=None):
    """Positions (q, k): by score, then by position; -1 where there are fewer."""
    # Rounded, since numpy's own product of matrices gives equal rows unequal scores.
    scores = np.round(queries.astype(np.float64) @ vectors.T.astype(np.float64), 6)
    out = np.full((len(queries), k), -1)
    for row, values in enumerate(scores):
        order = sorted(range(len(vectors)), key=lambda at, values=values: (-values[at], at))
        if own is not None and own[row] >= 0:
            order.remove(own[row])
        out[row, : len(order)] = order[:k]
    return out


# -- fuse ---------------------------------------------------------------------------------------


def test_the_inner_product_is_the_weighted_mean_of_cosines():
    text, image = random_units(20, 5, seed=1), random_units(20, 8, seed=2)
    both = np.ones(20, dtype=bool)
    fused = fuse([text, image], [both, both], [3.0, 1.0])
    assert fused.shape == (20, 13)
    assert fused.dtype == np.float32
    expected = 0.75 * text @ text.T + 0.25 * image @ image.T
    np.testing.assert_allclose(fused @ fused.T, expected, atol=1e-6)


def test_a_product_that_lacks_a_modality_keeps_unit_length():
    text, image = random_units(3, 2, seed=1), random_units(3, 2, seed=2)
    fused = fuse(
        [text, image],
        [np.array([True, False, False]), np.array([False, True, False])],
        [1.0, 3.0],
    )
    np.testing.assert_allclose(fused[0], [*text[0], 0, 0], atol=1e-6)
    # The mask decides: what the vectors hold where it is False is never looked at.
    np.testing.assert_allclose(fused[1], [0, 0, *image[1]], atol=1e-6)
    assert fused[2].tolist() == [0, 0, 0, 0]


def test_only_the_ratio_of_weights_matters():
    text, image = random_units(4, 3, seed=1), random_units(4, 3, seed=2)
    mask = np.ones(4, dtype=bool)
    one, other = (fuse([text, image], [mask, mask], pair) for pair in ([1, 2], [50, 100]))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_modality_is_itself():
    text = random_units(4, 3)
    np.testing.assert_allclose(fuse([text], [np.ones(4, dtype=bool)], [0.2]), text, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_positive_is_refused(weight):
    with pytest.raises(ValueError, match="positive"):
        fuse([np.eye(2, dtype=np.float32)], [np.ones(2, dtype=bool)], [weight])


def test_arguments_that_disagree_are_refused():
    eye, mask = np.eye(2, dtype=np.float32), np.ones(2, dtype=bool)
    with pytest.raises(ValueError, match="not 1, 1 and 2"):
        fuse([eye], [mask], [1, 1])
    with pytest.raises(ValueError, match=r"differ in rows: \[2, 3\]"):
        fuse([eye], [np.ones(3, dtype=bool)], [1])


# -- build --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_written_describes_the_index(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(build, "BLOCK_ROWS", 7)
    text, image = random_units(40, 6, seed=1), random_units(40, 4, seed=2)
    has_text, has_image = np.arange(40) % 2 == 0, np.arange(40) % 3 == 0
    text[~has_text], image[~has_image] = 0, 0
    gathered = Gathered(
        (TEXT, IMAGE), (text.astype(dtype), image.astype(dtype)), (has_text, has_image)
    )
    index = written(tmp_path / "fused-00000001", gathered, range(100, 140), (2.0, 1.0))

    kept = np.flatnonzero(has_text | has_image)
    assert pq.read_table(index.folder / "ids.parquet").to_pydict() == {
        "product_id": (kept + 100).tolist()
    }
    card = json.loads((index.folder / "index.json").read_text())
    assert card == index.card
    assert {key: card[key] for key in ("features", "factory", "parameters", "metric")} == {
        "features": "fused",
        "factory": "Flat",
        "parameters": {},
        "metric": "inner product",
    }
    assert (card["dim"], card["rows"]) == (10, len(kept)) == (index.dim, len(index))
    assert card["modalities"] == ["text", "image"]
    assert card["weights"] == {"text": 2.0, "image": 1.0}
    assert card["spaces"] == {"text": "rubert", "image": "clip"}
    assert card["fingerprints"] == {"text": "aaaa", "image": "bbbb"}
    assert card["recall"] == {"at": 10, "value": 1.0}
    sizes = [(index.folder / name).stat().st_size for name in ("index.faiss", "ids.parquet")]
    assert card["bytes"] == sum(sizes)
    assert set(card["sha256"]) == {"index.faiss", "ids.parquet"}
    assert index.modalities == (TEXT, IMAGE)
    assert index.weights == (2.0, 1.0)
    for position in kept.tolist():
        expected = fuse(
            [part[position : position + 1].astype(np.float32) for part in gathered.vectors],
            [part[position : position + 1] for part in gathered.present],
            (2.0, 1.0),
        )
        np.testing.assert_array_equal(index.vector(position + 100), expected)
    assert index.vector(101) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fused-00000001"]


def test_a_vector_of_zeros_is_left_out_though_it_is_present(tmp_path):
    vectors = random_units(3, 4)
    vectors[1] = 0
    index = written(tmp_path / "i", text_only(vectors), ["a", "b", "c"])
    assert index.product_ids.to_pylist() == ["a", "c"]


def test_an_index_of_nothing_is_refused():
    nothing = text_only(np.zeros((2, 3), dtype=np.float32), np.zeros(2, dtype=bool))
    with pytest.raises(StoreError, match="no product has a text vector to index; run"):
        build_flat(nothing, pa.array([1, 2]), weights=[1.0])


def test_ids_of_another_table_are_refused():
    with pytest.raises(ValueError, match="2 ids for 3 gathered products"):
        build_flat(text_only(random_units(3, 3)), pa.array([1, 2]), weights=[1.0])


class HalfBlind:
    """An index that never finds what stands at odd rows."""

    def __init__(self, index):
        self._index = index

    def search(self, queries, k):
        scores, positions = self._index.search(queries, 2 * k)
        seen = np.where(positions % 2 == 0, positions, -1)
        order = np.argsort(seen < 0, axis=1, kind="stable")[:, :k]
        return scores[:, :k], np.take_along_axis(seen, order, axis=1)


def test_recall_is_measured_not_promised(monkeypatch):
    monkeypatch.setattr(build, "BLOCK_ROWS", 64)
    vectors = random_units(300, 16)
    gathered = text_only(vectors)
    index = faiss.IndexFlatIP(16)
    index.add(vectors)
    rows = np.arange(300)
    assert build._recall(index, rows, gathered, [1.0], 0) == 1.0
    assert 0.4 < build._recall(HalfBlind(index), rows, gathered, [1.0], 0) < 0.6


def test_recall_takes_any_of_equals_for_right():
    # Every row three times: which of them is found makes no difference.
    vectors = np.repeat(random_units(50, 16), 3, axis=0)
    index = faiss.IndexFlatIP(16)
    index.add(vectors)
    assert build._recall(index, np.arange(150), text_only(vectors), [1.0], 0) == 1.0


# -- search -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [4_000_000, 50])
def test_search_is_what_brute_force_gives(tmp_path, monkeypatch, cells):
    monkeypatch.setattr(search, "CELLS", cells)
    monkeypatch.setattr(search, "BLOCK_QUERIES", 16)
    vectors, queries = random_units(200, 12), random_units(50, 12, seed=9)
    index = written(tmp_path / "i", text_only(vectors), range(200))
    found = index.search(queries, 7)
    expected = brute_force(vectors, queries, 7)
    np.testing.assert_array_equal(found.positions, expected)
    assert (found.positions.dtype, found.scores.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(queries @ vectors.T, expected, 1), atol=1e-6
    )


@pytest.mark.parametrize("as_string", [False, True])
def test_ids_keep_their_type(tmp_path, as_string):
    ids = [str(at * 3) if as_string else at * 3 for at in range(20)]
    vectors = random_units(20, 5)
    index = written(tmp_path / "i", text_only(vectors), ids)
    found = index.search(vectors[4:5], 2, exclude=[ids[4]])
    expected = brute_force(vectors, vectors[4:5], 2, [4])[0]
    assert found.ids(0) == [ids[at] for at in expected]
    score = float(found.scores[0, 0])
    assert found.neighbours(0)[0] == Neighbour(ids[expected[0]], score, 1)
    np.testing.assert_allclose(index.vector(ids[7]), vectors[7:8], atol=1e-6)
    other = 12 if as_string else "12"
    assert index.vector(other) is None


@pytest.mark.parametrize("batch", [1, 7, 60])
def test_ties_stand_in_the_order_of_the_index(tmp_path, batch):
    # Twenty contents, each at forty scattered rows: ties run far past what is asked for.
    contents = random_units(20, 33)
    which = np.random.default_rng(3).integers(0, 20, 800)
    index = written(tmp_path / "i", text_only(contents[which]), range(800))
    queries = contents[which[:60]]
    expected = brute_force(contents[which], queries, 5)
    for start in range(0, 60, batch):
        found = index.search(queries[start : start + batch], 5)
        np.testing.assert_array_equal(found.positions, expected[start : start + batch])


def test_a_product_is_left_out_amid_its_duplicates(tmp_path):
    contents = random_units(10, 8)
    which = np.random.default_rng(4).integers(0, 10, 300)
    vectors = contents[which]
    index = written(tmp_path / "i", text_only(vectors), [f"p{at}" for at in range(300)])
    own = np.arange(300)
    found = index.search(vectors, 4, exclude=[f"p{at}" for at in own])
    np.testing.assert_array_equal(found.positions, brute_force(vectors, vectors, 4, own))
    assert not (found.positions == own[:, None]).any()


def test_exclusion_is_query_by_query(tmp_path):
    vectors = random_units(6, 4)
    index = written(tmp_path / "i", text_only(vectors), list("abcdef"))
    found = index.search(vectors[[2, 2, 2]], 1, exclude=["c", None, "not there"])
    assert found.ids(0) != ["c"]
    assert found.ids(1) == found.ids(2) == ["c"]


def test_more_than_there_are(tmp_path):
    vectors = random_units(3, 4)
    index = written(tmp_path / "i", text_only(vectors), [10, 20, 30])
    found = index.search(vectors[:2], 5, exclude=[10, None])
    np.testing.assert_array_equal(found.positions, brute_force(vectors, vectors[:2], 5, [0, -1]))
    assert found.positions[0].tolist()[2:] == [-1, -1, -1]
    assert found.scores[0].tolist()[2:] == [0, 0, 0]
    assert sorted(found.ids(0)) == [20, 30]
    assert len(found.neighbours(1)) == 3


def test_a_query_of_zeros_has_no_neighbours(tmp_path):
    vectors = random_units(5, 4)
    index = written(tmp_path / "i", text_only(vectors), range(5))
    found = index.search(np.vstack([vectors[:1], np.zeros_like(vectors[:1]), vectors[3:4]]), 2)
    assert len(found) == 3
    assert found.positions[[0, 2], 0].tolist() == [0, 3]
    assert found.positions[1].tolist() == [-1, -1]
    assert found.scores[1].tolist() == [0, 0]
    assert found.ids(1) == []


def test_no_queries_give_no_rows(tmp_path):
    index = written(tmp_path / "i", text_only(random_units(5, 4)), range(5))
    found = index.search(np.zeros((0, 4), dtype=np.float32), 3, exclude=[])
    assert found.positions.shape == found.scores.shape == (0, 3)


def test_a_search_that_makes_no_sense_is_refused(tmp_path):
    vectors = random_units(5, 4)
    index = written(tmp_path / "i", text_only(vectors), range(5))
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        index.search(vectors, 0)
    with pytest.raises(ValueError, match=r"queries must be \(q, 4\), not \(5, 3\)"):
        index.search(vectors[:, :3], 1)
    with pytest.raises(ValueError, match="1 ids to exclude for 5 queries"):
        index.search(vectors, 1, exclude=[0])


# -- open and check -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "text-00000003", text_only(random_units(50, 16)), range(50)).folder


def test_no_index_there(tmp_path):
    with pytest.raises(StoreError, match=r"no index at .*absent; run `vitrina index`"):
        VectorIndex.open(tmp_path / "absent")


@pytest.mark.parametrize("name", ["index.faiss", "ids.parquet", "index.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage", "empty"])
def test_a_damaged_file_is_named(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        cut = content[: len(content) // 2]
        path.write_bytes({"cut": cut, "garbage": b"\xff" * 200, "empty": b""}[damage])
    with pytest.raises(StoreError, match="text-00000003"):
        VectorIndex.open(folder)


def test_ids_and_index_of_different_sizes(folder):
    pq.write_table(pa.table({"product_id": list(range(49))}), folder / "ids.parquet")
    with pytest.raises(StoreError, match=r"text-00000003 .* 50 vectors .* 49 ids .*vitrina index"):
        VectorIndex.open(folder)


def test_an_index_that_its_card_does_not_describe(folder):
    other = faiss.IndexFlatIP(8)
    other.add(random_units(50, 8))
    faiss.write_index(other, str(folder / "index.faiss"))
    with pytest.raises(StoreError, match=r"index\.faiss is not what index\.json describes"):
        VectorIndex.open(folder)


@pytest.mark.parametrize("card", [{}, [], {"modalities": ["smell"]}])
def test_a_card_that_says_too_little(folder, card):
    (folder / "index.json").write_text(json.dumps(card))
    with pytest.raises(StoreError, match=r"index\.json lacks or misstates"):
        VectorIndex.open(folder)


def test_fingerprints_guard_the_index(folder):
    index = VectorIndex.open(folder)
    index.check({TEXT: "aaaa"})
    index.check({})
    with pytest.raises(FingerprintError, match=r"aaaa.*zzzz.*run `vitrina index`"):
        index.check({TEXT: "zzzz"})
    with pytest.raises(FingerprintError, match="no image vectors, only text"):
        index.check({TEXT: "aaaa", IMAGE: "bbbb"})


def test_a_disk_that_is_full_at_the_last_byte_is_noticed():
    built = build_flat(text_only(random_units(3, 4)), pa.array([1, 2, 3]), weights=(1.0,))
    with pytest.raises(OSError, match="No space left on device"):
        build._write(built.index, Path("/dev/full"))
