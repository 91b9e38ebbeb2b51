"""Small stores, written row by row without a catalogue."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from vitrina.store import layout
from vitrina.store.entries import SpaceEntry
from vitrina.store.product_writer import ProductWriter
from vitrina.store.products import content_hash, schema
from vitrina.store.shards import write_shard
from vitrina.types import Modality


def row(product_id, title="", category=None, name=None, photo=None):
    return {
        "product_id": product_id,
        "source": None,
        "title": title,
        "description": "",
        "attributes": [f"a{product_id}"],
        "characteristics": [],
        "shop": "",
        "category_id": category,
        "category_name": name,
        "metadata": None,
        "images": [photo] if photo else [],
        "text_hash": content_hash(title.encode()) if title else None,
        "image_hash": content_hash(photo.encode()) if photo else None,
        "image_stamp": None,
    }


def root(store):
    return Path(store.place)


def put_products(store, rows, id_type=None):
    """Commit a product table."""
    id_type = id_type or (pa.int64() if isinstance(rows[0]["product_id"], int) else pa.string())
    with store.writer("test") as writer:
        table = ProductWriter(writer, schema(id_type, pa.int64()))
        table.add(rows)
        writer.commit(replace(store.manifest, products=table.finish()))


def put_space(store, name, shards, modality=Modality.TEXT, dtype="float16"):
    """Commit a space; shards: (ids, contents, vectors) each."""
    dim = shards[0][2].shape[1]
    card = {"modality": modality.value, "dim": dim, "dtype": dtype, "model": "m"}
    with store.writer("test") as writer:
        entries = []
        for number, (ids, contents, vectors) in enumerate(shards):
            path = writer.scratch / "shard.parquet"
            hashes = pa.array([content_hash(content.encode()) for content in contents])
            write_shard(path, pa.array(ids), hashes, vectors, dtype)
            entries.append(writer.publish(path, partial(layout.shard, name, number), len(ids)))
        entry = SpaceEntry("f" * 64, card, tuple(entries))
        writer.commit(store.manifest.with_space(name, entry).with_active(modality, name))


def folder(writer, name):
    """Put a folder of one file, as an index or a head would be."""
    made = writer.scratch / "made"
    made.mkdir()
    (made / "file").write_text(name)
    return writer.publish_folder(made, partial(layout.model, name))


def add_model(store, name):
    with store.writer("test") as writer:
        writer.commit(store.manifest.with_model(name, folder(writer, name)))
