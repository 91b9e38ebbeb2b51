"""The commands as their user runs them: the main job on the sample, and each way to fail."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.cli import vitrina
from vitrina import cli
from vitrina.data.readers.base import TableOptions
from vitrina.data.readers.detect import open_table
from vitrina.sample import write_sample
from vitrina.store.store import OpenStore


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A sample catalogue and a store over it, with an index and a head."""
    root = tmp_path_factory.mktemp("shelf")
    sample = write_sample(root / "catalogue", products=300, seed=1)
    store = root / "store"
    models = ("--text-model", "lexical", "--image-model", "thumbnail")
    assert vitrina("embed", sample.train, "--store", store, "--images", sample.images, *models) == 0
    assert vitrina("index", store) == 0
    assert vitrina("train", store, "--head", "logistic", "--epochs", 2) == 0
    return root, sample, store


@pytest.fixture
def own_store(shelf, tmp_path):
    """A copy of the store that a test may change."""
    shutil.copytree(shelf[2], tmp_path / "store")
    return tmp_path / "store"


def error_line(capsys) -> str:
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("vitrina: ")
    return lines[0]


def test_predictions_are_one_row_per_product_in_order(shelf, tmp_path, capsys):
    _, sample, store = shelf
    out = tmp_path / "predictions.parquet"
    assert vitrina("classify", sample.test, "--store", store, "--out", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    rows = pq.read_table(out).to_pylist()
    given = pq.read_table(sample.test).column("product_id").to_pylist()
    assert [row["product_id"] for row in rows] == given
    assert report["products"] == len(given) == len(rows)
    assert report["accepted"] == sum(row["accepted"] for row in rows)
    truth = {row["product_id"]: row for row in pq.read_table(sample.truth).to_pylist()}
    for row in rows:
        assert row["has_image"] == (truth[row["product_id"]]["photo"] == "ok")
        shares = [one["probability"] for one in row["top_k"]]
        assert shares == sorted(shares, reverse=True)
        assert row["top_k"][0]["category_id"] == row["predicted_category_id"]
        assert row["probability"] == pytest.approx(shares[0])
        scores = [one["score"] for one in row["neighbours"]]
        assert len(scores) == 10
        assert scores == sorted(scores, reverse=True)
    right = [r["predicted_category_id"] == truth[r["product_id"]]["true_category_id"] for r in rows]
    assert np.mean(right) > 0.6


def test_broken_photos_of_a_batch_are_listed_beside_the_predictions(shelf, tmp_path):
    _, sample, store = shelf
    out = tmp_path / "predictions.parquet"
    batch = tmp_path / "batch.parquet"
    truth = pq.read_table(sample.truth).to_pylist()
    broken = [r["product_id"] for r in truth if r["photo"] == "broken" and r["split"] == "train"]
    table = pq.read_table(sample.train)
    keep = pa.array([one in broken for one in table.column("product_id").to_pylist()])
    pq.write_table(table.filter(keep).drop_columns(["category_id"]), batch)
    assert broken
    code = vitrina("classify", batch, "--store", store, "--out", out, "--images", sample.images)
    assert code == 0
    errors = pq.read_table(tmp_path / "predictions.errors.parquet").to_pylist()
    assert {int(row["product_id"]) for row in errors} == set(broken)
    assert all(row["error"] for row in errors)
    assert len(pq.read_table(out)) == len(broken)


@pytest.mark.parametrize("name", ["submission.parquet", "submission.csv"])
def test_submission_has_two_columns_and_no_gap(shelf, tmp_path, name):
    _, sample, store = shelf
    out = tmp_path / name
    code = vitrina(
        "classify", sample.test, "--store", store, "--out", out, "--format", "submission"
    )
    assert code == 0
    if name.endswith("csv"):
        header, *lines = out.read_text().splitlines()
        assert header == '"product_id","predicted_category_id"'
        assert len(lines) == sample.test_products
        return
    table = pq.read_table(out)
    assert table.column_names == ["product_id", "predicted_category_id"]
    assert table.num_rows == sample.test_products
    assert table.column("predicted_category_id").null_count == 0


@pytest.mark.parametrize("name", ["p.xlsx", "p.csv", "p.csv.gz", "p.jsonl"])
def test_predictions_for_people(shelf, tmp_path, name):
    _, sample, store = shelf
    out = tmp_path / name
    assert vitrina("classify", sample.test, "--store", store, "--out", out) == 0
    records = open_table(out, TableOptions())
    wanted = ["product_id", "title", "accepted", "second_category_name", "neighbours", "reasons"]
    if name == "p.jsonl":
        wanted = ["product_id", "top_k"]
    rows = [dict(zip(wanted, row, strict=True)) for row in records.rows(wanted)]
    ids = pq.read_table(sample.test).column("product_id").to_pylist()
    assert [int(row["product_id"]) for row in rows] == ids
    if name == "p.jsonl":
        assert {len(row["top_k"]) for row in rows} == {5}
        return
    assert all(row["title"] for row in rows)
    assert all("->" in row["second_category_name"] for row in rows)
    assert {str(row["accepted"]).lower() for row in rows} <= {"true", "false"}
    assert rows[0]["neighbours"].count(";") == 9
    assert "of 10 neighbours are in this category" in rows[0]["reasons"]


def test_a_wrong_end_is_refused_before_any_work(shelf, tmp_path, capsys):
    _, sample, store = shelf
    before = sorted(tmp_path.iterdir())
    for command in (
        ["classify", tmp_path / "no.parquet", "--store", store, "--out", tmp_path / "p.xls"],
        ["neighbours", store, "--text", "a", "--out", tmp_path / "p.xls"],
        ["neighbours", store, "--queries", sample.test, "--out", tmp_path / "p.xls"],
        ["audit", store, "--out", tmp_path / "p.xls"],
    ):
        assert vitrina(*command) == 2
        printed = capsys.readouterr().err
        assert "--out must end in" in printed
        assert ".parquet, .csv, .xlsx, .jsonl, .csv.gz or .jsonl.gz" in printed
    assert sorted(tmp_path.iterdir()) == before


def test_neighbours_of_one_query_as_a_table(shelf, tmp_path, capsys):
    _, _, store = shelf
    out = tmp_path / "near.csv"
    assert vitrina("neighbours", store, "--text", "кружка", "-k", 3, "--out", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    header, *rows = csv.reader(out.read_text(encoding="utf-8-sig").splitlines())
    assert header == ["rank", "product_id", "score", "title", "category_id", "category_name"]
    assert [row[:2] for row in rows] == [
        [str(rank), str(one["product_id"])] for rank, one in enumerate(found, 1)
    ]
    assert [row[3] for row in rows] == [one["title"] for one in found]


def test_neighbours_of_many_products_have_titles_for_people(shelf, tmp_path):
    _, sample, store = shelf
    out = tmp_path / "near.jsonl"
    assert vitrina("neighbours", store, "--queries", sample.test, "--out", out, "-k", 2) == 0
    exact = [json.loads(line) for line in out.read_text().splitlines()]
    flat = tmp_path / "near.xlsx"
    assert vitrina("neighbours", store, "--queries", sample.test, "--out", flat, "-k", 2) == 0
    records = open_table(flat, TableOptions())
    assert records.names[:5] == ("query", "rank", "product_id", "title", "score")
    rows = list(records.rows(["query", "product_id", "title"]))
    assert [(int(a), int(b)) for a, b, _ in rows] == [
        (int(one["query"]), int(one["product_id"])) for one in exact
    ]
    columns = [OpenStore.open(store).products.column(one) for one in ("product_id", "title")]
    titles = dict(zip(*(column.to_pylist() for column in columns), strict=True))
    assert all(titles[int(product)] == title for _, product, title in rows)


@pytest.mark.slow
def test_an_audit_as_a_table_alone_and_beside_its_report(own_store, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    small = ["audit", own_store, "--features", "text", "--folds", 2, "--images", "none"]
    assert vitrina(*small, "--out", out / "a.xlsx") == 0
    assert [file.name for file in out.iterdir()] == ["a.xlsx"]
    names = open_table(out / "a.xlsx", TableOptions()).names
    assert names[:3] == ("rank", "product_id", "title")
    assert "reasons" in names
    report = out / "r.html"
    assert vitrina(*small, "--out", report, "--table", out / "r.csv") == 0
    assert sorted(file.name for file in out.iterdir()) == ["a.xlsx", "r.csv", "r.html"]
    assert vitrina(*small, "--out", out / "b.csv", "--table", out / "r.csv") == 2


def test_neighbours_by_product_text_and_image(shelf, tmp_path, capsys):
    _, sample, store = shelf
    truth = pq.read_table(sample.truth).to_pylist()
    copy = next(
        r for r in truth if r["same_photo"] and r["same_text"] and r["split"] == "train"
        and r["photo"] == "ok"
    )  # fmt: skip
    assert vitrina("neighbours", store, "--product", copy["product_id"], "-k", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 3
    assert found[0]["product_id"] == copy["duplicate_of"]
    assert found[0]["score"] == pytest.approx(1, abs=1e-3)
    assert copy["product_id"] not in [one["product_id"] for one in found]

    assert vitrina("neighbours", store, "--text", found[0]["title"], "--json") == 0
    by_text = json.loads(capsys.readouterr().out)
    assert found[0]["title"] in [one["title"] for one in by_text]

    import zipfile

    photo = tmp_path / "photo.jpg"
    photo.write_bytes(zipfile.ZipFile(sample.images).read(f"images/train/{copy['product_id']}.jpg"))
    assert vitrina("neighbours", "--store", store, "--image", photo, "-k", 2, "--json") == 0
    by_image = json.loads(capsys.readouterr().out)
    pair = {copy["product_id"], copy["duplicate_of"]}
    assert {one["product_id"] for one in by_image} == pair


def test_neighbours_of_one_product_are_filtered(shelf, capsys):
    _, sample, store = shelf
    product = pq.read_table(sample.train).to_pylist()[0]
    asked = ["neighbours", store, "--product", product["product_id"], "--json", "-k", 1000]
    assert vitrina(*asked, "--category", product["category_id"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert {one["category_id"] for one in same} == {product["category_id"]}
    assert vitrina(*asked, "--where", "rating>=4", "--where", "sale=true", "--other-shops") == 0
    found = {one["product_id"] for one in json.loads(capsys.readouterr().out)}
    expected = {
        row["product_id"]
        for row in pq.read_table(sample.train).to_pylist()
        if row["rating"] >= 4 and row["sale"] and row["shop_title"] != product["shop_title"]
    }
    assert found == expected != set()
    assert vitrina(*asked, "--where", "rating") == 2
    assert "is no condition" in error_line(capsys)


def test_neighbours_of_many(shelf, tmp_path, capsys):
    _, sample, store = shelf
    ids = pq.read_table(sample.train).column("product_id").to_pylist()[:20]
    pq.write_table(pa.table({"product_id": [*ids, 1]}), tmp_path / "ids.parquet")
    out = tmp_path / "near.parquet"
    asked = ["neighbours", store, "--queries", tmp_path / "ids.parquet", "--out", out, "-k", 4]
    assert vitrina(*asked, "--no-duplicates", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["queries"], report["found"], report["missing"]) == (21, 20, 1)
    rows = pq.read_table(out).to_pylist()
    assert [row["query"] for row in rows] == [one for one in ids for _ in range(4)]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4] * 20
    (error,) = pq.read_table(tmp_path / "near.errors.parquet").to_pylist()
    assert (error["product_id"], error["row"]) == ("1", 21)

    assert vitrina("neighbours", store, "--queries", sample.test, "--out", out, "-k", 2) == 0
    asked = pq.read_table(sample.test).column("product_id").to_pylist()
    rows = pq.read_table(out).to_pylist()
    assert [row["query"] for row in rows] == [one for one in asked for _ in range(2)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"done: {2 * len(asked)} neighbours of {len(asked)} of ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--product", "1", "--text", "a"],
        ["--product", "1", "--queries", "a.parquet", "--out", "b.parquet"],
        ["--text", "a", "--queries", "a.parquet", "--out", "b.parquet"],
        ["--queries", "a.parquet"],
        ["--product", "1", "--images", "photos"],
        ["--text", "a", "--no-duplicates"],
        ["--image", "a.jpg", "--other-shops"],
        ["--product", "1", "-k", "0"],
    ],
)
def test_questions_that_make_no_sense_exit_with_2(shelf, capsys, arguments):
    assert vitrina("neighbours", shelf[2], *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vitrina: ")
    assert captured.err.endswith("see `vitrina neighbours --help`\n")


@pytest.mark.slow
def test_an_index_behind_its_store_is_told_once_as_plain_text(shelf, own_store):
    _, sample, _ = shelf
    assert vitrina("embed", sample.test, "--store", own_store) == 0
    # Not in this process: pytest listens to all logging.
    command = [sys.executable, "-m", "vitrina.cli", "neighbours", own_store, "--text", "чай"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert done.stderr == (
        f"warning: the index is behind its store ({sample.test_products} added since it was "
        "brought up to date); run `vitrina index`\n"
    )
    assert len(json.loads(done.stdout)) == 10


def test_index_evaluates_its_vote_and_keeps_the_rule(shelf, own_store, tmp_path, capsys):
    _, sample, _ = shelf
    assert vitrina("index", own_store, "--evaluate", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"index", "evaluation"}
    rule = report["evaluation"]["rule"]
    assert report["index"]["vote"]["rule"] == rule
    assert report["index"]["vote"]["weighted_f1"] == report["evaluation"]["metrics"]["weighted_f1"]
    assert vitrina("index", own_store, "--json") == 0
    assert json.loads(capsys.readouterr().out) == report["index"]
    assert vitrina("info", own_store, "--json") == 0
    assert json.loads(capsys.readouterr().out)["indexes"] == [report["index"]]
    assert vitrina("index", own_store, "--evaluate") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("done: fused index of ")
    assert any(line.startswith("default: similarity, 10 nearest ") for line in lines)
    out = tmp_path / "predictions.parquet"
    assert vitrina("classify", sample.test, "--store", own_store, "--out", out) == 0
    assert vitrina("verify", own_store) == 0


def test_info_tells_what_is_there(shelf, capsys):
    _, sample, store = shelf
    assert vitrina("info", store, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["products"] == sample.train_products
    assert found["categories"] == sample.categories
    assert {space["name"] for space in found["spaces"]} == {"text-lexical", "image-thumbnail"}
    assert [card["features"] for card in found["indexes"]] == ["fused"]
    assert [model["name"] for model in found["models"]] == ["fused-logistic"]
    assert vitrina("info", store) == 0
    assert f"done: {store}" in capsys.readouterr().out


def test_a_rerun_remembers_how_the_catalogue_was_read(shelf, own_store, capsys):
    _, sample, _ = shelf
    assert vitrina("embed", sample.train, "--store", own_store, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [space["space"] for space in report["spaces"]] == ["text-lexical", "image-thumbnail"]
    assert [space["embedded"] for space in report["spaces"]] == [0, 0]


def test_a_second_writer_is_refused(shelf, own_store, capsys):
    _, sample, _ = shelf
    with OpenStore.open(own_store).writer("embed"):
        for command in (["embed", sample.train, "--store"], ["index"], ["train"]):
            assert vitrina(*command, own_store) == 1
            assert "is being written by `vitrina embed` (process" in error_line(capsys)
    assert vitrina("index", own_store) == 0


@pytest.mark.slow
def test_a_head_of_other_vectors_is_refused(shelf, own_store, capsys):
    _, sample, _ = shelf
    lexical = ("--refit", "--text-model", "lexical")
    assert vitrina("embed", sample.test, "--store", own_store, *lexical) == 0
    capsys.readouterr()
    before = sorted(path.name for path in own_store.rglob("*"))
    assert vitrina("neighbours", own_store, "--text", "кружка") == 1
    line = error_line(capsys)
    prints = re.findall(r"[0-9a-f]{12,}", line)
    assert len(set(prints)) >= 2
    assert "run `vitrina index` again" in line
    assert sorted(path.name for path in own_store.rglob("*")) == before


def test_an_edited_card_of_a_head_is_refused(own_store, shelf, tmp_path, capsys):
    _, sample, _ = shelf
    (path,) = own_store.glob("models/fused-logistic-*/model.json")
    card = json.loads(path.read_text())
    card["inputs"][0]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(card))
    out = tmp_path / "out.parquet"
    assert vitrina("classify", sample.test, "--store", own_store, "--out", out) == 1
    line = error_line(capsys)
    assert f"{path} is damaged" in line
    assert "run `vitrina train` again" in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--images", "nowhere.zip"], 1, ["nowhere.zip", "--images"]),
        (["--title-column", "tittle"], 1, ["tittle", "text_fields", "--title-column"]),
        (["--category-column", "catgory"], 1, ["catgory", "--category-column"]),
        (["--text-model", "nothing-here"], 2, ["nothing-here", "lexical"]),
        (["--text-model", "thumbnail"], 2, ["thumbnail", "image"]),
        (["--text-model", "none", "--image-model", "none"], 2, ["none"]),
    ],
)
def test_bad_options_give_one_line_and_no_store(shelf, tmp_path, capsys, arguments, code, words):
    _, sample, _ = shelf
    options = ["--images", sample.images, "--text-model", "lexical", "--image-model", "thumbnail"]
    for flag, value in zip(arguments[::2], arguments[1::2], strict=True):
        options += [flag, value]
    assert vitrina("embed", sample.train, "--store", tmp_path / "new", *options) == code
    line = error_line(capsys)
    for word in words:
        assert word in line
    assert not (tmp_path / "new" / "products").exists()


def test_an_unreachable_hub_names_the_ways_on(shelf, tmp_path, capsys, monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_, **__):
        raise LocalEntryNotFoundError("Got: ConnectError: Name or service not known")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    _, sample, _ = shelf
    assert vitrina("embed", sample.train, "--store", tmp_path / "new") == 1
    line = error_line(capsys)
    for way in ("cointegrated/rubert-tiny2", "local directory", "cache", "lexical"):
        assert way in line


def test_a_missing_catalogue_store_or_head(shelf, tmp_path, capsys):
    _, sample, _ = shelf
    assert vitrina("embed", tmp_path / "no.parquet", "--store", tmp_path / "s") == 1
    assert "no.parquet" in error_line(capsys)
    assert not (tmp_path / "s").exists()
    assert vitrina("info", tmp_path / "s") == 1
    assert "is not a store" in error_line(capsys)
    embed = ["embed", sample.train, "--store", tmp_path / "s", "--text-model", "lexical"]
    assert vitrina(*embed, "--image-model", "none") == 0
    capsys.readouterr()
    assert (
        vitrina("classify", sample.test, "--store", tmp_path / "s", "--out", tmp_path / "o.csv")
        == 1
    )
    assert "vitrina train" in error_line(capsys)


def test_usage_errors_exit_with_2(shelf):
    assert vitrina("neighbours", shelf[2]) == 2
    assert vitrina("train", shelf[2], "--epochs", "0") == 2
    assert vitrina("nonsense") == 2


def test_every_command_and_option_has_help():
    import typer

    group = typer.main.get_command(cli.app)
    assert set(group.commands) == {
        "demo", "embed", "index", "train", "classify", "neighbours", "info", "verify",
        "compact", "pretrain", "finetune", "benchmark", "audit", "review", "decisions",
        "cache", "convert-model", "export-model", "models", "work",
    }  # fmt: skip
    for name, command in group.commands.items():
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", None), f"{name} {option.name}"


def test_demo_writes_its_catalogue_alone(tmp_path):
    assert vitrina("demo", "--out", tmp_path, "--products", 60, "--catalogue-only") == 0
    names = {path.name for path in Path(tmp_path).iterdir()}
    assert {"train.parquet", "test.parquet", "images.zip", "truth.parquet"} <= names


@pytest.mark.slow
def test_the_demo_shows_what_it_promises(tmp_path, capsys):
    assert vitrina("demo", "--out", tmp_path / "demo", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    scores = {head["features"]: head["validation"]["weighted_f1"] for head in report["heads"]}
    assert scores["fused"] > max(scores["text"], scores["image"])
    truth = pq.read_table(tmp_path / "demo/catalogue/truth.parquet").to_pylist()
    broken = [r for r in truth if r["photo"] == "broken" and r["split"] == "train"]
    assert report["broken_photos_in_errors"] == len(broken) > 0
    wrong = sum(row["wrong_label"] for row in truth)
    assert report["wrong_labels_on_top"] >= 0.7 * wrong > 10
    assert (tmp_path / "demo/report.html").exists()
    assert vitrina("demo", "--out", tmp_path / "demo") == 1
    assert "--out" in capsys.readouterr().err
