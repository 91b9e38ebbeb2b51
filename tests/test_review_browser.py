"""The review page in a real browser: by the keyboard, by two people, on a phone."""

import contextlib
import shutil
import socket
import threading
import time
import zipfile
from pathlib import Path

import pytest

from support.audits import undecided
from support.review_page import KEEP, MARKUP, MOVE, marked, opened, stands
from vitrina.audit.results import Audit
from vitrina.audit.review.options import ReviewOptions
from vitrina.audit.review.serve import server

selenium = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")

from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
DESKTOP, PHONE = (1440, 900), (390, 844)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()), reason="needs chromium and chromedriver"
    ),
    # Of selenium's own sockets.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def store(reviewed):
    return undecided(reviewed)


@pytest.fixture
def audit(store):
    return marked(Audit.of(store), rank=2)


@contextlib.contextmanager
def serving(store, audit, photo):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serves = server(opened(store, audit, photo, port=port), ReviewOptions(port=port))
    thread = threading.Thread(target=serves.run)
    thread.start()
    for _ in range(200):
        if serves.started:
            break
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        serves.should_exit = True
        thread.join()


@pytest.fixture
def address(store, audit, sample):
    with zipfile.ZipFile(sample.images) as archive:
        lock = threading.Lock()

        def photo(key):
            with lock, contextlib.suppress(KeyError):
                return archive.read(f"images/train/{key}.jpg")

        with serving(store, audit, photo) as url:
            yield url


class Person:
    """Someone before a browser of his own."""

    def __init__(self, profile, size, language="ru"):
        options = selenium.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = selenium.ChromeService(str(DRIVER))
        self.browser = selenium.Chrome(options=options, service=service)
        width, height = size
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def come(self, url, name="Анна"):
        self.browser.get(url)
        self.one("[name=reviewer]").send_keys(name + Keys.ENTER)
        self.until(lambda: self.all("[data-rank]"))
        return self

    def all(self, what):
        return self.browser.find_elements(By.CSS_SELECTOR, what)

    def one(self, what):
        return self.browser.find_element(By.CSS_SELECTOR, what)

    def until(self, true):
        wait = WebDriverWait(
            self.browser, 20, 0.02, ignored_exceptions=[StaleElementReferenceException]
        )
        return wait.until(lambda _: true())

    @property
    def rank(self):
        found = self.all("[data-rank]")
        return int(found[0].get_attribute("data-rank")) if found else None

    @property
    def said(self):
        return self.one("#said").get_attribute("textContent")

    def press(self, *keys):
        selenium.ActionChains(self.browser).send_keys(*keys).perform()
        return self

    def press_place(self, code, key):
        """A key by its place, with the letter that another layout gives it."""
        for kind in ("keyDown", "keyUp"):
            told = {"type": kind, "code": code, "key": key}
            self.browser.execute_cdp_cmd("Input.dispatchKeyEvent", told)

    def sees(self, rank):
        self.until(lambda: self.rank == rank and not self.all("#desk[aria-busy]"))
        return self

    @property
    def complaints(self):
        """What the browser logged, but for photos that the sample lacks."""
        return [
            one["message"]
            for one in self.browser.get_log("browser")
            if "/photo/" not in one["message"]
        ]


@pytest.fixture
def person(tmp_path):
    with contextlib.ExitStack() as stack:

        def comes(size=DESKTOP, language="ru"):
            profile = tmp_path / f"profile-{len(list(tmp_path.iterdir()))}"
            someone = Person(profile, size, language)
            stack.callback(shutil.rmtree, profile, ignore_errors=True)
            stack.callback(someone.browser.quit)
            return someone

        yield comes


def test_deciding_and_undoing_by_the_keyboard(person, address, store, audit):
    anna = person().come(address).sees(1)
    # The cursor is where a screen reader goes on reading.
    assert anna.one("h1").text == audit.suspects[0].title
    anna.press("k").sees(2)
    assert "оставлен" in anna.said
    assert anna.browser.switch_to.active_element.tag_name == "h1"
    anna.press(Keys.ENTER).sees(3)
    anna.press("3").sees(4)
    anna.press_place("KeyK", "л")
    anna.sees(5)
    first = [stands(store, one.product_id)[0] for one in audit.suspects[:4]]
    assert first == [KEEP, MOVE, "skip", KEEP]
    for rank in (4, 3, 2):
        anna.press("u").sees(rank)
    anna.press_place("KeyZ", "я")
    anna.sees(1)
    assert not store.decisions().standing
    anna.press(Keys.ARROW_RIGHT).sees(2)
    anna.press(Keys.ARROW_LEFT).sees(1)
    assert len(store.decisions().all) == 8
    assert not anna.complaints


def test_searching_a_category(person, address, store, audit):
    anna = person().come(address).sees(1)
    one = audit.suspects[0]
    key = next(key for key in audit.names if key not in (one.given, one.suggested))
    leaf = audit.names[key].split("->")[-1].partition("<")[0]
    anna.press("c")
    anna.until(lambda: anna.all("#options [role=option]"))
    # Letters that are keys elsewhere are text here.
    anna.press("sku", Keys.BACKSPACE * 3)
    anna.press(leaf.upper())
    wanted = f"option-{1 + _place(anna, leaf)}"
    for _ in range(_place(anna, leaf)):
        anna.press(Keys.ARROW_DOWN)
    field = anna.one("#picker input")
    anna.until(lambda: field.get_attribute("aria-activedescendant") == wanted)
    anna.press(Keys.ENTER).sees(2)
    assert stands(store, one.product_id) == (MOVE, key)
    anna.press("/")
    anna.until(lambda: anna.all("#picker[open]"))
    anna.press(Keys.ESCAPE)
    anna.until(lambda: not anna.all("#picker[open]"))
    anna.press("k").sees(3)
    assert not anna.complaints


