"""Pixels that are there are used, whatever is wrong beside them; half a picture is refused."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from vitrina.data import decode as module
from vitrina.data.decode import Decoded, decode, decoded_photo
from vitrina.data.image_headers import jxl_size
from vitrina.data.image_limits import MAX_PIXELS, MAX_SCANS
from vitrina.errors import ImageError

HOSTILE = Path(__file__).parents[2] / "shared" / "repro" / "hostile"


@cache
def scene(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with something on every line, as photos have."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([120 + 90 * np.sin(x / 20), 120 + 90 * np.cos(y / 15), x * 255 // width], -1)
    grain = np.random.default_rng(0).normal(0, 9, waves.shape)
    return Image.fromarray((waves + grain).clip(0, 255).astype(np.uint8))


def saved(form: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (picture or scene()).save(file, form, **options)
    return file.getvalue()


def alike(data: bytes, whole: bytes, share: float = 1.0) -> str:
    """Check that a file gives the pixels of a whole one, and return what was mended."""
    decoded = decode_photo(data)
    expected = np.asarray(decode(whole))
    assert decoded.picture.size == (expected.shape[1], expected.shape[0])
    assert (np.asarray(decoded.picture) == expected).all(axis=2).mean() >= share
    return decoded.mended


def decode_photo(data: bytes, at_least: int | None = None) -> Decoded:
    with decoded_photo(data, at_least) as decoded:
        return decoded


def refused(data: bytes, reason: str, max_pixels: int = MAX_PIXELS) -> None:
    for at_least in (None, 30):
        with pytest.raises(ImageError, match=reason):
            decode(data, at_least, max_pixels)


def test_a_sound_file_is_not_mended() -> None:
    for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        assert decode_photo(saved(form)).mended == ""
        if form not in ("TIFF", "BMP", "AVIF"):
            assert alike(saved(form) + b"junk" * 99, saved(form)) == ""


# ---------------------------------------------------------------- what stands before


@pytest.mark.parametrize(
    "before",
    [b"\n", b"\xef\xbb\xbf", b"\xff\xfe", b"  \r\n", b"\0" * 7, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_text_before_a_photo_is_left_out(form: str, before: bytes) -> None:
    what = alike(before + saved(form), saved(form))
    assert what.startswith(f"{len(before)} bytes before the {'WebP' if form == 'WEBP' else form}")


def test_other_bytes_before_a_photo_make_it_another_file() -> None:
    refused(b"\x00\x01\x02\x03" + saved("JPEG"), "^not an image$")
    refused(b"x" * 10_000 + saved("JPEG"), "^not an image$")
    refused(b"<html>" + saved("JPEG"), "^not an image: an HTML page$")


# ---------------------------------------------------------------- JPEG

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "full colour": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
    "grey": {"picture": scene().convert("L")},
    "cmyk": {"picture": scene().convert("CMYK")},
    "arithmetic-free optimised": {"optimize": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_without_its_end(kind: str) -> None:
    whole = saved("JPEG", **KINDS[kind])
    assert alike(whole[:-2], whole) == "JPEG, its end is missing"
    assert alike(whole[:-1], whole) in ("", "JPEG, its end is missing")
    for at_least in (30, 60, 120):
        reduced = decode_photo(whole[:-2], at_least)
        assert reduced.mended == "JPEG, its end is missing"
        assert reduced.picture.tobytes() == decode(whole, at_least).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_lacks_a_little(kind: str) -> None:
    whole = saved("JPEG", **KINDS[kind])
    what = alike(whole[: len(whole) * 98 // 100], whole, 0.9)
    assert what.startswith("JPEG, its end is missing with ")
    assert decode_photo(whole[: len(whole) * 98 // 100], 30).mended.startswith("JPEG, its end")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_jpeg_that_lacks_much(kind: str, share: float) -> None:
    whole = saved("JPEG", **KINDS[kind])
    cut = whole[: int(len(whole) * share)]
    refused(cut, f"^truncated: JPEG, {len(cut)} bytes$")


def test_a_progressive_jpeg_that_lacks_scans() -> None:
    whole = saved("JPEG", progressive=True)
    scans = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for scan in scans[1:]:
        refused(whole[:scan], "^truncated: JPEG")
        refused(whole[: scan + 5], "^truncated: JPEG")


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1\2" + b"half of a profile"),
        segment(0xE0, b"JFIF\0"),
        segment(0xEE, b"Adobe"),
        segment(0xED, b"Photoshop 3.0\x008BIM\4\4"),
        segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        segment(0xE2, b"MPF\0broken"),
        segment(0xFE, b"comment"),
    ],
)
def test_a_jpeg_with_broken_metadata(extra: bytes) -> None:
    whole = saved("JPEG")
    what = alike(whole[:2] + extra + whole[2:], whole)
    assert what == "" or what.startswith("JPEG, read without its metadata: ")
    alike(whole[:2] + extra + whole[2:-2], whole)


def test_cmyk_keeps_its_colours_when_mended() -> None:
    whole = saved("JPEG", scene().convert("CMYK"))
    broken = segment(0xE2, b"ICC_PROFILE\0")
    assert "metadata" in alike(whole[:2] + broken + whole[2:], whole)


@pytest.mark.parametrize(("light", "grey"), [(0, 255), (200, 55), (255, 0)])
def test_ycck(light: int, grey: int) -> None:
    # Inverted, as Adobe writes it: white paper has Y = 0.
    data = bytearray(
        saved("JPEG", Image.new("CMYK", (16, 16), (255 - light, 127, 127, 0)), quality=95)
    )
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    np.testing.assert_allclose(decode(bytes(data)).getpixel((8, 8)), [grey] * 3, atol=4)


def test_too_many_scans() -> None:
    whole = saved("JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    many = whole[:-2] + whole[last:-2] * MAX_SCANS + b"\xff\xd9"
    refused(many, r"^too many scans: 5\d\d$")
    refused(many[:-2], r"^too many scans: 5\d\d$")


@pytest.mark.skipif(not HOSTILE.exists(), reason="the shared samples are not here")
def test_hostile_scans() -> None:
    data = (HOSTILE / "progressive-13300-3000-scans.jpg").read_bytes()
    refused(data, "^too many scans: 3001$")
    refused(data[:-2], "^too many scans: 3001$")


# ---------------------------------------------------------------- PNG


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    total = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", total)


LONG = zlib.compress(b"x" * 3_000_000)
BROKEN_CHUNKS = {
    "zTXt": chunk(b"zTXt", b"a\0\0" + LONG),
    "iTXt": chunk(b"iTXt", b"a\0\1\0\0\0" + LONG),
    "iCCP": chunk(b"iCCP", b"a\0\0" + LONG),
    "checksum": chunk(b"tEXt", b"a\0b", 5),
    "no method": chunk(b"iCCP", b"abc\0"),
    "gAMA": chunk(b"gAMA", b"ab"),
    "cHRM": chunk(b"cHRM", b"ab"),
    "pHYs": chunk(b"pHYs", b"ab"),
    "acTL": chunk(b"acTL", b"ab"),
    "acTL of none": chunk(b"acTL", bytes(8)),
    "tRNS": chunk(b"tRNS", b"a"),
    "name": chunk(b"tE\1t", b"a"),
    "exif": chunk(b"eXIf", b"II"),
}


@pytest.mark.parametrize("broken", BROKEN_CHUNKS)
@pytest.mark.parametrize("before", [True, False])
def test_a_png_with_broken_metadata(broken: str, before: bool) -> None:
    whole = saved("PNG")
    at = 33 if before else len(whole) - 12
    what = alike(whole[:at] + BROKEN_CHUNKS[broken] + whole[at:], whole)
    assert what == "" or what.startswith("PNG, read without its metadata: ")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_every_mode_of_png_is_mended(mode: str) -> None:
    picture = scene().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    options: dict[str, Any] = {"transparency": 3} if mode == "P" else {}
    whole = saved("PNG", picture, **options)
    assert "metadata" in alike(whole[:33] + BROKEN_CHUNKS["zTXt"] + whole[33:], whole)
    cut = whole[: len(whole) * 97 // 100]
    assert alike(cut, whole, 0.9).startswith("PNG, its end is missing with ")


def test_a_turned_png_is_upright_when_mended() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved("PNG", exif=exif.tobytes())
    assert decode(whole).size == (240, 320)
    assert "metadata" in alike(whole[:33] + BROKEN_CHUNKS["zTXt"] + whole[33:], whole)


def test_a_png_that_lacks_its_end() -> None:
    whole = saved("PNG")
    pixels = whole.rindex(b"IEND") - 8
    for end in (pixels, pixels + 2, pixels + 4, pixels + 9):
        assert alike(whole[:end], whole) in ("", "PNG, its end is missing")
    assert "with 3%" in alike(whole[: len(whole) * 97 // 100], whole, 0.9)
    for share in (0.1, 0.5, 0.85):
        refused(whole[: int(len(whole) * share)], "^truncated: PNG")


def test_damage_to_the_last_lines_of_a_png() -> None:
    whole = bytearray(saved("PNG"))
    pixels = whole.rindex(b"IEND") - 8
    whole[pixels - 3] ^= 0xFF
    assert decode(bytes(whole)).size == (320, 240)


def test_an_interlaced_png_is_all_there_or_refused() -> None:
    raw = io.BytesIO()
    # Pillow can't write Adam7: an 8x8 grey picture has seven passes of these sizes.
    lines = b"".join(
        (b"\0" + bytes([9]) * columns) * rows
        for columns, rows in ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    )
    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    raw.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head))
    start, body = raw.getvalue(), zlib.compress(lines)
    whole = start + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    assert decode(whole).getpixel((3, 3)) == (9, 9, 9)
    assert "metadata" in alike(start + BROKEN_CHUNKS["zTXt"] + whole[len(start) :], whole)
    refused(start + chunk(b"IDAT", zlib.compress(lines[:-4])[:-4]), "^truncated: PNG")


def test_a_broken_header_is_not_trusted() -> None:
    whole = saved("PNG")
    refused(whole[:16] + b"\0\0\0\5" + whole[20:], "IHDR")


# ---------------------------------------------------------------- GIF and WebP


def frames() -> list[Image.Image]:
    return [scene().rotate(turn) for turn in (90, 180)]


def test_a_gif_that_is_cut() -> None:
    whole = saved("GIF")
    assert alike(whole[:-1], whole) == ""
    assert alike(whole[:-2], whole) in ("", "GIF, its end is missing")
    assert alike(whole[: len(whole) * 97 // 100], whole, 0.9).startswith(
        "GIF, its end is missing with "
    )
    for share in (0.3, 0.5, 0.85):
        refused(whole[: int(len(whole) * share)], "^truncated: GIF|^unreadable GIF")


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_a_cut_animation(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    whole = saved(form, save_all=True, append_images=frames(), **options)
    for share in (0.9, 0.6, 0.4):
        what = alike(whole[: int(len(whole) * share)], whole)
        assert what in ("", "WebP, its end is missing")


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0" + bytes(6)}])
def test_a_webp_that_is_cut(options: dict[str, Any]) -> None:
    whole = saved("WEBP", **options)
    assert alike(whole[:-1], whole) in ("WebP, its end is missing", "")
    assert alike(whole[: len(whole) * 97 // 100], whole, 0.85).startswith(
        "WebP, its end is missing"
    )
    for share in (0.1, 0.5, 0.8):
        refused(whole[: int(len(whole) * share)], "^truncated: WebP")


@pytest.mark.parametrize("wrong", [-100, 100, 2**31])
def test_a_webp_of_a_wrong_size(wrong: int) -> None:
    whole = saved("WEBP")
    size = struct.pack("<I", (len(whole) - 8 + wrong) % 2**32)
    assert alike(whole[:4] + size + whole[8:], whole).startswith("WebP, ")


# ---------------------------------------------------------------- HEIC and JPEG XL


def test_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(scene()).save(file, quality=95)
    picture = decode(file.getvalue())
    assert picture.size == (320, 240)
    difference = np.abs(np.asarray(picture).astype(int) - np.asarray(scene()))
    assert difference.mean() < 8
    refused(file.getvalue()[:2000], "^unreadable HEIC")


def test_a_turned_heic_is_upright() -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture = heif.from_pillow(scene())
    picture.info["exif"] = exif.tobytes()
    picture.save(file)
    assert decode(file.getvalue()).size == (240, 320)


def test_a_large_heic_is_refused_by_its_header() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(scene()).save(file)
    refused(file.getvalue(), "^too large: 320x240 pixels$", max_pixels=1000)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"use_container": True}])
def test_jpeg_xl(options: dict[str, Any]) -> None:
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112] = 6
    # Of a JPEG XL, the turn is in the picture itself, and browsers don't look into its EXIF.
    data = saved("JXL", exif=exif.tobytes(), **options)
    picture = decode(data)
    assert picture.size == (320, 240)
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(scene())).mean() < 8
    refused(data[: len(data) // 2], "^unreadable JPEG XL")


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (64, 32), (320, 240), (300, 200), (16, 9), (1000, 12), (257, 255)]
)
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(
    size: tuple[int, int], container: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pillow_jxl")
    data = saved("JXL", Image.new("RGB", size), use_container=container)
    assert jxl_size(data) == size
    monkeypatch.setattr(module, "MAX_GIF_PIXELS", 0)
    refused(data, f"^too large: {size[0]}x{size[1]} pixels$")


@pytest.mark.parametrize(
    ("package", "data", "reason"),
    [
        (
            "pillow_heif",
            b"\0\0\0\x18ftypheic" + bytes(40),
            r"^HEIC; pip install 'vitrina\[heic\]' reads it$",
        ),
        (
            "pillow_jxl",
            b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
            r"^JPEG XL; pip install 'vitrina\[jxl\]' reads it$",
        ),
    ],
)
def test_without_the_package_it_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str, data: bytes, reason: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    refused(data, reason)


# ---------------------------------------------------------------- any damage, any thread


@cache
def small() -> tuple[bytes, ...]:
    picture = scene((40, 30))
    return (
        saved("JPEG", picture),
        saved("JPEG", picture, progressive=True),
        saved("JPEG", picture.convert("CMYK")),
        saved("PNG", picture),
        saved("PNG", picture.convert("P")),
        saved("GIF", picture),
        saved("WEBP", picture),
        saved("WEBP", picture, lossless=True, exif=b"Exif\0\0II*\0" + bytes(6)),
        saved("WEBP", picture, save_all=True, append_images=[picture.rotate(90)]),
    )


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(small())))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return draw(st.sampled_from([b"", b"\n"])) + bytes(data[: draw(st.integers(0, len(data)))])


@given(data=damaged(), at_least=st.sampled_from([None, 8]))
@settings(deadline=None, max_examples=400)
def test_damage_is_mended_or_named(data: bytes, at_least: int | None) -> None:
    try:
        decoded = decode_photo(data, at_least)
    except ImageError as err:
        reason = str(err)
        assert 0 < len(reason) < 200
        assert "\n" not in reason
    else:
        assert decoded.picture.mode == "RGB"
        assert "\n" not in decoded.mended


def test_threads_mend_what_one_thread_mends() -> None:
    data = [item[: len(item) * 97 // 100] for item in small()] * 8
    refuse = "refused"

    def result(item: bytes) -> str | tuple[bytes, str]:
        try:
            decoded = decode_photo(item)
        except ImageError:
            return refuse
        return decoded.picture.tobytes(), decoded.mended

    alone = list(map(result, data))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(result, data)) == alone
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
