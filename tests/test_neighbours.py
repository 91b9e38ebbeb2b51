"""Neighbours of one product and of many, against plain numpy over the store's own vectors."""

import io
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vitrina as vt
from support.catalogue_files import jsonl, parquet
from vitrina.data.text import normalise_title
from vitrina.errors import CatalogueError, OptionError, StoreError
from vitrina.index.fuse import Fusion
from vitrina.pipelines.index import batch_queries as module

K = 7
FILTERS = {
    "everything": {},
    "a path": {"category": "все категории -> одежда"},
    "a shop": {"where": ["shop~а", "rating>=4"]},
    "no duplicates": {"no_duplicates": True},
    "other shops": {"other_shops": True},
    "all at once": {
        "category": "Все категории->Одежда",
        "where": ["rating>=4"],
        "no_duplicates": True,
        "other_shops": True,
    },
}
every_filter = pytest.mark.parametrize("only", FILTERS.values(), ids=FILTERS)


def embedded(folder, catalogue, **options):
    store = vt.Store.open(folder, create=True)
    models = {"text": "lexical", "image": "thumbnail", "max_failures": 1.0, **options}
    vt.embed(catalogue, store, **models)
    catalogue.close()
    vt.build_index(store)
    return store


@pytest.fixture(scope="module")
def store(sample, tmp_path_factory):
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    return embedded(tmp_path_factory.mktemp("neighbours") / "store", catalogue)


@pytest.fixture(scope="module")
def plain(store):
    return Plain(store)


class Plain:
    """The store's products as rows, and the exact scores of all pairs, (n, n) float64."""

    def __init__(self, store):
        names = store.products.schema.names
        batches = [batch for _, batch in store.products.batches(names)]
        self.rows = pa.Table.from_batches(batches).to_pylist()
        self.ids = [row["product_id"] for row in self.rows]
        self.place = {one: at for at, one in enumerate(self.ids)}
        parts, present = [], []
        for modality in ("text", "image"):
            ids, matrix = vt.vectors(store, modality)
            at = [self.place[one] for one in ids.to_pylist()]
            part = np.zeros((len(self.ids), matrix.shape[1]), np.float32)
            part[at] = matrix
            parts.append(part)
            present.append(np.isin(np.arange(len(self.ids)), at))
        fused = Fusion.plain((1.0, 1.0)).fuse(parts, present).astype(np.float64)
        self.scores = fused @ fused.T

    def may_find(self, one, other, only):
        """Whether a product may be found by another."""
        mine, theirs = self.rows[one], self.rows[other]
        path = (theirs["category_name"] or "").lower()
        if one == other or ("category" in only and not path.startswith("все категории->одежда")):
            return False
        if "rating>=4" in only.get("where", ()) and json.loads(theirs["metadata"])["rating"] < 4:
            return False
        if "shop~а" in only.get("where", ()) and "а" not in theirs["shop"].lower():
            return False
        same_title = normalise_title(mine["title"]) == normalise_title(theirs["title"]) != ""
        same_photo = mine["image_hash"] == theirs["image_hash"] is not None
        same_shop = mine["shop"].casefold() == theirs["shop"].casefold() != ""
        return not (
            (only.get("no_duplicates") and (same_title or same_photo))
            or (only.get("other_shops") and same_shop)
        )

    def check(self, one, ids, scores, only, k=K, tolerance=1e-5):
        """That these are a product's nearest, whichever of equals: ids, and their scores."""
        allowed = [other for other in range(len(self.ids)) if self.may_find(one, other, only)]
        expected = np.sort(self.scores[one, allowed])[::-1][:k]
        places = [self.place[found] for found in ids]
        assert len(set(places)) == len(places) == len(expected)
        assert set(places) <= set(allowed)
        np.testing.assert_allclose(self.scores[one, places], expected, atol=tolerance)
        np.testing.assert_allclose(scores, expected, atol=tolerance)


def of_each(table):
    """The rows of an output by query, in its order; ranks checked."""
    by_query = {}
    for row in table.to_pylist():
        by_query.setdefault(row["query"], []).append(row)
    for rows in by_query.values():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    # Each query's rows stand together.
    assert [row for rows in by_query.values() for row in rows] == table.to_pylist()
    return by_query


@pytest.mark.slow
def test_the_filters_leave_something_and_leave_something_out(plain):
    count = {
        name: sum(plain.may_find(one, two, only) for one in range(50) for two in range(50))
        for name, only in FILTERS.items()
    }
    assert 0 < count["all at once"] < min(count["a path"], count["other shops"])
    assert max(count["a path"], count["a shop"], count["other shops"]) < count["everything"]
    assert count["no duplicates"] < count["everything"] == 50 * 49


