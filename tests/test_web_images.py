"""Photos are fetched once, within limits, and never from where a stranger's URL must not lead."""

from __future__ import annotations

import datetime
import gzip
import socket
import ssl
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.catalogue_files import all_rows, jsonl, text
from support.web_server import Site, hang_up, photo, raw, slow, status
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import ReadingOptions
from vitrina.data.product import Product
from vitrina.data.readers import Columns
from vitrina.data.reading import Reading
from vitrina.data.sources import Fetching, ImageSource, open_images, ssrf_guard, web
from vitrina.data.sources.addresses import is_public
from vitrina.data.sources.web import WebImages
from vitrina.data.sources.web_cache import PhotoCache
from vitrina.errors import ImageError, ImageSourceError, StoreError

DATA = bytes(range(256)) * 40
LIMIT = 100_000


@pytest.fixture
def site():
    site = Site()
    yield site
    site.close()


@pytest.fixture
def sleeps(monkeypatch):
    """The pauses that were made between tries; none of them really is."""
    made: list[float] = []
    monkeypatch.setattr(web, "time", SimpleNamespace(sleep=made.append))
    return made


@pytest.fixture
def source(tmp_path, sleeps):  # noqa: ARG001
    source = WebImages(3, Fetching(allow_private=True, cache=str(tmp_path / "c"), max_bytes=LIMIT))
    yield source
    source.close()


