"""The review page: what it shows, what lands in the store, and what it refuses."""

import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from support.audits import undecided
from support.review_page import HOME, KEEP, MARKUP, MOVE, SKIP, Page, clock, marked, opened, stands
from vitrina.audit.results import Audit, Suspect
from vitrina.audit.review import security
from vitrina.audit.review.categories import CategoryList
from vitrina.audit.review.decision_log import DecisionLog
from vitrina.audit.review.decisions_service import DecisionsService, Verdict
from vitrina.audit.review.i18n import PHRASES, Language, Translator, preferred
from vitrina.audit.review.options import ReviewOptions
from vitrina.audit.review.queue import LEASE, Filter, Queue
from vitrina.audit.review.session import Session, Sessions
from vitrina.errors import StoreError
from vitrina.store.decisions import Decision, add_decisions
from vitrina.types import Action, Reason


@pytest.fixture
def store(reviewed):
    return undecided(reviewed)


@pytest.fixture
def audit(store):
    return Audit.of(store)


@pytest.fixture
def page(store):
    return Page(opened(store)).open()


def product(audit, rank):
    return audit.suspects[rank - 1].product_id


def queued(store, audit, times=None):
    labels = {one.product_id: one.given for one in audit.suspects}
    log = DecisionLog(store)
    return Queue(audit, labels, log, times or clock()), log


def test_the_surest_suspect_is_shown_with_its_evidence(page, audit):
    one = audit.suspects[0]
    assert page.rank == 1
    for category in (one.given, one.suggested):
        assert audit.names[category].split("->")[-1] in page.text
    assert "Против этой категории" in page.text
    assert page.text.count("<meter") == len([kind for kind in one.reasons if kind in one.evidence])
    assert 'class="beside"' in page.text


@pytest.mark.parametrize("action", [KEEP, MOVE, SKIP])
def test_a_decision_lands_in_the_store_and_the_next_is_shown(page, store, audit, action):
    answer = page.decide(action)
    assert answer.status_code == 200
    assert page.rank == 2
    one = audit.suspects[0]
    wanted = {KEEP: one.given, MOVE: one.suggested, SKIP: None}[action]
    assert stands(store, one.product_id) == (action, wanted)
    decision = store.decisions().all[0]
    assert decision.reviewer == "Анна"
    assert decision.suggested == one.suggested
    assert decision.shown["audit"] == "made-up"
    assert decision.shown["rank"] == 1
    assert decision.shown["score"] == pytest.approx(one.score)
    assert decision.shown["reasons"] == [reason.value for reason in one.reasons]
    assert decision.shown["language"] == "ru"


def test_another_category_is_picked(page, store, audit):
    one = audit.suspects[0]
    other = next(key for key in audit.names if key not in (one.given, one.suggested))
    page.decide(MOVE, category=str(other))
    assert stands(store, one.product_id) == (MOVE, other)
    # To move a product to where it is is to keep it.
    page.decide(MOVE, category=str(audit.suspects[1].given))
    assert stands(store, product(audit, 2)) == (KEEP, audit.suspects[1].given)


def test_undo_goes_back_step_by_step(page, store, audit):
    for action in (KEEP, MOVE, SKIP):
        page.decide(action)
    for rank in (3, 2, 1):
        assert page.post("/undo").status_code == 200
        assert page.rank == rank
        assert stands(store, product(audit, rank)) == (None, None)
    page.post("/undo")
    assert "Больше нечего отменять" in page.said
    # Nothing was deleted: three decisions and three that take them back.
    assert len(store.decisions().all) == 6


def test_skipped_products_come_last_and_come_again(page, store):
    page.decide(SKIP)
    seen = []
    for _ in range(11):
        seen.append(page.rank)
        page.decide(KEEP)
    assert seen == list(range(2, 13))
    assert page.rank == 1
    assert "уже пропускали" in page.shown
    page.decide(KEEP)
    assert page.rank is None
    assert "Всё проверено" in page.shown
    assert len(store.decisions().settled) == 12


