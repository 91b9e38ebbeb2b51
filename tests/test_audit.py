"""The audit of a store: planted errors come out on top, decisions settle them, all is told."""

import json
import re
import shutil
import sys
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.audits import embedded
from vitrina import api
from vitrina.audit.results import Audit
from vitrina.errors import CatalogueError, OptionError, StoreError, StoreLockedError, TrainingError
from vitrina.pipelines.audit import corrections
from vitrina.pipelines.audit.options import AuditOptions
from vitrina.pipelines.audit.out_of_fold import OutOfFoldPredictor
from vitrina.pipelines.audit.search import find
from vitrina.sample import write_sample
from vitrina.store.decisions import Decision, add_decisions
from vitrina.store.store import OpenStore
from vitrina.types import Action, Features, Modality, Reason

# Fewer than by default take less time.
FOLDS = 2


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("catalogue"), products=400, seed=3)


@pytest.fixture(scope="module")
def made(catalogue, tmp_path_factory):
    """A store that was audited, with its report."""
    folder = tmp_path_factory.mktemp("audited")
    store = embedded(folder / "store", catalogue)
    api.audit(store, folder / "report.html", folds=FOLDS)
    return folder


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made / "store", tmp_path / "store")
    return OpenStore.open(tmp_path / "store")


@pytest.fixture
def small(embedded_sample, tmp_path):
    """A smaller store, without an audit."""
    shutil.copytree(embedded_sample, tmp_path / "small")
    return OpenStore.open(tmp_path / "small")


@pytest.fixture(scope="module")
def truth(catalogue):
    rows = pq.read_table(catalogue.truth).to_pylist()
    return {row["product_id"]: row for row in rows if row["split"] == "train"}


@pytest.fixture(scope="module")
def found(made):
    return Audit.of(OpenStore.open(made / "store"))


def wrong(truth):
    return {key for key, row in truth.items() if row["wrong_label"]}


def test_the_wrong_labels_come_out_on_top(found, truth):
    bad = wrong(truth)
    assert len(bad) >= 10
    first = [one.product_id in bad for one in found.suspects[: len(bad)]]
    assert np.mean(first) >= 0.6
    assert np.mean([key in found.by_product for key in bad]) >= 0.9
    right = [
        one.suggested == truth[one.product_id]["true_category_id"]
        for one in found.suspects
        if one.product_id in bad
    ]
    assert np.mean(right) >= 0.8


def test_every_suspect_says_why(found):
    assert [one.rank for one in found.suspects] == list(range(1, len(found.suspects) + 1))
    assert all(one.reasons and one.given != one.suggested for one in found.suspects)
    assert all(0.5 < one.score <= 1 for one in found.suspects)
    scores = [one.score for one in found.suspects]
    assert scores == sorted(scores, reverse=True)
    reasons = {reason for one in found.suspects for reason in one.reasons}
    assert {Reason.MODEL, Reason.NEIGHBOURS, Reason.TEXT} <= reasons
    for one in found.suspects:
        assert one.product_id not in {near.product_id for near in one.neighbours + one.copies}
        assert 0 < len(one.neighbours) <= 6
        if Reason.NEIGHBOURS in one.reasons:
            assert one.evidence["neighbours"] > 0.5


def test_batches_are_of_one_category_and_one_suggestion(found):
    kinds = {}
    for one in found.suspects:
        assert kinds.setdefault(one.batch, (one.given, one.suggested)) == (
            one.given,
            one.suggested,
        )


def test_the_table_tells_of_every_product(made, found):
    table = pq.read_table(made / "report.parquet").to_pylist()
    store = OpenStore.open(made / "store")
    assert {row["product_id"] for row in table} == set(store.products.ids.to_pylist())
    assert [row["rank"] for row in table] == list(range(1, len(table) + 1))
    told = [row for row in table if row["suspect"]]
    assert [row["product_id"] for row in told] == [one.product_id for one in found.suspects]
    assert told[0]["reasons"] == [reason.value for reason in found.suspects[0].reasons]
    assert told[0]["given_category_name"] == found.names[found.suspects[0].given]
    assert {row["has_photo"] for row in table} == {True, False}
    assert all(row["image_alone"] is None for row in table if not row["has_photo"])
    assert all(row["reasons"] is None for row in table if not row["suspect"])


def test_the_card_adds_up(found, made):
    card = found.card
    assert card["suspects"] == len(found.suspects)
    assert sum(pair["count"] for pair in card["pairs"]) == card["suspects"]
    assert sum(one["count"] for one in card["scores"]) == card["suspects"]
    store = OpenStore.open(made / "store")
    without = int((~store.products.has(Modality.IMAGE)).sum())
    assert card["without_photo"]["count"] == without > 0
    assert (made / "report.html").stat().st_size > 50_000