def fails(source: ImageSource, url: str) -> str:
    with pytest.raises(ImageError) as caught:
        source.read(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def names(monkeypatch):
    """Answers of the name service, each name's in turn; and the addresses connected to.

    A connection to any address really goes to the loopback.
    """
    known: dict[str, list[list[str]]] = {}
    connected: list[str] = []
    connect = socket.socket.connect

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        answers = known.get(host, [[host]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in found]
        kind = socket.SOCK_STREAM
        return [(f, kind, 6, "", (one, port)) for f, one in zip(families, found, strict=True)]

    def to_loopback(self: socket.socket, where: Any) -> None:
        connected.append(where[0])
        connect(self, ("127.0.0.1", where[1]))

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", to_loopback)
    return SimpleNamespace(known=known, connected=connected)


# ---------------------------------------------------------------- fetching


def test_fetches_and_says_who_it_is(site, source):
    url = site.put("/a/1.jpg", photo(DATA))
    assert source.read(url) == DATA
    ((path, headers),) = site.requests
    assert path == "/a/1.jpg"
    assert headers["User-Agent"].startswith("vitrina/")
    assert headers["Host"] == f"127.0.0.1:{site.port}"


def test_references_are_the_urls_among_the_names(source):
    urls = [f"https://shop.example/{n}.jpg" for n in range(4)]
    names = ["1.jpg", urls[0], "ftp://shop.example/1.jpg", "//shop.example/1.jpg", *urls[1:]]
    product = Product(1, "x", "", images=tuple(names))
    assert source.references(product) == tuple(urls[:3])
    assert source.references(Product(1, "x", "", images=("HTTP://A/1", "1.jpg"))) == ("HTTP://A/1",)
    assert source.references(Product(1, "x", "")) == ()


@pytest.mark.parametrize(
    "url",
    ["", "1.jpg", "ftp://a/1", "file:///etc/passwd", "http://", "http://[::1", "http://a:b/",
     "http://a:99999/", "https:///1.jpg", "http://" + "a" * 300 + "./1"],
)  # fmt: skip
def test_what_is_no_url(source, url):
    assert fails(source, url) in ("not an http(s) URL", f"no such host: {'a' * 300}.")


def test_a_connection_serves_many_photos(site, source, monkeypatch):
    made: list[Any] = []
    connect = ssrf_guard.AddressGuard.connect
    monkeypatch.setattr(
        ssrf_guard.AddressGuard,
        "connect",
        lambda self, conn: made.append(conn) or connect(self, conn),
    )
    urls = [site.put(f"/{n}.jpg", photo(DATA[n:])) for n in range(5)]
    for n, url in enumerate(urls):
        assert source.read(url) == DATA[n:]
        assert fails(source, site.url("/none")) == "HTTP 404"
    assert len(made) == 1


@pytest.mark.parametrize("code", [204, 206, 304, 400, 403, 404, 410])
def test_only_200_is_a_photo_and_refusals_are_final(site, source, code):
    url = site.put("/1", status(code))
    assert fails(source, url) == f"HTTP {code}"
    assert site.paths == ["/1"]


def test_web_pages_and_nothing_are_no_photos(site, source):
    page = photo(b"<html>Not found", Content_Type="text/html; charset=utf-8")
    assert fails(source, site.put("/page", page)) == "a web page, not a photo"
    assert fails(source, site.put("/empty", photo(b""))) == "an empty answer"
    assert fails(source, site.put("/page", page)) == "a web page, not a photo"


def test_cyrillic_urls(site, source, names):
    names.known["xn--80aswg.xn--p1ai"] = [["127.0.0.1"]]
    site.put("/%D1%84%D0%BE%D1%82%D0%BE%201.jpg", photo(DATA))
    assert source.read(site.url("/фото 1.jpg", host="сайт.рф")) == DATA
    assert site.requests[0][1]["Host"] == f"xn--80aswg.xn--p1ai:{site.port}"


def test_credentials_are_not_sent(site, source):
    site.put("/1", photo(DATA))
    assert source.read(site.url("/1#part", host="user:secret@127.0.0.1")) == DATA
    assert "Authorization" not in site.requests[0][1]


# ---------------------------------------------------------------- redirects


def test_redirects(site, source):
    site.put("/a", status(301, Location="/b"))
    site.put("/b", status(302, Location=site.url("/c?x=1")))
    site.put("/c?x=1", status(307, Location="d.jpg"))
    site.put("/d.jpg", photo(DATA))
    assert source.read(site.url("/a")) == DATA
    assert site.paths == ["/a", "/b", "/c?x=1", "/d.jpg"]


def test_too_many_redirects(site, source):
    url = site.put("/a", status(302, Location="/a"))
    assert fails(source, url) == "more than 5 redirects"
    assert len(site.requests) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://a/b", "gopher://a", "http://[x"])
def test_redirects_to_something_else(site, source, target):
    url = site.put("/a", status(302, Location=target))
    assert fails(source, url).endswith("not an http(s) URL")


def test_a_redirect_to_a_private_address(site, tmp_path, names):
    names.known["shop.example"] = [["93.184.216.34"]]
    site.put("/a", status(302, Location=site.url("/secret")))
    site.put("/secret", photo(DATA))
    source = WebImages(1, Fetching(cache=str(tmp_path)))
    url = site.url("/a", host="shop.example")
    assert fails(source, url) == "private address refused: 127.0.0.1"
    assert site.paths == ["/a"]
    source.close()


# ---------------------------------------------------------------- private addresses


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::",
     "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
     "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.0.8", "192.0.2.1",
     "198.18.0.1", "240.0.0.1", "::", "::1", "::7f00:1", "fe80::1%eth0", "fc00::1", "fec0::1",
     "ff02::1", "ff0e::1", "2001::1", "2001:db8::1", "3fff::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b:1::808:808"],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
def test_private_addresses_are_refused(site, tmp_path, host):
    site.put("/1", photo(DATA))
    source = WebImages(1, Fetching(cache=str(tmp_path)))
    assert fails(source, site.url("/1", host=host)).startswith("private address refused: ")
    assert site.requests == []
    source.close()


def test_a_name_that_changes_its_address(site, tmp_path, names):
    names.known["evil.example"] = [["93.184.216.34"], ["127.0.0.1"]]
    site.put("/1", photo(DATA, Connection="close"))
    site.put("/2", photo(DATA))
    source = WebImages(1, Fetching(cache=str(tmp_path)))
    assert source.read(site.url("/1", host="evil.example")) == DATA
    assert names.connected == ["93.184.216.34"]
    url = site.url("/2", host="evil.example")
    assert fails(source, url) == "private address refused: 127.0.0.1"
    assert names.connected == ["93.184.216.34"]
    source.close()


def test_one_private_address_among_others(tmp_path, names):
    names.known["evil.example"] = [["93.184.216.34", "::ffff:10.0.0.1"]]
    source = WebImages(1, Fetching(cache=str(tmp_path)))
    assert fails(source, "http://evil.example/") == "private address refused: ::ffff:10.0.0.1"
    assert names.connected == []
    source.close()


def test_proxies_of_the_environment_are_not_used(site, source, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert source.read(site.put("/1", photo(DATA))) == DATA


# ---------------------------------------------------------------- trying again


@pytest.mark.parametrize("first", [status(503), status(500), status(429), hang_up])
def test_a_fault_that_passes(site, source, sleeps, first):
    assert source.read(site.put("/1", first, photo(DATA))) == DATA
    assert len(site.requests) == 2
    assert 0.25 <= sleeps[0] <= 0.75


def test_a_fault_that_stays(site, source, sleeps):
    assert fails(source, site.put("/1", status(503))) == "HTTP 503"
    assert len(site.requests) == 3
    assert 0.25 <= sleeps[0] <= 0.75
    assert 0.5 <= sleeps[1] <= 1.5
    assert fails(source, site.put("/2", hang_up)) == "the connection broke off"


def test_retry_after(site, source, sleeps):
    soon = format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=20))
    url = site.put("/1", status(429, Retry_After="7"), status(503, Retry_After=soon), photo(DATA))
    assert source.read(url) == DATA
    assert sleeps[0] == 7
    assert 15 <= sleeps[1] <= 20
    url = site.put("/2", status(429, Retry_After="next week"), photo(DATA))
    assert source.read(url) == DATA
    assert sleeps[2] < 1


