"""Every writing command, killed or stopped by a full disk at random moments.

    python tests/kills.py --command index --kills 50 --seed 1

A command starts as a fork of a process that has imported everything, so that a run costs no more
than its work. Runs of one store are killed one after the other (SIGKILL, SIGTERM, SIGINT, or a
limit on the size of files), and the last one is not. After each, `vitrina verify` must find
nothing; after SIGTERM and SIGINT nothing half-written may be left; the last run must end with what
an uninterrupted one leaves.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import http.client
import importlib
import json
import os
import pkgutil
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

CHAIN = 3
"""Kills of one store at most before a run goes on to the end."""
SOON = 7.0
"""Seconds in which a signal must end a command: `vitrina.cli.interrupts.GRACE`, and a margin."""
HOWS = ("SIGKILL", "SIGTERM", "SIGINT", "file size")
VOLATILE = re.compile(r"seconds|second|took|stages|created|time|moment|rate|bottleneck|throughput")
DIGEST = re.compile(r"-[0-9a-f]{12}(?=[./]|$)")
_FULL_DISK = r"vitrina: [^ ]+: .*File too large.*; .*(free some space|see to the disk)"


# -- a run -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a run ended. after: seconds from the signal to the end."""

    code: int
    error: str
    output: str
    seconds: float
    after: float = 0.0


