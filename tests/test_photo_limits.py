"""What one photo may cost: pixels, scans, parts of its header, memory over all threads."""

from __future__ import annotations

import io
import os
import struct
import threading
import time
import zipfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vitrina as vt
from vitrina.data import decode as decode_module
from vitrina.data.decode import decode
from vitrina.data.decode_budget import DecodeBudget, MemoryBudget, decode_budget
from vitrina.data.image_headers import jpeg_markers
from vitrina.data.image_limits import MAX_FULL_SCANS, MAX_PIXELS
from vitrina.data.options import ReadingOptions
from vitrina.data.reading import Reading
from vitrina.data.sources import ZipImages, base
from vitrina.data.sources.column import ColumnImages
from vitrina.embedder import photos as photos_module
from vitrina.embedder.photos import encode_photos
from vitrina.errors import ImageError, OptionError

PNG = b"\x89PNG\r\n\x1a\n"


def saved(form: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def reason(data: bytes, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> str:
    try:
        return f"{decode(data, at_least, max_pixels).size}"
    except ImageError as err:
        return str(err)


def with_scans(size: tuple[int, int], more: int, between: bytes = b"") -> bytes:
    whole = saved("JPEG", size, "L", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + (between + whole[last:-2]) * more + whole[-2:]


def test_scans_count_times_pixels() -> None:
    limit = 200 * 200
    own = with_scans((200, 200), 0).count(b"\xff\xda")
    assert reason(with_scans((200, 200), MAX_FULL_SCANS - own), max_pixels=limit) == "(200, 200)"
    too_many = with_scans((200, 200), MAX_FULL_SCANS - own + 1)
    assert reason(too_many, max_pixels=limit) == "too many scans: 21 over 200x200 pixels"
    assert reason(too_many, 30, max_pixels=limit) == "too many scans: 21 over 200x200 pixels"
    # A smaller photo may have more of them.
    assert reason(with_scans((100, 100), 60), max_pixels=limit) == "(100, 100)"


def test_scans_are_counted_where_libjpeg_finds_them() -> None:
    # A marker without a length hides nothing behind it, and bytes in metadata are no scans.
    hidden = with_scans((200, 200), 30, between=b"\xff\x01\x00\x40")
    assert reason(hidden, max_pixels=40_000) == f"too many scans: {36} over 200x200 pixels"
    comment = b"\xff\xda" * 600
    noted = with_scans((200, 200), 0)
    noted = noted[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + noted[2:]
    assert reason(noted, max_pixels=40_000) == "(200, 200)"
    scans = [marker for marker, *_ in jpeg_markers(noted) if marker == 0xDA]
    assert len(scans) == 6


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            saved("JPEG")[:2] + b"\xff\xfe\0\2" * 20_000 + saved("JPEG")[2:],
            "unreadable JPEG: too many segments before its picture",
        ),
        (
            saved("JPEG")[:2] + b"\xff" * 100_000 + saved("JPEG")[2:],
            "unreadable JPEG: too many segments before its picture",
        ),
        (
            saved("PNG")[:33] + chunk(b"tIME", b"") * 2000 + saved("PNG")[33:],
            "unreadable PNG: too many chunks",
        ),
        (
            saved("PNG")[:33] + chunk(b"IDAT", b"") * 110_000 + saved("PNG")[33:],
            "unreadable PNG: too many chunks",
        ),
        (
            saved("GIF")[:-1].replace(b"\x2c", b"\x21\xfe" + b"\1a" * 600_000 + b"\0\x2c", 1),
            "unreadable GIF: too many blocks before its picture",
        ),
    ],
    ids=["segments", "padding", "metadata", "chunks", "blocks"],
)
def test_headers_of_very_many_parts(data: bytes, why: str) -> None:
    assert reason(data) == why


def test_a_long_comment_in_a_gif_costs_nothing() -> None:
    plain = saved("GIF", mode="P")
    frame = plain.index(b"\x2c")
    noted = plain[:frame] + b"\x21\xfe" + (b"\xff" + b"a" * 255) * 2000 + b"\0" + plain[frame:]
    assert decode(noted).tobytes() == decode(plain).tobytes()


def tiff(extra: list[tuple[int, int, int, int]], body: bytes = b"") -> bytes:
    tags = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 64), (279, 4, 1, 4096), *extra]
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    return data + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4) + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff([], bytes(4096)), "(64, 64)"),
        (
            tiff([(40000 + n, 7, 3_000_000, 8) for n in range(9)], bytes(3_000_000)),
            "unreadable TIFF: its tags hold more than its file",
        ),
        (
            tiff([(700, 4, 1_500_000, 8)], bytes(6_000_000)),
            "unreadable TIFF: 1500000 values of tag 700",
        ),
        (
            tiff([(322, 4, 1, 40000), (323, 4, 1, 40000)], bytes(4096)),
            "too large: 40000x40000 pixels",
        ),
    ],
    ids=["sound", "shared values", "many values", "tiles"],
)
def test_tags_of_a_tiff(data: bytes, why: str) -> None:
    assert reason(data) == why


