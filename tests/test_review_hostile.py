"""Requests that no page of ours sends: each ends in one line, and the page goes on."""

import contextlib
import logging
import random
import socket
import threading
import time

import pytest

from support.audits import undecided
from support.review_page import HOME, KEEP, MOVE, Page, opened
from vitrina.audit.review import connections, security
from vitrina.audit.review.categories import CategoryList
from vitrina.audit.review.forms import MOST_FIELDS, FormFields, NotUnderstoodError, whole_number
from vitrina.audit.review.options import ReviewOptions
from vitrina.audit.review.serve import server

FORM = "application/x-www-form-urlencoded"
MANY_DIGITS = "1" * 5000


@pytest.fixture
def store(reviewed):
    return undecided(reviewed)


@pytest.fixture
def page(store):
    return Page(opened(store)).open()


@pytest.fixture(autouse=True)
def no_fault(caplog):
    """No request may reach the handler of last resort, or leave a traceback."""
    yield
    faults = [one for one in caplog.records if one.levelno >= logging.ERROR or one.exc_info]
    assert not faults, [one.getMessage() for one in faults]


# -- one request at a time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "", "referer": "http://["}, 403),
        ({"referer": "http://["}, 200),
        ({"origin": "http://["}, 403),
        ({"origin": f"http://127.0.0.1:{MANY_DIGITS}"}, 403),
        ({"host": "["}, 400),
        ({"host": f"127.0.0.1:{MANY_DIGITS}"}, 400),
        ({"host": "127.0.0.1:8765\x00"}, 400),
        ({"host": b"\xff\xfe"}, 400),
        ({"content-length": MANY_DIGITS}, 413),
        ({"content-length": "²".encode("latin-1")}, 400),
        ({"content-length": "-1"}, 400),
        ({"x-csrf-token": b"\xff\x00"}, 403),
        ({"cookie": "x" * 40_000}, 431),
        ({"cookie": b'vitrina-8765-session="\\777\\377\xff; ;=;'}, 403),
        ({"accept-language": f"ru;q={MANY_DIGITS},en;q=nan,de;q=1e999"}, 200),
        ({"content-type": "multipart/form-data; boundary=x"}, 400),
        ({"content-type": "application/json"}, 400),
        ({"content-type": b"\xff\xfe"}, 400),
        ({"content-type": ""}, 400),
    ],
)
def test_odd_headers(page, headers, status):
    form = b"action=skip&one=1:&audit=made-up"
    sent = {"origin": HOME, "x-csrf-token": page.csrf, "content-type": FORM, **headers}
    sent = {name: value for name, value in sent.items() if value != ""}
    answer = page.client.post("/decide", content=form, headers=sent)
    assert answer.status_code == status


def test_a_referer_that_is_no_address_is_refused_where_there_is_no_origin(page):
    headers = {"x-csrf-token": page.csrf, "referer": "http://["}
    answer = page.client.post("/decide", data={"action": KEEP, "one": "1:"}, headers=headers)
    assert (answer.status_code, answer.text) == (403, "Changes are taken from this page alone.\n")


@pytest.mark.parametrize(
    "path",
    [
        f"/photo/{MANY_DIGITS}/320",
        f"/photo/0/{MANY_DIGITS}",
        "/photo/0/320/",
        "/photo/²/320",
        "/photo/%00/320",
        "/static/%00",
        "/static/" + "x" * 5000,
        "/static/review.css/",
        "/static/%FF%FE",
        "/%ED%A0%80",
        "/batch/",
    ],
)
def test_paths_that_are_not_there(page, path):
    answer = page.client.get(path)
    assert answer.status_code == 404
    assert answer.text.count("\n") <= 1 or "Такого нет" in answer.text


