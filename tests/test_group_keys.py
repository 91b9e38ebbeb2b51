import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.catalogue_files import jsonl
from vitrina.data.catalogue import Catalogue
from vitrina.data.text import normalise_title
from vitrina.pipelines.common.group_keys import duplicate_codes, shop_codes
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.store.store import OpenStore


def photo(red):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


ONE, TWO = photo(1), photo(2)
# title, shop, photo
ROWS = [
    ("Чай, чёрный", "Лавка", ONE),
    ("ЧАЙ ЧЕРНЫЙ!", " лавка ", None),
    ("Сок", "ЛАВКА", ONE),
    ("Чай", "Лавка 2", TWO),
    ("!!", None, TWO),
    ("", "", ONE[:20]),
    ("сок", "STRASSE", ONE),
    ("Хлеб", "Straße", None),
]


def groups(codes):
    """Which rows share a number, in the order of the first; rows with -1 are in none."""
    assert codes.dtype == np.int64
    assert codes.min(initial=0) >= -1
    first = dict.fromkeys(codes[codes >= 0].tolist())
    return [np.flatnonzero(codes == one).tolist() for one in first]


def store_of(folder, rows):
    images = folder / "images"
    images.mkdir()
    for number, (_, _, data) in enumerate(rows):
        if data is not None:
            (images / f"{number}.png").write_bytes(data)
    path = jsonl(
        folder / "goods.jsonl",
        *(
            {"product_id": number, "title": title, "shop_title": shop}
            for number, (title, shop, _) in enumerate(rows)
        ),
    )
    catalogue = Catalogue.read(path, images=images, image_template="{product_id}.png")
    store = OpenStore.open(folder / "shelf", create=True)
    options = EmbedOptions(text="lexical", image="thumbnail", max_failures=1.0)
    embed(catalogue, store, options)
    return store


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("apart"), ROWS).products


def test_one_shop_however_it_is_written(products):
    codes = shop_codes(products)
    assert groups(codes) == [[0, 1, 2], [3], [6, 7]]
    assert np.flatnonzero(codes == -1).tolist() == [4, 5]


def test_titles_and_photos_are_numbered_apart(products):
    titles, photos = duplicate_codes(products)
    assert groups(titles) == [[0, 1], [2, 6], [3], [7]]
    assert np.flatnonzero(titles == -1).tolist() == [4, 5]
    assert [one for one in groups(photos) if len(one) > 1] == [[0, 2, 6], [3, 4]]
    assert (photos[[1, 7]] == -1).all()


def test_numbers_start_at_zero_without_gaps(products):
    for codes in (shop_codes(products), *duplicate_codes(products)):
        assert sorted(set(codes.tolist()) - {-1}) == list(range(codes.max() + 1))


def test_the_sample(sample, tmp_path):
    catalogue = Catalogue.read(sample.train, images=sample.images)
    store = OpenStore.open(tmp_path / "shelf", create=True)
    embed(catalogue, store, EmbedOptions(text="lexical", image="none"))
    titles, photos = duplicate_codes(store.products)
    names = [normalise_title(one) for one in store.products.column("title").to_pylist()]
    shops = [one.strip().casefold() for one in store.products.column("shop").to_pylist()]
    for codes, keys in ((titles, names), (shop_codes(store.products), shops)):
        same = np.array(keys)[:, None] == np.array(keys)
        assert ((codes[:, None] == codes) == same).all()
        assert ((codes == -1) == (np.array(keys) == "")).all()
    # Nobody looked at the photos.
    assert (photos == -1).all()


def test_a_store_without_products(tmp_path):
    products = OpenStore.open(tmp_path / "shelf", create=True).products
    assert len(shop_codes(products)) == 0
    assert [len(codes) for codes in duplicate_codes(products)] == [0, 0]


class Blocks:
    """A product table in memory, in batches of three."""

    def __init__(self, **columns):
        self._table = pa.table(
            {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
        )

    def batches(self, columns):
        for number, batch in enumerate(self._table.select(columns).to_batches(max_chunksize=3)):
            yield 3 * number, batch


TEXTS = st.none() | st.text("aAß ё\t", max_size=3)
HASHES = st.none() | st.sampled_from(["ab" * 16, "cd" * 16, "ab" * 8 + "00" * 8, "01" + "00" * 15])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, HASHES), min_size=1, max_size=10))
def test_against_plain_python(rows):
    titles, shops, hashes = map(list, zip(*rows, strict=True))
    table = Blocks(title=titles, shop=shops, image_hash=hashes)
    by_title, by_photo = duplicate_codes(table)
    for codes, keys in (
        (shop_codes(table), [(one or "").strip().casefold() for one in shops]),
        (by_title, [normalise_title(one or "") for one in titles]),
        # The first eight bytes tell photos apart.
        (by_photo, [(one or "")[:16] for one in hashes]),
    ):
        expected = [[left == right for right in keys] for left in keys]
        assert (codes[:, None] == codes).tolist() == expected
        assert (codes == -1).tolist() == [not key for key in keys]
