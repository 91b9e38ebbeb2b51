"""What is left of an index when an update is killed, fails, or finds a file damaged."""

import shutil

import pytest

from support.shelf import Shelf, exhaustive
from support.stopping import stopping_at
from vitrina import api
from vitrina.errors import StoreError
from vitrina.pipelines.index import job

TITLES = {at: f"t{at % 50}" for at in range(60)}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A store of 60 products; of ten titles there are two each."""
    return Shelf(tmp_path, monkeypatch, TITLES)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.slow
def test_an_update_that_is_killed_leaves_the_index_as_it_was(shelf, tmp_path, monkeypatch, fold):
    shelf.index(factory="IVF4,Flat")
    old = shelf.known()
    shelf.put({100: "new", 5: "else", 8: None})
    monkeypatch.setattr(job, "DELTA_ROWS", 0 if fold else 100)
    kept = {at: title for at, title in old.items() if shelf.titles.get(at) == title}
    saved, number = shutil.copytree(shelf.path, tmp_path / "saved"), 0
    while True:
        for after in (False, True):
            shutil.rmtree(shelf.path)
            shutil.copytree(saved, shelf.path)
            with stopping_at(number, after=after) as stop:
                shelf.index()
            index = api.open_index(shelf.store)
            done = index.behind is None
            shelf.check(exhaustive(index), None if done else kept)
            assert done == (index.card["update"]["kind"] == ("folded" if fold else "added"))
            kind = "folded" if fold else "added"
            again = shelf.index()
            assert again.card["update"]["kind"] == kind
            shelf.check(exhaustive(again))
        number += 1
        if not stop.happened:
            break
    assert number > 5
    assert api.verify(shelf.path).problems == []


def test_an_error_on_the_way_leaves_the_index_as_it_was(shelf, monkeypatch):
    shelf.index(factory="Flat")
    before = shelf.files()
    shelf.put({100: "new"})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vitrina.store.writer.Writer.publish_folder", full)
        with pytest.raises(StoreError, match="No space left on device; all commits are kept"):
            shelf.index()
    assert shelf.files() == before
    assert api.open_index(shelf.store).behind.added == 1
    shelf.check_update(shelf.index(), "added", added=1)


@pytest.mark.parametrize("damage", ["short of a byte", "missing", "garbage"])
def test_a_damaged_index_is_said_to_be_and_built_again(shelf, damage):
    shelf.index(factory="Flat")
    path = shelf.path / shelf.files()["index.faiss"]
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"short of a byte": content[:-1], "garbage": b"\1" * 999}[damage])
    shelf.put({100: "new"})
    for job_of in (shelf.index, lambda: api.open_index(shelf.store)):
        with pytest.raises(StoreError, match=r"text-.*run `vitrina index --rebuild`"):
            job_of()
    index = shelf.index(rebuild=True)
    assert index.card["update"]["kind"] == "built"
    shelf.check(index.vectors)
