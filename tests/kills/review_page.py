"""A review page that is stopped while decisions are being made."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlencode

from kills.outcome import leftovers
from kills.runs import start
from kills.stops import Tally, verified


class Browser:
    """Sends decisions to a review page that runs in a fork."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        arguments = ["review", "store", "--port", str(port), "--reviewer", "K", "--images", "none"]
        self.started = start(arguments, folder)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(OSError):
                page = self.ask("GET", "/")
                self.csrf = page.partition('X-CSRF-Token":"')[2].partition('"')[0]
                return
            time.sleep(0.01)
        raise RuntimeError("the page did not come up")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def send(self, connection: http.client.HTTPConnection, rank: int) -> None:
        home = f"http://127.0.0.1:{self.port}"
        form = urlencode({"action": "keep", "one": f"{rank}:", "audit": "made-up"})
        headers = {"Origin": home, "X-CSRF-Token": self.csrf}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST", "/decide", form, headers)

    def ask(self, method: str, path: str) -> str:
        with closing(self.connect()) as connection:
            connection.request(method, path)
            return connection.getresponse().read().decode()

    def decide(self, rank: int) -> int:
        with closing(self.connect()) as connection:
            self.send(connection, rank)
            return connection.getresponse().status


def kill_reviews(
    base: Path, folder: Path, draw: random.Random, hows: list[str], tally: Tally, port: int
) -> None:
    """Stop review pages while decisions are being made: what was answered is in the store."""
    shutil.copytree(base, folder)
    acknowledged: set[int] = set()
    faults: list[str] = []
    ranks = list(range(1, 13))
    for how in hows:
        browser = Browser(folder, port)
        for _ in range(draw.randint(0, 3)):
            if ranks and browser.decide(ranks[0]) == 200:
                acknowledged.add(ranks.pop(0))
        connection = browser.connect()
        if ranks:
            browser.send(connection, ranks[0])
        time.sleep(draw.uniform(0, 0.04))
        at = time.monotonic()
        os.kill(browser.started.pid, getattr(signal, how))
        with suppress(OSError, http.client.HTTPException):
            if connection.getresponse().status == 200:
                acknowledged.add(ranks[0])
        connection.close()
        code = browser.started.wait(30)
        ended = browser.started.ended(99 if code is None else code, time.monotonic() - at)
        tally.stops[how] += 1
        tally.slowest = max(tally.slowest, ended.after)
        if how != "SIGKILL" and (
            ended.code or "done: all decisions are in" not in ended.output or ended.error
        ):
            faults.append(f"{how}: exit {ended.code}: {ended.error!r}")
        if left := leftovers(folder):
            faults.append(f"{how} left {left}")
        found = verified(folder)
        tally.verified += not found
        faults += found
        kept = decisions_of(folder)
        if not acknowledged <= kept.keys() or max(kept.values(), default=1) > 1:
            faults.append(f"{how}: of {acknowledged} the store has {kept}")
        ranks = [rank for rank in range(1, 13) if rank not in kept]
    browser = Browser(folder, port)
    if all(browser.decide(rank) == 200 for rank in ranks):
        tally.finished += 1
    os.kill(browser.started.pid, signal.SIGTERM)
    browser.started.wait(30)
    tally.identical += decisions_of(folder) == dict.fromkeys(range(1, 13), 1)
    if left := leftovers(folder):
        faults.append(f"left in the end: {left}")
    tally.faults += [f"review {hows}: {one}" for one in faults]


def decisions_of(folder: Path) -> dict[int, int]:
    """How often each rank was decided, as the store has it."""
    from vitrina import api

    return dict(
        Counter(one.shown["rank"] for one in api.Store.open(folder / "store").decisions().all)
    )
