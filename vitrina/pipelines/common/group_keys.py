"""Group keys: numbers that products of one shop, or duplicates, have in common.

They let a search leave out neighbours from the product's own shop and its duplicates, without
reading titles and photos.

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
    """Number the shops: (n,) int64, equal for products of one shop, -1 where there is none.

    Case and spaces around a shop's name make no difference. Raises StoreError where a file of
    the store is missing or damaged.
    """
    return _numbered(shop_keys(products))


def duplicate_codes(products: Products) -> tuple[Codes, Codes]:
    """Number the titles and the photos; products that share either are duplicates.

    Returns two (n,) int64. Titles: equal where `normalise_title` makes them so, -1 where it
    leaves nothing. Photos: equal where all bytes of a product's are the same, -1 where there is
    none that can be read. The two arrays share no numbering. Raises StoreError where a
    file of the store is missing or damaged.
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
    """The codes of the products behind some rows, `at`: (n,) int64, -1 for none and for its."""
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
    """Turn keys into numbers from 0 in the order of the keys, and the key 0 into -1."""
    unique, places = np.unique(keys, return_inverse=True)
    codes: Codes = places.astype(np.int64)
    # 0 is the least of the keys, where it is there.
    return codes - 1 if len(unique) and unique[0] == 0 else codes