def test_a_server_that_wants_to_be_left_alone(site, source, sleeps):
    url = site.put("/1", status(429, Retry_After="3600"), photo(DATA))
    assert fails(source, url) == "HTTP 429"
    assert sleeps == []
    assert len(site.requests) == 1


def test_no_server_and_no_name(source, names, sleeps):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    assert fails(source, url) == "no connection to 127.0.0.1"
    assert len(sleeps) == 2
    names.known["none.example"] = [[]]
    assert fails(source, "http://none.example/") == "no such host: none.example"
    assert len(sleeps) == 2


def test_the_next_address_of_a_host_is_tried(site, source, names):
    names.known["shop.example"] = [["::1", "127.0.0.1"]]
    # The first is of another family than where the test leads it, and so fails.
    url = site.put("/1", photo(DATA)).replace("127.0.0.1", "shop.example")
    assert source.read(url) == DATA
    assert names.connected == ["::1", "127.0.0.1"]


# ---------------------------------------------------------------- size


def test_a_photo_of_the_limit_and_one_byte_more(site, source):
    whole = bytes(LIMIT)
    assert source.read(site.put("/1", photo(whole))) == whole
    reason = f"too large: over {LIMIT} bytes"
    assert fails(source, site.put("/2", photo(whole + b"x"))) == reason
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert source.read(site.put("/3", raw(head, whole))) == whole
    assert fails(source, site.put("/4", raw(head, whole, b"x"))) == reason


