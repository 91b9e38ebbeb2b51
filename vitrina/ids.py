"""Product ids as 64-bit keys, with compact array-based sets and lookup tables.

A store's ids are all integers or all strings. A key only distinguishes ids within one run and is
never stored.
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
    """Return True if `text` equals `str(n)` for some 64-bit integer n."""
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
    """Convert an id to the store's id type: an integer becomes its digits in a store of strings."""
    return str(value) if kind is str and value is not None else value


def id_keys(ids: Sequence[ProductId]) -> Keys:
    """Map each id to its key: (n,) uint64.

    Integers map to themselves and never collide. Other strings are hashed; among 100 million, the
    chance of any collision is 1 in 3,700. `1` and `"1"` are one id and share a key, so data keyed
    by integer ids still joins after a store changes to string ids.

    Raises:
        ValueError: an integer is outside int64, or an id is neither an integer nor text.
    """
    if all(isinstance(product_id, int) for product_id in ids):
        try:
            return np.array(ids, dtype=np.int64).view(np.uint64)
        except OverflowError as err:
            raise ValueError("an integer id must fit into int64") from err
    if all(isinstance(product_id, str) for product_id in ids):
        digests = b"".join([_string_key(str(text)) for text in ids])
        return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
    if not all(isinstance(product_id, int | str) for product_id in ids):
        raise ValueError("an id must be an integer or text")
    return np.concatenate([id_keys([product_id]) for product_id in ids])


def _string_key(text: str) -> bytes:
    if is_canonical_integer(text):
        return int(text).to_bytes(8, "little", signed=True)
    # Lone surrogates must not fail a lookup; no id that contains them is ever accepted.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def ids_as(kind: IdType, ids: Sequence[ProductId]) -> list[ProductId | None]:
    """Convert ids to integers or to text; None for text that is not a canonical integer."""
    if kind is str:
        return [str(one) for one in ids]
    return [int(one) if isinstance(one, int) or is_canonical_integer(one) else None for one in ids]


class IdSet:
    """Set of keys at about 8 bytes each, briefly twice that while runs merge.

    Keys are kept in sorted runs, each more than twice as long as the next, so adding n keys in
    batches costs O(n log n) in total.
    """

    def __init__(self) -> None:
        self._runs: list[Keys] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, keys: Keys) -> Mask:
        """Add `keys` (n,) uint64; return an (n,) bool mask, True where a key is new.

        If a key occurs several times in the batch, only its first occurrence is new.
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
        """Return an (n,) bool mask, True where a key of `keys` (n,) uint64 is in the set."""
        found = np.zeros(len(keys), dtype=np.bool_)
        for run in self._runs:
            places = np.searchsorted(run, keys)
            places[places == len(run)] = 0
            found |= run[places] == keys
        return found


class IdTable:
    """Lookup table from key to row position; 16 bytes per row.

    Args:
        keys: (n,) uint64 in row order. A repeated key maps to its first row.
    """

    def __init__(self, keys: Keys) -> None:
        self._rows: Codes = np.argsort(keys, kind="stable").astype(np.int64, copy=False)
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