@dataclass(frozen=True)
class Started:
    """A run that goes on."""

    pid: int
    at: float
    streams: tuple[int, int]

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it has not ended by then."""
        until = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                return None
            time.sleep(0.002)

    def ended(self, code: int, after: float = 0.0) -> Ended:
        # Pipes, since a limit on the size of files would be one on these streams' too.
        output, error = map(_read_all, self.streams)
        return Ended(code, error, output, time.monotonic() - self.at, after)


def _read_all(stream: int) -> str:
    with open(stream, encoding="utf-8", errors="replace") as file:
        return file.read()


def start(arguments: list[str], folder: Path, largest: int | None = None) -> Started:
    """Start a command in a fork of this process, within `folder`."""
    (output, to_output), (error, to_error) = os.pipe(), os.pipe()
    for one in (to_output, to_error):
        fcntl.fcntl(one, fcntl.F_SETPIPE_SZ, 2**20)
    at, pid = time.monotonic(), os.fork()
    if pid:
        os.close(to_output)
        os.close(to_error)
        return Started(pid, at, (output, error))
    code = 99
    try:
        os.setsid()
        os.dup2(to_output, 1)
        os.dup2(to_error, 2)
        sys.stdout, sys.stderr = (os.fdopen(one, "w", closefd=False) for one in (1, 2))
        os.chdir(folder)
        os.environ["VITRINA_CACHE"] = str(folder / "cache")
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        sys.argv = ["vitrina", *arguments]
        from vitrina import cli

        cli.main()
        code = 0
    except SystemExit as err:
        code = err.code if isinstance(err.code, int) else int(bool(err.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run(
    arguments: list[str],
    folder: Path,
    *,
    number: int | None = None,
    seconds: float = 0.0,
    largest: int | None = None,
) -> Ended:
    """Run a command to its end, or send it a signal after some seconds and wait."""
    started = start(arguments, folder, largest)
    code = started.wait(600 if number is None else seconds)
    if code is not None:
        return started.ended(code)
    os.kill(started.pid, signal.SIGKILL if number is None else number)
    at = time.monotonic()
    code = started.wait(30)
    if code is None:
        os.kill(started.pid, signal.SIGKILL)
        code = started.wait(30) or 99
    return started.ended(code, time.monotonic() - at)


def whole(arguments: list[str], folder: Path) -> Ended:
    ended = run(arguments, folder)
    if ended.code:
        raise RuntimeError(f"{' '.join(arguments)}: exit {ended.code}\n{ended.error}")
    return ended


# -- commands --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """A writing command. prepare: fills a folder for it. arguments: relative to that folder.
    exact: whether the whole store must be, byte for byte, that of an uninterrupted run."""

    prepare: Callable[[Path], None]
    arguments: list[str]
    exact: bool = False


BUILT_IN = ["--text-model", "lexical", "--image-model", "thumbnail", "--max-failures", "1"]


def catalogue(folder: Path) -> None:
    from vitrina.data.sample import write_sample

    write_sample(folder / "shop", products=120, seed=0)


def embedded(folder: Path) -> None:
    catalogue(folder)
    whole(
        [
            "embed",
            "shop/train.parquet",
            "--store",
            "store",
            "--images",
            "shop/images.zip",
            *BUILT_IN,
        ],
        folder,
    )


def indexed(folder: Path) -> None:
    embedded(folder)
    whole(["index", "store"], folder)


def outdated(folder: Path) -> None:
    """An index that lacks some products, and has some that are gone."""
    import pyarrow.parquet as pq

    indexed(folder)
    table = pq.read_table(folder / "shop/train.parquet")
    pq.write_table(table.slice(20), folder / "shop/train.parquet")
    update = ["embed", "shop/train.parquet", "--store", "store", "--prune", "--accept-changes"]
    whole([*update, *BUILT_IN], folder)


def headed(folder: Path) -> None:
    indexed(folder)
    whole(["train", "store", "--head", "logistic", "--fusion", "early"], folder)


def audited(folder: Path) -> None:
    from audited import audited as made_up

    from vitrina import api

    embedded(folder)
    made_up(api.Store.open(folder / "store"), count=12)


def decided(folder: Path) -> None:
    from vitrina import api
    from vitrina.audit.finding import Audit
    from vitrina.store.decisions import Decision, add_decisions
    from vitrina.types import Action

    audited(folder)
    store = api.Store.open(folder / "store")
    for one in Audit.of(store).suspects[:6]:
        add_decisions(
            store.files,
            store.products,
            [Decision(one.product_id, Action.KEEP, one.given, one.given)],
        )


def grown(folder: Path) -> None:
    """A store of several commits and decisions, whose shards are small and half empty."""
    import pyarrow.parquet as pq

    decided(folder)
    table = pq.read_table(folder / "shop/train.parquet")
    for first in (10, 20, 30):
        pq.write_table(table.slice(first), folder / "shop/part.parquet")
        update = ["embed", "shop/part.parquet", "--store", "store", "--prune", "--accept-changes"]
        whole([*update, *BUILT_IN], folder)


def damaged(folder: Path) -> None:
    indexed(folder)
    shard = sorted((folder / "store/spaces/text-lexical").glob("part-*"))[1]
    shard.write_bytes(shard.read_bytes()[:-5])
    index = next((folder / "store/indexes").glob("*/index.faiss"))
    index.write_bytes(index.read_bytes()[:-5])


def tunable(folder: Path) -> None:
    from tuning_tools import write_catalogue, write_model

    write_model(folder / "model")
    write_catalogue(folder / "goods.csv", 200)
    whole(
        [
            "embed",
            "goods.csv",
            "--store",
            "store",
            "--text-model",
            "lexical",
            "--image-model",
            "none",
        ],
        folder,
    )


def annotated(folder: Path) -> None:
    audited(folder)
    whole(["decisions", "store", "--export", "tasks.json"], folder)
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    for number, task in enumerate(tasks):
        task["id"] = number
        result = task.pop("predictions")[0]["result"]
        moment = f"2026-01-01T00:00:{number:02}.000000Z"
        task["annotations"] = [
            {
                "id": number,
                "result": result,
                "created_at": moment,
                "updated_at": moment,
                "completed_by": 1,
            }
        ]
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")


COMMANDS = {
    "embed": Command(
        catalogue,
        [
            "embed",
            "shop/train.parquet",
            "--store",
            "store",
            "--images",
            "shop/images.zip",
            *BUILT_IN,
        ],
        exact=True,
    ),
    "index": Command(embedded, ["index", "store", "--evaluate"]),
    "index-update": Command(outdated, ["index", "store"]),
    "train": Command(indexed, ["train", "store", "--head", "logistic", "--fusion", "knn"]),
    "finetune": Command(
        tunable, ["finetune", "store", "--model", "model", "--epochs", "3", "--batch-rows", "16"]
    ),
    "pretrain": Command(
        tunable, ["pretrain", "store", "--model", "model", "--epochs", "3", "--batch-rows", "16"]
    ),
    "classify": Command(
        headed,
        [
            "classify",
            "shop/test.parquet",
            "--store",
            "store",
            "--images",
            "shop/images.zip",
            "--out",
            "out.parquet",
        ],
    ),
    "audit": Command(indexed, ["audit", "store", "--out", "report.html", "--folds", "2"]),
    "compact": Command(grown, ["compact", "store"], exact=True),
    "repair": Command(damaged, ["verify", "store", "--repair"]),
    "decisions": Command(annotated, ["decisions", "store", "--import", "export.json"]),
    "export": Command(decided, ["decisions", "store", "--export", "labels.parquet"]),
    "benchmark": Command(
        tunable,
        [
            "benchmark",
            "goods.csv",
            "--out",
            "bench",
            "--text-model",
            "lexical",
            "--image-model",
            "none",
            "--rows",
            "naive-bayes,text,vote-text,knn",
        ],
    ),
    "review": Command(audited, ["review", "store"]),
}


# -- what is left ----------------------------------------------------------------------------------


def leftovers(folder: Path) -> list[str]:
    """Half-written files and the record of a writer, wherever a run may write."""
    found = [
        *folder.rglob(".tmp-*"),
        *folder.rglob("*.unfinished"),
        *folder.rglob(".lock-owner.json"),
    ]
    found += [one for one in folder.rglob("*.part") if one.is_file()]
    return sorted(str(one.relative_to(folder)) for one in found)


def files(folder: Path) -> dict[str, str]:
    """The checksum of every file that a command may have written, by its path."""
    paths = [one for one in folder.rglob("*") if one.is_file()]
    found = {
        one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in paths
    }
    return {name: digest for name, digest in found.items() if not name.startswith("cache/")}


def stored(folder: Path) -> dict[str, str]:
    """The same of the store alone, without what tells when it was made."""
    found = files(folder / "store")
    return {name: digest for name, digest in found.items() if name not in ("store.json", ".lock")}


def essence(folder: Path) -> dict[str, str]:
    """What runs of one input leave alike: contents by names without checksums, and the values in
    JSON files, without times."""
    found: dict[str, str] = {}
    for name, digest in files(folder).items():
        plain = DIGEST.sub("", name)
        if plain.startswith(
            ("store/manifests", "store/retired", "store/.lock", "store/store.json")
        ):
            continue
        if name.endswith(".json"):
            with suppress(ValueError):
                found |= dict(leaves(json.loads((folder / name).read_text("utf-8")), plain))
                continue
        found[plain] = digest
    return found


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, one in value.items():
            if not VOLATILE.search(key):
                yield from leaves(one, f"{path}:{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from leaves(one, f"{path}:{number}")
    else:
        yield path, repr(value)


@dataclass
class Uninterrupted:
    """What an uninterrupted run leaves and how long it takes."""

    seconds: float
    stored: dict[str, str]
    stable: dict[str, str]
    largest: int

    @classmethod
    def of(cls, command: Command, base: Path, work: Path) -> Uninterrupted:
        found, ends = [], []
        for _ in range(2):
            shutil.copytree(base, folder := work / "run")
            ends.append(whole(command.arguments, folder))
            found.append((stored(folder), essence(folder)))
            sizes = [one.stat().st_size for one in folder.rglob("*") if one.is_file()]
            shutil.rmtree(folder)
        (first, one), (second, other) = found
        if command.exact:
            assert first == second, "two uninterrupted runs differ"
        assert one.keys() == other.keys(), (
            f"two uninterrupted runs leave other files: {one.keys() ^ other.keys()}"
        )
        stable = {name: value for name, value in one.items() if other[name] == value}
        return cls(min(one.seconds for one in ends), first, stable, max(sizes))

    def differences(self, folder: Path, exact: bool) -> list[str]:
        if exact:
            pairs = stored(folder).items() ^ self.stored.items()
        else:
            found = essence(folder)
            pairs = {
                (name, value) for name, value in self.stable.items() if found.get(name) != value
            }
        return sorted({name for name, _ in pairs})


# -- kills -----------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of a command's kills. faults: one line each, with the seed of the store."""

    stops: Counter[str] = field(default_factory=Counter)
    quarters: Counter[int] = field(default_factory=Counter)
    verified: int = 0
    finished: int = 0
    identical: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(self.stops.values())


