"""Vitrina's index beside plain FAISS, hnswlib and usearch: the same vectors, threads and recall.

    python benchmarks/index.py --work build/bench/index
    python benchmarks/index.py --work DIR --rows 0 --store PATH --store OTHER --features text
    python benchmarks/index.py --work DIR --figures --store PATH

1. *Made-up products* (see `peers/vectors.py`): a text and an image vector each, 824 numbers side by
   side; queries are products that no index holds. Exact search, FAISS's lists and Vitrina over all
   rows; graphs, whose building takes hours there, over the first --peer-rows, and Vitrina and the
   others over as many. Vitrina once more within --memory bytes. Then its updates: ten rounds of 1%
   new products and 1% deleted, the index built again after each.
2. *Stores* of your own (--store), which are copied and not changed. Queries are products of the
   store; all rows are indexed, and a query's own product is left out of every answer.

Each contestant is a process of its own (`make bench-index` makes the environment of the peers).
Recall@10 is against exact search in float32, and ties count. What is searched with a parameter has
it doubled until the recall is --recall, and is timed there: 1,000 queries in a batch and one by
one, medians of three. Peers get their vectors a block at a time and building ends in memory;
Vitrina's is the whole call, which reads the store, chooses, measures and writes.

Results are kept in WORK/index.json as they come, and a run that was stopped goes on from there.
Prints Markdown tables and writes them to WORK/index.md. A peer that can't run is left out, and why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from peers import ann_report, vectors
from peers.ann_data import VectorSet, nearest
from peers.ann_store import copy_store, held_vectors, make_store
from peers.contestants import Contestant
from peers.machine import machine

HERE = Path(__file__).resolve().parent
OURS = Path(sys.executable)
ENVIRONMENT = ".venv-ann"
THEIRS = HERE.parent / ENVIRONMENT / "bin" / "python"
K = 10
NO_GRAPHS = {
    "exact": "exact, numpy",
    "faiss-flat": "exact, faiss Flat",
    "faiss-ivf": "faiss IVF",
}
GRAPHS = {"faiss-hnsw": "faiss HNSW32", "hnswlib": "hnswlib", "usearch": "usearch"}
PEERS = NO_GRAPHS | GRAPHS


@dataclass(frozen=True)
class Field:
    """A set and the stores made of it. title: as the tables have it. slug: for files. base: the
    store whose index is built. features: of that index. made: where the vectors were made up."""

    title: str
    slug: str
    vectors: VectorSet
    base: Path
    features: str
    made: vectors.Made | None = None


@dataclass
class Bench:
    """What there is so far, on disk as soon as it is there."""

    given: argparse.Namespace
    results: dict[str, dict] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where everything is written."""
        return self.given.work / "index.json"

    def open(self) -> None:
        """Go on with what an earlier run left. Exits if that was run otherwise."""
        for killed in self.given.work.glob("task-*"):
            shutil.rmtree(killed)
        if not self.path.exists():
            return
        before = json.loads(self.path.read_text())
        if before["settings"] != self.settings():
            sys.exit(f"{self.path} is of other settings ({before['settings']}); use another --work")
        self.results = before["results"]

    def settings(self) -> dict:
        """What all results share."""
        names = ("queries", "recall", "threads", "seed")
        return {name: getattr(self.given, name) for name in names}

    def write(self) -> None:
        """Keep what there is."""
        told = {"machine": machine(), "settings": self.settings(), "results": self.results}
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(told, indent=1) + "\n")
        unfinished.replace(self.path)

    def wanted(self, where: Field, name: str) -> bool:
        """Whether a contestant was asked for and has no result yet."""
        if self.given.pick and not any(part in name for part in self.given.pick):
            return False
        there = self.results.get(f"{where.slug}/{name}", {"left_out": "not run"})
        return self.given.again or "left_out" in there

    def run(self, where: Field, name: str, kind: str, **task: object) -> None:
        """Let one contestant run in its process, and keep what came of it."""
        told = {"set": where.title, "name": name, "kind": kind, "rows": where.vectors.rows}
        python = OURS if kind in ("vitrina", "updates") else self.given.peers
        print(f"{time.strftime('%H:%M:%S')} {where.title}: {name}", flush=True)
        reason = Contestant(name, "peer", "", python=python, environment=ENVIRONMENT).missing
        if reason:
            result = {"left_out": reason}
        else:
            if kind != "updates":
                task["truth"] = str(truth(self.given.work, where))
            task |= {"kind": kind, "set": where.vectors.to_json(), "k": K}
            task.setdefault("target", self.given.recall)
            result = self._process(python, task)
        if "left_out" in result:
            print(f"  left out: {result['left_out']}", flush=True)
        self.results[f"{where.slug}/{name}"] = told | result
        self.write()

    def _process(self, python: Path, task: dict) -> dict:
        threads = self.given.threads
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads))}
        environment["CUDA_VISIBLE_DEVICES"] = ""
        with tempfile.TemporaryDirectory(dir=self.given.work, prefix="task-") as scratch:
            path, out = Path(scratch) / "task.json", Path(scratch) / "result.json"
            task |= {"threads": threads, "scratch": scratch, "out": str(out)}
            path.write_text(json.dumps(task))
            command = [str(python), "-m", "peers.worker_ann", str(path)]
            # It ends when its input does, and so when this process is killed.
            with subprocess.Popen(
                command, cwd=HERE, env=environment, stdin=subprocess.PIPE
            ) as process:
                try:
                    status = process.wait(self.given.limit)
                except subprocess.TimeoutExpired:
                    process.kill()
                    return {"left_out": f"not done after {self.given.limit} s"}
            if not out.exists():
                return {"left_out": f"its process ended with {status}"}
            return json.loads(out.read_text())


