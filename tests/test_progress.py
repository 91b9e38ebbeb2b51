"""Progress is told in units that a person knows, with a time left that was measured."""

import time

import pytest

from vitrina.pipelines.common.progress import RECENT_SECONDS, Meter
from vitrina.pipelines.common.training_progress import watch_training
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
        assert meter.status() == "pass 1/720"
        clock(1)
        meter.advance(10_000)
        assert meter.status() == "pass 6/720"
        clock(3)
        meter.advance(30_000)
        assert meter.status() == "pass 24/720, 10,000 products/s, 1 min 57 s left"


def test_the_rate_is_that_of_late(clock):
    with Meter("embedding", 100_000, quiet=False) as meter:
        for _ in range(60):
            clock(1)
            meter.advance(1000)
        for _ in range(int(RECENT_SECONDS) + 1):
            clock(1)
            meter.advance(100)
        assert meter.status() == "63,100/100,000 products, 100 products/s, 6 min 09 s left"


def test_a_slow_unit_is_not_forgotten(clock):
    # Units that take longer than what counts as recent: the last two are enough.
    with Meter("indexing", 10, "parts", quiet=False) as meter:
        for _ in range(4):
            clock(2 * RECENT_SECONDS)
            meter.advance(1)
        assert meter.status() == "4/10 parts, 0.0 parts/s, 6 min 00 s left"


def test_without_a_total_there_is_no_time_left(clock):
    with Meter("reading", unit="rows", quiet=False) as meter:
        for _ in range(5):
            clock(1)
            meter.advance(2000)
        assert meter.status() == "10,000 rows, 2,000 rows/s"


def test_what_an_earlier_run_did_says_nothing_of_this_ones_speed(clock):
    with Meter("training", 1000, quiet=False, per_pass=100, pass_name="epoch") as meter:
        meter.resume(500)
        for _ in range(5):
            clock(1)
            meter.advance(10)
        assert meter.status() == "epoch 6/10, 10 products/s, 45 s left"


def test_more_than_was_planned_is_the_last_pass(clock):
    with Meter("training", 200, quiet=False, per_pass=100, pass_name="epoch") as meter:
        for _ in range(5):
            clock(1)
            meter.advance(60)
        assert meter.status() == "epoch 2/2, 60 products/s, 0.0 s left"


def test_lines_off_a_terminal(clock, capsys):
    with watch_training("fine-tuning", 300, 100, "weighted F1", quiet=False) as watch:
        for _ in range(4):
            clock(4)
            watch.progress(20)
        watch.epoch(Epoch(0, 0.5, 0.25, 16.0))
    assert capsys.readouterr().err.splitlines() == [
        "fine-tuning: epoch 1/3, 5.0 products/s, 48 s left",
        "epoch 1: loss 0.5000, weighted F1 0.2500, 16 s",
    ]
    with watch_training("fine-tuning", 300, 100, "weighted F1", quiet=True) as watch:
        clock(100)
        watch.progress(300)
    assert capsys.readouterr().err == ""


def test_a_bar_tells_the_same(clock, monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    said = Terminal()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Meter("training", 300, quiet=False, per_pass=100) as meter:
        for _ in range(5):
            clock(1)
            meter.advance(20)
        meter.say("a line that stays")
        meter._bar.refresh()
    assert "pass 2/3, 20 products/s, 10 s left" in said.getvalue()
    assert "a line that stays" in said.getvalue()
    assert "100/300" not in said.getvalue()