def test_looking_around_decides_nothing(page, store):
    page.look("/?at=1&step=1")
    assert page.rank == 2
    page.look("/?at=2&step=1")
    page.look("/?at=3&step=-1")
    assert page.rank == 2
    page.look("/?at=1&step=-1")
    assert page.rank == 1
    page.look("/?at=12&step=1")
    assert page.rank == 12
    assert not store.decisions().all


def test_two_reviewers_get_different_products(store):
    app = opened(store)
    first, second = Page(app).open(), Page(app, name="Борис").open()
    assert (first.rank, second.rank) == (1, 2)
    first.decide(KEEP)
    second.decide(KEEP)
    assert (first.rank, second.rank) == (3, 4)
    # Reloading does not hand out another one.
    assert first.open().rank == 3


def test_a_lease_ends_and_is_renewed(store, audit):
    times = clock()
    queue, _ = queued(store, audit, times)
    assert queue.hand_out("a", Filter()).rank == 1
    assert queue.hand_out("b", Filter()).rank == 2
    times.now += LEASE - 1
    assert queue.hand_out("a", Filter()).rank == 1
    times.now += 2
    # That of the second has ended, that of the first was renewed.
    assert queue.hand_out("c", Filter()).rank == 2
    times.now += LEASE
    assert queue.hand_out("d", Filter()).rank == 1


def test_when_all_that_remain_are_elsewhere_it_says_so(store):
    app = opened(store)
    first = Page(app).open("/?least=0.95")
    assert first.rank == 1
    second = Page(app, name="Борис").open("/?least=0.95")
    assert second.rank is None
    assert "у других проверяющих" in second.shown


def test_what_another_decided_is_not_overwritten_unasked(store, audit):
    # Two servers over one store know nothing of one another but by its files.
    first, second = Page(opened(store)).open(), Page(opened(store), name="Борис").open()
    assert first.rank == second.rank == 1
    first.decide(KEEP)
    answer = second.decide(MOVE)
    assert "Анна" in answer.text
    assert "Уже решено" not in answer.text
    assert second.rank == 1
    one = audit.suspects[0]
    assert stands(store, one.product_id) == (KEEP, one.given)
    picks = re.search(r'id="again".*?</div>', answer.text, re.DOTALL)[0]
    form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', picks))
    assert second.post("/decide", **form).status_code == 200
    assert stands(store, one.product_id) == (MOVE, one.suggested)
    assert [told.reviewer for told in store.decisions().all] == ["Анна", "Борис"]


def test_agreeing_with_the_other_goes_on(store):
    first, second = Page(opened(store)).open(), Page(opened(store), name="Борис").open()
    first.decide(KEEP)
    second.decide(MOVE)
    second.look("/")
    assert second.rank == 2
    assert len(store.decisions().all) == 1


def test_the_same_answer_sent_twice_counts_once(page, store):
    picks = page.picks
    page.decide(KEEP)
    page.decide(KEEP, picks=picks)
    assert len(store.decisions().all) == 1
    assert "так уже решено" in page.said


def test_a_skip_by_another_is_no_conflict(store):
    first, second = Page(opened(store)).open(), Page(opened(store), name="Борис").open()
    first.decide(SKIP)
    second.decide(KEEP)
    assert second.rank == 2
    assert len(store.decisions().settled) == 1


def test_many_at_once_lose_nothing(store, audit):
    queue, log = queued(store, audit)
    desk = DecisionsService(audit, CategoryList(audit.names), queue, log, Sessions())
    outcomes = []

    def work(name):
        for one in audit.suspects:
            verdict = Verdict(Action.MOVE, {one.rank: ""}, name)
            outcomes.append(desk.decide(Session(name), verdict))

    workers = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(len(one.made) for one in outcomes) == 12
    assert sum(len(one.beaten) for one in outcomes) == 36
    assert len(store.decisions().all) == 12


def test_a_batch_is_decided_at_once_but_for_the_unticked(page, store, audit):
    alike = [one for one in audit.suspects if one.batch == audit.suspects[2].batch]
    assert len(alike) == 3
    page.look("/batch?at=3")
    assert [one.partition(":")[0] for one in page.picks] == [str(one.rank) for one in alike]
    page.decide(MOVE, picks=page.picks[:2])
    assert [stands(store, one.product_id)[0] for one in alike] == [MOVE, MOVE, None]
    assert len(store.files.names("decisions")) == 1
    assert "2 товара" in page.said
    page.post("/undo")
    assert not store.decisions().standing
    assert page.text.count("data-rank") == 1
    assert len(page.picks) == 3


