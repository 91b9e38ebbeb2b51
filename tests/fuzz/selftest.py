"""Inputs with a known outcome each: they show that the harness can tell them apart."""

from __future__ import annotations

import ctypes
import os
import pickle
import socket
import subprocess
import threading
import time
from pathlib import Path
from random import Random

from fuzz.contain import version
from fuzz.outcomes import Outcome, WronglyAcceptedError
from fuzz.target import Target

EXPECTED = {
    "sound": Outcome.ACCEPTED,
    "refused": Outcome.REFUSED,
    "full-disk": Outcome.REFUSED,
    "segfault": Outcome.CRASHED,
    "abort": Outcome.CRASHED,
    "exit": Outcome.CRASHED,
    "raise": Outcome.TRACEBACK,
    "thread": Outcome.TRACEBACK,
    "no-line": Outcome.TRACEBACK,
    "sleep": Outcome.HUNG,
    "allocate": Outcome.TOO_LARGE,
    "differs": Outcome.WRONGLY_ACCEPTED,
    "network": Outcome.WRONGLY_ACCEPTED,
    "process": Outcome.WRONGLY_ACCEPTED,
    "terminal": Outcome.WRONGLY_ACCEPTED,
    "pickle": Outcome.WRONGLY_ACCEPTED,
    "code": Outcome.WRONGLY_ACCEPTED,
    "reads": Outcome.WRONGLY_ACCEPTED,
    "reads-natively": Outcome.WRONGLY_ACCEPTED,
    "writes": Outcome.WRONGLY_ACCEPTED,
    "writes-by-link": Outcome.WRONGLY_ACCEPTED,
    "deletes": Outcome.WRONGLY_ACCEPTED,
    "deletes-natively": Outcome.WRONGLY_ACCEPTED,
    "moves": Outcome.WRONGLY_ACCEPTED,
    "machine-writes": Outcome.WRONGLY_ACCEPTED,
    "machine-deletes": Outcome.WRONGLY_ACCEPTED,
    # Prevented by the kernel, if that knows how.
    "machine-natively": Outcome.ACCEPTED if version() else Outcome.WRONGLY_ACCEPTED,
    "unmade": Outcome.BROKEN,
}


# `yes.txt`, which every child's standard input comes from, stands for a file of the machine's own.


class SelfTest(Target):
    name = "selftest"
    forms = tuple(EXPECTED)

    def prepare(self, folder: Path) -> None:
        (folder / "machine.txt").write_text("precious")

    def make(self, form: str, draw: Random, folder: Path) -> str:
        if form == "unmade":
            raise RuntimeError("no input")
        (folder / "link").symlink_to("outside/victim.txt")
        (folder / "module.py").write_text("ran = True\n")
        return f"{form}, {draw.randrange(10**6)}"

    def run(self, form: str, folder: Path) -> None:
        victim = folder / "outside" / "victim.txt"
        library = ctypes.CDLL(None)
        path = str(victim).encode()
        match form:
            case "refused":
                from vitrina.errors import StoreError

                raise StoreError("store.json is damaged; make it anew")
            case "full-disk":
                raise OSError(28, "No space left on device", "part")
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "exit":
                os._exit(0)
            case "raise":
                raise KeyError("shards")
            case "thread":
                thread = threading.Thread(target=lambda: [].pop())
                thread.start()
                thread.join()
            case "no-line":
                from vitrina.errors import StoreError

                raise StoreError(" ")
            case "sleep":
                time.sleep(60)
            case "allocate":
                parts = []
                while True:
                    parts.append(b"\x01" * 50_000_000)
            case "differs":
                raise WronglyAcceptedError("classify: 3 answers differ")
            case "network":
                with socket.socket() as sock:
                    sock.connect(("127.0.0.1", 9))
            case "process":
                subprocess.run(["true"], check=False)
            case "terminal":
                input()
            case "pickle":
                pickle.loads(pickle.dumps(Random(0)))
            case "code":
                source = folder / "module.py"
                exec(compile(source.read_text(), str(source), "exec"), {})
            case "reads":
                victim.read_bytes()
            case "reads-natively":
                handle = library.open(path, os.O_RDONLY)
                library.read(handle, ctypes.create_string_buffer(8), 8)
            case "writes":
                victim.write_bytes(b"")
            case "writes-by-link":
                (folder / "link").write_bytes(b"")
            case "deletes":
                victim.unlink()
            case "deletes-natively":
                library.unlink(path)
            case "moves":
                victim.rename(folder / "mine")
            case "machine-writes":
                (folder.parent / "yes.txt").write_bytes(b"")
            case "machine-natively":
                path = self.seeds / "machine.txt"
                library.unlink(str(path).encode())
                if not path.exists():
                    raise WronglyAcceptedError("a file of the machine's is gone")
            case "machine-deletes":
                (folder.parent / "yes.txt").unlink()


TARGET = SelfTest()
