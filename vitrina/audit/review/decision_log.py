"""The store's decisions as one server knows them, kept up with what other processes add."""

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
from vitrina.store.store import Store
from vitrina.types import ProductId

_TRIES = 5
_FRESH = 1.0
"""Seconds for which a page that only looks is content with what is known."""


class Log:
    """All decisions of a store.

    lock: hold it from looking to adding, so that two requests don't decide on the same sight.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._products, self._clock = store.files, store.products, clock
        self._id_types = store.id_types
        self._read: set[str] = set()
        self._looked = -_FRESH
        self._known = Decisions(())
        self.lock = RLock()
        self.refresh()

    @property
    def all(self) -> tuple[Decision, ...]:
        """By time."""
        return self._known.all

    @property
    def standing(self) -> Mapping[ProductId, Decision]:
        """Of each product the last one that was not taken back."""
        return self._known.standing

    def refresh(self, *, lately: bool = False) -> None:
        """Take in what was added; only files not seen yet are read.

        lately: having done so in the last second will do.

        Raises StoreError if the disk fails or a file is damaged.
        """
        with self.lock:
            if lately and self._clock() - self._looked < _FRESH:
                return
            try:
                new = self._unread()
            except OSError as err:
                raise StoreError(f"{self._files.place}: {err.strerror or err}") from err
            self._looked = self._clock()
            self._learn(new)

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
                # Several were made one meanwhile.
                continue
            # Names that are gone are forgotten: what they held is in the one that replaced them.
            self._read = set(names)
            every = (one for decisions in found.values() for one in decisions)
            return list(in_types(every, *self._id_types))
        raise StoreError(f"{self._files.place}: decisions come and go faster than they are read")

    def add(self, decisions: Sequence[Decision]) -> None:
        """Put decisions into the store at once. Raises StoreError, and then none are in it."""
        if decisions:
            with self.lock:
                try:
                    decisions = add_decisions(self._files, self._products, decisions, self.all)
                except OSError as err:
                    raise StoreError(f"{self._files.place}: {err.strerror or err}") from err
                self._learn(decisions)

    def _learn(self, decisions: Sequence[Decision]) -> None:
        keys = {one.key for one in self.all}
        if any(one.key not in keys for one in decisions):
            # A new value, not a changed one: requests that are reading go on with the old.
            self._known = Decisions(in_order((*self.all, *decisions)))
