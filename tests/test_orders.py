"""Orders: pieces of a plan that are computed elsewhere, and give the bytes of one process."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from support.embedding import (
    BROKEN,
    RED,
    STUBS,
    Words,
    all_files,
    catalogue_of,
    data_files,
    failures,
    goods,
    run,
    use_stubs,
)
from vitrina.data.catalogue import Catalogue
from vitrina.embedder.base import normalise
from vitrina.engines import staged
from vitrina.errors import (
    EncoderError,
    FingerprintError,
    ImageSourceError,
    OptionError,
    StoreError,
)
from vitrina.pipelines.common import order_worker
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.work.job import work
from vitrina.pipelines.work.options import WorkOptions
from vitrina.store import layout
from vitrina.store import staging as staging_module
from vitrina.store.compact import compact
from vitrina.store.names import parse
from vitrina.store.orders import Order, OrderResult, OrderTerms, read_order, read_result
from vitrina.store.staging import Staging
from vitrina.store.store import OpenStore
from vitrina.store.verify import verify
from vitrina.store.writer import Writer
from vitrina.types import EngineKind, Modality

STAGED = replace(STUBS, engine="staged")
PUBLISHED = replace(STAGED, wait=False)
# "чай" is in four orders of three rows; of the photos, one order fails whole.
ROWS = [
    *((at, "чай", 1, RED) for at in range(8)),
    *((at, f"сок {at}", 2, BROKEN + bytes([at])) for at in range(8, 13)),
    *((at + 20, title, category, photo) for at, title, category, photo in goods(9)),
    (40, "чай", 1, RED),
]


class KilledError(BaseException):
    """The end of a process at a chosen moment."""


@pytest.fixture
def stubs(monkeypatch):
    stubs = use_stubs(monkeypatch.setattr)
    monkeypatch.setattr(order_worker, "load_encoder", lambda model, *_, **__: stubs[model.modality])
    monkeypatch.setattr("os.fsync", lambda _: None)
    return stubs


@pytest.fixture
def workers(monkeypatch):
    """Workers that come whenever the driver waits: a function of the store's place."""

    def start(path, *parts):
        def sleep(_):
            assert parts, "the driver waits for workers that do not come"
            for part in parts:
                work(OpenStore.open(path), WorkOptions(part))

        monkeypatch.setattr(staged, "time", SimpleNamespace(sleep=sleep))

    return start


@pytest.fixture
def whole(stubs, tmp_path):
    """The catalogue, and the store that one process makes of it."""
    catalogue = catalogue_of(tmp_path / "a", ROWS)
    run(tmp_path / "whole", catalogue)
    for stub in stubs.values():
        stub.seen.clear()
    return catalogue, tmp_path / "whole"


def staged_names(path):
    return sorted(file.name for file in (path / layout.STAGING).glob("*"))


def work_on(path, *parts):
    return [work(OpenStore.open(path), WorkOptions(part)) for part in parts or ("1/1",)]


# -- the bytes of one process ----------------------------------------------------------------------


def test_two_workers_and_a_driver_leave_the_bytes_of_one_process(tmp_path, whole, stubs, workers):
    catalogue, expected = whole
    workers(tmp_path / "shelf", "2/2", "1/2")
    report = run(tmp_path / "shelf", catalogue, STAGED)
    assert all_files(tmp_path / "shelf") == all_files(expected)
    assert [(one.failed, one.waiting) for one in report.spaces] == [(0, 0), (5, 0)]
    # Each content was encoded once, though one spans four orders, and the driver encoded none.
    assert sorted(stubs[Modality.TEXT].seen) == sorted(set(stubs[Modality.TEXT].seen))
    # Red, and nine shades of it; the others are broken.
    assert len(stubs[Modality.IMAGE].seen) == 10
    assert failures(tmp_path / "shelf", "image-colours").keys() == {"8", "9", "10", "11", "12"}


