"""Every kind of damage is found and named, and the store goes on without what is lost."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.cli import vitrina
from support.embedding import (
    FIRST,
    IMAGE,
    RED,
    STUBS,
    TEXT,
    catalogue_of,
    run,
    use_stubs,
    vectors_of,
)
from support.stores import add_model
from vitrina import api
from vitrina.errors import StoreError
from vitrina.pipelines.embed import commit_pace
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.index.job import build_index
from vitrina.pipelines.index.options import IndexOptions
from vitrina.store import layout, product_writer
from vitrina.store import products as products_module
from vitrina.store.store import OpenStore
from vitrina.types import Features

pytestmark = pytest.mark.usefixtures("unsynced")

REPAIR = "`vitrina verify STORE --repair`"
REDONE = f"{REPAIR} leaves it out, then `vitrina embed` redoes what it held"
REMADE = f"{REPAIR} leaves it out, then `vitrina index` or `vitrina train` creates it again"
REFITTED = (
    f"{REPAIR} leaves it out, then `vitrina embed` fits the encoder again and redoes its space"
)

FILES = {
    "text shard": "spaces/text-words/part-000000-*",
    "image shard": "spaces/image-colours/part-000001-*",
    "products": "products/part-*",
    "rejected": ".errors-*",
    "failures": "spaces/image-colours/.errors-*",
    "index": "indexes/fused-*/index.faiss",
    "head": "models/text-mlp-*/file",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small store with two spaces, an index and a stand-in for a head; and its catalogue."""
    root = tmp_path_factory.mktemp("verify")
    catalogue = catalogue_of(root / "a", FIRST)
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch.setattr)
        patch.setattr(commit_pace, "SHARDS", 1)
        run(root / "shelf", catalogue)
    build_index(OpenStore.open(root / "shelf"), IndexOptions(Features.FUSED))
    add_model(OpenStore.open(root / "shelf"), "text-mlp")
    return root / "shelf", catalogue


@pytest.fixture
def shelf(made, tmp_path):
    """A copy of the store that a test may damage."""
    return shutil.copytree(made[0], tmp_path / "shelf")


@pytest.fixture
def catalogue(made):
    return made[1]


def one(path, pattern):
    (file,) = path.glob(pattern)
    return file


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return "its checksum does not fit: bytes were changed"


