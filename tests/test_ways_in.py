"""Feeds, archives and the web, all the way through the command line into a store."""

import json
import tarfile
from io import BytesIO
from xml.sax.saxutils import escape
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import vitrina as vt
from support.cli import vitrina
from support.web_server import Site, photo

MODELS = ("--text-model", "lexical", "--image-model", "thumbnail", "--max-failures", "0.5")

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def goods(sample):
    """The sample's products as plain values, and their photos by id."""
    with ZipFile(sample.images) as archive:
        names = set(archive.namelist())
        rows = []
        for row in pq.read_table(sample.train).to_pylist():
            name = f"images/train/{row['product_id']}.jpg"
            title = json.loads(row["text_fields"])["title"]
            data = archive.read(name) if name in names else None
            rows.append((row["product_id"], title, row["category_id"], data))
    return rows


@pytest.fixture
def expected(goods, tmp_path):
    """Image vectors of a store over a plain table and a folder."""
    folder = tmp_path / "plain"
    folder.mkdir()
    lines = []
    for product_id, title, category, data in goods:
        if data is not None:
            (folder / f"{product_id}.jpg").write_bytes(data)
        lines.append({"product_id": product_id, "title": title, "category_id": category})
    pd.DataFrame(lines).to_parquet(tmp_path / "plain.parquet")
    store = tmp_path / "plain-store"
    assert (
        vitrina("embed", tmp_path / "plain.parquet", "--store", store, "--images", folder, *MODELS)
        == 0
    )
    return vectors(store)


def vectors(store):
    opened = vt.Store.open(store)
    return {
        modality: dict(zip(ids.to_pylist(), matrix.astype(np.float32), strict=True))
        for modality in ("text", "image")
        for ids, matrix in [vt.vectors(opened, modality)]
    }


def check_same(store, expected):
    found = vectors(store)
    for modality, by_id in expected.items():
        assert found[modality].keys() == by_id.keys()
        for product_id, vector in by_id.items():
            assert np.array_equal(found[modality][product_id], vector), (modality, product_id)


def feed(path, goods, address):
    """A YML feed in windows-1251 whose pictures are on a web site."""
    offers = "".join(
        f'<offer id="{product_id}"><name>{escape(title)}</name><price>{product_id}.50</price>'
        f"<categoryId>{category}</categoryId>"
        + (f"<picture>{address}/{product_id}.jpg</picture>" if data is not None else "")
        + "</offer>"
        for product_id, title, category, data in goods
    )
    categories = "".join(
        f'<category id="{category}">к{category}</category>'
        for category in sorted({row[2] for row in goods})
    )
    path.write_bytes(
        '<?xml version="1.0" encoding="windows-1251"?><yml_catalog><shop>'
        f"<categories>{categories}</categories><offers>{offers}</offers></shop></yml_catalog>".encode(
            "cp1251", "xmlcharrefreplace"
        )
    )
    return path


@pytest.mark.slow
def test_a_feed_with_its_pictures_on_the_web(goods, expected, tmp_path, capsys):
    site = Site()
    try:
        for product_id, _, _, data in goods:
            if data is not None:
                site.put(f"/{product_id}.jpg", photo(data))
        path = feed(tmp_path / "feed.xml", goods, site.url("/").rstrip("/"))
        arguments = ("embed", path, "--store", tmp_path / "web", "--images", "web", *MODELS)
        assert vitrina(*arguments) == 1
        assert "most often: private address refused: 127.0.0.1" in capsys.readouterr().err
        assert site.requests == []
        # Nothing was fitted on the photos that were not there.
        assert vt.Store.open(tmp_path / "web").manifest.spaces.keys() == {"text-lexical"}
        again = ("--allow-private", "--num-workers", 3)
        assert vitrina(*arguments, *again) == 0
        assert 1 <= site.most <= 3
        check_same(tmp_path / "web", expected)
        products = pd.read_parquet(tmp_path / "web/products")
        assert json.loads(products["metadata"][0])["price"] == goods[0][0] + 0.5
        assert products["category_name"][0] == f"к{goods[0][2]}"
        # How it was read is remembered, and nothing is fetched twice.
        asked = len(site.requests)
        capsys.readouterr()
        assert vitrina("embed", path, "--store", tmp_path / "web", "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["new"], report["changed"], report["unchanged"]) == (0, 0, len(goods))
        assert len(site.requests) == asked
        assert (
            vitrina("embed", path, "--store", tmp_path / "web", "--rehash", *MODELS, again[0]) == 0
        )
        assert len(site.requests) > asked
    finally:
        site.close()


@pytest.mark.slow
def test_a_webdataset_brings_its_photos_along(goods, expected, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, start in enumerate(range(0, len(goods), 40)):
        with tarfile.open(folder / f"goods-{number:04d}.tar", "w") as archive:
            for product_id, title, category, data in goods[start : start + 40]:
                fields = {"title": title, "category_id": category}
                parts = {"json": json.dumps(fields, ensure_ascii=False).encode(), "jpg": data}
                for suffix, content in parts.items():
                    if content is not None:
                        member = tarfile.TarInfo(f"{product_id}.{suffix}")
                        member.size = len(content)
                        archive.addfile(member, BytesIO(content))
    assert vitrina("embed", folder, "--store", tmp_path / "wds", *MODELS) == 0
    check_same(tmp_path / "wds", expected)


@pytest.mark.slow
def test_photos_in_a_tar_beside_a_table(goods, expected, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(tmp_path / "plain", "photos")
    arguments = ("--images", tmp_path / "photos.tar", "--image-template", "photos/{product_id}.jpg")
    store = tmp_path / "tar"
    assert vitrina("embed", tmp_path / "plain.parquet", "--store", store, *arguments, *MODELS) == 0
    check_same(store, expected)
    assert len(goods) == len(vectors(store)["text"])


def test_further_columns_are_kept_and_their_change_touches_no_encoder(goods, tmp_path, capsys):
    rows = [{"product_id": one[0], "title": one[1], "price": at} for at, one in enumerate(goods)]
    table, store = tmp_path / "goods.parquet", tmp_path / "store"
    pd.DataFrame(rows).to_parquet(table)
    arguments = ("embed", table, "--store", store, "--keep-columns", "price", *MODELS[:2], "--json")
    assert vitrina(*arguments) == 0
    capsys.readouterr()
    rows[3]["price"] = 999
    pd.DataFrame(rows).to_parquet(table)
    assert vitrina(*arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["changed"], report["relabelled"]) == (0, 1)
    assert [(one["embedded"], one["reused"]) for one in report["spaces"]] == [(0, 0)]
    kept = pd.read_parquet(store / "products")["metadata"]
    assert [json.loads(one)["price"] for one in kept[:4]] == [0, 1, 2, 999]
