"""Actors that die at chosen orders. Each is imported by Ray's processes, so it has a module."""

import os
import signal
import time
from pathlib import Path

from vitrina.pipelines.common.order_actor import OrderActor
from vitrina.store.names import parse

DEATHS = "TEST_DEATHS"
"""Environment variable: a folder that gets a file for each death."""

DRIVER = """
import sys
from support import ray_actors
from vitrina import cli
from vitrina.pipelines.embed import engine_choice
engine_choice.OrderActor = getattr(ray_actors, sys.argv.pop(1))
cli.main()
"""
"""The command line with another actor: python -c DRIVER NAME ARGUMENTS."""


def die(number):
    deaths = Path(os.environ[DEATHS])
    (deaths / f"{number}-{len(list(deaths.iterdir()))}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


class OnceDying(OrderActor):
    """Dies at the first try of two orders."""

    def compute(self, name, content):
        number = parse(name).number
        if number in (1, 4) and not [*Path(os.environ[DEATHS]).glob(f"{number}-*")]:
            die(number)
        return super().compute(name, content)


class AlwaysDying(OrderActor):
    """Dies at every try of one order."""

    def compute(self, name, content):
        if parse(name).number == 2:
            die(2)
        return super().compute(name, content)


class OtherVersion(OrderActor):
    """Works for the driver of another version only."""

    def load(self, _, *arguments):
        return super().load("9.9.9", *arguments)


class OnTwoNodes(OrderActor):
    """Notes the node of each order that it starts, and is slow."""

    def compute(self, name, content):
        import ray

        (Path(os.environ[DEATHS]) / ray.get_runtime_context().get_node_id()).touch()
        time.sleep(0.5)
        return super().compute(name, content)
