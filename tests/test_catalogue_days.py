"""Random sequences of catalogue days: the store holds the newest readable row, or what it held.

Each day a source's catalogue is read: rows come, go, change, break, change the type of their ids,
and stand in another order. A model that is a dictionary says what the store must hold afterwards.
"""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.catalogue_files import jsonl
from support.embedding import use_stubs
from vitrina.data.catalogue import Catalogue
from vitrina.errors import CatalogueError, TooManyFailuresError, UnusualChangeError
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.store.store import OpenStore

SOURCES = ("Лампа", "Диван")
TITLES = ("торшер", "бра", "люстра", "")
CATEGORIES = (None, 1, 2, "2", "x")


@dataclass(frozen=True)
class Row:
    """One row of a day. written: how its id is written; broken: "" for a readable row."""

    product: int
    written: str
    title: str
    category: object
    broken: str

    @property
    def product_id(self):
        return {"number": self.product, "digits": str(self.product), "text": f"a{self.product}"}[
            self.written
        ]

    def line(self):
        fields = {"product_id": self.product_id, "title": self.title, "category_id": self.category}
        whole = json.dumps(fields, ensure_ascii=False)
        if self.broken == "nameless":
            return '{"title": "' + self.title
        if self.broken == "cut":
            return whole[:-1]
        if self.broken == "label":
            return json.dumps({**fields, "category_id": {"no": "id"}}, ensure_ascii=False)
        return whole


ROWS = st.builds(
    Row,
    st.integers(0, 7),
    st.sampled_from(["number"] * 6 + ["digits", "text"]),
    st.sampled_from(TITLES),
    st.sampled_from(CATEGORIES),
    st.sampled_from([""] * 8 + ["cut", "nameless", "label"]),
)


@dataclass(frozen=True)
class Day:
    """A catalogue of one day, and how it is read."""

    source: str
    rows: list = field(default_factory=list)
    prune: bool = False
    accept: bool = False


DAYS = st.lists(
    st.builds(
        Day,
        st.sampled_from(SOURCES),
        st.lists(ROWS, min_size=1, max_size=10),
        st.booleans(),
        st.sampled_from([True, True, False]),
    ),
    min_size=1,
    max_size=6,
)


def told(row):
    """What a readable row says: title and category, the latter as text."""
    faulty = row.broken == "label" or row.category is None
    return row.title, None if faulty else str(row.category)


def expected(held, day, id_type):
    """What the store must hold of a source after a day, by id as text, and how many rows failed.

    id_type: of the day's readable rows.
    """
    fresh, spared, nameless, failed = {}, set(), False, 0
    for row in day.rows:
        key = str(row.product_id)
        if row.broken in ("cut", "nameless"):
            failed += 1
            # Where ids are numbers, a text that stands for one names no product.
            named = row.broken == "cut" and not (row.written == "text" and id_type is int)
            spared |= {key} if named else set()
            nameless |= not named
        elif key in fresh:
            failed += 1
        else:
            fresh[key] = told(row)
    kept = held.items()
    if day.prune and (day.accept or not nameless):
        kept = [(key, row) for key, row in kept if key in spared]
    return {**dict(kept), **fresh}, failed


def held_by(shelf):
    """What the store holds, by source: title and category of each product by its own id."""
    rows = pq.read_table(shelf / "products").to_pylist() if (shelf / "products").exists() else []
    home = next((one.name for one in OpenStore.open(shelf, create=True).sources if one.home), None)
    found = {source: {} for source in SOURCES}
    for row in rows:
        source, key, category = row["source"], str(row["product_id"]), row["category_id"]
        category = None if category is None else str(category)
        if source != home:
            key = key.removeprefix(f"{source}:")
            category = category and category.removeprefix(f"{source}:")
        found[source][key] = (row["title"], category)
    return found


@pytest.fixture(scope="module")
def stubs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        use_stubs(patch.setattr)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("stubs")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(DAYS)
def test_every_product_is_as_its_newest_readable_row_says_or_as_it_was(days):
    with tempfile.TemporaryDirectory() as folder:
        shelf = Path(folder, "shelf")
        model = {source: {} for source in SOURCES}
        for number, day in enumerate(days):
            path = jsonl(Path(folder, f"{number}.jsonl"), *(row.line() for row in day.rows))
            options = EmbedOptions(
                text="hf:team/words",
                image="none",
                source=day.source,
                prune=day.prune,
                accept_changes=day.accept,
                max_failures=0.5,
            )
            try:
                catalogue = Catalogue.read(path)
                report = embed(catalogue, OpenStore.open(shelf, create=True), options)
            except (TooManyFailuresError, UnusualChangeError, CatalogueError):
                # Nothing is pruned, and nothing at all is changed, in a run that fails.
                assert held_by(shelf) == model
                continue
            after, failed = expected(model[day.source], day, catalogue.id_type)
            counted = report.new + report.changed + report.relabelled + report.unchanged
            assert counted + report.rejected == report.rows == len(day.rows)
            assert report.rejected == failed
            model[day.source] = after
            assert held_by(shelf) == model
            assert report.products == sum(map(len, model.values()))
