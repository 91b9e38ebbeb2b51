"""SIGINT and SIGTERM: one line, the exit code of the signal, no temporary file, and soon."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from vitrina import cli, temporary_files
from vitrina.cli import interrupts

DRIVER = """
import os, sys, threading, time
import typer
import vitrina.cli
from vitrina.cli import interrupts
from vitrina.errors import StoreError
from vitrina.temporary_files import removing

interrupts.GRACE = float(os.environ.get("GRACE", "5"))
app = typer.Typer()

def ready():
    os.write(1, b"ready\\n")

@app.command()
def run(what: str) -> None:
    globals()[what]()

@app.command()
def other() -> None: ...

def waits():
    with removing(lambda: os.write(1, b"removed\\n")):
        ready()
        time.sleep(60)

def native():
    # Python's handler can't run in the main thread before this returns.
    import hashlib
    with removing(lambda: os.write(1, b"removed\\n")):
        ready()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)

def worker():
    from vitrina.parallel import map_ahead
    with removing(lambda: os.write(1, b"removed\\n")):
        def slow(item):
            if item == 1:
                ready()
            time.sleep(60 if item else 0)
        for _ in map_ahead(slow, range(4), 2):
            pass

def swallows():
    class Closes:
        def __del__(self):
            ready()
            time.sleep(60)
    with removing(lambda: os.write(1, b"removed\\n")):
        Closes()
        for _ in range(600):
            time.sleep(0.1)

def renames():
    try:
        ready()
        time.sleep(60)
    except KeyboardInterrupt:
        raise StoreError("the disk failed") from None

def faiss_trains():
    import faiss, numpy as np
    rows = np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32)
    ready()
    clusters = faiss.Kmeans(64, 1000, niter=10_000, seed=0)
    clusters.train(rows)

def ends_well():
    try:
        ready()
        time.sleep(60)
    except KeyboardInterrupt:
        print("done: all is well")

vitrina.cli.app = app
vitrina.cli.main()
"""


def interrupted(what, *numbers, grace="5"):
    """Run a command, send it signals once it is ready; its code, both streams and seconds."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRACE": grace}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, "run", what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=_heed_both,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        started = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.3)
        output, error = process.communicate(timeout=30)
        return process.returncode, output, error, time.monotonic() - started


def _heed_both():
    # A shell's background job, such as a test run may be, has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_a_signal_ends_a_command_in_one_line(number):
    code, output, error, seconds = interrupted("waits", number)
    assert (code, output, error) == (128 + number, "removed\n", f"{interrupts.LINE}\n")
    assert seconds < 3


@BOTH
@pytest.mark.parametrize("early", [True, False])
def test_one_that_comes_beside_the_command_is_told_too(number, early, monkeypatch, capsys):
    @contextmanager
    def taken():
        if early:
            raise interrupts.Interrupted(number)
        yield interrupts.Signals()
        raise interrupts.Interrupted(number)

    monkeypatch.setattr(interrupts, "taken", taken)
    monkeypatch.setattr(cli, "command_line", lambda: lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().err) == (128 + number, f"{interrupts.LINE}\n")


@BOTH
@pytest.mark.parametrize("what", ["native", "worker"])
@pytest.mark.slow
def test_what_python_can_not_interrupt_ends_after_the_grace(number, what):
    code, output, error, seconds = interrupted(what, number, grace="1")
    assert (code, output, error) == (128 + number, "removed\n", f"{interrupts.LINE}\n")
    assert 0.9 < seconds < 5


def test_a_second_signal_ends_it_at_once():
    code, output, error, seconds = interrupted("native", signal.SIGINT, signal.SIGINT, grace="20")
    assert (code, output, error) == (130, "removed\n", f"{interrupts.LINE}\n")
    assert seconds < 3


@BOTH
def test_one_that_a_destructor_swallows_is_raised_again(number):
    code, output, error, seconds = interrupted("swallows", number, grace="20")
    assert (code, output, error) == (128 + number, "removed\n", f"{interrupts.LINE}\n")
    assert seconds < 5


def test_what_it_was_turned_into_is_not_told():
    code, _, error, _ = interrupted("renames", signal.SIGTERM)
    assert (code, error) == (143, f"{interrupts.LINE}\n")


@BOTH
def test_faiss_stops_training(number):
    code, _, error, seconds = interrupted("faiss_trains", number, grace="20")
    assert (code, error.splitlines()[-1]) == (128 + number, interrupts.LINE)
    assert seconds < 10


def test_a_command_that_ends_well_says_so():
    code, output, error, _ = interrupted("ends_well", signal.SIGTERM)
    assert (code, output, error) == (0, "done: all is well\n", "")


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.taken() as signals:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == signals.handle
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_from_python_nothing_is_installed():
    import vitrina as vt

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert vt.Store
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.SIG_DFL in before


def test_leftovers_are_removed_once_and_the_newest_first():
    removed = []
    with temporary_files.removing(lambda: removed.append("outer")):
        with temporary_files.removing(lambda: removed.append("inner")):
            temporary_files.remove_all()
            assert removed == ["inner", "outer"]
        assert removed == ["inner", "outer", "inner"]
    temporary_files.remove_all()
    assert removed == ["inner", "outer", "inner", "outer"]
