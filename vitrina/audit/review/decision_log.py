"""In-memory log of a store's decisions, refreshed with those that other processes add."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import RLock

from vitrina.errors import StoreError
from vitrina.store.decisions import (
    Decision,
    Decisions,
    add_decisions,
    decision_files,
    decisions_in,
    in_order,
    in_types,
)
from vitrina.store.store import OpenStore
from vitrina.types import ProductId

_TRIES = 5
_FRESH = 1.0
"""Seconds for which a read-only page may use the log without a refresh."""


class DecisionLog:
    """All decisions of a store.

    lock: hold it from `refresh` to `add`, so that no two requests decide on the same state.
    """

    def __init__(self, store: OpenStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._products, self._clock = store.files, store.products, clock
        self._id_types = store.id_types
        self._read: set[str] = set()
        self._refreshed = -_FRESH
        self._known = Decisions(())
        self.lock = RLock()
        self.refresh()

    @property
    def all(self) -> tuple[Decision, ...]:
        """All decisions, by time."""
        return self._known.all

    @property
    def standing(self) -> Mapping[ProductId, Decision]:
        """The latest decision on each product that was not undone."""
        return self._known.standing

    def refresh(self, *, lately: bool = False) -> None:
        """Read decisions from new files.

        lately: skip this if it was done within the last second.

        Raises StoreError if the disk fails or a file is damaged.
        """
        with self.lock:
            if lately and self._clock() - self._refreshed < _FRESH:
                return
            try:
                new = self._unread()
            except OSError as err:
                raise StoreError(f"{self._files.place}: {err.strerror or err}") from err
            self._refreshed = self._clock()
            self._merge(new)

    def _unread(self) -> list[Decision]:
        for _ in range(_TRIES):
            names = decision_files(self._files)
            try:
                found = {
                    name: decisions_in(self._files, name)
                    for name in names
                    if name not in self._read
                }
            except FileNotFoundError:
                # Another process has merged files meanwhile.
                continue
            # Missing files are dropped: the file that replaced them has their decisions.
            self._read = set(names)
            every = (one for decisions in found.values() for one in decisions)
            return list(in_types(every, *self._id_types))
        raise StoreError(f"{self._files.place}: decisions come and go faster than they are read")

    def add(self, decisions: Sequence[Decision]) -> None:
        """Write decisions to the store atomically. Raises StoreError, and then writes none."""
        if decisions:
            with self.lock:
                try:
                    decisions = add_decisions(self._files, self._products, decisions, self.all)
                except OSError as err:
                    raise StoreError(f"{self._files.place}: {err.strerror or err}") from err
                self._merge(decisions)

    def _merge(self, decisions: Sequence[Decision]) -> None:
        keys = {one.key for one in self.all}
        if any(one.key not in keys for one in decisions):
            # A new object, so that concurrent readers keep a consistent one.
            self._known = Decisions(in_order((*self.all, *decisions)))
