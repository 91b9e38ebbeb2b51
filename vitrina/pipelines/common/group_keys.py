"""Group keys: numbers that products of one shop, or duplicates, have in common.

A search uses them to exclude a product's own shop and its duplicates without reading titles and
photos.

Keys are hashes, 0 for none, and are the same for products of a store and of a new batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from vitrina.data.product import Product
from vitrina.data.sources import ImageSource
from vitrina.data.split import title_keys
from vitrina.ids import Keys
from vitrina.index.exact import ExcludedRows
from vitrina.pipelines.common.photo_hashes import NO_PHOTO, PhotoHasher
from vitrina.store.products import Products, hash_bytes
from vitrina.store.shards import hashes_to_array
from vitrina.types import Codes


def shop_codes(products: Products) -> Codes:
    """Number the shops: (n,) int64, equal for products of one shop, -1 for no shop.

    Case and surrounding spaces of a shop's name are ignored. Raises StoreError if a file of the
    store is missing or damaged.
    """
    return _numbered(shop_keys(products))


def duplicate_codes(products: Products) -> tuple[Codes, Codes]:
    """Number the titles and the photos; products that share either are duplicates.

    Returns two (n,) int64. Titles: equal if equal after `normalise_title`, -1 if that leaves
    nothing. Photos: equal if all bytes of the products' photos are equal, -1 if no photo can be
    read. The numbers of the two arrays are unrelated. Raises StoreError if a file of the store is
    missing or damaged.
    """
    titles, photos = duplicate_keys(products)
    return _numbered(titles), _numbered(photos)


def shop_keys(products: Products) -> Keys:
    """Keys of the products' shops: (n,) uint64, 0 for none."""
    keys = []
    for _, batch in products.batches(["shop"]):
        # Few shops have many products: each name is hashed once for the batch.
        shops = batch.column("shop").fill_null("").dictionary_encode()
        keys.append(name_keys(shops.dictionary.to_pylist())[shops.indices.to_numpy()])
    return _joined(keys)


def duplicate_keys(products: Products) -> tuple[Keys, Keys]:
    """Keys of the products' titles, and of their photos: two (n,) uint64, 0 for none."""
    titles, photos = [], []
    for _, batch in products.batches(["title", "image_hash"]):
        titles.append(title_keys(batch.column("title").fill_null("").to_pylist()))
        # Copied, to free the other half of each hash.
        photos.append(_halves(hashes_to_array(batch.column("image_hash")).tobytes()).copy())
    return _joined(titles), _joined(photos)


def name_keys(shops: Iterable[str]) -> Keys:
    """The keys of shops by their names: (n,) uint64."""
    return np.fromiter(map(_key, shops), np.uint64)


def photo_keys(hashes: Iterable[str | None]) -> Keys:
    """The keys of photos by the hash of their contents, None for none: (n,) uint64."""
    return _halves(b"".join(map(hash_bytes, hashes)))


def codes_of(keys: Keys) -> Codes:
    """Codes of keys, one by one: (n,) int64, -1 for the key 0.

    Unlike `shop_codes`, they leave gaps, and codes of different batches can be compared.
    """
    codes: Codes = (keys >> np.uint64(1)).astype(np.int64)
    return np.where(keys == 0, np.int64(-1), codes)


def by_row(codes: Codes, at: Codes) -> Codes:
    """Codes of the products at `at`, (n,) int64; -1 where `at` is -1."""
    return np.where(at >= 0, codes[at], -1)


class ExclusionFilter:
    """Filter of index rows that new products must not find: duplicates, and their shops' products.

    products: of the store. at: (n,) int64, the product behind each row of the index, -1 for none.
    """

    def __init__(self, products: Products, at: Codes, *, duplicates: bool, shops: bool) -> None:
        self._duplicates, self._shops = duplicates, shops
        keys = [*duplicate_keys(products)] if duplicates else []
        keys += [shop_keys(products)] if shops else []
        self._rows = [by_row(codes_of(one), at) for one in keys]

    def of(self, products: Sequence[Product], images: ImageSource | None) -> ExcludedRows:
        """The exclusions of some new products. images: source of their photos, which are read for
        comparison; None to compare titles only."""
        keys = []
        if self._duplicates:
            photos = [NO_PHOTO] * len(products)
            if images is not None:
                photos = list(PhotoHasher(images).hash(products, photos))
            keys.append(title_keys([product.title for product in products]))
            keys.append(photo_keys([photo.hash for photo in photos]))
        if self._shops:
            keys.append(name_keys([product.shop for product in products]))
        return ExcludedRows(self._rows, [codes_of(one) for one in keys])


def _key(shop: str) -> int:
    name = shop.strip().casefold()
    if not name:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def _halves(hashes: bytes) -> Keys:
    """Half of each hash: the chance of a collision is 1 in 3,700 for 100 million photos."""
    return np.frombuffer(hashes, dtype=np.uint64)[::2]


def _joined(blocks: list[Keys]) -> Keys:
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.uint64)


def _numbered(keys: Keys) -> Codes:
    """Number the keys from 0 in ascending order; the key 0 becomes -1."""
    unique, places = np.unique(keys, return_inverse=True)
    codes: Codes = places.astype(np.int64)
    # 0 is the smallest key, if it occurs.
    return codes - 1 if len(unique) and unique[0] == 0 else codes
