"""Small catalogues for tests, written to files and read back."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.data.catalogue import Catalogue


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def jsonl(path, *rows):
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def text(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


def all_rows(catalogue, size=4096):
    batches = list(catalogue.batches(size))
    products = [product for batch in batches for product in batch.products]
    rejected = [rejection for batch in batches for rejection in batch.rejected]
    return products, rejected


def products_of(path, **options):
    products, rejected = all_rows(Catalogue.read(path, **options))
    assert rejected == []
    return products


def rejected_of(path, **options):
    return all_rows(Catalogue.read(path, **options))[1]


def fields(**parts):
    return json.dumps(parts, ensure_ascii=False)
