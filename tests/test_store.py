import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from support.stores import add_model, folder, put_products, put_space, root, row
from support.vectors import units
from vitrina import api
from vitrina.errors import StoreError, StoreLockedError
from vitrina.store import layout, product_writer
from vitrina.store import products as products_module
from vitrina.store.entries import FileEntry, FolderEntry, SpaceEntry
from vitrina.store.files import folder_checksum
from vitrina.store.gather import gather
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import Manifest
from vitrina.store.manifest_reader import parse_manifest
from vitrina.store.owner import Owner
from vitrina.store.product_writer import ProductWriter
from vitrina.store.products import content_hash, schema
from vitrina.store.shards import array_to_hashes, hashes_to_array
from vitrina.store.space import ERRORS_SCHEMA, error_row, failed
from vitrina.store.store import OpenStore
from vitrina.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


@pytest.fixture
def store(tmp_path):
    made = OpenStore.open(tmp_path / "shelf", create=True)
    with made.writer("test"):
        pass
    return made


def files_below(store):
    found = (one for one in root(store).rglob("*") if one.is_file())
    return sorted(one.relative_to(root(store)).as_posix() for one in found)


# -- opening --------------------------------------------------------------------------------------


def test_a_new_store_says_its_format_and_opens_again_empty(store):
    assert json.loads((root(store) / "store.json").read_text())["format"] == 3
    again = OpenStore.open(root(store))
    assert again.manifest == Manifest()
    assert len(again.products) == 0
    with pytest.raises(StoreError, match="holds no products yet"):
        again.products.column("title")


def test_a_store_is_made_by_its_first_writer(tmp_path):
    store = OpenStore.open(tmp_path / "shelf", create=True)
    assert not root(store).exists()
    with store.writer("test"):
        assert OpenStore.open(root(store)).manifest == Manifest()


