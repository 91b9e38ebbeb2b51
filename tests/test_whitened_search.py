"""Search over whitened vectors, against rows that are whitened one by one in float64."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from support.vectors import IMAGE, TEXT, built, check_found, entries_of, fused, units
from vitrina import whitening
from vitrina.errors import StoreError
from vitrina.index.build import Goal, build
from vitrina.index.entries import Entries
from vitrina.index.exact import ExcludedRows, exact_search
from vitrina.index.fuse import LEAST_ROWS, Fusion
from vitrina.index.results import Effort
from vitrina.index.score import rows_known, score_pairs
from vitrina.index.whitened import read_whitenings, write_whitenings
from vitrina.store.rows import Rows


def cone(rows, dim, seed=0, dtype=np.float16):
    """Unit vectors about one direction, which differ along a few directions more than others."""
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal((rows, dim)) * np.geomspace(0.3, 0.02, dim)
    raw = spread + np.eye(dim)[0] * 2
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(dtype)


def straight(whitening, vectors):
    """Whitened vectors of unit length in float64, rows of zeros as they are."""
    centred = vectors.astype(np.float64) - whitening.centre
    factor = whitening.factor.astype(np.float64)
    out = centred @ factor if factor.ndim > 1 else centred * factor
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(vectors.any(axis=1, keepdims=True), out, 0)


class Case:
    """Texts in a cone, photos in none; some products lack either, a text is all zeros, and many
    are equal."""

    def __init__(self, rows=700, dtype=np.float16, dims=(24, 8)):
        text, image = cone(rows, dims[0], 1, dtype), units(rows, dims[1], 2).astype(dtype)
        copies = np.random.default_rng(3).integers(0, rows, rows // 3)
        text[: len(copies)], image[: len(copies)] = text[copies], image[copies]
        text[11] = 0
        numbers = np.arange(rows)
        self.vectors = [text, image]
        self.present = [numbers % 7 > 0, numbers % 3 > 0]
        self.rows = Rows.of_arrays((TEXT, IMAGE), self.vectors, self.present)
        self.fusion = Fusion.fit(self.rows)
        self.fused = self.fusion.over(self.rows)
        text_there = self.present[0] & text.any(axis=1)
        self.base = fused(
            [straight(self.fusion.whitenings[0], text), image], [text_there, self.present[1]]
        )


@pytest.fixture(scope="module", params=[np.float16, np.float32])
def case(request):
    return Case(dtype=request.param)


# -- what is fused --------------------------------------------------------------------------------


def test_only_a_cone_is_whitened(case):
    assert case.fused.whitened == (TEXT,)
    assert case.fusion.whitenings[1] is None
    few = case.rows.take(np.arange(LEAST_ROWS))
    assert Fusion.fit(few).whitenings == (None, None)
    assert [one is None for one in Fusion.fit(few, (IMAGE,)).whitenings] == [True, False]


def test_missing_texts_and_zeros_are_not_estimated_from(case):
    there = case.present[0] & case.vectors[0].any(axis=1)
    only = Fusion.fit(Rows.of_arrays((TEXT,), [case.vectors[0][there]], [there[there]]))
    assert np.array_equal(only.whitenings[0].factor, case.fusion.whitenings[0].factor)


def test_fused_vectors_are_the_whitened_ones(case):
    at = np.array([5, 0, 11, 21, 20, 5])
    read = case.fused.read(at)
    np.testing.assert_allclose(read, case.base[at], atol=2e-5)
    assert not read[3].any()
    given = [one.astype(np.float32)[at] for one in case.vectors]
    again = case.fusion.fuse(given, [mask[at] for mask in case.present])
    assert np.array_equal(again, read)


def test_a_row_does_not_depend_on_its_place_in_a_batch(case):
    at = np.arange(300)
    whole = case.fused.read(at), case.fused.projected(case.fused.read(at))
    for start, stop in ((0, 1), (3, 10), (297, 300)):
        part = case.fused.read(at[start:stop])
        assert np.array_equal(part, whole[0][start:stop])
        assert np.array_equal(case.fused.projected(part), whole[1][start:stop])


def test_projected_queries_and_centred_rows_have_the_same_products(case):
    at = np.arange(len(case.base))
    queries = case.fused.read(at[:40])
    ours = case.fused.projected(queries) @ case.fused.centred(at).T
    np.testing.assert_allclose(ours, case.base[:40] @ case.base.T, atol=2e-5)


def test_longer_vectors_are_scaled_number_by_number(monkeypatch):
    monkeypatch.setattr(whitening, "WIDEST_MATRIX", 20)
    case = Case(dims=(24, 8))
    assert case.fusion.whitenings[0].factor.shape == (24,)
    np.testing.assert_allclose(case.fused.read(np.arange(60)), case.base[:60], atol=2e-5)
    queries = case.fused.read(np.arange(20))
    found = exact_search(case.fused, queries, np.arange(700), 9)
    check_scores(case, found, queries)


# -- exact scores ---------------------------------------------------------------------------------


def check_scores(case, found, queries):
    positions, scores = found
    expected = np.take_along_axis(queries.astype(np.float64) @ case.base.T, positions, 1)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_pairs_are_scored_as_whitened_vectors(case):
    queries = case.base[::10].astype(np.float32)
    positions = np.random.default_rng(0).integers(-1, len(case.base), (len(queries), 50))
    positions[:, :2] = [11, 21]
    scores = score_pairs(case.fused, queries, positions)
    nothing = (positions < 0) | ~case.base.any(axis=1)[positions]
    expected = np.take_along_axis(queries @ case.base.T, np.maximum(positions, 0), 1)
    np.testing.assert_allclose(scores[~nothing], expected[~nothing], atol=1e-5)
    assert np.isneginf(scores[nothing]).all()
    assert rows_known(case.fused).tolist() == np.flatnonzero(case.base.any(axis=1)).tolist()


@pytest.mark.parametrize("block_rows", [33, 8192])
def test_exact_search_is_the_reference(case, monkeypatch, block_rows):
    monkeypatch.setattr("vitrina.index.exact.BLOCK_ROWS", block_rows)
    known = np.flatnonzero(case.base.any(axis=1))
    queries = case.base[known[::9]].astype(np.float32)
    shops = np.arange(len(case.base)) % 5
    barred = ExcludedRows([shops], [np.full(len(queries), 3)])
    positions, scores = exact_search(case.fused, queries, known, 12, barred)
    bars = np.broadcast_to(shops == 3, (len(queries), len(shops)))
    found = built(case.rows).index.search(queries[:1], 1)
    found = replace(found, positions=positions, scores=scores)
    check_found(found, case.base, queries, 12, barred=bars, at=known)


def test_equals_tie_to_the_last_bit_and_score_one():
    """Rows that are equal, at any place of a batch of any size."""
    text = cone(3000, 40)
    text[::2] = text[0]
    rows = Rows.of_arrays((TEXT,), [text], [np.ones(3000, dtype=bool)])
    fused = Fusion.fit(rows, (TEXT,)).over(rows)
    assert len(set(fused.lengths[0][::2].tolist())) == 1
    for queries in (fused.read(np.arange(1)), fused.read(np.arange(37))):
        positions, scores = exact_search(fused, queries, np.arange(3000), 5)
        assert positions[0].tolist() == [0, 2, 4, 6, 8]
        assert len(set(scores[0].tolist())) == 1
        assert scores[0, 0] == pytest.approx(1, abs=1e-6)


# -- indexes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat", "OPQ16_32,IVF8,PQ16x4fs"])
def test_at_full_effort_every_kind_finds_what_exact_search_does(case, factory):
    made = build(
        case.rows, entries_of(range(700), (TEXT, IMAGE)), Goal(factory=factory), fusion=case.fusion
    )
    index = made.index.with_effort(Effort(made.index.engine.most_effort, 700))
    order = made.index.product_ids.to_numpy()
    assert 11 not in order[~case.present[1][order]]
    base = case.base[order]
    queries = np.vstack([base[::19], case.base[case.base.any(axis=1)][:5]]).astype(np.float32)
    check_found(index.search(queries, 8), base, queries, 8)
    lengths = made.entries.lengths[TEXT]
    assert np.array_equal(lengths, case.fused.lengths[0][order])
    # Some later rows as a delta, and dead ones.
    whole = replace(
        index,
        rows=case.fused.take(np.concatenate([order, order[:50]])),
        product_ids=pa.array(range(len(order) + 50)),
        dead=np.arange(len(order) + 50) < 40,
    )
    base = np.vstack([base, base[:50]])
    live = np.arange(40, len(base))
    check_found(whole.search(queries, 8), base, queries, 8, at=live)


def test_recall_is_measured_on_whitened_vectors(case):
    made = build(
        case.rows,
        entries_of(range(700), (TEXT, IMAGE)),
        Goal(recall=0.5, factory="IVF8,Flat"),
        fusion=case.fusion,
    )
    order = made.index.product_ids.to_numpy()
    probe = made.probe
    np.testing.assert_allclose(probe.queries, case.base[order[probe.own]], atol=2e-5)
    expected = np.take_along_axis(
        probe.queries.astype(np.float64) @ case.base[order].T, probe.positions, 1
    )
    np.testing.assert_allclose(probe.scores, expected, atol=1e-5)


# -- files ----------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path, case):
    path = tmp_path / "whitening.safetensors"
    write_whitenings(path, case.fused.whitenings)
    return path


def test_what_is_written_is_read(saved, case):
    (read,) = read_whitenings(saved, {TEXT: 24}, "mend it").values()
    assert np.array_equal(read.centre, case.fusion.whitenings[0].centre)
    assert np.array_equal(read.factor, case.fusion.whitenings[0].factor)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text.centre": np.full(24, np.nan, np.float32)}, "text.centre has numbers that are no"),
        ({"text.factor": np.full((24, 24), np.inf, np.float32)}, "text.factor has numbers that"),
        ({"text.factor": np.eye(24) * 1e7}, "text.factor is F64"),
        ({"text.factor": np.eye(23, dtype=np.float32)}, r"not F32 of \[24, 24\]"),
        ({"text.factor": np.ones(24, np.float32)}, r"not F32 of \[24, 24\]"),
        ({"image.centre": np.zeros(8, np.float32)}, "an unknown array 'image.centre'"),
        ({"text.centre": None}, "no array 'text.centre'"),
    ],
)
def test_arrays_that_are_no_whitening_are_refused(saved, change, reason):
    tensors = {**load_file(saved), **change}
    save_file({name: one for name, one in tensors.items() if one is not None}, saved)
    with pytest.raises(StoreError, match=rf"whitening\.safetensors is damaged \(.*{reason}"):
        read_whitenings(saved, {TEXT: 24}, "mend it")


def test_a_file_that_is_cut_or_missing_is_named(saved):
    saved.write_bytes(saved.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"whitening\.safetensors is damaged.*; mend it"):
        read_whitenings(saved, {TEXT: 24}, "mend it")
    saved.unlink()
    with pytest.raises(StoreError, match=r"whitening\.safetensors is missing; mend it"):
        read_whitenings(saved, {TEXT: 24}, "mend it")


def test_lengths_are_kept_with_the_rows(tmp_path):
    one, other = (entries_of(range(start, start + 3)) for start in (0, 5))
    lengths = np.array([0.5, 0, 2], dtype=np.float32)
    one, other = (replace(part, lengths={TEXT: lengths}) for part in (one, other))
    for number, part in enumerate((one, other.take(np.array([2, 0])))):
        part.write(tmp_path / f"{number}.parquet")
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    read = Entries.read(paths, (TEXT,), "mend it", (TEXT,))
    assert read.lengths[TEXT].tolist() == [0.5, 0, 2, 2, 0.5]
    assert one.followed_by(other).lengths[TEXT].tolist() == [0.5, 0, 2] * 2
    # Without whitening they are not looked at.
    assert Entries.read(paths, (TEXT,), "mend it").lengths == {}


@pytest.mark.parametrize("number", [np.nan, np.inf, -1, 1e-30, 1e20])
def test_numbers_that_are_no_lengths_are_refused(tmp_path, number):
    entries = replace(entries_of(range(2)), lengths={TEXT: np.array([1, number], dtype=np.float32)})
    entries.write(tmp_path / "rows.parquet")
    with pytest.raises(StoreError, match=r"rows\.parquet is damaged .*text_length.*; mend it"):
        Entries.read([tmp_path / "rows.parquet"], (TEXT,), "mend it", (TEXT,))