def test_chunks(site, source):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    assert source.read(site.put("/1", raw(head, chunk, chunk, b"0\r\n\r\n"))) == bytes(20_000)
    endless = raw(head, *[chunk] * 1000)
    assert fails(source, site.put("/2", endless)) == f"too large: over {LIMIT} bytes"


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        # Taken literally, it means everything up to the end, at once.
        (b"-1", f"too large: over {LIMIT} bytes"),
        (b"ffffffffffffffff", f"too large: over {LIMIT} bytes"),
        (b"-5", "the connection broke off"),
        (b"x", "the connection broke off"),
        (b"", "the connection broke off"),
    ],
)
def test_lies_about_the_size_of_a_chunk(site, source, size, reason):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
    assert fails(source, site.put("/1", raw(head, *[bytes(LIMIT)] * 40))) == reason


def test_cut_short(site, source):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    assert source.read(site.put("/1", raw(head, b"x" * 999), photo(DATA))) == DATA
    assert fails(source, site.put("/2", raw(head, b"x" * 999))) == "the connection broke off"


def test_compressed_on_the_way(site, source):
    packed = gzip.compress(DATA)
    assert source.read(site.put("/1", photo(packed, Content_Encoding="gzip"))) == DATA
    url = site.put("/2", photo(b"\x1f\x8bnonsense", Content_Encoding="gzip"))
    assert fails(source, url) == "damaged: its Content-Encoding can't be undone"


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb(site, source, layers):
    bomb = bytes(200 << 20)
    for _ in range(layers):
        bomb = gzip.compress(bomb, 6 if layers == 1 else 9)
    url = site.put("/1", photo(bomb[: LIMIT - 1], Content_Encoding=", ".join(["gzip"] * layers)))
    tracemalloc.start()
    reason = fails(source, url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason == f"too large: over {LIMIT} bytes"
    assert peak < 20 << 20


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", *[b"x"] * 500, pause=0.02),
        raw(b"HTTP/1.1 200 OK\r\nX: ", *[b"x"] * 500, pause=0.02),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"0"] * 500, pause=0.02),
        raw(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 500, pause=0.02),
        raw(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 500, pause=0.02),
        slow(2, status(200)),
    ],
    ids=["content", "headers", "chunk sizes", "no length", "endless promises", "silence"],
)
def test_a_server_that_takes_its_time(site, tmp_path, answer):
    source = WebImages(1, Fetching(allow_private=True, cache=str(tmp_path), timeout=0.3))
    begin = time.monotonic()
    assert fails(source, site.put("/1", answer)) == "timed out"
    assert time.monotonic() - begin < 1.5
    source.close()


def test_redirects_and_tries_share_the_time(site, tmp_path):
    site.put("/a", slow(0.12, status(302, Location="/b")))
    site.put("/b", slow(0.12, status(302, Location="/a")))
    source = WebImages(1, Fetching(allow_private=True, cache=str(tmp_path), timeout=0.3))
    assert fails(source, site.url("/a")) == "timed out"
    assert len(site.requests) <= 3
    source.close()


def test_waiting_for_a_turn_costs_no_time(site, tmp_path):
    urls = [site.put(f"/{n}", slow(0.1, photo(DATA))) for n in range(16)]
    source = WebImages(1, Fetching(allow_private=True, cache=str(tmp_path), timeout=0.3))
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(source.read, urls)) == [DATA] * 16
    source.close()


# ---------------------------------------------------------------- how many at once


def test_no_more_than_four_at_one_host(site, source):
    urls = [site.put(f"/{n}", slow(0.03, photo(DATA))) for n in range(24)]
    with ThreadPoolExecutor(source.workers) as pool:
        assert list(pool.map(source.read, urls)) == [DATA] * 24
    assert site.most == 4


def test_no_more_than_the_workers_in_all(site, tmp_path, names):
    source = WebImages(1, Fetching(allow_private=True, cache=str(tmp_path), workers=6))
    assert source.workers == 6
    urls = []
    for n in range(36):
        names.known[f"{n % 9}.example"] = [["127.0.0.1"]]
        site.put(f"/{n}", slow(0.03, photo(DATA)))
        urls.append(site.url(f"/{n}", host=f"{n % 9}.example"))
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(source.read, urls)) == [DATA] * 36
    assert site.most == 6
    source.close()


