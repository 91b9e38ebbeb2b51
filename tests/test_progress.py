"""Progress is told in units that a person knows, with a time left that was measured."""

import io
import logging
import sys
import threading
import time

import pytest

from vitrina import logs
from vitrina.pipelines.common import progress_display
from vitrina.pipelines.common.progress import RECENT_SECONDS, Meter, timed_job
from vitrina.pipelines.common.progress_display import SCREEN, is_quiet
from vitrina.pipelines.common.training_progress import watch_training
from vitrina.pipelines.train.options import TrainOptions
from vitrina.stage_timer import stage
from vitrina.training.loop import Epoch


@pytest.fixture
def clock(monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def move(seconds):
        now[0] += seconds

    return move


def test_no_time_left_is_told_before_it_is_measured(clock):
    with Meter("training", 1_214_640, quiet=False, per_pass=1687) as meter:
        # The first unit compiles: 107 rows in 21 seconds would be three days.
        clock(21)
        meter.advance(107)
        assert meter.status() == "pass 1 of 720, 21 s"
        clock(1)
        meter.advance(10_000)
        assert meter.status() == "pass 6 of 720, 22 s"
        clock(3)
        meter.advance(30_000)
        assert meter.status() == "pass 24 of 720, 10,000 products/s, 1 min 57 s left"


def test_the_rate_is_that_of_late(clock):
    with Meter("embedding", 100_000, quiet=False) as meter:
        for _ in range(60):
            clock(1)
            meter.advance(1000)
        for _ in range(int(RECENT_SECONDS) + 1):
            clock(1)
            meter.advance(100)
        assert meter.status() == "63,100 of 100,000 products, 100/s, 6 min 09 s left"


def test_a_slow_unit_is_not_forgotten(clock):
    # Units that take longer than what counts as recent: the last two are enough.
    with Meter("indexing", 10, "parts", quiet=False) as meter:
        for _ in range(4):
            clock(2 * RECENT_SECONDS)
            meter.advance(1)
        assert meter.status() == "4 of 10 parts, 0.0/s, 6 min 00 s left"


def test_without_a_total_there_is_no_time_left(clock):
    with Meter("reading", unit="rows", quiet=False) as meter:
        for _ in range(5):
            clock(1)
            meter.advance(2000)
        assert meter.status() == "10,000 rows, 2,000/s, 5.0 s"


def test_what_an_earlier_run_did_says_nothing_of_this_ones_speed(clock):
    with Meter("training", 1000, quiet=False, per_pass=100, pass_name="epoch") as meter:
        meter.resume(500)
        for _ in range(5):
            clock(1)
            meter.advance(10)
        assert meter.status() == "epoch 6 of 10, 10 products/s, 45 s left"


def test_more_than_was_planned_is_the_last_pass(clock):
    with Meter("training", 200, quiet=False, per_pass=100, pass_name="epoch") as meter:
        for _ in range(5):
            clock(1)
            meter.advance(60)
        assert meter.status() == "epoch 2 of 2, 60 products/s"


def test_lines_off_a_terminal(clock, capsys, caplog):
    with (
        caplog.at_level(logging.INFO, "vitrina"),
        watch_training("fine-tuning", 300, 100, "weighted F1", quiet=False) as watch,
    ):
        for _ in range(4):
            clock(4)
            watch.progress(20)
        watch.epoch(Epoch(0, 0.5, 0.25, 16.0))
        clock(11)
        watch.progress(40)
    assert capsys.readouterr().err.splitlines() == [
        "fine-tuning: epoch 1 of 3, 5.0 products/s, 48 s left",
        "fine-tuning: epoch 2 of 3, 4.3 products/s, 41 s left "
        "(epoch 1: loss 0.5000, weighted F1 0.2500)",
    ]
    assert caplog.messages == ["fine-tuning: epoch 1: loss 0.5000, weighted F1 0.2500, 16 s"]
    with watch_training("fine-tuning", 300, 100, "weighted F1", quiet=True) as watch:
        clock(100)
        watch.progress(300)
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """A terminal as standard error, of 120 columns. Within the test, since pytest replaces standard
    error after fixtures."""
    said = Terminal()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return said


def test_a_bar_tells_the_same(clock, monkeypatch):
    terminal = on_terminal(monkeypatch)
    with Meter("training", 300, quiet=False, per_pass=100) as meter:
        for _ in range(5):
            clock(1)
            meter.advance(20)
        SCREEN._display._bar.refresh()
    assert "pass 2 of 3, 20 products/s, 10 s left" in terminal.getvalue()
    assert "100 of 300" not in terminal.getvalue()


def test_log_lines_stand_above_a_bar(clock, monkeypatch):
    terminal = on_terminal(monkeypatch)
    logs.configure()
    try:
        with Meter("training", 300, quiet=False) as meter:
            clock(1)
            meter.advance(20)
            logging.getLogger("vitrina.some.module").warning("a line that stays")
    finally:
        logs.remove()
    assert "a line that stays\n" in terminal.getvalue()


def test_a_job_tells_its_stage_while_nothing_counts(clock, capsys, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", time.monotonic)
    with timed_job("training", quiet=False), stage("baseline"):
        clock(11)
        SCREEN.tick()
        with Meter("reading", 10, "rows", quiet=False) as meter:
            clock(12)
            meter.advance(5)
            with timed_job("a job within", quiet=False):
                clock(1)
                SCREEN.tick()
        clock(13)
        SCREEN.tick()
    assert capsys.readouterr().err.splitlines() == [
        "training: baseline, 11 s",
        "reading: 5 of 10 rows, 12 s",
        "training: baseline, 37 s",
    ]


def test_a_display_shows_what_goes_on_though_nothing_is_counted(monkeypatch):
    """The thread that shows it needs no call of `advance`."""
    shown, enough = [], threading.Event()

    class Somewhere:
        every = 0.0

        def show(self, state):
            shown.append(state.line)
            enough.set()

        def close(self, outcome):
            shown.append(outcome)

    monkeypatch.setattr(progress_display, "open_display", lambda _: Somewhere())
    with Meter("indexing", 100, "vectors", quiet=False):
        assert enough.wait(30)
    assert shown[0] == "indexing: 0 of 100 vectors"
    assert shown[-1].startswith("indexing: ")
    assert SCREEN._display is None


def test_an_error_ends_the_display(capsys):
    with (
        pytest.raises(ValueError),
        timed_job("outer", quiet=False),
        Meter("inner", 10, quiet=False),
    ):
        raise ValueError
    assert SCREEN._works == []
    assert SCREEN._display is None
    assert capsys.readouterr().err == ""


class Shell:
    """A shell of IPython, with a kernel in a notebook."""

    def __init__(self, kernel):
        self.kernel = kernel


@pytest.mark.parametrize(
    ("shell", "tty", "quiet"),
    [
        (None, True, True),
        (None, False, True),
        (Shell(object()), False, False),
        (Shell(None), True, False),
        (Shell(None), False, True),
    ],
    ids=["script on a terminal", "script", "notebook", "IPython", "IPython without a terminal"],
)
def test_jobs_are_quiet_by_default_but_where_people_watch(monkeypatch, shell, tty, quiet):
    monkeypatch.setattr(progress_display, "_ipython", lambda: shell)
    monkeypatch.setattr(sys, "stderr", Terminal() if tty else io.StringIO())
    assert is_quiet(None) is quiet
    assert is_quiet(True) is True
    assert is_quiet(False) is False
    assert TrainOptions().quiet is None


def test_a_library_is_silent_until_logging_is_configured(capsys):
    log = logging.getLogger("vitrina.some.module")
    log.warning("not shown")
    logs.configure()
    try:
        log.log(logs.NOTICE, "epoch %d", 1)
        log.info("not shown")
        log.warning("odd: \x1b[31m")
        logs.configure(logs.QUIET)
        log.log(logs.NOTICE, "not shown")
        log.error("bad")
        logs.configure(logs.VERBOSE)
        log.info("chosen: %s", "float32")
        log.debug("not shown")
        logs.configure(2)
        log.debug("all of it")
    finally:
        logs.remove()
    log.error("not shown")
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == ["epoch 1", "warning: odd: \\u001b[31m", "warning: bad"]
    assert len(said) == 5
    assert said[3].endswith(" INFO    vitrina.some.module: chosen: float32")
    assert said[4].endswith(" DEBUG   vitrina.some.module: all of it")
