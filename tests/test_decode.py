"""Every kind of photo that sellers upload comes out right or is refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from vitrina.data import decode as module
from vitrina.data.decode import decode
from vitrina.data.image_limits import MAX_ASPECT
from vitrina.errors import ImageError

RED, GREEN, BLUE, WHITE, BLACK = (
    (220, 20, 30),
    (20, 200, 40),
    (10, 30, 210),
    (255, 255, 255),
    (0, 0, 0),
)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def quarters(size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Four colours, so that any wrong turn or flip shows."""
    picture = Image.new("RGB", size, WHITE)
    half_w, half_h = size[0] // 2, size[1] // 2
    picture.paste(RED, (0, 0, half_w, half_h))
    picture.paste(GREEN, (half_w, 0, size[0], half_h))
    picture.paste(BLUE, (0, half_h, half_w, size[1]))
    return picture


def corners(picture: Image.Image) -> list[Any]:
    """The colours in the middle of each quarter: upper left, upper right, lower left, right."""
    w, h = picture.size
    spots = [(w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4)]
    return [picture.getpixel(spot) for spot in spots]


def assert_colours(picture: Image.Image, *expected: tuple[int, int, int], within: int = 8) -> None:
    assert picture.mode == "RGB"
    np.testing.assert_allclose(corners(picture), expected, atol=within)


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def noise(size: tuple[int, int]) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def picture_or_reason(data: bytes, at_least: int | None = None) -> Image.Image | str:
    try:
        return decode(data, at_least)
    except ImageError as err:
        return str(err)


# ---------------------------------------------------------------- forms and modes


@pytest.mark.parametrize(
    ("form", "options", "within"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 6),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 6),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("AVIF", {"quality": 95}, 8),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 12),
        ("BMP", {}, 0),
        ("GIF", {}, 0),
    ],
)
def test_every_form_keeps_its_colours(form: str, options: dict[str, Any], within: int) -> None:
    picture = decode(saved(quarters((64, 32)), form, **options))
    assert picture.size == (64, 32)
    assert_colours(picture, RED, GREEN, BLUE, WHITE, within=within)


def test_grey_jpeg() -> None:
    picture = decode(saved(Image.new("L", (16, 16), 90), "JPEG", quality=95))
    assert_colours(picture, *[(90, 90, 90)] * 4, within=2)


def test_cmyk_jpeg_is_not_a_negative() -> None:
    # Pillow writes CMYK as Adobe does, inverted and with Adobe's marker.
    cmyk = Image.new("CMYK", (32, 32), (0, 0, 0, 0))
    cmyk.paste((0, 255, 255, 0), (0, 0, 16, 16))
    cmyk.paste((0, 0, 0, 255), (16, 0, 32, 16))
    data = saved(cmyk, "JPEG", quality=95)
    assert b"Adobe" in data
    assert_colours(decode(data), (255, 0, 0), BLACK, WHITE, WHITE)
    assert_colours(decode(data, at_least=16), (255, 0, 0), BLACK, WHITE, WHITE)
    # Every browser takes files without the marker for inverted too.
    start = data.index(b"\xff\xee")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    bare = data[:start] + data[start + 2 + length :]
    assert_colours(decode(bare), (255, 0, 0), BLACK, WHITE, WHITE)


def test_cmyk_tiff() -> None:
    data = saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "TIFF")
    assert_colours(decode(data), *[(0, 255, 255)] * 4)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(form: str) -> None:
    values = np.array([[0, 257], [128 * 257, 65535]], dtype=np.uint16).repeat(4, 0).repeat(4, 1)
    picture = decode(saved(Image.fromarray(values), form))
    assert [grey for grey, *_ in corners(picture)] == [0, 1, 128, 255]


def test_16_bit_big_endian_tiff() -> None:
    values = np.array([[1000 * 64]], dtype=">u2").repeat(8, 0).repeat(8, 1)
    image = Image.frombytes("I;16B", (8, 8), values.tobytes())
    assert_colours(decode(saved(image, "TIFF")), *[(249, 249, 249)] * 4, within=0)