def cut(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    return f"{len(data) // 2} bytes instead of {len(data)}"


def delete(file):
    file.unlink()
    return "missing"


def both(path):
    return {modality: tolists(vectors_of(path, modality)) for modality in (TEXT, IMAGE)}


def tolists(vectors):
    return {product: vector.tolist() for product, vector in vectors.items()}


def manifests(path):
    return sorted(path.glob("manifests/*"))


def check_found(path, capsys, *lines, notes=()):
    """`verify` says just these lines, in JSON and in words, with exit code 1."""
    capsys.readouterr()
    assert vitrina("verify", path, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    told = [f"{p['file']}: {p['what']}; {p['way_out']}" for p in found["problems"]]
    assert (told, found["ok"], found["repaired"]) == (list(lines), False, [])
    assert set(notes) <= set(found["notes"])
    assert vitrina("verify", path) == 1
    *shown, last = capsys.readouterr().out.splitlines()
    assert shown == [*lines, *(f"note: {note}" for note in found["notes"])]
    assert last.startswith(f"done: {len(lines)} problems; ")


def check_repaired(path, capsys, *files):
    """`verify --repair` leaves out just these files, and then nothing is wrong."""
    assert vitrina("verify", path, "--repair") == 0
    shown = capsys.readouterr().out.splitlines()
    left_out = [line for line in shown if line.startswith("left out: ")]
    assert left_out == [f"left out: {file}" for file in files]
    assert ", repaired: run `vitrina embed` with the catalogue; " in shown[-1]
    assert api.verify(path).problems == []


def check_whole(path):
    report = api.verify(path)
    assert (report.problems, report.notes) == ([], [])


# -- a healthy store ------------------------------------------------------------------------------


def test_a_healthy_store_has_no_problems_and_the_counts_are_those_of_its_files(shelf, capsys):
    report = api.verify(shelf)
    patterns = ("products/*", "**/part-0*", "**/.errors-*", "indexes/*/*", "models/*/*")
    live = {file for pattern in patterns for file in shelf.glob(pattern)}
    live -= set(shelf.glob("retired/**/*"))
    # A part of the products, 6 shards, 3 tables of failures, 3 files of the index, the head.
    assert report.files == len(live) == 14
    assert report.bytes == sum(file.stat().st_size for file in live)
    assert (report.products, report.vectors) == (8, 13)
    assert (
        report.commit == int(manifests(shelf)[-1].stem) == OpenStore.open(shelf).manifest.sequence
    )
    assert (report.ok, report.problems, report.notes, report.repaired) == (True, [], [], [])
    assert vitrina("verify", shelf) == 0
    assert capsys.readouterr().out == (
        f"done: nothing wrong; 14 files, {report.bytes / 1e6:.1f} MB, 8 products, 13 vectors "
        f"at commit {report.commit}\n"
    )
    assert vitrina("verify", shelf, "--json") == 0
    assert json.loads(capsys.readouterr().out) == report.to_json()


def test_an_empty_store_has_no_problems(tmp_path):
    with OpenStore.open(tmp_path / "shelf", create=True).writer("test"):
        pass
    report = api.verify(tmp_path / "shelf")
    assert (report.ok, report.files, report.products, report.vectors) == (True, 0, 0, 0)


def test_a_repair_of_a_healthy_store_changes_no_byte(shelf, capsys):
    before = {file: file.read_bytes() for file in shelf.rglob("*") if file.is_file()}
    assert vitrina("verify", shelf, "--repair") == 0
    assert capsys.readouterr().out.startswith("done: nothing wrong; ")
    assert {file: file.read_bytes() for file in shelf.rglob("*") if file.is_file()} == before


def test_verify_reads_only_and_needs_no_lock(shelf):
    before = {file: file.read_bytes() for file in shelf.rglob("*") if file.is_file()}
    with OpenStore.open(shelf).writer("embed"):
        assert api.verify(shelf).ok
    assert {file: file.read_bytes() for file in shelf.rglob("*") if file.is_file()} == before


# -- damaged files --------------------------------------------------------------------------------

DAMAGES = [
    pytest.param(kind, damage, id=f"{damage.__name__}-{kind}")
    for damage in (flip, cut, delete)
    for kind in FILES
]


@pytest.mark.parametrize(("kind", "damage"), DAMAGES)
def test_damage_is_named_and_only_what_it_took_is_redone(
    shelf, catalogue, stubs, capsys, kind, damage
):
    before = both(shelf)
    file = one(shelf, FILES[kind])
    name = file.relative_to(shelf).as_posix()
    what = damage(file)
    way = REMADE if kind in ("index", "head") else REDONE
    check_found(shelf, capsys, f"{name}: {what}; {way}")
    check_repaired(shelf, capsys, name)
    run(shelf, catalogue)
    check_whole(shelf)
    assert both(shelf) == before
    # Of the two photos in the image shard, the green one can be had from another product.
    assert stubs[TEXT].seen == (["чай"] if kind == "text shard" else [])
    assert stubs[IMAGE].seen == ([[0, 0, 250]] if kind == "image shard" else [])


def test_an_index_left_out_is_asked_for_by_name_and_built_again(shelf):
    flip(one(shelf, FILES["index"]))
    api.verify(shelf, repair=True)
    store = OpenStore.open(shelf)
    with pytest.raises(StoreError, match="no fused index; run `vitrina index` with --features f"):
        store.index_files("fused")
    assert not list(shelf.glob("indexes/*/*"))
    # The head was whole, and stays.
    assert store.model_folder().joinpath("file").read_text() == "text-mlp"
    build_index(store, IndexOptions(Features.FUSED))
    check_whole(shelf)


def test_another_head_comes_into_use_when_the_last_is_left_out(shelf):
    add_model(OpenStore.open(shelf), "image-mlp")
    flip(one(shelf, "models/image-mlp-*/file"))
    api.verify(shelf, repair=True)
    assert OpenStore.open(shelf).manifest.model == "text-mlp"
    assert OpenStore.open(shelf).model_folder().joinpath("file").read_text() == "text-mlp"


def test_an_encoder_fitted_here_takes_its_space_with_it_and_is_fitted_again(tmp_path, capsys):
    path, catalogue = tmp_path / "shelf", catalogue_of(tmp_path / "a", FIRST)
    options = EmbedOptions(text="lexical", image="none")
    run(path, catalogue, options)
    before = tolists(vectors_of(path, TEXT))
    file = one(path, "models/lexical-*/lexical.safetensors")
    name = file.relative_to(path).as_posix()
    check_found(path, capsys, f"{name}: {flip(file)}; {REFITTED}")
    check_repaired(path, capsys, name)
    assert OpenStore.open(path).manifest.spaces == {}
    with pytest.raises(StoreError, match="no text space; run `vitrina embed`"):
        api.vectors(OpenStore.open(path), "text")
    report = run(path, catalogue, options)
    assert (report.spaces[0].unchanged, report.spaces[0].embedded) == (0, 5)
    check_whole(path)
    assert tolists(vectors_of(path, TEXT)) == before


def test_of_several_parts_only_the_products_of_the_damaged_one_are_lost(
    tmp_path, stubs, monkeypatch, capsys
):
    monkeypatch.setattr(products_module, "GROUP_ROWS", 2)
    monkeypatch.setattr(product_writer, "GROUP_ROWS", 2)
    monkeypatch.setattr(products_module, "PART_ROWS", 4)
    monkeypatch.setattr(product_writer, "PART_ROWS", 4)
    path, catalogue = tmp_path / "shelf", catalogue_of(tmp_path / "a", FIRST)
    run(path, catalogue)
    before = both(path)
    file = one(path, "products/part-00000-*")
    name = file.relative_to(path).as_posix()
    check_found(path, capsys, f"{name}: {flip(file)}; {REDONE}")
    check_repaired(path, capsys, name)
    store = OpenStore.open(path)
    assert store.products.ids.to_pylist() == [5, 6, 7, 8]
    assert pd.read_parquet(path / "products")["product_id"].tolist() == [5, 6, 7, 8]
    assert sorted(vectors_of(path, TEXT)) == [6, 7, 8]
    for stub in stubs.values():
        stub.seen.clear()
    report = run(path, catalogue)
    assert (report.new, report.unchanged, report.products) == (4, 4, 8)
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == ([], [])
    check_whole(path)
    assert both(path) == before


def test_each_damage_of_many_is_named(shelf, catalogue, stubs, capsys):
    before = both(shelf)
    lines = []
    for kind, damage in (("products", flip), ("text shard", cut), ("index", delete)):
        file = one(shelf, FILES[kind])
        what, way = damage(file), REMADE if kind == "index" else REDONE
        lines.append(f"{file.relative_to(shelf).as_posix()}: {what}; {way}")
    check_found(shelf, capsys, *lines)
    check_repaired(shelf, capsys, *sorted(line.partition(": ")[0] for line in lines))
    run(shelf, catalogue)
    check_whole(shelf)
    assert both(shelf) == before
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == (["чай"], [])


# -- damaged manifests ----------------------------------------------------------------------------


def test_a_newest_manifest_cut_short_is_named_and_the_commit_before_it_serves(
    shelf, catalogue, stubs, capsys
):
    before = both(shelf)
    head, older = one(shelf, FILES["head"]), int(manifests(shelf)[-2].stem)
    cut(manifests(shelf)[-1])
    name = f"manifests/{manifests(shelf)[-1].name}"
    with pytest.raises(StoreError, match=f"{name} is not a whole manifest") as refused:
        OpenStore.open(shelf)
    assert REPAIR in str(refused.value)
    line = f"{name}: cut short or changed; {REPAIR} goes back to commit {older}"
    check_found(shelf, capsys, line)
    assert api.verify(shelf).commit == older
    check_repaired(shelf, capsys, name)
    # What only that commit named is lost: the head.
    assert not head.exists()
    assert OpenStore.open(shelf).manifest.models == {}
    run(shelf, catalogue)
    check_whole(shelf)
    assert both(shelf) == before
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == ([], [])


def test_only_what_the_lost_commit_brought_is_embedded_again(tmp_path, stubs, capsys):
    path, options = tmp_path / "shelf", replace(STUBS, image="none")
    run(path, catalogue_of(tmp_path / "a", FIRST), options)
    more = catalogue_of(tmp_path / "b", [(9, "ёж", 10, None)])
    run(path, more, options)
    before = tolists(vectors_of(path, TEXT))
    newest = manifests(path)[-1]
    name, older = f"manifests/{newest.name}", int(manifests(path)[-2].stem)
    cut(newest)
    shard = one(path, "spaces/text-words/part-000003-*").relative_to(path).as_posix()
    check_found(
        path,
        capsys,
        f"{name}: cut short or changed; {REPAIR} goes back to commit {older}",
        notes=[
            "text-words: 1 products are not embedded yet; run `vitrina embed`",
            f"1 files that no commit names, such as {shard}: a killed run's; the next writer "
            "deletes them",
        ],
    )
    check_repaired(path, capsys, name)
    stubs[TEXT].seen.clear()
    run(path, more, options)
    assert stubs[TEXT].seen == ["ёж"]
    check_whole(path)
    assert tolists(vectors_of(path, TEXT)) == before


@pytest.mark.parametrize("at", [0, 1])
def test_an_older_manifest_cut_short_is_named_and_nothing_is_lost(
    shelf, catalogue, stubs, capsys, at
):
    before, newest = both(shelf), OpenStore.open(shelf).manifest
    assert len(manifests(shelf)) > 2
    cut(manifests(shelf)[at])
    name = f"manifests/{manifests(shelf)[at].name}"
    check_found(shelf, capsys, f"{name}: cut short or changed; {REPAIR} deletes it")
    check_repaired(shelf, capsys, name)
    assert replace(OpenStore.open(shelf).manifest, sequence=newest.sequence) == newest
    check_whole(shelf)
    run(shelf, catalogue)
    check_whole(shelf)
    assert both(shelf) == before
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == ([], [])


@pytest.mark.usefixtures("stubs")
def test_going_back_over_a_new_product_table_finds_the_old_one(shelf, tmp_path, capsys):
    before = both(shelf)
    relabelled = [(1, "чай", 99, RED), *FIRST[1:]]
    run(shelf, catalogue_of(tmp_path / "b", relabelled))
    newest = manifests(shelf)[-1]
    cut(newest)
    check_found(
        shelf,
        capsys,
        f"manifests/{newest.name}: cut short or changed; {REPAIR} goes back to commit "
        f"{int(newest.stem) - 1}",
    )
    check_repaired(shelf, capsys, f"manifests/{newest.name}")
    assert OpenStore.open(shelf).products.categories().ids == (10, 11)
    assert pd.read_parquet(shelf / "products")["product_id"].tolist() == list(range(1, 9))
    assert both(shelf) == before


@pytest.mark.usefixtures("stubs")
def test_going_back_over_a_compaction_finds_the_old_shards(shelf, capsys):
    before = both(shelf)
    api.compact(OpenStore.open(shelf))
    newest = manifests(shelf)[-1]
    cut(newest)
    assert len(api.verify(shelf).problems) == 1
    check_repaired(shelf, capsys, f"manifests/{newest.name}")
    assert both(shelf) == before
    assert len(list(shelf.glob("spaces/text-words/part-*"))) == 3


def test_a_file_that_only_an_older_commit_needs_is_named_and_forgotten_with_it(shelf, capsys):
    api.compact(OpenStore.open(shelf))
    before, older = both(shelf), int(manifests(shelf)[0].stem)
    file = one(shelf, "retired/spaces/text-words/part-000001-*")
    name = f"spaces/text-words/{file.name}"
    file.unlink()
    what = f"missing, and commit {older} needs it; {REPAIR} forgets older commits"
    check_found(shelf, capsys, f"{name}: {what}")
    check_repaired(shelf, capsys, name)
    check_whole(shelf)
    assert both(shelf) == before


def test_a_store_without_one_whole_manifest_is_refused_in_one_line(shelf, capsys):
    for file in manifests(shelf):
        cut(file)
    assert vitrina("verify", shelf, "--repair") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"vitrina: {manifests(shelf)[0]} is not a whole manifest")
    assert shown.err.count("\n") == 1


# -- shards that are what their checksum says and hold something else ------------------------------


def forge(path, change, rows=None, shard=0):
    """Put another shard in a text shard's place, in a commit that says it is right."""
    store = OpenStore.open(path)
    with store.writer("test") as writer:
        space = store.space(TEXT)
        shards = list(space.entry.shards)
        table = change(pq.read_table(path / shards[shard].path))
        pq.write_table(table, writer.scratch / "shard.parquet")
        named = partial(layout.shard, space.name, shard)
        rows = table.num_rows if rows is None else rows
        shards[shard] = writer.publish(writer.scratch / "shard.parquet", named, rows)
        entry = replace(space.entry, shards=tuple(shards))
        writer.commit(store.manifest.with_space(space.name, entry))
    return shards[shard].path


def with_vectors(table, vectors):
    flat = pa.array(vectors.reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return table.set_column(2, "embedding", column)


def vectors_in(table):
    return np.array(table.column("embedding").to_pylist(), np.float16)


def one_row_short(table):
    return table.slice(0, 2)


def shorter_vectors(table):
    return with_vectors(table, vectors_in(table)[:, :7].copy())


def wider_numbers(table):
    return with_vectors(table, vectors_in(table).astype(np.float32))


def lists_of_any_length(table):
    return table.set_column(2, "embedding", pa.array(table.column("embedding").to_pylist()))


def another_column(table):
    return table.rename_columns(["product_id", "hash", "embedding"])


def a_column_less(table):
    return table.drop_columns(["content_hash"])


def ids_of_another_kind(table):
    return table.set_column(0, "product_id", pa.array([1.0, 3.0, 7.0]))


def no_id(table):
    return table.set_column(0, "product_id", pa.array([1, None, 7]))


def no_hash(table):
    return table.set_column(1, "content_hash", pa.array(["0" * 32, "00", "x" * 32]))


def not_a_number(table):
    vectors = vectors_in(table)
    vectors[0, 3], vectors[2, 0] = np.nan, np.inf
    return with_vectors(table, vectors)


def of_length_two(table):
    return with_vectors(table, vectors_in(table) * np.array([[1], [2], [1]], np.float16))


def one_row_twice(table):
    return table.take([0, 1, 1])


FORGERIES = [
    (one_row_short, "2 rows instead of 3"),
    (
        shorter_vectors,
        "3 vectors of 7 float16 instead of 3 of 8 float16",
    ),
    (lists_of_any_length, "3 vectors of list<element: double> instead of 3 of 8 float16"),
    (wider_numbers, "3 vectors of 8 float32 instead of 3 of 8 float16"),
    (
        another_column,
        "its columns are product_id, hash, embedding, not product_id, content_hash, embedding",
    ),
    (
        a_column_less,
        "its columns are product_id, embedding, not product_id, content_hash, embedding",
    ),
    (
        ids_of_another_kind,
        "its column product_id is double, not int64 or string",
    ),
    (no_id, "its column product_id lacks values"),
    (no_hash, "a content hash is not 32 hexadecimal digits"),
    (not_a_number, "2 vectors hold numbers that are not finite"),
    (of_length_two, "1 vectors are not of length 1"),
    (one_row_twice, "1 rows occur twice"),
]


@pytest.mark.parametrize(("change", "what"), FORGERIES, ids=[one.__name__ for one, _ in FORGERIES])
@pytest.mark.slow
def test_a_shard_of_wrong_content_is_named_though_its_checksum_fits(
    shelf, catalogue, stubs, capsys, change, what
):
    before = both(shelf)
    name = forge(shelf, change, rows=3)
    check_found(shelf, capsys, f"{name}: {what}; {REDONE}")
    check_repaired(shelf, capsys, name)
    run(shelf, catalogue)
    check_whole(shelf)
    assert both(shelf) == before
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == (["чай"], [])


def test_a_shard_that_is_no_parquet_at_all_is_named(shelf):
    store = OpenStore.open(shelf)
    with store.writer("test") as writer:
        (writer.scratch / "shard.parquet").write_bytes(b"PAR1 and no more")
        named = partial(layout.shard, "text-words", 0)
        wrong = writer.publish(writer.scratch / "shard.parquet", named, 3)
        entry = store.space(TEXT).entry
        entry = replace(entry, shards=(wrong, *entry.shards[1:]))
        writer.commit(store.manifest.with_space("text-words", entry))
    (problem,) = api.verify(shelf).problems
    assert problem.file == wrong.path
    assert problem.what.startswith("can't be read as Parquet (")
    assert "\n" not in str(problem)


def test_vectors_of_zero_are_what_an_encoder_gives_for_words_it_does_not_know(shelf):
    forge(shelf, lambda table: with_vectors(table, vectors_in(table) * np.float16(0)))
    check_whole(shelf)


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize(("length", "right"), [(1 + 5e-6, True), (1 + 5e-5, False)])
def test_float32_vectors_must_be_closer_to_length_1_than_float16_ones(tmp_path, length, right):
    options = replace(STUBS, image="none", dtype="float32")
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", FIRST), options)

    def longer(table):
        vectors = np.array(table.column("embedding").to_pylist(), np.float32)
        return with_vectors(table, vectors * np.float32(length))

    forge(tmp_path / "shelf", longer)
    whats = [problem.what for problem in api.verify(tmp_path / "shelf").problems]
    assert whats == ([] if right else ["3 vectors are not of length 1"])


@pytest.mark.usefixtures("stubs")
def test_a_product_with_two_live_vectors_is_found_and_compact_mends_it(shelf, capsys):
    before = both(shelf)
    first = pq.read_table(one(shelf, FILES["text shard"]))
    # The row of product 1, of another direction, in the second shard as well.
    double = with_vectors(first.take([0]), np.eye(1, 8, dtype=np.float16))
    forge(shelf, lambda table: pa.concat_tables([table, double.cast(table.schema)]), shard=1)
    line = (
        "spaces/text-words: 1 products have more than one live vector; "
        "`vitrina compact STORE` keeps one of each"
    )
    check_found(shelf, capsys, line)
    # Leaving out a file would not help, and none is.
    assert vitrina("verify", shelf, "--repair") == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == line
    assert not any(line.startswith("left out") for line in shown)
    assert len(list(shelf.glob("spaces/text-words/part-*"))) == 3
    assert vitrina("compact", shelf) == 0
    check_whole(shelf)
    # The later row serves, before and after.
    before[TEXT][1] = [1, *[0] * 7]
    assert both(shelf) == before


@pytest.mark.usefixtures("stubs")
def test_products_that_stand_twice_are_found_and_embedding_mends_it(shelf, catalogue, capsys):
    before = both(shelf)
    store = OpenStore.open(shelf)
    with store.writer("test") as writer:
        (part,) = store.manifest.products
        table = pq.read_table(shelf / part.path)
        pq.write_table(pa.concat_tables([table, table.slice(2, 2)]), writer.scratch / "part")
        wrong = writer.publish(writer.scratch / "part", partial(layout.product_part, 0), 10)
        writer.commit(replace(store.manifest, products=(wrong,)))
    line = "products: 2 products occur twice; embed the catalogue again"
    check_found(shelf, capsys, line)
    assert vitrina("verify", shelf, "--repair") == 1
    assert not any(o.startswith("left out") for o in capsys.readouterr().out.splitlines())
    run(shelf, catalogue)
    check_whole(shelf)
    assert both(shelf) == before


# -- what is worth a note -------------------------------------------------------------------------


def test_a_stray_file_is_a_note_and_the_next_writer_deletes_it(shelf, capsys):
    whole = one(shelf, FILES["text shard"])
    stray = whole.with_name(whole.name.replace("000000", "000009"))
    shutil.copy(whole, stray)
    report = api.verify(shelf)
    note = (
        f"1 files that no commit names, such as spaces/text-words/{stray.name}: "
        "a killed run's; the next writer deletes them"
    )
    assert (report.problems, report.notes) == ([], [note])
    assert vitrina("verify", shelf) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"note: {note}"
    with OpenStore.open(shelf).writer("test"):
        pass
    assert not stray.exists()
    check_whole(shelf)


@pytest.mark.parametrize("damage", [flip, delete])
@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("spaces/text-words/space.json", "was changed; the next writer renews it"),
        ("spaces/image-colours/errors.parquet", "is not the newest; the next writer renews it"),
        ("errors.parquet", "is not the newest; the next writer renews it"),
    ],
)
def test_what_is_for_show_is_a_note_and_the_next_writer_renews_it(shelf, name, note, damage):
    content = (shelf / name).read_bytes()
    damage(shelf / name)
    report = api.verify(shelf)
    assert (report.problems, report.notes) == ([], [f"{name} {note}"])
    with OpenStore.open(shelf).writer("test"):
        pass
    assert (shelf / name).read_bytes() == content
    check_whole(shelf)