def check_stopped(how: str, ended: Ended, folder: Path) -> list[str]:
    """What is wrong with how a run ended that was stopped."""
    from vitrina.cli.interrupts import LINE

    lines, found = ended.error.strip().splitlines(), []
    if "Traceback" in ended.error:
        found.append("a traceback")
    if how == "file size":
        if ended.code != 1:
            found.append(f"exit {ended.code}")
        told = [one for one in lines if one.startswith("vitrina: ")]
        if len(told) != 1 or lines[-1] != told[0]:
            found.append(f"{len(told)} lines of it")
        elif not re.match(_FULL_DISK, told[0]):
            found.append("not the place, the reason and the way out")
    elif how in ("SIGTERM", "SIGINT"):
        number = getattr(signal, how)
        if ended.code == -number:
            return found  # Before the command line was begun.
        if ended.code != 128 + number:
            found.append(f"exit {ended.code}")
        if lines[-1:] != [LINE] or lines.count(LINE) > 1:
            found.append(f"told {lines[-2:]}")
        if ended.after > SOON:
            found.append(f"ended after {ended.after:.1f} s")
    if how != "SIGKILL" and (left := leftovers(folder)):
        found.append(f"left {left}")
    return [f"{how}: {one} (exit {ended.code}: {ended.error.strip()[-300:]!r})" for one in found]


