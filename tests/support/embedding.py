"""Stub encoders, a catalogue that is easy to change, and the files of the store it makes."""

import hashlib
import io
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pandas as pd
from PIL import Image

from support.catalogue_files import jsonl
from vitrina.data.catalogue import Catalogue
from vitrina.embedder.base import EncoderCard, normalise
from vitrina.embedder.probes import PROBES, probe_images
from vitrina.pipelines.embed import encoder_choice
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.store.store import OpenStore
from vitrina.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
BUILT_IN = EmbedOptions(text="lexical", image="thumbnail", shard_rows=32, max_failures=1.0)
STUBS = EmbedOptions(text="hf:team/words", image="timm:colours", shard_rows=3, max_failures=1.0)


class Words:
    """A text encoder that remembers what it was asked, but for the probes."""

    def __init__(self):
        self.seen = []
        self.card = EncoderCard(TEXT, "hf:team/words", None, "a1" * 32, 8, {})

    def encode(self, texts):
        self.seen.extend(text for text in texts if text not in PROBES)
        digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
        return normalise(np.array([list(one) for one in digests]).reshape(-1, 8) - 127.5)


PROBE_COLOURS = [
    np.asarray(image, np.float32).mean(axis=(0, 1)).astype(int).tolist() for image in probe_images()
]


class Colours:
    """An image encoder of mean colours that remembers what it was asked, but for the probes."""

    edge = 8
    batch = 16

    def together(self) -> AbstractContextManager[int]:
        return nullcontext(1)

    def __init__(self):
        self.seen = []
        self.card = EncoderCard(IMAGE, "timm:colours", None, "b2" * 32, 4, {})

    def prepare(self, image):
        return np.append(np.asarray(image, np.float32).mean(axis=(0, 1)), np.float32(100))

    def encode(self, prepared):
        colours = [one[:3].astype(int).tolist() for one in prepared]
        self.seen.extend(one for one in colours if one not in PROBE_COLOURS)
        return normalise(np.stack(prepared))


def use_stubs(patch):
    stubs = {TEXT: Words(), IMAGE: Colours()}
    patch(encoder_choice, "load_model", lambda _, model, *__, **___: stubs[model.modality])
    return stubs


def photo(red, green, blue):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (red, green, blue)).save(buffer, "PNG")
    return buffer.getvalue()


RED, GREEN, BLUE, GREY = photo(250, 0, 0), photo(0, 250, 0), photo(0, 0, 250), photo(9, 9, 9)
BROKEN = RED[:40]
# id, title, category, photo
FIRST = [
    (1, "чай", 10, RED),
    (2, "мыло", 11, GREEN),
    (3, "чай", 10, BLUE),
    (4, "сок", None, BROKEN),
    (5, "", 11, RED),
    (6, "кофе", 10, None),
    (7, "чай", 11, GREEN),
    (8, "хлеб", 10, GREY),
]
# 1 as it was, 2 renamed, 4 has a good photo, 8 a bad one, 9 is new; the others are not mentioned.
SECOND = [
    (9, "чай", 10, RED),
    (1, "чай", 10, RED),
    (4, "сок", None, BLUE),
    (2, "мыло хозяйственное", 11, GREEN),
    (8, "хлеб", 10, BROKEN),
]


def catalogue_of(folder, rows, categories=None):
    """categories: names by id."""
    images = folder / "images"
    images.mkdir(parents=True)
    for product_id, _, _, data in rows:
        if data is not None:
            (images / f"{product_id}.png").write_bytes(data)
    names = ("product_id", "title", "category_id")
    products = [dict(zip(names, row, strict=False)) for row in rows]
    for product in products if categories else ():
        product["category_name"] = categories[product["category_id"]]
    path = jsonl(folder / "goods.jsonl", *products)
    return Catalogue.read(path, images=images, image_template="{product_id}.png")


def run(path, catalogue, options=STUBS):
    return embed(catalogue, OpenStore.open(path, create=True), options)


def vectors_of(path, modality):
    """Each product's live vector, by id."""
    store = OpenStore.open(path)
    space, ids = store.space(modality), store.products.ids.to_pylist()
    return {
        ids[at]: vector
        for positions, block in space.stream(store.products)
        for at, vector in zip(positions, block, strict=True)
    }


def shard_ids(path, space):
    return [
        pd.read_parquet(part)["product_id"].tolist()
        for part in sorted((path / "spaces" / space).glob("part-*.parquet"))
    ]


def data_files(path):
    """What other readers see of a store: every byte of it, by name."""
    patterns = ("products/*", "spaces/*/part-*", "spaces/*/space.json", "**/errors.parquet")
    files = sorted(file for pattern in patterns for file in path.glob(pattern))
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def all_files(path):
    """Every byte of a store, by name, but for the time of its making."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    names = {str(file.relative_to(path)): file.read_bytes() for file in files}
    return {name: data for name, data in names.items() if name != "store.json"}


def failures(path, space):
    frame = pd.read_parquet(path / "spaces" / space / "errors.parquet")
    return {
        product: (stage, error)
        for product, stage, error in zip(
            frame["product_id"], frame["stage"], frame["error"], strict=True
        )
    }


def goods(count):
    return [(at, f"т{at % 17}", at % 3, photo(at % 13, 0, 0)) for at in range(count)]


VICTIM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support.embedding import run, use_stubs
from vitrina.data.catalogue import Catalogue
from vitrina.pipelines.embed import commit_pace
from vitrina.pipelines.embed import space_job as space_module
use_stubs(setattr)
commit_pace.SHARDS = 1
write, calls = space_module.write_shard, []
def half(path, *arguments):
    calls.append(path)
    write(path, *arguments)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
space_module.write_shard = half
folder = Path(sys.argv[2])
images = folder / "images"
run(
    sys.argv[3],
    Catalogue.read(folder / "goods.jsonl", images=images, image_template="{product_id}.png"),
)
"""
