"""Product ids as 64-bit keys: sets and tables of them that cost bytes, not Python objects.

A store's ids are all integers or all strings; a key serves only to tell ids apart inside one run,
and is never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import overload

import numpy as np
import numpy.typing as npt

from vitrina.types import Codes, IdType, Mask, ProductId

Keys = npt.NDArray[np.uint64]
"""(n,) uint64, one key per id."""


INT64 = range(-(2**63), 2**63)

_LONGEST_INTEGER = len("-9223372036854775808")


def is_canonical_integer(text: str) -> bool:
    """Whether a text is a 64-bit integer, written as the integer would be written anew."""
    digits = text[1:] if text[:1] == "-" else text
    return (
        digits.isdecimal()
        and digits.isascii()
        and len(text) <= _LONGEST_INTEGER
        and (digits[0] != "0" or text == "0")
        and int(text) in INT64
    )


@overload
def typed_id(value: None, kind: IdType) -> None: ...
@overload
def typed_id(value: ProductId, kind: IdType) -> ProductId: ...
def typed_id(value: ProductId | None, kind: IdType) -> ProductId | None:
    """An id as a store of a kind of ids has it: an integer of before its ids became strings is
    its digits."""
    return str(value) if kind is str and value is not None else value


def id_keys(ids: Sequence[ProductId]) -> Keys:
    """Give each id its key: (n,) uint64.

    Integers are taken as they are, so two of them never collide; other strings are hashed, so two
    of 100 million collide with a chance of 1 in 3,700. `1` and `"1"` are one id and have one key:
    a store whose ids were integers may come to hold strings, and all that is keyed by the old
    ones still joins.

    Raises:
        ValueError: an integer is outside int64, or an id is neither an integer nor text.
    """
    if all(isinstance(product_id, int) for product_id in ids):
        try:
            return np.array(ids, dtype=np.int64).view(np.uint64)
        except OverflowError as err:
            raise ValueError("an integer id must lie within int64") from err
    if all(isinstance(product_id, str) for product_id in ids):
        digests = b"".join([_string_key(str(text)) for text in ids])
        return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    if not all(isinstance(product_id, int | str) for product_id in ids):
        raise ValueError("an id must be an integer or text")
    return np.concatenate([id_keys([product_id]) for product_id in ids])


def _string_key(text: str) -> bytes:
    if is_canonical_integer(text):
        return int(text).to_bytes(8, "little", signed=True)
    # Escaped surrogates must not stop a look-up; no id with them is ever accepted.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def ids_as(kind: IdType, ids: Sequence[ProductId]) -> list[ProductId | None]:
    """The ids as integers, or as text; None for text that is no integer as it would be written."""
    if kind is str:
        return [str(one) for one in ids]
    return [int(one) if isinstance(one, int) or is_canonical_integer(one) else None for one in ids]


class IdSet:
    """The keys seen so far, at about 8 bytes each (twice that for a moment as runs merge).

    Sorted runs, each more than twice as long as the next, so that adding n keys in batches
    costs O(n log n) in all.
    """

    def __init__(self) -> None:
        self._runs: list[Keys] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, keys: Keys) -> Mask:
        """Add `keys` (n,); return an (n,) mask, True where a key had not been seen before.

        Of a key that stands in the batch several times, the first is the new one.
        """
        unique, first = np.unique(keys, return_index=True)
        new = ~self.contains(unique)
        mask = np.zeros(len(keys), dtype=np.bool_)
        mask[first[new]] = True
        if new.any():
            self._runs.append(unique[new])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            # Timsort, behind "stable", merges two sorted runs in one pass.
            merged.sort(kind="stable")
            self._runs.append(merged)
        return mask

    def contains(self, keys: Keys) -> Mask:
        """Return an (n,) mask, True where a key of `keys` (n,) is in the set."""
        found = np.zeros(len(keys), dtype=np.bool_)
        for run in self._runs:
            places = np.searchsorted(run, keys)
            places[places == len(run)] = 0
            found |= run[places] == keys
        return found


class IdTable:
    """Where each key stands in a sequence of rows; 16 bytes per row.

    Args:
        keys: (n,) uint64 in row order. Of a key that repeats, its first row is the one found.
    """

    def __init__(self, keys: Keys) -> None:
        self._rows: Codes = np.argsort(keys, kind="stable").astype(np.int64)
        self._keys = keys[self._rows]

    def __len__(self) -> int:
        return len(self._keys)

    def positions(self, keys: Keys) -> Codes:
        """Return (n,) int64: the row of each of `keys` (n,) uint64, -1 where it is absent."""
        if not len(self._keys):
            return np.full(len(keys), -1, dtype=np.int64)
        places = np.searchsorted(self._keys, keys)
        places[places == len(self._keys)] = 0
        return np.where(self._keys[places] == keys, self._rows[places], np.int64(-1))