@pytest.mark.slow
def test_a_round_trip(store, truth, found, tmp_path):
    bad = wrong(truth)
    judged = []
    for one in found.suspects:
        true = truth[one.product_id]["true_category_id"]
        if one.product_id in bad:
            judged.append(Decision(one.product_id, Action.MOVE, one.given, true))
        elif one.rank <= 40:
            judged.append(Decision(one.product_id, Action.KEEP, one.given, one.given))
    add_decisions(store.files, store.products, judged)
    moved = {one.product_id for one in judged if one.action is Action.MOVE}
    before = {row["product_id"]: row for row in pq.read_table(_table(found)).to_pylist()}
    again = api.audit(store, tmp_path / "again.html", folds=FOLDS)
    # What was judged is no suspect any more.
    assert not {one.product_id for one in judged} & again.by_product.keys()
    assert again.card["settled"] == len(judged)
    after = {
        row["product_id"]: row for row in pq.read_table(tmp_path / "again.parquet").to_pylist()
    }
    # And not only because it was judged: the corrected labels are believed.
    assert np.mean([after[key]["score"] < 0.5 for key in moved]) >= 0.8
    assert np.mean([before[key]["score"] > 0.5 for key in moved]) == 1
    corrected = store.labels()
    position = dict(zip(store.products.ids.to_pylist(), corrected.codes, strict=True))
    for one in judged:
        assert corrected.ids[position[one.product_id]] == one.category
    report = api.train(store, "logistic", features="text", epochs=2)
    assert report.evaluated > 0


def _table(found):
    return found.card["store"].replace("/store", "/report.parquet")


def test_training_hears_decisions(store):
    labels = store.products.categories()
    ids = store.products.ids.to_pylist()
    new = max(labels.ids) + 1
    rows = np.flatnonzero(labels.codes == np.bincount(labels.codes[labels.codes >= 0]).argmax())
    add_decisions(
        store.files,
        store.products,
        [
            Decision(ids[row], Action.MOVE, labels.ids[labels.codes[row]], new)
            for row in rows[:8].tolist()
        ],
    )
    before = len(labels.ids)
    report = api.train(store, "logistic", features="text", epochs=2)
    assert report.classes == before + 1
    index = api.build_index(store, "text")
    assert (index.labels == before).sum() == 8


@pytest.mark.slow
def test_a_decision_after_the_owner_changed_the_label_is_open_again(store, found):
    one = found.suspects[0]
    elsewhere = next(key for key in found.names if key not in (one.given, one.suggested))
    # It was made about another label than the catalogue has.
    decision = Decision(one.product_id, Action.KEEP, elsewhere, elsewhere)
    add_decisions(store.files, store.products, [decision])
    assert one.product_id in api.audit(store, folds=2).by_product


@pytest.mark.slow
def test_two_audits_are_the_same(store, found):
    api.audit(store, folds=FOLDS)
    assert Audit.of(store).suspects == found.suspects


@pytest.mark.slow
def test_a_writer_at_the_end_costs_no_report(small, tmp_path):
    api.build_index(small, "fused")
    with (
        OpenStore.open(small.place).writer("embed"),
        pytest.raises(StoreLockedError, match=r"is being written by .* the report is in .*html"),
    ):
        api.audit(small, tmp_path / "report.html", folds=2)
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "report.parquet").exists()


@pytest.mark.slow
def test_copies_never_judge_what_they_were_learnt_with(small):
    found = find(small, AuditOptions(features=Features.TEXT))
    fold = found.predictor._fold()
    groups = found.predictor.groups
    assert len(np.unique(groups)) < len(groups)
    for group in np.unique(groups):
        assert len(set(fold[(groups == group) & (fold >= 0)].tolist())) <= 1
    assert len(set(fold[fold >= 0].tolist())) == 5


@pytest.mark.slow
def test_one_modality_is_enough(small):
    found = api.audit(small, features="text", images="none", folds=2)
    assert found.suspects
    assert Reason.PHOTO not in {reason for one in found.suspects for reason in one.reasons}
    assert all(one.image_category is None for one in found.suspects)


@pytest.mark.slow
def test_cleanlab_may_be_asked(small):
    pytest.importorskip("cleanlab")
    card = api.audit(small, cleanlab=True, folds=2).card
    assert 0 < card["cleanlab"]["suspects_among_them"] <= card["cleanlab"]["issues"]


