"""A catalogue's bad days: what the store holds afterwards, and what the report says of it."""

import json
from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.catalogue_files import jsonl, text
from support.embedding import IMAGE, STUBS, TEXT, catalogue_of, photo, vectors_of
from vitrina import api
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import Columns
from vitrina.errors import CatalogueError, StoreError, TooManyFailuresError, UnusualChangeError
from vitrina.pipelines.embed import ingest as ingest_module
from vitrina.pipelines.embed.category_changes import ChangeKind
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.index.neighbours import Index
from vitrina.store.decisions import Decision, add_decisions
from vitrina.store.sources import Sources
from vitrina.store.store import OpenStore
from vitrina.types import Action

pytestmark = pytest.mark.usefixtures("unsynced", "stubs")

WORDS = EmbedOptions(text=STUBS.text, image="none", shard_rows=16)


def day(tmp_path, rows, name="day.jsonl"):
    return Catalogue.read(jsonl(tmp_path / name, *rows))


def goods(count=60, start=0, **fields):
    return [
        {"product_id": at, "title": f"чашка {at}", "category_id": at % 3, **fields}
        for at in range(start, start + count)
    ]


def run(path, catalogue, **options):
    return embed(
        catalogue, OpenStore.open(path, create=True), WORDS.__class__(**{**vars(WORDS), **options})
    )


def table(path):
    return {row["product_id"]: row for row in pq.read_table(path / "products").to_pylist()}


def commits(path):
    return sorted((path / "manifests").iterdir())


# -- rows that can't be used -----------------------------------------------------------------------


@pytest.mark.parametrize("prune", [False, True])
def test_a_row_that_cannot_be_used_leaves_its_product_as_it_was(tmp_path, prune):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    before, vectors = table(shelf), vectors_of(shelf, TEXT)
    rows = goods()
    for at in range(6):
        rows[at] = {**rows[at], "text_fields": '{"title": "обры'}
    for at in range(6, 60):
        rows[at] = {**rows[at], "text_fields": json.dumps({"title": f"чашка {at}"})}
    report = run(shelf, day(tmp_path, rows), prune=prune)
    assert (report.rejected, report.unchanged, report.kept, report.spared) == (6, 54, 6, 6)
    assert (report.removed, report.products, report.rows) == (0, 60, 60)
    assert table(shelf) == before
    after = vectors_of(shelf, TEXT)
    assert all((after[key] == vectors[key]).all() for key in range(60))
    errors = pq.read_table(shelf / "errors.parquet").to_pylist()
    assert [(one["row"], one["product_id"]) for one in errors] == [
        (at + 1, str(at)) for at in range(6)
    ]