def test_what_is_no_store_is_not_opened(tmp_path):
    with pytest.raises(StoreError, match="is not a store"):
        OpenStore.open(tmp_path / "nowhere", create=False)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds other files already"):
        OpenStore.open(tmp_path, create=True)
    with pytest.raises(StoreError, match="is a file"):
        OpenStore.open(tmp_path / "notes.txt", create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_whose_making_was_cut_short_is_made(tmp_path):
    for name in (".tmp-store.json", ".lock", ".lock-owner.json"):
        (tmp_path / name).write_text('{"form')
    with OpenStore.open(tmp_path, create=True).writer("test"):
        assert json.loads((tmp_path / "store.json").read_text())["format"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "store.json"]


def test_a_store_of_another_format_is_refused_with_both_numbers(store):
    (root(store) / "store.json").write_text('{"format": 5, "created": "2030-01-01T00:00:00+00:00"}')
    with pytest.raises(StoreError, match="is of format 5, this Vitrina reads 2 to 4"):
        OpenStore.open(root(store))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sequence": 3}', '{"sha256": "00"}'])
def test_a_damaged_manifest_is_named_with_the_way_out(store, content):
    (root(store) / "manifests").mkdir(exist_ok=True)
    (root(store) / "manifests/00000003.json").write_text(content)
    with pytest.raises(StoreError, match=r"00000003\.json is not a whole manifest") as raised:
        OpenStore.open(store.place)
    assert "verify STORE --repair" in str(raised.value)


def test_a_changed_digit_in_a_manifest_is_found(store):
    put_products(store, [row(1, "чай")])
    path = root(store) / "manifests/00000001.json"
    path.write_text(path.read_text().replace('"rows": 1', '"rows": 2'))
    with pytest.raises(StoreError, match="its checksum does not fit"):
        OpenStore.open(store.place)


# -- commits --------------------------------------------------------------------------------------


def test_a_manifest_survives_the_round_trip_through_its_file():
    shards = tuple(FileEntry(layout.shard("z", at, "ab" * 32), 3, 9, "ab" * 32) for at in (0, 8))
    errors = [
        FileEntry(layout.errors_of_commit(place, "ef" * 32), 1, 10, "ef" * 32)
        for place in ("", "spaces/z")
    ]
    digest = folder_checksum({"a/b.json": "ab" * 32})

    def folder(name):
        return FolderEntry(name, (FileEntry(f"{name}/a/b.json", 0, 1, "ab" * 32),))

    card = {"dim": 3, "dtype": "float16", "model": "m", "modality": "text", "more": [1.5]}
    fitted = folder(layout.encoder("витрина", "f1" * 32))
    manifest = Manifest(
        sequence=7,
        products=(FileEntry(layout.product_part(0, "cd" * 32), 5, 1234, "cd" * 32),),
        rejected=errors[0],
        spaces={
            "z": SpaceEntry("f1" * 32, card, shards, errors[1], fitted),
            "b": SpaceEntry("f2" * 32, {**card, "modality": "image"}),
        },
        active={TEXT: "z", IMAGE: "b"},
        reading={"catalogue": {"photos": 1}, "models": {"text": "lexical"}},
        indexes={"text": folder(layout.index("text", digest))},
        models={"text-mlp": folder(layout.model("text-mlp", digest))},
        model="text-mlp",
    )
    back = parse_manifest(manifest.to_bytes(), "m.json")
    assert back == manifest
    assert list(back.spaces) == ["z", "b"]
    assert back.spaces["z"].rows == 6
    assert parse_manifest(Manifest().to_bytes(), "m.json") == Manifest()


def test_the_newest_commit_wins_and_a_half_written_one_does_not(store):
    add_model(store, "one")
    add_model(store, "two")
    scratch = root(store) / ".tmp-writer"
    scratch.mkdir()
    (scratch / "00000003.json").write_text('{"sequence": 3, "prod')
    there = OpenStore.open(store.place)
    assert (there.manifest.sequence, there.manifest.model) == (2, "two")
    add_model(there, "three")
    assert not scratch.exists()
    # A reader stays with its snapshot until it asks.
    assert store.manifest.model == "two"
    store.refresh()
    assert store.manifest.model == "three"


def test_a_commit_of_nothing_new_is_no_commit(store):
    put_products(store, [row(1, "чай")])
    before = store.manifest
    put_products(store, [row(1, "чай")])
    assert store.manifest == before
    assert store.files.names("manifests") == ["manifests/00000001.json"]


def test_manifests_that_only_add_are_not_piled_up(store):
    put_products(store, [row(1, "чай")])
    for name in "abcdefg":
        add_model(store, name)
    # The newest, and the one to go back to.
    assert store.files.names("manifests") == ["manifests/00000007.json", "manifests/00000008.json"]


def test_a_second_writer_that_slipped_past_the_lock_cannot_commit_the_same_number(store):
    add_model(store, "first")
    slow, quick = OpenStore.open(store.place), OpenStore.open(store.place)
    with slow.writer("embed") as writer:
        mine = slow.manifest.with_model("mine", folder(writer, "mine"))
        # On a disk whose locks do not reach the other machine.
        (root(store) / ".lock").unlink()
        add_model(quick, "theirs")
        with pytest.raises(StoreLockedError, match="another writer made commit 2 meanwhile"):
            writer.commit(mine)
        assert "\n" not in str(StoreLockedError)
    there = OpenStore.open(store.place)
    assert (there.manifest.sequence, there.manifest.model) == (2, "theirs")
    assert there.model_folder().joinpath("file").read_text() == "theirs"


def test_a_number_that_was_tidied_away_is_not_taken_again(store):
    add_model(store, "first")
    slow, quick = OpenStore.open(store.place), OpenStore.open(store.place)
    with slow.writer("embed") as writer:
        mine = slow.manifest.with_model("mine", folder(writer, "mine"))
        (root(store) / ".lock").unlink()
        for name in ("a", "b", "c", "d"):
            add_model(quick, name)
        assert "manifests/00000002.json" not in store.files.names("manifests")
        with pytest.raises(StoreLockedError, match="another writer made commit 2 meanwhile"):
            writer.commit(mine)
    assert "manifests/00000002.json" not in store.files.names("manifests")
    assert OpenStore.open(store.place).manifest.model == "d"


def test_a_full_disk_is_one_line_and_leaves_the_last_commit(store, monkeypatch):
    put_products(store, [row(1, "чай")])

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vitrina.store.local.sync", full)
    with (
        pytest.raises(StoreError, match="No space left on device; all commits are kept") as e,
        store.writer("test") as writer,
    ):
        writer.commit(replace(store.manifest, reading={"photos": 2}))
    assert "\n" not in str(e.value)
    monkeypatch.undo()
    assert OpenStore.open(store.place).manifest == store.manifest
    assert store.files.names("manifests") == ["manifests/00000001.json"]
    put_products(store, [row(1, "чай"), row(2, "мыло")])
    assert len(OpenStore.open(store.place).products) == 2


def test_the_next_writer_removes_what_a_killed_one_left(store):
    put_products(store, [row(1, "чай"), row(2, "мыло")])
    put_space(store, "s", [([1], ["чай"], units(1, 4))])
    live = {path for path in root(store).rglob("*") if path.is_file()}
    scratch = root(store) / ".tmp-writer"
    (scratch / "encoder").mkdir(parents=True)
    (scratch / "shard.parquet").write_bytes(b"PAR1")
    (scratch / "encoder/lexical.safetensors").write_bytes(b"x")
    # Killed between the renames and the commit: whole files that no commit names.
    digest = hashlib.sha256(b"PAR1").hexdigest()
    whole = layout.model("text-mlp", folder_checksum({"model.json": digest}))
    for name in (
        layout.shard("s", 1, digest),
        layout.errors_of_commit("spaces/s", digest),
        layout.errors_of_commit("", digest),
        layout.product_part(0, digest),
        layout.retired(layout.product_part(3, digest)),
        f"{whole}/model.json",
    ):
        (root(store) / name).parent.mkdir(parents=True, exist_ok=True)
        (root(store) / name).write_bytes(b"PAR1")
    # What the owner put there by hand is the owner's.
    (root(store) / "models/rubert").mkdir()
    (root(store) / "models/rubert/config.json").write_text("{}")
    with store.writer("test"):
        pass
    mine = root(store) / "models/rubert/config.json"
    assert {path for path in root(store).rglob("*") if path.is_file()} == live | {mine}
    assert pd.read_parquet(root(store) / "products")["product_id"].tolist() == [1, 2]


def test_errors_follow_the_commit_even_if_the_writer_was_killed_in_between(store):
    shown = root(store) / "errors.parquet"

    def commit(*reasons):
        with store.writer("test") as writer:
            rows = [error_row(None, stage="read", error=reason) for reason in reasons]
            table = pa.Table.from_pylist(rows, schema=ERRORS_SCHEMA)
            writer.commit(replace(store.manifest, rejected=writer.write_errors("", table)))

    commit("no product_id")
    before = shown.read_bytes()
    commit("no product_id", "too long")
    assert pd.read_parquet(shown)["error"].tolist() == ["no product_id", "too long"]
    assert len(list(root(store).glob(".errors-*"))) == 1
    shown.write_bytes(before)
    with store.writer("test"):
        assert pd.read_parquet(shown)["error"].tolist() == ["no product_id", "too long"]


def test_a_table_put_in_place_of_another_is_the_only_one_that_other_readers_see(store):
    put_products(store, [row(1, "чай"), row(2, "мыло")])
    old = next((root(store) / "products").iterdir())
    put_products(store, [row(1, "чай"), row(2, "мыло")])
    assert list((root(store) / "products").iterdir()) == [old]
    put_products(store, [row(3, "сок"), row(1, "чай чёрный"), row(2, "мыло")])
    frame = pd.read_parquet(root(store) / "products")
    assert frame["product_id"].tolist() == [3, 1, 2]
    assert frame["title"].tolist() == ["сок", "чай чёрный", "мыло"]
    assert frame["text_hash"].tolist() == [
        content_hash(title.encode()) for title in ("сок", "чай чёрный", "мыло")
    ]


def test_a_reader_finishes_with_its_snapshot_for_some_commits(store):
    put_products(store, [row(1, "чай"), row(2, "мыло")])
    readers = []
    for title in ("один", "два", "три"):
        readers.append(OpenStore.open(store.place))
        put_products(store, [row(1, title), row(2, "мыло")])
    titles = [one.products.column("title").to_pylist()[0] for one in readers[1:]]
    assert titles == ["один", "два"]
    # Three commits are kept, and no file of a fourth.
    assert store.files.names("manifests") == [f"manifests/0000000{at}.json" for at in (2, 3, 4)]
    assert len(store.files.tree("retired")) == 2
    with pytest.raises(StoreError, match="replaced it since this snapshot was opened") as raised:
        readers[0].products.column("title")
    assert "\n" not in str(raised.value)


def test_a_part_that_comes_back_is_not_kept_twice(store):
    for title in ("чай", "кофе", "чай"):
        put_products(store, [row(1, title)])
    assert store.products.column("title").to_pylist() == ["чай"]
    assert len(store.files.names("products")) == 1
    with store.writer("test"):
        pass
    assert len(store.files.tree("retired")) == 1


# -- one writer -----------------------------------------------------------------------------------

HOLDER = """
import sys, time
from vitrina.store.store import OpenStore
with OpenStore.open(sys.argv[1]).writer("embed"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_killed(store):
    put_products(store, [row(1, "чай")])
    command = [sys.executable, "-c", HOLDER, str(root(store))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(StoreLockedError) as refused, store.writer("train"):
                pass
            # Readers are not blocked.
            assert OpenStore.open(root(store)).products.ids.to_pylist() == [1]
        finally:
            holder.kill()
    message = str(refused.value)
    assert "\n" not in message
    assert f"{root(store)} is being written by `vitrina embed` (process {holder.pid} on " in message
    with store.writer("train"):
        assert store.manifest.sequence == 1
    assert not (root(store) / ".lock-owner.json").exists()


def test_after_a_writer_on_another_machine_that_was_not_seen_to_end_a_commit_comes_first(store):
    add_model(store, "first")
    here = Owner.me("embed")
    for host, sequence in ((here.host, 1), ("elsewhere", 2)):
        left = replace(here, host=host, pid=2**30)
        (root(store) / ".lock-owner.json").write_text(json.dumps(left.to_json()))
        with store.writer("train"):
            # On this machine the lock tells that it ended; elsewhere it might still commit.
            assert store.manifest.sequence == sequence
    assert OpenStore.open(store.place).manifest.models.keys() == {"first"}


def test_an_owner_is_known_to_have_ended_only_on_its_own_machine():
    me = Owner.me("embed")
    assert str(me) == f"`vitrina embed` (process {os.getpid()} on {socket.gethostname()})"
    assert Owner.from_json(json.loads(json.dumps(me.to_json()))) == me
    assert not me.ended(me)
    # Another process has the number by now, or none has.
    assert replace(me, started="1").ended(me)
    assert replace(me, pid=2**30).ended(me)
    assert not replace(me, pid=2**30, host="elsewhere").ended(me)
    assert not replace(me, pid=2**30, boot="another").ended(me)


def test_a_second_writer_of_the_same_process_is_refused(store):
    with store.writer("index"):
        with pytest.raises(StoreLockedError, match="`vitrina index`"), store.writer("train"):
            pass
        # The refusal takes nothing from the one who holds it.
        with (
            pytest.raises(StoreLockedError, match="`vitrina index`"),
            OpenStore.open(root(store)).writer("embed"),
        ):
            pass
    with store.writer("train"):
        pass


# -- products -------------------------------------------------------------------------------------


@pytest.fixture
def parts(store, monkeypatch):
    """25 products in parts of 8, 8 and 9 and row groups of 4."""
    monkeypatch.setattr(products_module, "GROUP_ROWS", 4)
    monkeypatch.setattr(product_writer, "GROUP_ROWS", 4)
    monkeypatch.setattr(products_module, "PART_ROWS", 8)
    monkeypatch.setattr(product_writer, "PART_ROWS", 8)
    rows = [row(1000 - 7 * at, f"товар {at}", at % 3, f"к{at % 3}") for at in range(25)]
    put_products(store, rows)
    return store, rows


def test_the_table_is_cut_into_bounded_parts(parts):
    store, rows = parts
    assert [entry.rows for entry in store.manifest.products] == [8, 8, 8, 1]
    assert store.products.ids.to_pylist() == [one["product_id"] for one in rows]
    assert len(store.products) == 25
    frame = pd.read_parquet(root(store) / "products")
    assert frame["product_id"].tolist() == [one["product_id"] for one in rows]


@pytest.mark.parametrize(
    "positions",
    [
        [],
        [24],
        [0, 1, 2, 3],
        [24, 0, 12, 7, 8, 3, 4],
        [5, 5, 20, 5, 0, 20],
        list(range(24, -1, -1)),
    ],
)
def test_take_gives_rows_in_the_order_asked_for(parts, positions):
    store, rows = parts
    got = store.products.take(np.array(positions, dtype=np.int64), ["title", "attributes"])
    assert got.to_pylist() == [
        {"title": rows[at]["title"], "attributes": rows[at]["attributes"]} for at in positions
    ]


def test_batches_tell_where_they_start(parts):
    store, rows = parts
    got = [
        (start, batch.column("title").to_pylist())
        for start, batch in store.products.batches(["title"], 3)
    ]
    assert [title for _, titles in got for title in titles] == [one["title"] for one in rows]
    for start, titles in got:
        assert titles == [one["title"] for one in rows[start : start + len(titles)]]


def test_titles_are_found_by_id(parts):
    store, rows = parts
    ids = [rows[at]["product_id"] for at in (17, 2, 24)]
    assert store.products.titles(ids) == [
        {"product_id": 881, "title": "товар 17", "category_id": 2, "category_name": "к2"},
        {"product_id": 986, "title": "товар 2", "category_id": 2, "category_name": "к2"},
        {"product_id": 832, "title": "товар 24", "category_id": 0, "category_name": "к0"},
    ]


def test_a_table_given_up_leaves_nothing(store):
    with store.writer("test") as writer:
        table = ProductWriter(writer, schema(pa.int64(), pa.int64()))
        table.add([row(1, "чай")] * 5000)
        table.close()
    assert store.files.tree("products") == []


def test_categories_are_sorted_and_named(store):
    put_products(
        store,
        [
            row("a", "1", 30, "Дом->Чай"),
            row("b", "2"),
            row("c", "3", 5),
            row("d", "4", 30),
            row("e", "5", 11, "Дом->Мыло"),
        ],
    )
    labels = store.products.categories()
    assert labels.ids == (5, 11, 30)
    assert labels.codes.tolist() == [2, -1, 0, 2, 1]
    assert labels.names == ("", "Дом->Мыло", "Дом->Чай")
    assert store.products.counts() == {"text": 5, "image": 0, "category": 4, "categories": 3}


def test_no_categories_at_all(store):
    put_products(store, [row(1, "a"), row(2, "b")])
    labels = store.products.categories()
    assert (labels.ids, labels.names, labels.codes.tolist()) == ((), (), [-1, -1])


def test_hashes_go_to_an_array_and_back():
    texts = [content_hash(b"a"), content_hash(b"b")]
    array = hashes_to_array(pa.chunked_array([[texts[0], None], [texts[1]]], pa.string()))
    assert [item.tobytes().hex() for item in array] == [texts[0], "0" * 32, texts[1]]
    assert array_to_hashes(array[[2, 0]]).to_pylist() == [texts[1], texts[0]]
    assert len(hashes_to_array(pa.array([], pa.string()))) == 0


# -- spaces ---------------------------------------------------------------------------------------


def test_a_row_lives_while_its_product_has_that_very_content(store):
    put_products(store, [row(1, "чай"), row(2, "мыло новое"), row(3, "чай"), row(4), row(5, "сок")])
    vectors = units(6, 4)
    put_space(
        store,
        "s",
        [
            ([2, 1, 9], ["мыло", "чай", "чай"], vectors[:3]),
            ([4, 3, 1], ["ёж", "чай", "чай"], vectors[3:]),
        ],
        dtype="float32",
    )
    space = store.space(TEXT)
    located = space.locate(store.products)
    # 2 changed, 4 lost its text, 5 is new, 9 is gone; of two live rows of 1 the newer serves.
    assert located.done.tolist() == [True, False, True, False, False]
    assert located.shard.tolist() == [1, -1, 1, -1, -1]
    assert located.row[[0, 2]].tolist() == [2, 1]
    expected = np.zeros((3, 4), np.float32)
    expected[0], expected[2] = vectors[4], vectors[5]
    assert np.array_equal(space.vectors(located, np.array([2, 1, 0])), expected)

    located.mark(np.array([4, 1]), 2)
    assert located.done.tolist() == [True, True, True, False, True]
    assert located.shard.tolist() == [1, 2, 1, -1, 2]
    assert located.row[[4, 1]].tolist() == [0, 1]


def test_a_dead_row_revives_with_its_content(store):
    put_products(store, [row(1, "чай")])
    put_space(store, "s", [([1], ["чай"], units(1, 4))])
    put_products(store, [row(1, "кофе")])
    assert store.space(TEXT).locate(store.products).done.tolist() == [False]
    put_products(store, [row(1, "чай")])
    assert store.space(TEXT).locate(store.products).done.tolist() == [True]


def test_gather_aligns_both_modalities_with_the_products(store, tmp_path):
    put_products(
        store,
        [
            row(10, "а", photo="x"),
            row(11, photo="y"),
            row(12, "б"),
            row(13),
            row(14, "а", photo="x"),
        ],
    )
    texts, images = units(3, 4, seed=1), units(3, 3, seed=2)
    put_space(
        store,
        "t",
        [([14], ["а"], texts[:1]), ([12, 10], ["б", "а"], texts[1:])],
        dtype="float32",
    )
    put_space(store, "i", [([11, 10, 14], ["y", "x", "z"], images)], IMAGE)
    joined = gather(store.products, (store.space(TEXT), store.space(IMAGE)), tmp_path)
    assert joined.modalities == (TEXT, IMAGE)
    assert joined.dims == (4, 3)
    assert [mask.tolist() for mask in joined.present] == [
        [True, False, True, False, True],
        [True, True, False, False, False],
    ]
    assert joined.any_present().tolist() == [True, True, True, False, True]
    nothing = np.zeros((1, 4), np.float32)
    aligned = np.concatenate([texts[2:3], nothing, texts[1:2], nothing, texts[:1]])
    assert np.array_equal(joined.vectors[0], aligned)
    (text, image), (has_text, has_image) = joined.blocks(np.array([4, 1]))
    assert np.array_equal(text, aligned[[4, 1]])
    kept = images.astype(np.float16).astype(np.float32)
    assert image.dtype == np.float32
    assert np.array_equal(image, np.stack([np.zeros(3, np.float32), kept[0]]))
    assert (has_text.tolist(), has_image.tolist()) == ([True, False], [False, True])
    assert {path.name for path in tmp_path.iterdir()} == {"shelf"}


def test_a_failure_stands_only_for_the_content_that_failed(store):
    put_products(store, [row(1, photo="x"), row(2, photo="y2"), row(3), row(4, photo="w")])
    rows = [
        error_row(1, stage="decode", error="e", content_hash=content_hash(b"x")),
        error_row(2, stage="decode", error="e", content_hash=content_hash(b"y")),
        error_row(3, stage="read", error="e"),
        error_row(4, stage="read", error="e"),
    ]
    errors = pa.Table.from_pylist(rows, schema=ERRORS_SCHEMA)
    assert failed(store.products, IMAGE, errors).tolist() == [True, False, True, False]
    assert failed(store.products, IMAGE, ERRORS_SCHEMA.empty_table()).tolist() == [False] * 4


@pytest.mark.parametrize("content", [None, b"PAR1 and no more"])
def test_a_shard_that_is_missing_or_damaged_is_named(store, content):
    put_products(store, [row(1, "чай")])
    put_space(store, "s", [([1], ["чай"], units(1, 4))])
    path = Path(store.files.where(store.space(TEXT).shards[0]))
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"part-000000-\w+\.parquet is (missing|damaged)"):
        store.space(TEXT).locate(store.products)


def test_what_is_not_there_is_named_with_the_way_out(store):
    with pytest.raises(StoreError, match="has no text space; run `vitrina embed`"):
        store.space(TEXT)
    with pytest.raises(StoreError, match="no space named x"):
        store.open_space("x")
    with pytest.raises(StoreError, match="run `vitrina index "):
        store.index_files("fused")
    with pytest.raises(StoreError, match="run `vitrina train"):
        store.model_folder()
    add_model(store, "a")
    with pytest.raises(StoreError, match=r"no head named b \(it has: a\)"):
        store.model_folder("b")
    assert store.model_folder().name.startswith("a-")
    (store.model_folder() / "file").unlink()
    with pytest.raises(StoreError, match=r"file is missing from the store; run `vitrina train`"):
        store.model_folder()


# -- a folder that is put in part ------------------------------------------------------------------


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_what_was_put_of_a_folder_goes_when_the_job_fails(store, monkeypatch, stop, after):
    add_model(store, "before")
    there = files_below(store)
    publish, names = LocalFiles.publish, []

    def failing(files, temporary, name):
        if name.startswith(layout.MODELS):
            names.append(name)
            if len(names) > after:
                raise stop
        publish(files, temporary, name)

    def put():
        with store.writer("test") as writer:
            for name in ("one", "two", "three"):
                folder(writer, name)
            raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "publish", failing)
        with pytest.raises((StoreError, KeyboardInterrupt)):
            put()
    assert len(names) == after + 1
    assert files_below(store) == there


def test_a_committed_folder_that_is_put_again_stays_when_the_job_fails(store):
    add_model(store, "same")
    there = files_below(store)

    def put():
        with store.writer("test") as writer:
            folder(writer, "same")
            folder(writer, "other")
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device"):
        put()
    assert files_below(store) == there
    assert api.verify(root(store)).problems == []
