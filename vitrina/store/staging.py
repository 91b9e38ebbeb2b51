"""The staging folder: published orders and their results, which no commit names.

Files are created under names that carry the order's key and their own checksum. So duplicates are
harmless, workers need no lock, and a process that is killed leaves whole files or none.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress

import numpy as np

from vitrina.errors import StoreError
from vitrina.ids import id_keys
from vitrina.store import layout
from vitrina.store.files import Files
from vitrina.store.names import Role, StoreName, parse
from vitrina.store.orders import Order, OrderResult, OrderTerms, read_order, read_result, read_terms
from vitrina.store.space import failed, read_errors
from vitrina.store.store import OpenStore

log = logging.getLogger(__name__)

_TRIES = 5


class Staging:
    """The orders and results of a store, as of the last `refresh`."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._orders: dict[str, StoreName] = {}
        self._results: defaultdict[str, list[str]] = defaultdict(list)
        self._refused: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """List the folder."""
        self._orders, self._results = {}, defaultdict(list)
        for name in self._files.names(layout.STAGING):
            parsed = parse(name)
            if parsed is not None and parsed.role is Role.ORDER:
                self._orders[name] = parsed
            elif parsed is not None and parsed.role is Role.RESULT:
                self._results[parsed.key].append(name)

    @property
    def orders(self) -> dict[str, StoreName]:
        """The published orders by name, in the order of their numbers."""
        return self._orders

    @property
    def names(self) -> list[str]:
        """The names of all its files."""
        return [*self._orders, *(name for found in self._results.values() for name in found)]

    @property
    def results(self) -> int:
        """The number of results."""
        return sum(map(len, self._results.values()))

    @property
    def next_number(self) -> int:
        """The number of the next order."""
        return 1 + max((parsed.number for parsed in self._orders.values()), default=-1)

    def publish(self, order: Order, number: int) -> None:
        """Publish an order, unless it is there already. number: of one that is not."""
        short = order.key[: layout.DIGEST]
        content = order.to_bytes()
        digest = hashlib.sha256(content).hexdigest()
        for name, parsed in [*self._orders.items()]:
            if parsed.key == short and layout.order(parsed.number, order.key, digest) == name:
                if self._has_checksum(name):
                    return
                self._files.delete(name)
        name = layout.order(number, order.key, digest)
        self._create(name, content)
        if published := parse(name):
            self._orders[name] = published

    def read(self, name: str) -> Order:
        """Read an order. Raises StoreError if it is damaged or foreign, FileNotFoundError if it is
        gone."""
        return read_order(self._files.read(name), name, self._files.where(name))

    def terms(self, name: str) -> OrderTerms | None:
        """Terms of an order; None if it is damaged, foreign or gone."""
        try:
            return read_terms(self._files.read(name), name, self._files.where(name))
        except (FileNotFoundError, StoreError):
            return None

    def put(self, result: OrderResult) -> str:
        """Write the result of an order; returns its name."""
        content = result.to_bytes()
        name = layout.order_result(result.key, hashlib.sha256(content).hexdigest())
        self._create(name, content)
        return name

    def result(self, key: str, rows: int, terms: OrderTerms) -> OrderResult | None:
        """The result of an order; None if none is there. A damaged or foreign file is
        named in a warning and not used. key, rows, terms: as of `read_result`."""
        for name in self._results.get(key[: layout.DIGEST], ()):
            try:
                content = self._files.read(name)
                return read_result(content, name, self._files.where(name), key, rows, terms)
            except FileNotFoundError:
                continue
            except StoreError as err:
                # Looked at again at every call: a worker may replace it.
                if name not in self._refused:
                    log.warning("%s", err)
                self._refused.add(name)
        return None

    def discard(self, keys: Collection[str]) -> None:
        """Delete the orders with some keys, then their results."""
        shorts = {key[: layout.DIGEST] for key in keys}
        for name in [name for name, parsed in self._orders.items() if parsed.key in shorts]:
            self._delete(name)
        for short in shorts:
            for name in self._results.pop(short, []):
                self._delete(name)

    def delete(self, name: str) -> int:
        """Delete one file. Returns its bytes."""
        try:
            size = self._files.size(name)
        except FileNotFoundError:
            return 0
        self._files.delete(name)
        return size

    def sweep(self, space: str, keep: Collection[str] = ()) -> None:
        """Delete a space's orders except those with some keys, and results without an order.

        Files that have not the checksum in their names are left alone.
        """
        kept = {key[: layout.DIGEST] for key in keep}
        for name, parsed in [*self._orders.items()]:
            if parsed.key not in kept:
                terms = self.terms(name)
                if terms is not None and terms.space == space:
                    self._delete(name)
        for name in self.without_order({parsed.key for parsed in self._orders.values()}):
            self._delete(name)

    def without_order(self, needed: Collection[str]) -> list[str]:
        """Names of results whose key is not among `needed`, of those with the right checksum."""
        return [
            name
            for short in sorted(self._results.keys() - set(needed))
            for name in self._results[short]
            if self._has_checksum(name)
        ]

    def _delete(self, name: str) -> None:
        self._files.delete(name)
        self._orders.pop(name, None)

    def _has_checksum(self, name: str) -> bool:
        parsed = parse(name)
        with suppress(FileNotFoundError):
            digest = hashlib.sha256(self._files.read(name)).hexdigest()
            return parsed is not None and digest.startswith(parsed.digest)
        return False

    def _create(self, name: str, content: bytes) -> None:
        """Create a file, or leave an equal one; a damaged one of its name is replaced."""
        for left in reversed(range(_TRIES)):
            try:
                return self._files.create(name, content)
            except FileExistsError:
                if self._has_checksum(name):
                    return None
                self._files.delete(name)
            except FileNotFoundError:
                # Another process has just deleted the folder, since it was empty, or tidied up.
                if not left:
                    raise
        raise StoreError(
            f"{self._files.where(name)} is damaged again and again; see to the disk, then run this "
            "again"
        )


def strays(store: OpenStore, staging: Staging) -> list[str]:
    """Names of orders and results that no run needs any more: those of a space that is gone, of
    products that changed or have their vectors, and results without an order."""
    found: list[str] = []
    needed: set[str] = set()
    locations = {}
    for name, parsed in staging.orders.items():
        try:
            order = staging.read(name)
        except FileNotFoundError:
            continue
        except StoreError:
            # Not ours, or damaged: left alone, with what may be its result.
            needed.add(parsed.key)
            continue
        terms = order.terms
        entry = store.manifest.spaces.get(terms.space)
        if store.manifest.products and entry and entry.fingerprint == terms.fingerprint:
            if terms.space not in locations:
                space = store.open_space(terms.space)
                errors = read_errors(store.files, entry.errors)
                done = space.locate(store.products).done
                locations[terms.space] = done | failed(store.products, terms.modality, errors)
            at = store.products.table.positions(id_keys(order.ids.to_pylist()))
            hashes = store.products.hashes(terms.modality)
            same = (at >= 0) & (hashes[np.maximum(at, 0)] == order.hashes)
            if same.all() and not locations[terms.space][at].any():
                needed.add(parsed.key)
                continue
        found.append(name)
    return found + staging.without_order(needed)