def test_a_run_length_encoded_bmp_is_small() -> None:
    palette = bytes(1024)

    def bmp(edge: int) -> bytes:
        body = (bytes((min(edge, 255), 5)) + b"\0\0") * min(edge, 255) + b"\0\1"
        header = struct.pack("<IiiHHIIiiII", 40, edge, edge, 1, 8, 1, len(body), 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + header + palette + body

    why = "too large for a run-length encoded BMP: 3000x3000 pixels"
    assert reason(bmp(3000)) == why
    assert reason(bmp(30)) == "(30, 30)"


def test_the_message_names_the_option() -> None:
    data = saved("PNG", (1500, 1400), "1")
    assert reason(data, max_pixels=2_000_000) == (
        "too large: 1500x1400 pixels, more than 2 million; see --max-megapixels"
    )
    assert reason(data, max_pixels=3_000_000) == "(1500, 1400)"


def test_no_store_raises_the_limit() -> None:
    raised = Reading().with_options(ReadingOptions(max_megapixels=120))
    assert raised.max_pixels == 120_000_000
    assert "max_pixels" not in raised.to_json()
    assert Reading.from_json(raised.to_json()).max_pixels == MAX_PIXELS
    claimed = {**raised.to_json(), "max_pixels": 10**9}
    assert Reading.from_json(claimed).max_pixels == MAX_PIXELS
    for bad in (0, 179):
        with pytest.raises(OptionError, match=r"^max_megapixels must be at least 1 and at"):
            ReadingOptions(max_megapixels=bad)


@pytest.mark.slow
def test_the_option_reaches_the_photos(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/1.png").write_bytes(saved("PNG", (1200, 1000), "1"))
    (tmp_path / "images/2.png").write_bytes(saved("PNG", (100, 100), "1"))
    rows = {"product_id": [1, 2], "title": ["one", "two"]}
    pq.write_table(pa.table(rows), tmp_path / "goods.parquet")
    for limit, errors in ((1, 1), (2, 0)):
        store = tmp_path / f"store{limit}"
        catalogue = vt.Catalogue.read(
            tmp_path / "goods.parquet", images=tmp_path / "images", max_megapixels=limit
        )
        vt.embed(
            catalogue,
            vt.Store.open(store, create=True),
            image="thumbnail",
            text="none",
            max_failures=1.0,
        )
        found = list(store.rglob("errors.parquet"))
        rows = [row for file in found for row in pq.read_table(file).to_pylist()]
        assert len(rows) == errors
        for row in rows:
            assert row["error"] == (
                "too large: 1200x1000 pixels, more than 1 million; see --max-megapixels"
            )


# ---------------------------------------------------------------- the budget


def test_reservations_never_exceed_the_total() -> None:
    budget = DecodeBudget(100, largest=1000)
    most, running, lock = 0, 0, threading.Lock()

    def work(size: int) -> None:
        nonlocal most, running
        for _ in range(30):
            with budget.reserve(size):
                with lock:
                    running += min(size, 100)
                    most = max(most, running)
                time.sleep(0.0002)
                with lock:
                    running -= min(size, 100)

    threads = [threading.Thread(target=work, args=(size,)) for size in (10, 30, 60, 100, 500, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert 60 < most <= 100
    assert budget.used == 0


def test_a_large_photo_is_not_passed_over() -> None:
    budget = MemoryBudget(10)
    budget.acquire(6)
    order: list[str] = []

    def take(name: str, size: int) -> None:
        budget.acquire(size)
        order.append(name)
        budget.release(size)

    large = threading.Thread(target=take, args=("large", 10))
    large.start()
    while not budget._waiting:
        time.sleep(0.001)
    small = threading.Thread(target=take, args=("small", 1))
    small.start()
    while len(budget._waiting) < 2:
        time.sleep(0.001)
    assert order == []
    budget.release(6)
    large.join(10)
    small.join(10)
    assert order == ["large", "small"]


def test_a_failed_photo_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = DecodeBudget(1 << 20, largest=1 << 30)
    monkeypatch.setattr(decode_module, "decode_budget", lambda: budget)
    whole = saved("JPEG", (300, 300))
    assert reason(whole) == "(300, 300)"
    # Completed in two ways, which are compared.
    assert reason(whole[:-2]) == "(300, 300)"
    assert reason(whole[: len(whole) // 2]).startswith("truncated: JPEG")
    assert reason(saved("PNG")[:60]).startswith("truncated: PNG")
    assert budget.used == 0


def test_what_memory_does_not_allow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = DecodeBudget(1 << 20, largest=10 << 20)
    monkeypatch.setattr(decode_module, "decode_budget", lambda: budget)
    why = "too large for the memory: it takes 11 MB to decode"
    assert reason(saved("PNG", (1000, 1000))) == why
    assert reason(saved("JPEG", (1000, 1000)), at_least=50) == "(125, 125)"
    assert budget.used == 0


def test_the_budget_goes_by_the_memory_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for memory in (256 << 20, 2 << 30, 64 << 30):
        monkeypatch.setattr("vitrina.data.decode_budget.total_memory", lambda size=memory: size)
        budget = decode_budget.__wrapped__()
        found[memory >> 20] = (budget.total >> 20, budget.largest >> 20)
    assert found == {256: (64, 128), 2048: (256, 1024), 65536: (768, 32768)}


# ---------------------------------------------------------------- the files themselves


def test_one_limit_for_the_bytes_of_every_source(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(base, "MAX_BYTES", 1000)
    pipe = tmp_path / "pipe.jpg"
    base_file = tmp_path / "1.jpg"
    base_file.write_bytes(bytes(1001))
    with pytest.raises(ImageError, match=r"^too large: 1001 bytes in one$"):
        base.read_photo(base_file, "one")
    os.mkfifo(pipe)
    with pytest.raises(ImageError, match=r"^can't be read: 'p': not a file$"):
        base.read_photo(pipe, "p")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(1001))
    with (
        zipfile.ZipFile(tmp_path / "a.zip") as archive,
        pytest.raises(ImageError, match=r"^too large: 1001 bytes in 1\.jpg$"),
    ):
        ZipImages(archive).read("1.jpg")
    monkeypatch.setattr("vitrina.data.sources.column.MAX_BYTES", 1000)
    table = pa.table({"product_id": [1], "photo": [bytes(1001)]})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(ImageError, match=r"^too large: 1001 bytes at row 1$"):
        ColumnImages(tmp_path / "p.parquet", "photo").read("1")


def test_large_files_are_read_ahead_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos_module, "READ_AHEAD", 10_000)
    photo = saved("PNG") + bytes(6_000)
    held, most = 0, 0
    lock = threading.Lock()

    def read(_: str) -> bytes:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return photo

    class Encoder:
        edge, batch = 8, 64
        card = type("Card", (), {"dim": 3})

        def together(self):
            from contextlib import nullcontext

            return nullcontext(1)

        def prepare(self, _):
            nonlocal held
            with lock:
                held -= 1
            return [1.0, 2.0, 3.0]

        def encode(self, ready):
            import numpy as np

            return np.array(ready, dtype=np.float32)

    found = encode_photos(Encoder(), [["a"]] * 40, read)
    assert found.ok.all()
    # Two to a block, and one block beyond what is read ahead.
    assert most <= 4
