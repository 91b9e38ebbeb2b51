"""Runs of one store that are stopped, and what must hold after each."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kills.commands import Command
from kills.outcome import Uninterrupted, leftovers
from kills.runs import Ended, run

SOON = 7.0
"""Seconds in which a signal must end a command: `vitrina.cli.interrupts.GRACE`, and a margin."""
HOWS = ("SIGKILL", "SIGTERM", "SIGINT", "file size")
_FULL_DISK = r"vitrina: [^ ]+: .*File too large.*; .*(free some space|see to the disk)"


@dataclass
class Tally:
    """What came of a command's kills. faults: one line each, with the seed of the store."""

    stops: Counter[str] = field(default_factory=Counter)
    quarters: Counter[int] = field(default_factory=Counter)
    verified: int = 0
    finished: int = 0
    identical: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(self.stops.values())


def check_stopped(how: str, ended: Ended, folder: Path, before: list[str]) -> list[str]:
    """What is wrong with how a run ended that was stopped. before: leftovers of an earlier SIGKILL,
    which stay where a run is stopped before it writes."""
    from vitrina.cli.interrupts import LINE

    lines, found = ended.error.strip().splitlines(), []
    if "Traceback" in ended.error:
        found.append("a traceback")
    if how == "file size":
        if ended.code != 1:
            found.append(f"exit {ended.code}")
        told = [one for one in lines if one.startswith("vitrina: ")]
        if len(told) != 1 or lines[-1] != told[0]:
            found.append(f"{len(told)} lines of it")
        elif not re.match(_FULL_DISK, told[0]):
            found.append("not the place, the reason and the way out")
    elif how in ("SIGTERM", "SIGINT"):
        number = getattr(signal, how)
        if ended.code == -number:
            return found  # Before the command line was begun.
        if ended.code != 128 + number:
            found.append(f"exit {ended.code}")
        if lines[-1:] != [LINE] or lines.count(LINE) > 1:
            found.append(f"told {lines[-2:]}")
        if ended.after > SOON:
            found.append(f"ended after {ended.after:.1f} s")
    left = [name for name in leftovers(folder) if name not in before]
    if how != "SIGKILL" and left:
        found.append(f"left {left}")
    return [f"{how}: {one} (exit {ended.code}: {ended.error.strip()[-300:]!r})" for one in found]


def verified(folder: Path) -> list[str]:
    """What `vitrina verify` finds."""
    if not (folder / "store" / "store.json").exists():
        return []
    ended = run(["verify", "store", "--json"], folder)
    try:
        problems = json.loads(ended.output)["problems"]
    except ValueError:
        return [f"verify: exit {ended.code}: {ended.error[-300:]}"]
    return [f"verify: {problems}"] if problems else []


def stop(
    command: Command, folder: Path, how: str, draw: random.Random, known: Uninterrupted
) -> tuple[Ended, float]:
    """Run a command and stop it. Returns the share of its time at which it was to be."""
    if how == "file size":
        share = draw.random()
        return run(command.arguments, folder, largest=int(known.largest**share)), share
    share = draw.random()
    number = getattr(signal, how)
    return run(command.arguments, folder, number=number, seconds=share * known.seconds), share


def kill_one_store(
    name: str,
    command: Command,
    base: Path,
    folder: Path,
    draw: random.Random,
    known: Uninterrupted,
    hows: list[str],
    tally: Tally,
) -> None:
    """Stop some runs of one store, and have one go on to the end."""
    shutil.copytree(base, folder)
    faults: list[str] = []
    for how in hows:
        before = leftovers(folder)
        ended, share = stop(command, folder, how, draw, known)
        if ended.code == 0:
            break
        tally.stops[how] += 1
        tally.quarters[int(4 * share)] += 1
        tally.slowest = max(tally.slowest, ended.after)
        problems = check_stopped(how, ended, folder, before)
        found = [] if name == "repair" else verified(folder)
        tally.verified += not found
        faults += [*problems, *found]
    ended = run(command.arguments, folder)
    if ended.code:
        faults.append(f"the next run: exit {ended.code}: {ended.error[-500:]}")
    else:
        tally.finished += 1
        differing = known.differences(folder, command.exact)
        tally.identical += not differing
        if differing:
            faults.append(f"{len(differing)} differ: {differing[:5]}")
    faults += verified(folder)
    if left := leftovers(folder):
        faults.append(f"left in the end: {left}")
    tally.faults += [f"{name} {hows}: {one}" for one in faults]
