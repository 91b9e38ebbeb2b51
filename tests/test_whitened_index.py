"""A store's index of vectors in a narrow cone: built whitened, updated, searched, and an older one
that whitens nothing."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.catalogue_files import jsonl
from support.resealing import reseal
from support.shelf import Shelf, Words
from support.vectors import TEXT, fused
from vitrina import api
from vitrina.errors import StoreError
from vitrina.index.fuse import Fusion
from vitrina.index.results import Effort
from vitrina.pipelines.index import job
from vitrina.pipelines.train.base_models import NeighbourVoter
from vitrina.store.gather import Gathered

TITLES = {at: f"t{at % 130}" for at in range(140)}
RULE = {"rule": {"kind": "uniform", "k": 3, "temperature": 0.1, "prior": 0.5}}


class Cone(Words):
    """An encoder whose vectors share most of their length."""

    def vector(self, text):
        own = super().vector(text)
        if not own.any():
            return own
        out = own * np.geomspace(1, 0.2, self.dim) + 1.5 * np.eye(self.dim)[0]
        return (out / np.linalg.norm(out)).astype(np.float32)


class ConeShelf(Shelf):
    """A store of texts in a cone."""

    def __init__(self, folder, patch):
        super().__init__(folder, patch)
        self.words = Cone()
        self.put(TITLES)

    def embed(self):
        """As `Shelf.embed`, with one of three categories for each title."""
        rows = [
            {"product_id": key, "title": title, "category_id": sum(title.encode()) % 3}
            for key, title in self.titles.items()
        ]
        catalogue = api.Catalogue.read(jsonl(self.folder / "goods.jsonl", *rows))
        options = {"text": self.words.card.model, "image": "none", "prune": True}
        api.embed(catalogue, self.store, accept_changes=True, **options)

    def vectors(self, titles):
        """As the index compares them: whitened in float64, if it whitens."""
        kept = self.words.encode(titles).astype(np.float16)
        whitening = api.open_index(self.store).vectors.fusion.whitenings[0]
        if whitening is None:
            return fused([kept])
        return fused([(kept.astype(np.float64) - whitening.centre) @ whitening.factor])


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    return ConeShelf(tmp_path, monkeypatch)


@pytest.fixture
def older(shelf, monkeypatch):
    """The same with an index of an earlier version."""
    with monkeypatch.context() as patch:
        patch.setattr(job.Fusion, "fit", lambda _: Fusion.plain((1.0,)))
        shelf.index()
    edit_card(shelf, {})
    return shelf


def edit_card(shelf, changes):
    """Change the card by hand; without a word of what is whitened if nothing is to be."""
    path = shelf.path / shelf.files()["index.json"]
    told = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: one for key, one in told.items() if one != []}))
    reseal(shelf.path)


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat"])
def test_updates_keep_the_whitening(shelf, factory, monkeypatch):
    monkeypatch.setattr(job, "DELTA_ROWS", 4)
    shelf.check_update(shelf.index(factory=factory), "built")
    first = shelf.files()
    assert shelf.card()["whitened"] == ["text"]
    shelf.put({200: "new", 201: "zero", 5: "else", 6: None})
    shelf.check_update(shelf.index(), "added", added=1, changed=1, removed=1)
    shelf.put({at: f"more{at}" for at in range(210, 216)})
    shelf.check_update(shelf.index(), "folded", added=6)
    assert shelf.card()["whitened"] == ["text"]
    files = shelf.files()
    assert files["whitening.safetensors"] == first["whitening.safetensors"]
    # Built anew, from the products of today.
    shelf.check_update(shelf.index(rebuild=True), "built")
    assert shelf.files()["whitening.safetensors"] != first["whitening.safetensors"]


def test_many_small_files_of_rows_become_one(shelf, monkeypatch):
    monkeypatch.setattr(job, "ROW_FILES", 2)
    shelf.index()
    for number in range(3):
        shelf.put({200 + number: f"new{number}"})
        shelf.check_update(shelf.index(), "added", added=1)
    assert sum(name.startswith("rows-") for name in shelf.files()) == 2


def test_an_index_behind_its_store_is_searched(shelf):
    shelf.index()
    shelf.put({3: None, 200: "new"})
    index = api.open_index(shelf.store)
    assert (index.behind.added, index.behind.removed) == (1, 1)
    expected = {key: title for key, title in shelf.known().items() if key != 200}
    shelf.check(index.vectors.with_effort(Effort(1, 200)), expected)


def test_new_products_and_texts_are_searched_as_those_of_the_index(shelf, tmp_path, monkeypatch):
    shelf.index()
    for module in ("common.batch_encoder", "index.query_encoder"):
        monkeypatch.setattr(f"vitrina.pipelines.{module}.encoder_of", lambda *_: shelf.words)
    titles = {900: "something", 7: "t7", 901: "t8"}
    rows = [{"product_id": at, "title": title} for at, title in titles.items()]
    batch = api.open_batch(jsonl(tmp_path / "batch.jsonl", *rows), shelf.store)
    api.neighbours_to(shelf.store, batch, tmp_path / "near.parquet", k=3)
    found = pq.read_table(tmp_path / "near.parquet").to_pylist()
    index = api.open_index(shelf.store)
    ids = index.vectors.product_ids.to_pylist()
    base = shelf.vectors([shelf.titles[at] for at in ids])
    for number, (query, title) in enumerate(titles.items()):
        scores = base @ shelf.vectors([title])[0]
        scores[[at == query for at in ids]] = -2
        best = np.argsort(-scores, kind="stable")[:3]
        near = found[3 * number : 3 * number + 3]
        assert [one["product_id"] for one in near] == [ids[at] for at in best]
        np.testing.assert_allclose([one["score"] for one in near], scores[best], atol=2e-3)
    near = index.search(text="t7", k=2)
    assert [one.product_id for one in near] == [7, 137]
    assert near[0].score == pytest.approx(1, abs=1e-3)


def test_damaged_arrays_end_in_one_line(shelf):
    shelf.index()
    path = shelf.path / shelf.files()["whitening.safetensors"]
    whole = path.read_bytes()
    for content in (whole[:-5], b"", whole.replace(whole[-400:-300], b"\xff" * 100)):
        path.write_bytes(content)
        reseal(shelf.path)
        with pytest.raises(StoreError, match=r"whitening\.safetensors.*--rebuild") as caught:
            api.open_index(shelf.store)
        assert "\n" not in str(caught.value)
        path = shelf.path / shelf.files()["whitening.safetensors"]
    edit_card(shelf, {"whitened": ["image"]})
    with pytest.raises(StoreError, match=r"index\.json .*it whitens image vectors"):
        api.open_index(shelf.store)
    shelf.check_update(shelf.index(rebuild=True), "built")


# -- an index of an earlier version ---------------------------------------------------------------


def test_an_older_index_goes_on_as_it_is(older):
    assert "whitening.safetensors" not in older.files()
    older.check(api.open_index(older.store).vectors)
    before = older.files()
    # There is nothing to do.
    older.index()
    assert older.files() == before
    older.put({200: "new", 5: "else", 6: None})
    older.check_update(older.index(), "added", added=1, changed=1, removed=1)
    assert "whitened" not in older.card()
    # Another goal, or too many changes, do not change its scores either.
    older.check_update(older.index(recall=0.5), "built")
    older.put(dict.fromkeys(range(10, 40)))
    older.check_update(older.index(), "built")
    assert "whitened" not in older.card()
    older.check_update(older.index(rebuild=True), "built")
    assert older.card()["whitened"] == ["text"]


def test_a_vote_is_chosen_for_scores_of_one_kind(older, caplog):
    edit_card(older, {"vote": RULE})
    assert older.index(recall=0.5).card["vote"] == RULE
    with caplog.at_level("INFO", "vitrina"):
        assert "vote" not in older.index(rebuild=True).card
    assert "`vitrina index --evaluate`" in caplog.text
    edit_card(older, {"vote": RULE})
    assert older.index(rebuild=True).card["vote"] == RULE


def test_a_few_products_are_not_whitened(tmp_path, monkeypatch):
    shelf = ConeShelf(tmp_path, monkeypatch)
    shelf.put(dict.fromkeys(range(60)))
    index = shelf.index()
    assert index.card["whitened"] == []
    assert index.vectors.fusion.whitenings == (None,)
    # With more of them it is.
    shelf.put({at: f"m{at}" for at in range(500, 600)})
    index = shelf.index()
    shelf.check_update(index, "built")
    assert index.card["whitened"] == ["text"]
    assert index.vectors.modalities == (TEXT,)


# -- the vote of a head ---------------------------------------------------------------------------


def test_a_vote_is_whitened_by_its_voters_alone():
    rows = np.arange(0, 300, 2)
    vectors = np.stack([Cone().vector(f"{at}") for at in range(300)])
    other = vectors.copy()
    other[1::2] = np.eye(16)[3]
    voters = [
        NeighbourVoter(
            Gathered((TEXT,), (one,), (np.ones(300, dtype=bool),)), np.arange(300) % 3, rows, 3
        )
        for one in (vectors, other)
    ]
    first, second = (one.vectors.fusion.whitenings[0] for one in voters)
    assert np.array_equal(first.factor, second.factor)
    assert np.array_equal(first.centre, second.centre)
    labels, scores = voters[0].near(voters[0].gathered, np.array([1, 3]))
    white = fused([(vectors.astype(np.float64) - first.centre) @ first.factor])
    expected = white[[1, 3]] @ white[rows].T
    order = np.argsort(-expected, axis=1)[:, : labels.shape[1]]
    assert np.array_equal(labels, rows[order] % 3)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, 1), atol=1e-5)


def vote_of(shelf):
    (entry,) = shelf.store.manifest.models.values()
    (path,) = (one.path for one in entry.files if one.path.endswith("model.json"))
    return json.loads((shelf.path / path).read_text())["vote"]


@pytest.mark.slow
def test_a_head_and_its_index_vote_by_scores_of_one_kind(older, tmp_path, monkeypatch):
    shelf = older
    monkeypatch.setattr("vitrina.pipelines.common.batch_encoder.encoder_of", lambda *_: shelf.words)

    def classify():
        batch = api.open_batch(
            jsonl(tmp_path / "b.jsonl", {"product_id": 9, "title": "t3"}), shelf.store
        )
        return api.classify(batch, shelf.store).to_arrow().to_pylist()[0]

    # The index that will vote whitens nothing.
    api.train(shelf.store, "logistic", features="text", fusion="knn")
    assert vote_of(shelf)["whitened"] == []
    assert classify()["neighbours"][0]["product_id"] == 3
    shelf.index(rebuild=True)
    words = "with the vote of an index that whitens no vectors, and the index at .*text-.* whitens "
    with pytest.raises(StoreError, match=words + "text vectors; run `vitrina train` again"):
        classify()
    api.train(shelf.store, "logistic", features="text", fusion="knn")
    assert vote_of(shelf)["whitened"] == ["text"]
    assert classify()["neighbours"][0]["score"] == pytest.approx(1, abs=2e-3)


def test_without_an_index_a_vote_is_as_that_of_a_new_one(shelf):
    api.train(shelf.store, "logistic", features="text", fusion="knn")
    assert vote_of(shelf)["whitened"] == ["text"]
    assert shelf.index().card["whitened"] == ["text"]