def test_rows_that_tell_no_id_hold_pruning_back(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    rows = [*goods(57), '{"title": "чья это строка', '{"title": "и эта']
    report = run(shelf, day(tmp_path, rows), prune=True)
    assert (report.removed, report.unpruned, report.kept, report.products) == (0, 3, 3, 60)
    # Told to, it takes the file at its word.
    report = run(shelf, day(tmp_path, rows), prune=True, accept_changes=True)
    assert (report.removed, report.unpruned, report.products) == (3, 0, 57)
    assert sorted(table(shelf)) == list(range(57))


def test_a_run_in_which_most_rows_fail_commits_nothing(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    before = commits(shelf)
    rows = [*goods(40), *("{" for _ in range(20))]
    with pytest.raises(
        TooManyFailuresError, match=r"20 of 60 rows .* --max-failures 0.05 \(and 3 more\) .*row 41"
    ):
        run(shelf, day(tmp_path, rows), prune=True, accept_changes=True)
    assert commits(shelf) == before
    assert run(shelf, day(tmp_path, rows), max_failures=0.4).rejected == 20


def test_a_small_catalogue_bears_one_bad_row_and_none_if_told_so(tmp_path):
    rows = [*goods(9), '{"product_id": 9']
    assert run(tmp_path / "shelf", day(tmp_path, rows)).products == 9
    # A share that is asked for is kept to the row.
    for share in (0.0, 0.05):
        with pytest.raises(TooManyFailuresError, match=f"1 of 10 rows .* {share:g} allows"):
            run(tmp_path / "other", day(tmp_path, rows), max_failures=share)
    assert run(tmp_path / "other", day(tmp_path, rows), max_failures=0.1).products == 9


def test_a_faulty_label_costs_the_label(tmp_path):
    rows = goods()
    rows[7]["category_id"] = 1.5
    report = run(tmp_path / "shelf", day(tmp_path, rows))
    assert (report.products, report.rejected, report.faulty_labels) == (60, 0, 1)
    assert "1.5" in report.label_faults
    assert table(tmp_path / "shelf")[7]["category_id"] is None
    (error,) = pq.read_table(tmp_path / "shelf/errors.parquet").to_pylist()
    assert (error["product_id"], error["stage"], error["row"]) == ("7", "category", 8)


# -- pruning ---------------------------------------------------------------------------------------


def test_a_run_that_fails_prunes_nothing(tmp_path, monkeypatch, stubs):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    rows = goods(50)
    rows[0]["title"] = "новая чашка"

    def broken(_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(stubs[TEXT], "encode", broken)
        with pytest.raises(MemoryError):
            run(shelf, day(tmp_path, rows), prune=True)
    assert len(table(shelf)) == 60
    report = run(shelf, day(tmp_path, rows), prune=True)
    assert (report.removed, report.products) == (10, 50)
    assert len(table(shelf)) == 50
    assert api.verify(shelf).ok


def test_a_pruned_store_is_the_store_of_what_is_left(tmp_path):
    run(tmp_path / "shelf", day(tmp_path, goods()))
    run(tmp_path / "shelf", day(tmp_path, goods(50)), prune=True)
    run(tmp_path / "other", day(tmp_path, goods(50)))
    (ours,), (theirs,) = ((tmp_path / name / "products").iterdir() for name in ("shelf", "other"))
    assert ours.read_bytes() == theirs.read_bytes()


# -- what vanished or changed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        (goods(36), {"prune": True}, "24 of 60 products are no longer in it"),
        (goods(title=""), {}, "60 of 60 products with a title lost it"),
        (goods(title="товар"), {}, "60 of 60 products have another title"),
        (goods(category_id=None), {}, "60 of 60 products with a category lost it"),
        (goods(category_id=7), {}, "60 of 60 products have another category"),
    ],
)
def test_a_catalogue_that_lost_or_changed_much_is_refused(tmp_path, rows, options, told):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    before, held = commits(shelf), table(shelf)
    with pytest.raises(UnusualChangeError, match=f"{told}.*--accept-changes"):
        run(shelf, day(tmp_path, rows), **options)
    assert (commits(shelf), table(shelf)) == (before, held)
    report = run(shelf, day(tmp_path, rows), accept_changes=True, **options)
    assert report.products == len(rows)


def test_another_shops_products_under_the_same_ids_are_refused(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods(12)))
    other = [{"product_id": at, "title": f"диван угловой {at * 31}"} for at in range(9, 22)]
    with pytest.raises(
        UnusualChangeError, match=r"3 of the 3 that both have are other products.*--source"
    ):
        run(shelf, day(tmp_path, other))
    assert table(shelf)[9]["title"] == "чашка 9"
    assert run(shelf, day(tmp_path, other), source="Диван").new == 13
    # Reworded titles of the same products are no reason to stop.
    reworded = [{**row, "title": f"чайная {row['title']}"} for row in goods(5)]
    assert run(shelf, day(tmp_path, reworded), source="").changed == 5


def test_a_folder_that_lacks_most_known_photos_is_refused(tmp_path):
    shelf = tmp_path / "shelf"
    rows = [(at, f"чашка {at}", at % 3, photo(at * 9, 0, 0)) for at in range(12)]
    embed(catalogue_of(tmp_path / "a", rows), OpenStore.open(shelf, create=True), STUBS)
    before, vectors = commits(shelf), vectors_of(shelf, IMAGE)
    fewer = [(*row[:3], row[3] if row[0] < 5 else None) for row in rows]
    few = catalogue_of(tmp_path / "b", fewer)
    with pytest.raises(UnusualChangeError, match="7 of 12 products with a photo lost it"):
        embed(few, OpenStore.open(shelf), STUBS)
    assert commits(shelf) == before
    # Where photos are not looked at, what is known of them stands.
    assert embed(few, OpenStore.open(shelf), replace(STUBS, image="none")).unchanged == 12
    assert vectors_of(shelf, IMAGE).keys() == vectors.keys()
    assert embed(few, OpenStore.open(shelf), replace(STUBS, accept_changes=True)).changed == 7
    assert vectors_of(shelf, IMAGE).keys() == {*range(5)}