def test_two_threads_and_one_photo(site, source):
    url = site.put("/1", slow(0.05, photo(DATA)))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, [url] * 8)) == [DATA] * 8


# ---------------------------------------------------------------- the cache


def test_a_photo_is_fetched_once(site, tmp_path, source):
    url = site.put("/1", photo(DATA))
    assert [source.read(url), source.read(url)] == [DATA, DATA]
    other = WebImages(1, Fetching(allow_private=True, cache=str(tmp_path / "c")))
    assert other.read(url) == DATA
    assert len(site.requests) == 1
    other.close()


def test_a_photo_that_is_to_be_forgotten_is_fetched_anew(site, source):
    url = site.put("/1", photo(DATA), photo(DATA + b"!"))
    assert source.read(url) == DATA
    # Its stamp stays: only who asks for it anew learns that it changed.
    before = source.stamp(url)
    source.forget(url)
    assert source.read(url) == DATA + b"!"
    assert source.stamp(url) == before is not None


def test_failures_are_not_kept(site, source):
    url = site.put("/1", status(404), photo(DATA))
    assert fails(source, url) == "HTTP 404"
    assert source.read(url) == DATA


def test_one_content_under_two_urls_is_kept_once(site, source, tmp_path):
    one, other = site.put("/1", photo(DATA)), site.put("/2", photo(DATA))
    source.read(one)
    source.read(other)
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path / "c/photos").parts[0] for path in files) == [
        "content",
        "urls",
        "urls",
    ]
    assert {path.read_bytes() for path in files if "content" in path.parts} == {DATA}


@pytest.mark.parametrize("kind", ["content", "urls"])
@pytest.mark.parametrize("damage", [b"", b"x", b"../../../../etc/passwd", None])
def test_a_damaged_cache_is_mended(site, source, tmp_path, kind, damage):
    url = site.put("/1", photo(DATA))
    source.read(url)
    (path,) = (p for p in (tmp_path / "c/photos" / kind).rglob("*") if p.is_file())
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    assert source.read(url) == DATA
    assert source.read(url) == DATA
    assert len(site.requests) == 2


def test_many_writers(tmp_path):
    def write(n: int) -> bytes | None:
        cache = PhotoCache(tmp_path)
        cache.put("http://a/same", DATA)
        cache.put(f"http://a/{n}", bytes([n]))
        return cache.get("http://a/same")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(64))) == {DATA}
    cache = PhotoCache(tmp_path)
    assert [cache.get(f"http://a/{n}") for n in range(64)] == [bytes([n]) for n in range(64)]
    assert not list(tmp_path.rglob(".*"))


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "v"))
    assert Fetching().cache_folder == tmp_path / "v/photos"
    assert Fetching(cache=str(tmp_path)).cache_folder == tmp_path / "photos"
    monkeypatch.chdir(tmp_path)
    assert Fetching(cache="c").cache == str(tmp_path / "c")


def test_a_cache_that_cannot_be(site, tmp_path):
    text(tmp_path / "file", "")
    with pytest.raises(ImageSourceError, match=r"photos can't be kept there.*VITRINA_CACHE"):
        WebImages(1, Fetching(cache=str(tmp_path / "file")))
    source = WebImages(1, Fetching(allow_private=True, cache=str(tmp_path)))
    text(tmp_path / "photos/content", "")
    with pytest.raises(ImageSourceError, match=r"can't be written.*VITRINA_CACHE"):
        source.read(site.put("/1", photo(DATA)))
    source.close()


# ---------------------------------------------------------------- TLS