def test_without_cleanlab_it_says_how_to_install_it(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.experimental.label_issues_batched", None)
    monkeypatch.setattr(OutOfFoldPredictor, "predict", None)
    with pytest.raises(TrainingError, match=r"pip install 'vitrina\[cleanlab\]'"):
        api.audit(store, cleanlab=True)


def test_too_little_to_audit_is_told(small):
    ids, labels = small.products.ids.to_pylist(), small.products.categories()
    one = labels.ids[0]
    add_decisions(
        small.files,
        small.products,
        [
            Decision(key, Action.MOVE, labels.ids[code], one)
            for key, code in zip(ids, labels.codes.tolist(), strict=True)
            if labels.ids[code] != one
        ],
    )
    with pytest.raises(TrainingError, match="two categories"):
        api.audit(small)


@pytest.mark.parametrize("options", [{"folds": 1}, {"max_suspects": 0}])
def test_options_that_can_not_be_are_refused(store, options):
    with pytest.raises(OptionError, match=r"(folds|max_suspects) must be at least [12], not"):
        api.audit(store, **options)


def test_corrected_labels_go_to_the_owner(store, found, tmp_path):
    one, two, three = found.suspects[:3]
    add_decisions(
        store.files,
        store.products,
        [
            Decision(one.product_id, Action.MOVE, one.given, one.suggested, reviewer="Анна"),
            Decision(two.product_id, Action.KEEP, two.given, two.given),
            Decision(three.product_id, Action.SKIP, three.given),
        ],
    )
    assert api.export_decisions(store, tmp_path / "labels.parquet") == 2
    rows = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    assert [(row["product_id"], row["category_id"], row["action"]) for row in rows] == [
        (one.product_id, one.suggested, "move"),
        (two.product_id, two.given, "keep"),
    ]
    assert rows[0]["category_name"] == found.names[one.suggested]
    assert rows[0]["title"] == one.title
    assert api.export_decisions(store, tmp_path / "labels.csv", changed_only=True) == 1
    lines = (tmp_path / "labels.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith('"product_id","title","action"')
    assert "Анна" in lines[1]
    with pytest.raises(OptionError, match=r"export must end in .*\.json, not"):
        api.export_decisions(store, tmp_path / "labels.txt")


def edited(path, change):
    """A table as a person changes it: every cell is text, and the file is a workbook."""
    import xlsxwriter

    from vitrina.data.readers.base import TableOptions
    from vitrina.data.readers.detect import open_table

    records = open_table(path, TableOptions())
    rows = [dict(zip(records.names, row, strict=True)) for row in records.rows(records.names)]
    rows = change(rows)
    out = path.with_name("edited.xlsx")
    with xlsxwriter.Workbook(str(out)) as book:
        sheet = book.add_worksheet()
        for at, row in enumerate([list(rows[0]), *(row.values() for row in rows)]):
            for place, value in enumerate(row):
                sheet.write_string(at, place, "" if value is None else str(value))
    return out


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.csv", "labels.jsonl", "labels.parquet"])
def test_decisions_that_a_person_has_edited_come_back(store, found, tmp_path, name):
    one, two, three = found.suspects[:3]
    decide = [
        Decision(one.product_id, Action.MOVE, one.given, one.suggested, reviewer="Анна"),
        Decision(two.product_id, Action.KEEP, two.given, two.given),
    ]
    add_decisions(store.files, store.products, decide)
    path = tmp_path / name
    assert api.export_decisions(store, path) == 2
    # What is in force already adds nothing.
    assert api.import_decisions(store, path) == 0
    names = corrections.category_names(store)

    def change(rows):
        rows[0]["category_id"], rows[0]["category_name"] = one.given, None
        rows[1]["category_id"], rows[1]["category_name"] = None, names[two.suggested].upper()
        return [*rows, {**dict.fromkeys(rows[0]), "product_id": three.product_id}]

    changed = edited(path, change)
    assert api.import_decisions(store, changed) == 2
    standing = store.decisions().standing
    first, second = standing[one.product_id], standing[two.product_id]
    assert (first.action, first.given, first.category) == (Action.KEEP, one.given, one.given)
    assert (second.action, second.category) == (Action.MOVE, two.suggested)
    assert first.reviewer == "edited.xlsx"
    assert three.product_id not in standing
    assert api.import_decisions(store, changed) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("product_id,reviewer\n1,a\n", "decisions need the columns product_id, and category_id"),
        ("product_id,category_id\n{id},-77\n", "row 1: category_id -77 is no category of"),
        ("product_id,category_name\n{id},Нет->Такой\n", "row 1: 'Нет->Такой' is no category of"),
        ("product_id,category_id\n77,{given}\n", "product 77 is not in"),
        ("product_id,category_id\n,{given}\n", "row 1: no product_id"),
        (
            "product_id,category_id\n{id},{given}\n{id},{given}\n",
            "row 2: product {id} stands in row 1 too",
        ),
        (
            'product_id,category_id,category_name\n{id},{given},"{other}"\n',
            "change both, or empty one",
        ),
    ],
)
def test_a_faulty_table_of_decisions_is_refused_whole(store, found, tmp_path, rows, message):
    one = found.suspects[0]
    other = corrections.category_names(store)[one.suggested]
    values = {"id": one.product_id, "given": one.given, "other": other}
    path = tmp_path / "labels.csv"
    path.write_text(rows.format(**values), encoding="utf-8")
    before = store.decisions().all
    with pytest.raises(CatalogueError, match=re.escape(message.format(**values))) as caught:
        api.import_decisions(store, path)
    assert str(path) in str(caught.value)
    assert store.decisions().all == before


