"""Runs of `vitrina embed` in processes of their own that can be killed at any moment, and what is
to hold of a store after each."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from vitrina.store import layout
from vitrina.store.store import OpenStore

# The command line itself, but that shards are small and committed one by one, and that it says what
# it is about to do.
DRIVER = """
import dataclasses, faulthandler, json, os, resource, sys

faulthandler.dump_traceback_later(300, exit=True)
shard_rows, largest_file = json.loads(sys.argv.pop(1))
if largest_file is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

from vitrina import cli
from vitrina.pipelines.embed import commit_pace
from vitrina.pipelines.embed import job as embed
from vitrina.pipelines.embed import space_job as space
from vitrina.store.manifest import Manifest

def announce(owner, name, stage):
    whole = getattr(owner, name)
    def announced(*arguments, **options):
        os.write(1, f"stage: {stage(*arguments)}\\n".encode())
        return whole(*arguments, **options)
    setattr(owner, name, announced)

announce(embed, "ingest", lambda *_: "reading")
announce(space, "fit_encoder", lambda products, catalogue, modality, seed: f"fitting {modality}")
announce(space.SpaceJob, "_cut", lambda job, *_: f"embedding {job._modality}")
announce(Manifest, "with_active", lambda manifest, modality, name: f"ending {modality}")
announce(cli.embed, "show", lambda *_: "leaving")
whole_embed = embed.embed

def embed_in_small_shards(catalogue, store, options):
    return whole_embed(catalogue, store, dataclasses.replace(options, shard_rows=shard_rows))

embed.embed = embed_in_small_shards
commit_pace.SHARDS = 1
sys.argv[0] = "vitrina"
cli.main()
"""

EVERY_RUN = ("starting", "reading")
"""Stages that every run goes through, whatever is there already."""


# -- a run, and its end ----------------------------------------------------------------------------


def embedding(
    catalogue: Path,
    store: Path,
    *options: str | Path,
    shard_rows: int = 64,
    largest_file: int | None = None,
) -> list[str]:
    """The command that embeds a catalogue; no file it writes may be larger than `largest_file`."""
    limits = json.dumps([shard_rows, largest_file])
    arguments = [catalogue, "--store", store, "--json", *options]
    return [sys.executable, "-c", DRIVER, limits, "embed", *map(str, arguments)]


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a run, whose caches lie in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "OMP_NUM_THREADS": "1", "VITRINA_CACHE": str(folder / "cache")}


class Moment(NamedTuple):
    """When to kill a run: some seconds after it begins a stage for the nth time."""

    stage: str
    seconds: float
    nth: int = 1


@dataclass(frozen=True)
class Ended:
    """How a run ended. stages: what it began, and after how many seconds; the last is the end."""

    code: int
    stages: tuple[tuple[str, float], ...]
    error: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def stage(self) -> str:
        """The one it was in when it ended."""
        return self.stages[-2][0]

    @property
    def shards_begun(self) -> int:
        return sum(stage.startswith("embedding") for stage, _ in self.stages)

    def lengths(self) -> dict[str, list[float]]:
        """The seconds that each stage took, each time it came, by stage in order."""
        lengths: dict[str, list[float]] = {}
        for (stage, start), (_, stop) in pairwise(self.stages):
            lengths.setdefault(stage, []).append(stop - start)
        return lengths


def run(command: list[str], folder: Path, moment: Moment | None = None) -> Ended:
    """Run a command to its end, or kill its whole process group at a moment."""
    started = time.monotonic()
    stages, met = [("starting", 0.0)], Counter(["starting"])
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(folder),
        start_new_session=True,
    ) as process:
        if moment is not None and moment.stage == "starting":
            kill(process, moment.seconds)
        for line in process.stdout:
            if line.startswith("stage: "):
                stage = line.removeprefix("stage: ").strip()
                stages.append((stage, time.monotonic() - started))
                met[stage] += 1
                if moment is not None and (stage, met[stage]) == (moment.stage, moment.nth):
                    kill(process, moment.seconds)
        error = process.stderr.read()
    stages.append(("ended", time.monotonic() - started))
    return Ended(process.returncode, tuple(stages), error)


def kill(process: subprocess.Popen, seconds: float) -> None:
    """Kill a process and its children after so many seconds, if it has not ended by then."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_to_the_end(command: list[str], folder: Path) -> Ended:
    ended = run(command, folder)
    assert ended.code == 0, ended.error
    return ended