def certificate(folder: Path) -> Path:
    """A certificate for localhost that signs itself, with its key, in one file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path = folder / "localhost.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem)
    )
    return path


def test_https(tmp_path, source, monkeypatch, sleeps):
    path = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    site = Site(context)
    try:
        site.put("/1", photo(DATA))
        drip = raw(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 500, pause=0.02)
        site.put("/drip", drip)
        url = site.url("/1", host="localhost")
        assert fails(source, url) == "no trusted connection to localhost"
        assert sleeps == []
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert source.read(url) == DATA
        assert fails(source, site.url("/1")) == "no trusted connection to 127.0.0.1"
        hasty = WebImages(
            1, Fetching(allow_private=True, cache=str(tmp_path / "d"), timeout=0.3, tries=1)
        )
        assert fails(hasty, site.url("/drip", host="localhost")) == "timed out"
        hasty.close()
    finally:
        site.close()


# ---------------------------------------------------------------- as a catalogue's photos


def test_a_catalogue_with_urls(site, tmp_path):
    one, two = site.put("/1", photo(DATA)), site.put("/2", photo(DATA[1:]))
    names = ([one, two], two, None, "x.jpg")
    rows = [{"product_id": n, "title": "t", "pic": name} for n, name in enumerate(names)]
    path = jsonl(tmp_path / "c.jsonl", *rows)
    catalogue = Catalogue.read(
        path,
        images="web",
        photos=2,
        columns=Columns(image="pic"),
        fetching=Fetching(allow_private=True, cache=str(tmp_path)),
    )
    assert catalogue.reading.images == "web"
    products, _ = all_rows(catalogue)
    found = [catalogue.images.references(product) for product in products]
    assert found == [(one, two), (two,), (), ()]
    assert catalogue.images.read(one) == DATA
    catalogue.close()
    stored = Reading.from_json(catalogue.reading.to_json())
    assert stored == replace(catalogue.reading, fetching=Fetching())
    again = Catalogue.open(path, replace(stored, fetching=Fetching(cache=str(tmp_path))))
    assert again.images.read(one) == DATA
    assert len(site.requests) == 1
    again.close()


def test_settings_from_before_there_was_a_web():
    old = Reading(images="/photos").to_json()
    del old["fetching"]
    assert Reading.from_json(old) == Reading(images="/photos")
    with pytest.raises(StoreError, match="a store's reading settings is not what it should be"):
        Reading.from_json({**old, "fetching": {"tries": "3"}})


def test_options_change_how_to_fetch():
    reading = Reading(images="/photos", image_template="{product_id}.jpg")
    quick = Fetching(workers=2, allow_private=True)
    given = ReadingOptions(images="web", num_workers=2, allow_private=True)
    changed = reading.with_options(given)
    assert (changed.images, changed.image_template, changed.fetching) == ("web", None, quick)
    assert changed.with_options(ReadingOptions(photos=3)).fetching == quick
    private = changed.with_options(ReadingOptions(allow_private=False))
    assert private.fetching == Fetching(workers=2, allow_private=False)


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"max_bytes": -1}, {"timeout": 0}, {"tries": 1.5}, {"tries": "3"}]
)
def test_settings_that_make_no_sense(options):
    with pytest.raises(ImageSourceError, match=f"{next(iter(options))} must be a number above 0"):
        Fetching(**options)


def test_opening_the_web_without_urls(tmp_path):
    sample = [Product(1, 1, "", images=("1.jpg",)), Product(2, 2, "")]
    options: dict[str, Any] = {"photos": 1, "splits": ()}
    with pytest.raises(ImageSourceError, match=r"no http\(s\) URL in the first 2 products"):
        open_images("web", template=None, sample=sample, **options)
    with pytest.raises(ImageSourceError, match="leave out --image-template"):
        open_images("web", template="{product_id}.jpg", sample=[], **options)
    sample.append(Product(3, 3, "", images=("https://a/1",)))
    fetching = Fetching(cache=str(tmp_path))
    source = open_images("web", template=None, sample=sample, fetching=fetching, **options)
    assert source.location == "the web"
    source.close()
