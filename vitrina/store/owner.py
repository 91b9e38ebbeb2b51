"""Identity of a store's writer process, to name it and to detect that it has ended."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from vitrina.errors import printable
from vitrina.typed_json import convert_json

_SHOWN = 100
"""Maximum characters of the job and the host in a message."""


@dataclass(frozen=True)
class Owner:
    """A process. boot: the machine's boot id. started: in clock ticks. Both are read from /proc."""

    job: str
    pid: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    host: str
    boot: str = ""
    started: str = ""

    @classmethod
    def me(cls, job: str) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(job, pid, socket.gethostname(), _boot(), _started(pid))

    @classmethod
    def from_json(cls, value: Any) -> Owner:
        """Parse the result of `to_json`. Raises StoreError for anything else."""
        return convert_json(value, cls, "the record of a writer", "it is ignored")

    def to_json(self) -> dict[str, Any]:
        """The JSON form in the lock."""
        return asdict(self)

    def on(self, other: Owner) -> bool:
        """True if both ran on one machine within one boot."""
        return (self.host, self.boot) == (other.host, other.boot)

    def ended(self, me: Owner) -> bool:
        """True if it is known to have ended; only processes on `me`'s machine can be checked."""
        return self.on(me) and _started(self.pid) != self.started

    def __str__(self) -> str:
        job, host = (" ".join(printable(text[:_SHOWN]).split()) for text in (self.job, self.host))
        return f"`vitrina {job}` (process {self.pid} on {host})"


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _started(pid: int) -> str:
    """A process's start in clock ticks, to distinguish a later process with the same id."""
    # Field 22 is the twentieth after the name, which may hold spaces and brackets.
    return (_text(f"/proc/{pid}/stat").rpartition(")")[2].split() + [""] * 20)[19]


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
