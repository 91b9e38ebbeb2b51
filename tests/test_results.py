"""Results as tables, and what objects show of themselves."""

import html.parser
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vitrina as vt
from support.audits import audited
from vitrina.audit.results import Audit
from vitrina.errors import MissingPackageError
from vitrina.page.summary import (
    MOST_LINES,
    WIDTH,
    Summarised,
    Summary,
    SummaryTable,
    as_html,
    as_text,
)
from vitrina.pipelines.classify.predictions import Predictions
from vitrina.results import ResultTable
from vitrina.store.decisions import Decision, add_decisions
from vitrina.types import Action


def table():
    near = pa.list_(pa.struct([("product_id", pa.int64()), ("score", pa.float32())]))
    return pa.table(
        {
            "product_id": pa.array([1, 2, 3]),
            "category_id": pa.array([10, None, 11]),
            "name": pa.array(["чай", None, "мыло"]),
            "accepted": pa.array([True, None, False]),
            "probability": pa.array([0.5, None, 1.0], pa.float32()),
            "near": pa.array([[{"product_id": 7, "score": 0.5}], [], None], near),
            "alone": pa.array([{"text": 0.25}, None, {"text": None}]),
        }
    )


def test_pandas_gets_the_dtypes_that_people_expect():
    frame = ResultTable(table()).to_pandas()
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    text = str(pd.Series(["a"]).dtype)
    assert kinds == {
        "product_id": "int64",
        "category_id": "Int64",
        "name": text,
        "accepted": "boolean",
        "probability": "float32",
        "near": "object",
        "alone": "object",
    }
    assert frame["category_id"][0] == 10
    assert frame["category_id"][1] is pd.NA
    assert frame["near"].tolist() == [[{"product_id": 7, "score": 0.5}], [], None]
    assert frame["alone"].tolist() == [{"text": 0.25}, None, {"text": None}]
    assert list(frame.index) == [0, 1, 2]


def test_polars_and_arrow_get_the_same():
    result = ResultTable(table())
    assert result.to_polars().to_dicts() == table().to_pylist()
    assert result.to_arrow() is result.to_arrow()
    assert pa.table(result) == table()
    assert pl.DataFrame(result).height == 3
    assert duckdb.from_arrow(pa.RecordBatchReader.from_stream(result)).shape == (3, 7)


def test_without_polars_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(
        MissingPackageError, match=r"polars, which is not installed: `pip install 'vitrina"
    ):
        ResultTable(table()).to_polars()
    with pytest.raises(ImportError):
        ResultTable(table()).to_polars()


def test_a_result_is_a_sequence_with_columns():
    result = ResultTable(table())
    assert len(result) == result.num_rows == 3
    assert result[0] == table().to_pylist()[0]
    assert result[-1]["name"] == "мыло"
    assert [row["product_id"] for row in result] == [1, 2, 3]
    assert result[1:]["product_id"].to_pylist() == [2, 3]
    assert result[::-2]["product_id"].to_pylist() == [3, 1]
    assert result[3:] == ResultTable(table().slice(3))
    assert result["name"].to_pylist() == ["чай", None, "мыло"]
    assert result.column("name") == result["name"]
    assert result.column_names == table().column_names
    assert result.num_columns == len(result.columns) == 7
    assert result.schema == table().schema
    assert result.to_pylist() == table().to_pylist()
    assert result == table()
    assert result == ResultTable(table())
    assert result != ResultTable(table().slice(1))
    with pytest.raises(IndexError):
        result[3]
    with pytest.raises(KeyError):
        result["nothing"]


# -- the results of jobs ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(sample, tmp_path_factory):
    """A store of the sample with an index, a head and an audit, and the reports of all jobs."""
    folder = tmp_path_factory.mktemp("shown")
    store = vt.Store.open(folder / "store", create=True)
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    reports = {"embed": vt.embed(catalogue, store, text="lexical", image="none", max_failures=0.5)}
    reports["index"] = vt.build_index(store, "text")
    reports["train"] = vt.train(store, "logistic", features="text", epochs=2)
    reports["evaluation"] = vt.evaluate_index(store)
    audited(store, count=12)
    reports["audit"] = Audit.of(store)
    first = reports["audit"].suspects[0]
    decision = Decision(first.product_id, Action.MOVE, first.given, first.suggested)
    add_decisions(store.files, store.products, [decision])
    batch = vt.open_batch(sample.test, store, images="none")
    reports["predictions"] = vt.classify(batch, store)
    reports["classify"] = vt.classify_to(batch, store, folder / "out.parquet")
    reports["queries"] = vt.neighbours_to(store, sample.test, folder / "near.parquet", k=3)
    reports["neighbours"] = vt.open_index(store).search(text="красная кружка", k=3)
    reports["describe"] = vt.describe(store)
    reports["verify"] = vt.verify(store.place)
    reports["compact"] = vt.compact(store)
    reports["decisions"] = store.decisions()
    reports["products"] = store.products
    reports["catalogue"] = catalogue
    reports["store"] = store
    reports["space"] = reports["embed"].spaces[0]
    reports["votes"] = reports["evaluation"].votes
    return reports