def test_of_a_batch_what_others_decided_stays(store, audit):
    first, second = Page(opened(store)).open(), Page(opened(store), name="Борис").open()
    second.look("/batch?at=3")
    picks = second.picks
    first.look("/?at=4")
    first.decide(KEEP)
    second.decide(MOVE, picks=picks)
    assert stands(store, product(audit, 3))[0] == MOVE
    assert stands(store, product(audit, 4))[0] == KEEP
    assert "1 товар уже решён другими" in second.said
    assert "Анна" in second.said


def test_a_batch_with_nothing_ticked_is_refused(page, store):
    assert page.decide(MOVE, picks=[]).status_code == 422
    assert not store.decisions().all


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("reason=photo", lambda one, _: Reason.PHOTO in one.reasons),
        ("least=0.8", lambda one, _: one.score >= 0.8),
        ("least=nonsense&reason=nonsense", lambda *_: True),
        (
            "category=обувь",
            lambda one, names: any("Обувь" in names[key] for key in (one.given, one.suggested)),
        ),
    ],
)
def test_filters_let_through_what_they_say(store, audit, query, holds):
    queue, _ = queued(store, audit)
    wanted = Filter.parse(dict(pair.split("=") for pair in query.split("&")))
    ranks = [one.rank for one in audit.suspects if holds(one, audit.names)]
    assert ranks
    assert [one.rank for one in queue.matching(wanted)] == ranks
    page = Page(opened(store)).open(f"/?{query}")
    assert page.rank == ranks[0]
    page.decide(KEEP, query=f"?{wanted.query}")
    assert page.rank == (ranks[1] if len(ranks) > 1 else None)


def test_a_category_is_found_by_id_part_or_path(store, audit):
    queue, _ = queued(store, audit)
    one = audit.suspects[0]
    path = audit.names[one.given]
    for text in (str(one.given), path, path.upper(), "->".join(path.split("->")[1:])):
        assert one in queue.matching(Filter(text))
    assert not queue.matching(Filter("Нет такой"))
    assert not queue.matching(Filter("->"))
    alike = queue.matching(Filter(batches=True))
    assert {one.rank for one in alike} == {
        one.rank for one in audit.suspects if len(queue.alike(one)) > 1
    }


def test_a_suspect_whose_label_has_changed_is_asked_of_no_more(store, audit):
    labels = {one.product_id: one.given for one in audit.suspects}
    labels[audit.suspects[0].product_id] = audit.suspects[0].suggested
    queue = Queue(audit, labels, DecisionLog(store))
    assert queue.hand_out("a", Filter()).rank == 2
    assert 1 not in queue.by_rank


def test_a_decision_on_an_older_label_settles_nothing(store, audit):
    one = audit.suspects[0]
    old = Decision(one.product_id, Action.MOVE, one.suggested, one.given)
    add_decisions(store.files, store.products, [old])
    queue, _ = queued(store, audit)
    assert queue.hand_out("a", Filter()) == one


def test_decisions_are_listed_and_undone_there(page, store, audit):
    page.decide(KEEP)
    page.decide(MOVE)
    page.open("/decided")
    assert page.text.count(' loading="lazy" ') == page.text.count("<img ") == 2
    assert page.text.index(audit.suspects[1].title) < page.text.index(audit.suspects[0].title)
    key = store.decisions().standing[product(audit, 1)].key
    answer = page.post("/undo", key=key)
    assert "Отменено" in page.said
    assert audit.suspects[0].title not in answer.text.partition('id="progress"')[0]
    assert stands(store, product(audit, 1)) == (None, None)
    page.post("/undo", key=key)
    assert len(store.decisions().all) == 3
    # One decided before may be opened and decided anew.
    page.open("/?at=2")
    assert "Уже решено" in page.text
    page.decide(KEEP)
    assert stands(store, product(audit, 2))[0] == KEEP