def test_published_orders_are_computed_and_adopted_later(tmp_path, whole, workers):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path)
    first = run(path, catalogue, PUBLISHED)
    assert [one.waiting for one in first.spaces] == [len(ROWS), len(ROWS)]
    assert OpenStore.open(path).manifest.active == {}
    orders = staged_names(path)
    assert run(path, catalogue, PUBLISHED).spaces[0].waiting == len(ROWS)
    assert staged_names(path) == orders
    parts = work_on(path, "1/3", "3/3", "2/3")
    assert [part.orders for part in parts] == [4, 4, 4]
    assert sum(part.computed for part in parts) == len(orders) == 12
    assert [part.there for part in work_on(path, "1/3", "2/3")] == [4, 4]
    last = run(path, catalogue, PUBLISHED)
    assert [one.waiting for one in last.spaces] == [0, 0]
    assert data_files(path) == data_files(expected)
    assert staged_names(path) == []
    assert run(path, catalogue).spaces[0].unchanged == len(ROWS)


def test_a_driver_adopts_what_is_there_up_to_the_first_gap(tmp_path, whole, workers):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path)
    run(path, catalogue, PUBLISHED)
    work_on(path, "1/4", "2/4")
    report = run(path, catalogue, PUBLISHED)
    done = OpenStore.open(path).manifest.spaces["text-words"].rows
    # "чай" in three orders, of which two have nothing to encode.
    assert (done, report.spaces[0].waiting) == (12, len(ROWS) - 12)
    work_on(path)
    run(path, catalogue, STAGED)
    assert data_files(path) == data_files(expected)


def test_an_engine_in_this_process_adopts_and_cleans_too(tmp_path, whole, stubs, workers):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path)
    run(path, catalogue, PUBLISHED)
    work_on(path, "1/2")
    seen = len(stubs[Modality.TEXT].seen)
    run(path, catalogue)
    assert data_files(path) == data_files(expected)
    assert staged_names(path) == []
    texts = stubs[Modality.TEXT].seen
    assert 0 < seen < len(texts) == len(set(texts))


def test_an_update_is_staged_as_in_one_process(tmp_path, whole, workers):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path, "1/1")
    run(path, catalogue, STAGED)
    changed = catalogue_of(tmp_path / "b", [(3, "чай", 1, RED), (8, "морс", 2, RED), *goods(3)])
    for place, options in ((path, STAGED), (expected, STUBS)):
        run(place, changed, replace(options, prune=True, accept_changes=True))
    assert all_files(path) == all_files(expected)


def test_products_are_pruned_once_nothing_waits(tmp_path, whole, workers):
    catalogue, _ = whole
    path = tmp_path / "shelf"
    workers(path)
    run(path, catalogue)
    changed = catalogue_of(tmp_path / "b", [(3, "морс", 1, RED)])
    options = replace(PUBLISHED, prune=True, accept_changes=True)
    report = run(path, changed, options)
    assert (report.removed, report.products) == (0, len(ROWS))
    work_on(path)
    assert run(path, changed, options).removed == len(ROWS) - 1
    assert len(OpenStore.open(path).products) == 1


# -- killed ----------------------------------------------------------------------------------------


def killing(monkeypatch, owner, name, call):
    """End the process at a call of a function, from the `call`th on."""
    whole, calls = getattr(owner, name), []

    def killed(*arguments, **given):
        calls.append(name)
        if len(calls) >= call:
            raise KilledError
        return whole(*arguments, **given)

    monkeypatch.setattr(owner, name, killed)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Staging, "publish", 3),
        (Staging, "put", 3),
        (Staging, "result", 17),
        (Writer, "publish", 5),
        (Writer, "commit", 3),
        (Writer, "commit", 4),
        (Staging, "discard", 1),
        (Staging, "sweep", 2),
    ],
    ids=str,
)
def test_whoever_is_killed_the_next_ones_leave_the_same_bytes(
    tmp_path, whole, workers, monkeypatch, owner, name, call
):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path, "1/1")
    with monkeypatch.context() as patch:
        killing(patch, owner, name, call)
        with pytest.raises(KilledError):
            run(path, catalogue, STAGED)
    run(path, catalogue, STAGED)
    assert data_files(path) == data_files(expected)
    assert staged_names(path) == []