@pytest.mark.usefixtures("stubs")
def test_dead_rows_are_a_note(shelf, catalogue, tmp_path):
    few = catalogue_of(tmp_path / "b", [(1, "чай", 10, RED), (7, "квас", 11, None)])
    embed(few, OpenStore.open(shelf), replace(STUBS, prune=True, image="none", accept_changes=True))
    report = api.verify(shelf)
    assert report.ok
    assert report.notes == [
        "text-words: 6 of 8 rows are of products that changed or are gone; `vitrina compact` "
        "drops them",
        "image-colours: 4 of 6 rows are of products that changed or are gone; `vitrina compact` "
        "drops them",
    ]
    # Rows come back to life with their products; that of the changed title alone is dead.
    run(shelf, catalogue)
    assert api.verify(shelf).notes == [
        "text-words: 1 of 8 rows are of products that changed or are gone; `vitrina compact` "
        "drops them"
    ]


def test_products_without_a_vector_are_a_note(shelf):
    store = OpenStore.open(shelf)
    with store.writer("test") as writer:
        entry = store.manifest.spaces["text-words"]
        less = replace(entry, shards=entry.shards[1:])
        writer.commit(store.manifest.with_space("text-words", less))
    report = api.verify(shelf)
    note = "text-words: 3 products are not embedded yet; run `vitrina embed`"
    assert (report.problems, report.notes) == ([], [note])