def test_label_studio_and_back(store, found, tmp_path):
    path = tmp_path / "tasks.json"
    assert api.export_decisions(store, path) == len(found.suspects)
    tasks = json.loads(path.read_text())
    config = ElementTree.parse(tmp_path / "tasks.xml").getroot()
    assert tasks[0]["data"]["title"] == found.suspects[0].title
    choice = tasks[0]["predictions"][0]["result"][0]["value"]["choices"][0]
    assert choice in {one.get("value") for one in config.iter("Choice")}
    # As Label Studio exports it: the first accepted, the second kept, the third skipped.
    answers = [choice, tasks[1]["data"]["given"], None]
    for number, (task, answer) in enumerate(zip(tasks, answers, strict=False), start=1):
        result = [{"from_name": "category", "value": {"choices": [answer]}}] if answer else []
        task["id"] = number
        task["annotations"] = [
            {
                "id": 10 * number,
                "completed_by": {"email": "a@b.c"},
                "result": result,
                "was_cancelled": answer is None,
                "created_at": "2026-01-02T03:04:05.678901Z",
            }
        ]
    # A task that is there twice is one.
    path.write_text(json.dumps([*tasks, tasks[0]]))
    assert api.import_decisions(store, path) == 3
    assert len(store.decisions().all) == 3
    assert api.import_decisions(store, path) == 0
    standing = store.decisions().standing
    actions = [standing[one.product_id].action for one in found.suspects[:3]]
    assert actions == [Action.MOVE, Action.KEEP, Action.SKIP]
    assert standing[found.suspects[0].product_id].category == found.suspects[0].suggested
    # What is settled is no task any more; what was skipped is.
    assert api.export_decisions(store, path) == len(found.suspects) - 2
    # What is imported later stands over what was decided before, whatever its clock says ...
    first = standing[found.suspects[0].product_id]
    kept = Decision(first.product_id, Action.KEEP, first.given, first.given, reviewer="Анна")
    add_decisions(store.files, store.products, [kept])
    note = tasks[0]["annotations"][0]
    note["created_at"] = "2026-01-02T03:05:00Z"
    path.write_text(json.dumps(tasks))
    assert api.import_decisions(store, path) == 1
    standing = store.decisions().standing
    assert standing[first.product_id].action is Action.MOVE
    assert standing[first.product_id].time > kept.time
    # ... but not an older annotation of the same task, which comes in late.
    note["created_at"], note["result"] = "2026-01-02T03:04:30Z", []
    path.write_text(json.dumps(tasks))
    assert api.import_decisions(store, path) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is not valid JSON"),
        ('{"a": 1}', "is no list of tasks"),
        (
            '[{"data": {}, "annotations": [{"result": []}]}]',
            r"task 1 is not what it should be .*product_id",
        ),
        (
            '[{"data": {"product_id": 1, "given_category_id": 2}, "annotations": [{"result": '
            '[{"from_name": "category", "value": {"choices": ["nowhere"]}}]}]}]',
            "'nowhere' is no category",
        ),
        (
            '[{"data": {"product_id": 1, "given_category_id": 2}, "annotations": [{"result": '
            "[]}]}]",
            "are not in",
        ),
        (
            '[{"data": {"product_id": 1, "given_category_id": "<b>"}, "annotations": [{"result": '
            "[]}]}]",
            "'<b>' is no id of a category of this store",
        ),
    ],
)
def test_what_can_not_be_imported_changes_nothing(store, tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(CatalogueError, match=message):
        api.import_decisions(store, path)
    assert store.decisions().all == ()


def test_an_unaudited_store_has_no_tasks(small, tmp_path):
    with pytest.raises(StoreError, match="not audited yet"):
        api.export_decisions(small, tmp_path / "tasks.json")