# -- files that are not what they say --------------------------------------------------------------

TERMS = OrderTerms("text-words", Modality.TEXT, "a1" * 32, "int8", "float16", 4, 0, "0.2.0")


def order_of(terms=TERMS, texts=("чай", "сок")):
    hashes = np.frombuffer(bytes(range(48)), dtype="V16")
    at = np.arange(3)
    return Order(terms, at, pa.array([7, 8, 9]), hashes, at, np.array([0, 2]), texts)


def named(content, form):
    return form(staging_module.hashlib.sha256(content).hexdigest())


def result_of(vectors, key=None, **given):
    return OrderResult(key or order_of().key, np.array(vectors, dtype=np.float16), **given)


def parsed_result(result, name=None):
    content = result.to_bytes()
    name = name or named(content, lambda digest: layout.order_result(result.key, digest))
    return read_result(content, name, "that file", order_of().key, 2, TERMS)


def test_orders_and_results_come_back_as_they_were():
    order = order_of()
    content = order.to_bytes()
    name = named(content, lambda digest: layout.order(5, order.key, digest))
    back = read_order(content, name, name)
    assert (back.terms, back.key, back.texts) == (TERMS, order.key, ["чай", "сок"])
    assert (back.positions.tolist(), back.ids.to_pylist()) == ([0, 1, 2], [7, 8, 9])
    assert (back.encoded.tolist(), back.sources.tolist()) == ([0, 2], [0, 1, 2])
    assert parse(name).number == 5
    photos = replace(TERMS, modality=Modality.IMAGE, max_pixels=9)
    order = Order(
        photos,
        order.positions,
        order.ids,
        order.hashes,
        order.sources,
        order.encoded,
        photos=(("1.jpg",), ("2.jpg", "3.jpg")),
    )
    content = order.to_bytes()
    name = named(content, lambda digest: layout.order(5, order.key, digest))
    assert read_order(content, name, name).photos == [["1.jpg"], ["2.jpg", "3.jpg"]]
    result = result_of(
        [[1, 0, 0, 0], [0, 0, 0, 0]], failures={1: ("decode", "cut")}, mended={0: "x"}
    )
    back = parsed_result(result)
    assert back.vectors.tolist() == result.vectors.tolist()
    assert (back.failures, back.mended) == ({1: ("decode", "cut")}, {0: "x"})


def test_whatever_decides_a_result_is_in_the_key():
    keys = {order_of().key}
    for change in (
        {"fingerprint": "b2" * 32},
        {"compute": "float32"},
        {"dtype": "float32"},
        {"version": "0.3.0"},
        {"max_pixels": 1},
    ):
        keys.add(order_of(replace(TERMS, **change)).key)
    keys.add(replace(order_of(), ids=pa.array([7, 8, 10])).key)
    keys.add(replace(order_of(), encoded=np.array([0, 1])).key)
    assert len(keys) == 8


GOOD = [[1, 0, 0, 0], [0, 0.6, 0.8, 0]]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda: result_of(GOOD, key="ab" * 32), "result of another order"),
        (lambda: result_of(GOOD[:1]), "1 vectors of 4 float16 instead of 2 of 4 float16"),
        (lambda: result_of([[1, 0], [0, 1]]), "2 vectors of 2 float16"),
        (lambda: OrderResult(order_of().key, np.float32(GOOD)), "4 float32 instead of"),
        (lambda: result_of([[1, 0, 0, 0], [np.nan] * 4]), "not of unit length"),
        (lambda: result_of([[1, 0, 0, 0], [np.inf, 0, 0, 0]]), "not of unit length"),
        (lambda: result_of([[1, 0, 0, 0], [0.5, 0, 0, 0]]), "not of unit length"),
        (lambda: result_of(GOOD, failures={1: ("read", "gone")}), "not of unit length"),
    ],
)
def test_a_result_that_does_not_fit_is_refused(result, reason):
    with pytest.raises(StoreError, match=reason):
        parsed_result(result())


