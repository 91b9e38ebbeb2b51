"""The public store: named by its place everywhere, found again when mistyped, jobs as methods."""

from __future__ import annotations

import inspect
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitrina as vt
from vitrina import TrainOptions
from vitrina.api.keywords import with_keywords
from vitrina.api.methods import as_method, method
from vitrina.errors import CatalogueError
from vitrina.pipelines.index import query_encoder
from vitrina.store.near_stores import near_stores, no_store, similar_names
from vitrina.types import Features

FUNCTIONS = [
    name
    for name in vt.__all__
    if inspect.isfunction(getattr(vt, name))
    and "store" in inspect.signature(getattr(vt, name)).parameters
]


@pytest.fixture
def shelf(embedded_sample, tmp_path):
    """The folder of an embedded store, for a test that changes it."""
    return Path(shutil.copytree(embedded_sample, tmp_path / "shelf"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_a_store_is_its_method(name):
    function, made = getattr(vt, name), getattr(vt.Store, name)
    own = [one for one in inspect.signature(function).parameters.values() if one.name != "store"]
    _, *parameters = inspect.signature(made).parameters.values()
    if name == "benchmark":
        own = [one for one in own if one.name != "catalogues"]
    assert parameters == own
    assert "store : " not in made.__doc__
    for one in parameters:
        assert f"\n{one.name} : " in f"\n{made.__doc__}" or one.name == "fields"
    assert made.__qualname__ == f"Store.{name}"


@pytest.mark.parametrize("kind", [str, Path, lambda place: f"file://{place}"])
def test_a_store_is_named_by_a_path_or_a_url(embedded_sample, kind):
    store = vt.Store.open(embedded_sample)
    place = kind(embedded_sample)
    assert vt.describe(place) == vt.describe(store) == store.describe()
    assert vt.vectors(place, "text").ids.equals(store.vectors("text").ids)
    assert vt.verify(place).ok


@pytest.mark.parametrize("wrong", [None, 3, object()])
def test_what_names_no_store_is_refused(wrong):
    with pytest.raises(vt.OptionError, match="store must be a path, a URL or a Store, not "):
        vt.describe(wrong)


@pytest.mark.parametrize("wrong", [3, [3], object()])
def test_what_is_no_table_is_refused(tmp_path, wrong):
    with pytest.raises(CatalogueError, match=r"int is no|object is no|dictionar"):
        vt.benchmark(tmp_path, wrong)
    with pytest.raises(CatalogueError, match=r"int is no|object is no|dictionar"):
        vt.embed(wrong, tmp_path / "shelf")


def test_none_is_refused_as_a_catalogue(tmp_path):
    with pytest.raises(vt.OptionError, match="catalogues must be files, tables or Catalogues"):
        vt.benchmark(tmp_path, ["goods.csv", None])
    with pytest.raises(vt.OptionError, match="catalogue must be a file, a table or a Catalogue"):
        vt.embed(None, tmp_path / "shelf")


def test_a_benchmark_has_either_catalogues_or_a_store(tmp_path, sample, embedded_sample):
    for given in ({}, {"catalogues": sample.train, "store": embedded_sample}):
        with pytest.raises(vt.OptionError, match="catalogues must be given, or a store"):
            vt.benchmark(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_swapped_arguments_are_told(sample, embedded_sample):
    store = vt.Store.open(embedded_sample)
    with pytest.raises(vt.OptionError, match="catalogue comes before the store"):
        vt.classify(store, vt.Catalogue.read(sample.test))
    with pytest.raises(vt.OptionError, match="comes before the store"):
        vt.classify(store, store)
    with pytest.raises(vt.VitrinaError, match="is a file; give a directory"):
        vt.embed(embedded_sample, sample.train)


def made_up(*places):
    for place in places:
        place.mkdir(parents=True)
        (place / "store.json").write_text("{}")


def test_a_mistyped_place_names_stores_that_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_up(tmp_path / "shelf", tmp_path / "shops/Shelf2", tmp_path / "other")
    (tmp_path / "shelves").mkdir()
    for wrong, right in {
        "shelv": ["shelf"],
        "SHELF": ["shelf"],
        "shpos/shelf2": ["shops/Shelf2"],
        f"{tmp_path}/shelg": [f"{tmp_path}/shelf"],
        "shops": ["shops/Shelf2"],
        "shelf/products": ["shelf"],
        "shelf/products/new": ["shelf"],
        "warehouse": [],
        f"file://{tmp_path}/shelv": [f"file://{tmp_path}/shelf"],
    }.items():
        assert near_stores(wrong) == right, wrong
        with pytest.raises(vt.VitrinaError) as refused:
            vt.Store.open(wrong)
        said = str(refused.value)
        assert said.startswith(f"{wrong} is not a store")
        assert f"did you mean {right[0]}?" in said if right else "did you mean" not in said
        ways = (
            f"`vitrina embed CATALOGUE --store {wrong}`",
            f"Store.create({wrong!r})",
            f"Store.open({wrong!r}, create=True)",
        )
        assert [way for way in ways if way not in said] == [] or wrong == "shops"
        assert "\n" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other",
        "shelf",
        "shelves",
        "shops",
    ]


def test_the_reason_why_a_place_is_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("goods.csv").write_text("product_id,title")
    Path("bare").mkdir()
    made = "`vitrina embed CATALOGUE --store"
    for place, said in {
        "nowhere": f"nowhere is not a store (there is no such directory); {made} nowhere` makes",
        "bare": f"bare is not a store (it is empty); {made} bare` makes one",
        "goods.csv": "goods.csv is not a store (it is a file); give another directory",
        str(tmp_path): f"{tmp_path} is not a store (it holds other files); give another directory",
        Path("s3://shops/shelf"): "s3:/shops/shelf is not a store; give a URL as text, not as a P",
    }.items():
        assert no_store(place).startswith(said)
    with pytest.raises(vt.VitrinaError, match="the name of the store is empty"):
        vt.Store.open("", create=True)


def test_a_place_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert vt.Store.create("~/shelf").place == str(tmp_path / "shelf")
    assert vt.describe("~/shelf")["products"] == 0
    assert near_stores("~/shelv") == ["~/shelf"]


def test_a_bucket_is_looked_through_too(monkeypatch):
    import fsspec

    files = fsspec.filesystem("memory")
    monkeypatch.setattr(type(files), "store", {})
    monkeypatch.setattr(type(files), "pseudo_dirs", [""])
    files.pipe_file("/shops/shelf/store.json", b"{}")
    files.pipe_file("/shops/shells/notes.txt", b"")
    with pytest.raises(vt.VitrinaError, match=r"did you mean memory://shops/shelf\? "):
        vt.Store.open("memory://shops/shelv")
    assert near_stores("nosuch://shops/shelv") == []


def test_similar_names_are_found_whatever_their_case():
    names = ["Shelf", "shelf", "shell", "unlike"]
    assert similar_names("SHELF", names) == ["Shelf", "shelf", "shell"]


def test_a_store_is_created_on_purpose(tmp_path):
    place = tmp_path / "new/shelf"
    store = vt.Store.create(place)
    assert type(store) is vt.Store
    assert (place / "store.json").is_file()
    assert vt.describe(place)["products"] == 0
    assert vt.verify(store).ok
    with pytest.raises(vt.VitrinaError, match=r"is a store already; open it with Store\.open\('"):
        vt.Store.create(place)
    assert vt.Store.create(place, exist_ok=True).manifest == store.manifest
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(vt.VitrinaError, match="holds other files already"):
        vt.Store.create(tmp_path / "full")


def test_embed_creates_the_store_and_reads_a_file_as_it_did_before(tmp_path, sample):
    place = tmp_path / "shelf"
    with pytest.raises(vt.VitrinaError, match=r"nowhere\.parquet"):
        vt.embed("nowhere.parquet", place)
    assert not place.exists()
    models = {"text": "lexical", "image": "none", "max_failures": 0.5}
    reading = vt.ReadingOptions(columns=vt.Columns(shop="none"))
    report = vt.embed(sample.train, place, images=sample.images, reading=reading, **models)
    assert report.new == report.products > 0
    store = vt.Store.open(place)
    saved = store.manifest.reading["catalogue"]
    assert saved["images"] == str(sample.images)
    assert saved["columns"]["shop"] == ""
    again = store.embed(sample.train, max_failures=0.5)
    assert (again.new, again.unchanged) == (0, report.products)
    assert store.manifest.reading["catalogue"] == saved
    with (
        pytest.raises(vt.OptionError, match=r"^images applies to a file"),
        closing(store.open_batch(sample.train, complete=True)) as opened,
    ):
        store.embed(opened, images="none")


def test_the_store_shows_what_its_methods_wrote(shelf, sample):
    store, before = vt.Store.open(shelf), vt.Store.open(shelf)
    assert store.build_index("text").card["rows"] == len(store.products)
    assert store.train("logistic", features="text", epochs=2).classes > 1
    predictions = store.classify(sample.test, top_k=2)
    assert predictions.num_rows == 18
    assert predictions == vt.classify(store.open_batch(sample.test), shelf, top_k=2)
    commit = store.manifest.sequence
    assert commit == vt.Store.open(shelf).manifest.sequence > before.manifest.sequence
    before.refresh()
    assert before.manifest == store.manifest
    # A repair by another object of the same store is shown too.
    part = store.manifest.spaces["text-lexical"].shards[0]
    (shelf / part.path).unlink()
    assert store.verify(repair=True).repaired == [part.path]
    assert store.manifest.sequence > commit


def test_neighbours_by_text_product_and_image(shelf, tmp_path):
    store = vt.Store.open(shelf)
    store.build_index("fused")
    index = store.open_index()
    text = "красная кружка"
    near = store.neighbours(text, k=4)
    assert near == index.search(text=text, k=4) == vt.neighbours(shelf, text, k=4)
    product = near[0].product_id
    assert store.neighbours(product=str(product), k=3) == index.search(product=product, k=3)
    photo = tmp_path / "red.png"
    Image.new("RGB", (32, 32), "red").save(photo)
    assert store.neighbours(image=photo, k=2) == index.search(image=photo, k=2)
    assert store.neighbours(text, image=photo, k=2) == index.search(text=text, image=photo, k=2)
    with Image.open(photo) as picture:
        for value in (photo.read_bytes(), picture, np.asarray(picture)):
            assert store.neighbours(image=value, k=2) == store.neighbours(image=photo, k=2)
    with pytest.raises(vt.VitrinaError, match="of type int can't be used as an image: give"):
        store.neighbours(image=3)
    options = vt.QueryOptions(k=2)
    assert store.neighbours("кружка", options) == index.search(text="кружка", k=2)
    for given, said in [
        ({}, "text must be given, or product or image"),
        ({"text": "кружка", "product": 1}, "product must not be given together"),
        ({"text": "кружка", "other_shops": True}, "other_shops needs a product"),
        ({"text": "кружка", "k": 0}, "k must be at least 1"),
    ]:
        with pytest.raises(vt.OptionError, match=f"^{said}"):
            store.neighbours(**given)


def test_an_index_and_its_encoder_are_opened_once_per_commit(shelf, monkeypatch):
    loaded = []
    load = query_encoder.encoder_of
    monkeypatch.setattr(
        query_encoder, "encoder_of", lambda *given: loaded.append(given[1].name) or load(*given)
    )
    store, other = vt.Store.open(shelf), vt.Store.open(shelf)
    commit = store.manifest.sequence
    store.build_index("text")
    with pytest.raises(vt.VitrinaError) as refused:
        other.neighbours("кружка")
    told = f"has no fused index at commit {commit} (refresh() switches to commit {commit + 1}); run"
    assert told in str(refused.value)
    assert store.neighbours("кружка", k=1) == store.neighbours("кружка", k=5)[:1]
    assert loaded == ["text-lexical"]
    store.build_index("image")
    found = vt.open_index(shelf, "text").search(text="кружка", k=1)
    assert store.neighbours("кружка", "text", k=1) == found
    assert loaded == ["text-lexical"] * 3


def test_vectors_are_an_array_with_ids(embedded_sample):
    store = vt.Store.open(embedded_sample)
    text, image, fused = (store.vectors(one) for one in Features)
    for one in (text, image, fused):
        assert np.asarray(one) is one.matrix
        assert (len(one), one.shape, one.dtype, one.ndim) == (
            len(one.ids),
            one.matrix.shape,
            one.matrix.dtype,
            2,
        )
        ids, matrix = one
        assert ids is one.ids
        assert matrix is one.matrix
        assert np.array_equal(one[3:5], one.matrix[3:5])
        assert np.allclose(np.linalg.norm(np.asarray(one, np.float32), axis=1), 1, atol=2e-3)
    assert repr(text) == f"Vectors({len(text)} products, {text.shape[1]} dimensions, float16)"
    assert np.array(text, copy=True) is not text.matrix
    # Halves of equal weight; the half of a missing modality is zero.
    width, halves = text.shape[1], {}
    for one, columns in ((text, slice(None, width)), (image, slice(width, None))):
        rows = dict(zip(one.ids.to_pylist(), np.asarray(one, np.float32), strict=True))
        halves[columns.start] = rows
    assert fused.ids.to_pylist() == [
        one
        for one in store.products.ids.to_pylist()
        if any(one in rows for rows in halves.values())
    ]
    kinds = set()
    for key, vector in zip(fused.ids.to_pylist(), fused.matrix, strict=True):
        parts = [
            halves[None].get(key, np.zeros(width)),
            halves[width].get(key, np.zeros(image.shape[1])),
        ]
        joined = np.concatenate(parts)
        assert np.allclose(vector, joined / np.linalg.norm(joined), atol=1e-3)
        kinds.add((key in halves[None], key in halves[width]))
    assert {(True, True), (True, False)} <= kinds
    assert np.array_equal(store.vectors().matrix, fused.matrix)
    with pytest.raises(vt.OptionError, match="features must be text, image or fused, not 'both'"):
        store.vectors("both")


def test_fused_vectors_are_those_of_a_fused_index(shelf):
    store = vt.Store.open(shelf)
    store.build_index("fused", factory="Flat")
    fused = store.vectors("fused")
    product = fused.ids[0].as_py()
    (nearest,) = store.neighbours(product=product, k=1)
    scores = fused.matrix @ fused.matrix[0]
    scores[0] = -1
    assert nearest.score == pytest.approx(float(scores.max()), abs=1e-4)


def test_a_method_takes_the_store_where_its_function_does():
    calls = []

    @with_keywords(TrainOptions)
    def job(catalogue: str, store: vt.Store, options: TrainOptions, *, more: int = 0) -> None:
        """Do it.

        Parameters
        ----------
        catalogue : str
            The products.
        store : Store
            The store.
            Of two lines.
        {options}

        Examples
        --------
        >>> vt.job(catalogue, store)
        >>> vt.job(catalogue, store, "mlp", more=2).x == 3
        """
        calls.append((catalogue, store, options, more))

    class Shelf:
        run = method(job)

    shelf = Shelf()
    shelf.run("a", "logistic", more=1)
    shelf.run(catalogue="a", head="logistic", more=1)
    shelf.run("a", TrainOptions("logistic"), more=1)
    assert calls == [("a", shelf, TrainOptions("logistic"), 1)] * 3
    assert list(inspect.signature(shelf.run).parameters)[:2] == ["catalogue", "head"]
    doc = shelf.run.__doc__
    assert "The store" not in doc
    assert "Of two lines" not in doc
    assert '>>> store.job(catalogue)\n>>> store.job(catalogue, "mlp", more=2).x == 3' in doc
    with pytest.raises(TypeError, match="unexpected keyword argument 'heat'; did you mean 'head'"):
        shelf.run("a", heat=3)


def test_a_method_of_no_other_input_has_no_section_of_parameters():
    doc = "Tell.\n\nParameters\n----------\nstore : Store\n    One.\n\nReturns\n-------\nint\n"
    assert as_method(doc) == "Tell.\n\nReturns\n-------\nint\n"