@pytest.mark.parametrize(
    "query",
    [
        f"at={MANY_DIGITS}",
        f"at=-{MANY_DIGITS}&step=1",
        f"at=1&step={MANY_DIGITS}",
        "at=--1",
        "at=%C2%B2",
        "at=1&at=2&at=x&step=1&step=-1",
        "least=1e999&least=nan&reason=%00&batches=" + MANY_DIGITS,
        "category=%ED%A0%80%FF%00",
        "category=" + "%5B" * 300,
        "page=" + MANY_DIGITS,
        "page=-999999999",
        "q=%00%ED%A0%80%F4%90%80%80&at=1",
        "%zz=%&&&==;",
        "&".join(f"x{number}=" for number in range(3000)),
    ],
)
@pytest.mark.parametrize("path", ["/", "/batch", "/categories", "/decided"])
def test_odd_queries(page, path, query):
    answer = page.client.get(f"{path}?{query}")
    known = path != "/categories" or query == "at=1&step=" + MANY_DIGITS or "&at=1" in query
    assert answer.status_code == (200 if known else 404), query


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"action=keep&audit=made-up&one=" + MANY_DIGITS.encode() + b":", 422),
        (b"action=keep&audit=made-up&one=1:&one=1:&one=" + b"9" * 9 + b":", 422),
        (b"action=keep&audit=made-up&one=-1:", 422),
        (b"action=keep&audit=made-up&one=%C2%B2:", 422),
        (b"action=keep&audit=made-up&one=1%3A&one=%00", 422),
        (b"action=move&audit=made-up&one=1:&category=%00", 422),
        (b"action=move&audit=made-up&one=1:&category=" + MANY_DIGITS.encode(), 422),
        (b"action=%00&audit=made-up&one=1:", 422),
        (b"action=keep&audit=%00&one=1:", 409),
        (b"action=keep&audit=made-up", 422),
        (b"", 409),
        (b"&&&&", 409),
        (b"action=keep&one=1:&audit=%zz", 400),
        (b"action=keep&one=1:&audit=%", 400),
        (b"action=keep&one=1:&audit=%FF", 400),
        (b"action=keep&one=1:&audit=%ED%A0%80", 400),
        (b"action=keep&one=1:&audit=\xff", 400),
        (b"\x00\x01\x02", 409),
        (b"one=1:&" * 1001, 400),
        (b"x" * (security.LONGEST_BODY + 1), 413),
    ],
)
def test_odd_forms(page, store, body, status):
    headers = {"origin": HOME, "x-csrf-token": page.csrf, "content-type": FORM}
    for answer in (
        page.client.post("/decide", content=body, headers=headers),
        page.client.post("/decide", content=iter([body]), headers=headers),
    ):
        assert answer.status_code == status
        assert "Traceback" not in answer.text
    assert not store.decisions().all


def test_a_multipart_body_is_never_parsed(page, store):
    part = b'--x\r\nContent-Disposition: form-data; name="one"\r\n\r\n1:\r\n'
    headers = {"origin": HOME, "x-csrf-token": page.csrf}
    headers["content-type"] = "multipart/form-data; boundary=x"
    answer = page.client.post("/decide", content=part * 4000 + b"--x--\r\n", headers=headers)
    assert answer.status_code == 400
    assert not store.decisions().all


@pytest.mark.parametrize("path", ["/settings", "/undo"])
def test_odd_values_of_other_forms(page, store, path):
    page.decide(MOVE)
    for value in ("\x00", "\U0010ffff" * 300, MANY_DIGITS, "'; --", "\u2028<script>"):
        answer = page.post(path, reviewer=value, language=value, key=value, change=value)
        assert answer.status_code == 200
    assert len(store.decisions().all) == 1


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "CONNECT"]
)
def test_other_methods(page, method):
    headers = {"origin": HOME}
    for path, status in (("/", 405), ("/decide", 405), ("/nothing", 404), ("/static/x", 405)):
        answer = page.client.request(method, path, headers=headers)
        assert answer.status_code == status
        assert answer.text.count("\n") <= 1


def test_numbers_have_a_length():
    assert [whole_number(text) for text in ("0", "007", "999999999")] == [0, 7, 999999999]
    for text in ("", "1" * 10, MANY_DIGITS, "-1", "+1", " 1", "1_0", "²", "٣", "1\n"):
        assert whole_number(text) is None


def test_forms_are_parsed_strictly():
    form = FormFields.parse(b"a=1&b=%D1%8F+x&a=2&c", f"{FORM}; charset=UTF-8")
    assert (form.get("a"), form.every("a"), form.get("b"), form.get("c")) == (
        "2",
        ["1", "2"],
        "я x",
        "",
    )
    assert (form.get("d"), form.every("d")) == ("", ())
    assert len(FormFields.parse(b"&".join([b"a=1"] * MOST_FIELDS)).every("a")) == MOST_FIELDS
    for body in (b"a=%", b"a=%FF", b"\xff", b"&".join([b"a=1"] * (MOST_FIELDS + 1))):
        with pytest.raises(NotUnderstoodError):
            FormFields.parse(body)
    with pytest.raises(NotUnderstoodError):
        FormFields.parse(b"a=1", "text/plain")


