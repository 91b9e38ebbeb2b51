"""A store from elsewhere touches nothing outside of itself, and what an owner put beside Vitrina's
files stays where it is."""

import hashlib
import json
import os
import shutil
import signal
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from support.cli import vitrina
from support.embedding import FIRST, SECOND, STUBS, catalogue_of, run, use_stubs
from support.stores import add_model, folder
from vitrina import api
from vitrina.errors import StoreError, StoreLockedError, VitrinaError, printable
from vitrina.pipelines.common.reading import remembered_models
from vitrina.pipelines.index.job import build_index
from vitrina.pipelines.index.options import IndexOptions
from vitrina.store import layout
from vitrina.store.compact import compact
from vitrina.store.decisions import decision_files, merge_decisions
from vitrina.store.files import replacing, to_json
from vitrina.store.lease import Lease
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import digest
from vitrina.store.manifest_reader import parse_manifest
from vitrina.store.names import Role, is_owner, is_plain, parse
from vitrina.store.owner import Owner
from vitrina.store.remote import RemoteFiles
from vitrina.store.store import OpenStore
from vitrina.types import Features, Modality

SPACE = "text-words"
DIGEST = "0123456789ab"
HEX = DIGEST + "c" * 52


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    """Nothing waits for long: opening a pipe would."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with two spaces, an index, a head, a trained encoder, an audit and some commits."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch.setattr)
        run(root / "shelf", catalogue_of(root / "a", FIRST))
    store = OpenStore.open(root / "shelf")
    build_index(store, IndexOptions(Features.FUSED))
    add_model(store, "text-mlp")
    with store.writer("test") as writer:
        manifest = store.manifest.with_encoder("ours", folder(writer, "ours"))
        (writer.scratch / "audit").mkdir()
        (writer.scratch / "audit/audit.json").write_text("{}")
        audit = writer.publish_folder(writer.scratch / "audit", layout.audit)
        text = replace(manifest.spaces[SPACE], encoder=manifest.encoders["ours"])
        writer.commit(manifest.with_audit(audit).with_space(SPACE, text))
    return root / "shelf"


@pytest.fixture
def shelf(made, tmp_path):
    """A copy, beside a file and a folder that are not the store's."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "victim.txt").write_text("precious")
    (outside / "folder/inner.parquet").write_text("precious too")
    return shutil.copytree(made, tmp_path / "shelf")


def contents(path):
    """Every file, folder and link below a place, by its name."""
    found = {}
    for one in sorted(path.rglob("*")):
        name = one.relative_to(path).as_posix()
        if one.is_symlink():
            found[name] = one.readlink()
        else:
            found[name] = one.read_bytes() if one.is_file() else None
    return found


def manifests(path):
    return sorted(path.glob("manifests/*.json"))


def forge(path, change, at=-1):
    """Change one manifest, and give it the checksum of what it says now."""
    file = manifests(path)[at]
    value = json.loads(file.read_bytes())
    value.pop("sha256")
    changed = change(value)
    value = value if changed is None else changed
    file.write_bytes(to_json({**value, "sha256": digest(value)}))
    return file


def work(path, catalogue):
    """What people do with a store; each ends well or in one line."""
    said = []
    for job in (
        lambda: run(path, catalogue, replace(STUBS, prune=True, accept_changes=True)),
        lambda: compact(OpenStore.open(path), keep=1),
        lambda: api.verify(path, repair=True),
        lambda: add_model(OpenStore.open(path), "another"),
        lambda: merge_decisions(OpenStore.open(path).files),
    ):
        try:
            job()
        except VitrinaError as err:
            said.append(str(err))
    assert all(line.isprintable() for line in said)


# -- names in a manifest ---------------------------------------------------------------------------


def at(*keys):
    """Where a manifest has a name: a getter of the entry that holds it."""

    def entry(value):
        for key in keys:
            value = value[key]
        return value

    return entry