def test_products_keep_their_category_where_a_file_has_none(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    before = table(shelf)
    bare = [{"product_id": at, "title": f"чашка {at}"} for at in range(55, 65)]
    report = run(shelf, day(tmp_path, bare))
    assert (report.unchanged, report.new) == (5, 5)
    assert {key: row for key, row in table(shelf).items() if key < 60} == before
    bare = [{"product_id": at, "title": f"чашка {at}"} for at in range(60)]
    with pytest.raises(UnusualChangeError, match="no categories, and 60 of its products had one"):
        run(shelf, day(tmp_path, bare))
    assert run(shelf, day(tmp_path, bare), accept_changes=True).unchanged == 60
    assert table(shelf)[7] == before[7]


def test_a_usual_day_is_not_refused(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    rows = goods(48)
    for at in range(24):
        rows[at] = {**rows[at], "title": f"кружка {at}"}
    report = run(shelf, day(tmp_path, rows), prune=True)
    assert (report.removed, report.changed, report.products) == (12, 24, 48)


# -- ids that become text --------------------------------------------------------------------------


def test_a_store_of_integers_takes_ids_that_are_text(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    api.build_index(OpenStore.open(shelf))
    store = OpenStore.open(shelf)
    keep = Decision(5, Action.KEEP, 2, 2)
    add_decisions(store.files, store.products, [keep, Decision(6, Action.MOVE, 0, 1)])
    vectors, near = vectors_of(shelf, TEXT), Index.open(store).search(product=7, k=3)
    rows = [*goods(), {"product_id": "A-13", "title": "чашка новая", "category_id": 1}]
    report = run(shelf, day(tmp_path, rows))
    assert (report.retyped, report.unchanged, report.new, report.rejected) == (True, 60, 1, 0)
    assert table(shelf).keys() == {*map(str, range(60)), "A-13"}
    shards = sorted((shelf / "spaces/text-words").glob("part-*"))
    ids = [pq.read_table(one).column("product_id").to_pylist() for one in shards]
    assert sorted(chain.from_iterable(ids)) == sorted(table(shelf))
    after = vectors_of(shelf, TEXT)
    assert all(np.array_equal(after[str(key)], vectors[key]) for key in range(60))
    store = OpenStore.open(shelf)
    assert store.decisions().standing.keys() == {"5", "6"}
    assert store.labels().codes[6] == 1
    again = Index.open(store).search(product="7", k=3)
    assert [one.product_id for one in again] == [str(one.product_id) for one in near]
    api.build_index(store)
    assert Index.open(OpenStore.open(shelf)).search(product="A-13", k=1)[0].score > 0
    assert api.verify(shelf).ok
    # Integers come in again as the text that they are now.
    report = run(shelf, day(tmp_path, goods()))
    assert (report.retyped, report.unchanged, report.new) == (False, 60, 0)


def test_decisions_of_before_and_after_become_one_file(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    for product in (5, "x"):
        store = OpenStore.open(shelf)
        add_decisions(store.files, store.products, [Decision(product, Action.SKIP, 2)])
        run(shelf, day(tmp_path, [*goods(), {"product_id": "x", "title": "чай"}]))
    assert api.compact(OpenStore.open(shelf)).decision_files == 2
    assert OpenStore.open(shelf).decisions().standing.keys() == {"5", "x"}


def test_ids_written_as_text_stay_integers(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()))
    lines = "".join(f"{at},чашка {at},{at % 3}\n" for at in range(60))
    same = text(tmp_path / "same.csv", "product_id,title,category_id\n" + lines)
    report = run(shelf, Catalogue.read(same))
    assert (report.retyped, report.unchanged) == (False, 60)
    assert OpenStore.open(shelf).id_types == (int, int)


# -- several sources -------------------------------------------------------------------------------


def test_two_sources_live_side_by_side(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()), source="Посуда")
    furniture = [
        {"product_id": at, "title": f"диван {at}", "category_id": 1, "category_name": "Диваны"}
        for at in range(30)
    ]
    report = run(shelf, day(tmp_path, furniture), source="Мебель")
    assert (report.new, report.kept, report.products) == (30, 60, 90)
    rows = table(shelf)
    assert (rows["7"]["title"], rows["7"]["source"]) == ("чашка 7", "Посуда")
    assert (rows["Мебель:7"]["title"], rows["Мебель:7"]["category_id"]) == ("диван 7", "Мебель:1")
    # Each is brought up to date and pruned by itself.
    report = run(shelf, day(tmp_path, furniture[:25]), source="Мебель", prune=True)
    assert (report.removed, report.kept, report.unchanged) == (5, 60, 25)
    report = run(shelf, day(tmp_path, goods(55)), source="Посуда", prune=True)
    assert (report.removed, report.kept, report.unchanged) == (5, 25, 55)
    listed = api.describe(OpenStore.open(shelf))["sources"]
    assert [(one["name"], one["products"], one["prefix"]) for one in listed] == [
        ("Посуда", 55, ""),
        ("Мебель", 25, "Мебель:"),
    ]
    assert len(vectors_of(shelf, TEXT)) == 80
    assert api.verify(shelf).ok


def test_a_catalogue_without_a_source_beside_named_ones_is_refused(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, goods()), source="Посуда")
    # The only source, which its owner named, is what a later file belongs to.
    assert run(shelf, day(tmp_path, goods())).unchanged == 60
    run(shelf, day(tmp_path, goods(10)), source="Мебель", accept_changes=True)
    with pytest.raises(StoreError, match=r"names no source.*--source 'Посуда'.*--source NAME"):
        run(shelf, day(tmp_path, goods()))


FEED = """<?xml version="1.0" encoding="UTF-8"?>
<yml_catalog><shop><name>{shop}</name><categories><category id="1">{category}</category>
</categories><offers>{offers}</offers></shop></yml_catalog>"""


def feed(tmp_path, shop, category, title, count=12):
    offers = "".join(
        f'<offer id="{at}"><name>{title} {at}</name><categoryId>1</categoryId></offer>'
        for at in range(count)
    )
    content = FEED.format(shop=shop, category=category, offers=offers)
    return Catalogue.read(text(tmp_path / "feed.yml", content))


def test_feeds_are_told_apart_by_their_shops(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, feed(tmp_path, "Лампа", "Лампы", "торшер"))
    run(shelf, feed(tmp_path, "Диван: всё для дома", "Диваны", "диван"))
    assert len(table(shelf)) == 24
    assert table(shelf)["Диван всё для дома:3"]["title"] == "диван 3"
    assert run(shelf, feed(tmp_path, "Лампа", "Лампы", "торшер")).unchanged == 12
    assert run(shelf, feed(tmp_path, "Диван: всё для дома", "Диваны", "диван")).unchanged == 12


def test_a_shop_under_a_new_name_is_noticed(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, feed(tmp_path, "Лампа", "Лампы", "торшер"))
    renamed = feed(tmp_path, "Лампа и Ко", "Лампы", "торшер")
    for asked in (None, "Лампа и Ко"):
        with pytest.raises(
            UnusualChangeError, match=r"12 of its 12 .* --source 'Лампа' .*--accept"
        ):
            run(shelf, renamed, source=asked)
    # The shop's name is part of the text.
    assert run(shelf, renamed, source="Лампа").changed == 12
    report = run(shelf, renamed)
    assert (report.source, report.unchanged) == ("Лампа", 12)
    assert run(shelf, renamed, source="Лампа и Ко", accept_changes=True).new == 12


def test_a_feed_that_its_owner_named_is_known_by_its_own_name(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, feed(tmp_path, "Лампа", "Лампы", "торшер"), source="lamps")
    assert run(shelf, feed(tmp_path, "Лампа", "Лампы", "торшер")).source == "lamps"
    assert run(shelf, feed(tmp_path, "Диван", "Диваны", "диван")).source == "Диван"


def test_a_store_of_before_there_were_sources_goes_on(tmp_path, monkeypatch):
    shelf = tmp_path / "shelf"
    lamps = feed(tmp_path, "Лампа", "Лампы", "торшер")
    with monkeypatch.context() as patch:
        old = ingest_module.schema
        patch.setattr(ingest_module, "schema", lambda *ids: old(*ids).remove(1))
        patch.setattr(Sources, "to_json", lambda _: {})
        patch.setattr("vitrina.store.layout.FORMAT_VERSION", 2)
        run(shelf, lamps)
    assert "source" not in pq.read_schema(next((shelf / "products").iterdir())).names
    assert run(shelf, lamps).unchanged == 12
    assert json.loads((shelf / "store.json").read_text())["format"] == 3
    assert run(shelf, feed(tmp_path, "Диван", "Диваны", "диван")).new == 12
    report = run(shelf, feed(tmp_path, "Лампа", "Лампы", "торшер"))
    assert (report.unchanged, report.kept) == (12, 12)
    listed = api.describe(OpenStore.open(shelf))["sources"]
    assert [(one["name"], one["products"]) for one in listed] == [("Лампа", 12), ("Диван", 12)]


def test_each_source_is_read_as_it_was_read_last(tmp_path):
    shelf = tmp_path / "shelf"
    lamps = text(tmp_path / "lamps.csv", "id;name\n1;торшер\n2;бра\n")
    api.embed(
        api.open_batch(
            lamps,
            OpenStore.open(shelf, create=True),
            columns=Columns(product_id="id", title="name"),
        ),
        OpenStore.open(shelf, create=True),
        text=STUBS.text,
        image="none",
        source="lamps",
    )
    run(shelf, feed(tmp_path, "Диван", "Диваны", "диван"))
    # Read last was a feed, whose settings would not do.
    again = api.open_batch(lamps, OpenStore.open(shelf), source="lamps")
    assert run(shelf, again, source="lamps").unchanged == 2
    assert (
        api.open_batch(tmp_path / "feed.yml", OpenStore.open(shelf)).reading.columns.title is None
    )


def test_a_name_with_the_separator_is_refused(tmp_path):
    with pytest.raises(CatalogueError, match="can't hold ':'"):
        run(tmp_path / "shelf", day(tmp_path, goods()), source="a:b")


# -- the category tree -----------------------------------------------------------------------------


def named(path, rows):
    return [{**row, "category_name": path[row["category_id"]]} for row in rows]


def test_what_happened_to_each_category_is_told(tmp_path):
    shelf = tmp_path / "shelf"
    first = {0: "Дом->Чашки", 1: "Дом->Тарелки", 2: "Дом->Вилки"}
    run(shelf, day(tmp_path, named(first, goods())))
    second = {0: "Дом->Чашки и кружки", 1: "Кухня->Тарелки", 2: "Сад->Молотки", 9: "Дом->Ножи"}
    rows = goods()
    for row in rows[:6]:
        row["category_id"] = 9
    found = run(shelf, day(tmp_path, named(second, rows))).categories
    told = {kind: [one.category_id for one in found.of(kind)] for kind in ChangeKind}
    assert told == {
        ChangeKind.RENAMED: [0],
        ChangeKind.MOVED: [1],
        ChangeKind.REUSED: [2],
        ChangeKind.NEW: [9],
        ChangeKind.EMPTIED: [],
        ChangeKind.AMBIGUOUS: [],
    }
    assert found.lines()[0] == (
        "1 category id means another category now: 2 'Дом->Вилки' is now 'Сад->Молотки'"
    )
    # Nothing is said of a tree that stayed as it is.
    assert run(shelf, day(tmp_path, named(second, rows))).categories.all == ()


def test_the_products_that_left_tell_a_reused_id_whatever_the_words(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, named({0: "Чехлы для телефонов", 1: "А", 2: "Б"}, goods())))
    rows = named({0: "Чехлы для мебели", 1: "А", 2: "Б", 5: "Чехлы для телефонов"}, goods())
    for row in rows:
        if row["category_id"] == 0:
            row |= {"category_id": 5, "category_name": "Чехлы для телефонов"}
    rows += [
        {**one, "category_id": 0, "category_name": "Чехлы для мебели"}
        for one in goods(20, start=100)
    ]
    found = run(shelf, day(tmp_path, rows)).categories
    assert [one.category_id for one in found.of(ChangeKind.REUSED)] == [0]


