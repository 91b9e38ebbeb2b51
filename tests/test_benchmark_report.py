"""The benchmark's report: its numbers by brute force, its files after a kill, its page parsed."""

import json
import math
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import f1_score

from support.benchmark_tables import METHODS, benchmark, category_names, left_out_row
from support.heavy_modules import HEAVY
from vitrina.classifier.metrics import evaluate
from vitrina.errors import StoreError
from vitrina.page.charts import Axis
from vitrina.page.words import duration
from vitrina.pipelines.benchmark import rows as rows_module
from vitrina.pipelines.benchmark.figures import (
    SIZES,
    ConfusedPair,
    confused_pairs,
    coverage_curve,
    f1_by_size,
)
from vitrina.pipelines.benchmark.page import page
from vitrina.pipelines.benchmark.rows import MethodsTable, Row, read_row, write_row
from vitrina.pipelines.benchmark.text import COLUMNS, lines, markdown, rate, to_json
from vitrina.training.loop import Epoch
from vitrina.types import Features

EVIL = "<script>alert(1)</script>"
ONE = METHODS[1:2]


@pytest.fixture(scope="module")
def table():
    return benchmark(extra=[left_out_row()])


def small(true, predicted, confidence=None, sizes=None, names=None):
    """A table of one method."""
    true, predicted = np.array(true, np.int64), np.array(predicted, np.int64)
    classes = int(max(true.max(), predicted.max())) + 1
    sizes = np.array(sizes or [5] * classes, np.int64)
    if confidence is not None:
        confidence = np.array(confidence, np.float32)
    metrics = evaluate(true, predicted, confidence, classes=len(sizes), bootstrap=5)
    row = Row("one", Features.TEXT, metrics, metrics, 1.0, 10.0, (), "", "", predicted, confidence)
    return MethodsTable({}, (row,), true, sizes, names or category_names(len(sizes)))


def with_row(table, **changes):
    """The table with its first method changed."""
    return replace(table, rows=(replace(table.rows[0], **changes), *table.rows[1:]))


# Figures


def test_f1_by_size_is_the_mean_of_sklearns(table):
    row = table.ranked[0]
    labels = list(range(len(table.names)))
    f1 = f1_score(table.true, row.predicted, labels=labels, average=None, zero_division=0)
    support = Counter(table.true.tolist())
    bins = {one.smallest: one for one in f1_by_size(row, table)}
    ends = (*SIZES[1:], math.inf)
    for smallest, end in zip(SIZES, ends, strict=True):
        inside = [code for code in labels if smallest <= table.sizes[code] < end and support[code]]
        if not inside:
            assert smallest not in bins
            continue
        one = bins[smallest]
        assert one.categories == len(inside)
        assert one.rows == sum(support[code] for code in inside)
        assert one.f1 == pytest.approx(np.mean([f1[code] for code in inside]))
    assert sum(one.rows for one in bins.values()) == len(table.true)
    assert len(bins) > 4


def test_bins_are_cut_at_their_edges_and_unseen_categories_have_their_own():
    sizes = [0, 1, 2, 4, 5, 299, 300, 7]
    table = small([0, 1, 2, 3, 4, 5, 6], [1, 1, 2, 3, 4, 5, 6], sizes=sizes)
    found = [(one.label, one.categories, one.f1) for one in f1_by_size(table.rows[0], table)]
    expected = [("0", 1, 0), ("1", 1, 2 / 3), ("2–4", 2, 1), ("5–9", 1, 1), ("100–299", 1, 1)]
    # The category of 7 rows has no validation row: it counts nowhere.
    assert found == [*expected, ("300+", 1, 1)]


def test_confused_pairs_are_those_of_a_count(table):
    row = table.ranked[0]
    ways = Counter(
        (t, p) for t, p in zip(table.true.tolist(), row.predicted.tolist(), strict=True) if t != p
    )
    both = Counter()
    for (true, predicted), count in ways.items():
        both[frozenset((true, predicted))] += count
    expected = sorted(both.items(), key=lambda one: (-one[1], sorted(one[0])))[:20]
    found = confused_pairs(row, table)
    assert [frozenset((pair.true, pair.predicted)) for pair in found] == [p for p, _ in expected]
    for pair in found:
        assert pair.count == ways[pair.true, pair.predicted] >= pair.back
        assert pair.back == ways[pair.predicted, pair.true]
        assert pair.true_rows == np.count_nonzero(table.true == pair.true)
        assert pair.predicted_rows == np.count_nonzero(table.true == pair.predicted)
        assert pair.share == pair.count / pair.true_rows


