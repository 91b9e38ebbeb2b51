import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.ids import IdSet, IdTable, id_keys, is_canonical_integer

INT64 = st.integers(-(2**63), 2**63 - 1)
# Few values, so that batches repeat one another.
BATCHES = st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=20)


def keys_of(values):
    return np.array(values, dtype=np.uint64)


def test_keys_of_integers_are_the_integers():
    keys = id_keys([1, 0, -1, 2**63 - 1, -(2**63)])
    assert keys.dtype == np.uint64
    assert keys.tolist() == [1, 0, 2**64 - 1, 2**63 - 1, 2**63]


def test_keys_of_strings_are_stable():
    # blake2b-64 of the UTF-8 bytes, little-endian: the same on every machine and in every run.
    assert id_keys(["01", "артикул"]).tolist() == [0x7FBEA8E27A964AAC, 0xD534556C471A69E4]


@given(INT64)
def test_an_integer_and_its_digits_are_one_id(number):
    assert is_canonical_integer(str(number))
    assert id_keys([number, str(number)]).tolist() == [number % 2**64] * 2


@pytest.mark.parametrize(
    "text",
    ["", "-", "-0", "007", "+1", "1.0", " 1", "1 ", "1_000", "٣", "²", str(2**63), "--1"],
)
def test_other_writings_of_a_number_are_other_ids(text):
    assert not is_canonical_integer(text)
    keys = id_keys([text, *range(-5, 1001)])
    assert keys[0] not in keys[1:]


def test_no_ids_give_no_keys():
    assert id_keys([]).shape == (0,)
    assert id_keys([]).dtype == np.uint64


@pytest.mark.parametrize("too_large", [2**63, -(2**63) - 1, 10**30])
def test_an_integer_outside_int64_is_refused(too_large):
    with pytest.raises(ValueError, match="int64"):
        id_keys([1, too_large])


@given(st.lists(INT64, unique=True))
def test_integers_never_collide(ids):
    assert len(set(id_keys(ids).tolist())) == len(ids)


@given(st.lists(st.one_of(st.text(st.characters()), INT64), unique_by=str))
def test_ids_of_any_kind_have_their_own_keys(ids):
    keys = id_keys(ids)
    assert len(set(keys.tolist())) == len(ids)
    assert keys.tolist() == [int(id_keys([product_id])[0]) for product_id in ids]


@given(BATCHES)
def test_id_set_does_what_a_set_does(batches):
    ours, model = IdSet(), set()
    for batch in batches:
        expected = []
        for value in batch:
            expected.append(value not in model)
            model.add(value)
        assert ours.add(keys_of(batch)).tolist() == expected
        assert len(ours) == len(model)
        probe = list(range(65))
        assert ours.contains(keys_of(probe)).tolist() == [value in model for value in probe]


def test_id_set_keeps_few_runs_of_the_keys_themselves():
    ours = IdSet()
    rng = np.random.default_rng(0)
    for _ in range(300):
        ours.add(rng.integers(0, 2**63, size=100, dtype=np.uint64))
    assert len(ours) == 30_000
    assert len(ours._runs) <= 10
    assert sum(run.nbytes for run in ours._runs) == 8 * 30_000


@given(st.lists(st.integers(0, 100)), st.lists(st.integers(0, 100)))
def test_id_table_does_what_a_dict_does(rows, wanted):
    model = {}
    for row, value in enumerate(rows):
        model.setdefault(value, row)
    table = IdTable(keys_of(rows))
    positions = table.positions(keys_of(wanted))
    assert positions.dtype == np.int64
    assert positions.tolist() == [model.get(value, -1) for value in wanted]
    assert len(table) == len(rows)
