"""Effects that no input may have, watched by an audit hook of Python's.

Network, subprocesses, unpickling, a question on the terminal, code from the input's folder, a file
outside of it opened, changed or deleted. What would change a file of the machine's own is prevented
as well, not only noted: a fault must do no harm when it is found.

Files that native code opens are found by the time of their last access, those it changes by their
content.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrina.data.readers import sheet_process

OUTSIDE = "outside"
"""The folder beside the input whose files must be left alone; it stands for the user's own."""
SECRET = b"CANARY-7f3a9c41d2e85b60"
"""What its files hold."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SHEET_PROCESS = [sys.executable, "-P", sheet_process.__file__]
"""The one command that may be started."""
_LURES = ("/etc/passwd", "/etc/hostname", "/etc/shadow")


class Guard:
    """Notes the violations of one process; made once, before it forks."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._root = ""
        self._writable: tuple[str, ...] = ()
        self._before: dict[str, tuple[int, str]] = {}
        self._handlers: dict[str, Callable[..., None]] = {
            "open": self._opened,
            # Of a file that is given by a descriptor's number, only what it is linked to changes.
            "os.remove": lambda path, at: self._changed(path, at),
            "os.rmdir": lambda path, at: self._changed(path, at),
            "os.mkdir": lambda path, _, at: self._changed(path, at),
            "os.chmod": lambda path, _, at: self._changed(path, at),
            "os.truncate": lambda path, _: self._changed(path),
            "os.rename": self._renamed,
            "os.link": lambda _, target, __, at: self._changed(target, at),
            "os.symlink": lambda _, target, at: self._changed(target, at),
            "socket.connect": self._network,
            "socket.getaddrinfo": self._network,
            "socket.sendto": self._network,
            "subprocess.Popen": self._process,
            "os.system": self._process,
            "os.exec": self._process,
            "os.posix_spawn": self._process,
            "builtins.input": self._asked,
            "pickle.find_class": self._unpickled,
            "exec": self._executed,
            "import": self._imported,
        }
        sys.addaudithook(self._hook)

    def arm(self, root: Path, *writable: Path) -> None:
        """Watch from now on. root: the input's folder. writable: where else may be written."""
        self.violations.clear()
        self._before = _look(root / OUTSIDE)
        self._writable = (*(os.path.realpath(path) for path in writable), "/dev/null")
        self._root = os.path.realpath(root)

    def disarm(self) -> None:
        """Stop watching, and look at what lies outside."""
        root, self._root = Path(self._root), ""
        folder = root / OUTSIDE
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_atime_ns > _LONG_AGO:
                self._note(f"read outside: {path.relative_to(root)}")
        after = _look(folder)
        for name in sorted(self._before.keys() | after.keys()):
            if self._before.get(name, (0, ""))[1] != after.get(name, (0, ""))[1]:
                what = "deleted" if name not in after else "changed"
                self._note(f"{what if name in self._before else 'made'} outside: {name}")

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._root and (handler := self._handlers.get(event)) is not None:
            handler(*arguments)

    def _note(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        real = os.path.realpath(os.fsdecode(path))
        writes = bool(flags & _WRITING) if isinstance(flags, int) else False
        if writes or (isinstance(mode, str) and any(letter in mode for letter in "wax+")):
            if not self._may_write(real):
                self._note(f"wrote outside: {self._short(real)}")
                self._prevent(real)
        elif real in _LURES or real.startswith(f"{self._root}/{OUTSIDE}/"):
            self._note(f"read outside: {self._short(real)}")

    def _changed(self, path: Any, at: int = -1) -> None:
        """at: the descriptor of the folder that a relative path starts from; -1 for the current."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        place = _place(path, at)
        if not self._may_write(place):
            self._note(f"changed outside: {self._short(place)}")
            self._prevent(place)

    def _prevent(self, path: str) -> None:
        """Raise PermissionError for a file of the machine's own, which must survive the fuzzer."""
        if not path.startswith(f"{self._root}/"):
            raise PermissionError(errno.EPERM, "the fuzzer keeps this file from harm", path)

    def _renamed(self, source: Any, target: Any, at: int, target_at: int) -> None:
        self._changed(source, at)
        self._changed(target, target_at)

    def _network(self, *arguments: Any) -> None:
        host = arguments[1] if len(arguments) == 2 else arguments[0]
        self._note("asked the network")
        raise OSError(f"the fuzzer has no network ({host})")

    def _process(self, *arguments: Any) -> None:
        if arguments[1:2] != (_SHEET_PROCESS,):
            self._note(f"started a process: {arguments[0]!r:.80}")

    def _asked(self, *_: Any) -> None:
        self._note("asked on the terminal")

    def _unpickled(self, module: Any, name: Any) -> None:
        # numba keeps compiled kernels pickled, in a folder of the user's own.
        frame = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith("numba."):
                return
            frame = frame.f_back  # type: ignore[assignment]
        self._note(f"unpickled {module}.{name}")

    def _executed(self, code: Any, *_: Any) -> None:
        if str(getattr(code, "co_filename", "")).startswith(self._root):
            self._note("ran code from the input's folder")

    def _imported(self, module: Any, filename: Any, *_: Any) -> None:
        if filename and str(filename).startswith(self._root):
            self._note(f"imported {module} from the input's folder")

    def _may_write(self, path: str) -> bool:
        if path.startswith(self._root + "/"):
            return not path.startswith(f"{self._root}/{OUTSIDE}")
        return path.startswith(self._writable)

    def _short(self, path: str) -> str:
        return path.removeprefix(self._root + "/")


_LONG_AGO = 10**18
"""Nanoseconds: September 2001."""


def put_outside(root: Path) -> Path:
    """Make the files that must be left alone, last accessed and changed long ago, so that the next
    access is noted even where the file system notes one a day."""
    folder = root / OUTSIDE
    (folder / "folder").mkdir(parents=True)
    for name in ("victim.txt", "victim.json", "folder/victim.parquet", "folder/part-00000-x.bin"):
        path = folder / name
        path.write_bytes(SECRET)
        os.utime(path, ns=(_LONG_AGO, _LONG_AGO))
    return folder


def _look(folder: Path) -> dict[str, tuple[int, str]]:
    """The files in a folder by name: their time of change, and their content's hash."""
    found: dict[str, tuple[int, str]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            status = path.stat()
            found[name] = (status.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
            os.utime(path, ns=(min(status.st_atime_ns, _LONG_AGO), status.st_mtime_ns))
        else:
            found[name] = (0, "folder")
    return found


def _place(path: Any, at: int = -1) -> str:
    """Where a name itself stands, not what it points to."""
    name = os.fsdecode(path)
    if at >= 0 and not os.path.isabs(name):
        name = os.path.join(os.readlink(f"/proc/self/fd/{at}"), name)
    folder, name = os.path.split(os.path.abspath(name))
    return os.path.join(os.path.realpath(folder), name)