def test_pairs_put_both_directions_together_and_pass_over_no_prediction():
    #                 0→1 twice, 1→0 thrice, 2→3 once, one row without a prediction
    table = small([0, 0, 1, 1, 1, 1, 2, 2, 0], [1, 1, 0, 0, 0, 1, 3, -1, 0])
    assert confused_pairs(table.rows[0], table) == (
        ConfusedPair(true=1, predicted=0, count=3, back=2, true_rows=4, predicted_rows=3),
        ConfusedPair(true=2, predicted=3, count=1, back=0, true_rows=2, predicted_rows=0),
    )
    first, second = confused_pairs(table.rows[0], table)
    assert (first.share, first.share_back) == (3 / 4, 2 / 3)
    assert (second.share, second.share_back) == (1 / 2, 0)
    assert len(confused_pairs(table.rows[0], table, top=1)) == 1
    assert confused_pairs(*(lambda t: (t.rows[0], t))(small([0, 1], [0, 1]))) == ()


def test_coverage_takes_equal_confidences_together():
    table = small([0, 0, 0, 1, 1], [0, 1, 0, 1, -1], [0.5, 0.5, 0.9, 0.7, 0.1])
    curve = coverage_curve(table.rows[0], table)
    assert curve.threshold == pytest.approx([0.9, 0.7, 0.5, 0.1])
    assert curve.coverage == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert curve.precision == pytest.approx([1, 1, 3 / 4, 3 / 5])


def test_coverage_curve_by_brute_force_and_by_the_metrics(table):
    for row in table.ranked:
        curve = coverage_curve(row, table)
        thresholds = sorted(set(row.confidence.tolist()), reverse=True)
        assert curve.threshold.tolist() == thresholds
        for at in range(0, len(thresholds), 37):
            taken = row.confidence >= np.float32(thresholds[at])
            assert curve.coverage[at] == pytest.approx(taken.mean())
            right = (row.predicted == table.true)[taken]
            assert curve.precision[at] == pytest.approx(right.mean())
        assert curve.precision[-1] == pytest.approx(row.validation.accuracy)
        good = curve.coverage[curve.precision >= 0.95 - 1e-12]
        assert max(good, default=0) == pytest.approx(row.validation.coverage_at_95)


def test_figures_need_predictions(table):
    bare = replace(table.rows[1], predicted=None, confidence=None)
    for figure in (f1_by_size, confused_pairs, coverage_curve):
        with pytest.raises(ValueError, match=r"has no (predictions|confidences)"):
            figure(bare, table)


# Rows and tables


def test_parts_that_do_not_fit_are_refused(table):
    row = table.ranked[0]
    for changes, message in [
        ({"left_out": "why"}, "either be left out"),
        ({"validation": None}, "either be left out"),
        ({"confidence": row.confidence[1:]}, "one confidence"),
        ({"predicted": None}, "one confidence"),
        ({"confidence": row.confidence * np.float32("nan")}, "NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            replace(row, **changes)
    for changes, message in [
        ({"rows": (row, row)}, "same name"),
        ({"sizes": table.sizes[1:]}, "sizes"),
        ({"true": table.true + 60}, "true categories"),
        ({"true": table.true[1:]}, "predictions"),
        ({"rows": (replace(row, predicted=row.predicted - 5),)}, "outside"),
    ]:
        with pytest.raises(ValueError, match=message):
            replace(table, **changes)


def test_methods_are_ranked_and_the_best_of_each_modality_known(table):
    scores = [row.validation.weighted_f1 for row in table.ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 14
    assert [row.name for row in table.left_out] == ["frozen DINOv2"]
    for modality in Features:
        best = max(
            (row for row in table.rows if row.modality is modality and row.validation),
            key=lambda row: row.validation.weighted_f1,
        )
        assert table.best[modality] is best
        assert table.is_best(best)
    assert next(iter(table.best.values())) is table.ranked[0]
    assert sum(map(table.is_best, table.rows)) == 3


# JSON and files


def same(one, other):
    """Whether two rows are equal, arrays and NaN included."""
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())
    for array in ("predicted", "confidence"):
        mine, theirs = getattr(one, array), getattr(other, array)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype
            assert np.array_equal(mine, theirs)
    return True


def nan_row(table):
    history = (Epoch(0, 2.5, math.nan, 1.0), Epoch(1, math.inf, 0.25, 1.5))
    return replace(table.rows[-1], history=history, note="«новые» веса | <b>")


def test_a_row_goes_through_strict_json(table):
    row = nan_row(table)
    told = json.loads(json.dumps(row.to_json(), allow_nan=False))
    assert [epoch["score"] for epoch in told["history"]] == [None, 0.25]
    read = Row.from_json(told)
    assert (read.predicted, read.confidence) == (None, None)
    assert read.validation == row.validation
    assert read.train == row.train
    assert (read.name, read.modality, read.note) == (row.name, row.modality, row.note)
    assert (read.seconds, read.per_second) == (row.seconds, row.per_second)
    assert math.isnan(read.history[0].score)
    assert read.history[1].score == 0.25
    assert read.to_json() == told
    left = left_out_row()
    assert Row.from_json(left.to_json()).to_json() == left.to_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 7},
        {"modality": "smell"},
        {"validation": {}},
        {"train": {}},
        {"history": [1]},
        {"seconds": None},
        {"left_out": "why"},
    ],
)
def test_what_is_no_row_is_refused(table, changes):
    with pytest.raises(StoreError):
        Row.from_json({**table.ranked[0].to_json(), **changes})