def verified(folder: Path) -> list[str]:
    """What `vitrina verify` finds."""
    if not (folder / "store" / "store.json").exists():
        return []
    ended = run(["verify", "store", "--json"], folder)
    try:
        problems = json.loads(ended.output)["problems"]
    except ValueError:
        return [f"verify: exit {ended.code}: {ended.error[-300:]}"]
    return [f"verify: {problems}"] if problems else []


def stop(
    command: Command, folder: Path, how: str, draw: random.Random, known: Uninterrupted
) -> tuple[Ended, float]:
    """Run a command and stop it. Returns the share of its time at which it was to be."""
    if how == "file size":
        share = draw.random()
        return run(command.arguments, folder, largest=int(known.largest**share)), share
    share = draw.random()
    number = getattr(signal, how)
    return run(command.arguments, folder, number=number, seconds=share * known.seconds), share


def kill_one_store(
    name: str,
    command: Command,
    base: Path,
    folder: Path,
    draw: random.Random,
    known: Uninterrupted,
    hows: list[str],
    tally: Tally,
) -> None:
    """Stop some runs of one store, and have one go on to the end."""
    shutil.copytree(base, folder)
    faults: list[str] = []
    for how in hows:
        ended, share = stop(command, folder, how, draw, known)
        if ended.code == 0:
            break
        tally.stops[how] += 1
        tally.quarters[int(4 * share)] += 1
        tally.slowest = max(tally.slowest, ended.after)
        problems = check_stopped(how, ended, folder)
        found = [] if name == "repair" else verified(folder)
        tally.verified += not found
        faults += [*problems, *found]
    ended = run(command.arguments, folder)
    if ended.code:
        faults.append(f"the next run: exit {ended.code}: {ended.error[-500:]}")
    else:
        tally.finished += 1
        differing = known.differences(folder, command.exact)
        tally.identical += not differing
        if differing:
            faults.append(f"{len(differing)} differ: {differing[:5]}")
    faults += verified(folder)
    if left := leftovers(folder):
        faults.append(f"left in the end: {left}")
    tally.faults += [f"{name} {hows}: {one}" for one in faults]