def test_progress_counts_mine_and_all(store):
    app = opened(store)
    first, second = Page(app).open(), Page(app, name="Борис").open()
    first.decide(KEEP)
    second.decide(KEEP)
    first.decide(MOVE)
    assert "осталось 9" in first.shown
    assert "решено 3 из 12" in first.shown
    assert "вами 2" in first.shown


def test_the_pace_leaves_pauses_out():
    one = Session("x")
    for at in (0, 10, 20, 30, 3630, 3640):
        one.note((), at)
        one.moments[-1] = (at, 1)
    # Four gaps of ten seconds, and an hour's pause that counts as two minutes.
    assert one.pace == pytest.approx(3600 * 5 / 160)


# Search.


@pytest.fixture
def tree():
    paths = {
        1: "Всё->Одежда->Женская одежда->Платья",
        2: "Всё->Одежда->Женская одежда->Юбки",
        3: "Всё->Обувь->Женская обувь->Тёплые ботинки",
        4: "Всё->Обувь->Мужская обувь->Ботинки",
        5: "Всё->Аксессуары->Платки",
        6: "Всё->Дом->Платяные шкафы",
    }
    more = {1000 + number: f"Всё->Прочее->Раздел {number}->Платформы" for number in range(5000)}
    return CategoryList({**paths, **more})


SUSPECT = Suspect(1, 1, "x", 2, 3, 0.9, 0.1, 0.8, text_category=4)


def keys(found):
    return [one.key for one, _ in found]


def test_search_takes_beginnings_in_any_order_case_and_yo(tree):
    assert keys(tree.search("бот теп", SUSPECT)) == [3]
    assert keys(tree.search("ТЁПЛЫЕ", SUSPECT)) == [3]
    assert keys(tree.search("жен об бот", SUSPECT)) == [3]
    assert keys(tree.search("отинки", SUSPECT)) == []
    assert keys(tree.search("1004", SUSPECT)) == [1004, 2004]
    assert keys(tree.search("%_ <b>", SUSPECT)) == []


def test_search_puts_leaves_and_what_is_near_first(tree):
    # The dress stands beside the given skirt; thousands of others begin alike.
    assert keys(tree.search("плат", SUSPECT))[0] == 1
    assert len(tree.search("плат", SUSPECT)) == 50
    # "Мужская обувь" holds the word too, but not in its last segment.
    assert keys(tree.search("ботинки", SUSPECT)) == [3, 4]
    assert keys(tree.search("", SUSPECT))[:3] == [3, 4, 2]
    assert 5 not in keys(tree.search("", SUSPECT))


def test_search_understands_the_other_layout(tree):
    assert keys(tree.search(",jnbyrb", SUSPECT)) == [3, 4]


def test_the_search_page_lists_options(page, audit):
    leaf = audit.names[audit.suspects[0].suggested].split("->")[-1]
    answer = page.look(f"/categories?at=1&q={leaf[:4]}")
    assert leaf in answer.text
    assert 'role="option"' in answer.text
    assert page.look("/categories?at=1&q=ъъъъ").text.count('role="option"') == 0
    assert page.look("/categories?at=99999&q=a").status_code == 404


def test_the_page_loads_only_what_is_served(page):
    page.open("/")
    linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert [one.partition("?")[0] for one in linked] == [
        f"/static/{name}"
        for name in ("icon.svg", "look.css", "review.css", "htmx.min.js", "review.js")
    ]
    assert [page.client.get(one).status_code for one in linked] == [200] * 5


# Languages.


def test_every_phrase_is_in_both_languages():
    for key, pair in PHRASES.items():
        russian, english = pair
        assert russian.strip(), key
        assert english.strip(), key
        if key != "other-language":
            assert not re.search("[а-яё]", english.lower()), key
        assert set(re.findall(r"\{\w+\}", russian)) == set(re.findall(r"\{\w+\}", english)), key
        if "|" in russian:
            assert (russian.count("|"), english.count("|")) == (2, 1), key