# -- a store between two runs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """A store as readers find it. shards: of each committed shard file, by name, what a rewrite
    would change. wanted: the contents that the products have; live: those that have a vector;
    both by space, as pairs of a product's id and a content's hash."""

    shards: dict[str, tuple[int, int]]
    wanted: dict[str, set[tuple[int, bytes]]]
    live: dict[str, set[tuple[int, bytes]]]


def look(path: Path) -> Snapshot:
    """Open a store as a reader and see that its newest commit is whole."""
    if not (path / layout.CARD).exists():
        return Snapshot({}, {}, {})
    store = OpenStore.open(path, create=False)
    for entry in store.manifest.files():
        content = (path / entry.path).read_bytes()
        assert len(content) == entry.bytes, f"{entry.path} is cut short"
        assert hashlib.sha256(content).hexdigest() == entry.sha256, f"{entry.path} was changed"
    shards, wanted, live = {}, {}, {}
    for name in store.manifest.spaces:
        space = store.open_space(name)
        for shard in space.shards:
            status = (path / shard).stat()
            shards[shard] = status.st_ino, status.st_mtime_ns
        hashes = store.products.hashes(space.modality)
        contents = list(zip(store.products.ids.to_pylist(), hashes.tolist(), strict=True))
        done = space.locate(store.products).done
        wanted[name] = set(contents)
        live[name] = {one for one, is_done in zip(contents, done, strict=True) if is_done}
    return Snapshot(shards, wanted, live)


def check_step(before: Snapshot, after: Snapshot, path: Path) -> None:
    """What a run that was cut short may do to a store: add to it."""
    assert before.shards.items() <= after.shards.items(), "a committed shard was written again"
    for space, pairs in before.live.items():
        assert pairs & after.wanted[space] <= after.live[space], "a live row is gone"
    there = {str(file.relative_to(path)) for file in path.glob(f"{layout.SPACES}/*/part-*")}
    assert len(there - after.shards.keys()) <= 1, "more than the shard at hand is lost"


def contents(path: Path) -> dict[str, str]:
    """The checksum of every file of a store, but for the time of its making and the lock."""
    spared = {layout.CARD, layout.LOCK, layout.OWNER}
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in files.items()
        if name not in spared
    }


def check_same(path: Path, whole: Path) -> None:
    """A finished store is the one of a run that was never interrupted."""
    differing = {name for name, _ in contents(path).items() ^ contents(whole).items()}
    assert not differing, f"{len(differing)} files differ: {sorted(differing)}"


# -- runs of one store, killed one after the other -------------------------------------------------


@dataclass(frozen=True)
class Uninterrupted:
    """A run that was not killed, and the store it finished."""

    path: Path
    ended: Ended
    there: Snapshot

    @classmethod
    def run(cls, command: list[str], folder: Path, path: Path) -> "Uninterrupted":
        return cls(path, run_to_the_end(command, folder), look(path))

    def stages(self, draw: random.Random, count: int) -> list[str]:
        """Stages to kill runs of one store in, each as likely as the others, in an order in
        which they come up."""
        later = [stage for stage in self.ended.lengths() if stage not in (*EVERY_RUN, "leaving")]
        stages = sorted(draw.choices(later, k=count - count // 3), key=later.index)
        for _ in range(count // 3):
            stages.insert(draw.randint(0, len(stages)), draw.choice(EVERY_RUN))
        return stages

    def moment(self, draw: random.Random, stages: list[str], there: Snapshot) -> Moment:
        """A moment of the first of some stages, for a run that goes on from where a store is.

        Of the shards it has to go through, some are left for the other stages. A stage that will
        not come up any more gives way to reading.
        """
        stage = stages[0]
        times = self._times_to_come(stage, there)
        if times == 0:
            stage, times = "reading", 1
        lengths = self.ended.lengths()[stage]
        seconds = draw.uniform(0, sum(lengths) / len(lengths))
        share = 2 * times // (1 + stages.count(stage))
        return Moment(stage, seconds, draw.randint(1, max(1, min(share, times))))

    def _times_to_come(self, stage: str, there: Snapshot) -> int:
        kind, _, modality = stage.partition(" ")
        if kind == "fitting":
            return int(not any(space.startswith(modality) for space in there.live))
        if kind == "embedding":
            left = self.there.shards.keys() - there.shards.keys()
            return sum(name.startswith(layout.space(modality)) for name in left)
        return 1


def kill_and_go_on(
    uninterrupted: Uninterrupted,
    command: list[str],
    path: Path,
    draw: random.Random,
    stages: list[str],
) -> list[Ended]:
    """Make a store by runs that are killed, one in each stage, and one that is not; compare it.

    A run that ends before it is killed is the last. Returns those that were killed.
    """
    ends: list[Ended] = []
    there = look(path)
    for at in range(len(stages)):
        moment = uninterrupted.moment(draw, stages[at:], there)
        ended = run(command, path.parent, moment)
        before, there = there, look(path)
        check_step(before, there, path)
        gained = len(there.shards) - len(before.shards)
        # The one at hand, and the next, which is encoded while it is written.
        assert ended.shards_begun - gained <= 2, "more than two shards were begun for nothing"
        if not ended.killed:
            assert ended.code == 0, ended.error
            break
        ends.append(ended)
    else:
        ended = run_to_the_end(command, path.parent)
        before, there = there, look(path)
        check_step(before, there, path)
        gained = len(there.shards) - len(before.shards)
        assert ended.shards_begun == gained, "a committed shard was embedded again"
    check_same(path, uninterrupted.path)
    return ends
