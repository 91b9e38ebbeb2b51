"""Write lease of a store in a bucket: a lock object that its holder keeps renewing.

A lease alone can't exclude a second writer: a holder may be suspended past its expiry and resume.
Commits are safe without it, since of two with one number only one succeeds. The lease saves the
work of a writer that could not commit. A writer that takes over a lease first makes a commit of its
own (`contested`), so that the earlier holder can no longer commit.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vitrina.errors import StoreError, StoreLockedError
from vitrina.store.layout import LOCK
from vitrina.store.owner import Owner
from vitrina.typed_json import parse_json

if TYPE_CHECKING:
    from vitrina.store.files import Files

RENEW = 20.0
"""Seconds between renewals."""
EXPIRE = 180.0
"""Seconds without renewal after which a lease expires. Clocks of two machines must differ by less
than this."""

AHEAD = 86_400.0
"""Maximum seconds by which a renewal may be in the future. A later time is invalid: the lease would
never expire."""

_HELD: set[str] = set()
"""Tokens of the leases that this process holds."""


@dataclass(frozen=True)
class _Lock:
    """The content of the lock object. renewed: seconds since 1970."""

    token: str
    renewed: float
    owner: Owner


class Lease:
    """A claim to write, held by renewing an object."""

    def __init__(self, files: Files, job: str) -> None:
        self.contested = False
        self._files = files
        self._me = Owner.me(job)
        self._token = secrets.token_hex(8)
        self._lost = ""
        self._renewed = time.monotonic()

    @contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the lease in a `with` block. Raises StoreLockedError."""
        self._take()
        _HELD.add(self._token)
        done = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(done,), daemon=True)
        renewing.start()
        try:
            yield self
        finally:
            done.set()
            renewing.join()
            _HELD.discard(self._token)
            self._release()

    def check(self) -> None:
        """Raise StoreLockedError if another writer has the lease, or may have it."""
        if not self._lost and time.monotonic() - self._renewed > EXPIRE:
            self._lost = "it could not be renewed in time"
        if self._lost:
            raise StoreLockedError(
                f"{self._files.place}: the right to write was lost ({self._lost}); what is "
                "committed is safe, run it again to go on from there"
            )

    def _take(self) -> None:
        try:
            self._files.create(LOCK, self._content())
        except FileExistsError:
            current = self._read()
            if current is not None and not self._ended(current):
                raise StoreLockedError(
                    f"{self._files.place} is being written by {current.owner}; "
                    "try again when it is done"
                ) from None
            self.contested = True
            self._files.write(LOCK, self._content())

    def _ended(self, current: _Lock) -> bool:
        if current.owner == replace(self._me, job=current.owner.job):
            # Left by this process, which failed to delete it.
            return current.token not in _HELD
        return current.owner.ended(self._me) or not -AHEAD < time.time() - current.renewed <= EXPIRE

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(RENEW):
            try:
                current = self._read()
                if current is None or current.token != self._token:
                    taken = "" if current is None else f" by {current.owner}"
                    self._lost = f"taken over{taken}"
                    return
                self._files.write(LOCK, self._content())
                self._renewed = time.monotonic()
            except (StoreError, OSError):
                # The network may come back before the lease expires; `check` watches the clock.
                continue

    def _release(self) -> None:
        try:
            current = self._read()
            if current is not None and current.token == self._token:
                self._files.delete(LOCK)
        except (StoreError, OSError):
            return

    def _content(self) -> bytes:
        value = {"token": self._token, "renewed": time.time(), "owner": self._me.to_json()}
        return json.dumps(value).encode()

    def _read(self) -> _Lock | None:
        """The lock object; None if it is gone or invalid."""
        try:
            content = self._files.read(LOCK)
        except FileNotFoundError:
            return None
        try:
            return parse_json(content, _Lock, LOCK, "it is ignored")
        except StoreError:
            return None