SHOWN = [
    *("audit", "catalogue", "classify", "compact", "decisions", "describe", "embed", "evaluation"),
    *("index", "neighbours", "predictions", "products", "queries", "space", "store", "train"),
    *("verify", "votes"),
]


def test_predictions_are_what_the_file_has(shelf):
    predictions = shelf["predictions"]
    assert isinstance(predictions, Predictions)
    assert len(predictions) == 18
    written = pq.read_table(shelf["classify"].out)
    assert predictions.to_arrow() == written
    assert predictions["product_id"].to_pylist() == written["product_id"].to_pylist()
    frame = predictions.to_pandas()
    assert frame["predicted_category_id"].dtype == np.int64
    assert type(frame["top_k"][0]) is list
    assert frame["top_k"][0][0]["category_id"] == predictions[0]["predicted_category_id"]
    assert predictions.report.products == 18
    assert predictions[2:4].report is predictions.report
    assert set(predictions.to_polars().columns) == set(predictions.column_names)


def test_a_batch_without_rows_has_predictions_without_rows(shelf):
    batch = vt.open_batch(pd.DataFrame({"product_id": [1], "title": ["a"]})[:0], shelf["store"])
    predictions = vt.classify(batch, shelf["store"])
    assert len(predictions) == 0
    assert predictions.column_names == shelf["predictions"].column_names


def test_neighbours_are_rows_with_attributes(shelf):
    near = shelf["neighbours"]
    assert len(near) == 3
    assert near[0].score >= near[1].score
    assert [one.product_id for one in near] == near["product_id"].to_pylist()
    frame = near.to_pandas()
    assert frame.columns.tolist() == [
        "product_id",
        "score",
        "title",
        "category_id",
        "category_name",
    ]
    assert frame["score"][0] == near[0].score


def test_findings_of_an_audit(shelf):
    audit = shelf["audit"]
    assert len(audit) == len(list(audit)) == 12
    assert audit[0] is audit.suspects[0]
    assert audit[:2] == audit.suspects[:2]
    frame = audit.to_pandas()
    assert frame["rank"].tolist() == [one.rank for one in audit]
    assert frame["given_category_name"][0] == audit.names[audit[0].given]
    assert frame["suggested_category_name"][0] == audit.names[audit[0].suggested]
    assert frame["reasons"][0] == [str(one) for one in audit[0].reasons]
    assert audit.to_polars().height == 12


def test_decisions_products_and_descriptions(shelf):
    decisions = shelf["decisions"]
    assert len(decisions) == 1
    assert decisions[0].action is Action.MOVE
    assert decisions.to_pandas()["action"].tolist() == ["move"]
    products = shelf["products"].to_pandas()
    assert len(products) == len(shelf["store"]) == len(shelf["products"])
    assert shelf["products"].to_arrow(["title"]).column_names == ["title"]
    described = shelf["describe"]
    assert described["products"] == len(products)
    frame = described.to_pandas()
    assert frame.columns.tolist() == ["part", "name", "property", "value"]
    (dim,) = frame.query("part == 'space' and property == 'dim'")["value"]
    assert int(dim) == described["spaces"][0]["dim"]


REPORT = re.compile(r"^class ([A-Z]\w*(?:Report|Evaluation)|Benchmark)(\(.*\))?:", re.MULTILINE)


def test_every_report_shows_itself():
    package = Path(vt.__file__).parent
    found = {
        name: bases
        for path in package.rglob("*.py")
        for name, bases in REPORT.findall(path.read_text(encoding="utf-8"))
    }
    assert {"EmbedReport", "TrainReport", "IndexEvaluation", "Benchmark"} <= found.keys()
    assert {name for name, bases in found.items() if not bases.startswith("(Summarised")} == set()


# -- repr ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHOWN)
def test_a_repr_is_short(shelf, name):
    lines = repr(shelf[name]).splitlines()
    assert 1 <= len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= WIDTH
    assert " object at 0x" not in repr(shelf[name])
    assert "can't be shown" not in repr(shelf[name])
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", repr(shelf[name]))


class Checker(html.parser.HTMLParser):
    """Checks that every element is closed, and collects their names and the text."""

    def __init__(self, content):
        super().__init__()
        self.open, self.names, self.text = [], set(), ""
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag, _):
        self.open.append(tag)
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", SHOWN)
def test_html_is_sound_and_short(shelf, name):
    content = shelf[name]._repr_html_()
    checked = Checker(content)
    assert checked.names <= {"div", "table", "tr", "th", "td", "thead", "tbody"}
    assert len(content) < 20_000
    assert "can't be shown" not in content


def test_what_a_store_shows(shelf):
    shown = repr(shelf["store"])
    assert shown.startswith(f"Store {shelf['store'].place}, commit ")
    assert re.search(r"products +102, \d+ with text, .* in \d+ categories", shown)
    assert "space text-lexical  lexical, 102 x " in shown
    assert re.search(r"indexes +text", shown)
    assert re.search(r"audit +yes", shown)


def test_what_a_trained_head_shows(shelf):
    report = shelf["train"]
    shown = repr(report)
    assert "weighted F1" in shown
    assert f"{report.validation.weighted_f1:.4g}" in shown