PLACES = {
    "products": at("products", 0),
    "rejected": at("rejected"),
    "shard": at("spaces", SPACE, "shards", 0),
    "failures": at("spaces", "image-colours", "errors"),
    "space's encoder": at("spaces", SPACE, "encoder"),
    "file of a space's encoder": at("spaces", SPACE, "encoder", "files", 0),
    "index": at("indexes", "fused"),
    "file of an index": at("indexes", "fused", "files", 0),
    "head": at("models", "text-mlp"),
    "file of a head": at("models", "text-mlp", "files", 0),
    "encoder": at("encoders", "ours"),
    "file of an encoder": at("encoders", "ours", "files", 0),
    "audit": at("audit"),
    "file of an audit": at("audit", "files", 0),
}
BY_FINGERPRINT = ("encoder", "file of an encoder")
"""Old versions named these folders by the encoder, not by their files."""
NAMES = [
    "",
    "/",
    "/etc/hostname",
    "{outside}/victim.txt",
    "../outside/victim.txt",
    "models/../../outside/victim.txt",
    "spaces/text-words/../../../outside/victim.txt",
    "products/./part-00000-0123456789ab.parquet",
    "products//part-00000-0123456789ab.parquet",
    "products/part-0-0123456789ab.parquet",
    "products/part-000000-0123456789ab.parquet",
    "products/part-00000-0123456789AB.parquet",
    "products/part-00000-0123456789ab.parquet\n",
    "products/part-00000-0123456789ab.parquet\0",
    "products\\part-00000-0123456789ab.parquet",
    "products/notes.parquet",
    "spaces/other/part-000000-0123456789ab.parquet",
    "spaces/../part-000000-0123456789ab.parquet",
    "spaces/.hidden/part-000000-0123456789ab.parquet",
    "spaces/text-words/part-٠٠٠٠٠٠-0123456789ab.parquet",
    "spaces/\x1b[31m/part-000000-0123456789ab.parquet",
    "spaces/text-words/.errors-0123456789ab.parquet",
    "models/mine/model.json",
    "models/.-0123456789ab/model.json",
    "models/text-mlp-0123456789ab/../../store.json",
    "models/text-mlp-0123456789ab",
    "indexes/text-0123456789ab/index.faiss",
    "audits/other-0123456789ab/audit.json",
    "store.json",
    ".lock",
    "manifests/00000001.json",
    "decisions/20260101T000000000000-0123456789ab.parquet",
    "retired/products/part-00000-0123456789ab.parquet",
    "~/victim.txt",
    "a" * 5000,
    "models/" + "я" * 200 + "-0123456789ab/model.json",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_vitrina_does_not_make_there_is_refused(made, tmp_path, place):
    file = manifests(made)[-1]
    content = json.loads(file.read_bytes())
    parse_manifest(file.read_bytes(), "m.json")
    for name in NAMES:
        value = json.loads(json.dumps(content))
        value.pop("sha256")
        entry = PLACES[place](value)
        entry["path"] = name.format(outside=tmp_path)
        if "sha256" in entry:
            entry["sha256"] = HEX
        forged = to_json({**value, "sha256": digest(value)})
        with pytest.raises(StoreError, match=r"^m\.json is not a whole manifest \(") as refused:
            parse_manifest(forged, "m.json")
        assert str(refused.value).isprintable()
        assert "--repair` goes back to the commit before it" in str(refused.value)
        assert len(str(refused.value)) < 600


@pytest.mark.parametrize("place", [one for one in PLACES if one not in BY_FINGERPRINT])
def test_a_right_name_with_another_checksum_is_refused(made, place):
    file = manifests(made)[-1]
    value = json.loads(file.read_bytes())
    value.pop("sha256")
    entry = PLACES[place](value)
    if "sha256" in entry:
        entry["sha256"] = HEX.replace("c", "d").replace("0", "1")
    else:
        entry["path"] = entry["path"][: -layout.DIGEST] + DIGEST
    with pytest.raises(StoreError, match=r"carries another checksum|is not in|has no file"):
        parse_manifest(to_json({**value, "sha256": digest(value)}), "m.json")


@pytest.mark.usefixtures("stubs")
def test_what_a_store_without_manifests_holds_is_not_taken_for_leftovers(shelf, tmp_path):
    shutil.rmtree(shelf / "manifests")
    before = contents(shelf)
    with pytest.raises(StoreError, match=r"/manifests has no commit, and spaces/ has files: put"):
        run(shelf, catalogue_of(tmp_path / "b", SECOND))
    assert contents(shelf) == before


def test_a_part_of_the_product_table_without_rows_is_refused(made):
    value = json.loads(manifests(made)[-1].read_bytes())
    value.pop("sha256")
    value["products"][0]["rows"] = 0
    with pytest.raises(StoreError, match="of the product table has no rows"):
        parse_manifest(to_json({**value, "sha256": digest(value)}), "m.json")


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize(
    "name", ["models/../../outside/victim.txt", "{outside}/victim.txt", "../outside/victim.txt"]
)
@pytest.mark.parametrize("newest", [False, True])
def test_no_file_that_a_manifest_names_outside_is_touched(shelf, tmp_path, name, newest):
    before = contents(tmp_path / "outside")
    name = name.format(outside=tmp_path / "outside")
    entry = {"path": name, "rows": 0, "bytes": 8, "sha256": "0" * 64}

    def change(value):
        value["models"]["old"] = {"path": "models/x", "files": [entry]}
        value["rejected"] = entry
        value["products"].append(entry)
        value["spaces"][SPACE]["shards"].append(entry)

    for number in range(len(manifests(shelf)) - (not newest)):
        forge(shelf, change, number)
    catalogue = catalogue_of(tmp_path / "b", SECOND)
    if newest:
        with pytest.raises(StoreError, match="is not a whole manifest"):
            run(shelf, catalogue)
        with pytest.raises(StoreError, match="is not a whole manifest"):
            api.verify(shelf, repair=True)
    else:
        run(shelf, catalogue)
        report = api.verify(shelf, repair=True)
        assert (report.ok, report.problems) == (True, [])
    work(shelf, catalogue)
    assert contents(tmp_path / "outside") == before


# -- a manifest's other parts ----------------------------------------------------------------------


def setting(value, *keys):
    """A change that puts a value somewhere into a manifest."""

    def change(manifest):
        inside = manifest
        for key in keys[:-1]:
            inside = inside[key]
        inside[keys[-1]] = value

    return change


def lacking(key):
    return lambda manifest: {name: value for name, value in manifest.items() if name != key}


CARD = ("spaces", SPACE, "card")
WRONG = {
    "rows-negative": setting(-1, "products", 0, "rows"),
    "rows-huge": setting(2**63, "products", 0, "rows"),
    "rows-more-than-any": setting(2**40 + 1, "products", 0, "rows"),
    "rows-text": setting("8", "products", 0, "rows"),
    "rows-true": setting(True, "products", 0, "rows"),
    "bytes-float": setting(1.5, "products", 0, "bytes"),
    "bytes-infinite": setting(float("inf"), "products", 0, "bytes"),
    "sha256-short": setting("ab", "products", 0, "sha256"),
    "sha256-upper": setting("A" * 64, "products", 0, "sha256"),
    "sha256-null": setting(None, "products", 0, "sha256"),
    "path-number": setting(5, "products", 0, "path"),
    "products-null": setting(None, "products"),
    "products-object": setting({}, "products"),
    "products-nested": setting([[]], "products"),
    "spaces-list": setting([], "spaces"),
    "space-null": setting(None, "spaces", SPACE),
    "space-name": lambda value: (
        value["spaces"].update({"../x": value["spaces"][SPACE]}) or value["order"].append("../x")
    ),
    "order-short": setting([SPACE], "order"),
    "order-twice": setting([SPACE, SPACE], "order"),
    "order-number": setting(1, "order"),
    "active-unknown-modality": setting(SPACE, "active", "so\x1b[31mund"),
    "active-long-modality": setting(SPACE, "active", "s" * 100_000),
    "active-unknown-space": setting("nowhere", "active", "text"),
    "active-other-modality": setting("image-colours", "active", "text"),
    "reading-list": setting([], "reading"),
    "model-unknown": setting("nowhere", "model"),
    "model-number": setting(7, "model"),
    "step-text": setting("yes", "step"),
    "sequence-other": setting(3, "sequence"),
    "sequence-negative": setting(-1, "sequence"),
    "audit-text": setting("audits/x", "audit"),
    "index-empty": setting([], "indexes", "fused", "files"),
    "fingerprint-short": setting("ff", "spaces", SPACE, "fingerprint"),
    "fingerprint-other": setting("ff" * 32, "spaces", SPACE, "fingerprint"),
    "card-list": setting([], *CARD),
    "dim-huge": setting(10**9, *CARD, "dim"),
    "dim-zero": setting(0, *CARD, "dim"),
    "dim-text": setting("8", *CARD, "dim"),
    "dtype-object": setting({}, *CARD, "dtype"),
    "dtype-int8": setting("int8", *CARD, "dtype"),
    "modality-unknown": setting("sound", *CARD, "modality"),
    "model-of-card-null": setting(None, *CARD, "model"),
    "details-text": setting("x", *CARD, "details"),
    "deep": lambda value: setting(nested(100), "reading", "x")(value),
    **{f"no-{key}": lacking(key) for key in ("products", "spaces", "order", "reading", "model")},
}


def nested(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_manifest_of_wrong_parts_is_one_line_and_the_one_before_serves(shelf, wrong):
    number = int(forge(shelf, WRONG[wrong]).stem)
    with pytest.raises(StoreError, match=rf"{number:08d}\.json is not a whole manifest") as refused:
        OpenStore.open(shelf)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 800
    report = api.verify(shelf, repair=True)
    assert (report.repaired, report.ok) == ([f"manifests/{number:08d}.json"], False)
    assert OpenStore.open(shelf).manifest.spaces.keys() == {SPACE, "image-colours"}
    assert api.verify(shelf).problems == []


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize("lost", ["models", "text", "image"])
def test_a_manifest_that_lost_the_models_names_leads_to_no_hub(shelf, tmp_path, lost):
    def without(value):
        models = value["reading"] if lost == "models" else value["reading"]["models"]
        del models[lost]

    forge(shelf, without)
    store = OpenStore.open(shelf)
    assert remembered_models(store) == {Modality.TEXT: STUBS.text, Modality.IMAGE: STUBS.image}
    kept = dict(store.manifest.active)
    run(shelf, catalogue_of(tmp_path / "a", FIRST), replace(STUBS, text=None, image=None))
    assert OpenStore.open(shelf).manifest.active == kept


def test_a_manifest_of_format_2_without_encoders_and_audit_is_read(shelf):
    (shelf / "store.json").write_text('{"created": "2026-11-23T06:19:42+00:00", "format": 2}')

    def older(value):
        value["spaces"][SPACE]["encoder"] = None
        return {key: one for key, one in value.items() if key not in ("encoders", "audit")}

    forge(shelf, older)
    store = OpenStore.open(shelf)
    assert (store.manifest.encoders, store.manifest.audit) == ({}, None)
    with store.writer("test"):
        pass
    card = json.loads((shelf / "store.json").read_text())
    assert card == {"created": "2026-11-23T06:19:42+00:00", "format": 3}


JUNK = {
    "empty": b"",
    "zeros": bytes(100),
    "no-json": b"{",
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "deep-lists": b"[" * 200_000,
    "deep-objects": b'{"a":' * 200_000,
    "digits": b'{"format": ' + b"9" * 5000 + b"}",
    "utf-8": b'{"format": "\xff\xfe"}',
    "surrogate": b'{"format": 3, "created": "\\ud800"}',
    "format-text": b'{"format": "3"}',
    "format-float": b'{"format": 3.5}',
    "created-number": b'{"format": 3, "created": 7}',
    "escape": b'{"format": 3, "created": {"\\u001b[31m": 1}}',
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_for_a_card_or_a_manifest_is_one_line(shelf, name):
    for file, said in (
        (shelf / layout.CARD, r"store\.json is not |is of format"),
        (manifests(shelf)[-1], r"\.json is not a whole manifest"),
    ):
        good = file.read_bytes()
        file.write_bytes(JUNK[name])
        with pytest.raises(StoreError, match=said) as refused:
            OpenStore.open(shelf)
        assert str(refused.value).isprintable()
        file.write_bytes(good)
    # The way out that the message of a damaged card tells.
    (shelf / layout.CARD).unlink()
    api.verify(shelf, repair=True)
    assert api.verify(shelf).problems == []


@pytest.mark.parametrize(
    "name",
    ["٣.json", "²²²²²²²².json", "3.json", "000000003.json", f"{10**20}.json", "9" * 200 + ".json"],
)
def test_a_file_of_no_manifests_name_is_left_alone(shelf, name):
    (shelf / "manifests" / name).write_text("mine")
    report = api.verify(shelf, repair=True)
    assert (report.problems, len(report.notes)) == ([], 1)
    assert report.notes[0].startswith("1 files that are not Vitrina's, such as manifests/")
    add_model(OpenStore.open(shelf), "another")
    assert (shelf / "manifests" / name).read_text() == "mine"


def test_nothing_is_committed_that_could_not_be_read_again(shelf):
    store = OpenStore.open(shelf)
    with (
        store.writer("test") as writer,
        pytest.raises(StoreError, match="can't be committed that no space can be named"),
    ):
        writer.commit(store.manifest.with_space("a/b", store.manifest.spaces[SPACE]))
    assert OpenStore.open(shelf).manifest == store.manifest


# -- names -----------------------------------------------------------------------------------------


def test_every_name_of_the_layout_is_recognised():
    sure = {
        layout.product_part(7, HEX): (Role.PRODUCTS, "", 7),
        layout.product_part(123_456, HEX): (Role.PRODUCTS, "", 123_456),
        layout.shard("текст-рубин.v2", 12, HEX): (Role.SHARD, "текст-рубин.v2", 12),
        layout.shard("a b", 1_234_567, HEX): (Role.SHARD, "a b", 1_234_567),
        layout.errors_of_commit("", HEX): (Role.ERRORS, "", 0),
        layout.errors_of_commit(layout.space("я"), HEX): (Role.ERRORS, "я", 0),
        layout.index("fused", HEX) + "/index.faiss": (Role.INDEX, "fused", 0),
        layout.model("text-mlp-0123456789ab", HEX) + "/a/b/.c": (
            Role.MODEL,
            "text-mlp-0123456789ab",
            0,
        ),
        layout.audit(HEX) + "/audit.json": (Role.AUDIT, "audit", 0),
        layout.manifest(1): (Role.MANIFEST, "", 1),
        layout.manifest(123_456_789): (Role.MANIFEST, "", 123_456_789),
        layout.journal(HEX): (Role.JOURNAL, "", 0),
        layout.order(12, "ab" * 32, HEX): (Role.ORDER, "", 12),
        layout.order_result("ab" * 32, HEX): (Role.RESULT, "", 0),
    }
    told = {name: parse(name) for name in sure}
    assert {name: (one.role, one.owner, one.number) for name, one in told.items()} == sure
    assert {one.digest for one in told.values() if one.role is not Role.MANIFEST} == {DIGEST}
    assert told[layout.audit(HEX) + "/audit.json"].inside == "audit.json"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_layout_does_not_make_is_not_recognised(name):
    name = name.format(outside="/tmp")
    told = parse(name)
    assert told is None or told.digest == DIGEST or told.role is Role.MANIFEST
    for part in (f"../{name}", f"/{name}", f"{name}/..", f"{name}\0", f"{name}\\x", f"./{name}"):
        assert parse(part) is None
        assert not is_plain(part)


def test_owners_may_be_of_any_script_but_no_path():
    assert all(map(is_owner, ("text-rubert-tiny2", "текст", "名前", "a b", "a..b", "x" * 242)))
    no_parts = ("", ".", "..", ".a", "a/b", "a\\b", "x" * 243, "я" * 122)
    unprintable = ("a\n", "a\x1b[0m", "a\u202eb", "a\0", "\udcff")
    assert not any(map(is_owner, (*no_parts, *unprintable)))


# -- links, pipes, devices -------------------------------------------------------------------------

SPOTS = [
    layout.CARD,
    layout.LOCK,
    layout.OWNER,
    layout.SCRATCH,
    f"{layout.TEMPORARY}{layout.CARD}",
    layout.errors(""),
    *layout.FOLDERS,
    f"{layout.SPACES}/{SPACE}",
    f"{layout.SPACES}/{SPACE}/space.json",
    f"{layout.SPACES}/{SPACE}/part-000000-*",
    f"{layout.SPACES}/image-colours/.errors-*",
    f"{layout.PRODUCTS}/part-*",
    f"{layout.INDEXES}/fused-*",
    f"{layout.INDEXES}/fused-*/index.json",
    f"{layout.MODELS}/text-mlp-*",
    f"{layout.MODELS}/text-mlp-*/file",
    f"{layout.RETIRED}/{layout.PRODUCTS}",
    f"{layout.RETIRED}/{layout.MANIFESTS}",
    f"{layout.MANIFESTS}/*",
    f"{layout.MANIFESTS}/00000999.json",
]


def put(shelf, pattern, make):
    """Put something in the place of what a name leads to; of several, the last."""
    spot = max(shelf.glob(pattern), default=shelf / pattern)
    if spot.is_dir():
        shutil.rmtree(spot)
    spot.unlink(missing_ok=True)
    spot.parent.mkdir(parents=True, exist_ok=True)
    make(spot)
    return spot


KINDS = {
    "file": lambda spot, outside: spot.symlink_to(outside / "victim.txt"),
    "folder": lambda spot, outside: spot.symlink_to(outside / "folder"),
    "dangling": lambda spot, outside: spot.symlink_to(outside / "new"),
    "relative": lambda spot, outside: spot.symlink_to(
        os.path.relpath(outside / "folder", spot.parent)
    ),
    "loop": lambda spot, _: spot.symlink_to(spot),
    "up": lambda spot, _: spot.symlink_to(".."),
    "pipe": lambda spot, _: os.mkfifo(spot),
    "folder of its own": lambda spot, _: spot.mkdir(),
}


QUICK = ("folder", "pipe")
EACH = [
    pytest.param(spot, kind, marks=[] if kind in QUICK else pytest.mark.slow)
    for spot in SPOTS
    for kind in KINDS
]


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize(("pattern", "kind"), EACH)
def test_no_link_is_followed_out_of_the_store(shelf, tmp_path, pattern, kind):
    outside = tmp_path / "outside"
    before = contents(outside)
    spot = put(shelf, pattern, lambda spot: KINDS[kind](spot, outside))
    target = spot.readlink() if spot.is_symlink() else None
    work(shelf, catalogue_of(tmp_path / "b", SECOND))
    assert contents(outside) == before
    if target is not None and spot.is_symlink():
        assert spot.readlink() == target


@pytest.mark.parametrize(
    ("pattern", "job"),
    [
        (layout.LOCK, "write"),
        (layout.OWNER, "write"),
        (layout.SCRATCH, "write"),
        (layout.RETIRED, "write"),
        (layout.PRODUCTS, "read"),
        (layout.MANIFESTS, "open"),
        (layout.CARD, "open"),
    ],
)
def test_a_link_is_named_with_the_way_out(shelf, tmp_path, pattern, job):
    spot = put(shelf, pattern, lambda spot: spot.symlink_to(tmp_path / "outside/folder"))
    jobs = {
        "open": lambda: OpenStore.open(shelf),
        "write": lambda: add_model(OpenStore.open(shelf), "another"),
        "read": lambda: OpenStore.open(shelf).products.column("title"),
    }
    with pytest.raises(StoreError) as refused:
        jobs[job]()
    assert str(refused.value) == (
        f"{spot} is a symbolic link, and a store follows none; replace it by what it points to"
    )


def test_verify_names_a_link_in_the_place_of_a_live_file_and_repair_leaves_it(shelf, tmp_path):
    shard = next(shelf.glob(f"spaces/{SPACE}/part-000000-*"))
    elsewhere = tmp_path / "outside/shard"
    shutil.move(shard, elsewhere)
    shard.symlink_to(elsewhere)
    name = shard.relative_to(shelf).as_posix()
    (problem,) = api.verify(shelf, repair=True).problems
    assert str(problem) == (
        f"{name}: is a symbolic link, and a store follows none; replace it by what it points to"
    )
    assert shard.is_symlink()
    assert elsewhere.exists()
    shard.unlink()
    shutil.move(elsewhere, shard)
    assert api.verify(shelf).problems == []


def test_the_store_itself_may_be_a_link_and_its_parents(shelf, tmp_path):
    (tmp_path / "way").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(tmp_path / "way/shelf")
    store = OpenStore.open(tmp_path / "alias")
    add_model(store, "another")
    assert api.verify(tmp_path / "alias").problems == []
    assert OpenStore.open(shelf).manifest.model == "another"


@pytest.mark.parametrize("name", [layout.CARD, layout.OWNER, layout.LOCK, layout.errors("")])
def test_a_second_name_of_another_file_is_not_written(shelf, tmp_path, name):
    victim = tmp_path / "outside/victim.txt"
    (shelf / name).unlink(missing_ok=True)
    if name == layout.CARD:
        victim.write_text('{"format": 2}')
    before = victim.read_bytes()
    os.link(victim, shelf / name)
    try:
        run_all = catalogue_of(tmp_path / "b", SECOND)
        with pytest.MonkeyPatch.context() as patch:
            use_stubs(patch.setattr)
            run(shelf, run_all)
        refused = ""
    except StoreError as err:
        refused = str(err)
    assert victim.read_bytes() == before
    way_out = "delete it, then run `vitrina verify STORE`"
    wanted = f"{shelf / name} is a file that has another name too; {way_out}"
    assert refused == (wanted if name == layout.LOCK else "")


def test_a_socket_and_a_folder_in_the_place_of_a_file_are_refused(shelf):
    shard = next(shelf.glob(f"spaces/{SPACE}/part-000000-*"))
    shard.unlink()
    files = LocalFiles(shelf)
    name = shard.relative_to(shelf).as_posix()
    shard.mkdir()
    with pytest.raises(StoreError, match="is no file but a folder, a pipe or a device; delete it"):
        files.read(name)
    shard.rmdir()
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(shard.parent)
        try:
            listener.bind(shard.name)
        finally:
            os.chdir(here)
        for method in (files.read, files.open, files.local, files.size, files.delete):
            with pytest.raises(StoreError, match="is no file but a folder, a pipe or a device"):
                method(name)


@pytest.mark.parametrize("name", layout.FOLDERS)
@pytest.mark.parametrize("make", [os.mkfifo, Path.touch], ids=["pipe", "file"])
def test_a_pipe_and_a_file_in_the_place_of_a_folder_are_refused(shelf, name, make):
    # Or a store whose manifests can't be listed would be taken for a new one.
    path = shelf / name
    shutil.rmtree(path, ignore_errors=True)
    make(path)
    files = LocalFiles(shelf)
    for method in (files.names, files.entries, files.tree):
        with pytest.raises(StoreError, match=rf"^{path} is no folder; delete it, then run"):
            method(name)
    if name == layout.MANIFESTS:
        for create in (True, False):
            with pytest.raises(StoreError, match="is no folder"):
                OpenStore.open(shelf, create=create)


@pytest.mark.parametrize("name", ["../outside/victim.txt", "/etc/hostname", "a/../b", "a//b", "."])
def test_no_operation_takes_a_name_that_leads_out(shelf, tmp_path, name, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    both = LocalFiles(shelf), RemoteFiles(f"memory://{tmp_path.name}/x")
    before = contents(tmp_path)
    for files in both:
        for job in (
            files.exists,
            files.size,
            files.read,
            files.open,
            files.local,
            files.delete,
            files.names,
            files.tree,
            partial(files.create, content=b""),
            partial(files.move, target="a"),
            partial(files.move, "store.json"),
            partial(files.publish, tmp_path / "outside/victim.txt"),
        ):
            with pytest.raises(StoreError, match="is no name in a store") as refused:
                job(name)
            assert str(refused.value).isprintable()
    assert contents(tmp_path) == before


# -- what an owner put there -----------------------------------------------------------------------

OWNERS = [
    "README.md",
    ".gitattributes",
    ".tmp-mine",
    ".tmp-folder-notes.json",
    f".tmp-folder-{DIGEST}.json",
    ".errors-old.parquet",
    f".errors-{DIGEST}.parquet",
    "notes/part-00000-0123456789ab.parquet",
    "products/notes.parquet",
    "products/part-of-me.parquet",
    "products/part-00000.parquet",
    f"products/part-00000-{DIGEST}.parquet",
    f"products/deep/part-00000-{DIGEST}.parquet",
    f"spaces/{SPACE}/part-1.parquet",
    f"spaces/{SPACE}/part-000000-{DIGEST}.parquet",
    f"spaces/{SPACE}/.errors-{DIGEST}.parquet",
    "spaces/mine/part-000000.parquet",
    "indexes/mine/index.faiss",
    f"indexes/fused-{DIGEST}/index.faiss",
    f"models/mine-{DIGEST}/readme.txt",
    "models/rubert/config.json",
    f"audits/audit-{DIGEST}/audit.json",
    "audits/notes.txt",
    "retired/backup.zip",
    f"retired/products/part-00000-{DIGEST}.parquet",
    f"retired/models/mine-{DIGEST}/model.json",
    "retired/manifests/00000001.json",
    "decisions/notes.parquet",
    "decisions/20260101T000000000000-x.parquet",
    "manifests/notes.json",
    "manifests/00000001.json.bak",
    "наблюдения/заметки.txt",
    "\x1b[31mred",
    os.fsdecode(b"bytes-\xff"),
]


@pytest.mark.usefixtures("stubs")
def test_what_an_owner_put_into_a_store_stays_through_all_jobs(shelf, tmp_path):
    for name in OWNERS:
        (shelf / name).parent.mkdir(parents=True, exist_ok=True)
        assert not (shelf / name).exists()
        (shelf / name).write_text(f"mine: {name!r}")
    (shelf / "products/empty").mkdir()
    (shelf / "products/link").symlink_to(tmp_path / "outside/folder")
    build_index(OpenStore.open(shelf), IndexOptions(Features.TEXT))
    work(shelf, catalogue_of(tmp_path / "b", SECOND))
    for name in OWNERS:
        assert (shelf / name).read_text() == f"mine: {name!r}"
    assert (shelf / "products/empty").is_dir()
    assert (shelf / "products/link").is_symlink()
    assert (tmp_path / "outside/folder/inner.parquet").read_text() == "precious too"
    report = api.verify(shelf)
    assert report.problems == []
    (note,) = [one for one in report.notes if "not Vitrina's" in one]
    assert note == (
        f"{len(OWNERS)} files that are not Vitrina's, such as \\u001b[31mred; they are left alone"
    )
    assert json.dumps(report.to_json(), ensure_ascii=False).encode()


def test_a_file_of_decisions_put_aside_takes_no_other_ones_place(shelf):
    name = f"decisions/20260101T000000000000-{DIGEST}.parquet"
    (shelf / "decisions").mkdir()
    (shelf / f"{name}.damaged").write_text("mine")
    (shelf / name).write_text("no decisions")
    assert decision_files(LocalFiles(shelf)) == [name]
    report = api.verify(shelf, repair=True)
    assert report.repaired == [name]
    assert (shelf / f"{name}.damaged").read_text() == "mine"
    assert (shelf / f"{name}.damaged-2").read_text() == "no decisions"
    assert (api.verify(shelf).problems, api.verify(shelf).notes) == ([], [])


# -- what a killed writer left ---------------------------------------------------------------------


class Killed(BaseException):
    """Ends a writer with nothing of its own done any more."""


def kill_in(method, times):
    """A stand-in that ends the process's work at its nth call."""
    count = []

    def stopped(self, *arguments):
        count.append(1)
        if len(count) > times:
            raise Killed
        return method(self, *arguments)

    return stopped


def put_index(store, content):
    with store.writer("test") as writer:
        made = writer.scratch / "made"
        made.mkdir()
        for name in "abcd":
            (made / name).write_text(content + name)
        entry = writer.publish_folder(made, partial(layout.index, "text"))
        writer.commit(store.manifest.with_index("text", entry))


def names_of(path):
    return {name for name, content in contents(path).items() if content is not None}


@pytest.mark.parametrize("times", range(0, 12, 2))
def test_a_writer_killed_at_any_rename_leaves_nothing_that_stays(shelf, monkeypatch, times):
    store = OpenStore.open(shelf)
    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "publish", kill_in(LocalFiles.publish, times))
        patch.setattr(LocalFiles, "create", kill_in(LocalFiles.create, times))
        with pytest.raises(Killed):
            [put_index(store, content) for content in "xyz"]
    report = api.verify(shelf)
    assert report.problems == []
    assert not any("not Vitrina's" in note for note in report.notes)
    with OpenStore.open(shelf).writer("test"):
        pass
    assert not list(shelf.glob(".tmp-*"))
    history = [parse_manifest(file.read_bytes(), "m") for file in manifests(shelf)]
    there = {path.relative_to(shelf).as_posix() for path in shelf.glob("indexes/*/*")}
    assert there <= frozenset().union(*(one.names for one in history))
    assert api.verify(shelf).notes == []


@pytest.mark.parametrize("times", range(0, 24, 4))
def test_a_writer_killed_while_it_forgets_a_commit_is_finished_by_the_next(
    shelf, monkeypatch, times
):
    store = OpenStore.open(shelf)
    for content in "uvw":
        put_index(store, content)
    ended = False
    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "delete", kill_in(LocalFiles.delete, times))
        try:
            for content in "xyz":
                put_index(store, content)
            compact(store, keep=1)
        except Killed:
            ended = True
    assert ended
    report = api.verify(shelf)
    assert report.problems == []
    assert not any("not Vitrina's" in note for note in report.notes)
    compact(OpenStore.open(shelf), keep=1)
    assert api.verify(shelf).notes == []
    live = OpenStore.open(shelf).manifest.indexes["text"].path
    assert [path.name for path in shelf.glob("indexes/text-*")] == [live.split("/")[1]]
    assert not any(path.is_file() for path in (shelf / "retired").rglob("*"))


def test_a_journal_gives_no_right_to_a_file_of_another_content(shelf):
    mine = f"models/mine-{DIGEST}/config.json"
    (shelf / mine).parent.mkdir(parents=True)
    (shelf / mine).write_text("mine")
    for content in (
        [[mine, HEX], ["../outside/victim.txt", HEX], ["/etc/hostname", HEX]],
        {"a": 1},
        [[1, 2]],
        nested(50),
    ):
        encoded = to_json(content)
        name = layout.journal(hashlib.sha256(encoded).hexdigest())
        (shelf / name).write_bytes(encoded)
        with OpenStore.open(shelf).writer("test"):
            pass
        assert (shelf / mine).read_text() == "mine"


# -- owners, leases, buckets -----------------------------------------------------------------------

OWNER_JUNK = [
    *JUNK.values(),
    b'{"job": 1, "pid": 2, "host": "x", "boot": "", "started": ""}',
    b'{"job": "x", "pid": "../../etc", "host": "x", "boot": "", "started": ""}',
    b'{"job": "x", "pid": -1, "host": "x"}',
    b'{"job": "x", "pid": 99999999999, "host": "x"}',
    b'{"job": null, "pid": 2, "host": {}}',
]


def test_junk_for_the_record_of_a_writer_is_ignored(shelf):
    for junk in OWNER_JUNK:
        (shelf / layout.OWNER).write_bytes(junk)
        with OpenStore.open(shelf).writer("test"):
            assert json.loads((shelf / layout.OWNER).read_text())["job"] == "test"
        assert not (shelf / layout.OWNER).exists()


def test_the_message_of_a_second_writer_steers_no_terminal(shelf):
    with OpenStore.open(shelf).writer("embed"):
        told = json.loads((shelf / layout.OWNER).read_text())
        told |= {"job": "\x1b]0;x\x07em\nbed", "host": "h\x9b31m\u202e" + "x" * 1000}
        (shelf / layout.OWNER).write_text(json.dumps(told))
        with pytest.raises(StoreLockedError) as refused, OpenStore.open(shelf).writer("train"):
            pass
        assert str(refused.value).isprintable()
        assert "`vitrina \\u001b]0;x\\u0007em bed` (process " in str(refused.value)
        assert len(str(refused.value)) < 500
        (shelf / layout.OWNER).write_bytes(b"[" * 200_000)
        with (
            pytest.raises(StoreLockedError, match="is being written by another process"),
            OpenStore.open(shelf).writer("train"),
        ):
            pass


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    return f"memory://{tmp_path.name}/shelf"


def test_junk_for_a_lease_is_taken_over(bucket):
    with OpenStore.open(bucket, create=True).writer("test"):
        pass
    files = RemoteFiles(bucket)
    owner = {**Owner.me("embed").to_json(), "host": "elsewhere"}
    for junk in (
        *OWNER_JUNK,
        json.dumps({"token": 1, "renewed": 0, "owner": owner}).encode(),
        json.dumps({"token": "x", "renewed": "now", "owner": owner}).encode(),
        json.dumps({"token": "x", "renewed": float("nan"), "owner": owner}).encode(),
        json.dumps({"token": "x", "renewed": 1e300, "owner": owner}).encode(),
        json.dumps({"token": "x", "renewed": 0, "owner": [owner]}).encode(),
    ):
        files.write(layout.LOCK, junk)
        with OpenStore.open(bucket).writer("train"):
            assert json.loads(files.read(layout.LOCK))["owner"]["job"] == "train"
    assert not files.exists(layout.LOCK)


def test_a_lease_of_another_machine_is_kept_to(bucket):
    files = RemoteFiles(bucket)
    with OpenStore.open(bucket, create=True).writer("embed"):
        told = json.loads(files.read(layout.LOCK))
        told["owner"] |= {"host": "else\x1bwhere", "job": "a\rb"}
        files.write(layout.LOCK, json.dumps(told).encode())
        with pytest.raises(StoreLockedError) as refused, OpenStore.open(bucket).writer("train"):
            pass
        assert str(refused.value).isprintable()
        assert isinstance(Lease(files, "x"), Lease)


def test_objects_with_names_that_lead_out_are_not_listed_nor_fetched(bucket, tmp_path):
    store = OpenStore.open(bucket, create=True)
    add_model(store, "text-mlp")
    files = store.files
    for name in ("models/../../escaped", "products//x", "a/./b", "spaces/\x1b[31m/y"):
        files._fs.pipe_file(f"{files._root}/{name}", b"theirs")
    assert all(map(is_plain, files.tree("")))
    with OpenStore.open(bucket).writer("test"):
        pass
    assert api.verify(bucket).problems == []
    assert not (tmp_path / "escaped").exists()
    with pytest.raises(StoreError, match="is no name in a store"):
        files.local("models/../../escaped")


def test_only_copies_of_a_stores_files_are_deleted_from_the_cache(bucket):
    store = OpenStore.open(bucket, create=True)
    add_model(store, "text-mlp")
    copied = store.model_folder() / "file"
    cache = store.files._cache
    ours = cache / layout.shard("s", 3, HEX)
    mine = [cache / name for name in ("notes.txt", "models/mine/x", "products/part.parquet")]
    for path in (ours, *mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (cache / "link").symlink_to(cache.parent)
    with OpenStore.open(bucket).writer("test"):
        pass
    assert copied.exists()
    assert not ours.exists()
    assert all(path.read_text() == "x" for path in mine)
    assert (cache / "link").is_symlink()


def test_a_card_with_holes_is_not_read_into_memory(shelf):
    for file in (shelf / layout.CARD, manifests(shelf)[-1]):
        good = file.read_bytes()
        with file.open("wb") as hollow:
            hollow.truncate(1 << 40)
        with pytest.raises(StoreError, match=r" is larger than 1024 MiB; delete it"):
            OpenStore.open(shelf)
        file.write_bytes(good)


# -- terminals, and files that are written beside --------------------------------------------------


def test_what_a_stranger_wrote_steers_no_terminal(tmp_path, capsys):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/store.json").write_text('{"format": {"\\u001b[2J": 1}}')
    assert vitrina("info", f"{tmp_path}/shelf") == 1
    assert vitrina("info", f"{tmp_path}/she\x1b[31mlf") == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 2
    assert shown.replace("\n", "").isprintable()
    assert "she\\u001b[31mlf" in shown


def test_printable_text_is_left_as_it_is():
    whole = "Витрина «Чай» – 25\u00a0₽\t🍵\nشاي"
    assert printable(whole) == whole
    steering = "\x00\x1b\x7f\x9b\r\u202e\u2028\udc80"
    assert json.loads(f'"{printable(steering)}"') == steering


def test_a_file_is_not_written_through_a_link_in_the_place_of_its_beginning(tmp_path):
    (tmp_path / "victim").write_text("precious")
    for kind in (os.symlink, os.link):
        kind(tmp_path / "victim", tmp_path / ".tmp-out.json")
        with replacing(tmp_path / "out.json") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "victim").read_text() == "precious"
        assert (tmp_path / "out.json").read_text() == "new"
        assert not (tmp_path / "out.json").is_symlink()
