"""The failures of a run: gathered row by row, and made a table once for each commit."""

import numpy as np
import pyarrow as pa
import pytest

from support.stores import put_products, row
from vitrina.embedder.photos import Failure
from vitrina.pipelines.embed.ingest_result import Ingested
from vitrina.pipelines.embed.space_errors import SpaceErrors
from vitrina.store.sources import Source
from vitrina.store.space import REPAIR, read_errors
from vitrina.store.store import OpenStore
from vitrina.types import Modality

pytestmark = pytest.mark.usefixtures("unsynced")


def test_tables_are_joined_once_for_a_commit_not_for_a_failure(tmp_path, monkeypatch):
    store = OpenStore.open(tmp_path / "shelf", create=True)
    put_products(store, [row(at, f"t{at}") for at in range(60)])
    joined, concat = [], pa.concat_tables

    def counted(tables, **options):
        joined.append(len(tables))
        return concat(tables, **options)

    monkeypatch.setattr(pa, "concat_tables", counted)
    recorded = read_errors(store.files, None)
    ingested = Ingested(Source(), fresh=60)
    errors = SpaceErrors(store.products, Modality.TEXT, recorded, ingested, retry_failed=False)
    joined.clear()
    for start in (0, 30):
        for at in range(start, start + 30):
            errors.fail(at, Failure("decode", f"bad {at}"))
        errors.record_repair(start, "cut short")
        errors.add_repairs(np.array([start]))
        assert errors.table is errors.table
    assert joined == [2, 2]
    told = errors.table.select(["product_id", "stage"]).to_pylist()
    stages = ["decode"] * 30 + [REPAIR]
    assert [one["stage"] for one in told] == [*stages, *stages]
    ids = [*range(30), 0, *range(30, 60), 30]
    assert [one["product_id"] for one in told] == [str(one) for one in ids]