# One product.


@every_filter
def test_the_neighbours_of_a_product_are_what_numpy_gives(store, plain, only):
    index = vt.open_index(store)
    for one in range(0, len(plain.ids), 5):
        near = index.search(product=plain.ids[one], k=K, **only)
        plain.check(one, [found.product_id for found in near], [n.score for n in near], only)
        for found in near:
            row = plain.rows[plain.place[found.product_id]]
            assert found.title == row["title"]
            assert (found.category_id, found.category_name) == (
                row["category_id"],
                row["category_name"],
            )


def test_a_category_by_its_id_and_more_than_there_are(store, plain):
    wanted = plain.rows[0]["category_id"]
    near = vt.open_index(store).search(product=plain.ids[0], k=1000, category=wanted)
    same = [row["product_id"] for row in plain.rows[1:] if row["category_id"] == wanted]
    assert {found.product_id for found in near} == set(same)


# Many products of the store.


@every_filter
def test_a_file_of_ids_gives_what_numpy_gives(store, plain, only, tmp_path):
    order = np.random.default_rng(0).permutation(len(plain.ids))
    ids = [plain.ids[at] for at in order]
    queries, out = parquet(tmp_path / "ids.parquet", product_id=ids), tmp_path / "near.parquet"
    report = vt.neighbours_to(store, queries, out, k=K, **only)
    table = pq.read_table(out)
    found = of_each(table)
    assert list(found) == [one for one in ids if one in found]
    for one in order:
        rows = found.get(plain.ids[one], [])
        plain.check(one, [row["product_id"] for row in rows], [row["score"] for row in rows], only)
    assert (report.queries, report.found, report.neighbours) == (
        len(ids),
        len(found),
        table.num_rows,
    )
    assert (report.missing, report.rejected, report.failed) == (0, 0, 0)
    assert not (tmp_path / "near.errors.parquet").exists()


