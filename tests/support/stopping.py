"""A process that ends in the middle of writing a store, played in this one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from vitrina.store.local import LocalFiles

CHANGES = ("publish", "create", "write", "move", "delete")
"""What changes a store's files."""


class Killed(BaseException):
    """What no `except Exception` swallows."""


@dataclass
class Stop:
    """Whether it came to that."""

    happened: bool = False


@contextmanager
def stopping_at(number: int, *, after: bool) -> Iterator[Stop]:
    """End the block just before its change of this number, counted from 0, or just after it.

    Like a killed process it cleans nothing up: no later change takes place.
    """
    left, stop, inside = number, Stop(), False

    def counted(method):
        def change(self, *arguments):
            nonlocal left, inside
            if inside:
                # Part of a change that is counted already.
                method(self, *arguments)
                return
            if left == 0 and not after:
                left -= 1
                raise Killed
            if left >= 0:
                inside = True
                try:
                    method(self, *arguments)
                finally:
                    inside = False
                left -= 1
            if left == -1 and after:
                left -= 1
                raise Killed

        return change

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(LocalFiles, name, counted(getattr(LocalFiles, name)))
        patch.setattr(LocalFiles, "_remove_leftovers", lambda _: None)
        try:
            yield stop
        except Killed:
            stop.happened = True
