"""The files that the documentation's examples read, made of the built-in sample."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pandas as pd

from support.tuning import write_model
from support.web_server import Site, photo
from vitrina.sample import write_sample


def write_inputs(folder: Path, site: Site) -> None:
    """Write feed.xml, links.csv, supplier.xlsx, shop.db and a text model beside `data/`.

    site: serves the photos that the feed and the table link to.
    """
    products = _products(folder / "data" / "train.parquet")
    links = _serve(folder / "data" / "images.zip", site)
    (folder / "feed.xml").write_text(_feed(products, links), encoding="utf-8")
    table = [
        {
            "sku": one["product_id"],
            "name": one["title"],
            "category": one["category_name"],
            "photo": links.get(one["product_id"], ""),
        }
        for one in products
    ]
    pd.DataFrame(table).to_csv(folder / "links.csv", index=False)
    supplier = [
        {
            "Артикул": f"KR-{at:03}",
            "Наименование": one["title"],
            "Описание": one["description"],
            "Бренд": "Bergen",
            "Цена": f"1 {at:03},50",
        }
        for at, one in enumerate(_products(folder / "data" / "test.parquet"))
    ]
    pd.DataFrame(supplier).to_excel(folder / "supplier.xlsx", index=False, engine="xlsxwriter")
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as shop:
        for name, file in (("products", "train"), ("new_products", "test")):
            rows = pd.read_parquet(folder / "data" / f"{file}.parquet")
            rows.assign(active=1).to_sql(name, shop, index=False)
    write_model(folder / "rubert-tiny2")


def write_start(folder: Path, site: Site, products: int = 1200) -> None:
    """Write what a guide starts from: the sample, a store of it with index and head, the inputs."""
    import vitrina as vt

    sample = write_sample(folder / "data", products=products, seed=0)
    store = vt.Store.create(folder / "shelf")
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    vt.embed(catalogue, store, text="lexical", image="thumbnail")
    vt.build_index(store)
    vt.train(store)
    write_inputs(folder, site)


def _products(file: Path) -> list[dict[str, str]]:
    rows = pd.read_parquet(file).to_dict("records")
    return [{**one, **json.loads(one["text_fields"])} for one in rows]


def _serve(images: Path, site: Site) -> dict[str, str]:
    links = {}
    with zipfile.ZipFile(images) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            links[int(Path(name).stem)] = site.put(f"/{Path(name).name}", photo(data))
    return links


def _feed(products: list[dict[str, str]], links: dict[str, str]) -> str:
    ids: dict[tuple[str, ...], int] = {}
    for one in products:
        path = tuple(one["category_name"].split("->"))
        for depth in range(1, len(path) + 1):
            ids.setdefault(path[:depth], len(ids) + 1)
    categories = "".join(
        f"<category id={quoteattr(str(number))}"
        f"{f' parentId={quoteattr(str(ids[path[:-1]]))}' if len(path) > 1 else ''}>"
        f"{escape(path[-1])}</category>\n"
        for path, number in ids.items()
    )
    offers = "".join(
        f"<offer id={quoteattr(str(one['product_id']))}><name>{escape(one['title'])}</name>"
        f"<description>{escape(one['description'])}</description>"
        f"<categoryId>{ids[tuple(one['category_name'].split('->'))]}</categoryId>"
        f"<price>{100 + at}</price>"
        f"{f'<picture>{links[one_id]}</picture>' if (one_id := one['product_id']) in links else ''}"
        "</offer>\n"
        for at, one in enumerate(products)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<yml_catalog date="2026-12-01 02:00"><shop>'
        f"<name>Megastock</name>\n<categories>\n{categories}</categories>\n"
        f"<offers>\n{offers}</offers></shop></yml_catalog>\n"
    )
