"""Lists of shards that commits share: how they are cut, written, read, repaired and cleaned up."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.embedding import all_files
from support.stopping import stopping_at
from support.stores import put_products, put_space, root, row
from support.vectors import units
from vitrina.errors import StoreError
from vitrina.store import layout, segments
from vitrina.store.compact import compact
from vitrina.store.entries import FileEntry, SpaceEntry
from vitrina.store.files import to_json
from vitrina.store.history import numbers
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import digest
from vitrina.store.repair import repair
from vitrina.store.segments import cuts, divided
from vitrina.store.store import OpenStore
from vitrina.store.verify import verify
from vitrina.types import Modality

pytestmark = pytest.mark.usefixtures("unsynced")
few_lists = pytest.mark.usefixtures("few")

NAME = "text-m"
PRODUCTS = 26


@pytest.fixture
def few(monkeypatch):
    """Lists of two shards and more, beyond four."""
    monkeypatch.setattr(segments, "LEAST", 4)
    monkeypatch.setattr(segments, "UNIT", 2)


def filled(path, shards=PRODUCTS):
    """A store with one product a shard."""
    store = OpenStore.open(path, create=True)
    put_products(store, [row(at, f"t{at}") for at in range(PRODUCTS)])
    vectors = units(PRODUCTS, 8).astype("float16")
    put_space(store, NAME, [([at], [f"t{at}"], vectors[at : at + 1]) for at in range(shards)])
    return store


@pytest.fixture
def store(few, tmp_path):  # noqa: ARG001
    return filled(tmp_path / "shelf", 11)


def more(store, shards=1):
    """Commit one shard at a time, as a run does: from entries that were never committed."""
    entry = store.open_space(NAME).entry
    for _ in range(shards):
        number = entry.next_number
        name = layout.shard(NAME, number, f"{number:064x}")
        (root(store) / name).write_bytes(b"")
        new = FileEntry(name, 1, 0, f"{number:064x}")
        entry = replace(entry, shards=(*entry.shards, new), segments=())
        with store.writer("test") as writer:
            writer.commit(store.manifest.with_space(NAME, entry))


def manifest_of(store):
    name = layout.manifest(store.manifest.sequence)
    return json.loads((root(store) / name).read_bytes())


def lists(store):
    """The names of the lists of shards in a store."""
    return {name for name in store.files.tree("") if layout.is_segment(name)}


def named_lists(store):
    return {
        entry.path
        for segment in store.open_space(NAME).entry.segments
        for entry in (segment.file, segment.copy)
    }


# -- cuts -----------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_few_lists_hold_all_shards_but_the_last_of_a_large_space(shards):
    sizes = cuts(shards)
    if shards <= segments.LEAST:
        assert sizes == []
        return
    assert 0 <= shards - sum(sizes) < segments.UNIT
    assert sizes == sorted(set(sizes), reverse=True)
    assert all((size // segments.UNIT).bit_count() == 1 for size in sizes)


def test_every_shard_is_written_to_a_few_lists_only():
    written, have = 0, []
    for shards in range(64, 24_414, 64):
        sizes = cuts(shards)
        kept = next(
            (at for at, pair in enumerate(zip(sizes, have, strict=False)) if pair[0] != pair[1]),
            min(len(sizes), len(have)),
        )
        written += sum(sizes[kept:])
        have = sizes
    assert written < 6 * 24_414


@few_lists
def test_unchanged_lists_are_taken_from_the_commit_before():
    shards = tuple(
        FileEntry(layout.shard(NAME, at, f"{at:064x}"), 1, 5, f"{at:064x}") for at in range(9)
    )
    before = divided(NAME, SpaceEntry("f" * 64, {}, shards[:7]), ())
    after = divided(NAME, SpaceEntry("f" * 64, {}, shards), before.segments)
    assert [len(one.shards) for one in before.segments] == [4, 2]
    assert [len(one.shards) for one in after.segments] == [8]
    assert divided(NAME, SpaceEntry("f" * 64, {}, shards[:8]), after.segments).loose == ()
    again = divided(NAME, replace(before, shards=shards[:6], segments=()), before.segments)
    assert again.segments[0] is before.segments[0]
    assert (before.next_number, after.next_number) == (7, 9)
    moved = (*shards[:2], shards[3], shards[2], *shards[4:7])
    other = divided(NAME, replace(before, shards=moved), ())
    assert other.segments[0] != before.segments[0]
    assert other.segments[1] is before.segments[1]
    # Of an entry that was not committed yet, the segments may be those of the commit before.
    assert replace(before, shards=(shards[8], *shards[:6])).next_number == 9
    assert replace(before, shards=(*before.shards, shards[8])).next_number == 9


# -- commits --------------------------------------------------------------------------------------


@few_lists
def test_a_small_store_is_what_it_was(tmp_path):
    store = filled(tmp_path / "shelf", 4)
    assert json.loads((root(store) / layout.CARD).read_bytes())["format"] == 3
    assert set(manifest_of(store)["spaces"][NAME]) == {
        "card",
        "encoder",
        "errors",
        "fingerprint",
        "shards",
    }
    assert not lists(store)


def test_a_large_store_is_read_as_it_was_written(store):
    assert json.loads((root(store) / layout.CARD).read_bytes())["format"] == 4
    written = manifest_of(store)["spaces"][NAME]
    assert [one["rows"] for one in written["segments"]] == [8, 2]
    assert len(written["shards"]) == 1
    first = (root(store) / written["segments"][0]["path"]).read_bytes()
    assert [one["path"] for one in json.loads(first)] == store.open_space(NAME).shards[:8]
    segments._READ.clear()
    again = OpenStore.open(root(store))
    assert again.manifest == store.manifest
    assert again.open_space(NAME).shards == store.open_space(NAME).shards
    assert again.space(Modality.TEXT).locate(again.products).done.sum() == 11
    assert verify(again).ok


def test_commits_write_what_is_new_and_delete_what_none_names(store, monkeypatch):
    written, write = [], LocalFiles.write

    def noted(files, name, content):
        if layout.is_segment(name):
            written.append(content.count(b"\n") - 2)
        write(files, name, content)

    monkeypatch.setattr(LocalFiles, "write", noted)
    more(store, 15)
    # The lists of 12, 14, 16, ... 26 shards, twice each.
    assert written[::2] == [4, 2, 16, 2, 4, 2, 8, 2]
    named = {name for number in numbers(store.files) for name in named_at(store, number)}
    assert lists(store) == named >= named_lists(store)
    assert len(numbers(store.files)) <= 4


def named_at(store, number):
    value = json.loads((root(store) / layout.manifest(number)).read_bytes())
    for one in value["spaces"][NAME]["segments"]:
        yield one["path"]
        yield layout.segment_copy(NAME, one["sha256"])


FAILING = ["store.json", "manifests/shards-", "spaces/", "manifests/0"]


@few_lists
@pytest.mark.parametrize("failing", FAILING)
def test_a_commit_that_fails_leaves_the_store_as_it_was(tmp_path, monkeypatch, failing):
    store = filled(tmp_path / "shelf", 4)
    before = store.manifest

    def stopping(method):
        write = getattr(LocalFiles, method)

        def stop(files, name, content):
            if name.startswith(failing):
                raise OSError(28, "no space left")
            write(files, name, content)

        return stop

    with monkeypatch.context() as patch:
        for method in ("write", "create"):
            patch.setattr(LocalFiles, method, stopping(method))
        with pytest.raises(StoreError, match="no space left"):
            more(store)
    again = OpenStore.open(root(store))
    assert again.manifest == before
    with again.writer("test"):
        pass
    assert not lists(again)
    more(again)
    assert lists(again) == named_lists(again)
    assert OpenStore.open(root(store)).manifest == again.manifest


def test_compaction_of_many_shards_leaves_a_plain_manifest(store):
    compact(store, keep=1)
    assert len(store.open_space(NAME).shards) == 1
    assert not lists(store)
    assert verify(OpenStore.open(root(store))).ok


# -- damage and untrusted stores ------------------------------------------------------------------


def opened(store):
    """The store as another process opens it."""
    segments._READ.clear()
    return OpenStore.open(store.place)


@pytest.mark.parametrize("which", ["file", "copy"])
@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_one_of_the_two_copies_of_a_list_is_enough(store, which, how):
    name = getattr(store.open_space(NAME).entry.segments[0], which).path
    content = (root(store) / name).read_bytes()
    if how == "changed":
        (root(store) / name).write_bytes(content.replace(b'"rows":1', b'"rows":2', 1))
    else:
        (root(store) / name).unlink()
    again = opened(store)
    assert again.manifest == store.manifest
    report = verify(again)
    assert [one.file for one in report.problems] == [name]
    assert report.problems[0].way_out == "`vitrina verify STORE --repair` writes it again"
    repair(again, report)
    assert (root(store) / name).read_bytes() == content
    assert verify(opened(store)).ok


def test_without_both_copies_the_store_says_so(store):
    for entry in (one := store.open_space(NAME).entry.segments[0]).file, one.copy:
        (root(store) / entry.path).unlink()
    with pytest.raises(StoreError, match=r"shards-.*and its copy are missing.*verify STORE"):
        opened(store)


def resealed(store, change):
    """Change the newest manifest, and put its checksum right."""
    value = manifest_of(store)
    del value["sha256"]
    change(value["spaces"])
    name = layout.manifest(store.manifest.sequence)
    (root(store) / name).write_bytes(to_json({**value, "sha256": digest(value)}))
    return opened(store)


def listed(store, shards):
    """Write a list of shards of any content, and return its entry."""
    content = json.dumps(shards).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    (root(store) / layout.segment(sha256)).write_bytes(content)
    return {
        "path": layout.segment(sha256),
        "rows": len(shards),
        "bytes": len(content),
        "sha256": sha256,
    }


SHARD = {"path": "", "rows": 1, "bytes": 5, "sha256": "a" * 64}


@pytest.mark.parametrize(
    ("shards", "reason"),
    [
        ([{**SHARD, "path": "../../etc/passwd"}], "is not the name of a shard"),
        ([{**SHARD, "path": layout.shard("other", 0, "a" * 64)}], "is not the name of a shard"),
        ([{**SHARD, "path": layout.shard(NAME, 0, "b" * 64)}], "carries another checksum"),
        ([{**SHARD, "path": layout.shard(NAME, 0, "a" * 64), "rows": -1}], "Expected `int` >= 0"),
        ([[]], "Expected `object`"),
        ({}, "Expected `array`"),
    ],
)
def test_a_foreign_list_of_shards_is_checked(store, shards, reason):
    entry = listed(store, shards)
    with pytest.raises(StoreError, match=reason) as caught:
        resealed(store, lambda spaces: spaces[NAME].update(segments=[entry]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"path": "../shards-aaaaaaaaaaaa.json"}, "is not the name of a list of shards"),
        ({"path": "store.json"}, "is not the name of a list of shards"),
        ({"rows": 7}, "8 shards instead of 7"),
        ({"bytes": 7}, "are damaged"),
        ({"rows": "8"}, "Expected `int`"),
    ],
)
def test_a_foreign_entry_of_a_list_is_checked(store, entry, reason):
    with pytest.raises(StoreError, match=reason):
        resealed(store, lambda spaces: spaces[NAME]["segments"][0].update(entry))


def test_a_manifest_with_very_many_lists_is_refused(store):
    with pytest.raises(StoreError, match="length <= 64"):
        resealed(store, lambda spaces: spaces[NAME].update(segments=65 * [listed(store, [])]))


def test_a_commit_that_was_partly_deleted_is_cleaned_up(store):
    before = store.manifest
    more(store, 5)
    with store.writer("test") as writer:
        writer.tidy(1)
    number = before.sequence
    manifest = root(store) / layout.retired(layout.manifest(number))
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_bytes(before.to_bytes())
    assert not any((root(store) / one.file.path).exists() for one in before.spaces[NAME].segments)
    segments._READ.clear()
    with OpenStore.open(root(store)).writer("test"):
        pass
    assert not manifest.exists()


def grow(path, shards):
    """A run that embeds what a store lacks, a shard at a time."""
    store = OpenStore.open(path)
    more(store, shards - len(store.open_space(NAME).shards))


@pytest.mark.slow
@few_lists
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_stopped_at_any_change_and_resumed_gives_the_same_bytes(tmp_path, after):
    filled(tmp_path / "first", 4)
    shutil.copytree(tmp_path / "first", tmp_path / "whole")
    grow(tmp_path / "whole", 9)
    expected = all_files(tmp_path / "whole")
    changes = 0
    while True:
        path = shutil.copytree(tmp_path / "first", tmp_path / f"shelf{changes}")
        with stopping_at(changes, after=after) as stop:
            grow(path, 9)
        segments._READ.clear()
        grow(path, 9)
        with OpenStore.open(path).writer("test"):
            pass
        assert all_files(path) == expected, f"stopped at change {changes}"
        if not stop.happened:
            break
        changes += 1
    # Manifests, three pairs of lists, and the deletion of what they replace.
    assert changes >= 12


@few_lists
def test_lists_of_shards_in_a_bucket():
    place = "memory://lists/shelf"
    made = filled(place, 5)
    assert opened(made).manifest == made.manifest
    with made.writer("test") as writer:
        entry = made.open_space(NAME).entry
        shards = (*entry.shards[1:], *entry.shards[:1])
        writer.commit(made.manifest.with_space(NAME, replace(entry, shards=shards)))
    segment = made.open_space(NAME).entry.segments[0]
    assert [shard.path for shard in segment.shards] == [shard.path for shard in shards[:4]]
    made.files.write(segment.file.path, b"[]")
    again = opened(made)
    assert again.manifest == made.manifest
    report = verify(again)
    assert [one.file for one in report.problems] == [segment.file.path]
    repair(again, report)
    assert verify(opened(made)).ok
    assert lists(again) == named_lists(again)
