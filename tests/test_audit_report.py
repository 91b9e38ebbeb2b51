"""The audit's report: its data parsed back, its markup strict, its photos, what stays text."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from PIL import Image

from support.audits import audited
from vitrina.audit.report.cards import CHUNK, PLAIN
from vitrina.audit.report.texts import WHOLE
from vitrina.audit.report.write import LARGE, SMALL, write_report
from vitrina.audit.results import Audit, AuditNeighbour, Suspect
from vitrina.page.bars import HistogramBin, bar, histogram
from vitrina.page.charts import Axis
from vitrina.store.decisions import Decision
from vitrina.store.store import OpenStore
from vitrina.types import Action, Reason

EVIL = "</script><script>alert(1)</script><!-- <script> <img src=x onerror=alert(2)> ]]> & \u2028"
PLAINED = EVIL.replace("\u2028", "").strip()
"""On one line, as text from outside is shown."""


@pytest.fixture(scope="module")
def made(embedded_sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "store"
    store = OpenStore.open(shutil.copytree(embedded_sample, path))
    return audited(store, card=CARD), Audit.of(store)


CARD = {
    "store": "shelf/",
    "time": datetime(2026, 11, 24, 4, 30, tzinfo=UTC).isoformat(),
    "checked": 102,
    "suspects": 4321,
    "wrong_by_confident_learning": 7,
    "reasons": {"model": 4, "copies": 2, "smell": 1},
    "scores": [{"low": at / 10, "high": (at + 1) / 10, "count": at} for at in range(10)],
    "members": ["fused head", "neighbours"],
    "took": 212.0,
    "seed": 1234567,
}


def photo(colour, size=(400, 300)):
    sink = io.BytesIO()
    Image.new("RGB", size, colour).save(sink, "PNG")
    return sink.getvalue()


def suspect(rank=1, **changes):
    plain = Suspect(rank, rank, f"Product {rank}", 1, 2, 0.9, 0.05, 0.8, (Reason.MODEL,))
    return replace(plain, **changes)


def audit_of(*suspects, names=None, **card):
    return Audit({"key": "one", **card}, names or {1: "A->B", 2: "A->C", 3: "D"}, suspects)


class Page(HTMLParser):
    """A page as a browser takes it apart. scripts: content by id, the running one under None."""

    def __init__(self, text):
        super().__init__()
        self.text, self.opened, self.open = text, [], []
        self.scripts, self.attributes = {}, {}
        self.feed(text)
        self.close()
        assert self.open == []
        self.root = ElementTree.fromstring(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.opened.append((tag, attributes))
        if tag != "meta":
            self.open.append(tag)
        if tag == "script":
            self.last = attributes.get("id")
            assert self.last not in self.scripts
            self.scripts[self.last], self.attributes[self.last] = "", attributes

    def handle_startendtag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[self.last] += data

    def json(self, name):
        return json.loads(self.scripts[name])

    @property
    def cards(self):
        names = sorted(name for name in self.scripts if re.fullmatch(r"chunk\d+", str(name)))
        assert set(names) == {f"chunk{at}" for at in range(len(names))}
        return [card for at in range(len(names)) for card in self.json(f"chunk{at}")]

    @property
    def tags(self):
        return Counter(tag for tag, _ in self.opened)

    def part(self, name):
        return self.root.find(f".//section[@aria-labelledby='{name}']")

    def image(self, number):
        held = self.attributes.get(f"p{number}")
        if held is None:
            return None
        content = base64.b64decode(self.scripts[held.get("data-same") or f"p{number}"])
        return Image.open(io.BytesIO(content))


def words(element):
    return " ".join("".join(element.itertext()).split())


def report(path, audit, photos=None, titles=None, **more):
    """Write it and take it apart. photos, titles: by product."""
    photos, titles = photos or {}, titles or {}
    asked = []

    def of(ids):
        asked.extend(ids)
        return [(key, photos[key]) for key in reversed(ids) if key in photos]

    def named(ids):
        return {key: titles[key] for key in ids if key in titles}

    write_report(path / "report.html", audit, titles=named, photos=of, **more)
    assert [one.name for one in path.iterdir()] == ["report.html"]
    assert len(asked) == len(set(asked))
    return Page((path / "report.html").read_text(encoding="utf-8"))


def strict(page):
    """Nothing leads out of the page, and nothing runs but its own script."""
    assert not page.tags.keys() & {"link", "img", "iframe", "object", "base", "form", "embed"}
    for tag, attributes in page.opened:
        assert not attributes.keys() & {"src", "srcset", "style", "action", "formaction"}
        assert not any(key.startswith("on") for key in attributes), attributes
        assert attributes.get("href", "#").startswith("#")
        if tag == "a":
            assert page.root.find(f".//*[@id='{attributes['href'][1:]}']") is not None
    style = page.root.find(".//style").text
    assert "url(" not in style
    assert "@import" not in style
    running = [kind for kind in page.attributes.values() if "type" not in kind]
    assert running == [{}]
    kinds = {kind["type"] for kind in page.attributes.values() if "type" in kind}
    assert kinds <= {"application/json", "text/plain"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write", page.scripts[None])
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import)\b", page.scripts[None])
    for text, kind in ((style, "style"), (page.scripts[None], "script")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy(page)
    for scheme in re.findall(r"https?://[^\"'<\s]+", page.text):
        assert scheme == "http://www.w3.org/2000/svg"
    return page


def policy(page):
    metas = [attributes for tag, attributes in page.opened if tag == "meta"]
    return next(one["content"] for one in metas if "http-equiv" in one)


def test_all_that_is_known_of_a_suspect_is_in_the_page(made, tmp_path):
    store, audit = made
    found = store.products.titles(store.products.ids.to_pylist())
    titles = {one["product_id"]: one["title"] for one in found}
    page = strict(report(tmp_path, audit, titles=titles))
    index, cards = page.json("index"), page.cards
    assert len(cards) == len(audit.suspects) == 12
    kinds = list(Reason)
    roots = {name.split("->")[0] for name in audit.names.values()}

    def name(key):
        path = audit.names[key]
        return path.split("->", 1)[1] if len(roots) == 1 else path

    for at, (one, card) in enumerate(zip(audit.suspects, cards, strict=True)):
        assert card["rank"] == one.rank
        assert card["id"] == str(one.product_id)
        assert card["title"] == one.title == titles[one.product_id]
        for key in ("given", "suggested"):
            assert index["categories"][card[key]] == name(getattr(one, key))
            assert index["ids"][card[key]] == str(getattr(one, key))
            assert index[key][at] == card[key]
            assert card[f"{key}_probability"] == pytest.approx(
                getattr(one, f"{key}_probability"), abs=6e-4
            )
        assert card["score"] == index["score"][at] == pytest.approx(one.score, abs=6e-4)
        assert [kinds[reason] for reason in card["reasons"]] == list(one.reasons)
        assert index["why"][at] == sum(1 << kinds.index(reason) for reason in set(one.reasons))
        assert [value for _, value in card["evidence"]] == pytest.approx([0.9, 0.5])
        assert [kind for kind, _ in card["evidence"]] == ["model", "neighbours"]
        assert index["categories"][card["text"]] == name(one.text_category)
        assert index["categories"][card["image"]] == name(one.image_category)
        for key in ("neighbours", "copies"):
            for near, told in zip(getattr(one, key), card[key], strict=True):
                _, product, title, category, score = told
                assert product == str(near.product_id)
                assert title == titles[near.product_id]
                assert index["categories"][category] == name(near.category_id)
                assert score == pytest.approx(near.score, abs=6e-4)
        mates = sum(two.batch == one.batch for two in audit.suspects) - 1
        assert card.get("mates", 0) == mates
    assert [reason["whole"] for reason in index["reasons"]] == [WHOLE[one] for one in Reason]


def test_the_summary_tells_the_card(made, tmp_path):
    _, audit = made
    page = strict(report(tmp_path, audit))
    lead = words(page.root.find(".//p[@class='lead']"))
    assert "102 labelled products were checked. 4,321 labels look wrong; the 12 surest" in lead
    short = words(page.part("short"))
    assert "confident learning76.9% of those checked;" in short
    for fact in ("Made24.11.2026 04:30 UTC", "Took3 min 32 s", "Seed1234567", "fused head, "):
        assert fact in short
    evidence = page.part("evidence")
    tips = [one.text for one in evidence.iter("title")]
    assert tips == [f"{at} suspects with a score of {at}0% to {at + 1}0%" for at in range(1, 10)]
    assert [words(one) for one in evidence.iter("b")] == ["model", "copies elsewhere", "smell"]


def test_tables_of_categories_and_gaps(tmp_path):
    names = {at: f"All->Top->C{at}" for at in range(40)}
    card = {
        "pairs": [
            {"given": at, "suggested": at + 1, "count": 90 - at, "products": [at, "x", 7, 8]}
            for at in range(30)
        ],
        "twins": [
            {"one": 1, "other": 2, "products": 50, "share": 0.614, "kind": "twins"},
            {"one": 3, "other": 4, "products": 1234, "share": 0.4, "kind": "inside"},
        ],
        "categories": [{"id": 99, "products": 8, "suspects": 2}, {"id": 5}],
        "without_text": {"count": 1000, "products": list(range(500))},
        "without_photo": {"count": 0, "products": []},
        "without_both": {"count": 3},
    }
    page = strict(report(tmp_path, audit_of(suspect(), names=names, **card)))
    pairs = page.part("pairs").findall(".//tbody/tr")
    assert [(one.get("data-given"), one.get("data-suggested")) for one in pairs] == [
        (str(at), str(at + 1)) for at in range(30)
    ]
    assert [words(cell) for cell in pairs[0]] == ["TopC0", "TopC1", "90", "", "0, x, 7"]
    twins = [[words(cell) for cell in row] for row in page.part("twins").findall(".//tbody/tr")]
    assert twins == [
        ["TopC1", "looks the same as", "TopC2", "50", "61%", ""],
        ["TopC3", "seems to be a part of", "TopC4", "1,234", "40%", ""],
    ]
    worst = [[words(cell) for cell in row] for row in page.part("worst").findall(".//tbody/tr")]
    assert worst == [["99", "8", "2", "25%", ""], ["TopC5", "0", "0", "0%", ""]]
    told = [words(one) for one in page.part("missing").iter("details")]
    assert [one.split(" ")[:5] for one in told] == [
        ["Without", "a", "usable", "text", "and"],
        ["Without", "a", "usable", "text", "1,0000,"],
    ]
    assert told[1].endswith("199 and 800 more")


def test_markup_from_outside_stays_text(tmp_path):
    key = f'"{EVIL}'
    near = AuditNeighbour(f"near {EVIL}", EVIL, 0.5)
    one = suspect(
        product_id=key,
        title=EVIL,
        given=EVIL,
        suggested="b",
        evidence={EVIL: 0.5},
        neighbours=(near,),
        copies=(near,),
    )
    move = Decision(key, Action.MOVE, EVIL, "b", reviewer=EVIL)
    card = {
        **dict.fromkeys(("store", "time", "machine", "features", "folds", "seed"), EVIL),
        "members": [EVIL],
        "reasons": {EVIL: 3},
        "pairs": [{"given": EVIL, "suggested": "b", "count": 1, "products": [EVIL]}],
        "twins": [{"one": EVIL, "other": EVIL}],
        "categories": [{"id": EVIL}],
        "without_text": {"count": 1, "products": [EVIL]},
    }
    names = {EVIL: f"{EVIL}->{EVIL}\ud800\x00", "b": "b"}
    clean = report(tmp_path, audit_of(suspect()))
    page = strict(
        report(
            tmp_path,
            audit_of(one, names=names, **card),
            titles={near.product_id: EVIL},
            photos={key: photo("red"), near.product_id: photo("blue")},
            decided={key: move},
        )
    )
    assert page.scripts[None] == clean.scripts[None]
    assert set(page.scripts) == {None, "index", "chunk0", "p0", "p1"}
    (told,) = page.cards
    assert told["title"] == told["neighbours"][0][2] == told["copies"][0][2] == PLAINED
    assert told["id"] == f'"{PLAINED}'
    assert told["evidence"] == [[PLAINED, 0.5]]
    assert PLAINED in told["decision"]
    assert page.json("index")["categories"][told["given"]] == f"{PLAINED} ->{PLAINED} ?"
    for name in ("index", "chunk0"):
        assert not set("<>&\u2028\u2029") & set(page.scripts[name])
    for name in ("short", "evidence", "pairs", "twins", "worst", "missing", "suspects"):
        assert "alert(1)" in words(page.part(name)), name
    assert "alert(1)" in page.root.find(".//title").text


def test_chunks_hold_the_suspects_in_order(tmp_path):
    suspects = [suspect(rank) for rank in range(1, 2 * CHUNK + 8)]
    page = report(tmp_path, audit_of(*suspects))
    assert [len(page.json(f"chunk{at}")) for at in range(3)] == [CHUNK, CHUNK, 7]
    assert page.json("index")["chunk"] == CHUNK
    assert [card["rank"] for card in page.cards] == [one.rank for one in suspects]
    page = report(tmp_path, audit_of(*suspects), most=CHUNK + 1)
    assert [card["rank"] for card in page.cards] == list(range(1, CHUNK + 2))
    assert len(page.json("index")["score"]) == CHUNK + 1


def test_without_a_script_the_first_are_a_plain_table(tmp_path):
    suspects = [suspect(rank, reasons=tuple(Reason)) for rank in range(1, PLAIN + 9)]
    page = report(tmp_path, audit_of(*suspects))
    rows = page.root.findall(".//noscript//tbody/tr")
    assert len(rows) == PLAIN
    told = [words(cell) for cell in rows[1]]
    assert told == ["2", "2", "Product 2", "A->B", "A->C", "90%", "; ".join(WHOLE.values())]


def test_photos_are_made_small_and_stand_in_the_page_once(tmp_path):
    near = (
        AuditNeighbour(10, 1, 0.9),
        AuditNeighbour(11, 2, 0.8),
        AuditNeighbour(12, None, 0.7),
        AuditNeighbour(2, 2, 0.6),
    )
    one, two = suspect(1, neighbours=near, copies=near[:1]), suspect(2, neighbours=near[:2])
    photos = {
        1: photo("red"),
        2: photo("blue", (100, 800)),
        10: photo("red"),
        11: photo("red", (401, 300)),
        12: b"no photo at all",
        99: photo("green"),  # Nobody asked for it.
    }
    seen = []
    page = strict(report(tmp_path, audit_of(one, two), photos, progress=seen.append))
    first, second = page.cards
    assert page.image(first["product"]).size == (LARGE, 3 * LARGE // 4)
    assert page.image(second["product"]).size == (LARGE // 8, LARGE)
    ten, eleven, twelve, other = (each[0] for each in first["neighbours"])
    assert page.image(ten).size == page.image(eleven).size == (SMALL, 3 * SMALL // 4)
    assert page.image(twelve) is None
    assert other == second["product"]
    assert [each[3] for each in first["neighbours"]][2] == -1
    assert [each[0] for each in second["neighbours"]] == [ten, eleven]
    # The two small red ones are the same bytes; one of them holds these, one names the other.
    same = [name for name, kind in page.attributes.items() if "data-same" in kind]
    assert len(same) == 1
    assert page.scripts[same[0]] == ""
    assert page.attributes[same[0]]["data-same"] in {f"p{ten}", f"p{eleven}"} - set(same)
    assert len([name for name in page.scripts if re.fullmatch(r"p\d+", str(name))]) == 4
    assert sum(seen) == 5


def test_what_was_decided_and_what_is_open(tmp_path):
    moment = datetime(2026, 11, 23, 12, tzinfo=UTC)
    decided = {
        1: Decision(1, Action.KEEP, 1, 1, reviewer="Анна", time=moment),
        2: Decision(2, Action.MOVE, 1, 3, time=moment),
        3: Decision(3, Action.SKIP, 1, reviewer="Борис", time=moment),
    }
    suspects = [suspect(rank) for rank in range(1, 5)]
    page = strict(report(tmp_path, audit_of(*suspects), decided=decided))
    assert page.json("index")["open"] == [0, 0, 1, 1]
    assert [card.get("decision") for card in page.cards] == [
        "Kept where it is by Анна, 23.11.2026",
        "Moved to D, 23.11.2026",
        "Left undecided by Борис, 23.11.2026",
        None,
    ]
    states = [words(one) for one in page.root.iter("button") if one.get("data-state")]
    assert states == ["All 4", "Still open 2", "Decided 2"]
    assert "Decided already22 are still open." in words(page.part("short"))
    page = report(tmp_path, audit_of(*suspects))
    assert not [one for one in page.root.iter("button") if one.get("data-state")]


@pytest.mark.parametrize("card", [{}, {"suspects": 0, "checked": 1, "pairs": [], "scores": []}])
def test_an_audit_that_found_nothing(tmp_path, card):
    page = strict(report(tmp_path, audit_of(**card)))
    assert "No label was found" in words(page.root.find(".//p[@class='lead']"))
    assert "There is no suspect to show." in words(page.part("suspects"))
    assert page.cards == []
    assert page.part("pairs") is None
    assert page.part("missing") is None


def test_a_root_that_all_categories_share_is_left_out(tmp_path):
    page = report(tmp_path, audit_of(suspect(), names={1: "All->A->B", 2: "All->C"}))
    assert page.json("index")["categories"] == ["A->B", "C"]
    for names in ({1: "All->B", 2: "All"}, {1: "All->B", 2: "Other->B"}, {1: "Only", 2: "Only"}):
        page = report(tmp_path, audit_of(suspect(), names=names))
        assert page.json("index")["categories"] == list(names.values())
    page = report(tmp_path, audit_of(suspect(), names={1: ""}))
    assert page.json("index")["categories"] == ["1", "2"]


def test_scores_that_are_no_numbers_do_not_break_it(tmp_path):
    nan = float("nan")
    broken = suspect(score=nan, given_probability=nan, evidence={"model": float("inf")})
    page = strict(report(tmp_path, audit_of(broken, suspect(2))))
    assert [card["score"] for card in page.cards] == [None, 0.9]
    assert page.cards[0]["evidence"] == [["model", None]]


def test_a_report_that_fails_leaves_the_last_one(tmp_path):
    report(tmp_path, audit_of(suspect()))
    before = (tmp_path / "report.html").read_bytes()

    def broken(ids):
        yield ids[0], photo("red")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_report(
            tmp_path / "report.html", audit_of(suspect(2)), titles=lambda _: {}, photos=broken
        )
    assert (tmp_path / "report.html").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_bars_are_as_high_as_their_counts():
    bins = [
        HistogramBin(0, 0.5, 10, "ten"),
        HistogramBin(0.5, 1, 5, EVIL),
        HistogramBin(1, 1.5, 0, "none"),
    ]
    root = ElementTree.fromstring(
        histogram(bins, Axis(0, 1.5, ()), Axis(0, 10, ()), label=f'"{EVIL}')
    )
    paths = [one for one in root.iter("path") if one.find("title") is not None]
    shapes = [re.fullmatch(r"M\S+ (\S+)V(\S+)H\S+V\S+z", one.get("d")).groups() for one in paths]
    high, low = (float(floor) - float(top) for floor, top in shapes)
    assert high == pytest.approx(2 * low)
    assert paths[1].find("title").text == PLAINED
    for share, width in ((0.25, "25.0"), (7, "100.0"), (-1, "0.0")):
        assert f"H{width}V8" in bar(share)


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_draws_the_cards_and_their_text_stays_text(tmp_path):
    near = tuple(AuditNeighbour(100 + at, code, 0.9) for at, code in enumerate((1, 2, 3, None)))
    one = suspect(title=EVIL, neighbours=near, evidence={"model": 0.7}, batch=3)
    others = [suspect(rank, batch=3) for rank in range(2, 400)]
    decided = {2: Decision(2, Action.MOVE, 1, 2, reviewer=EVIL)}
    pairs = [{"given": 1, "suggested": 2, "count": 399}]
    report(
        tmp_path,
        audit_of(one, *others, pairs=pairs),
        photos={1: photo("red"), 100: photo("blue")},
        titles={100: EVIL, 101: "beside"},
        decided=decided,
    )
    command = (
        f"{CHROMIUM} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
        f"--user-data-dir={tmp_path / 'profile'} --window-size=1200,4000 "
        "--virtual-time-budget=4000 --dump-dom"
    ).split()
    done = subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, timeout=120
    )
    text = done.stdout.decode()
    # Only a part of the cards is drawn, the first of them among it.
    drawn = text.count('<article class="card suspect">')
    assert 10 <= drawn < 100
    first = text[text.index("<article") : text.index("</article>")]
    tags = Drawn(first)
    assert tags.names["script"] == 0
    assert tags.names["img"] == 2
    assert all(source.startswith("data:image/webp;base64,") for source in tags.sources)
    assert PLAINED in tags.text
    assert tags.text.count(PLAINED) == 2
    for words in (
        "#1",
        "product 1",
        "90% against its label",
        WHOLE[Reason.MODEL],
        "398 other suspects look like it",
        "beside",
        "as given",
        "as suggested",
        "another",
        "no category",
        "no photo",
    ):
        assert words in tags.text, words
    assert "Moved to C by" in text
    assert "399 suspects" in text
    assert '<button class="link" type="button" title="Show these suspects">399</button>' in text


class Drawn(HTMLParser):
    """What a browser made of a card."""

    def __init__(self, text):
        super().__init__()
        self.names, self.sources, self.text = Counter(), [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names[tag] += 1
        self.sources += [value for key, value in attrs if key == "src"]

    def handle_data(self, data):
        self.text += data
