"""Each input in a child process of its own, with limits on time and memory."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from fuzz.contain import contain
from fuzz.guard import Guard, put_outside
from fuzz.outcomes import Case, Outcome, Result, WronglyAcceptedError
from fuzz.target import Target, copy_files

_POLL = 0.02
_MOST_WAITING = 6
_LONGEST = 3000
"""Characters of a message, so that a pipe holds it whole."""


@dataclass(frozen=True)
class Limits:
    """seconds: for one input, by the clock, without those in which it waited for a CPU (another
    process may have taken them). memory: bytes resident at most, imports included; a
    child that has twice as many is killed."""

    seconds: float = 20.0
    memory: int = 1_500_000_000


class Runner:
    """Runs inputs of one class, one after the other, below a scratch folder."""

    def __init__(self, target: Target, scratch: Path, limits: Limits, kept: Path) -> None:
        self._target, self._limits, self._kept = target, limits, kept
        self._scratch = scratch
        self._cache = scratch / "cache"
        self._cache.mkdir(parents=True, exist_ok=True)
        os.environ["VITRINA_CACHE"] = str(self._cache)
        os.environ["HF_HOME"] = str(self._cache / "hf")
        self._guard = Guard()
        self._answers = scratch / "yes.txt"
        self._answers.write_text("y\n" * 1000)

    def warm_up(self) -> None:
        """Run sound inputs here, so that children find modules imported and kernels compiled.

        What is computed uses this thread alone. Arrow's threads are started anew after a fork.
        """
        with silenced(), suppress(Exception):
            self._target.warm_up()
        # What is there now stays, and need not be copied when reference counts are gone through.
        gc.collect()
        gc.freeze()

    def run(self, case: Case, keep: bool = True) -> Result:
        """Make one input, run it, and keep it if it failed."""
        folder = self._scratch / case.name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "tmp").mkdir(parents=True)
        put_outside(folder)
        result = self._in_child(case, folder, make=True)
        if keep and result.failed:
            self._keep(result, folder)
        _remove(folder)
        return result

    def run_kept(self, source: Path) -> Result:
        """Run an input that was kept, in the place where it was made: absolute paths in it lead
        there."""
        told = json.loads((source / "result.json").read_text(encoding="utf-8"))
        folder = Path(told["place"])
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        copy_files(source, folder)
        (folder / "tmp").mkdir(exist_ok=True)
        try:
            return self._in_child(Case(**told["case"]), folder, make=False)
        finally:
            _remove(folder)
            with suppress(OSError):
                os.removedirs(folder.parent)

    def _keep(self, result: Result, folder: Path) -> None:
        place = self._kept / result.case.name
        if place.exists():
            shutil.rmtree(place)
        if sum(1 for _ in self._kept.glob("*")) >= 400:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        # The child may have spoilt it: it is made anew, up to where it would run.
        _remove(folder)
        (folder / "tmp").mkdir(parents=True)
        put_outside(folder)
        self._in_child(result.case, folder, make=True, only_make=True)
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        copy_files(folder, place)
        told = {**result.to_json(), "command": result.case.command, "place": str(folder)}
        (place / "result.json").write_text(json.dumps(told, ensure_ascii=False, indent=1))

    def _in_child(self, case: Case, folder: Path, *, make: bool, only_make: bool = False) -> Result:
        read, write = os.pipe()
        errors = self._scratch / "stderr.txt"
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _Child(self._target, self._guard, write, errors, self._answers).run(
                case, folder, self._limits, self._cache, make, only_make
            )
        os.close(write)
        stopped, peak = self._watch(pid, began)
        _, status, used = os.wait4(pid, 0)
        seconds = used.ru_utime + used.ru_stime
        with os.fdopen(read, "rb") as pipe:
            told: dict[str, Any] = {}
            for line in pipe.read().splitlines():
                with suppress(ValueError):
                    told.update(json.loads(line))
        peak = max(peak, used.ru_maxrss * 1024)
        outcome, kind, detail = self._judged(told, stopped, status, peak, errors)
        if make and "how" not in told:
            outcome, kind = Outcome.BROKEN, told.get("kind", kind)
        return Result(case, outcome, kind, detail[-_LONGEST:], told.get("how", ""), seconds, peak)

    def _watch(self, pid: int, began: float) -> tuple[Outcome | None, int]:
        """Wait for a child's end, or kill it; the reason it was killed for, and its peak."""
        handle = os.pidfd_open(pid)
        peak = 0
        try:
            while not select.select([handle], [], [], _POLL)[0]:
                peak = max(peak, _resident(pid))
                reason = None
                passed = time.monotonic() - began
                if passed > self._limits.seconds and (
                    passed - _waited(pid) > self._limits.seconds
                    or passed > _MOST_WAITING * self._limits.seconds
                ):
                    reason = Outcome.HUNG
                elif peak > 2 * self._limits.memory:
                    reason = Outcome.TOO_LARGE
                if reason is not None:
                    if reason is Outcome.HUNG:
                        # It prints where it stands.
                        os.kill(pid, signal.SIGUSR1)
                        time.sleep(0.1)
                    os.kill(pid, signal.SIGKILL)
                    select.select([handle], [], [], 5)
                    return reason, peak
        finally:
            os.close(handle)
        return None, peak

    def _judged(
        self,
        told: dict[str, Any],
        stopped: Outcome | None,
        status: int,
        peak: int,
        errors: Path,
    ) -> tuple[Outcome, str, str]:
        last = ""
        if errors.exists():
            last = errors.read_text(encoding="utf-8", errors="replace")[-_LONGEST:]
        if stopped is Outcome.HUNG:
            place = _innermost(last)
            return Outcome.HUNG, f"hung in {place}", last
        if stopped is Outcome.TOO_LARGE or peak > self._limits.memory:
            return Outcome.TOO_LARGE, told.get("kind", "killed"), f"{peak / 1e6:.0f} MB\n{last}"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return Outcome.CRASHED, f"signal {number} in {_innermost(last)}", last
        if "outcome" not in told:
            return Outcome.CRASHED, f"exit code {os.WEXITSTATUS(status)}", last
        return Outcome(told["outcome"]), told["kind"], told["detail"]


