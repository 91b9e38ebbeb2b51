"""Both ends of the talk between `embedding.py` and one contestant's process, by JSON lines.

A process loads its model once and then encodes an input whenever it is told to; between that it
is blocked on its standard input, so that whoever's turn it is has the machine to itself. This file
needs the standard library and numpy alone, for it runs in each peer's own environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
LIMIT_SECONDS = 3600
"""The longest that one answer may take: a peer that hangs is left out."""


@dataclass(frozen=True)
class Loaded:
    """A contestant that is ready to run.

    encode: the items to their vectors, (n, dim), or to None; this is what is timed. compute: says
    for people in what precision it works. ready: makes the items of what the input holds (texts,
    or paths of photos), before the clock starts.
    """

    encode: Callable[[list], np.ndarray | None]
    compute: str
    ready: Callable[[list], list] = list


def serve(load: Callable[[dict], Loaded]) -> None:
    """Answer until told to quit. load: makes the contestant of the options that it is sent."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loaded: Loaded | None = None
    items: dict[str, list] = {}
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        try:
            if request["do"] == "quit":
                return
            if request["do"] == "load":
                _hold_to(request["options"]["threads"])
                started = time.perf_counter()
                loaded = load(request["options"])
                seconds = time.perf_counter() - started
                answer = {"compute": loaded.compute, "load_seconds": seconds}
            else:
                name = request["input"]
                if name not in items:
                    items[name] = loaded.ready(read_input(Path(request["inputs"]), name))
                answer = _run(loaded, items[name][: request["limit"]], request["vectors"])
                answer["versions"] = versions() if request["limit"] else None
        except Exception as err:
            traceback.print_exc()
            first = (str(err).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(err).__name__}: {first}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def _hold_to(threads: int) -> None:
    # So that those who count cores for themselves find as many as those who are told.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _run(loaded: Loaded, items: list, vectors: str | None) -> dict:
    started = time.perf_counter()
    made = loaded.encode(items)
    seconds = time.perf_counter() - started
    if vectors and made is not None:
        np.save(vectors, np.asarray(made, dtype=np.float32))
    return {"seconds": seconds, "items": len(items), "vectors": made is not None}


def read_input(folder: Path, name: str) -> list:
    """What the input NAME holds: texts from NAME.json, or the paths of the photos in NAME/."""
    if (folder / name).is_dir():
        return [str(path) for path in sorted((folder / name).glob("*.jpg"))]
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """The versions of every package that this process has loaded."""
    found = importlib.metadata.packages_distributions()
    names = {name for module in set(sys.modules) & set(found) for name in found[module]}
    # Which modules an editable install holds is not on record.
    names |= {"vitrina"} & set(sys.modules)
    return {name: importlib.metadata.version(name) for name in sorted(names, key=str.lower)}


class Worker:
    """The other end: a contestant's process, seen from `embedding.py`."""

    def __init__(self, python: Path, script: str, log: Path, threads: int) -> None:
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(threads),
            "RAYON_NUM_THREADS": str(threads),
        }
        environment.pop("TOKENIZERS_PARALLELISM", None)
        self._log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [str(python), str(HERE / script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
            )

    def ask(self, **request: object) -> dict:
        """Send one request and wait for its answer. Raises RuntimeError with the reason."""
        clock = threading.Timer(LIMIT_SECONDS, self._process.kill)
        clock.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            clock.cancel()
        if not line:
            status = self._process.wait()
            said = self._log.read_text(errors="replace").strip().splitlines() or [""]
            raise RuntimeError(f"its process ended with {status}: {said[-1][:300]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def quit(self) -> None:
        """End the process, whether or not it still answers."""
        try:
            self._process.stdin.write('{"do": "quit"}\n')
            self._process.stdin.close()
            self._process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
