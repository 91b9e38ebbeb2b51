"""A short run of `kills`: every writing command, stopped at moments of a fixed seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kills.commands import COMMANDS
from kills.outcome import essence, leftovers


@pytest.mark.slow
def test_every_writing_command_bears_being_stopped(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "kills", "--kills", "3", "--seed", "0", "--work", tmp_path / "work"],
        capture_output=True,
        text=True,
        env=env,
        cwd=Path(__file__).parent,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0].strip("| ") for row in rows[1:]] == [*COMMANDS]
    assert done.stdout.splitlines()[-1] == f"{3 * len(COMMANDS)} stops, 0 faults, seed 0"


def test_what_is_left_is_seen(tmp_path):
    (tmp_path / "store").mkdir()
    for name in ("store/.tmp-x", "store/.lock-owner.json", "images.zip.part", "a.1.unfinished"):
        (tmp_path / name).write_bytes(b"")
    assert len(leftovers(tmp_path)) == 4
    (tmp_path / "store/index-0123456789ab.json").write_text('{"rows": 1, "seconds": 2}')
    assert essence(tmp_path)["store/index.json:rows"] == "1"
    assert not [name for name in essence(tmp_path) if "seconds" in name]


def test_of_two_indexes_both_count(tmp_path):
    for digest, rows in (("0" * 12, 7), ("f" * 12, 5)):
        (tmp_path / f"store/indexes/text-{digest}").mkdir(parents=True)
        (tmp_path / f"store/indexes/text-{digest}/index.json").write_text(f'{{"rows": {rows}}}')
    assert essence(tmp_path) == {"store/indexes/text/index.json:rows": "5 7"}