def test_an_index_has_the_length_of_its_rows(shelf):
    assert len(shelf["index"]) == shelf["index"].card["rows"]


def test_a_catalogue_shows_its_columns(shelf, sample):
    shown = repr(shelf["catalogue"])
    assert str(sample.train) in shown
    assert "product_id" in shown
    assert str(sample.images) in shown
    first = next(iter(shelf["catalogue"]))
    assert str(first.product_id) in shown
    assert f"… › {first.category_name.split('->')[-1]}"[:20] in shown


def test_a_store_that_is_gone_shows_one_line_more(embedded_sample, tmp_path):
    path = tmp_path / "store"
    shutil.copytree(embedded_sample, path)
    store = vt.Store.open(path, create=True)
    before = repr(store)
    (part,) = (path / "products").glob("*.parquet")
    part.write_bytes(b"PAR1")
    assert "they can't be read" in repr(store)
    assert len(store) == 102
    shutil.rmtree(path)
    assert repr(store).splitlines()[0] == before.splitlines()[0]
    assert "they can't be read" in Checker(store._repr_html_()).text
    assert repr(store.products).startswith("Products: 102") or "can't be shown" in repr(
        store.products
    )
    assert bool(store)
    empty = vt.Store.open(tmp_path / "empty", create=True)
    assert repr(empty).startswith(f"Store {tmp_path}")
    assert ": nothing in it" in repr(empty)
    assert len(empty) == 0
    assert bool(empty)


def test_a_repr_loads_no_torch(shelf):
    code = (
        "import sys, vitrina as vt\n"
        f"store = vt.Store.open({shelf['store'].place!r}, create=False)\n"
        "repr(store), store._repr_html_(), repr(store.products)\n"
        "print(sorted({'torch', 'faiss', 'pandas', 'polars', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- the helper ------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>\n\x1b[31m'\"&\u202e\ud800"


def hostile():
    rows = [[HOSTILE * 40, HOSTILE], [None, float("nan")]] * 20
    return Summary(
        HOSTILE, [(HOSTILE, HOSTILE * 9)] * 3, SummaryTable([HOSTILE, "b"], rows, 5), [HOSTILE]
    )


def test_hostile_text_stays_text():
    content = as_html(hostile())
    assert "script" not in Checker(content).names
    assert "<script>" in Checker(content).text
    for shown in (content, as_text(hostile())):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        shown.encode()
    lines = as_text(hostile()).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= WIDTH


def test_text_of_a_summary():
    shown = Summary(
        "Things: 3",
        [("one", 1), ("none", None), ("empty", ""), ("kinds", {"a": 1, "b": 0.5})],
        SummaryTable(["name", "count"], [["x", 10], ["yy", 2.5]], more=1200),
        ["a note"],
    )
    assert as_text(shown).splitlines() == [
        "Things: 3",
        "  one    1",
        "  kinds  a 1, b 0.5",
        "  name  count",
        "  x        10",
        "  yy      2.5",
        "  and 1,200 more rows",
        "  a note",
    ]


def test_what_does_not_fit_is_counted():
    facts = [(f"fact {at}", at) for at in range(30)]
    lines = as_text(Summary("Much", facts)).splitlines()
    assert len(lines) == MOST_LINES
    assert lines[-1] == "  and 17 more lines"
    wide = SummaryTable([f"column {at}" for at in range(20)], [["x" * 20] * 20])
    shown = as_text(Summary("Wide", (), wide))
    assert "columns column 4, " in shown


def test_a_repr_never_raises():
    class Broken(Summarised):
        def summary(self):
            raise RuntimeError("no\nluck")

    class WorseError(Exception):
        def __str__(self):
            raise ValueError

    class Worst(Summarised):
        def summary(self):
            raise WorseError

    assert repr(Broken()) == "<Broken that can't be shown: no luck>"
    assert "Broken that can&#39;t be shown" in Broken()._repr_html_()
    assert repr(Worst()) == "<Worst that can't be shown: WorseError>"

    @dataclass(repr=False)
    class Long(Summarised):
        rows: list[int]

        def summary(self):
            return Summary("Long", [("rows", self.rows)])

    assert repr(Long(list(range(90_000)))) == "Long\n  rows  0, 1, 2, 3, 4, and 89995 more"


def test_results_are_written_in_any_format(shelf, tmp_path):
    predictions = shelf["predictions"]
    assert predictions.write(tmp_path / "p.parquet") == len(predictions)
    assert pq.read_table(tmp_path / "p.parquet").equals(predictions.to_arrow())
    assert predictions.write(tmp_path / "p.csv", csv_separator=";") == len(predictions)
    flat = pd.read_csv(tmp_path / "p.csv", sep=";", encoding="utf-8-sig", dtype=str)
    assert flat["product_id"].tolist() == [str(one["product_id"]) for one in predictions]
    with pytest.raises(vt.OptionError, match="if_exists must be"):
        predictions.write("sqlite:///x.db", table="t", if_exists="never")
    with pytest.raises(vt.OptionError, match=r"must end in .parquet"):
        predictions.write(tmp_path / "p.txt")