def truth(work: Path, where: Field) -> Path:
    """The file of each query's exact k-th best score, made once."""
    path = work / "truth" / f"{where.slug}.npy"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        one = where.vectors
        _, scores = nearest(one.asked(), one.blocks(), K, own=one.own_rows)
        np.save(path, scores[:, -1])
    return path


def race(bench: Bench, where: Field, names: dict[str, str]) -> None:
    """Peers and Vitrina over one set. names: of the peers, by kind."""
    for kind, name in names.items():
        if bench.wanted(where, name):
            bench.run(where, name, kind)
    if bench.wanted(where, "vitrina"):
        options = {"recall": bench.given.recall, "seed": bench.given.seed}
        with_index(bench, where, "vitrina", options)


def with_index(bench: Bench, where: Field, name: str, options: dict) -> None:
    """Vitrina over a copy of a set's store, which stays."""
    place = indexed(bench, where, name)
    place.parent.mkdir(exist_ok=True)
    copy_store(where.base, place)
    task = {"store": str(place), "features": where.features, "options": options}
    target = options["recall"]
    bench.run(where, name, "vitrina", **task, target=target)


def indexed(bench: Bench, where: Field, name: str) -> Path:
    """Where the copy of a store lies whose index was built."""
    return bench.given.work / "indexed" / f"{where.slug}-{name.replace(' ', '-')}"


def made_up(bench: Bench) -> None:
    """Races over made-up products, and their updates."""
    given, made = bench.given, made_vectors(bench.given)
    queries = tuple(range(given.rows, given.rows + given.queries))
    sizes = sorted({given.rows, min(given.rows, given.peer_rows or given.rows)})
    for rows in sizes:
        # What is drawn for a set depends on how long all of it is.
        slug = f"made-{rows}-of-{made.rows}"
        base = given.work / "stores" / slug
        base.parent.mkdir(exist_ok=True)
        make_store(base, made, rows)
        held = VectorSet(made.folder, tuple(made.recipe.dims), rows, queries, own=False)
        where = Field("Made-up products", slug, held, base, "fused", made)
        # Where there are two sizes, graphs are built of the smaller one.
        race(bench, where, PEERS if rows == sizes[0] else NO_GRAPHS)
    if given.memory:
        name = f"vitrina within {given.memory // 10**6} MB"
        if bench.wanted(where, name):
            options = {"recall": given.memory_recall, "memory": given.memory, "seed": given.seed}
            with_index(bench, where, name, options)
    if given.rounds and bench.wanted(where, "vitrina updated"):
        updates(bench, where)


def made_vectors(given: argparse.Namespace) -> vectors.Made:
    """The set: rows to index, then the queries, then what comes in the rounds of changes."""
    rows = given.rows + given.queries + given.rounds * new_rows(given)
    return vectors.make(given.work / "made", rows, vectors.Recipe(seed=given.seed))


def new_rows(given: argparse.Namespace) -> int:
    """How many products come, and how many go, in a round."""
    return max(1, round(given.rows * given.share))


