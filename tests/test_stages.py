"""Time is counted to the stage that took it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vitrina.stages import Stages


def test_shares_sum_to_one_and_the_largest_comes_first() -> None:
    stages = Stages(seconds={"read": 1.0, "encode": 6.0, "write": 1.0})
    assert stages.shares() == {"encode": 0.75, "read": 0.125, "write": 0.125}
    assert next(iter(stages.shares())) == "encode"
    assert stages.bottleneck == "encode"


def test_a_stage_with_many_threads_is_waited_for_less() -> None:
    stages = Stages(workers={"decode": 8}, seconds={"decode": 16.0, "encode": 3.0})
    assert stages.bottleneck == "encode"
    assert next(iter(stages.shares())) == "decode"


def test_nothing_done_is_nothing_told() -> None:
    assert Stages().shares() == {}
    assert Stages(seconds={"read": 0.0}).shares() == {}
    assert Stages().bottleneck is None


def test_threads_add_up() -> None:
    stages = Stages()

    def work(_: int) -> None:
        with stages.timed("decode"):
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert stages.seconds["decode"] >= 0.08


def test_a_stage_that_fails_took_its_time_all_the_same() -> None:
    stages = Stages()
    with pytest.raises(KeyError), stages.timed("read"):
        raise KeyError
    assert "read" in stages.seconds