def test_a_file_under_another_name_is_refused():
    result = result_of(GOOD)
    with pytest.raises(StoreError, match="has not the checksum in its name"):
        parsed_result(result, layout.order_result(result.key, "ab" * 32))
    content = result.to_bytes()
    other = named(content, lambda digest: layout.order_result("cd" * 32, digest))
    with pytest.raises(StoreError, match="named after another order"):
        parsed_result(result, other)
    order = named(content, lambda digest: layout.order(1, result.key, digest))
    with pytest.raises(StoreError, match="not the result of an order"):
        parsed_result(result, order)


def test_an_order_that_was_changed_is_refused():
    content = order_of(texts=("чай", None)).to_bytes()
    name = named(content, lambda digest: layout.order(1, order_of().key, digest))
    with pytest.raises(StoreError, match="not the order that it says it is"):
        read_order(content, name, "that file")


def test_damaged_results_are_named_and_computed_again(tmp_path, whole, workers, caplog):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path, "1/1")
    run(path, catalogue, PUBLISHED)
    work_on(path)
    results = sorted((path / layout.STAGING).glob("result-*"))
    results[0].write_bytes(results[0].read_bytes()[:-9])
    results[1].write_bytes(results[2].read_bytes())
    with caplog.at_level(logging.WARNING):
        run(path, catalogue, STAGED)
    for damaged in results[:2]:
        assert f"{damaged} is damaged: it has not the checksum in its name" in caplog.text
    assert data_files(path) == data_files(expected)
    assert staged_names(path) == []


def test_damaged_orders_are_passed_over_and_published_again(tmp_path, whole, workers, caplog):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    workers(path, "1/1")
    run(path, catalogue, PUBLISHED)
    orders = sorted((path / layout.STAGING).glob("order-*"))
    orders[3].write_bytes(b"PAR1")
    (path / layout.STAGING / "notes.txt").write_text("mine")
    [report] = work_on(path)
    assert (report.computed, report.ignored) == (11, 1)
    assert f"{orders[3]} is damaged" in caplog.text
    run(path, catalogue, STAGED)
    assert data_files(path) == data_files(expected)
    assert staged_names(path) == ["notes.txt"]


# -- who may work ----------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path, whole, workers):
    workers(tmp_path / "shelf")
    run(tmp_path / "shelf", whole[0], PUBLISHED)
    return OpenStore.open(tmp_path / "shelf")


def test_another_model_is_refused_with_both_named(published, stubs):
    stubs[Modality.TEXT].card = replace(stubs[Modality.TEXT].card, fingerprint="c3" * 32)
    with pytest.raises(FingerprintError, match=r"text-words was made with .*a1a1a1.*c3c3c3"):
        work(published, WorkOptions())
    assert not Staging(published.files).results


def test_other_numbers_are_refused_with_both_named(tmp_path, stubs, workers):
    card = stubs[Modality.TEXT].card
    stubs[Modality.TEXT].card = replace(card, details={"compute": "int8"})
    workers(tmp_path / "shelf")
    options = replace(PUBLISHED, image="none")
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", ROWS), options)
    stubs[Modality.TEXT].card = replace(card, details={"compute": "float32"})
    with pytest.raises(EncoderError, match=r"made in int8, and this machine runs .* in float32"):
        work_on(tmp_path / "shelf")


def test_a_machine_of_other_bytes_is_refused_with_both_named(published, monkeypatch):
    encode = Words.encode
    monkeypatch.setattr(Words, "encode", lambda *a: normalise(encode(*a) + np.float32(1e-3)))
    with pytest.raises(StoreError, match=r"space text-words were made on a machine .* reproduce"):
        work(published, WorkOptions())
    assert not Staging(published.files).results