def test_every_phrase_that_is_asked_for_is_there():
    folder = Path(sys.modules["vitrina.audit.review.app"].__file__).parent
    asked = {
        found
        for path in [*folder.glob("templates/*.html"), *folder.glob("*.py")]
        for found in re.findall(r'(?:\bt|translate|self)\("([a-z-]+)"', path.read_text("utf-8"))
    }
    assert len(asked) > 50
    assert asked - PHRASES.keys() <= {"did-", "short-", "reason-", "agrees-"}
    for reason in Reason:
        assert {f"short-{reason}", f"reason-{reason}"} <= PHRASES.keys()


@pytest.mark.parametrize(
    ("number", "russian"),
    [(1, "товар"), (2, "товара"), (5, "товаров"), (11, "товаров"), (21, "товар"), (112, "товаров")],
)
def test_russian_counts(number, russian):
    assert f"{number} {russian}:" in Translator(Language.RU)("said-many", n=number, what="x")


def test_shares_never_round_to_all_or_nothing():
    words = Translator(Language.EN)
    assert [words.percent(one) for one in (0, 0.001, 0.5, 0.999, 1)] == [
        "0%",
        "<1%",
        "50%",
        ">99%",
        "100%",
    ]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("de, en;q=0.3, ru;q=0.2", "en"),
        ("ru;q=x", "en"),
    ],
)
def test_the_browser_says_the_language(accepted, language):
    assert preferred(accepted) == language


def test_the_language_is_switched_on_the_page(store):
    page = Page(opened(store), language="en").open()
    assert "Similar products" in page.text
    page.post("/settings", language="ru")
    assert "Похожие товары" in page.open().text
    page.post("/settings", language="../..")
    assert "Похожие товары" in page.open().text


def test_the_name_is_asked_once_and_noted(store):
    page = Page(opened(store), name="")
    assert "Как вас зовут?" in page.text
    page.shown = page.text
    assert page.decide(KEEP, picks=["1:"]).status_code == 403
    page.post("/settings", reviewer="  Анна\n <b>  ")
    page.open().decide(KEEP)
    assert store.decisions().all[0].reviewer == "Анна <b>"
    named = Page(opened(store, reviewer="Вера"), name="").open()
    named.decide(KEEP)
    assert store.decisions().all[-1].reviewer == "Вера"


# Markup.


def test_markup_in_products_stays_text(store, audit):
    words = marked(audit)
    page = Page(opened(store, words), name=MARKUP[:50]).open()
    one = words.suspects[0]
    page.look("/?at=1")
    shown = [page.text, page.look("/categories?at=1&q=").text, page.look("/batch?at=3").text]
    page.look("/?at=1")
    shown += [page.decide(KEEP).text, page.open("/decided").text]
    shown.append(page.look(f"/?category={MARKUP}").text)
    for text in shown:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "49" not in re.findall(r"quotes.{0,40}", text)
    assert "&lt;img src=x" in shown[3]
    assert stands(store, one.product_id)[0] == KEEP


# Photos.


def test_photos_are_made_small_once(store, sample):
    import zipfile

    asked = []

    def photo(key):
        asked.append(key)
        with zipfile.ZipFile(sample.images) as archive:
            try:
                return archive.read(f"images/train/{key}.jpg")
            except KeyError:
                return None

    page = Page(opened(store, photo=photo)).open()
    addresses = re.findall(r'src="(/photo/[^"]+)"', page.text)
    answers = [page.client.get(one) for one in addresses]
    found = [one for one in answers if one.status_code == 200]
    assert found
    assert all(one.content[8:12] == b"WEBP" for one in found)
    assert "immutable" in found[0].headers["cache-control"]
    assert len(asked) == len({address.partition("?")[0] for address in addresses})
    times = len(asked)
    page.client.get(addresses[0])
    assert len(asked) == times
    for path in ("/photo/0/77", "/photo/99999999/320", "/photo/-1/320", "/photo/x/320"):
        assert page.client.get(path).status_code == 404


@pytest.mark.parametrize("photo", [lambda _: None, lambda _: b"no photo"])
def test_a_photo_that_is_gone_is_no_error(store, photo):
    page = Page(opened(store, photo=photo)).open()
    address = re.findall(r'src="(/photo/[^"]+)"', page.text)[0]
    assert page.client.get(address).status_code == 404