def read_rows(folder, **given):
    """All rows that are there, each by the name that its file holds."""
    names = set()
    for path in folder.glob("*.json"):
        with suppress(ValueError, KeyError, TypeError, OSError):
            names.add(json.loads(path.read_bytes())["row"]["name"])
    found = (read_row(folder, name, **given) for name in sorted(names))
    return tuple(row for row in found if row is not None)


def test_rows_are_read_as_they_were_written(tmp_path, table):
    folder = tmp_path / "deep" / "rows"
    assert read_rows(folder) == ()
    written = {row.name: row for row in (nan_row(table), *table.rows[:4])}
    for row in written.values():
        write_row(folder, row)
    found = {row.name: row for row in read_rows(folder)}
    assert found.keys() == written.keys()
    assert all(same(row, written[name]) for name, row in found.items())
    # The row that was left out has no arrays, so no second file.
    assert len(list(folder.glob("*.json"))) == 5
    assert len(list(folder.glob("*.npz"))) == 4


def test_a_row_written_again_replaces_the_first(tmp_path, table):
    row = table.rows[1]
    write_row(tmp_path, row)
    again = replace(row, seconds=99.0, predicted=row.predicted[::-1].copy())
    write_row(tmp_path, again)
    (found,) = read_rows(tmp_path)
    assert same(found, again)


def test_names_that_look_alike_have_files_of_their_own(tmp_path, table):
    names = ["SVM: text", "SVM / text", "свм", "век", "x" * 300]
    for name in names:
        write_row(tmp_path, replace(table.rows[1], name=name))
    assert sorted(row.name for row in read_rows(tmp_path)) == sorted(names)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("moment", ["arrays", "between", "told"])
def test_a_killed_writer_leaves_no_half_row(tmp_path, table, monkeypatch, moment, again):
    other, row = table.rows[1], table.rows[2]
    write_row(tmp_path, other)
    if again:
        write_row(tmp_path, replace(row, confidence=row.confidence / 2))
    if moment == "between":
        monkeypatch.setattr("vitrina.store.files.write_json", killed)
    else:
        # Killed with -9, a writer leaves its temporary file behind.
        monkeypatch.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        number = {"arrays": 1, "told": 2}[moment]
        monkeypatch.setattr("vitrina.atomic_files.sync", killed_at(number))
    with pytest.raises(KeyboardInterrupt):
        write_row(tmp_path, row)
    monkeypatch.undo()
    found = {one.name: one for one in read_rows(tmp_path)}
    assert same(found.pop(other.name), other)
    if again and moment == "arrays":
        assert np.array_equal(found.pop(row.name).confidence, row.confidence / 2)
    assert not found
    write_row(tmp_path, row)
    assert same(next(one for one in read_rows(tmp_path) if one.name == row.name), row)


def killed(*_):
    raise KeyboardInterrupt


