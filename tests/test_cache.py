"""The cache is the user's own, and compiled code in it is used only where nobody else may write."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import vitrina
from vitrina.cache import (
    PURPOSES,
    TAG,
    CacheKind,
    cache_folder,
    cache_usage,
    clear_cache,
    is_private,
    private_folder,
)
from vitrina.errors import CacheError

PACKAGE = "vitrina_kernels"
KERNEL = """
from vitrina.jit import compiled
from {package}.other import more

@compiled
def fill(out):
    for at in range(len(out)):
        out[at] = {value} + more(at)
"""
OTHER = """
from vitrina.jit import inlined

@inlined
def more(at):
    return {value}
"""
RUN = """
from vitrina import logs
logs.configure()
import sys
import numpy as np
from {package}.kernel import fill
out = np.zeros(1)
fill(out)
fill(out)
stats = fill.stats
print(out[0], sum(stats.cache_hits.values()), stats.cache_path)
"""


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "new" / "root"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return tmp_path / "new" / "root"


@pytest.fixture
def umask():
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_what_is_made_of_the_cache_is_the_users_alone(root):
    assert cache_folder("photos") == root / "photos"
    assert [mode(one) for one in (root / "photos", root, root.parent)] == [0o700] * 3
    assert private_folder("kernels") == root / "kernels"


@pytest.mark.usefixtures("umask")
def test_what_is_there_keeps_its_mode(root):
    (root / "photos").mkdir(parents=True)
    assert cache_folder("photos") == root / "photos"
    assert mode(root / "photos") == 0o775


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("before", [0o775, 0o777, 0o722, 0o755, 0o700])
def test_others_may_not_write_to_the_users_cache_folder(root, monkeypatch, variable, before):
    monkeypatch.delenv("VITRINA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(root))
    base = root / ".cache" if variable == "HOME" else root
    (base / "vitrina" / "photos").mkdir(parents=True)
    for one in (base, base / "vitrina", base / "vitrina" / "photos"):
        one.chmod(before)
    assert private_folder("kernels") == base / "vitrina" / "kernels"
    assert mode(base / "vitrina") == before & ~0o022
    # What is above it is not Vitrina's.
    assert mode(base) == before


def test_a_link_to_another_folder_keeps_that_folders_mode(root, monkeypatch):
    monkeypatch.delenv("VITRINA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root))
    (root / "shared").mkdir(parents=True)
    (root / "shared").chmod(0o775)
    (root / "vitrina").symlink_to("shared")
    assert private_folder("kernels") is None
    assert mode(root / "shared") == 0o775


@pytest.mark.parametrize("spoilt", ["kernels", "."])
@pytest.mark.parametrize("bits", [0o770, 0o707, 0o722, 0o777])
def test_a_folder_that_others_may_write_to_is_not_trusted(root, spoilt, bits):
    assert private_folder("kernels") == root / "kernels"
    (root / spoilt).chmod(bits)
    trusted = not bits & 0o022
    assert (private_folder("kernels") is not None) == trusted


def test_a_link_and_a_file_are_not_trusted(root, tmp_path):
    root.mkdir(parents=True)
    (tmp_path / "own").mkdir(mode=0o700)
    (root / "kernels").symlink_to(tmp_path / "own")
    assert private_folder("kernels") is None
    (root / "kernels").unlink()
    (root / "kernels").write_text("x")
    assert private_folder("kernels") is None
    assert not is_private(root / "nothing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_a_folder_of_another_user_is_not_trusted(root):
    assert private_folder("kernels") is not None
    os.chown(root / "kernels", 65534, 65534)
    assert private_folder("kernels") is None


def told(folder):
    line = (
        "warning: kernels are compiled in each process: others may write to {0}; chmod go-w {0}\n"
    )
    return line.format(folder)


def write_kernel(folder, value, more):
    package = folder / PACKAGE
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "kernel.py").write_text(KERNEL.format(package=PACKAGE, value=value))
    (package / "other.py").write_text(OTHER.format(value=more))


def run_kernel(folder, **environment):
    kept = {key: one for key, one in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    path = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(package=PACKAGE)],
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    value, hits, place = done.stdout.split()
    return float(value), int(hits), place, done.stderr


@pytest.mark.slow
def test_a_second_process_loads_what_the_first_compiled(root, tmp_path):
    write_kernel(tmp_path, 1, 0)
    first = run_kernel(tmp_path)
    assert (first[:2], first[3]) == ((1, 0), "")
    assert Path(first[2]).is_relative_to(root / "kernels")
    assert run_kernel(tmp_path) == (1, 1, first[2], "")
    # A changed source is compiled anew.
    write_kernel(tmp_path, 2, 0)
    assert run_kernel(tmp_path)[:2] == (2, 0)
    assert run_kernel(tmp_path)[:2] == (2, 1)
    # A package that others may write to is not kept beside, and neither is anything read from it.
    assert not list(tmp_path.rglob(f"{PACKAGE}/**/*.nbc"))
    (root / "kernels").chmod(0o777)
    assert run_kernel(tmp_path) == (2, 0, "None", told(root / "kernels"))
    assert not list(tmp_path.rglob(f"{PACKAGE}/**/*.nbc"))


@pytest.mark.slow
def test_a_named_folder_that_others_may_write_to_costs_one_line(root, tmp_path):
    write_kernel(tmp_path, 3, 4)
    root.mkdir(parents=True)
    root.chmod(0o775)
    assert run_kernel(tmp_path) == (7, 0, "None", told(root))
    assert mode(root) == 0o775
    assert not list(root.rglob("*.nbc"))


@pytest.mark.slow
def test_the_users_own_folder_serves_whatever_its_mode_was(root, tmp_path):
    write_kernel(tmp_path, 3, 4)
    (root / "vitrina").mkdir(parents=True)
    (root / "vitrina").chmod(0o775)
    default = {"VITRINA_CACHE": "", "XDG_CACHE_HOME": str(root)}
    first = run_kernel(tmp_path, **default)
    assert Path(first[2]).is_relative_to(root / "vitrina" / "kernels")
    assert run_kernel(tmp_path, **default) == (7, 1, first[2], "")
    assert mode(root / "vitrina") == 0o755


@pytest.mark.slow
def test_numbas_own_variable_names_another_folder(root, tmp_path):
    write_kernel(tmp_path, 3, 4)
    named = tmp_path / "named"
    place = run_kernel(tmp_path, NUMBA_CACHE_DIR=str(named))[2]
    assert Path(place).is_relative_to(named)
    assert mode(named) == 0o700
    assert not list(root.rglob("*.nbc"))
    named.chmod(0o777)
    assert run_kernel(tmp_path, NUMBA_CACHE_DIR=str(named)) == (7, 0, "None", told(named))


@pytest.mark.slow
def test_what_a_kernel_takes_from_another_module_counts(root, tmp_path):
    # As `index/score.py` does: the source that changes is another than the kernel's own.
    source = Path(__file__).parent.parent / "vitrina"
    shutil.copytree(source, tmp_path / "vitrina", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "vitrina/index/kernel.py").write_text(
        "from vitrina.jit import compiled\n"
        "from vitrina.index.other import more\n"
        "@compiled\ndef fill(out):\n    out[0] = more(0)\n"
    )
    run = RUN.format(package="vitrina.index")
    for value, hits in ((5, 0), (5, 1), (6, 0)):
        (tmp_path / "vitrina/index/other.py").write_text(OTHER.format(value=value))
        done = subprocess.run(
            [sys.executable, "-c", run],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split()[:2] == [str(float(value)), str(hits)]
    assert list(root.rglob("*.nbc"))


def put(root, kind, size=10):
    cache_folder(kind)
    (root / kind / "one").write_bytes(b"x" * size)


def test_the_cache_is_measured_and_cleared_kind_by_kind(root):
    put(root, "photos", 2_000_000)
    put(root, "verified", 5)
    (root / "other").write_text("not ours")
    assert [(one.kind, one.files, one.bytes) for one in cache_usage() if one.files] == [
        ("photos", 1, 2_000_000),
        ("verified", 1, 5),
    ]
    assert vitrina("cache", "--clear", "verified") == 0
    assert sorted(one.name for one in root.iterdir()) == [TAG, "other", "photos"]
    assert [one.kind for one in clear_cache()] == ["photos"]
    assert sorted(one.name for one in root.iterdir()) == [TAG, "other"]
    assert clear_cache() == []


def test_the_cache_is_shown(root, capsys):
    put(root, "photos", 2_000_000)
    assert vitrina("cache") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "photos             2.0 MB       1 files  photos fetched from the web"
    assert lines[-1] == f"done: 2.0 MB in {root}"
    assert vitrina("cache", "photos", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["path"], found["cleared"]) == (str(root), False)
    assert [(one["kind"], one["bytes"]) for one in found["kinds"]] == [("photos", 2_000_000)]


def test_a_folder_that_vitrina_did_not_make_is_not_cleared(root, capsys):
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "holiday.jpg").write_bytes(b"mine")
    cache_folder("verified")
    assert vitrina("cache", "--clear") == 1
    assert f"{root} may hold files that are not Vitrina's" in capsys.readouterr().err
    assert (root / "photos" / "holiday.jpg").exists()


def test_what_a_link_leads_to_is_not_cleared(root, tmp_path):
    cache_folder("verified")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").write_text("mine")
    (root / "photos").symlink_to(tmp_path / "own")
    with pytest.raises(CacheError, match=r"photos is not a folder that Vitrina made"):
        clear_cache()
    assert (root / "verified").exists()
    assert (tmp_path / "own" / "file").exists()


def test_every_kind_that_is_used_is_known():
    with pytest.raises(ValueError, match="'pictures' is not a valid CacheKind"):
        cache_folder("pictures")
    assert PURPOSES.keys() == set(CacheKind)