# Safety.


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost:8765", 200),
        ("LOCALHOST:8765", 200),
        ("[::1]:8765", 200),
        ("evil.example:8765", 400),
        ("127.0.0.1:8766", 400),
        ("127.0.0.1", 400),
        ("127.0.0.1.evil.example:8765", 400),
        ("", 400),
        ("[::1:8765", 400),
    ],
)
def test_only_requests_to_this_server_are_answered(page, host, status):
    assert page.client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "", "referer": f"{HOME}/x"}, 403),
        ({"x-csrf-token": "guess"}, 403),
        ({"x-csrf-token": ""}, 403),
        ({"content-length": "99999999"}, 413),
    ],
)
def test_changes_are_taken_from_this_page_alone(page, store, headers, status):
    assert page.post("/decide", headers, action=KEEP, one="1:", audit="made-up").status_code == (
        status
    )
    assert len(store.decisions().all) == (status == 200)


def test_a_referer_serves_where_there_is_no_origin(page):
    form = {"action": KEEP, "one": "1:", "audit": "made-up"}
    for referer, status in ((f"{HOME}/", 200), ("http://evil.example/", 403), (None, 403)):
        headers = {"x-csrf-token": page.csrf, **({"referer": referer} if referer else {})}
        assert page.client.post("/decide", data=form, headers=headers).status_code == status


def test_a_body_without_a_length_is_bounded_too(page, store):
    def endless():
        for _ in range(100):
            yield b"one=1:&" * 1000

    headers = {
        "origin": HOME,
        "x-csrf-token": page.csrf,
        "content-type": "application/x-www-form-urlencoded",
    }
    answer = page.client.post("/decide", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert not store.decisions().all


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/decided", "/categories?at=1&q=", "/static/look.css", "/static/review.css"),
        *("/static/nothing", "/nothing"),
    ],
)
def test_everything_wears_the_headers(page, path):
    headers = page.client.get(path).headers
    for name, value in security.HEADERS.items():
        assert headers[name] == value
    assert "'unsafe" not in headers["content-security-policy"]
    refused = page.client.get(path, headers={"host": "evil.example"}).headers
    assert refused["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2ffinding.py",
        "/static//etc/passwd",
        "/photo/..%2f/320",
    ],
)
def test_no_path_reaches_the_disk(page, path):
    assert page.client.get(path).status_code == 404


def test_reading_changes_nothing(page, store):
    for path in ("/decide?action=keep&one=1:", "/undo", "/settings?language=en"):
        assert page.client.get(path).status_code == 405
    assert not store.decisions().all


@pytest.mark.parametrize(
    "form",
    [
        {"action": "undo", "one": "1:"},
        {"action": "delete", "one": "1:"},
        {"action": KEEP, "one": "999:"},
        {"action": KEEP, "one": "../1:"},
        {"action": KEEP, "one": "²:"},
        {"action": MOVE, "one": "1:", "category": "no such"},
        {"action": KEEP, "one": "1:", "category": "11003"},
    ],
)
def test_nonsense_is_refused(page, store, form):
    assert page.post("/decide", audit="made-up", **form).status_code == 422
    assert not store.decisions().all


def test_a_page_of_another_audit_is_refused(page, store):
    answer = page.decide(KEEP, audit="another")
    assert answer.status_code == 409
    assert "Обновите" in answer.text
    assert not store.decisions().all


TOKEN = "a-token-that-nobody-guesses"


def test_elsewhere_a_token_is_needed_once(store):
    app = opened(store, host="10.1.2.3", token=TOKEN)
    base = "http://10.1.2.3:8765"
    from starlette.testclient import TestClient

    client = TestClient(app, base_url=base)
    for path in ("/", "/?token=wrong", "/static/review.css", "/photo/0/320", "/?token="):
        assert client.get(path).status_code == 403
    welcome = client.get(f"/?reason=photo&token={TOKEN}")
    assert welcome.headers["refresh"] == "0; url=/?reason=photo"
    assert TOKEN not in welcome.text
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/").status_code == 200
    assert client.get("/").text.count(TOKEN) == 0
    other = TestClient(app, base_url=base, cookies={"vitrina-8765-token": "guess"})
    assert other.get("/").status_code == 403