def test_workers_are_of_one_kind():
    with pytest.raises(OptionError, match="mixed_machines is for the engine local"):
        EmbedOptions(engine=EngineKind.STAGED, mixed_machines=True)


def test_another_version_is_refused_with_both_named(published, monkeypatch):
    monkeypatch.setattr(order_worker, "__version__", "9.9.9")
    with pytest.raises(StoreError, match=r"by Vitrina .*, and this is 9\.9\.9"):
        work(published, WorkOptions())


def test_photos_of_another_limit_are_refused(published):
    with pytest.raises(StoreError, match="at most 50000000 pixels, and this worker takes 9000000"):
        work(published, WorkOptions(max_megapixels=9))


def test_photos_lie_elsewhere_on_another_machine(tmp_path, whole, published):
    catalogue, expected = whole
    images = (tmp_path / "a/images").rename(tmp_path / "moved")
    with pytest.raises(ImageSourceError, match="a/images"):
        work(published, WorkOptions())
    work(published, WorkOptions(images=str(images)))
    images.rename(tmp_path / "a/images")
    run(tmp_path / "shelf", catalogue, STAGED)
    assert data_files(tmp_path / "shelf") == data_files(expected)


@pytest.mark.usefixtures("stubs")
def test_photos_that_no_worker_can_reach_are_refused_at_once(tmp_path):
    catalogue = Catalogue.read([{"product_id": 7, "title": "чай", "image": RED}])
    with pytest.raises(ImageSourceError, match="use --engine local"):
        run(tmp_path / "shelf", catalogue, STAGED)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2"])
def test_a_part_is_one_of_its_number(part):
    with pytest.raises(OptionError, match="part must be"):
        WorkOptions(part)


def test_only_the_staged_engine_goes_without_waiting():
    with pytest.raises(OptionError, match="is for the engine staged, not local"):
        EmbedOptions(wait=False)


@pytest.mark.slow
def test_two_processes_with_one_cache_compute_what_a_third_commits(sample, tmp_path):
    environment = {**os.environ, "VITRINA_CACHE": str(tmp_path / "cache")}

    def start(*arguments):
        command = [sys.executable, "-m", "vitrina.cli", *map(str, arguments)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def ended(process):
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error

    def embedding(store, *options):
        models = ("--text-model", "lexical", "--image-model", "thumbnail", "--max-failures", 1)
        photos = ("--images", sample.images)
        return start("embed", sample.train, "--store", store, *photos, *models, *options)

    shelf, whole = tmp_path / "shelf", tmp_path / "whole"
    ended(embedding(whole))
    ended(embedding(shelf, "--engine", "staged", "--no-wait"))
    driver = embedding(shelf, "--engine", "staged")
    for process in [start("work", shelf, "--part", part) for part in ("1/2", "2/2")]:
        ended(process)
    ended(driver)
    assert staged_names(shelf) == []
    assert data_files(shelf) == data_files(whole)


# -- what is left behind ---------------------------------------------------------------------------


def test_what_no_run_needs_is_named_by_verify_and_freed_by_compact(tmp_path, whole, published):
    catalogue, expected = whole
    path = tmp_path / "shelf"
    work(published, WorkOptions("1/2"))
    waiting = verify(OpenStore.open(path))
    assert waiting.ok
    assert any("18 orders and results wait in staging" in note for note in waiting.notes)
    freed = compact(OpenStore.open(path)).freed
    assert (freed, len(staged_names(path))) == (0, 18)
    # Another driver, on a machine that could not see the folder, has done it all meanwhile.
    hidden = (path / layout.STAGING).rename(tmp_path / "hidden")
    run(path, catalogue)
    hidden.rename(path / layout.STAGING)
    report = verify(OpenStore.open(path))
    assert report.ok
    assert any("18 files in staging that no run needs" in note for note in report.notes)
    assert data_files(path) == data_files(expected)
    assert compact(OpenStore.open(path)).freed > 0
    assert staged_names(path) == []
    assert verify(OpenStore.open(path)).notes == []