def killed_at(number):
    # Each file that is put in place flushes itself, then its folder.
    left = iter([None] * (2 * (number - 1)))

    def sync(_):
        if next(left, killed) is killed:
            raise KeyboardInterrupt

    return sync


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "missing", "other"])
def test_damaged_arrays_are_passed_over(tmp_path, table, harm):
    for row in table.rows[1:3]:
        write_row(tmp_path, row)
    stem = rows_module._stem(table.rows[1].name)
    arrays = tmp_path / f"{stem}.npz"
    content = bytearray(arrays.read_bytes())
    if harm == "missing":
        arrays.unlink()
    elif harm == "other":
        arrays.write_bytes((tmp_path / f"{rows_module._stem(table.rows[2].name)}.npz").read_bytes())
    else:
        content[len(content) // 2] ^= 1
        kept = {"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[harm]
        arrays.write_bytes(kept)
    assert [row.name for row in read_rows(tmp_path)] == [table.rows[2].name]


def test_damaged_and_foreign_files_are_passed_over(tmp_path, table):
    row = table.rows[1]
    write_row(tmp_path, row, of="this split")
    (path,) = tmp_path.glob("*.json")
    told = json.loads(path.read_text(encoding="utf-8"))
    for name, content in {
        "text.json": "no JSON",
        "bytes.json": b"\xff\xfe\x00",
        "list.json": "[1, 2]",
        "object.json": "{}",
        "copy.json": json.dumps(told),
        ".tmp-half.json": json.dumps(told),
        "none.json": "",
    }.items():
        kept = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(kept)
    (tmp_path / "folder.json").mkdir()
    assert [one.name for one in read_rows(tmp_path, of="this split")] == [row.name]
    assert read_rows(tmp_path) == read_rows(tmp_path, of="another") == ()
    for changes in ({"format": 2}, {"row": 3}, {"row": {**told["row"], "name": "other"}}):
        path.write_text(json.dumps({**told, **changes}), encoding="utf-8")
        assert read_rows(tmp_path, of="this split") == ()


# Text


def parsed(text):
    """The cells of a Markdown table, its rule left out."""
    found = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    assert all(set(cell.strip()) <= set(":-") for cell in found[1])
    return [[cell.strip() for cell in line] for line in (found[0], *found[2:])]


def test_markdown_has_every_value_in_its_column(table):
    head, *body = parsed(markdown(table))
    assert head == list(COLUMNS)
    assert [line[0].strip("*") for line in body] == [
        row.name for row in (*table.ranked, *table.left_out)
    ]
    for line, row in zip(body, table.ranked, strict=False):
        metrics, bold = row.validation, "**" if table.is_best(row) else ""
        low, high = metrics.weighted_f1_interval
        assert line == [
            f"{bold}{row.name}{bold}",
            row.modality.value,
            f"{row.train.weighted_f1:.3f}",
            f"{bold}{metrics.weighted_f1:.3f}{bold}",
            f"{low:.3f}–{high:.3f}",
            f"{metrics.macro_f1:.3f}",
            f"{metrics.coverage_at_95:.1%}",
            duration(row.seconds),
            rate(row.per_second),
            row.note,
        ]
    assert body[-1] == [
        *("frozen DINOv2", "image"),
        *["–"] * 7,
        "left out: the model could not be fetched",
    ]


def test_markup_in_markdown_stays_text(table):
    odd = with_row(
        replace(table, rows=table.rows[1:]),
        name=f"a|b\n*c* {EVIL}\x1b[0m",
        note="two\nlines \x1b[31m|",
    )
    text = markdown(odd)
    (line,) = [line for line in text.splitlines() if "alert" in line]
    assert r"a\|b \*c\* \<script\>alert(1)\</script\> \[0m" in line
    assert r"two lines \[31m\|" in line
    assert {len(cells) for cells in parsed(text)} == {len(COLUMNS)}
    assert "\x1b" not in "".join(lines(odd))


def test_what_was_not_measured_is_a_dash(table):
    row = replace(table.ranked[0], train=None, per_second=None)
    line = parsed(markdown(replace(table, rows=(row,))))[1]
    assert (line[2], line[8]) == ("–", "–")
    unsure = small([0, 1], [0, 1])
    assert parsed(markdown(unsure))[1][6] == "–"
    assert parsed(markdown(small([0, 1], [1, 0], [0.5, 0.5])))[1][6] == "0.0%"


def test_lines_are_aligned(table):
    told = lines(table)
    assert len(told) == 17
    at = told[0].index("  F1") + 4
    for line, row in zip(told[1:], table.ranked, strict=False):
        assert line[:at].endswith(f"{row.validation.weighted_f1:.3f}")
        assert line.startswith(row.name + (" *" if table.is_best(row) else "  "))
    assert told[-2].endswith("left out: the model could not be fetched")
    assert all(line == line.rstrip() for line in told)


def test_json_holds_rows_sizes_and_confusions(table):
    told = json.loads(json.dumps(to_json(table), allow_nan=False))
    assert told["best"] == table.ranked[0].name
    assert [row["name"] for row in told["rows"]][-1] == "frozen DINOv2"
    assert told["rows"][-1]["by_size"] is None
    first = told["rows"][0]
    assert first["validation"]["weighted_f1"] == table.ranked[0].validation.weighted_f1
    assert [one["f1"] for one in first["by_size"]] == [
        one.f1 for one in f1_by_size(table.ranked[0], table)
    ]
    assert sum(row["best_of_modality"] for row in told["rows"]) == 3
    pair = confused_pairs(table.ranked[0], table)[0]
    assert told["confused"][0]["true"] == table.names[pair.true]
    assert told["confused"][0]["share"] == pair.share
    none = to_json(replace(table, rows=(left_out_row(),)))
    assert (none["best"], none["confused"]) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (4350, "1 h 12 min"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_rates():
    assert [rate(one) for one in (0.012, 4.26, 9.97, 12345.6)] == ["0.012", "4.3", "10", "12,346"]


# The page


class Tags(HTMLParser):
    """The tags as a browser opens and closes them."""

    def __init__(self, text):
        super().__init__()
        self.opened, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))
        if tag not in {"meta", "br"} and not self.rawdata.startswith("/>", 0):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tree(table, chosen=()):
    """The page as XML, after both parsers found it well formed and nothing in it leads out."""
    text = page(table, chosen)
    tags = Tags(text)
    assert tags.open == []
    names = Counter(tag for tag, _ in tags.opened)
    assert (names["script"], names["style"], names["h1"]) == (1, 1, 1)
    assert not names.keys() & {"link", "img", "iframe", "object", "base", "form"}
    for _, attributes in tags.opened:
        assert not attributes.keys() & {"src", "href", "style", "srcset"}
        assert not any(key.startswith("on") for key in attributes)
    root = ElementTree.fromstring(text)
    levels = [int(one.tag[1]) for one in root.iter() if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for one in root.iter("table"):
        assert one.find("caption") is not None
        assert all(head.get("scope") in {"col", "row"} for head in one.iter("th"))
        widths = {len(list(line)) for line in one.iter("tr")}
        assert len(widths) == 1
    for one in root.iter("svg"):
        assert one.get("aria-label") or one.get("aria-hidden") == "true"
        assert len(one.get("viewBox").split()) == 4
    assert len({one.get("id") for one in root.iter() if one.get("id")}) == 6
    numbers = re.compile(r"[MLHVhvlmaz\d .-]*")
    for one in root.iter("path"):
        assert numbers.fullmatch(one.get("d")), one.get("d")
    return root


def words(element):
    return " ".join("".join(element.itertext()).split())


def of(root, name):
    return root.find(f".//section[@aria-labelledby='{name}']")


def tips(element):
    return [one.text for one in element.iter("title")]


def test_the_page_of_fourteen_methods(table):
    root = tree(table)
    assert page(table) == page(table)
    short = words(of(root, "short"))
    best = table.ranked[0]
    assert f"Best method, on text and images{best.name}" in short
    assert f"{best.validation.weighted_f1:.3f}weighted F1" in short
    assert f"Products to validate on{len(table.true)}" in short
    assert "Rows that leak4" in short
    for fact in ("91,120", "stratified", "12345", "2 cores of an Intel Xeon", "torch 2.15.0"):
        assert fact in short
    body = of(root, "methods").findall(".//tbody")
    assert [len(one) for one in body] == [14, 1]
    for line, row in zip(body[0], table.ranked, strict=True):
        head, *cells = line
        assert words(head).startswith(row.name)
        assert ("best on" in words(head)) == table.is_best(row)
        assert head.get("data-key") == row.name.lower()
        assert float(cells[2].get("data-key")) == pytest.approx(
            row.validation.weighted_f1, abs=1e-5
        )
        assert cells[2].text == f"{row.validation.weighted_f1:.3f}"
        assert float(cells[6].get("data-key")) == pytest.approx(row.seconds, rel=1e-5)
    assert words(body[1][0]).endswith("left out: the model could not be fetched")
    assert len(of(root, "training").findall(".//article")) == 6
    assert len(of(root, "coverage").findall(".//li")) == 14


def test_training_curves_hold_every_epoch(table):
    root = tree(table)
    rows = [row for row in table.ranked if row.history]
    for card, row in zip(of(root, "training").iter("article"), rows, strict=True):
        assert card.find("h3").text == row.name
        score, loss = card.findall("svg")
        assert tips(score) == [f"epoch {e.number + 1}: score {e.score:.4f}" for e in row.history]
        assert tips(loss) == [f"epoch {e.number + 1}: loss {e.loss:.4g}" for e in row.history]
        path = score.find(".//g/path[@class='line']").get("d")
        heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
        assert len(heights) == len(row.history)
        # Scores rise, so the line goes up: y falls.
        assert heights == sorted(heights, reverse=True)


def test_nan_breaks_a_curve_and_is_never_drawn(table):
    scores = [0.2, math.nan, 0.4, 0.5]
    history = tuple(Epoch(at, 1.0, score, 1.0) for at, score in enumerate(scores))
    row = replace(table.ranked[0], history=history)
    card = of(tree(replace(table, rows=(row,))), "training").find(".//article")
    score, loss = card.findall("svg")
    path = score.find(".//g/path[@class='line']").get("d")
    assert re.sub(r"[\d. ]", "", path) == "MML"
    assert len(tips(score)) == 3
    assert len(tips(loss)) == 4
    assert "best 0.500, epoch 4" in words(card)
    blind = replace(row, history=tuple(replace(one, score=math.nan) for one in history))
    card = of(tree(replace(table, rows=(blind,))), "training").find(".//article")
    assert len(card.findall("svg")) == 1
    assert "not scored on the way" in words(card)
    dead = replace(row, history=(Epoch(0, math.nan, math.nan, 1.0),))
    assert not of(tree(replace(table, rows=(dead,))), "training").findall(".//svg")


def test_sizes_show_the_chosen_methods(table):
    section = of(tree(table), "sizes")
    names = [words(one) for one in section.findall(".//thead//th")][3:]
    assert len(names) == 6
    assert {row.name for row in table.best.values()} <= set(names)
    chosen = ["kNN vote of images", "CNN over words"]
    section = of(tree(table, chosen), "sizes")
    assert [words(one) for one in section.findall(".//li")] == chosen[::-1]
    by_name = {row.name: row for row in table.rows}
    expected = {name: f1_by_size(by_name[name], table) for name in chosen}
    for at, line in enumerate(section.findall(".//tbody/tr")):
        one, other = (expected[name][at] for name in chosen[::-1])
        told = [one.label, f"{one.categories:,}", f"{one.rows:,}", f"{one.f1:.3f}"]
        assert [words(cell) for cell in line] == [*told, f"{other.f1:.3f}"]
    assert sorted(tips(section)) == sorted(
        f"{name}, {one.label} training products: mean F1 {one.f1:.3f}"
        for name in chosen
        for one in expected[name]
    )
    with pytest.raises(ValueError, match="frozen DINOv2"):
        page(table, ["frozen DINOv2"])


def test_confused_pairs_show_both_paths(table):
    section = of(tree(table), "confused")
    pairs = confused_pairs(table.ranked[0], table)
    lines_of = section.findall(".//tbody/tr")
    assert len(lines_of) == len(pairs) == 20
    for line, pair in zip(lines_of, pairs, strict=True):
        cells = [words(cell) for cell in line][1:]
        for cell, code in zip(cells, (pair.true, pair.predicted), strict=False):
            *above, leaf = table.names[code].split("->")
            assert cell == " › ".join(above) + leaf
        assert cells[2:4] == [f"{pair.count + pair.back}", f"{pair.count}"]
        assert cells[4] == f"{pair.share:.0%} of {pair.true_rows}"
        assert cells[5] == f"{pair.back}"
    wrong = int((table.ranked[0].predicted != table.true).sum())
    held = sum(pair.count + pair.back for pair in pairs)
    assert f"hold {held} of its {wrong} wrong predictions" in words(section)


def test_coverage_ends_at_the_accuracy(table):
    section = of(tree(table), "coverage")
    told = tips(section)
    for row in table.ranked:
        accuracy = f"{row.validation.accuracy:.1%} of them right"
        assert any(
            tip.startswith(f"{row.name}: 100.0% accepted") and tip.endswith(accuracy)
            for tip in told
        )


def test_markup_in_data_stays_text():
    names = tuple(f"{EVIL}->&amp; \"{code}' ]]>\x00\ud800" for code in range(60))
    table = benchmark(METHODS[:2], names=names)
    evil = replace(table.rows[0], name=EVIL, note=f'"><img src=x onerror=1>{EVIL}', history=EPOCHS)
    out = left_out_row(f"{EVIL} {EVIL}", f"</table>{EVIL}")
    about = {"store": EVIL, EVIL: EVIL, "versions": {EVIL: [EVIL, None, True, 1.5]}}
    table = replace(table, rows=(evil, table.rows[1], out), about=about)
    # `tree` has counted one script and no image.
    root = tree(table)
    assert "alert(1)" not in root.find(".//script").text
    assert words(of(root, "confused")).count(EVIL) >= 40
    for section in ("short", "methods", "training", "sizes", "coverage"):
        assert EVIL in words(of(root, section))
    assert EVIL in root.find(".//title").text
    assert any(EVIL in (one.get("aria-label") or "") for one in root.iter("svg"))
    page(table).encode("utf-8")


EPOCHS = (Epoch(0, 1.0, 0.5, 1.0), Epoch(1, 0.5, 0.6, 1.0))


def test_a_table_of_one_method_without_a_history():
    table = benchmark(ONE)
    root = tree(table)
    assert words(root.find(".//p[@class='lead']")).startswith("One method, one catalogue")
    assert "No method here was trained in epochs" in words(of(root, "training"))
    assert len(of(root, "methods").findall(".//tbody/tr")) == 1
    assert len(of(root, "sizes").findall(".//li")) == 1
    assert len(parsed(markdown(table))) == 2


@pytest.mark.parametrize("rows", [(), (left_out_row(),)], ids=["empty", "all left out"])
def test_a_table_of_nothing(rows):
    table = MethodsTable({}, rows, np.zeros(0, np.int64), np.ones(2, np.int64), ("a", "b"))
    root = tree(table)
    assert "No method was run" in words(of(root, "short"))
    assert "No predictions were kept" in words(of(root, "confused"))
    assert len(parsed(markdown(table))) == 1 + len(rows)
    assert len(lines(table)) == 2 + len(rows)


def test_methods_without_predictions_or_confidence(table):
    bare = tuple(replace(row, predicted=None, confidence=None) for row in table.rows)
    root = tree(replace(table, rows=bare))
    assert "No predictions were kept" in words(of(root, "sizes"))
    assert "No method has confidences" in words(of(root, "coverage"))
    assert len(of(root, "methods").findall(".//tbody/tr")) == 15
    unsure = small([0, 1], [0, 1])
    root = tree(unsure)
    assert "one confuses none" in words(of(root, "confused"))
    assert "could be accepted unseen" not in words(of(root, "short"))


def test_a_small_table_with_one_row_and_one_confidence():
    root = tree(small([0], [0], [0.5]))
    assert len(tips(of(root, "coverage"))) == 1
    constant = small([0, 1, 1], [0, 1, 0], [1.0, 1.0, 1.0])
    assert tips(of(tree(constant), "coverage")) == [
        "one: 100.0% accepted from a confidence of 1.000, 66.7% of them right"
    ]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.61, 0.83, ["0.60", "0.65", "0.70", "0.75", "0.80", "0.85"]),
        (3, 1200, ["0", "500", "1,000", "1,500"]),
        (-0.3, 0.3, ["-0.4", "-0.2", "0.0", "0.2", "0.4"]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    axis = Axis.around(low, high)
    assert [label for _, label in axis.ticks] == ticks
    assert axis.low <= low < high <= axis.high


def test_an_axis_of_one_value_still_spans():
    for value in (0.0, 0.5, -3.0):
        axis = Axis.around(value, value)
        assert axis.low < value < axis.high
    assert [label for _, label in Axis.around(0.9, 1, percent=True).ticks] == [
        *("90%", "92%", "94%", "96%", "98%", "100%"),
    ]


def test_nothing_heavy_is_imported():
    probe = (
        "import sys, vitrina.pipelines.benchmark.page\n"
        f"print('LOADED', sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"