def updates(bench: Bench, where: Field) -> None:
    """Change the store that Vitrina's index was built in, again and again."""
    given, name = bench.given, "vitrina updated"
    full = bench.results.get(f"{where.slug}/vitrina", {}).get("build_seconds")
    source = indexed(bench, where, "vitrina")
    if full is None or not source.exists():
        print(f"{name} needs the index of vitrina, which was not built", flush=True)
        return
    first, each = where.vectors.rows + given.queries, new_rows(given)
    added = [(first + at * each, first + (at + 1) * each) for at in range(given.rounds)]
    every = replace(where, vectors=replace(where.vectors, rows=where.made.rows))
    place = indexed(bench, where, name)
    copy_store(source, place, indexes=True)
    told = {"folder": str(where.made.folder), "recipe": asdict(where.made.recipe)}
    task = {"store": str(place), "features": where.features, "made": told, "added": added}
    bench.run(every, name, "updates", **task, seed=given.seed, full_seconds=full)


def of_stores(given: argparse.Namespace) -> list[Field]:
    """The vectors of the stores that were given, as sets."""
    fields = []
    for place, features in given.store or []:
        told = hashlib.sha256(str(place.resolve()).encode()).hexdigest()
        slug = f"{place.resolve().name}-{features or 'all'}-{told[:6]}"
        folder = given.work / "held" / slug
        held, features = held_vectors(place, folder, features, given.queries, given.seed)
        title = f"{place.resolve().name}, {features}, {held.dim} numbers"
        fields.append(Field(title, slug, held, place, features))
    return fields


def figures(given: argparse.Namespace) -> list[dict]:
    """What made-up products and the stores are like."""
    sets = []
    if given.rows:
        made = made_vectors(given)
        for parts in (tuple(made.recipe.dims), *((one,) for one in made.recipe.dims)):
            title = f"made up, {parts[0] if len(parts) == 1 else 'fused'}"
            sets.append((title, VectorSet(made.folder, parts, given.rows, (), own=False)))
    sets += [(one.title, one.vectors) for one in of_stores(given)]
    rows = []
    for title, one in sets:
        rows.append(ann_report.figures_row(title, vectors.figures(one)))
        print(rows[-1], flush=True)
    return rows


class Stores(argparse.Action):
    """Gathers --store PATH, and --features for the store named before it."""

    def __call__(self, parser, namespace, value, option_string=None):
        """Add to the list of (path, features)."""
        stores = namespace.store or []
        if option_string == "--store":
            stores = [*stores, (Path(value), None)]
        elif not stores:
            parser.error("--features goes after the --store that it is of")
        else:
            stores = [*stores[:-1], (stores[-1][0], value)]
        namespace.store = stores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000, help="0: no made-up products")
    parser.add_argument("--peer-rows", type=int, default=250_000, help="for graphs; 0: all rows")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--memory", type=int, default=200_000_000, help="bytes; 0: leave it out")
    parser.add_argument("--memory-recall", type=float, default=0.975)
    parser.add_argument("--rounds", type=int, default=10, help="of updates; 0: leave them out")
    parser.add_argument("--share", type=float, default=0.01, help="added and deleted in a round")
    parser.add_argument("--store", action=Stores, help="a store of yours; may be given again")
    parser.add_argument(
        "--features", action=Stores, choices=("text", "image", "fused"), help="of that store"
    )
    parser.add_argument("--figures", action="store_true", help="only say what the vectors are like")
    parser.add_argument("--pick", nargs="*", help="only contestants with one of these in the name")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=4 * 3600, help="seconds of a contestant")
    parser.add_argument("--peers", type=Path, default=THEIRS, help="the Python that runs the peers")
    given = parser.parse_args()
    # Not resolved: a virtual environment's Python is a link, and knows itself by its own name.
    given.work, given.peers = given.work.absolute(), given.peers.absolute()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.figures:
        print(ann_report.figures_table(figures(given)))
        return
    bench = Bench(given)
    bench.open()
    if given.rows:
        made_up(bench)
    for where in of_stores(given):
        race(bench, where, PEERS)
    told = f"{json.dumps(machine())}, {given.threads} threads, {given.queries:,} queries"
    text = f"{told}\n\n{ann_report.tables(bench.results)}\n"
    (given.work / "index.md").write_text(text)
    print(f"\n{text}\nwrote {bench.path} and {given.work / 'index.md'}")


if __name__ == "__main__":
    main()