def _place(anna, leaf):
    def found():
        listed = anna.all("#options ul")
        return listed and listed[0].get_attribute("data-for") == leaf.upper()

    anna.until(found)
    return [one.text for one in anna.all("#options li b")].index(f"{leaf}<script>alert(1)</script>")


def test_filtering(person, address, store):
    anna = person().come(address).sees(1)
    anna.press("f")
    anna.until(lambda: anna.all("#filters[open]"))
    anna.one("[name=category]").send_keys("такого нет", Keys.ENTER)
    anna.until(lambda: "Под этими фильтрами" in anna.one("#desk").text)
    assert "category=" in anna.browser.current_url
    anna.browser.get(f"{address}/?reason=photo")
    rank = anna.rank
    anna.press("k")
    anna.until(lambda: anna.rank != rank)
    assert len(store.decisions().all) == 1
    assert "осталось" in anna.one("#progress").text


def test_two_reviewers_at_once(person, address, store, audit):
    anna, boris = person().come(address), person().come(address, "Борис")
    anna.sees(1)
    boris.sees(2)
    anna.press("k").sees(3)
    # He looks at what she is about to decide.
    boris.browser.get(f"{address}/?at=3")
    boris.until(lambda: "у другого проверяющего" in boris.one("#desk").text)
    anna.press("k").sees(4)
    boris.press("a")
    boris.until(lambda: boris.all(".conflict"))
    assert "Анна" in boris.one(".conflict").text
    third = audit.suspects[2]
    assert stands(store, third.product_id) == (KEEP, third.given)
    boris.press("k").sees(2)
    assert len(store.decisions().all) == 2


def test_a_batch(person, address, store, audit):
    anna = person().come(address)
    anna.browser.get(f"{address}/?at=3")
    anna.press("b")
    anna.until(lambda: len(anna.all("#picks [type=checkbox]")) == 3)
    anna.one("#picks [type=checkbox]").send_keys(Keys.SPACE)
    anna.press("a")
    anna.until(lambda: "2 товара" in anna.said)
    assert [stands(store, one.product_id)[0] for one in audit.suspects[2:5]] == [None, MOVE, MOVE]


def test_markup_in_a_title_is_text(person, address):
    anna = person().come(address)
    anna.press(Keys.ARROW_RIGHT).sees(2)
    anna.press("k")
    anna.until(lambda: "onerror" in anna.said)
    anna.browser.get(f"{address}/?at=2")
    assert anna.one("h1").text == MARKUP
    given = anna.one(".choice .given").text
    assert "<script>alert(1)</script>" in given
    assert anna.browser.title.endswith("Vitrina")
    assert not anna.all("img[src='x']")
    assert not anna.complaints
    anna.browser.get(f"{address}/decided")
    assert MARKUP in anna.one("#desk").text


@pytest.mark.parametrize("language", ["ru", "en"])
def test_on_a_phone(person, address, store, language):
    anna = person(PHONE, language).come(address).sees(1)
    wide = "return document.documentElement.scrollWidth - window.innerWidth"
    assert anna.browser.execute_script(wide) <= 0
    bar = [one for one in anna.all(".dock button") if one.is_displayed()]
    assert len(bar) == 5
    for button in bar:
        assert button.size["height"] >= 44
        assert button.rect["y"] + button.rect["height"] <= PHONE[1] + 1e-6
    bar[0].click()
    anna.sees(2)
    assert len(store.decisions().settled) == 1
    for path in ("/?at=3", "/batch?at=3", "/decided", "/?category=zz"):
        anna.browser.get(address + path)
        assert anna.browser.execute_script(wide) <= 0, path


def test_a_server_that_is_gone_is_told_of(person, store, audit):
    with serving(store, audit, lambda _: None) as url:
        anna = person().come(url).sees(1)
    anna.press("k")
    anna.until(lambda: "Сервер не отвечает" in anna.one("#alert").text)
    assert anna.rank == 1
    assert not store.decisions().all


def test_a_link_from_another_site_lets_in_with_its_token(person, store, audit, tmp_path):
    # A browser keeps strict cookies from a redirect that another site began.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = "a-token-that-nobody-guesses"
    app = opened(store, audit, port=port, token=token)
    serves = server(app, ReviewOptions(port=port))
    thread = threading.Thread(target=serves.run)
    thread.start()
    try:
        anna = person()
        elsewhere = tmp_path / "link.html"
        elsewhere.write_text(f"<a href='http://127.0.0.1:{port}/?token={token}'>open</a>")
        anna.browser.get(elsewhere.as_uri())
        anna.one("a").click()
        anna.until(lambda: anna.all("[name=reviewer]"))
        assert token not in anna.browser.current_url
    finally:
        serves.should_exit = True
        thread.join()