def test_16_bit_png_with_a_transparent_grey_is_white_there() -> None:
    values = np.array([[500, 30000]], dtype=np.uint16).repeat(4, 0).repeat(4, 1)
    data = saved(Image.fromarray(values), "PNG", transparency=500)
    assert [grey for grey, *_ in corners(decode(data))] == [255, 117, 255, 117]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (np.int32, [0, 64, 128, 255], [0, 64, 128, 255]),
        (np.int32, [0, 257, 32896, 65535], [0, 1, 128, 255]),
        (np.int32, [-100, -50, 50, 100], [0, 64, 191, 255]),
        (np.int32, [0, 500000, 750000, 1000000], [0, 128, 191, 255]),
        (np.int32, [-7, -7, -7, -7], [0, 0, 0, 0]),
        (np.float32, [0, 0.25, 0.5, 1], [0, 64, 128, 255]),
        (np.float32, [0, 64, 128, 255], [0, 64, 128, 255]),
        (np.float32, [-1, 0, 0.5, 1], [0, 128, 191, 255]),
        (np.float32, [np.nan, -np.inf, np.inf, 1], [0, 0, 255, 255]),
        (np.float32, [np.nan] * 4, [0] * 4),
        (np.float32, [-3e38, 0, 1.5e38, 3e38], [0, 128, 191, 255]),
        (np.float32, [-3e38] * 4, [0] * 4),
        (np.float32, [-1e-44, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_32_bit_tiff_fills_the_range(kind: type, values: list[float], expected: list[int]) -> None:
    array = np.array(values, dtype=kind).reshape(2, 2).repeat(4, 0).repeat(4, 1)
    picture = decode(saved(Image.fromarray(array), "TIFF"))
    np.testing.assert_allclose([grey for grey, *_ in corners(picture)], expected, atol=1)


def test_one_bit() -> None:
    image = Image.new("1", (16, 16), 0)
    image.paste(1, (8, 0, 16, 16))
    for form in ("PNG", "TIFF", "BMP"):
        assert_colours(decode(saved(image, form)), BLACK, WHITE, BLACK, WHITE)


# ---------------------------------------------------------------- transparency


def half_clear(mode: str, colour: tuple[int, ...]) -> Image.Image:
    """Colour on the left; on the right the same colour, fully transparent."""
    image = Image.new(mode, (16, 16), (*colour, 0))
    image.paste((*colour, 255), (0, 0, 8, 16))
    return image


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_rgba_lies_on_white(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    picture = decode(saved(half_clear("RGBA", RED), form, **options))
    assert_colours(picture, RED, WHITE, RED, WHITE, within=0)


def test_half_transparent_is_blended() -> None:
    picture = decode(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"))
    assert_colours(picture, *[(127, 127, 127)] * 4, within=1)


def test_grey_with_alpha() -> None:
    picture = decode(saved(half_clear("LA", (60,)), "PNG"))
    assert_colours(picture, (60, 60, 60), WHITE, (60, 60, 60), WHITE, within=0)


def palette_image() -> Image.Image:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.paste(1, (8, 0, 16, 8))
    image.paste(2, (0, 8, 8, 16))
    return image


def test_palette_with_one_clear_colour() -> None:
    for form in ("PNG", "GIF"):
        picture = decode(saved(palette_image(), form, transparency=1))
        assert_colours(picture, RED, WHITE, BLUE, RED, within=0)


def test_palette_with_alpha_per_colour() -> None:
    data = saved(palette_image(), "PNG", transparency=bytes([255, 128, 0]))
    green = tuple(round((255 + part) / 2) for part in GREEN)
    assert_colours(decode(data), RED, green, WHITE, RED, within=1)  # type: ignore[arg-type]


def test_rgb_with_a_clear_colour() -> None:
    data = saved(quarters(), "PNG", transparency=GREEN)
    assert_colours(decode(data), RED, WHITE, BLUE, WHITE, within=0)


def test_one_bit_with_a_clear_colour() -> None:
    data = saved(Image.new("1", (8, 8), 0), "PNG", transparency=0)
    assert_colours(decode(data), *[WHITE] * 4)


# ---------------------------------------------------------------- frames and turns


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF", "TIFF", "MPO"])
def test_only_the_first_frame_counts(form: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    picture = decode(saved(frames[0], form, save_all=True, append_images=frames[1:]))
    assert_colours(picture, *[RED] * 4, within=10)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_exif_orientation_is_applied(form: str, orientation: int) -> None:
    data = saved(quarters((64, 32)), form, exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    picture = decode(data)
    assert picture.size == expected.size == ((64, 32) if orientation < 5 else (32, 64))
    assert_colours(picture, *corners(expected), within=2)


def test_a_turned_photo_is_upright() -> None:
    # Orientation 6: the first row of the file is the right-hand side of the scene.
    data = saved(quarters((64, 32)), "JPEG", quality=95, subsampling=0, exif=exif(6))
    assert_colours(decode(data), BLUE, RED, WHITE, GREEN)


def test_little_and_big_endian_exif() -> None:
    for order, mark in (("<", b"II"), (">", b"MM")):
        entries = [(0x010F, 3, 1, 9), (0x0112, 3, 1, 3)]
        block = mark + struct.pack(f"{order}HIH", 42, 8, 2)
        block += b"".join(struct.pack(f"{order}HHIHH", *entry, 0) for entry in entries)
        data = saved(quarters(), "PNG", exif=block + bytes(4))
        assert_colours(decode(data), WHITE, BLUE, GREEN, RED, within=0)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0XX*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
        # A resolution whose value lies far beyond the block: Pillow warns of it.
        b"Exif\0\0" + b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x011A, 5, 1, 99999999),
        exif(6)[:-12],
        exif(77),
    ],
)
def test_damaged_exif_harms_nothing(block: bytes) -> None:
    data = saved(quarters(), "JPEG", quality=95, subsampling=0)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert_colours(decode(data), RED, GREEN, BLUE, WHITE)


# ---------------------------------------------------------------- reduced decoding


@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    at_least=st.integers(1, 300),
)
@settings(deadline=None, max_examples=60)
def test_reduced_edges_never_end_below_the_target(width: int, height: int, at_least: int) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        return
    result = decode(saved(Image.new("RGB", (width, height), RED), "JPEG"), at_least=at_least)
    for edge, original in zip(result.size, (width, height), strict=True):
        assert edge >= min(at_least, original)
    scale = 8
    while scale > 1 and min(width, height) // scale < at_least:
        scale //= 2
    assert result.size == (-(-width // scale), -(-height // scale))


def test_reduced_picture_looks_the_same() -> None:
    data = saved(quarters((896, 480)), "JPEG", quality=95)
    picture = decode(data, at_least=112)
    assert picture.size == (224, 120)
    assert_colours(picture, RED, GREEN, BLUE, WHITE)


def test_reduced_and_turned() -> None:
    data = saved(quarters((896, 480)), "JPEG", quality=95, exif=exif(6))
    picture = decode(data, at_least=112)
    assert picture.size == (120, 224)
    assert_colours(picture, BLUE, RED, WHITE, GREEN)


def test_other_forms_are_not_reduced() -> None:
    assert decode(saved(quarters((400, 400)), "PNG"), at_least=50).size == (400, 400)


# ---------------------------------------------------------------- limits


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_of_claimed_size(width: int, height: int, **options: Any) -> bytes:
    data = bytearray(saved(noise((64, 64)), "JPEG", **options))
    start = data.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_of_claimed_size(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    control = b"\x21\xf9\x04\x08\0\0\0\0"
    return head + control + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\0;"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png_header(60000, 60000), "60000x60000"),
        (jpeg_of_claimed_size(60000, 50000), "60000x50000"),
        (gif_of_claimed_size((20000, 20000), (1, 1)), "20000x20000"),
        (gif_of_claimed_size((1, 1), (9000, 10000)), "9000x10000"),
        (gif_of_claimed_size((65535, 65535), (65535, 65535)), "65535x65535"),
    ],
)
def test_decompression_bomb(data: bytes, size: str) -> None:
    with pytest.raises(ImageError, match=rf"^too large: {size} pixels$"):
        decode(data)


def test_webp_bomb() -> None:
    # A container that claims 16000x16000; Pillow itself refuses before it allocates the canvas.
    claim = struct.pack("<I", 16000 - 1)[:3] * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + claim
    with pytest.raises(ImageError, match=r"^too large: more pixels"):
        decode(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_tiff_bomb() -> None:
    tags = [(256, 4, 1, 30000), (257, 4, 1, 30000), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 30000), (279, 4, 1, 9)]
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    data += b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    with pytest.raises(ImageError, match=r"^too large: 30000x30000 pixels$"):
        decode(data)


def test_a_large_jpeg_is_welcome_at_reduced_size() -> None:
    data = saved(quarters((400, 400)), "JPEG", quality=95)
    assert decode(data, at_least=50, max_pixels=10_000).size == (50, 50)
    for limit in (None, 200):
        with pytest.raises(ImageError, match=r"^too large: 400x400 pixels$"):
            decode(data, at_least=limit, max_pixels=10_000)


def test_a_large_progressive_jpeg_is_not() -> None:
    # libjpeg would hold all its coefficients, whatever the size asked for.
    data = saved(quarters((400, 400)), "JPEG", progressive=True)
    with pytest.raises(ImageError, match=r"^too large: 400x400 pixels$"):
        decode(data, at_least=50, max_pixels=10_000)
    with pytest.raises(ImageError, match=r"^too large: 65000x65000 pixels$"):
        decode(jpeg_of_claimed_size(65000, 65000, progressive=True), at_least=224)


def test_nor_is_one_with_a_scan_per_component() -> None:
    data = bytearray(saved(quarters((400, 400)), "JPEG"))
    scan = data.index(b"\xff\xda")
    data[scan + 2 : scan + 14] = b"\0\x08\x01\x01\0\0\x3f\0"
    with pytest.raises(ImageError, match=r"^too large: 400x400 pixels$"):
        decode(bytes(data), at_least=50, max_pixels=10_000)


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pillows_own_limit_warns_of_nothing(
    monkeypatch: pytest.MonkeyPatch, mode: str, compression: str | None
) -> None:
    # Between this limit and its double Pillow warns, and here a warning is an error.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6_000)
    monkeypatch.setattr(module, "MAX_GIF_PIXELS", 6_000)
    image = Image.new(mode, (100, 100))
    if mode == "P":
        image.putpalette([*RED, *GREEN])
        assert_colours(decode(saved(image, "PNG")), *[RED] * 4, within=0)
        with pytest.raises(ImageError, match=r"^too large: 100x100 pixels$"):
            decode(saved(image, "GIF"))
    if mode == "RGB":
        for form in ("JPEG", "PNG", "WEBP", "AVIF", "BMP"):
            assert_colours(decode(saved(image, form)), *[BLACK] * 4)
    picture = decode(saved(image, "TIFF", compression=compression))
    black = {"P": RED, "RGBA": WHITE, "CMYK": WHITE}.get(mode, BLACK)
    assert_colours(picture, *[black] * 4, within=0)


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_tiff_with_a_palette(orientation: int) -> None:
    data = saved(palette_image().crop((0, 0, 16, 8)), "TIFF", exif=exif(orientation))
    assert decode(data).size == ((16, 8) if orientation == 3 else (8, 16))


def test_extreme_aspect() -> None:
    assert decode(saved(Image.new("RGB", (1, 1), RED), "PNG")).getpixel((0, 0)) == RED
    assert decode(saved(Image.new("RGB", (300, 3), RED), "PNG")).size == (300, 3)
    for size in ((1, 50000), (50000, 1), (301, 3)):
        with pytest.raises(ImageError, match=rf"^too narrow: {size[0]}x{size[1]} pixels$"):
            decode(saved(Image.new("RGB", size, RED), "PNG"))


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\0" * 5000, "not an image"),
        (b"no such page", "not an image"),
        (b"\xef\xbb\xbftext", "not an image"),
        (b"\n <!DOCTYPE html><html><body>404", "not an image: an HTML page"),
        (b"<HTML>", "not an image: an HTML page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image: an SVG or XML document"),
        (b'<?xml version="1.0"?><svg/>', "not an image: an SVG or XML document"),
        (b"%PDF-1.7", "not an image: a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not an image"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "not an image: a video"),
        (b"RIFF\0\0\0\0AVI " + bytes(9) + b"\xff\xd8\xff", "not an image: a video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "not an image: JPEG 2000; save it as JPEG or PNG"),
        (b"\0\0\1\0\1\0" + bytes(40), "not an image: an icon (ICO)"),
        (b"8BPS\0\1", "not an image: a Photoshop document (PSD)"),
        (b"PK\3\4a.jpg\xff\xd8\xff", "not an image: an archive"),
        (b"\x01\x02\x03" + saved(quarters(), "JPEG"), "not an image"),
        (b"\x89PNG\r\n\x1a\n", "truncated: PNG, 8 bytes"),
        (b"\xff\xd8\xff", "truncated: JPEG, 3 bytes"),
        (png_header(0, 10), "unreadable PNG: its header gives no size"),
        (jpeg_of_claimed_size(64, 0), "unreadable JPEG: its header gives no size"),
    ],
)
def test_reasons(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data, at_least=224)
    assert str(caught.value) == reason


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_every_truncated_jpeg_is_refused_or_nearly_whole(options: dict[str, Any]) -> None:
    data = saved(noise((50, 40)), "JPEG", **options)
    whole = np.asarray(decode(data))
    for end in range(3, len(data) - 2, 5):
        for at_least in (None, 10):
            result = picture_or_reason(data[:end], at_least)
            if isinstance(result, str):
                assert result == f"truncated: JPEG, {end} bytes"
            elif at_least is None:
                assert (np.asarray(result) == whole).all(axis=2).mean() >= 0.85
    assert isinstance(picture_or_reason(data[: len(data) * 3 // 4]), str)


def test_every_truncated_png_is_refused_or_nearly_whole() -> None:
    data = saved(noise((30, 20)), "PNG")
    whole = np.asarray(decode(data))
    refused = 0
    for end in range(8, len(data), 3):
        result = picture_or_reason(data[:end])
        if isinstance(result, str):
            assert result == f"truncated: PNG, {end} bytes"
            refused = end
        else:
            lines = (np.asarray(result) == whole).all(axis=(1, 2))
            assert lines[:18].all()
    assert 0.8 < refused / len(data) < 0.95


@pytest.mark.parametrize("form", ["WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_other_truncated_files_are_refused(form: str) -> None:
    data = saved(noise((50, 40)), form)
    for end in range(16, len(data) // 2, 37):
        with pytest.raises(ImageError):
            decode(data[:end])
    if form == "WEBP":
        with pytest.raises(ImageError, match=r"^truncated: WebP, 100 bytes$"):
            decode(data[:100])


def test_12_bit_jpeg_is_named_unreadable() -> None:
    data = bytearray(saved(quarters(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match=r"^unreadable JPEG: cannot handle 12-bit layers$"):
        decode(bytes(data))


# ---------------------------------------------------------------- any bytes, any thread


@cache
def samples() -> tuple[bytes, ...]:
    animated = {"save_all": True, "append_images": [noise((12, 9))]}
    return (
        saved(quarters(), "JPEG", exif=exif(6)),
        saved(noise((40, 30)), "JPEG", progressive=True),
        saved(quarters().convert("CMYK"), "JPEG"),
        saved(quarters(), "MPO", **animated),
        saved(quarters(), "PNG", transparency=GREEN, exif=exif(3)),
        saved(palette_image(), "PNG", transparency=bytes([1, 2, 3])),
        saved(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)), "PNG"),
        saved(noise((12, 9)), "PNG", **animated),
        saved(noise((12, 9)), "GIF", **animated),
        saved(noise((12, 9)), "WEBP", exif=exif(8), **animated),
        saved(quarters(), "AVIF", exif=exif(5)),
        saved(quarters(), "TIFF", exif=exif(6)),
        saved(quarters(), "TIFF", compression="tiff_lzw"),
        saved(Image.fromarray(np.ones((5, 6), np.float32)), "TIFF"),
        saved(palette_image(), "TIFF"),
        saved(quarters(), "BMP"),
        saved(palette_image(), "BMP"),
    )


def decoded_or_refused(data: bytes, at_least: int | None) -> None:
    result = picture_or_reason(data, at_least)
    if isinstance(result, str):
        assert 0 < len(result) < 200
        assert "\n" not in result
    else:
        assert result.mode == "RGB"
        assert min(result.size) > 0


@given(data=st.binary(max_size=400), start=st.sampled_from([b"", *(s[:16] for s in samples())]))
@settings(deadline=None, max_examples=300)
def test_any_bytes(data: bytes, start: bytes) -> None:
    decoded_or_refused(start + data, None)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(samples())))
    for _ in range(draw(st.integers(1, 8))):
        # Headers decide the most, so half of the changes fall there.
        last = draw(st.sampled_from([min(160, len(data)) - 1, len(data) - 1]))
        data[draw(st.integers(0, last))] = draw(st.integers(0, 255))
    end = draw(st.one_of(st.none(), st.integers(0, len(data))))
    return bytes(data[:end])


@given(data=mutated(), at_least=st.sampled_from([None, 1, 8, 224]))
@settings(deadline=None, max_examples=500)
@pytest.mark.slow
def test_mutated_images(data: bytes, at_least: int | None) -> None:
    decoded_or_refused(data, at_least)


def test_threads_get_what_one_thread_gets() -> None:
    data = [*samples()] * 8
    alone = [decode(item, 16).tobytes() for item in data]
    with ThreadPoolExecutor(8) as pool:
        together = [picture.tobytes() for picture in pool.map(lambda item: decode(item, 16), data)]
    assert together == alone
