"""Which products are one shop's, and which are each other's duplicates, as numbers to compare.

A list of neighbours is dull where they all come from the shop of the product itself, or are that
product over again; these codes tell without a look at titles and photos.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from vitrina.data.split import title_keys
from vitrina.ids import Keys
from vitrina.store.products import Products
from vitrina.store.shards import hashes_to_array
from vitrina.types import Codes


def shop_codes(products: Products) -> Codes:
    """Number the shops: (n,) int64, equal for products of one shop, -1 where there is none.

    Case and spaces around a shop's name make no difference. Raises StoreError where a file of
    the store is missing or damaged.
    """
    keys = []
    for _, batch in products.batches(["shop"]):
        # Few shops have many products: each name is hashed once for the batch.
        shops = batch.column("shop").fill_null("").dictionary_encode()
        names = [_key(name) for name in shops.dictionary.to_pylist()]
        keys.append(np.array(names, dtype=np.uint64)[shops.indices.to_numpy()])
    return _numbered(keys)


def duplicate_codes(products: Products) -> tuple[Codes, Codes]:
    """Number the titles and the photos; products that share either are duplicates.

    Returns two (n,) int64. Titles: equal where `normalise_title` makes them so, -1 where it
    leaves nothing. Photos: equal where all bytes of a product's are the same, -1 where there is
    none that can be read. A number in one says nothing in the other. Raises StoreError where a
    file of the store is missing or damaged.
    """
    titles, photos = [], []
    for _, batch in products.batches(["title", "image_hash"]):
        titles.append(title_keys(batch.column("title").fill_null("").to_pylist()))
        # Half of a hash keeps 100 million photos apart but for a chance of 1 in 3,700, as it
        # does titles; a copy, or the other half would be held as well.
        hashes = hashes_to_array(batch.column("image_hash"))
        photos.append(hashes.view(np.uint64)[::2].copy())
    return _numbered(titles), _numbered(photos)


def _key(shop: str) -> int:
    name = shop.strip().casefold()
    if not name:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def _numbered(blocks: list[Keys]) -> Codes:
    """Turn keys into numbers from 0 in the order of the keys, and the key 0 into -1."""
    if not blocks:
        return np.zeros(0, dtype=np.int64)
    keys = np.concatenate(blocks)
    unique, places = np.unique(keys, return_inverse=True)
    codes: Codes = places.astype(np.int64)
    # 0 is the least of the keys, where it is there.
    return codes - 1 if unique[0] == 0 else codes
