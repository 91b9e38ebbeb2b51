"""Which index suits which size: rules without any I/O."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vitrina.errors import StoreError
from vitrina.index import choose
from vitrina.index.choose import FLAT_NUMBERS, IndexPlan, kind_of, plans
from vitrina.types import IndexKind

GB, MB = 10**9, 10**6
PLENTY = 64 * GB


@pytest.fixture
def graphs(monkeypatch):
    """Graphs of up to so many rows, whatever benchmarks say of it by now."""
    monkeypatch.setattr(choose, "GRAPH_ROWS", 300_000)


def factories(rows, dim, memory=PLENTY, recall=0.99, factory=None):
    found = plans(rows, dim, memory=memory, recall=recall, factory=factory)
    return [plan.factory for plan in found]


def test_a_small_catalogue_is_searched_exactly():
    assert plans(19_000, 824, memory=PLENTY, recall=0.99) == (
        IndexPlan(IndexKind.FLAT, "Flat", 4 * 19_000 * 824),
    )
    assert factories(FLAT_NUMBERS // 64, 64) == ["Flat"]
    assert factories(FLAT_NUMBERS // 64 + 1, 64) != ["Flat"]
    assert factories(1, 1) == ["Flat"]


@pytest.mark.parametrize("rows", [30_000, 1_000_000, 20_000_000])
def test_all_of_the_true_nearest_are_only_found_exactly(rows):
    assert factories(rows, 824, recall=1, memory=4 * rows * 824) == ["Flat"]
    assert factories(rows, 824, recall=0.999, memory=4 * rows * 824) != ["Flat"]
    # What does not fit comes as near to it as it can.
    assert "Flat" not in factories(rows, 824, recall=1, memory=4 * rows * 824 - 1)


@pytest.mark.usefixtures("graphs")
def test_a_graph_is_tried_where_it_is_built_quickly():
    assert factories(300_000, 824) == ["OPQ256_512,IVF2048,PQ256x4fs", "PCA256,HNSW32,SQ8"]
    assert factories(300_001, 824) == ["OPQ256_512,IVF2048,PQ256x4fs"]
    assert factories(300_000, 200) == ["OPQ96_192,IVF2048,PQ96x4fs", "HNSW32,SQ8"]


@pytest.mark.usefixtures("graphs")
def test_short_vectors_are_not_quantised():
    assert factories(10**6, 96) == ["IVF4096,SQfp16"]
    assert factories(10**6, 97) == ["OPQ48_96,IVF4096,PQ48x4fs"]
    assert factories(290_000, 64) == ["IVF2048,SQfp16", "HNSW32,SQ8"]


@pytest.mark.parametrize(
    ("rows", "lists"), [(20_000, 512), (100_000, 1024), (10**6, 4096), (10**7, 16384)]
)
def test_there_are_about_four_times_the_root_of_the_rows_lists(rows, lists):
    assert f"IVF{lists}," in factories(rows, 1024)[0]


def test_less_memory_gives_shorter_codes_and_no_graph():
    found = [plans(10**6, 824, memory=limit * MB, recall=0.99) for limit in (200, 100, 60)]
    assert [[plan.factory for plan in tried] for tried in found] == [
        ["OPQ256_512,IVF4096,PQ256x4fs"],
        ["OPQ128_512,IVF4096,PQ128x4fs"],
        ["OPQ64_512,IVF4096,PQ64x4fs"],
    ]
    assert [round(plan.bytes / MB) for (plan,) in found] == [154, 86, 52]
    assert factories(10**5, 824, memory=40 * MB) == ["OPQ256_512,IVF1024,PQ256x4fs"]


def test_a_factory_string_is_taken_as_it_is():
    assert factories(10, 4, memory=0, factory="PCA2,IVF7,SQ4") == ["PCA2,IVF7,SQ4"]


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("Flat", IndexKind.FLAT),
        ("HNSW16", IndexKind.HNSW),
        ("PCA16,HNSW32,SQ8", IndexKind.HNSW),
        ("IVF16,Flat", IndexKind.IVF_FLAT),
        ("IVF65536_HNSW32,SQfp16", IndexKind.IVF_FLAT),
        ("IVF65536_HNSW,Flat", IndexKind.IVF_FLAT),
        ("OPQ16_64,IVF16,PQ16x4fs", IndexKind.IVF_PQ),
        ("IVF65536_HNSW32,PQ32", IndexKind.IVF_PQ),
        ("IVF16,RaBitQ", IndexKind.IVF_PQ),
        ("PCA16,Flat", IndexKind.OTHER),
        ("PQ16", IndexKind.OTHER),
    ],
)
def test_the_kind_of_a_factory_string(factory, kind):
    assert kind_of(factory) is kind


sizes = st.integers(1, 50_000_000), st.integers(1, 4096)
limits = st.one_of(st.integers(0, 10**12), st.integers(0, 40).map(lambda power: 2**power))


@given(*sizes, limits, st.floats(0.01, 1))
@example(1_000_000, 64, 50 * MB, 0.99)
@example(10, 824, 1000, 0.99)
@example(300_000, 8, 6 * MB, 0.99)
def test_no_plan_takes_more_memory_than_it_may(rows, dim, memory, recall):
    try:
        found = plans(rows, dim, memory=memory, recall=recall)
    except StoreError as err:
        words = rf"no index of {rows} vectors of {dim} fits into .* give it at least (\d+) MB "
        least = int(re.match(words, str(err)).group(1))
        assert least * MB > memory
        # What the message asks for is enough, and hardly more than is needed.
        assert plans(rows, dim, memory=least * MB, recall=recall)
        with pytest.raises(StoreError):
            plans(rows, dim, memory=min((least - 1) * MB, memory), recall=recall)
        return
    assert found
    assert all(0 < plan.bytes <= memory for plan in found)
    assert all(plan.kind is kind_of(plan.factory) for plan in found)
    assert len({plan.kind for plan in found}) == len(found)
    if recall == 1 and 4 * rows * dim <= memory:
        assert [plan.factory for plan in found] == ["Flat"]
    for plan in found:
        for rotated, size, parts in re.findall(r"OPQ(\d+)_(\d+),.*PQ(\d+)x4fs", plan.factory):
            assert rotated == parts
            assert int(size) <= dim
            assert int(size) % int(parts) == 0


@given(*sizes, st.integers(0, 10**12), st.floats(0.01, 1))
def test_more_memory_never_takes_a_plan_away(rows, dim, memory, recall):
    try:
        found = plans(rows, dim, memory=memory, recall=recall)
    except StoreError:
        return
    more = plans(rows, dim, memory=2 * memory, recall=recall)
    exact = [plan.kind for plan in more] == [IndexKind.FLAT]
    assert exact or {plan.kind for plan in found} <= {plan.kind for plan in more}
