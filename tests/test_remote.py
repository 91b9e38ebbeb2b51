"""Stores in a bucket, on a real S3 server on loopback."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from support.cli import vitrina
from support.embedding import (
    BUILT_IN,
    FIRST,
    SECOND,
    STUBS,
    VICTIM,
    all_files,
    catalogue_of,
    goods,
    run,
)
from vitrina import api
from vitrina.data.catalogue import Catalogue
from vitrina.engines import staged
from vitrina.errors import StoreError, StoreLockedError
from vitrina.pipelines.common import order_worker
from vitrina.pipelines.embed import commit_pace
from vitrina.pipelines.embed import space_job as space_module
from vitrina.pipelines.work.job import work
from vitrina.pipelines.work.options import WorkOptions
from vitrina.store import layout, lease, remote
from vitrina.store.remote import RemoteFiles
from vitrina.store.store import OpenStore, open_files
from vitrina.types import Modality

BUCKET = "shelf-tests"


@pytest.fixture(scope="module")
def server():
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    started = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """A fresh prefix in a bucket, reached by what the environment says."""
    _, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "VITRINA_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    if not system.exists(BUCKET):
        system.mkdir(BUCKET)
    url = f"s3://{BUCKET}/{tmp_path.name}"
    yield url
    s3fs.S3FileSystem.clear_instance_cache()


def objects(url):
    """Every byte of a store, by name, but for the time of its making."""
    files = open_files(url)
    names = [name for name in files.tree("") if name != layout.CARD]
    return {name: files.read(name) for name in names}


# -- the same store, elsewhere --------------------------------------------------------------------


@pytest.mark.slow
def test_every_command_takes_a_bucket_and_leaves_the_bytes_of_a_directory(
    bucket, sample, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [])
    run(tmp_path / "shelf", Catalogue.read(sample.train, images=sample.images), BUILT_IN)
    run(bucket, Catalogue.read(sample.train, images=sample.images), BUILT_IN)
    assert objects(bucket) == {
        name: data for name, data in all_files(tmp_path / "shelf").items() if name != ".lock"
    }
    assert vitrina("embed", sample.train, "--store", bucket) == 0
    assert "0 new, 0 changed" in capsys.readouterr().out
    assert vitrina("index", bucket, "--features", "fused") == 0
    assert vitrina("train", bucket, "--epochs", 2, "--split", "stratified") == 0
    out = tmp_path / "predictions.parquet"
    assert vitrina("classify", sample.test, "--store", bucket, "--out", out) == 0
    assert out.exists()
    assert vitrina("neighbours", bucket, "--text", "чашка", "-k", 3) == 0
    assert vitrina("info", "--store", bucket) == 0
    assert vitrina("compact", bucket, "--keep", 1) == 0
    assert vitrina("verify", bucket, "--json") == 0
    printed = capsys.readouterr().out
    report = json.loads(printed[printed.rindex("\n{") :])
    assert (report["problems"], report["store"]) == ([], bucket)
    here, there = OpenStore.open(tmp_path / "shelf"), OpenStore.open(bucket)
    for modality in ("text", "image"):
        ids, matrix = api.vectors(there, modality)
        expected = api.vectors(here, modality)
        assert ids.equals(expected.ids)
        assert np.array_equal(matrix, expected.matrix)


@pytest.mark.slow
@pytest.mark.usefixtures("stubs")
def test_an_update_in_a_bucket_leaves_the_bytes_of_a_directory(bucket, tmp_path):
    first, second = catalogue_of(tmp_path / "a", FIRST), catalogue_of(tmp_path / "b", SECOND)
    for place in (tmp_path / "shelf", bucket):
        run(place, first)
        reader = OpenStore.open(place)
        run(place, second)
        # A snapshot opened before the update is still whole after it.
        assert reader.products.column("title").to_pylist()[1] == "мыло"
    assert objects(bucket) == {
        name: data for name, data in all_files(tmp_path / "shelf").items() if name != ".lock"
    }


@pytest.mark.slow
def test_fetched_files_are_kept_while_they_are_live(bucket, tmp_path, stubs):
    run(bucket, catalogue_of(tmp_path / "a", FIRST))
    kept = [path.name for path in (tmp_path / "cache").rglob("part-*")]
    assert len(kept) == 1
    run(bucket, catalogue_of(tmp_path / "b", SECOND))
    with OpenStore.open(bucket).writer("test"):
        pass
    parts = [path.name for path in (tmp_path / "cache").rglob("part-*")]
    assert len(parts) == 1
    assert parts != kept
    assert stubs[Modality.TEXT].seen


@pytest.mark.slow
def test_a_part_that_did_not_change_is_not_sent_again(bucket, tmp_path, stubs, monkeypatch):
    import s3fs

    catalogue = catalogue_of(tmp_path / "a", FIRST)
    run(bucket, catalogue)
    sent = []
    put = s3fs.S3FileSystem._put_file

    async def watched(self, source, target, **others):
        sent.append(target)
        return await put(self, source, target, **others)

    monkeypatch.setattr(s3fs.S3FileSystem, "_put_file", watched)
    s3fs.S3FileSystem.clear_instance_cache()
    run(bucket, catalogue)
    assert [name for name in sent if "/products/" in name] == []
    run(bucket, catalogue_of(tmp_path / "c", SECOND))
    assert len([name for name in sent if "/products/" in name]) == 1
    assert stubs[Modality.TEXT].seen


# -- two writers ----------------------------------------------------------------------------------


def _model(store, writer, name):
    made = writer.scratch / f"made-{name}"
    made.mkdir()
    (made / "file").write_text(name)
    return store.manifest.with_model(name, writer.publish_folder(made, partial(layout.model, name)))


def test_a_second_writer_is_refused_with_the_name_of_the_first(bucket):
    with OpenStore.open(bucket, create=True).writer("embed"):
        with pytest.raises(StoreLockedError) as refused, OpenStore.open(bucket).writer("train"):
            pass
        assert f"{bucket} is being written by `vitrina embed` (process {os.getpid()} on " in str(
            refused.value
        )
    with OpenStore.open(bucket).writer("train"):
        pass
    assert open_files(bucket).names("") == [layout.CARD]


def test_who_takes_over_an_expired_lease_keeps_the_old_writer_from_committing(bucket):
    slow, quick = OpenStore.open(bucket, create=True), OpenStore.open(bucket, create=True)
    with slow.writer("embed") as writer:
        writer.commit(_model(slow, writer, "first"))
        mine = _model(slow, writer, "mine")
        orphan = mine.models["mine"].path
        # The writer's machine sleeps past the end of its lease; another one takes over.
        files = slow.files
        there = json.loads(files.read(layout.LOCK))
        there["owner"]["host"] = "elsewhere"
        there["renewed"] -= 2 * lease.EXPIRE
        files.write(layout.LOCK, json.dumps(there).encode())
        with quick.writer("train"):
            # The new writer has made a commit of its own and tidied up what was not committed.
            assert quick.manifest.sequence == 2
            assert not files.tree(orphan)
            with pytest.raises(StoreLockedError, match="another writer made commit 2 meanwhile"):
                writer.commit(mine)
    report = api.verify(bucket)
    assert (report.problems, report.commit) == ([], 2)
    assert OpenStore.open(bucket).manifest.models.keys() == {"first"}


def test_a_lease_lost_is_noticed_by_its_holder(bucket, monkeypatch):
    monkeypatch.setattr(lease, "RENEW", 0.02)
    store = OpenStore.open(bucket, create=True)
    with store.writer("embed") as writer:
        there = json.loads(store.files.read(layout.LOCK))
        before = there["renewed"]
        deadline = time.monotonic() + 20
        while json.loads(store.files.read(layout.LOCK))["renewed"] == before:
            assert time.monotonic() < deadline
        other = {**there, "token": "other", "owner": {**there["owner"], "job": "train"}}
        # Between a look and a renewal of the holder's this may be overwritten; then again.
        while True:
            store.files.write(layout.LOCK, json.dumps(other).encode())
            time.sleep(0.2)
            if json.loads(store.files.read(layout.LOCK))["token"] == "other":
                break
            assert time.monotonic() < deadline
        with pytest.raises(StoreLockedError, match="taken over by `vitrina train`"):
            writer.commit(_model(store, writer, "mine"))
    assert json.loads(store.files.read(layout.LOCK))["token"] == "other"


@pytest.mark.slow
def test_of_many_that_commit_one_number_at_once_one_succeeds(bucket, monkeypatch):
    monkeypatch.setattr(RemoteFiles, "_probe", lambda _: None)
    monkeypatch.setattr(lease.Lease, "_take", lambda _: None)
    monkeypatch.setattr(lease.Lease, "_release", lambda _: None)
    with OpenStore.open(bucket, create=True).writer("test"):
        pass
    for step in range(5):
        barrier, won, lost = threading.Barrier(4), [], []
        one_by_one = threading.Lock()

        def commit(name, barrier=barrier, won=won, lost=lost, one_by_one=one_by_one):
            with ExitStack() as stack:
                with one_by_one:
                    store = OpenStore.open(bucket)
                    writer = stack.enter_context(store.writer("test"))
                # Without a lock, one that begins would tidy away what another has just put.
                barrier.wait(60)
                manifest = _model(store, writer, name)
                barrier.wait(60)
                try:
                    writer.commit(manifest)
                    won.append(name)
                except StoreLockedError:
                    lost.append(name)

        threads = [threading.Thread(target=commit, args=(f"m{step}-{at}",)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 3)
        there = OpenStore.open(bucket)
        assert there.manifest.sequence == step + 1
        assert there.manifest.model == won[0]
        assert there.model_folder().joinpath("file").read_text() == won[0]


def test_an_answer_lost_on_the_way_is_not_taken_for_another_writer(bucket):
    files = open_files(bucket)
    files.create("manifests/00000001.json", b"mine")
    # The client asks again after a time-out, and its own object is there.
    files.create("manifests/00000001.json", b"mine")
    with pytest.raises(FileExistsError):
        files.create("manifests/00000001.json", b"theirs")
    assert files.read("manifests/00000001.json") == b"mine"


def test_a_server_that_ignores_the_condition_is_refused(bucket, monkeypatch):
    import s3fs

    pipe = s3fs.S3FileSystem._pipe_file

    async def careless(self, path, data, **others):
        return await pipe(self, path, data, **{**others, "mode": "overwrite"})

    monkeypatch.setattr(s3fs.S3FileSystem, "_pipe_file", careless)
    with (
        pytest.raises(StoreError, match="overwrites a file despite the condition") as refused,
        OpenStore.open(bucket, create=True).writer("test"),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert open_files(bucket).tree("") == []


@pytest.mark.usefixtures("stubs")
def test_two_workers_and_a_driver_in_a_bucket_leave_the_bytes_of_a_directory(
    bucket, tmp_path, stubs, monkeypatch
):
    monkeypatch.setattr(order_worker, "load_encoder", lambda model, *_, **__: stubs[model.modality])

    def sleep(_):
        for part in ("2/2", "1/2"):
            work(OpenStore.open(bucket), WorkOptions(part))

    monkeypatch.setattr(staged, "time", SimpleNamespace(sleep=sleep))
    catalogue, options = catalogue_of(tmp_path / "a", goods(4)), replace(STUBS, text="none")
    run(tmp_path / "shelf", catalogue, options)
    run(bucket, catalogue, replace(options, engine="staged"))
    assert objects(bucket) == {
        name: data for name, data in all_files(tmp_path / "shelf").items() if name != ".lock"
    }


# -- killed, cut off ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("stubs")
def test_a_run_killed_by_the_system_is_taken_over_at_once(bucket, tmp_path):
    catalogue = catalogue_of(tmp_path / "a", goods(14))
    here = str(Path(__file__).parent)
    arguments = [sys.executable, "-c", VICTIM, here, str(tmp_path / "a"), bucket]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    there = OpenStore.open(bucket)
    assert there.manifest.spaces["text-words"].rows == 9
    assert there.files.exists(layout.LOCK)
    report = run(bucket, catalogue)
    assert report.spaces[0].unchanged == 9
    run(tmp_path / "whole", catalogue)
    # The commit that fenced the killed writer off is the one difference.
    expected = {
        name: data
        for name, data in all_files(tmp_path / "whole").items()
        if name != ".lock" and not name.startswith("manifests/")
    }
    found = objects(bucket)
    assert {name: found[name] for name in found if not name.startswith("manifests/")} == expected


@pytest.mark.slow
@pytest.mark.usefixtures("stubs")
def test_a_server_that_goes_away_is_one_line_and_the_next_run_goes_on(
    bucket, tmp_path, monkeypatch
):
    from botocore.exceptions import EndpointConnectionError

    catalogue = catalogue_of(tmp_path / "a", goods(14))
    write, calls = space_module.write_shard, []

    async def unreachable(*_, **__):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1")

    with monkeypatch.context() as patch:

        def cut_off(path, *arguments):
            calls.append(path)
            if len(calls) == 3:
                patch.setattr("s3fs.S3FileSystem._call_s3", unreachable)
            write(path, *arguments)

        patch.setattr(space_module, "write_shard", cut_off)
        patch.setattr(commit_pace, "SHARDS", 1)
        with pytest.raises(StoreError, match="what is committed is safe, run it") as ended:
            run(bucket, catalogue)
    assert "\n" not in str(ended.value)
    report = run(bucket, catalogue)
    assert report.spaces[0].unchanged == 6
    whole = run(tmp_path / "whole", catalogue)
    assert report.products == whole.products
    assert api.verify(bucket).problems == []


@pytest.mark.usefixtures("bucket")
def test_a_place_that_cannot_be_opened_is_one_line():
    for url, said in {
        "nosuch://x/y": "nosuch",
        "s3://no-such-bucket-of-ours/x": "bucket",
    }.items():
        with (
            pytest.raises(StoreError, match=said) as refused,
            OpenStore.open(url, create=True).writer("test"),
        ):
            pass
        assert "\n" not in str(refused.value)


def test_a_place_whose_commits_would_not_be_safe_is_not_written(monkeypatch):
    monkeypatch.delitem(remote.EXCLUSIVE, "memory")
    with (
        pytest.raises(StoreError, match="memory:// can't create a file conditionally"),
        OpenStore.open("memory://unsafe", create=True).writer("test"),
    ):
        pass


def test_a_prefix_that_holds_other_objects_is_refused(bucket):
    open_files(bucket).write("notes/a.txt", b"mine")
    with pytest.raises(StoreError, match="holds other files already"):
        OpenStore.open(bucket, create=True)
    with pytest.raises(StoreError, match="is not a store"):
        OpenStore.open(bucket, create=False)


def test_a_store_in_memory_serves_too(tmp_path, stubs, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    place = f"memory://{tmp_path.name}/shelf"
    run(place, catalogue_of(tmp_path / "a", FIRST))
    run(tmp_path / "shelf", catalogue_of(tmp_path / "b", FIRST))
    here = api.vectors(OpenStore.open(tmp_path / "shelf"), "text")
    there = api.vectors(OpenStore.open(place), "text")
    assert there.ids.equals(here.ids)
    assert np.array_equal(there.matrix, here.matrix)
    assert stubs[Modality.TEXT].seen