def test_a_file_of_ids_gives_what_single_searches_give(store, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_IDS", 17)
    # One that is asked for twice is answered twice.
    ids = [*plain.ids, plain.ids[3]]
    queries, out = parquet(tmp_path / "ids.parquet", product_id=ids), tmp_path / "near.parquet"
    only = {"no_duplicates": True, "where": ["rating>0"]}
    report = vt.neighbours_to(store, queries, out, k=3, **only)
    index = vt.open_index(store)
    expected = [
        {
            "query": one,
            "rank": rank,
            "product_id": near.product_id,
            "score": pytest.approx(near.score, abs=1e-6),
            "category_id": near.category_id,
            "category_name": near.category_name,
        }
        for one in ids
        for rank, near in enumerate(index.search(product=one, k=3, **only), 1)
    ]
    assert pq.read_table(out).to_pylist() == expected
    assert report.to_json() == {
        "out": str(out),
        "queries": len(ids),
        "found": len(ids),
        "missing": 0,
        "rejected": 0,
        "failed": 0,
        "neighbours": 3 * len(ids),
        "seconds": report.seconds,
        "notes": [],
        "errors_out": None,
    }
    assert pq.read_schema(out) == pa.schema(
        {
            "query": pa.int64(),
            "rank": pa.int32(),
            "product_id": pa.int64(),
            "score": pa.float32(),
            "category_id": pa.int64(),
            "category_name": pa.string(),
        }
    )


GOODS = [
    {"product_id": "a", "title": "чай зелёный", "category_id": "t", "category_name": "Еда->Чай"},
    {"product_id": "b", "title": "чай чёрный", "category_id": "t"},
    {"product_id": "c", "title": "чай травяной", "category_name": "Еда"},
    {"product_id": "d", "title": ""},
    {"product_id": "e", "title": "чай белый чай"},
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A store of strings for ids, where "d" has no vector and few have a category."""
    folder = tmp_path_factory.mktemp("small")
    catalogue = vt.Catalogue.read(jsonl(folder / "goods.jsonl", *GOODS))
    return embedded(folder / "store", catalogue, image="none")


def test_what_can_not_be_searched_for_is_told_beside_the_output(small, tmp_path):
    asked = ["b", "x", None, "a", "d", " "]
    queries, out = parquet(tmp_path / "ids.parquet", product_id=asked), tmp_path / "near.parquet"
    report = vt.neighbours_to(small, queries, out, k=2)
    assert list(of_each(pq.read_table(out))) == ["b", "a"]
    assert (report.queries, report.found, report.missing, report.rejected) == (6, 2, 2, 2)
    errors = pq.read_table(tmp_path / "near.errors.parquet").to_pylist()
    assert [(one["product_id"], one["row"], one["stage"], one["error"]) for one in errors] == [
        (None, 3, "read", "no product_id"),
        (None, 6, "read", "no product_id"),
        ("x", 2, "search", "the store has no such id"),
        ("d", 5, "search", "the index holds no vector of it"),
    ]
    assert report.lines() == [
        "2 could not be searched for, 2 rows were rejected, 0 photos could not be used: "
        f"see {tmp_path / 'near.errors.parquet'}",
        f"done: 4 neighbours of 2 of 6 products, {6 / max(report.seconds, 1e-9):.0f}/s, in {out}",
    ]


def test_categories_that_are_not_known_are_null(small, tmp_path):
    queries, out = parquet(tmp_path / "ids.parquet", product_id=["e"]), tmp_path / "near.parquet"
    vt.neighbours_to(small, queries, out)
    rows = pq.read_table(out).to_pylist()
    found = {row["product_id"]: (row["category_id"], row["category_name"]) for row in rows}
    assert found == {"a": ("t", "Еда->Чай"), "b": ("t", None), "c": (None, "Еда")}


@pytest.mark.parametrize("ids", [[], [None, None]])
def test_nothing_to_ask(small, tmp_path, ids):
    queries, out = parquet(tmp_path / "ids.parquet", product_id=ids), tmp_path / "near.parquet"
    report = vt.neighbours_to(small, queries, out)
    assert (report.queries, report.found, report.rejected) == (len(ids), 0, len(ids))
    table = pq.read_table(out)
    assert (table.num_rows, table.schema.field("query").type) == (0, pa.string())


def test_a_frame_of_pandas_with_gaps_in_its_index(store, plain, tmp_path):
    frame = pd.DataFrame({"product_id": plain.ids}).iloc[[3, 5, 8]].astype("int32")
    frame.to_parquet(tmp_path / "ids.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "ids.parquet").names
    vt.neighbours_to(store, tmp_path / "ids.parquet", tmp_path / "near.parquet", k=1)
    found = pq.read_table(tmp_path / "near.parquet").column("query").to_pylist()
    assert found == [plain.ids[at] for at in (3, 5, 8)]


def test_ids_may_be_text_here_and_integers_there(store, plain, tmp_path):
    ids, out = plain.ids[:3], tmp_path / "near.parquet"
    asked = [str(ids[0]), f"0{ids[1]}", str(ids[2]), "none", str(2**63)]
    report = vt.neighbours_to(store, parquet(tmp_path / "ids.parquet", product_id=asked), out, k=2)
    assert (report.found, report.missing) == (2, 3)
    rows = pq.read_table(out).to_pylist()
    index = vt.open_index(store)
    # A query is named as in the file, a neighbour as in the store.
    assert [(row["query"], row["product_id"]) for row in rows] == [
        (str(one), near.product_id)
        for one in (ids[0], ids[2])
        for near in index.search(product=one, k=2)
    ]
    errors = pq.read_table(tmp_path / "near.errors.parquet").to_pylist()
    assert [one["product_id"] for one in errors] == asked[1:2] + asked[3:]
    assert {one["error"] for one in errors} == {"the store has no such id"}


def test_integers_are_found_where_ids_are_text(tmp_path):
    rows = [{"product_id": f"{n}", "title": f"чай {n}"} for n in range(9)]
    catalogue = vt.Catalogue.read(jsonl(tmp_path / "goods.jsonl", *rows))
    store = embedded(tmp_path / "store", catalogue, image="none")
    numbers, out = parquet(tmp_path / "ids.parquet", product_id=[5, 10]), tmp_path / "near.parquet"
    report = vt.neighbours_to(store, numbers, out, k=8)
    assert (report.found, report.missing, report.neighbours) == (1, 1, 8)
    table = pq.read_table(out)
    assert table.column("query").to_pylist() == [5] * 8
    assert sorted(table.column("product_id").to_pylist()) == list("01234678")
    # A new version of a product is told by its id, whatever the type.
    batch = parquet(tmp_path / "batch.parquet", product_id=[5], title=["чай 5"])
    vt.neighbours_to(store, batch, out, k=9)
    assert sorted(pq.read_table(out).column("product_id").to_pylist()) == list("01234678")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"category": "Луна"}, StoreError, "no product has the category 'Луна'"),
        ({"where": ["prise<5"]}, StoreError, "no product has 'prise'"),
        ({"where": ["price"]}, StoreError, "'price' is no condition"),
        ({"features": "text"}, StoreError, "has no text index"),
        ({"features": "smell"}, OptionError, "features must be text, image or fused, not 'smell'"),
        ({"k": 0}, ValueError, "k must be at least 1"),
    ],
)
@pytest.mark.parametrize("new", [False, True], ids=["ids", "batch"])
def test_what_makes_no_sense_leaves_no_file(store, sample, tmp_path, new, options, error, message):
    queries = parquet(tmp_path / "ids.parquet", product_id=[1])
    out = tmp_path / "out" / "near.parquet"
    out.parent.mkdir()
    with pytest.raises(error, match=message):
        vt.neighbours_to(store, sample.test if new else queries, out, **options)
    assert list(out.parent.iterdir()) == []


def test_where_the_output_can_not_go(store, sample, tmp_path):
    with pytest.raises(vt.OptionError, match=r"out must end in .*, not '.*near\.txt'"):
        vt.neighbours_to(store, sample.test, tmp_path / "near.txt")
    with pytest.raises(CatalogueError, match="there is no directory"):
        vt.neighbours_to(store, sample.test, tmp_path / "no" / "near.parquet")
    with pytest.raises(CatalogueError, match=r"nothing\.parquet"):
        vt.neighbours_to(store, tmp_path / "nothing.parquet", tmp_path / "near.parquet")
    (tmp_path / "cut.parquet").write_bytes(sample.test.read_bytes()[:500])
    with pytest.raises(CatalogueError, match=r"cut\.parquet: can't be read as Parquet"):
        vt.neighbours_to(store, tmp_path / "cut.parquet", tmp_path / "near.parquet")


# New products.


@every_filter
@pytest.mark.slow
def test_the_catalogue_itself_as_a_batch_finds_what_its_ids_find(
    store, plain, sample, tmp_path, monkeypatch, only
):
    monkeypatch.setattr(module, "BATCH_ROWS", 40)
    out = tmp_path / "near.parquet"
    report = vt.neighbours_to(store, sample.train, out, k=K, **only)
    found = of_each(pq.read_table(out))
    for one, product_id in enumerate(plain.ids):
        rows = found.get(product_id, [])
        ids, scores = [row["product_id"] for row in rows], [row["score"] for row in rows]
        # The store keeps its vectors as float16, and these are fresh.
        plain.check(one, ids, scores, only, tolerance=2e-3)
    assert (report.queries, report.found) == (len(plain.ids), len(found))
    photos = [row for row in pq.read_table(sample.truth).to_pylist() if row["split"] == "train"]
    assert report.failed == sum(row["photo"] == "broken" for row in photos) > 0
    errors = pq.read_table(tmp_path / "near.errors.parquet").to_pylist()
    broken = {str(row["product_id"]) for row in photos if row["photo"] == "broken"}
    assert {one["product_id"] for one in errors} == broken


def test_new_products_are_searched_by_text_and_photo(store, sample, tmp_path):
    out = tmp_path / "near.parquet"
    report = vt.neighbours_to(store, sample.test, out, k=3)
    asked = pq.read_table(sample.test).column("product_id").to_pylist()
    found = of_each(pq.read_table(out))
    assert list(found) == asked
    assert (report.queries, report.neighbours) == (len(asked), 3 * len(asked))
    index = vt.open_index(store)
    titles = [
        json.loads(one)["title"] for one in pq.read_table(sample.test)["text_fields"].to_pylist()
    ]
    products = [
        one for batch in vt.open_batch(sample.test, store).batches() for one in batch.products
    ]
    assert [product.title for product in products] == titles
    with zipfile.ZipFile(sample.images) as photos:
        for product in products[:6]:
            name = f"images/test/{product.product_id}.jpg"
            image = None
            if name in photos.namelist():
                image = tmp_path / "photo.jpg"
                image.write_bytes(photos.read(name))
            near = index.search(text=product.text, image=image, k=3)
            rows = found[product.product_id]
            assert [row["product_id"] for row in rows] == [one.product_id for one in near]
            scores = [one.score for one in near]
            assert [row["score"] for row in rows] == pytest.approx(scores, abs=1e-5)


def photo(red, green):
    buffer = io.BytesIO()
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :, 0], pixels[:, :8, 1] = red, green
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ONE, TWO, THREE = photo(200, 10), photo(10, 200), photo(90, 90)
# id, title, shop, photo
SHELF = [
    (1, "Чай зелёный", "Лавка", ONE),
    (2, "Чай чёрный", "Базар", ONE),
    (3, "Чай белый", "Базар", TWO),
    (4, "Мыло", "Лавка", THREE),
    (5, "Мыло жидкое", None, None),
]
BATCH = [
    (11, "ЧАЙ, зеленый!", " лавка", TWO),
    (12, "Чай красный", "Ларёк", ONE),
    (3, "Чай белый", "Базар", None),
    (13, "", "", None),
    (14, "Мыло", None, b"no photo"),
]


def goods(folder, rows):
    """A catalogue with its folder of photos."""
    images = folder / "images"
    images.mkdir(parents=True)
    for product_id, _, _, data in rows:
        if data is not None:
            (images / f"{product_id}.png").write_bytes(data)
    records = (
        {"product_id": product_id, "title": title, "shop_title": shop}
        for product_id, title, shop, _ in rows
    )
    return jsonl(folder / "goods.jsonl", *records), images


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    path, images = goods(folder, SHELF)
    return embedded(folder / "store", vt.Catalogue.read(path, images=images))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The third has the id of a product that is there, and does not find it.
        ({}, {11: {1, 2, 3, 4, 5}, 12: {1, 2, 3, 4, 5}, 3: {1, 2, 4, 5}, 14: {1, 2, 3, 4, 5}}),
        (
            {"no_duplicates": True},
            {11: {2, 4, 5}, 12: {3, 4, 5}, 3: {1, 2, 4, 5}, 14: {1, 2, 3, 5}},
        ),
        (
            {"other_shops": True},
            {11: {2, 3, 5}, 12: {1, 2, 3, 4, 5}, 3: {1, 4, 5}, 14: {1, 2, 3, 4, 5}},
        ),
        (
            {"no_duplicates": True, "other_shops": True, "where": ["title~ч"]},
            {11: {2}, 12: {3}, 3: {1}, 14: {1, 2, 3}},
        ),
        # Without its photos, a batch has no duplicates but by title.
        (
            {"no_duplicates": True, "images": "none"},
            {11: {2, 3, 4, 5}, 12: {1, 2, 3, 4, 5}, 3: {1, 2, 4, 5}, 14: {1, 2, 3, 5}},
        ),
    ],
)
def test_duplicates_and_shops_of_new_products(shelf, tmp_path, options, expected):
    path, images = goods(tmp_path, BATCH)
    out = tmp_path / "near.parquet"
    report = vt.neighbours_to(shelf, path, out, **{"images": images, **options})
    rows = of_each(pq.read_table(out))
    assert {
        query: {row["product_id"] for row in found} for query, found in rows.items()
    } == expected
    errors = pq.read_table(tmp_path / "near.errors.parquet").to_pylist()
    told = [(one["product_id"], one["stage"]) for one in errors]
    broken = [] if "images" in options else [("14", "decode")]
    assert told == [*broken, ("13", "search")]
    assert errors[-1]["error"] == "nothing to search by"
    assert (report.queries, report.found, report.missing) == (5, 4, 1)
    assert (report.rejected, report.failed) == (0, len(broken))


def test_rows_of_a_batch_that_can_not_be_read(shelf, tmp_path):
    rows = [
        {"product_id": 20, "title": "Чай"},
        {"title": "Чай"},
        {"product_id": 20, "title": "Мыло"},
        {"product_id": None, "title": "Мыло"},
    ]
    path, out = jsonl(tmp_path / "batch.jsonl", *rows), tmp_path / "near.parquet"
    report = vt.neighbours_to(shelf, path, out, k=1, images="none")
    (row,) = pq.read_table(out).to_pylist()
    assert (row["query"], row["rank"]) == (20, 1)
    assert (report.queries, report.found, report.rejected) == (4, 1, 3)
    errors = pq.read_table(tmp_path / "near.errors.parquet").to_pylist()
    assert [(one["row"], one["stage"]) for one in errors] == [(2, "read"), (3, "read"), (4, "read")]


def test_a_batch_of_nothing_but_bad_rows(shelf, tmp_path):
    path = jsonl(tmp_path / "batch.jsonl", {"product_id": 1.5, "title": "Чай"})
    for options in ({}, {"no_duplicates": True, "other_shops": True}):
        report = vt.neighbours_to(shelf, path, tmp_path / "near.parquet", images=None, **options)
        assert (report.queries, report.found, report.rejected) == (1, 0, 1)
        assert pq.read_table(tmp_path / "near.parquet").num_rows == 0
