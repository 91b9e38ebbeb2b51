"""What an index knows of its rows, on disk and against the store as it is now."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.vectors import IMAGE, TEXT
from vitrina.errors import StoreError
from vitrina.index.entries import Change, Entries, compare

WAY = "build it again"


def contents(numbers):
    """A content hash for each number."""
    pairs = np.array([[number, 7 * number] for number in numbers], dtype=np.uint64)
    return pairs.reshape(-1, 2).view("V16").ravel()


def place(shards, rows):
    return np.array(shards, dtype=np.int32), np.array(rows, dtype=np.int32)


def entries(ids, numbers=None, kind=None):
    numbers = range(len(ids)) if numbers is None else numbers
    count = len(ids)
    places = {
        TEXT: place([at % 3 for at in range(count)], range(count)),
        IMAGE: place([-1] * count, [0] * count),
    }
    return Entries(pa.array(ids, kind), contents(numbers), places)


def same(ours, theirs):
    assert ours.ids.equals(theirs.ids)
    assert ours.contents.tobytes() == theirs.contents.tobytes()
    assert ours.modalities == theirs.modalities
    for name in ours.modalities:
        for mine, other in zip(ours.places[name], theirs.places[name], strict=True):
            assert mine.dtype == other.dtype == np.int32
            assert mine.tolist() == other.tolist()
    return True


@pytest.mark.parametrize("ids", [[5, 2, 9, 4], ["b", "a", "щ", ""], [2**63 - 1, -(2**63)]])
def test_what_is_written_is_read(tmp_path, ids):
    made = entries(ids)
    made.write(tmp_path / "rows.parquet")
    assert same(Entries.read([tmp_path / "rows.parquet"], [TEXT, IMAGE], WAY), made)
    assert Entries.read([tmp_path / "rows.parquet"], [IMAGE], WAY).modalities == (IMAGE,)


def test_files_are_read_one_after_another(tmp_path):
    parts = [entries(list("abc")), entries(list("de"), [8, 9]), entries(list("f"), [4])]
    for number, part in enumerate(parts):
        part.write(tmp_path / f"{number}.parquet")
    read = Entries.read([tmp_path / f"{number}.parquet" for number in range(3)], [TEXT, IMAGE], WAY)
    assert same(read, parts[0].followed_by(parts[1]).followed_by(parts[2]))
    assert read.ids.to_pylist() == list("abcdef")
    assert read.contents.tobytes() == contents([0, 1, 2, 8, 9, 4]).tobytes()
    assert read.places[TEXT][1].tolist() == [0, 1, 2, 0, 1, 0]


def test_none_at_all(tmp_path):
    none = entries([], kind=pa.int64())
    none.write(tmp_path / "rows.parquet")
    assert same(Entries.read([tmp_path / "rows.parquet"], [TEXT, IMAGE], WAY), none)


@pytest.mark.parametrize("damage", ["missing", "cut", "a byte", "garbage", "another table"])
def test_a_damaged_file(tmp_path, damage):
    path = tmp_path / "rows.parquet"
    entries(range(500)).write(path)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "another table":
        pa.parquet.write_table(pa.table({"product_id": [1]}), path)
    else:
        changed = bytearray(content)
        changed[200] ^= 16
        written = {"cut": content[:-200], "a byte": changed, "garbage": b"\xff" * 500}
        path.write_bytes(written[damage])
    with pytest.raises(StoreError, match=r"rows\.parquet is (damaged|missing).*; build it again"):
        Entries.read([path], [TEXT, IMAGE], WAY)


def test_some_of_them_in_another_order():
    taken = entries(list("abcd")).take(np.array([3, 0, 3]))
    assert taken.ids.to_pylist() == ["d", "a", "d"]
    assert taken.contents.tobytes() == contents([3, 0, 3]).tobytes()
    assert taken.places[TEXT][0].tolist() == [0, 0, 0]
    assert taken.places[TEXT][1].tolist() == [3, 0, 3]


def test_rows_that_lie_elsewhere_by_now():
    old, new = entries(list("abcd")), entries(list("xdyb"))
    moved = old.moved(np.array([3, 1]), new, np.array([1, 3]))
    assert moved.ids.equals(old.ids)
    assert moved.contents is old.contents
    assert moved.places[TEXT][0].tolist() == [-1, 0, -1, 1]
    assert moved.places[TEXT][1].tolist() == [0, 3, 0, 1]
    assert old.places[TEXT][1].tolist() == [0, 1, 2, 3]


# -- what has changed -----------------------------------------------------------------------------


products = st.dictionaries(st.integers(0, 12), st.integers(0, 3), max_size=10)


@given(
    products,
    products.filter(bool),
    st.sets(st.integers(0, 12)),
    st.sets(st.integers(0, 12)),
    st.booleans(),
)
def test_a_change_is_what_two_dictionaries_say(before, now, dying, without, as_string):
    """before and now: product to content. dying: were dead already; without: have no vector."""
    kind, key = (pa.string(), str) if as_string else (pa.int64(), int)
    # Dead rows come first, the live ones of the same products among them later.
    rows = [*((product, 9) for product in sorted(dying)), *before.items()]
    old = entries([key(product) for product, _ in rows], [at for _, at in rows], kind)
    dead = np.arange(len(rows)) < len(dying)
    new = entries([key(product) for product in now], now.values(), kind)
    there = np.array([product not in without for product in now], dtype=bool)
    change = compare(old, dead, new, there)

    known = {product: at for product, at in now.items() if product not in without}
    kept = [product for product, at in before.items() if known.get(product) == at]
    names = [product for product, _ in rows]
    assert [names[at] for at in change.kept] == kept
    assert [list(now)[at] for at in change.at] == kept
    assert not dead[change.kept].any()
    assert [names[at] for at in change.gone] == [name for name in before if name not in kept]
    assert not dead[change.gone].any()
    assert [list(now)[at] for at in change.fresh] == [name for name in known if name not in kept]
    both = {name for name in before if name in known and name not in kept}
    assert change.changed == len(both)
    assert change.added == len(known.keys() - before.keys())
    assert change.removed == len(before.keys() - known.keys())


def test_no_change():
    none = Change.none()
    assert (none.added, none.changed, none.removed) == (0, 0, 0)
    same = compare(entries([1, 2]), np.zeros(2, bool), entries([2, 1], [1, 0]), np.ones(2, bool))
    assert (len(same.gone), len(same.fresh), same.changed) == (0, 0, 0)
    assert same.kept.tolist() == [0, 1]
    assert same.at.tolist() == [1, 0]