# -- reading without verify -----------------------------------------------------------------------


def test_a_flipped_byte_in_vectors_is_found_by_whoever_reads_them(shelf):
    file = one(shelf, FILES["text shard"])
    data = bytearray(file.read_bytes())
    data[data.index(vectors_in(pq.read_table(file)).tobytes()) + 5] ^= 1
    file.write_bytes(data)
    told = f"{file} is damaged .*; run `vitrina verify STORE --repair`, then embed again"
    with pytest.raises(StoreError, match=told) as found:
        api.vectors(OpenStore.open(shelf), "text")
    assert "\n" not in str(found.value)
    store = OpenStore.open(shelf)
    with pytest.raises(StoreError, match=told):
        list(store.space(TEXT).stream(store.products))
    # The other space is whole.
    assert len(api.vectors(OpenStore.open(shelf), "image").ids) == 6


def flipped(file, places):
    """Flip one byte after another, and yield its place while it is."""
    good = file.read_bytes()
    for at in places:
        data = bytearray(good)
        data[at] ^= 1
        file.write_bytes(data)
        yield at
    file.write_bytes(good)


def footer(file):
    """Where a Parquet file's description of its pages begins and ends."""
    data = file.read_bytes()
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little"), len(data)


def named_or_right(path, file, expected):
    """Whether reading the text vectors ends in a line that names the file; else they are right."""
    message = ""
    try:
        got = tolists(vectors_of(path, TEXT))
    except StoreError as err:
        message = str(err)
    if not message:
        assert got == expected
        return False
    assert file.name in message
    assert "\n" not in message
    return True


