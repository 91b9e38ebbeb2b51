"""Output that can't hold a character, or that nobody reads any more."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vitrina.cli import main, streams

TITLE = "чашка é 😀 \ud800"

SHOW = f"""
import sys
import vitrina.cli
from vitrina.cli.common import show
import typer
app = typer.Typer()
@app.command()
def run(json: bool = False, times: int = 1):
    for _ in range(times):
        show(json, {{"title": {TITLE!r}}}, {TITLE!r})
    print({TITLE!r}, file=sys.stderr)
vitrina.cli.app = app
vitrina.cli.main()
"""


def shown(*arguments, encoding, **more):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-c", SHOW, *arguments], capture_output=True, env=env, check=False, **more
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1251", "utf-8", "koi8-r:strict"])
@pytest.mark.slow
def test_every_character_is_printed_or_spelt_out(encoding):
    codec = encoding.partition(":")[0]
    plain = shown(encoding=encoding)
    assert plain.returncode == 0, plain.stderr
    expected = TITLE.encode(codec, "backslashreplace")
    assert plain.stdout == expected + b"\n"
    assert plain.stderr == expected + b"\n"
    as_json = shown("--json", encoding=encoding)
    assert as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout.decode(codec)) == {"title": TITLE}


def test_json_has_no_more_escapes_than_it_must(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1251"))
    assert "чашка" in streams.as_json({"title": "чашка"})
    assert "\\u" in streams.as_json({"title": "чашка 😀"})
    monkeypatch.setattr(sys, "stdout", None)
    assert "чашка 😀" in streams.as_json({"title": "чашка 😀"})


@pytest.mark.parametrize("times", ["1", "100000"])
def test_a_reader_may_leave_early(times):
    # Of a line, which is written at the end alone, and of many.
    command = f"{sys.executable} -c '{SHOW.replace(chr(39), chr(34))}' --times {times} | true"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, shell=True, capture_output=True, env=env, check=False)
    assert done.stderr in (b"", TITLE.encode("utf-8", "backslashreplace") + b"\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_a_line():
    with Path("/dev/full").open("w") as full:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", SHOW],
            stdout=full,
            stderr=subprocess.PIPE,
            env=env,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == "vitrina: No space left on device"


def test_what_the_system_refuses_is_a_line(monkeypatch, capsys):
    import vitrina.cli

    def refuse(**_):
        raise PermissionError(13, "Permission denied", "some/place")

    monkeypatch.setattr(vitrina.cli, "command_line", lambda: refuse)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "vitrina: some/place: Permission denied\n"


def test_text_typed_under_another_locale_is_text():
    from vitrina.cli.common import typed

    assert typed("чашка".encode().decode("ascii", "surrogateescape")) == "чашка"
    assert typed("чашка") == "чашка"
    assert typed("\udcff") == "\ufffd"
    assert typed(None) is None
