"""Photos: files of pictures, as sellers and strangers have them."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutate import mutated
from fuzz.pictures import TAKEN_APART, inflating, many_scans, png_of, rebuilt, resized
from fuzz.target import SOUND, Target, expect, note, noted

FORMS = ("jpeg", "png", "webp", "gif", "avif", "tiff", "bmp", "heic", "jxl")
TOKENS = (
    b"\xff\xd8\xff\xe0", b"\xff\xd9", b"\xff\xda", b"\xff\xc2", b"\xff\xdd", b"Exif\0\0", b"JFIF\0",
    b"ICC_PROFILE\0", b"Adobe\0", b"IHDR", b"IDAT", b"IEND\xaeB`\x82", b"PLTE", b"tRNS", b"acTL",
    b"fcTL", b"GIF89a", b"GIF87a", b"\x21\xf9\x04", b"\x21\xff\x0bNETSCAPE2.0", b"\x2c", b"\x3b",
    b"RIFF", b"WEBPVP8 ", b"WEBPVP8L", b"WEBPVP8X", b"ANMF", b"ALPH", b"ftypavif", b"ftypheic",
    b"meta", b"iloc", b"iinf", b"iprp", b"ispe", b"grid", b"mdat", b"II*\0", b"MM\0*", b"BM",
    b"\xff\x0a", b"JXL \r\n\x87\n", b"<svg>", b"%PDF", b"PK\x03\x04", b"8BPS",
)  # fmt: skip


class Decoders(Target):
    name = "decoders"
    forms = (*FORMS, "bombs", "together")

    def prepare(self, folder: Path) -> None:
        files = {form: _sound(form) for form in FORMS}
        files["bombs"] = _bombs()
        for form, contents in files.items():
            (folder / form).mkdir()
            for at, content in enumerate(contents):
                (folder / form / f"{at}").write_bytes(content)
        for size in (1, 40, 300):
            packer = zlib.compressobj(6)
            packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size))
            (folder / f"{size}.zlib").write_bytes(packed + packer.flush())

    def load(self) -> None:
        self._files = {
            form: [path.read_bytes() for path in sorted((self.seeds / form).iterdir())]
            for form in (*FORMS, "bombs")
        }
        self._packed = {size: (self.seeds / f"{size}.zlib").read_bytes() for size in (1, 40, 300)}

    def warm_up(self) -> None:
        from vitrina.data.decode import decode
        from vitrina.errors import ImageError

        for form in FORMS:
            for data in (self._files[form][0], self._files[form][0][:-40]):
                for at_least in (None, 224):
                    try:
                        decode(data, at_least)
                    except ImageError:
                        continue

    def make(self, form: str, draw: Random, folder: Path) -> str:
        if form == SOUND:
            kind = draw.choice(FORMS)
            (folder / "photo0").write_bytes(draw.choice(self._files[kind]))
            note(folder, at_least=draw.choice((None, 32)))
            return kind
        if form == "together":
            kinds = [draw.choice(("bombs", "bombs", *FORMS)) for _ in range(draw.choice((2, 4)))]
        else:
            kinds = [form]
        how = []
        for at, kind in enumerate(kinds):
            data, what = self._hostile(kind, draw)
            (folder / f"photo{at}").write_bytes(data)
            how.append(f"{what}, {len(data)} bytes")
        note(folder, at_least=draw.choice((None, 32, 224, 224, 384)))
        return "; ".join(how)

    def _hostile(self, form: str, draw: Random) -> tuple[bytes, str]:
        if form == "bombs":
            return self._bomb(draw)
        own = self._files[form]
        data = draw.choice(own)
        way = draw.random()
        what = "bytes mutated"
        if way < 0.2:
            data, what = resized(form, data, draw), "another size"
        elif way < 0.45 and form in TAKEN_APART:
            data, what = rebuilt(form, data, draw, own), "parts changed"
        if what == "bytes mutated" or draw.random() < 0.15:
            others = draw.choice((own, self._files[draw.choice(FORMS)]))
            data = mutated(data, draw, others, TOKENS)
        if draw.random() < 0.03:
            data, what = draw.randbytes(20) + data, f"{what}, noise before"
        return data, what

    def _bomb(self, draw: Random) -> tuple[bytes, str]:
        way = draw.randrange(4)
        if way == 0:
            return many_scans(draw.choice(self._files["jpeg"]), draw), "many scans"
        if way == 1:
            return inflating(draw.choice(self._files["png"]), draw, self._packed), "inflating"
        at = draw.randrange(len(self._files["bombs"]))
        data = self._files["bombs"][at]
        if way == 2:
            data = mutated(data, draw, [], TOKENS)
        return data, f"bomb {at}"

    def run(self, form: str, folder: Path) -> None:
        from vitrina.data.decode import decoded_photo
        from vitrina.errors import ImageError

        at_least = noted(folder)["at_least"]
        refusals = []

        def one(path: Path) -> None:
            try:
                with decoded_photo(path.read_bytes(), at_least) as decoded:
                    width, height = decoded.picture.size
                    expect(decoded.picture.mode == "RGB", f"mode: {decoded.picture.mode}")
                    expect(0 < width * height <= _MOST_PIXELS, f"size: {decoded.picture.size}")
                    expect(
                        max(width, height) <= _MOST_ASPECT * min(width, height),
                        f"aspect: {decoded.picture.size}",
                    )
                    decoded.picture.getpixel((width - 1, height - 1))
            except ImageError as err:
                refusals.append(err)

        photos = sorted(folder.glob("photo*"))
        if len(photos) == 1:
            one(photos[0])
        else:
            with ThreadPoolExecutor(len(photos)) as pool:
                list(pool.map(one, photos))
        if len(refusals) == len(photos):
            raise refusals[0]


_MOST_PIXELS = 178_000_000
_MOST_ASPECT = 200
"""Twice what is allowed of a file, since edges are rounded where it is decoded smaller."""


def _sound(form: str) -> list[bytes]:
    """Small sound files of a form, in its variants."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:48, 0:64]
    waves = np.stack([120 + 90 * np.sin(x / 5), 120 + 90 * np.cos(y / 4), x * 4], -1)
    colour = Image.fromarray((waves + rng.normal(0, 9, waves.shape)).clip(0, 255).astype("uint8"))
    grey, clear = colour.convert("L"), colour.convert("RGBA")
    clear.putalpha(grey)
    few, bits = colour.convert("P", palette=Image.Palette.ADAPTIVE), colour.convert("1")
    deep = Image.fromarray((np.asarray(grey).astype("uint16") * 257).astype("uint16"))
    floats = Image.fromarray((np.asarray(grey) / 255).astype("float32"))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames: dict[str, Any] = {"save_all": True, "append_images": [grey.convert("RGB"), colour]}

    def saved(picture: Any, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        return file.getvalue()

    if form == "jpeg":
        return [
            saved(colour, "JPEG"),
            saved(colour, "JPEG", progressive=True, quality=90, subsampling=0),
            saved(grey, "JPEG", progressive=True),
            saved(colour.convert("CMYK"), "JPEG"),
            saved(colour, "JPEG", exif=exif, icc_profile=b"x" * 3000, restart_marker_blocks=2),
            saved(colour.resize((700, 500)), "JPEG", progressive=True),
        ]
    if form == "png":
        return [
            *(saved(one, "PNG") for one in (colour, grey, clear, few, bits, deep)),
            saved(clear, "PNG", exif=exif, icc_profile=b"x" * 300, dpi=(72, 72)),
            saved(colour, "PNG", **frames),
            saved(grey.convert("LA"), "PNG"),
            _interlaced(),
        ]
    if form == "webp":
        return [
            saved(colour, "WEBP"),
            saved(clear, "WEBP"),
            saved(clear, "WEBP", lossless=True),
            saved(colour, "WEBP", exif=exif, icc_profile=b"x" * 300),
            saved(colour, "WEBP", **frames),
        ]
    if form == "gif":
        return [
            saved(few, "GIF"),
            saved(bits, "GIF"),
            saved(few, "GIF", transparency=3),
            saved(colour, "GIF", duration=40, loop=0, **frames),
            saved(few, "GIF", interlace=1, comment=b"x" * 300),
        ]
    if form == "avif":
        return [saved(colour, "AVIF"), saved(clear, "AVIF"), saved(colour, "AVIF", **frames)]
    if form == "tiff":
        kinds = ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma")
        plain = [saved(colour, "TIFF", compression=kind) for kind in kinds]
        others = [saved(one, "TIFF", compression="tiff_lzw") for one in (grey, clear, few, deep)]
        return [
            *plain,
            *others,
            saved(floats, "TIFF"),
            saved(bits, "TIFF", compression="group4"),
            saved(bits, "TIFF", compression="tiff_ccitt"),
            saved(colour.convert("CMYK"), "TIFF"),
            saved(colour.convert("LAB"), "TIFF"),
            saved(colour, "TIFF", **frames),
        ]
    if form == "bmp":
        return [saved(one, "BMP") for one in (colour, grey, few, bits, clear)]
    if form == "heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
        return [saved(colour, "HEIF"), saved(clear, "HEIF"), saved(colour, "HEIF", exif=exif)]
    import pillow_jxl  # noqa: F401

    return [
        saved(colour, "JXL"),
        saved(clear, "JXL", lossless=True),
        saved(grey, "JXL"),
        saved(colour, "JXL", exif=exif.tobytes()),
    ]


def _interlaced() -> bytes:
    """A PNG in seven passes, which Pillow does not write."""
    rows = []
    for top, left, down, across in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1,
        0, 2, 1),
    ):  # fmt: skip
        for y in range(top, 32, down):
            width = len(range(left, 32, across))
            rows.append(b"\0" + bytes((y * 7 + at) % 256 for at in range(width)))
    head = struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 1)
    return png_of([(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")])


def _bombs() -> list[bytes]:
    """Small files of pictures that are large once decoded."""
    from PIL import Image

    found = []
    for edge, depth, colour, channels, lines in (
        (4000, 8, 2, 3, 4000),
        (8000, 8, 6, 4, 8000),
        (9400, 8, 0, 1, 9400),
        (30_000, 1, 0, 1, 30_000),
        (13_300, 8, 6, 4, 200),
        (13_300, 16, 6, 8, 200),
    ):
        row = b"\0" + bytes(-(-edge * channels // (8 if depth == 1 else 1)))
        packer = zlib.compressobj(6)
        body = b"".join(packer.compress(row) for _ in range(lines)) + packer.flush()
        head = struct.pack(">IIBBBBB", edge, edge, depth, colour, 0, 0, 0)
        found.append(png_of([(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]))
    for edge in (4000, 7000):
        blank = Image.new("L", (edge, edge), 128)
        for kind, options in (
            ("JPEG", {"progressive": True}),
            ("GIF", {}),
            ("TIFF", {"compression": "tiff_deflate"}),
            ("TIFF", {"compression": "tiff_lzw"}),
        ):
            file = io.BytesIO()
            blank.save(file, kind, **options)
            found.append(file.getvalue())
    file = io.BytesIO()
    Image.new("RGB", (6000, 6000), "grey").save(file, "WEBP", lossless=True, method=0, quality=0)
    found.append(file.getvalue())
    return found


TARGET = Decoders()