def test_products_that_keep_the_old_meaning_of_an_id_have_no_label(tmp_path):
    shelf = tmp_path / "shelf"
    run(shelf, day(tmp_path, named({0: "Чашки", 1: "Тарелки", 2: "Вилки"}, goods())))
    rows = [{**one, "category_id": 0, "category_name": "Молотки"} for one in goods(20, start=100)]
    report = run(shelf, day(tmp_path, rows))
    assert [one.category_id for one in report.categories.of(ChangeKind.REUSED)] == [0]
    store = OpenStore.open(shelf)
    labels = store.labels()
    assert dict(zip(labels.ids, labels.names, strict=True)) == {
        0: "Молотки",
        1: "Тарелки",
        2: "Вилки",
    }
    ids, codes = store.products.ids.to_pylist(), labels.codes.tolist()
    assert {key for key, code in zip(ids, codes, strict=True) if code == 0} == {*range(100, 120)}
    # The rows themselves are as they were.
    assert table(shelf)[0]["category_name"] == "Чашки"


def test_several_names_for_one_id_are_told(tmp_path):
    rows = named({0: "Чашки", 1: "Тарелки", 2: "Вилки"}, goods())
    rows[3]["category_name"] = "Кружки"
    report = run(tmp_path / "shelf", day(tmp_path, rows))
    (one,) = report.categories.of(ChangeKind.AMBIGUOUS)
    assert (one.category_id, one.before, one.after) == (0, "Чашки", "Кружки") or (
        one.category_id,
        one.after,
        one.before,
    ) == (0, "Чашки", "Кружки")
