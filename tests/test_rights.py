"""Places that may only be read: said before any work is done, and an audit gives its report."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vitrina as vt
from vitrina.errors import CatalogueError, StoreError
from vitrina.pipelines.batch import check_place
from vitrina.store.files import check_file, check_folder

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
        store = vt.Store.open(folder / name)
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


def test_a_store_that_may_only_be_read_is_audited_and_the_report_written(shelf):
    commands = [
        ["audit", "indexed", "--out", "writable/report.html"],
        ["audit", "indexed", "--out", "writable/again.html", "--json"],
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
    assert json.loads(second[1])["recorded"] is False
    assert bare[0] == 1
    assert "no text index that is up to date" in bare[1]
    assert closed[0] == 1
    assert closed[1].startswith("vitrina: closed: nothing can be written there (Permission denied)")
    assert not list((shelf / "writable").glob("bare*"))
    assert vt.Store.open(shelf / "indexed").manifest.audit is None


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
    check_place(tmp_path / "file")
    check_file(tmp_path / "to be made" / "below" / "file")
    check_folder(tmp_path / "to be made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.parquet"]
    with pytest.raises(CatalogueError, match="no file that could be replaced"):
        check_place(tmp_path / "folder.parquet")
    with pytest.raises(CatalogueError, match="no file that could be replaced"):
        check_file(Path("/dev/null"))
    with pytest.raises(CatalogueError, match="there is no directory"):
        check_place(tmp_path / "gone" / "file")
    for inside in (tmp_path / "file" / "x", tmp_path / "file" / "y" / "x"):
        with pytest.raises(CatalogueError, match=r"nothing can be written there \("):
            check_file(inside)


def test_a_store_whose_disk_is_read_only_says_so(tmp_path, monkeypatch):
    import errno

    store = vt.Store.open(tmp_path / "store")
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
