import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.store import plan
from vitrina.store.plan import first_positions, plan_shards


def to_hashes(contents):
    """Small numbers to 16-byte hashes; None to the zeros of a product without content."""
    # Equal halves among different hashes would show a comparison of only one of the two.
    raw = b"".join(
        bytes(16) if c is None else bytes([c % 3] * 8) + bytes([c + 1] * 8) for c in contents
    )
    return np.frombuffer(raw, dtype="V16")


contents = st.lists(st.none() | st.integers(0, 12), max_size=60)


@st.composite
def plans(draw):
    values = draw(contents)
    flags = st.lists(st.booleans(), min_size=len(values), max_size=len(values))
    return values, np.array(draw(flags), dtype=bool), draw(st.integers(1, 9))


def as_lists(shards):
    return [shard.tolist() for shard in shards]


@pytest.mark.parametrize("block", [4, plan._BLOCK])
@given(contents)
def test_first_positions_are_those_of_a_dict(block, values):
    met = {}
    expected = [
        -1 if value is None else met.setdefault(value, at) for at, value in enumerate(values)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_BLOCK", block)
        assert first_positions(to_hashes(values)).tolist() == expected


def test_a_hash_that_is_half_zeros_is_content():
    raw = bytes(8) + b"\1" * 8 + b"\1" * 8 + bytes(8) + bytes(16) + bytes(8) + b"\1" * 8
    assert first_positions(np.frombuffer(raw, dtype="V16")).tolist() == [0, 1, -1, 0]


@given(plans())
def test_every_row_with_work_is_in_exactly_one_shard(plan):
    values, done, size = plan
    shards = plan_shards(first_positions(to_hashes(values)), done, size)
    planned = sorted(at for shard in shards for at in shard.tolist())
    assert planned == [at for at, value in enumerate(values) if value is not None and not done[at]]


@given(plans())
def test_shards_are_full_but_for_the_last(plan):
    values, done, size = plan
    lengths = [len(s) for s in plan_shards(first_positions(to_hashes(values)), done, size)]
    assert all(length == size for length in lengths[:-1])
    assert all(0 < length <= size for length in lengths[-1:])


@given(plans())
def test_products_of_one_content_stand_together_in_their_order(plan):
    values, done, size = plan
    shards = plan_shards(first_positions(to_hashes(values)), done, size)
    order = [at for shard in shards for at in shard.tolist()]
    runs = [
        values[at] for n, at in enumerate(order) if n == 0 or values[at] != values[order[n - 1]]
    ]
    assert len(runs) == len(set(runs))
    for value in runs:
        together = [at for at in order if values[at] == value]
        assert together == sorted(together)


@given(plans(), st.data())
def test_after_any_prefix_of_shards_exactly_the_others_remain(plan, data):
    values, done, size = plan
    first = first_positions(to_hashes(values))
    shards = plan_shards(first, done, size)
    stopped = data.draw(st.integers(0, len(shards)))
    later = done.copy()
    for shard in shards[:stopped]:
        later[shard] = True
    assert as_lists(plan_shards(first, later, size)) == as_lists(shards[stopped:])


def test_a_plan_by_hand():
    first = first_positions(to_hashes([5, 7, None, 5, 9, 7, 5]))
    shards = plan_shards(first, np.zeros(7, dtype=bool), 3)
    assert as_lists(shards) == [[0, 3, 6], [1, 5, 4]]
    # The place of a content is where it first appears at all, be that product done or not.
    first_is_done = np.array([True] + [False] * 6)
    assert as_lists(plan_shards(first, first_is_done, 2)) == [[3, 6], [1, 5], [4]]


@pytest.mark.parametrize("size", [1, 4096])
def test_no_products_make_no_shards(size):
    assert plan_shards(first_positions(to_hashes([])), np.zeros(0, dtype=bool), size) == []
