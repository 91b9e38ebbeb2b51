"""The command line: stop commands, and print a table of what came of it."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kills.commands import COMMANDS
from kills.outcome import Uninterrupted
from kills.review_page import kill_reviews
from kills.stops import HOWS, Tally, kill_one_store

CHAIN = 3
"""Kills of one store at most before a run goes on to the end."""


def warm_up() -> None:
    """Import all that a command may need, and start no thread."""
    import pyarrow.dataset  # noqa: F401
    import sklearn.feature_extraction.text
    import sklearn.linear_model
    import sklearn.metrics  # noqa: F401
    import transformers

    import vitrina
    from vitrina import api, cli  # noqa: F401
    from vitrina.pipelines.embed import commit_pace, job
    from vitrina.store import segments

    for name in ("AutoModel", "AutoTokenizer", "BertModel", "PreTrainedTokenizerFast"):
        getattr(transformers, name)
    for module in pkgutil.walk_packages(vitrina.__path__, "vitrina."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):
                importlib.import_module(module.name)
    embed = job.embed

    def in_small_shards(catalogue, store, options):  # type: ignore[no-untyped-def]
        return embed(catalogue, store, replace(options, shard_rows=32))

    job.embed = in_small_shards
    commit_pace.SHARDS = 3
    # Lists of shards, which only large stores have.
    segments.LEAST, segments.UNIT = 1, 1


def kill(
    name: str,
    kills: int,
    seed: int,
    work: Path,
    hows: tuple[str, ...] = HOWS,
    seconds: float = math.inf,
) -> Tally:
    """Stop a command so many times, by ways in turn, at moments that the seed draws; no further
    store is begun after so many seconds."""
    until = time.monotonic() + seconds
    command, tally, draw = COMMANDS[name], Tally(), random.Random(f"{name}-{seed}")
    base = work / f"{name}-base"
    base.mkdir(parents=True)
    if name == "review":
        hows = tuple(how for how in hows if how != "file size")
    command.prepare(base)
    known = None if name == "review" else Uninterrupted.of(command, base, work)
    number = 0
    while tally.kills < kills and number < 3 * kills and time.monotonic() < until:
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
    parser.add_argument("--time", type=float, default=math.inf, help="Seconds for each command.")
    parser.add_argument(
        "--work", type=Path, help="A new folder for stores; faulty ones stay there."
    )
    asked = parser.parse_args()
    warm_up()
    work = asked.work or Path(tempfile.mkdtemp(prefix="vitrina-kills-"))
    print(HEAD, flush=True)
    total, faults = 0, []
    for name in asked.command or COMMANDS:
        hows = tuple(asked.how or HOWS)
        tally = kill(name, asked.kills, asked.seed, work, hows, asked.time)
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
