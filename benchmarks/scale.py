"""How the store grows: time and memory of each step at 1 and 10 million products, no model needed.

    python benchmarks/scale.py --work build/bench/scale
    python benchmarks/scale.py --work DIR --products 1000000 10000000 --rows 4096 32768

A product table of synthetic hashes (one in twenty shares its content with another) is written, its
space planned, embedded with ready vectors and committed as a run of `vitrina embed` does it, then
verified, opened, compared with as a catalogue is, and embedded again unchanged. Then one product in
twenty (`--failing`) is recorded as failed, with the writes of a run that commits every 64 shards.

Every step is a process of its own; its peak of memory is counted from what it had after its
imports, in MB and in bytes per product. Prints a Markdown table for each size, with the cost of a
product beside the first size's. 10 million products take ten minutes and 2 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MODEL = "hf:ready/made"
STEPS = ("products", "plan", "embed", "verify", "open", "compare", "rerun", "failures")
SHARED = 20


class Ready:
    """A text encoder whose vectors are ready: what is timed is everything else."""

    batch = 32

    def __init__(self, dim):
        from vitrina.embedder.base import EncoderCard, normalise
        from vitrina.types import Modality

        self.card = EncoderCard(Modality.TEXT, MODEL, None, "ab" * 32, dim, {})
        raw = np.random.default_rng(0).standard_normal((8192, dim), dtype=np.float32)
        self._vectors = normalise(raw)

    def encode(self, texts):
        """(len(texts), dim) float32, taken from those that are there."""
        return self._vectors[: len(texts)]


def write_products(store, products):
    """Commit a product table of titles and random hashes."""
    from vitrina.store import layout
    from vitrina.store.products import GROUP_ROWS, PART_ROWS, schema
    from vitrina.store.shards import array_to_hashes

    kinds = schema(pa.int64(), pa.int64())
    rng = np.random.default_rng(1)
    entries, before = [], None
    with store.writer("benchmark") as writer:
        path = writer.scratch / "products.parquet"
        for number, start in enumerate(range(0, products, PART_ROWS)):
            rows = min(PART_ROWS, products - start)
            hashes = rng.integers(0, 256, (rows, 16), dtype=np.uint8)
            # Of the part before, or a neighbour's.
            others = hashes if before is None else before
            hashes[SHARED::SHARED] = others[SHARED - 1 : rows - 1 : SHARED]
            before = hashes
            ids = pa.array(np.arange(start, start + rows))
            columns = {name: pa.nulls(rows, kinds.field(name).type) for name in kinds.names}
            for empty, names in (
                ("", ("description", "shop")),
                ([], ("attributes", "characteristics")),
            ):
                for column in names:
                    columns[column] = pa.array([empty] * rows, kinds.field(column).type)
            columns["product_id"] = ids
            columns["title"] = pa.array([f"товар {at}" for at in range(start, start + rows)])
            columns["text_hash"] = array_to_hashes(hashes.view("V16").ravel())
            pq.write_table(
                pa.table(list(columns.values()), schema=kinds),
                path,
                row_group_size=GROUP_ROWS,
                compression="zstd",
                write_page_checksum=True,
            )
            entries.append(writer.publish(path, partial(layout.product_part, number), rows))
        writer.commit(replace(store.manifest, products=tuple(entries)))


def embed(store, encoder, rows):
    """One run over the space, with every product of the table in the catalogue."""
    from vitrina.embedder.model_ref import ModelRef
    from vitrina.pipelines.embed.encoder_choice import EncoderChoice
    from vitrina.pipelines.embed.ingest_result import Ingested
    from vitrina.pipelines.embed.options import EmbedOptions
    from vitrina.pipelines.embed.space_job import SpaceJob
    from vitrina.store.sources import Source
    from vitrina.types import Modality

    model = ModelRef.parse(MODEL, Modality.TEXT)
    name = store.manifest.active.get(Modality.TEXT)
    options = EmbedOptions(text=MODEL, image="none", shard_rows=rows, max_failures=1.0, quiet=True)
    choice = EncoderChoice(model, name, encoder)
    ingested = Ingested(Source(), fresh=len(store))
    with store.writer("benchmark") as writer:
        return SpaceJob(store, writer, None, ingested, options, choice).run()


def compare(store):
    """Read what a catalogue is compared with while it is read, and the ids that it has."""
    from vitrina.ids import IdSet
    from vitrina.pipelines.embed.snapshot import ProductSnapshot
    from vitrina.store.products import GROUP_ROWS
    from vitrina.store.shards import array_keys

    snapshot, seen = ProductSnapshot(store, int), IdSet()
    for start in range(0, len(snapshot), GROUP_ROWS):
        seen.add(array_keys(store.products.ids[start : start + GROUP_ROWS]))
    return len(seen)


def fail(store, share, rows):
    """Record a share of the products as failed, and write the table with each commit of a run."""
    from vitrina.embedder.photos import Failure
    from vitrina.pipelines.embed.commit_pace import SHARDS
    from vitrina.pipelines.embed.ingest_result import Ingested
    from vitrina.pipelines.embed.space_errors import SpaceErrors
    from vitrina.store.sources import Source
    from vitrina.store.space import read_errors
    from vitrina.types import Modality

    recorded, source = read_errors(store.files, None), Ingested(Source(), fresh=len(store))
    errors = SpaceErrors(store.products, Modality.TEXT, recorded, source, retry_failed=False)
    reason = Failure("decode", "image file is truncated (12 bytes not processed)")
    with store.writer("benchmark") as writer:
        for start in range(0, len(store), SHARDS * rows):
            stop = min(start + SHARDS * rows, len(store))
            for position in range(start, stop, round(1 / share)):
                errors.fail(position, reason)
            writer.write_errors("spaces/text", errors.table)
    return errors.table.num_rows


def step(name, place, options):
    """Run one step in this process; returns what it took."""
    import vitrina.pipelines.embed.space_job  # noqa: F401
    from vitrina.store.plan import first_positions, plan_shards, shard_rows
    from vitrina.store.store import OpenStore
    from vitrina.store.verify import verify
    from vitrina.types import Modality

    encoder, rows = Ready(options.dim), options.rows[0] or shard_rows(options.products[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu = time.perf_counter(), time.process_time()
    note = ""
    if name == "products":
        store = OpenStore.open(place, create=True)
        write_products(store, options.products[0])
        note = f"{len(store.manifest.products)} parts"
    else:
        store = OpenStore.open(place)
    if name == "plan":
        hashes = store.products.hashes(Modality.TEXT)
        shards = plan_shards(first_positions(hashes), np.zeros(len(store), dtype=bool), rows)
        note = f"{len(shards):,} shards"
    if name in ("embed", "rerun"):
        commit = store.manifest.sequence
        report = embed(store, encoder, rows)
        note = f"{report.line()}; {store.manifest.sequence - commit} commits"
    if name == "compare":
        note = f"{compare(store):,} products"
    if name == "failures":
        note = f"{fail(store, options.failing, rows):,} failures"
    if name == "verify":
        report = verify(store)
        assert report.ok, report.problems[:3]
        note = f"{report.files:,} files"
    if name == "open":
        space = store.space(Modality.TEXT)
        found = int(space.locate(store.products).done.sum())
        lists = len(space.entry.segments)
        note = f"{found:,} vectors in {len(space.shards):,} shards, {lists} lists"
    taken, used = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"step": name, "seconds": taken, "cpu": used, "kb": peak, "note": note}


def one_size(options, products, rows):
    """All steps of one size, each in its own process."""
    place = options.work / "store"
    shutil.rmtree(place, ignore_errors=True)
    done = []
    for name in STEPS:
        command = [sys.executable, __file__, "--work", str(options.work), "--step", name]
        command += ["--products", str(products), "--rows", str(rows), "--dim", str(options.dim)]
        command += ["--failing", str(options.failing)]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        done.append(json.loads(ran.stdout.splitlines()[-1]))
        print(f"{products:,} products, {rows} rows: {done[-1]}", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    return done


def table(products, rows, done, first):
    """A Markdown table of one size. first: seconds of CPU per product of each step before, or
    None."""
    title = f"{products:,} products, {rows or 'default'} rows a shard"
    lines = [f"**{title}**", "", "| step | s | CPU s | µs a product | x the first size's |"]
    lines[-1] += " peak MB | bytes a product | |"
    lines.append("|---|---|---|---|---|---|---|---|")
    for one in done:
        each = one["cpu"] / products
        times = f"{each / first[one['step']]:.2f}" if first else ""
        lines.append(
            f"| {one['step']} | {one['seconds']:.1f} | {one['cpu']:.1f} | {each * 1e6:.2f} | "
            f"{times} | {one['kb'] / 1e3:,.0f} | {one['kb'] * 1024 / products:.0f} | "
            f"{one['note']} |"
        )
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--products", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[4096, 32_768])
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--failing", type=float, default=0.05)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.step:
        print(json.dumps(step(options.step, options.work / "store", options)))
        return
    tables = []
    for rows in options.rows:
        first = None
        for products in options.products:
            done = one_size(options, products, rows)
            tables.append(table(products, rows, done, first))
            print(tables[-1], flush=True)
            first = first or {one["step"]: one["cpu"] / products for one in done}
    (options.work / "scale.md").write_text("\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
