"""Stores of vectors that no encoder made, written by the store's own code; and vectors of stores.

A made-up product's id is its row's number in the set, and its content is its original's: so copies
share their hashes, as they do where two shops offer one product.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from peers.ann_data import VectorSet
from peers.vectors import Made

import vitrina as vt
from vitrina.embedder.base import EncoderCard
from vitrina.store import layout
from vitrina.store.compact import COMPACT_ROWS
from vitrina.store.entries import SpaceEntry
from vitrina.store.plan import first_positions, plan_shards
from vitrina.store.product_writer import ProductWriter
from vitrina.store.products import content_hash, schema
from vitrina.store.shards import array_to_hashes, write_shard
from vitrina.store.space import ERRORS_SCHEMA
from vitrina.store.writer import Writer
from vitrina.types import Features, Modality

WORDS = ("чайник", "кружка", "платье", "кроссовки", "лампа", "рюкзак", "зонт", "шапка", "стол")
LOCKS = shutil.ignore_patterns(layout.LOCK, layout.OWNER, f"{layout.TEMPORARY}*")
SCHEMA = schema(pa.int64(), pa.int64())


def make_store(place: Path, made: Made, rows: int) -> None:
    """A store of a set's first `rows` rows, unless it is there already: products, and a space of
    each modality in shards of 32,768."""
    if place.exists():
        return
    unfinished = place.with_name(f"{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    store = vt.Store.open(unfinished, create=True)
    with store.writer("benchmark") as writer:
        _commit_products(store, writer, _products(made, np.arange(rows)))
        for modality in Modality:
            _add_space(store, writer, made, modality)
        _fill(store, writer, made)
    unfinished.rename(place)


def change_store(place: Path, made: Made, dropped: np.ndarray, added: np.ndarray) -> None:
    """Take some products out of a store and put others in: a new product table, another shard.

    dropped: ids. added: rows of the set that the store does not hold.
    """
    store = vt.Store.open(place, create=False)
    with store.writer("benchmark") as writer:
        _commit_products(store, writer, chain(_others(store, dropped), _products(made, added)))
        _fill(store, writer, made)


def copy_store(source: Path, place: Path, *, indexes: bool = False) -> None:
    """A copy of a store, without its indexes unless they are wanted.

    Its files are linked where they can be: a store replaces files and writes to none.
    """
    unfinished = place.with_name(f"{place.name}.unfinished")
    for folder in (place, unfinished):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, unfinished, ignore=LOCKS, copy_function=_link)
    if not indexes:
        store = vt.Store.open(unfinished, create=False)
        with store.writer("benchmark") as writer:
            writer.commit(replace(store.manifest, indexes={}))
    unfinished.rename(place)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def held_vectors(
    place: Path, folder: Path, features: str | None, queries: int, seed: int
) -> tuple[VectorSet, str]:
    """The vectors of a store as a set, and what of it they are ("fused", "text" or "image").

    Some of its own products are the queries. Its rows' ids are kept beside it.
    Products whose vectors are all zero are left out, as Vitrina leaves them out of an index.
    """
    store = vt.Store.open(place, create=False)
    active = [modality.value for modality in store.manifest.active]
    features = features or (Features.FUSED.value if len(active) > 1 else active[0])
    parts = tuple(modality.value for modality in Features(features).modalities)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    read = {modality: vt.vectors(store, modality) for modality in parts}
    ids = pc.unique(pa.chunked_array([one.ids for one in read.values()]))
    matrices = {}
    for modality, one in read.items():
        matrix = np.zeros((len(ids), one.matrix.shape[1]), one.matrix.dtype)
        matrix[pc.index_in(one.ids, value_set=ids).to_numpy()] = one.matrix
        matrices[modality] = matrix
    known = np.logical_or.reduce([matrix.any(axis=1) for matrix in matrices.values()])
    for modality, matrix in matrices.items():
        np.save(folder / f"{modality}.npy", matrix[known])
    write_ids(folder, ids.filter(pa.array(known)))
    rows = int(known.sum())
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(rows, min(queries, rows), replace=False))
    return VectorSet(folder, parts, rows, tuple(chosen.tolist()), own=True), features


def write_ids(folder: Path, ids: pa.Array) -> None:
    """Keep the product id of each row beside a set."""
    with pa.OSFile(str(folder / "ids.arrow"), "wb") as file:
        table = pa.table({"product_id": ids})
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


def read_ids(folder: Path) -> pa.Array:
    """The product id of each row of a set."""
    with pa.OSFile(str(folder / "ids.arrow")) as file:
        return pa.ipc.open_file(file).read_all().column(0).combine_chunks()


def _products(made: Made, rows: np.ndarray) -> Iterator[dict]:
    category, original = made.category, made.original
    for row in rows.tolist():
        same = int(original[row])
        title = f"{WORDS[same % 9]} {WORDS[same // 9 % 9]} артикул {same}"
        photo = f"{same}.jpg"
        yield {
            "product_id": row,
            "title": title,
            "description": "",
            "attributes": (),
            "characteristics": (),
            "shop": "",
            "category_id": int(category[row]),
            "category_name": f"категория {category[row]}",
            "metadata": None,
            "images": (photo,),
            "text_hash": content_hash(title.encode()),
            "image_hash": content_hash(photo.encode()),
            "image_stamp": None,
        }


def _others(store: vt.Store, dropped: np.ndarray) -> Iterator[dict]:
    gone = pa.array(dropped)
    for _, batch in store.products.batches(SCHEMA.names):
        kept = pc.invert(pc.is_in(batch.column("product_id"), value_set=gone))
        yield from batch.filter(kept).to_pylist()


def _commit_products(store: vt.Store, writer: Writer, rows: Iterable[dict]) -> None:
    table = ProductWriter(writer, SCHEMA)
    table.add(rows)
    errors = writer.write_errors("", ERRORS_SCHEMA.empty_table())
    writer.commit(replace(store.manifest, products=table.finish(), rejected=errors))


def _add_space(store: vt.Store, writer: Writer, made: Made, modality: Modality) -> None:
    """A space without shards that serves its modality."""
    dim, details = made.recipe.dims[modality], {"made": asdict(made.recipe)}
    told = json.dumps([modality, details], sort_keys=True)
    fingerprint = hashlib.sha256(told.encode()).hexdigest()
    model = f"hf:made-up/{modality}"
    card = EncoderCard(modality, model, None, fingerprint, dim, details).to_json()
    folder = layout.space(name := f"{modality}-made-up")
    errors = writer.write_errors(folder, ERRORS_SCHEMA.empty_table())
    card |= {"dtype": "float16", "normalised": True}
    manifest = store.manifest.with_space(name, SpaceEntry(fingerprint, card, errors=errors))
    writer.commit(manifest.with_active(modality, name))


def _fill(store: vt.Store, writer: Writer, made: Made) -> None:
    """Write the vectors that the spaces lack, in the shards that embedding them would make."""
    products, path = store.products, writer.scratch / "shard.parquet"
    for modality in Modality:
        space, hashes = store.space(modality), products.hashes(modality)
        done, entry = space.locate(products).done, space.entry
        matrix = made.vectors(modality)
        for positions in plan_shards(first_positions(hashes), done, COMPACT_ROWS):
            ids = products.ids.take(pa.array(positions))
            vectors = np.asarray(matrix[ids.to_numpy()])
            write_shard(path, ids, array_to_hashes(hashes[positions]), vectors)
            name_of = partial(layout.shard, space.name, entry.next_number)
            shard = writer.publish(path, name_of, len(positions))
            entry = replace(entry, shards=(*entry.shards, shard))
        writer.commit(store.manifest.with_space(space.name, entry))