def test_a_fault_of_the_page_is_one_line(store, monkeypatch, caplog):
    page = Page(opened(store)).open()

    def fail(*_, **__):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(CategoryList, "search", fail)
    answer = page.client.get("/categories?at=1&q=a")
    assert answer.status_code == 500
    assert answer.text.count("\n") == 1
    assert "secret" not in answer.text
    (told,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert told.getMessage().startswith("GET '/categories': ZeroDivisionError at ")
    assert told.exc_info is None
    caplog.clear()


# -- a server under load ---------------------------------------------------------------------------


@contextlib.contextmanager
def serving(store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serves = server(opened(store, port=port), ReviewOptions(port=port))
    running = threading.Thread(target=serves.run)
    running.start()
    while not serves.started:
        time.sleep(0.01)
    try:
        yield serves, port
    finally:
        serves.should_exit = True
        running.join(10)
        assert not running.is_alive()


def send(port, content, seconds=5.0):
    """What the server answers to some bytes until it closes; None if it keeps the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as one:
        one.sendall(content)
        return read(one)


def read(one):
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := one.recv(65536):
            answer += part
    return answer


def get(port, path="/", more=""):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode()


def answers(port):
    return send(port, get(port, more="Connection: close\r\n")).startswith(b"HTTP/1.1 200")


def wait_until(holds, seconds=5.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


HALVES = (
    lambda _: b"",
    lambda _: b"GET / HT",
    lambda port: get(port)[:-2],
    lambda port: (
        f"POST /decide HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        "Content-Length: 100\r\n\r\none="
    ).encode(),
)


def test_300_half_sent_requests_are_soon_gone_and_the_page_answers(store, monkeypatch):
    monkeypatch.setattr(connections, "ARRIVAL", 1.0)
    with serving(store) as (serves, port), contextlib.ExitStack() as stack:
        held = []
        for number in range(300):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            one.sendall(HALVES[number % len(HALVES)](port))
            held.append(one)
        started = time.monotonic()
        assert answers(port)
        assert time.monotonic() - started < 1
        assert len(serves.server_state.connections) <= connections.MOST_CONNECTIONS
        wait_until(lambda: not serves.server_state.connections)
        assert time.monotonic() - started < 4
        last = read(held[-2])
        assert last.startswith(b"HTTP/1.1 408 Request Timeout")
        assert last.endswith(b"\r\n\r\nThe request did not arrive in time.\n")
        assert answers(port)


def test_a_request_that_drips_is_cut_off(store, monkeypatch):
    monkeypatch.setattr(connections, "ARRIVAL", 0.5)
    with serving(store) as (serves, port):
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
            one.sendall(get(port)[:-2])
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - started < 0.3 or (
                    serves.server_state.connections and time.monotonic() - started < 5
                ):
                    one.sendall(b"a: b\r\n")
                    time.sleep(0.05)
        assert 0.4 < time.monotonic() - started < 2
        # A second request on a connection is bounded as the first.
        with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
            one.sendall(get(port))
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.6)
            one.sendall(get(port)[:-2])
            started = time.monotonic()
            assert b"HTTP/1.1 408" in read(one)
        assert time.monotonic() - started < 2


def test_a_client_that_takes_no_answer_is_cut_off(store, monkeypatch):
    monkeypatch.setattr(connections, "DEPARTURE", 0.5)
    with serving(store) as (serves, port), socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", port))
        with contextlib.suppress(BlockingIOError, ConnectionError):
            one.setblocking(False)
            for _ in range(1000):
                one.sendall(get(port, "/static/htmx.min.js"))
        time.sleep(0.2)
        assert serves.server_state.connections
        wait_until(lambda: not serves.server_state.connections)
        assert answers(port)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET //[/ HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET /../../x HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\n"
            b"Upgrade: websocket\r\n\r\n",
            b"400",
        ),
        (b"OPTIONS * HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n", b"403"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n", b"403"),
        (b"GET http://[ HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n", b"404"),
        (b"GET / HTTP/1.1\r\nHost: HERE\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", b"4"),
        (
            b"POST /decide HTTP/1.1\r\nHost: HERE\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
            b"400",
        ),
        (b"POST /decide HTTP/1.1\r\nHost: HERE\r\nTransfer-Encoding: gzip\r\n\r\n", b"400"),
        # The first part is refused, while the rest is no HTTP: both may have been said.
        (b"POST /decide HTTP/1.1\r\nHost: HERE\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"4"),
        (b"GET / HTTP/1.1\r\nHost: HERE\r\n\r\nnonsense\r\n\r\n", b"200"),
    ],
)
def test_what_is_no_http(store, content, status):
    with serving(store) as (_, port):
        answer = send(port, content.replace(b"HERE", f"127.0.0.1:{port}".encode()))
        assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]
        assert answers(port)


def test_a_body_that_breaks_off_is_no_fault(store, capfd):
    with serving(store) as (serves, port):
        page = send(port, get(port, more="Connection: close\r\n")).decode()
        token = page.partition('X-CSRF-Token":"')[2].partition('"')[0]
        head = (
            f"POST /decide HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-CSRF-Token: {token}\r\n"
            f"Origin: http://127.0.0.1:{port}\r\nContent-Type: {FORM}\r\n"
            "Content-Length: 100\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(f"{head}one=".encode())
            time.sleep(0.1)
        wait_until(lambda: not serves.server_state.connections)
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(f"{head}one=".encode())
            time.sleep(0.1)
            started = time.monotonic()
            serves.should_exit = True
            read(one)
            # The server does not wait for what will never come.
            assert time.monotonic() - started < 1
    assert capfd.readouterr().err == ""


def test_random_bytes_leave_the_page_up(store):
    draw = random.Random(0)
    with serving(store) as (_, port):
        whole = get(port, "/decided", "Cookie: a=b\r\nReferer: http://x\r\n")
        for _ in range(150):
            content = bytearray(whole)
            for _ in range(draw.randint(1, 8)):
                content[draw.randrange(len(content))] = draw.randrange(256)
            with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
                one.sendall(content)
                one.shutdown(socket.SHUT_WR)
                one.settimeout(0.05)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    assert not one.recv(4096).startswith(b"HTTP/1.1 5")
        assert answers(port)