# -- the review page -------------------------------------------------------------------------------


class Browser:
    """Sends decisions to a review page that runs in a fork."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        arguments = ["review", "store", "--port", str(port), "--reviewer", "K", "--images", "none"]
        self.started = start(arguments, folder)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError):
                page = self.ask("GET", "/")
                self.csrf = page.partition('X-CSRF-Token":"')[2].partition('"')[0]
                return
            time.sleep(0.01)
        raise RuntimeError("the page did not come up")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def send(self, connection: http.client.HTTPConnection, rank: int) -> None:
        home = f"http://127.0.0.1:{self.port}"
        form = urlencode({"action": "keep", "one": f"{rank}:", "audit": "made-up"})
        headers = {"Origin": home, "X-CSRF-Token": self.csrf}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST", "/decide", form, headers)

    def ask(self, method: str, path: str) -> str:
        with closing(self.connect()) as connection:
            connection.request(method, path)
            return connection.getresponse().read().decode()

    def decide(self, rank: int) -> int:
        with closing(self.connect()) as connection:
            self.send(connection, rank)
            return connection.getresponse().status


def kill_reviews(
    base: Path, folder: Path, draw: random.Random, hows: list[str], tally: Tally, port: int
) -> None:
    """Stop review pages while decisions are being made: what was answered is in the store."""
    shutil.copytree(base, folder)
    acknowledged: set[int] = set()
    faults: list[str] = []
    ranks = list(range(1, 13))
    for how in hows:
        browser = Browser(folder, port)
        for _ in range(draw.randint(0, 3)):
            if ranks and browser.decide(ranks[0]) == 200:
                acknowledged.add(ranks.pop(0))
        connection = browser.connect()
        if ranks:
            browser.send(connection, ranks[0])
        time.sleep(draw.uniform(0, 0.04))
        at = time.monotonic()
        os.kill(browser.started.pid, getattr(signal, how))
        with suppress(OSError, http.client.HTTPException):
            if connection.getresponse().status == 200:
                acknowledged.add(ranks[0])
        connection.close()
        code = browser.started.wait(30)
        ended = browser.started.ended(99 if code is None else code, time.monotonic() - at)
        tally.stops[how] += 1
        tally.slowest = max(tally.slowest, ended.after)
        if how != "SIGKILL" and (
            ended.code or "done: all decisions are in" not in ended.output or ended.error
        ):
            faults.append(f"{how}: exit {ended.code}: {ended.error!r}")
        # What a decision that was killed left stays until the next writer removes it.
        if "SIGKILL" not in hows and (left := leftovers(folder)):
            faults.append(f"{how} left {left}")
        found = verified(folder)
        tally.verified += not found
        faults += found
        kept = decisions_of(folder)
        if not acknowledged <= kept.keys() or max(kept.values(), default=1) > 1:
            faults.append(f"{how}: of {acknowledged} the store has {kept}")
        ranks = [rank for rank in range(1, 13) if rank not in kept]
    browser = Browser(folder, port)
    if all(browser.decide(rank) == 200 for rank in ranks):
        tally.finished += 1
    os.kill(browser.started.pid, signal.SIGTERM)
    browser.started.wait(30)
    tally.identical += decisions_of(folder) == dict.fromkeys(range(1, 13), 1)
    whole(["compact", "store"], folder)
    if left := leftovers(folder):
        faults.append(f"left in the end: {left}")
    tally.faults += [f"review {hows}: {one}" for one in faults]


def decisions_of(folder: Path) -> dict[int, int]:
    """How often each rank was decided, as the store has it."""
    from vitrina import api

    return dict(
        Counter(one.shown["rank"] for one in api.Store.open(folder / "store").decisions().all)
    )


# -- the table -------------------------------------------------------------------------------------


def warm_up() -> None:
    """Import all that a command may need, and start no thread."""
    import pyarrow.dataset  # noqa: F401
    import sklearn.feature_extraction.text
    import sklearn.linear_model
    import sklearn.metrics  # noqa: F401
    import transformers

    import vitrina
    from vitrina import api, cli  # noqa: F401
    from vitrina.pipelines import options
    from vitrina.pipelines.embed import EmbedOptions  # noqa: F401

    for name in ("AutoModel", "AutoTokenizer", "BertModel", "PreTrainedTokenizerFast"):
        getattr(transformers, name)
    for module in pkgutil.walk_packages(vitrina.__path__, "vitrina."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(module.name)
    options.EmbedOptions = partial(options.EmbedOptions, shard_rows=32)  # type: ignore[misc]


def kill(name: str, kills: int, seed: int, work: Path, hows: tuple[str, ...] = HOWS) -> Tally:
    """Stop a command so many times, by ways in turn, at moments that the seed draws."""
    command, tally, draw = COMMANDS[name], Tally(), random.Random(f"{name}-{seed}")
    base = work / f"{name}-base"
    base.mkdir(parents=True)
    if name == "review":
        hows = tuple(how for how in hows if how != "file size")
    command.prepare(base)
    known = None if name == "review" else Uninterrupted.of(command, base, work)
    number = 0
    while tally.kills < kills and number < 3 * kills:
        # Always the same path, since a store remembers where its catalogue lies.
        folder, before = work / "run", len(tally.faults)
        chain = [draw.choice(hows) for _ in range(min(draw.randint(1, CHAIN), kills - tally.kills))]
        if known is None:
            kill_reviews(base, folder, draw, chain, tally, 20000 + os.getpid() % 20000)
        else:
            kill_one_store(name, command, base, folder, draw, known, chain, tally)
        if len(tally.faults) > before:
            folder.rename(work / f"{name}-{number}")
        else:
            shutil.rmtree(folder)
        number += 1
    shutil.rmtree(base)
    return tally


def report(name: str, tally: Tally) -> str:
    stops = ", ".join(f"{how} {tally.stops[how]}" for how in HOWS if tally.stops[how])
    quarters = "/".join(str(tally.quarters[at]) for at in range(4))
    return (
        f"| {name} | {tally.kills} ({stops}) | {quarters} | {tally.verified} | {tally.finished} | "
        f"{tally.identical} | {tally.slowest:.1f} s | {len(tally.faults)} |"
    )


HEAD = (
    "| command | stopped | in each quarter of the run | verified | went on to the end | same result"
    " | slowest end | faults |\n|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill writing commands at random moments.")
    parser.add_argument("--command", action="append", choices=COMMANDS, help="Default: all.")
    parser.add_argument("--kills", type=int, default=10, help="Of each command.")
    parser.add_argument("--how", action="append", choices=HOWS, help="Default: all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, help="A new folder for stores; faulty ones stay there."
    )
    asked = parser.parse_args()
    warm_up()
    work = asked.work or Path(tempfile.mkdtemp(prefix="vitrina-kills-"))
    print(HEAD, flush=True)
    total, faults = 0, []
    for name in asked.command or COMMANDS:
        tally = kill(name, asked.kills, asked.seed, work, tuple(asked.how or HOWS))
        print(report(name, tally), flush=True)
        total, faults = total + tally.kills, faults + tally.faults
        for fault in tally.faults:
            print(f"  {fault}", file=sys.stderr, flush=True)
    print(f"{total} stops, {len(faults)} faults, seed {asked.seed}")
    if not faults:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