def test_no_flipped_byte_of_a_shards_pages_gives_a_wrong_vector(shelf):
    file, expected = one(shelf, FILES["text shard"]), tolists(vectors_of(shelf, TEXT))
    places = range(4, footer(file)[0], 2)
    named = [named_or_right(shelf, file, expected) for _ in flipped(file, places)]
    # The others are in page headers, and mean nothing to the reader.
    assert np.mean(named) > 0.8


@pytest.mark.slow
def test_no_flipped_byte_of_a_shards_footer_gives_a_wrong_vector_or_a_traceback(shelf):
    file, expected = one(shelf, FILES["text shard"]), tolists(vectors_of(shelf, TEXT))
    places = range(*footer(file), 4)
    named = [named_or_right(shelf, file, expected) for _ in flipped(file, places)]
    assert np.mean(named) > 0.2


# -- the store's own card -------------------------------------------------------------------------


@pytest.mark.usefixtures("stubs")
def test_a_missing_card_is_named_and_written_anew(shelf):
    before = both(shelf)
    (shelf / "store.json").unlink()
    for create in (True, False):
        with pytest.raises(StoreError, match=r"store\.json is missing; .* --repair` writes it"):
            OpenStore.open(shelf, create=create)
    report = api.verify(shelf)
    assert [(one.file, one.what) for one in report.problems] == [("store.json", "missing")]
    api.verify(shelf, repair=True)
    check_whole(shelf)
    assert both(shelf) == before


def test_repair_tidies_up_after_one_that_was_killed_at_its_end(shelf):
    (shelf / ".tmp-writer").mkdir()
    (shelf / layout.OWNER).write_text("{}")
    sequence = OpenStore.open(shelf).manifest.sequence
    assert api.verify(shelf).ok
    assert (shelf / ".tmp-writer").exists()
    assert api.verify(shelf, repair=True).ok
    assert not [*shelf.glob(".tmp-*"), *shelf.glob(".lock-owner*")]
    assert OpenStore.open(shelf).manifest.sequence == sequence
