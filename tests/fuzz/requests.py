"""Requests to the review page: addresses, headers, forms and bodies."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes

from fuzz.asgi import Request, ask
from fuzz.mutate import INTERESTING, mutated
from fuzz.target import SOUND, Target, copy_files, expect

HOST = b"127.0.0.1:8765"
NUMBERS = (
    *(str(number) for number in INTERESTING),
    "9" * 5000,
    "-0",
    "+1",
    "1e3",
    "١",
    "²",
    " 1",
    "0x1",
    "1_0",
)
TEXTS = (
    "",
    "a",
    "'\"><script>",
    "\0",
    "\ud800",
    "🙂" * 3000,
    "%00",
    "../../etc/passwd",
    "{{7*7}}",
    "x" * 100_000,
)
PATHS = ("/", "/batch", "/categories", "/decided", "/photo/1/96", "/photo/0/320",
"/static/review.css",
         "/static/../../etc/passwd", "/static/..%2f..%2foutside/victim.txt", "/decide", "/undo",
         "/settings", "/nowhere", "//", "/photo/-1/96", "/photo/1/1")  # fmt: skip
KEYS = ("at", "step", "page", "q", "token", "reason", "category", "reviewer", "order", "one", "x")


class Requests(Target):
    name = "requests"
    forms = ("addresses", "headers", "forms", "bodies")

    def prepare(self, folder: Path) -> None:
        from fuzz.catalogues import csv_of
        from fuzz.ingesting import add_audit, ingest_catalogue

        (folder / "goods.csv").write_bytes(csv_of(",", "utf-8"))
        ingest_catalogue(folder / "goods.csv", folder / "store", None, 1.0)
        add_audit(folder / "store")

    def load(self) -> None:
        import vitrina.api  # noqa: F401

    def warm_up(self) -> None:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "outside").mkdir()
            for form in self.forms:
                try:
                    self.make(form, Random(0), folder / form)
                    self.run(form, folder / form)
                except Exception:
                    continue

    def make(self, form: str, draw: Random, folder: Path) -> str:
        folder.mkdir(exist_ok=True)
        copy_files(self.seeds / "store", folder / "store")
        if form == SOUND:
            path = draw.choice((b"/", b"/batch", b"/decided", b"/categories"))
            requests = [Request(path=path, query=b"at=1")]
            (folder / "requests.txt").write_text(repr([vars(one) for one in requests]))
            return repr(requests)
        requests = [_drawn(form, draw) for _ in range(draw.choice((1, 2, 4)))]
        text = repr([vars(request) for request in requests])
        (folder / "requests.txt").write_text(text, encoding="utf-8")
        return text

    def run(self, form: str, folder: Path) -> None:
        from ast import literal_eval

        from vitrina.audit.results import Audit
        from vitrina.audit.review.app import create_app
        from vitrina.audit.review.options import ReviewOptions
        from vitrina.store.store import OpenStore

        told = literal_eval((folder / "requests.txt").read_text(encoding="utf-8"))
        requests = [Request(**one) for one in told]
        store = OpenStore.open(folder / "store", create=False)
        token = (
            "sixteen-letters-and-more" if any(b"token" in one.query for one in requests) else None
        )
        app = create_app(
            store, Audit.of(store), lambda _: None, ReviewOptions(reviewer="A", token=token)
        )
        first = ask(app, [Request()])[0].body.decode("utf-8", "replace")
        found = re.search(r"X-CSRF-Token\":\"([^\"]+)\"", first.replace("&#34;", '"'))
        csrf = found[1].encode() if found else b"none"
        for request in requests:
            headers = tuple(
                (key, csrf if value == b"CSRF" else value) for key, value in request.headers
            )
            answer = ask(app, [Request(**{**vars(request), "headers": headers})])[0]
            if answer.status >= 500:
                raise RuntimeError(f"HTTP {answer.status}: {answer.body[:300]!r}")
            expect(b"CANARY" not in answer.body, "read outside: a request gets a file")
            if answer.status >= 400:
                expect(b"Traceback" not in answer.body, "a traceback in an answer")


def _drawn(form: str, draw: Random) -> Request:
    query = "&".join(
        f"{draw.choice(KEYS)}={_quoted(draw.choice(draw.choice((NUMBERS, TEXTS))), draw)}"
        for _ in range(draw.choice((0, 1, 2, 5)))
    ).encode()
    path = draw.choice(PATHS).encode()
    headers: list[tuple[bytes, bytes]] = [(b"host", HOST), (b"accept-language", b"en")]
    request: dict[str, Any] = {"method": draw.choice(("GET", "GET", "HEAD", "OPTIONS", "PUT", "x"))}
    if form == "addresses":
        if draw.random() < 0.4:
            path = f"/photo/{draw.choice(NUMBERS)}/{draw.choice(NUMBERS)}".encode()
        if draw.random() < 0.3:
            path, query = (
                mutated(path, draw, [path], []),
                mutated(query, draw, [query], [b"%", b"&"]),
            )
    elif form == "headers":
        for _ in range(draw.choice((1, 2, 4))):
            headers.append(_odd_header(draw))
        request["method"] = draw.choice(("GET", "POST"))
    else:
        request["method"] = "POST"
        path = draw.choice((b"/decide", b"/decide", b"/undo", b"/settings", path))
        headers += [(b"origin", b"http://" + HOST), (b"x-csrf-token", b"CSRF")]
        if draw.random() < 0.3:
            headers.append((b"hx-request", b"true"))
        body, kind = _form(draw) if form == "forms" else _body(draw)
        headers.append((b"content-type", kind))
        length = draw.choice((str(len(body)), str(len(body)), str(len(body)), *NUMBERS[:6], "x"))
        headers.append((b"content-length", length.encode("utf-8")))
        cut = draw.randrange(len(body) + 1)
        request["body"] = draw.choice(((body,), (body[:cut], body[cut:])))
        request["leaves"] = draw.random() < 0.1
        if draw.random() < 0.2:
            headers.append(_odd_header(draw))
    return Request(path=path, query=query, headers=tuple(headers), **request)


def _odd_header(draw: Random) -> tuple[bytes, bytes]:
    name = draw.choice(
        (b"host", b"referer", b"origin", b"cookie", b"accept-language", b"content-length",
         b"content-type", b"x-csrf-token", b"hx-request", b"range", b"if-none-match",
         b"if-modified-since", b"x-forwarded-host", b"transfer-encoding", b"accept-encoding",
         b"hx-current-url")
    )  # fmt: skip
    value = draw.choice(
        (b"http://[", b"http://[::1", b"null", b"", b"http://127.0.0.1:8765", b"http://a:b@c:99999",
         b"a=b; vitrina-8765-session=" + b"x" * 500, b"vitrina-8765-reviewer=%ff%fe; =;;;",
         b"vitrina-8765-language=xx", b'x="\\', b"bytes=0-1,5-2,-9", b"bytes=9999999999999-",
         b"chunked",
         b"ru;q=9" * 500, b"\xff\xfe", b"W/\"x", b"Mon, 99 Foo", b"9" * 5000, b"-1", b"[::1]:8765",
         b"multipart/form-data", b"multipart/form-data; boundary=" + b"-" * 300, b"\xd0\xb0",
         b"http://127.0.0.1:8765/?" + b"at=9&" * 900)
    )  # fmt: skip
    return name, value


def _form(draw: Random) -> tuple[bytes, bytes]:
    """A decision that is nearly right."""
    pairs = [
        ("action", draw.choice(("keep", "move", "skip", "undo", "x", ""))),
        ("one", draw.choice((f"{draw.choice(NUMBERS)}:", "1:", "2:x", "1", ":", "1:2:3"))),
        ("audit", draw.choice(("x", "x", "x", "y"))),
        ("category", draw.choice(("", "n1", "i1", "1", "s2", *TEXTS[:4]))),
    ]
    for _ in range(draw.choice((0, 1, 3))):
        pairs.append(
            (
                draw.choice(("one", "key", "reviewer", "language", "change", "x")),
                draw.choice((*NUMBERS, *TEXTS)),
            )
        )
    if draw.random() < 0.1:
        pairs = pairs * 400
    draw.shuffle(pairs)
    return "&".join(f"{key}={_quoted(value, draw)}" for key, value in pairs).encode(), (
        b"application/x-www-form-urlencoded"
    )


def _body(draw: Random) -> tuple[bytes, bytes]:
    kind = draw.choice(
        (b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=b",
        b"application/json",
         b"multipart/form-data", b"text/plain", b"", b"multipart/form-data; boundary=\"",
         b"application/x-www-form-urlencoded; charset=utf-7")
    )  # fmt: skip
    part = b'--b\r\nContent-Disposition: form-data; name="one"\r\n\r\n1:\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="one"; filename="a"\r\n\r\nx\r\n'
    body = draw.choice(
        (part * 3 + b"--b--\r\n", part * 1500 + b"--b--", file + b"--b--",
        b"--b\r\n" + b"x: y\r\n" * 3000,
         b"a=" * 3000, b"x" * 300_000, b"\xff" * 100, b"{}", b"%", b"&" * 5000,
         b"action=skip&one=1:")
    )  # fmt: skip
    return (
        mutated(body, draw, [body], [b"\r\n", b"--b", b"%zz"]) if draw.random() < 0.6 else body
    ), kind


def _quoted(text: str, draw: Random) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return (
        quote_from_bytes(data) if draw.random() < 0.8 else data.decode("latin-1").replace("&", "")
    )


TARGET = Requests()
