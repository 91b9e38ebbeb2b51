"""Rights: a place that may only be read is told before work is done, and a store grants none."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import vitrina as vt
from vitrina.data.options import Columns, ReadingOptions
from vitrina.data.product import Product
from vitrina.data.sources import open_images
from vitrina.data.sources.folder import FolderImages
from vitrina.errors import CatalogueError, ImageError, ImageSourceError, StoreError
from vitrina.pipelines.common.product_inputs import remembered_images
from vitrina.pipelines.common.reading import open_as_remembered, remembered_models
from vitrina.store.files import check_file, check_folder
from vitrina.tables.destination import Destination, TableFormat

SETPRIV = shutil.which("setpriv")
NOBODY = 65534

RUNS = """
import contextlib, io, json, os, sys
import vitrina.cli
os.chdir(sys.argv[1])
found = []
for arguments in json.loads(sys.argv[2]):
    sys.argv = ["vitrina", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            vitrina.cli.main()
        code = 0
    except SystemExit as err:
        code = err.code
    found.append([code, said.getvalue()])
sys.__stdout__.write(json.dumps(found))
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a catalogue and an indexed store, neither of which may be written to."""
    folder = tmp_path_factory.mktemp("rights")
    words = ["чашка", "майка", "чай"]
    rows = (
        {"product_id": at, "title": f"{words[at % 3]} {at} модель {at * 31}", "category_id": at % 3}
        for at in range(90)
    )
    path = folder / "c.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    for name in ("indexed", "bare"):
        store = vt.Store.open(folder / name, create=True)
        vt.embed(vt.Catalogue.read(path), store, text="lexical", image="none")
        if name == "indexed":
            vt.build_index(store)
            vt.train(store, "logistic")
    (folder / "writable").mkdir()
    (folder / "closed").mkdir()
    for path in (folder, *folder.rglob("*")):
        if path.name != "writable":
            path.chmod(0o555 if path.is_dir() else 0o444)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def without_rights(folder: Path, *commands: list[str]) -> list[tuple[int, str]]:
    """Run commands as somebody to whom modes apply."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        if SETPRIV is None:
            pytest.skip("root may write anywhere, and there is no setpriv to give that up")
        prefix = [SETPRIV, "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        [*prefix, sys.executable, "-c", RUNS, str(folder), json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return [(code, said) for code, said in json.loads(done.stdout)]


@pytest.mark.slow
def test_a_store_that_may_only_be_read_is_audited_and_the_report_written(shelf):
    commands = [
        ["audit", "indexed", "--out", "writable/report.html", "--folds", "2"],
        ["audit", "indexed", "--out", "writable/again.html", "--folds", "2", "--json"],
        ["audit", "bare", "--out", "writable/bare.html"],
        ["audit", "indexed", "--out", "closed/report.html"],
    ]
    first, second, bare, closed = without_rights(shelf, *commands)
    assert first[0] == 0, first
    assert "may only be read: the audit goes to writable/report.html" in first[1]
    assert "not recorded in the store, which may only be read" in first[1]
    assert (shelf / "writable" / "report.html").stat().st_size > 1000
    assert (shelf / "writable" / "report.parquet").exists()
    assert second[0] == 0
    # Warnings, on standard error, come first.
    assert json.loads(second[1][second[1].index("{") :])["recorded"] is False
    assert bare[0] == 1
    assert "no text index that is up to date" in bare[1]
    assert closed[0] == 1
    assert closed[1].startswith("vitrina: closed: nothing can be written there (Permission denied)")
    assert not list((shelf / "writable").glob("bare*"))
    assert vt.Store.open(shelf / "indexed").manifest.audit is None


@pytest.mark.slow
def test_what_would_write_in_the_end_says_so_at_once(shelf):
    stores = [
        ["train", "indexed"],
        ["index", "indexed", "--rebuild"],
        ["finetune", "indexed", "--model", "nowhere"],
        ["pretrain", "indexed", "--model", "nowhere"],
        ["compact", "indexed"],
        ["embed", "c.jsonl", "--store", "indexed"],
        ["embed", "c.jsonl", "--store", "closed/new", "--text-model", "lexical"],
        ["review", "indexed"],
    ]
    outs = [
        ["classify", "c.jsonl", "--store", "indexed", "--out", "closed/p.parquet"],
        ["neighbours", "indexed", "--queries", "c.jsonl", "--out", "closed/n.parquet"],
        ["decisions", "indexed", "--export", "closed/d.csv"],
        ["benchmark", "c.jsonl", "--out", "closed/benchmark", "--text-model", "lexical"],
    ]
    told = without_rights(shelf, *stores, *outs)
    for command, (code, said) in zip(stores, told, strict=False):
        assert code == 1, (command, said)
        assert said.count("\n") == 1, (command, said)
        assert "this process may not write to the store (Permission denied)" in said, command
    for command, (code, said) in zip(outs, told[len(stores) :], strict=True):
        assert code == 1, (command, said)
        assert said.count("\n") == 1, (command, said)
        assert "nothing can be written there (Permission denied)" in said, command


def test_where_no_file_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.parquet").mkdir()
    check_file(tmp_path / "file")
    Destination(tmp_path / "file", TableFormat.PARQUET).check()
    check_file(tmp_path / "to be made" / "below" / "file")
    check_folder(tmp_path / "to be made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.parquet"]
    with pytest.raises(CatalogueError, match="no file that could be replaced"):
        Destination(tmp_path / "folder.parquet", TableFormat.PARQUET).check()
    with pytest.raises(CatalogueError, match="no file that could be replaced"):
        check_file(Path("/dev/null"))
    with pytest.raises(CatalogueError, match="there is no directory"):
        Destination(tmp_path / "gone" / "file", TableFormat.PARQUET).check()
    for inside in (tmp_path / "file" / "x", tmp_path / "file" / "y" / "x"):
        with pytest.raises(CatalogueError, match=r"nothing can be written there \("):
            check_file(inside)


def test_a_store_whose_disk_is_read_only_says_so(tmp_path, monkeypatch):
    import errno

    store = vt.Store.open(tmp_path / "store", create=True)
    store.check_rights()
    assert not (tmp_path / "store").exists()

    def refuse(_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("vitrina.store.local.probe", refuse)
    with pytest.raises(StoreError, match=r"may not write to the store \(Read-only file system\)"):
        store.check_rights()


def test_a_bucket_is_tried(tmp_path):
    from vitrina.store.files import Files
    from vitrina.store.remote import RemoteFiles

    files: Files = RemoteFiles(f"memory://rights-{tmp_path.name}")
    files.check_rights()
    assert files.names("") == []


# -- a store grants no rights ---------------------------------------------------------------------


GRANTING = {
    "workers": 10**9,
    "max_bytes": 10**12,
    "timeout": 1e9,
    "tries": 10**6,
    "allow_private": True,
    "cache": "/tmp/a-strangers-place",
}


@pytest.fixture
def granting(tmp_path, monkeypatch):
    """A store whose manifest grants all there is: photos from the web of this machine, kept where
    a stranger likes; and a file of products to classify by it."""
    monkeypatch.delenv("VITRINA_ALLOW_PRIVATE", raising=False)
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "c.jsonl"
    rows = ({"product_id": at, "title": f"чашка {at}", "pic": "http://x/1.jpg"} for at in range(9))
    path.write_text("\n".join(json.dumps(row) for row in rows))
    store = vt.Store.open(tmp_path / "store", create=True)
    columns = Columns(image="pic")
    catalogue = vt.Catalogue.read(path, columns=columns, images="web")
    vt.embed(catalogue, store, text="lexical", image="none")
    catalogue.close()
    with store.writer("embed") as writer:
        reading = json.loads(json.dumps(store.manifest.reading))
        reading["catalogue"] |= {"fetching": GRANTING, "photos": 10**9}
        reading["sources"][0]["reading"] = reading["catalogue"]
        writer.commit(replace(store.manifest, reading=reading))
    return vt.Store.open(tmp_path / "store"), path


def test_rights_in_a_manifest_count_for_nothing(granting, caplog):
    store, path = granting
    for source in (None, ""):
        catalogue = open_as_remembered(store, path, ReadingOptions(source=source))
        fetching = catalogue.reading.fetching
        assert (fetching.private_allowed, fetching.cache) == (False, None)
        assert (fetching.workers, fetching.tries, catalogue.reading.photos) == (256, 20, 1000)
        assert (fetching.max_bytes, fetching.timeout) == (1 << 30, 3600.0)
        with pytest.raises(ImageError, match=r"private address refused: 127\.0\.0\.1"):
            catalogue.images.read("http://127.0.0.1/1.jpg")
        catalogue.close()
    assert not Path(GRANTING["cache"]).exists()
    said = [one.getMessage() for one in caplog.records]
    note = (
        "the store was embedded with --allow-private, which is no longer recorded: give it "
        "again, or set VITRINA_ALLOW_PRIVATE=1"
    )
    assert said == [note, note]


def test_rights_come_from_the_command_and_from_the_users_environment(granting, caplog, monkeypatch):
    store, path = granting

    def allowed(given):
        catalogue = open_as_remembered(store, path, ReadingOptions(allow_private=given))
        catalogue.close()
        return catalogue.reading.fetching.private_allowed

    assert [allowed(given) for given in (True, False)] == [True, False]
    monkeypatch.setenv("VITRINA_ALLOW_PRIVATE", "1")
    assert [allowed(given) for given in (None, True, False)] == [True, True, False]
    assert not caplog.records
    monkeypatch.setenv("VITRINA_ALLOW_PRIVATE", "0")
    assert not allowed(None)
    assert len(caplog.records) == 1


def test_no_right_is_written_into_a_store(granting):
    store, path = granting
    given = ReadingOptions(allow_private=True)
    catalogue = open_as_remembered(store, path, given, complete=True)
    catalogue = replace_fetching(catalogue, cache="/tmp/mine")
    vt.embed(catalogue, store, text="lexical", image="none")
    catalogue.close()
    reading = vt.Store.open(store.place).manifest.reading
    for stored in (reading["catalogue"], reading["sources"][0]["reading"]):
        assert set(stored["fetching"]) == {"workers", "max_bytes", "timeout", "tries"}
    told = json.dumps(json.loads(json.dumps(reading)))
    assert "allow_private" not in told
    assert "/tmp/mine" not in told


def replace_fetching(catalogue, **changes):
    fetching = replace(catalogue.reading.fetching, **changes)
    catalogue.reading = replace(catalogue.reading, fetching=fetching)
    return catalogue


def test_photos_of_a_store_are_fetched_from_no_private_address(granting, caplog):
    store, _ = granting
    source = remembered_images(store)
    with pytest.raises(ImageError, match=r"private address refused: 127\.0\.0\.1"):
        source.read("http://127.0.0.1/1.jpg")
    source.close()
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "models", [[], "text", {"text": 5}, {"smell": "x"}, {"text": ["x"]}, {"text": None}]
)
def test_names_of_models_that_are_none(models, granting):
    store, _ = granting
    with store.writer("embed") as writer:
        reading = {**store.manifest.reading, "models": models}
        writer.commit(replace(store.manifest, reading=reading))
    with pytest.raises(StoreError, match=r"the list of models in .* is not .*backup"):
        remembered_models(store)


def test_no_name_leads_out_of_the_photos_folder(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").write_bytes(b"photo")
    images = FolderImages(str(tmp_path / "photos"))
    assert images.read("1.jpg") == b"photo"
    for name in ("../secret.jpg", "x/../../secret.jpg", "/../secret.jpg", "a/../../secret.jpg"):
        with pytest.raises(ImageError, match="leads outside"):
            images.read(name)
    # An absolute path is one below the folder.
    with pytest.raises(ImageError, match="No such file"):
        images.read(str(tmp_path / "secret.jpg"))
    template = replace(images, template="../{product_id}.jpg")
    for found in template.references(Product(1, "secret", "")):
        with pytest.raises(ImageError, match="leads outside"):
            template.read(found)
    for stranger in ("../../secret", "/etc/passwd\0", "{0.__class__}"):
        assert all(
            ".." in one
            for one in replace(images, template="{product_id}.jpg").references(
                Product(1, stranger, "")
            )
        )


def test_a_pipe_and_a_device_are_no_photos(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    images = FolderImages(str(tmp_path))
    for name in ("pipe.jpg", "zero.jpg"):
        assert not images.exists(name)
        with pytest.raises(ImageError, match="not a file"):
            images.read(name)
    os.mkfifo(tmp_path / "pipe.tar")
    for place in (tmp_path / "pipe.jpg", tmp_path / "zero.jpg", tmp_path / "pipe.tar"):
        with pytest.raises(ImageSourceError, match="no folder, zip or tar archive; give --images"):
            open_images(place, template=None, photos=1, sample=(), splits=())
    (tmp_path / "pipe.jpg").unlink()
    (tmp_path / "zero.jpg").unlink()
    with pytest.raises(ImageSourceError, match=r"pipe\.tar: no regular file"):
        open_images(tmp_path, template=None, photos=1, sample=(), splits=())


@pytest.mark.parametrize("place", ["a\0b", "x" * 5000, "file/below"])
def test_what_is_no_path_holds_no_photos(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageSourceError, match="give --images a folder"):
        open_images(tmp_path / place, template=None, photos=1, sample=(), splits=())


@pytest.mark.parametrize("encoding", ["rot13", "base64", "zip", "a\0b", "klingon"])
@pytest.mark.parametrize("name", ["a.csv", "a.yml"])
def test_what_is_no_text_encoding_reads_no_catalogue(name, encoding, tmp_path):
    path = tmp_path / name
    feed = "<yml_catalog><shop><name>x</name><offers></offers></shop></yml_catalog>"
    path.write_text(feed if name == "a.yml" else "product_id,title\n1,a\n")
    with pytest.raises(CatalogueError, match="unknown --encoding"):
        vt.Catalogue.read(path, encoding=encoding)
