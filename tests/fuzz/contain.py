"""Landlock: a process gives up the right to change files, but for some folders (Linux 5.13).

A fault that is looked for must do no harm when it is found: a store that makes Vitrina delete a
file would delete one of the machine's. What the kernel forbids, native code can't do either.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVILEGES = 38
_WRITE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
# Removing folders and files, making whatever can be made.
_CHANGE = sum(1 << bit for bit in range(4, 13))


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Of Landlock's interface; 0 where the kernel has none."""
    found = ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, 1)
    return max(0, int(found))


def contain(writable: Iterable[Path]) -> bool:
    """Give up the right to change anything but what is in these folders, for good; False where the
    kernel can't. Raises OSError if it should and does not."""
    level = version()
    if not level:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    handled = _WRITE | _CHANGE | (_REFER if level > 1 else 0) | (_TRUNCATE if level > 2 else 0)
    attributes = _Ruleset(handled)
    rules = library.syscall(_CREATE, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    _check(rules)
    for path in (*writable, Path(os.devnull)):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = handled if path.is_dir() else handled & (_WRITE | _TRUNCATE)
        _check(library.syscall(_ADD, rules, 1, ctypes.byref(_Beneath(allowed, place)), 0))
        os.close(place)
    _check(library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(library.syscall(_RESTRICT, rules, 0))
    os.close(rules)
    return True


def _check(outcome: int) -> None:
    if outcome < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