class _Child:
    """The process of one input; never returns."""

    def __init__(
        self, target: Target, guard: Guard, pipe: int, errors: Path, answers: Path
    ) -> None:
        self._target, self._guard, self._pipe = target, guard, pipe
        self._errors, self._answers = errors, answers

    def run(
        self,
        case: Case,
        folder: Path,
        limits: Limits,
        cache: Path,
        make: bool,
        only_make: bool,
    ) -> None:
        try:
            self._prepare(folder, limits)
            if make:
                draw = Random(f"{case.target}/{case.form}/{case.seed}/{case.number}")
                try:
                    how = self._target.make(case.form, draw, folder)
                except BaseException as err:
                    self._tell(outcome=Outcome.BROKEN, **_told(err))
                    return
                self._tell(how=how[:_LONGEST])
            if not only_make:
                self._tell(**self._outcome(case.form, folder, cache))
        finally:
            os._exit(0)

    def _prepare(self, folder: Path, limits: Limits) -> None:
        os.setpgid(0, 0)
        out = os.open(os.devnull, os.O_WRONLY)
        errors = os.open(self._errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        answers = os.open(self._answers, os.O_RDONLY)
        for source, place in ((answers, 0), (out, 1), (errors, 2)):
            os.dup2(source, place)
        # The scratch folder of this worker, with the cache and the input.
        contain([folder.parent])
        faulthandler.enable(sys.__stderr__)
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, all_threads=True)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        seconds = int(2 * limits.seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        os.environ.update(TMPDIR=str(folder / "tmp"), HOME=str(folder / "tmp"))
        import tempfile

        tempfile.tempdir = str(folder / "tmp")
        os.chdir(folder / "tmp")

    def _outcome(self, form: str, folder: Path, cache: Path) -> dict[str, Any]:
        from vitrina.errors import VitrinaError

        unraised: list[BaseException] = []
        threading.excepthook = lambda hooked: unraised.append(
            hooked.exc_value or RuntimeError("a thread failed")
        )
        sys.unraisablehook = lambda hooked: unraised.append(
            hooked.exc_value or RuntimeError("an exception was ignored")
        )
        told: dict[str, Any]
        self._guard.arm(folder, cache)
        try:
            self._target.run(form, folder)
            told = {"outcome": Outcome.ACCEPTED, "kind": "", "detail": ""}
        except WronglyAcceptedError as err:
            told = {
                "outcome": Outcome.WRONGLY_ACCEPTED,
                "kind": str(err).partition(":")[0],
                "detail": str(err),
            }
        except VitrinaError as err:
            told = {"outcome": Outcome.REFUSED, "kind": type(err).__name__, "detail": str(err)}
            # The command line joins lines; a message of a page is no clear line all the same.
            if not str(err).strip() or len(str(err)) > 4000:
                told = {**told, "outcome": Outcome.TRACEBACK, "kind": "no clear line"}
        except OSError as err:
            told = {"outcome": Outcome.REFUSED, "kind": type(err).__name__, "detail": str(err)}
        except BaseException as err:
            told = {"outcome": Outcome.TRACEBACK, **_told(err)}
        self._guard.disarm()
        if unraised and not Outcome(told["outcome"]).failed:
            told = {"outcome": Outcome.TRACEBACK, **_told(unraised[0])}
        if self._guard.violations and told["outcome"] != Outcome.TRACEBACK:
            told = {
                "outcome": Outcome.WRONGLY_ACCEPTED,
                "kind": self._guard.violations[0],
                "detail": "; ".join(self._guard.violations),
            }
        return told

    def _tell(self, **told: Any) -> None:
        short = {name: str(value)[:_LONGEST] for name, value in told.items()}
        os.write(self._pipe, json.dumps(short).encode() + b"\n")


def _told(err: BaseException) -> dict[str, str]:
    """What a traceback says: where, by the innermost frame of Vitrina's own, and why."""
    frames = traceback.extract_tb(err.__traceback__)
    ours = [frame for frame in frames if "/vitrina/" in frame.filename]
    at = (ours or frames)[-1] if frames else None
    place = f"{_short(at.filename)}:{at.name}" if at else "nowhere"
    text = "".join(traceback.format_exception(err))
    return {"kind": f"{type(err).__name__} in {place}", "detail": text[-_LONGEST:]}


def _short(filename: str) -> str:
    return filename.rpartition("/vitrina/")[2] if "/vitrina/" in filename else filename


def _innermost(printed: str) -> str:
    """The innermost frame of Vitrina's own of what faulthandler printed."""
    for line in printed.splitlines():
        if "/vitrina/" in line and " in " in line:
            return _short(line.split('"')[1]) + ":" + line.rpartition(" in ")[2]
    return "native code"


def _resident(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return int(words[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _waited(pid: int) -> float:
    """Seconds that a process was ready to run and had no CPU."""
    try:
        words = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
        return int(words[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _remove(folder: Path) -> None:
    """Delete an input's folder, whatever was made of its rights."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def silenced() -> Iterator[None]:
    """Send standard output and error nowhere, from native code too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(place, os.dup(place)) for place in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for place, _ in kept:
            os.dup2(nowhere, place)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for place, original in kept:
            os.dup2(original, place)
            os.close(original)
        os.close(nowhere)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory, if the machine has one."""
    import tempfile

    base = Path("/dev/shm")
    where = str(base) if base.is_dir() and os.access(base, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vitrina-fuzz-", dir=where) as name:
        yield Path(name)


def ended(_: int, __: FrameType | None) -> None:
    """Handle SIGTERM as an interruption, so that folders are removed."""
    raise KeyboardInterrupt