def test_options_make_a_token_where_one_is_needed():
    assert ReviewOptions().token is None
    assert ReviewOptions(host="::1").token is None
    assert ReviewOptions(host="localhost").token is None
    elsewhere = ReviewOptions(host="0.0.0.0")
    assert len(elsewhere.token) >= 24
    assert elsewhere.token != ReviewOptions(host="0.0.0.0").token
    assert elsewhere.url == f"http://localhost:8765/?token={elsewhere.token}"
    assert ReviewOptions(host="::1").url == "http://[::1]:8765/"
    for wrong in ({"port": 0}, {"port": 70000}, {"token": "short"}):
        with pytest.raises(ValueError):
            ReviewOptions(**wrong)


def test_bound_everywhere_it_goes_by_addresses_but_not_by_any_name():
    options = ReviewOptions(host="0.0.0.0", names=("shop.local",))
    assert options.serves("192.168.1.7:8765")
    assert options.serves("[fe80::1]:8765")
    assert options.serves("Shop.local:8765")
    assert not options.serves("evil.example:8765")
    assert not ReviewOptions().serves("192.168.1.7:8765")


# The disk.


def test_a_disk_that_fails_leaves_the_product_undecided(page, store, audit, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitrina.store.local.LocalFiles.create", full)
    answer = page.decide(KEEP)
    assert answer.status_code == 503
    assert "No space left on device" in answer.text
    assert "осталось без решения" in answer.text.replace("Товар остался", "осталось")
    monkeypatch.undo()
    assert not store.decisions().all
    assert page.open().rank == 1
    page.decide(KEEP)
    assert stands(store, product(audit, 1))[0] == KEEP


def test_an_undo_that_fails_can_be_tried_again(page, store, monkeypatch):
    page.decide(KEEP)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitrina.store.local.LocalFiles.create", full)
    assert page.post("/undo").status_code == 503
    monkeypatch.undo()
    assert page.post("/undo").status_code == 200
    assert not store.decisions().standing


def test_a_damaged_file_is_told_of(store, page):
    page.decide(KEEP)
    name = store.files.names("decisions")[0]
    path = store.files.local(name)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreError, match="is damaged"):
        opened(store)


# The log.


def test_only_new_files_are_read(store, audit, monkeypatch):
    log = DecisionLog(store)
    one, two = audit.suspects[:2]
    add_decisions(store.files, store.products, [Decision(one.product_id, Action.SKIP, one.given)])
    log.refresh()
    read = []
    whole = type(store.files).read
    monkeypatch.setattr(
        type(store.files), "read", lambda self, name: (read.append(name), whole(self, name))[1]
    )
    log.refresh()
    assert not read
    add_decisions(store.files, store.products, [Decision(two.product_id, Action.SKIP, two.given)])
    read.clear()
    log.refresh()
    assert len(read) == 1
    assert log.all == store.decisions().all


def test_merged_files_say_the_same(store, audit):
    from vitrina.store.decisions import merge_decisions

    log = DecisionLog(store)
    for one in audit.suspects[:3]:
        log.add([Decision(one.product_id, Action.KEEP, one.given, one.given)])
    merge_decisions(store.files)
    log.refresh()
    assert log.all == store.decisions().all
    assert len(log.all) == 3


def test_string_ids_serve_too(audit):
    names = {f"c/{key}": name for key, name in audit.names.items()}
    suspects = tuple(
        replace(one, given=f"c/{one.given}", suggested=f"c/{one.suggested}")
        for one in audit.suspects
    )
    tree = CategoryList(names)
    found = tree.search("", suspects[0])
    assert tree.by_token(found[0][0].token).key == suspects[0].suggested


def test_the_server_cannot_have_a_port_twice():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = (
            "from starlette.applications import Starlette\n"
            "from vitrina.audit.review.options import ReviewOptions\n"
            "from vitrina.audit.review.serve import serve\n"
            f"serve(Starlette(), ReviewOptions(port={port}))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "give another --port" in done.stderr
