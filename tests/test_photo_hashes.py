"""Which photos are read, and what is known of each afterwards."""

import pytest

from vitrina.data.product import Product
from vitrina.errors import ImageError
from vitrina.pipelines.common.photo_hashes import NO_PHOTO, Photographed, PhotoHasher
from vitrina.store.products import content_hash


class Shelf:
    """A source whose photos are in a dict; None can't be read."""

    location = "a dict"

    def __init__(self, photos, workers, stamps=True):
        self.photos, self.workers, self.stamps = photos, workers, stamps
        self.read_photos, self.forgotten = [], []

    def references(self, product):
        return product.images

    def stamp(self, reference):
        return f"{len(self.photos[reference] or b'')} bytes" if self.stamps else None

    def read(self, reference):
        self.read_photos.append(reference)
        if self.photos[reference] is None:
            raise ImageError(f"gone: {reference}")
        return self.photos[reference]

    def forget(self, reference):
        self.forgotten.append(reference)


PRODUCTS = [
    Product(1, 1, "чай", images=("a",)),
    Product(2, 2, "мыло"),
    Product(3, 3, "сок", images=("a", "b")),
    Product(4, 4, "хлеб", images=("broken",)),
    Product(5, 5, "соль", images=("broken", "b")),
]
PHOTOS = {"a": b"one", "b": b"two!", "broken": None}


def hashed(source, known=None, **options):
    known = known or [NO_PHOTO] * len(PRODUCTS)
    return list(PhotoHasher(source, **options).hash(PRODUCTS, known))


@pytest.mark.parametrize("workers", [1, 4])
def test_contents_are_hashed_in_the_order_of_the_products(workers):
    one, none, two, broken, half = hashed(Shelf(PHOTOS, workers))
    a, b = content_hash(b"one"), content_hash(b"two!")
    assert (one.references, one.hash) == (("a",), a)
    assert none == NO_PHOTO
    assert (two.references, two.hash) == (("a", "b"), content_hash((a + b).encode()))
    assert (broken.references, broken.hash) == (("broken",), None)
    assert (broken.reason, broken.tried) == ("gone: broken", True)
    # What could be read serves, and the other may be readable one day: no stamp hides that.
    assert (half.references, half.hash, half.stamp, half.reason) == (("b",), b, None, "")
    stamps = {one.stamp, two.stamp, broken.stamp}
    assert len(stamps) == 3
    assert None not in stamps


@pytest.mark.parametrize("workers", [1, 4])
def test_what_looks_as_it_did_is_not_read_again(workers):
    before = hashed(Shelf(PHOTOS, workers))
    source = Shelf({**PHOTOS, "a": b"ONE"}, workers)
    after = hashed(source, before)
    # Of the same size and thus of the same stamp; only what had no stamp is looked at.
    assert sorted(source.read_photos) == ["b", "broken"]
    assert [photo.hash for photo in after] == [photo.hash for photo in before]
    assert (after[3].reason, after[3].tried) == ("gone: broken", False)
    source = Shelf({**PHOTOS, "a": b"longer"}, workers)
    after = hashed(source, before)
    assert sorted(source.read_photos) == ["a", "a", "b", "b", "broken"]
    assert after[0].hash == content_hash(b"longer")


def test_without_stamps_everything_is_read():
    source = Shelf(PHOTOS, 1, stamps=False)
    known = [Photographed(("a",), "ab" * 16, "cd" * 16)] * len(PRODUCTS)
    assert hashed(source, known)[0] == Photographed(("a",), content_hash(b"one"), None)
    assert source.read_photos == ["a", "a", "b", "broken", "broken", "b"]


def test_anew_means_not_from_a_copy():
    source = Shelf(PHOTOS, 2)
    hashed(source)
    assert source.forgotten == []
    hashed(source, rehash=True)
    assert sorted(source.forgotten) == ["a", "a", "b", "b", "broken", "broken"]
