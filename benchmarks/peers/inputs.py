"""What every contestant is given: names, long texts and photos, the same on every machine.

Names are titles of the UHTT catalogue where it is at hand, made up by seed where it is not.
Photos are always made up: smooth fields of colour with edges and grain, so that a JPEG of them is
about as large as a shop's. What is there already from an earlier run is used again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from tokenizers import Tokenizer

EDGE, QUALITY = 512, 90
LONG_TOKENS = (10, 600)
THINGS = ("чайник", "кружка", "платье", "кроссовки", "лампа", "рюкзак", "зонт", "шапка", "сыр")
KINDS = ("женский", "детский", "складной", "белый", "красный", "чёрный", "беспроводной")
UNITS = ("мл", "см", "мм", "шт", "кг", "г", "Вт", "л")
SYLLABLES = [consonant + vowel for consonant in "бвгджзклмнпрстфхцчш" for vowel in "аеиоуыя"]


def titles(path: Path, count: int) -> list[str]:
    """The first COUNT different titles of a catalogue in UHTT's form."""
    found: dict[str, None] = {}
    for batch in pq.ParquetFile(path).iter_batches(8192, columns=["text_fields"]):
        for fields in batch.column(0).to_pylist():
            title = json.loads(fields).get("title")
            if title:
                found[title] = None
        if len(found) >= count:
            break
    return list(found)[:count]


def made_up_words(seed: int = 0) -> list[str]:
    """What made-up names are put together from: words, brands, sizes and article numbers."""
    rng = np.random.default_rng(seed)
    brands = ["".join(rng.choice(SYLLABLES, rng.integers(2, 5))) for _ in range(4000)]
    sizes = [f"{rng.integers(1, 900)}{unit}" for unit in UNITS for _ in range(40)]
    articles = [f"арт.{number}" for number in rng.integers(100, 99_999, 1000)]
    return [*(THINGS * 40), *(KINDS * 40), *brands, *sizes, *articles]


def made_up_names(count: int, tokenizer: Tokenizer, seed: int = 0) -> list[str]:
    """Product names with as many tokens as real ones have: about 18 at the mean."""
    rng = np.random.default_rng(seed)
    words = made_up_words(seed)
    tokens = tokens_of(words, tokenizer) - 2
    names = []
    for wanted in np.clip(rng.lognormal(np.log(15), 0.4, count), 3, 70):
        name, length = [str(rng.choice(THINGS)).capitalize()], 2
        while length < wanted:
            at = rng.integers(len(words))
            name.append(words[at])
            length += tokens[at]
        names.append(" ".join(name))
    return names


def long_texts(names: list[str], tokenizer: Tokenizer, count: int, seed: int = 0) -> list[str]:
    """Names joined until each text has its number of tokens, drawn from a lognormal."""
    rng = np.random.default_rng(seed)
    tokens = tokens_of(names, tokenizer) - 2
    texts, at = [], 0
    for wanted in np.clip(rng.lognormal(np.log(120), 0.68, count), *LONG_TOKENS).astype(int):
        parts, length = [], 0
        while length < wanted:
            parts.append(names[at % len(names)])
            length += tokens[at % len(names)]
            at += 1
        texts.append(" ".join(parts))
    return texts


def tokens_of(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """(n,) int64, the two special tokens counted."""
    return np.array([len(found.ids) for found in tokenizer.encode_batch_fast(texts)])


def open_tokenizer(model: Path) -> Tokenizer:
    """A model's tokenizer, free of padding and cutting."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def photo(seed: int) -> Image.Image:
    """One photo: a field of colour, a few sharp shapes upon it, and grain over both."""
    rng = np.random.default_rng(seed)
    field = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    image = Image.fromarray(field).resize((EDGE, EDGE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(20, 60)):
        left, top = rng.integers(-40, EDGE, 2)
        width, height = rng.integers(5, 160, 2)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((left, top, left + width, top + height), fill=colour)
    grain = rng.normal(0, rng.uniform(1.5, 4.5), (EDGE, EDGE, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def write_texts(folder: Path, texts: dict[str, list[str]]) -> None:
    """Write each input as NAME.json."""
    for name, found in texts.items():
        (folder / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False), "utf-8")


def write_photos(folder: Path, count: int) -> None:
    """Write COUNT photos as folder/images/*.jpg; those that are there stay as they are."""
    place = folder / "images"
    place.mkdir(parents=True, exist_ok=True)
    wanted = {f"{seed:06d}.jpg": seed for seed in range(count)}
    for path in place.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, seed in wanted.items():
        if not (place / name).exists():
            photo(seed).save(place / "part", "JPEG", quality=QUALITY)
            (place / "part").rename(place / name)


def text_figures(texts: list[str], tokenizer: Tokenizer, longest: int) -> dict:
    """How long texts are in tokens, those past LONGEST counted as cut."""
    tokens = np.minimum(tokens_of(texts, tokenizer), longest)
    return {
        "items": len(texts),
        "tokens_mean": round(float(tokens.mean()), 1),
        "tokens_p90": round(float(np.percentile(tokens, 90)), 1),
        "tokens_max": int(tokens.max()),
        "tokens_squared_mean": round(float((tokens.astype(float) ** 2).mean()), 1),
    }


def photo_figures(folder: Path) -> dict:
    """How large photos are in kB."""
    sizes = np.array([path.stat().st_size for path in (folder / "images").iterdir()]) / 1e3
    low, middle, high = np.percentile(sizes, [5, 50, 95])
    return {
        "items": len(sizes),
        "pixels": f"{EDGE}x{EDGE}",
        "kb_p5": round(float(low), 1),
        "kb_median": round(float(middle), 1),
        "kb_p95": round(float(high), 1),
    }
