import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from support.catalogue_files import jsonl
from support.embedding import (
    BLUE,
    BROKEN,
    BUILT_IN,
    FIRST,
    RED,
    SECOND,
    STUBS,
    VICTIM,
    Colours,
    Words,
    all_files,
    catalogue_of,
    data_files,
    failures,
    goods,
    photo,
    run,
    shard_ids,
    use_stubs,
    vectors_of,
)
from support.resealing import reseal
from support.stopping import Killed, stopping_at
from vitrina.data.catalogue import Catalogue
from vitrina.embedder import photos as photos_module
from vitrina.embedder.model_ref import ModelRef
from vitrina.engines import base as engine_base
from vitrina.engines import local as local_engine
from vitrina.errors import (
    CatalogueError,
    EncoderError,
    FingerprintError,
    ImageError,
    StoreError,
    TooManyFailuresError,
)
from vitrina.pipelines.common import encoders
from vitrina.pipelines.embed import commit_pace, encoder_choice
from vitrina.pipelines.embed import space_job as space_module
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.index.job import build_index
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.index.options import IndexOptions
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Compute, Features, Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


# -- the built-in encoders over the sample --------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("embed") / "shelf"
    report = run(path, Catalogue.read(sample.train, images=sample.images), BUILT_IN)
    return path, report


@pytest.mark.parametrize("space", ["text-lexical", "image-thumbnail"])
def test_every_product_with_content_has_one_row_of_unit_length(shelf, space):
    path, _ = shelf
    products = pd.read_parquet(path / "products")
    column = "text_hash" if space.startswith("text") else "image_hash"
    errors = pd.read_parquet(path / "spaces" / space / "errors.parquet")
    expected = products.dropna(subset=column).set_index("product_id")[column]
    expected = expected.drop(errors["product_id"].astype(int))
    parts = sorted((path / "spaces" / space).glob("part-*.parquet"))
    frame = pd.concat([pd.read_parquet(part) for part in parts])
    assert frame["product_id"].is_unique
    assert dict(zip(frame["product_id"], frame["content_hash"], strict=True)) == dict(expected)
    # Rows are float16: 11 bits of each coordinate.
    lengths = np.linalg.norm(np.stack(frame["embedding"]).astype(np.float32), axis=1)
    assert np.abs(lengths - 1).max() < 1e-3
    for _, same in frame.groupby("content_hash")["embedding"]:
        assert all(np.array_equal(vector, same.iloc[0]) for vector in same)


def test_the_report_counts_each_content_once(shelf):
    path, report = shelf
    products = pd.read_parquet(path / "products")
    text, image = report.spaces
    failed = len(failures(path, "image-thumbnail"))
    assert (report.products, report.new, report.rejected) == (102, 102, 0)
    assert text.embedded == products["text_hash"].nunique()
    assert text.embedded + text.reused == 102
    assert (text.failed, text.missing, text.unchanged) == (0, 0, 0)
    assert image.missing == products["image_hash"].isna().sum()
    assert image.failed == failed
    assert image.embedded + image.reused + image.failed + image.missing == 102
    assert text.reused > 0
    assert image.reused > 0


def test_broken_photos_stand_in_the_errors_and_missing_ones_do_not(shelf, sample):
    path, _ = shelf
    truth = pd.read_parquet(sample.truth).query("split == 'train' and photo == 'broken'")
    errors = failures(path, "image-thumbnail")
    assert set(errors) == set(truth["product_id"].astype(str))
    assert {stage for stage, _ in errors.values()} == {"decode"}
    empty, page, cut = sorted(reason for _, reason in errors.values())
    assert (empty, page) == ("empty file", "not an image: an HTML page")
    assert cut.endswith("bytes")
    assert failures(path, "text-lexical") == {}


def test_a_second_run_embeds_nothing_and_leaves_every_byte(shelf, sample):
    path, first = shelf
    before = data_files(path)
    again = run(path, Catalogue.read(sample.train, images=sample.images), BUILT_IN)
    assert data_files(path) == before
    assert (again.new, again.changed, again.relabelled, again.unchanged) == (0, 0, 0, 102)
    for old, new in zip(first.spaces, again.spaces, strict=True):
        assert (new.embedded, new.reused) == (0, 0)
        assert new.unchanged == old.embedded + old.reused
        assert (new.failed, new.missing, new.space) == (old.failed, old.missing, old.space)


def test_a_refit_makes_a_new_space_and_what_was_built_on_the_old_is_refused(sample, tmp_path):
    path = tmp_path / "shelf"
    catalogue = Catalogue.read(sample.train)
    run(path, catalogue, EmbedOptions(text="lexical"))
    store = OpenStore.open(path)
    old = store.space(TEXT)
    build_index(store, IndexOptions(Features.TEXT))
    before = data_files(path)
    report = run(path, catalogue, EmbedOptions(text="lexical", refit=True, seed=1))
    store.refresh()
    new = store.space(TEXT)
    assert new.name == report.spaces[0].space == f"text-lexical-{new.entry.fingerprint[:8]}"
    assert old.entry.fingerprint != new.entry.fingerprint
    assert data_files(path).items() >= before.items()
    with pytest.raises(FingerprintError) as refused:
        Index.open(store, Features.TEXT)
    assert old.entry.fingerprint in str(refused.value)
    assert new.entry.fingerprint in str(refused.value)
    # Without --refit the newest fit goes on serving.
    again = run(path, catalogue, EmbedOptions(text="lexical", seed=2))
    assert (again.spaces[0].space, again.spaces[0].embedded) == (new.name, 0)
    # An encoder that is no longer the one that made a space serves nobody.
    fitted = path / old.card["encoder"] / "lexical.safetensors"
    fitted.write_bytes((path / new.card["encoder"] / "lexical.safetensors").read_bytes())
    with pytest.raises(StoreError, match="its checksum does not fit"):
        encoders.encoder_of(store, old)
    reseal(path)
    store.refresh()
    with pytest.raises(FingerprintError) as refused:
        encoders.encoder_of(store, store.open_space(old.name))
    assert old.entry.fingerprint[:12] in str(refused.value)
    assert new.entry.fingerprint[:12] in str(refused.value)


# -- what is embedded, and what is not ------------------------------------------------------------


def test_each_content_is_encoded_once_and_every_product_has_its_row(tmp_path, stubs):
    report = run(tmp_path / "shelf", catalogue_of(tmp_path / "a", FIRST))
    assert stubs[TEXT].seen == ["чай", "мыло", "сок", "кофе", "хлеб"]
    assert stubs[IMAGE].seen == [[250, 0, 0], [0, 250, 0], [0, 0, 250], [9, 9, 9]]
    assert shard_ids(tmp_path / "shelf", "text-words") == [[1, 3, 7], [2, 4, 6], [8]]
    # The photo of 4 is in the second shard's plan and fails there.
    assert shard_ids(tmp_path / "shelf", "image-colours") == [[1, 5, 2], [7, 3], [8]]
    text = vectors_of(tmp_path / "shelf", TEXT)
    expected = Words().encode(["чай"])[0].astype(np.float16).astype(np.float32)
    assert [text[at].tolist() for at in (1, 3, 7)] == [expected.tolist()] * 3
    image = vectors_of(tmp_path / "shelf", IMAGE)
    assert image[1].tolist() == image[5].tolist() != image[2].tolist() == image[7].tolist()
    done = {(one.embedded, one.reused, one.failed, one.missing) for one in report.spaces}
    assert done == {(5, 2, 0, 1), (4, 2, 1, 1)}


def test_only_what_changed_is_embedded_and_others_are_kept(tmp_path, stubs):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    before, texts = data_files(path), vectors_of(path, TEXT)
    for stub in stubs.values():
        stub.seen.clear()
    report = run(path, catalogue_of(tmp_path / "b", SECOND))
    assert stubs[TEXT].seen == ["мыло хозяйственное"]
    # Blue and red are there already, and green did not change.
    assert stubs[IMAGE].seen == []
    assert report.products == 9
    # 9 is new; 2, 4 and 8 changed; of 3, 5, 6 and 7 the catalogue says nothing.
    assert (report.new, report.changed, report.relabelled, report.unchanged) == (1, 3, 0, 1)
    assert (report.kept, report.removed) == (4, 0)
    assert OpenStore.open(path).products.ids.to_pylist() == [9, 1, 4, 2, 8, 3, 5, 6, 7]
    after = vectors_of(path, TEXT)
    assert set(after) == {1, 2, 3, 4, 6, 7, 8, 9}
    assert all(after[at].tolist() == texts[at].tolist() for at in (1, 3, 4, 6, 7, 8))
    assert after[9].tolist() == texts[1].tolist()
    assert after[2].tolist() != texts[2].tolist()
    images = vectors_of(path, IMAGE)
    assert set(images) == {1, 2, 3, 4, 5, 7, 9}
    assert images[4].tolist() == images[3].tolist()
    kept = {name: data for name, data in before.items() if "part-" in name and "spaces" in name}
    assert data_files(path).items() >= kept.items()


def test_a_product_that_is_gone_is_kept_or_pruned(tmp_path, stubs):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    build_index(OpenStore.open(path), IndexOptions(Features.TEXT))
    before = vectors_of(path, TEXT)
    for stub in stubs.values():
        stub.seen.clear()
    fewer = catalogue_of(tmp_path / "b", [FIRST[0], FIRST[5]])
    report = run(path, fewer, replace(STUBS, prune=True, accept_changes=True))
    assert (report.unchanged, report.removed, report.kept, report.products) == (2, 6, 0, 2)
    assert vectors_of(path, TEXT).keys() == {1, 6}
    # 3 and 7 have the same text, and stand in the index still.
    near = Index.open(OpenStore.open(path)).search(product=1, k=5)
    assert [one.product_id for one in near] == [6]
    # Its vectors are there until they are compacted away: a catalogue cut short costs nothing.
    report = run(path, catalogue_of(tmp_path / "c", FIRST))
    assert (report.new, report.unchanged, report.removed) == (6, 2, 0)
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == ([], [])
    after = vectors_of(path, TEXT)
    assert {at: vector.tolist() for at, vector in after.items()} == {
        at: vector.tolist() for at, vector in before.items()
    }


@pytest.mark.usefixtures("stubs")
def test_a_row_that_cannot_be_used_is_no_reason_to_prune_its_product(tmp_path):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    rows = [{"product_id": 1, "title": "чай"}, {"product_id": 2, "title": "мыло", "category_id": 1}]
    bad = jsonl(tmp_path / "bad.jsonl", *rows, '{"product_id": 2, "title": "ещё"}')
    options = EmbedOptions(text="hf:team/words", prune=True, accept_changes=True)
    report = run(path, Catalogue.read(bad), options)
    assert (report.rejected, report.products) == (1, 2)


def test_a_rerun_looks_at_files_and_not_into_photos(tmp_path, stubs, monkeypatch):
    path = tmp_path / "shelf"
    catalogue = catalogue_of(tmp_path / "a", FIRST)
    run(path, catalogue)
    source = type(catalogue.images)
    read, opened = source.read, []

    def watched(self, reference):
        opened.append(reference)
        return read(self, reference)

    monkeypatch.setattr(source, "read", watched)
    run(path, catalogue)
    assert opened == []
    # Of another size, and of the same size at another time.
    (tmp_path / "a/images/3.png").write_bytes(RED)
    os.utime(tmp_path / "a/images/2.png", ns=(1, 1))
    stubs[IMAGE].seen.clear()
    report = run(path, catalogue)
    assert opened == ["2.png", "3.png"]
    assert (report.changed, report.unchanged, stubs[IMAGE].seen) == (1, 7, [])
    opened.clear()
    report = run(path, catalogue, replace(STUBS, rehash=True))
    assert sorted(opened) == ["1.png", "2.png", "3.png", "4.png", "5.png", "7.png", "8.png"]
    assert (report.changed, report.unchanged) == (0, 8)


def test_a_run_without_photos_leaves_what_is_known_of_them(tmp_path, stubs):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    before = vectors_of(path, IMAGE)
    renamed = jsonl(tmp_path / "renamed.jsonl", {"product_id": 1, "title": "чай зелёный"})
    stubs[IMAGE].seen.clear()
    run(path, Catalogue.read(renamed), EmbedOptions(text="hf:team/words"))
    assert vectors_of(path, IMAGE).keys() == before.keys()
    report = run(path, catalogue_of(tmp_path / "b", FIRST), STUBS)
    assert stubs[IMAGE].seen == []
    assert report.spaces[1].unchanged == len(before)


def test_what_has_nothing_to_do_is_not_loaded(tmp_path, monkeypatch):
    path = tmp_path / "shelf"
    use_stubs(monkeypatch.setattr)
    run(path, catalogue_of(tmp_path / "a", FIRST))
    loaded = []

    def load(_, model, *__, **___):
        loaded.append(str(model))
        return {TEXT: Words, IMAGE: Colours}[model.modality]()

    monkeypatch.setattr(encoder_choice, "load_model", load)
    report = run(path, catalogue_of(tmp_path / "b", FIRST))
    assert loaded == []
    assert [(one.space, one.unchanged) for one in report.spaces] == [
        ("text-words", 7),
        ("image-colours", 6),
    ]
    run(path, catalogue_of(tmp_path / "c", [*FIRST, (9, "новое", 10, RED)]))
    assert loaded == ["hf:team/words"]


def test_a_model_that_changed_under_its_name_is_noticed_when_it_is_needed(tmp_path, monkeypatch):
    path = tmp_path / "shelf"
    stubs = use_stubs(monkeypatch.setattr)
    run(path, catalogue_of(tmp_path / "a", FIRST))
    words = Words()
    words.card = replace(words.card, fingerprint="cd" * 32)
    stubs[TEXT] = words
    run(path, catalogue_of(tmp_path / "b", [*FIRST, (9, "новое", 10, RED)]))
    # All of them, since vectors of two encoders don't go together.
    assert words.seen == ["чай", "мыло", "сок", "кофе", "хлеб", "новое"]
    assert OpenStore.open(path).space(TEXT).name == "text-words-cdcdcdcd"
    assert vectors_of(path, TEXT).keys() == {1, 2, 3, 4, 6, 7, 8, 9}


def test_a_new_title_leaves_the_image_alone_and_a_new_category_both(tmp_path, stubs):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    for stub in stubs.values():
        stub.seen.clear()
    renamed = [(1, "чай зелёный", 10, RED), *FIRST[1:]]
    run(path, catalogue_of(tmp_path / "b", renamed))
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == (["чай зелёный"], [])
    moved = [(1, "чай зелёный", 99, RED), *FIRST[1:]]
    report = run(path, catalogue_of(tmp_path / "c", moved))
    assert (report.new, report.changed, report.relabelled, report.unchanged) == (0, 0, 1, 7)
    assert (stubs[TEXT].seen, stubs[IMAGE].seen) == (["чай зелёный"], [])
    labels = OpenStore.open(path).products.categories()
    assert labels.ids == (10, 11, 99)
    assert labels.codes.tolist() == [2, 1, 0, -1, 1, 0, 1, 0]


def test_float32_is_kept_as_it_was_made(tmp_path, stubs):
    options = EmbedOptions(text="hf:team/words", image="none", dtype="float32")
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", FIRST), options)
    assert vectors_of(tmp_path / "shelf", TEXT)[2].tolist() == Words().encode(["мыло"])[0].tolist()
    assert stubs[IMAGE].seen == []
    with pytest.raises(StoreError, match="text-words keeps float32 vectors, not float16"):
        run(
            tmp_path / "shelf",
            catalogue_of(tmp_path / "c", FIRST),
            replace(options, dtype="float16"),
        )
    # A store remembers its models.
    again = run(tmp_path / "shelf", catalogue_of(tmp_path / "b", FIRST), EmbedOptions())
    assert [(one.space, one.unchanged, one.embedded) for one in again.spaces] == [
        ("text-words", 7, 0)
    ]


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stubs")
def test_the_errors_are_those_of_the_catalogue_as_it_is_now(tmp_path):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    assert list(failures(path, "image-colours")) == ["4"]
    # As many as before, and others.
    report = run(path, catalogue_of(tmp_path / "b", SECOND))
    assert list(failures(path, "image-colours")) == ["8"]
    assert report.spaces[1].failed == 1
    run(path, catalogue_of(tmp_path / "c", SECOND[:-1]))
    assert list(failures(path, "image-colours")) == ["8"]


@pytest.mark.usefixtures("stubs")
def test_a_photo_that_failed_is_tried_again_only_when_it_changes(tmp_path, monkeypatch):
    tried, encode = [], engine_base.encode_photos

    def watched(encoder, products, *others):
        tried.extend(Path(photo).name for photos in products for photo in photos)
        return encode(encoder, products, *others)

    monkeypatch.setattr(engine_base, "encode_photos", watched)
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    assert tried == ["1.png", "2.png", "3.png", "4.png", "8.png"]
    run(path, catalogue_of(tmp_path / "b", FIRST))
    assert len(tried) == 5
    run(path, catalogue_of(tmp_path / "c", [(4, "сок", None, BROKEN[:-1])]))
    assert tried[5:] == ["4.png"]


@pytest.mark.usefixtures("stubs")
def test_a_photo_that_cannot_be_read_is_reported_once_and_while_it_lasts(tmp_path, monkeypatch):
    path = tmp_path / "shelf"
    catalogue = catalogue_of(tmp_path / "a", FIRST)
    source = type(catalogue.images)
    read = source.read

    def broken(self, reference):
        if reference.endswith("2.png"):
            raise ImageError("damaged in the archive")
        return read(self, reference)

    monkeypatch.setattr(source, "read", broken)
    for _ in range(3):
        report = run(path, catalogue)
        errors = pd.read_parquet(path / "spaces/image-colours/errors.parquet")
        assert sorted(errors["product_id"]) == ["2", "4"]
        assert failures(path, "image-colours")["2"] == ("read", "damaged in the archive")
        assert report.spaces[1].failed == 2
    # Another catalogue that does not mention it leaves it standing.
    run(path, catalogue_of(tmp_path / "b", [FIRST[0]]))
    assert sorted(failures(path, "image-colours")) == ["2", "4"]
    monkeypatch.setattr(source, "read", read)
    run(path, catalogue)
    assert sorted(failures(path, "image-colours")) == ["2", "4"]
    report = run(path, catalogue, replace(STUBS, retry_failed=True))
    assert list(failures(path, "image-colours")) == ["4"]
    assert sorted(vectors_of(path, IMAGE)) == [1, 2, 3, 5, 7, 8]
    # Nor is one reported that is gone.
    monkeypatch.setattr(source, "read", broken)
    gone = [(2, "мыло", 11, None), *FIRST[:1], *FIRST[2:]]
    run(path, catalogue_of(tmp_path / "c", gone))
    assert list(failures(path, "image-colours")) == ["4"]


def test_too_many_failures_end_the_run_with_what_is_done_kept(tmp_path, stubs):
    rows = [(at, f"т{at}", None, photo(at, at, at)) for at in range(1, 7)]
    rows += [(at, f"т{at}", None, BROKEN + bytes([at])) for at in range(7, 13)]
    path = tmp_path / "shelf"
    options = EmbedOptions(
        text="hf:team/words", image="timm:colours", shard_rows=3, max_failures=0.2
    )
    with pytest.raises(TooManyFailuresError) as ended:
        run(path, catalogue_of(tmp_path / "a", rows), options)
    message = str(ended.value)
    assert "3 of 12 products failed, more than --max-failures 0.2" in message
    assert str(path / "spaces/image-colours/errors.parquet") in message
    assert "\n" not in message
    assert len(stubs[IMAGE].seen) == 6
    assert sorted(failures(path, "image-colours")) == ["7", "8", "9"]
    assert shard_ids(path, "image-colours") == [[1, 2, 3], [4, 5, 6]]
    assert len(vectors_of(path, TEXT)) == 12
    run(path, catalogue_of(tmp_path / "b", rows))
    assert len(stubs[IMAGE].seen) == 6
    assert len(failures(path, "image-colours")) == 6
    assert sorted(vectors_of(path, IMAGE)) == [1, 2, 3, 4, 5, 6]


def test_photos_that_cannot_be_read_end_a_run_once(tmp_path, stubs, monkeypatch):
    path = tmp_path / "shelf"
    catalogue = catalogue_of(tmp_path / "a", FIRST)
    source = type(catalogue.images)
    read = source.read

    def broken(*_):
        raise ImageError("the disk is away")

    options = replace(STUBS, max_failures=0.5)
    monkeypatch.setattr(source, "read", broken)
    with pytest.raises(TooManyFailuresError, match="7 of 7 products failed"):
        run(path, catalogue, options)
    assert len(failures(path, "image-colours")) == 7
    # They stay as they are, and no later run ends for them.
    report = run(path, catalogue, options)
    assert (report.spaces[1].failed, report.unchanged) == (7, 8)
    assert stubs[IMAGE].seen == []
    monkeypatch.setattr(source, "read", read)
    report = run(path, catalogue, replace(options, retry_failed=True))
    assert (report.changed, report.spaces[1].failed) == (7, 1)
    assert sorted(vectors_of(path, IMAGE)) == [1, 2, 3, 5, 7, 8]


def test_what_failed_and_fails_again_ends_no_run(tmp_path, stubs):
    path = tmp_path / "shelf"
    rows = [(at, f"т{at}", None, photo(at, at, at)) for at in range(1, 30)]
    catalogue = catalogue_of(tmp_path / "a", [*rows, (40, "я", None, BROKEN)])
    options = replace(STUBS, max_failures=0.05)
    assert run(path, catalogue, options).spaces[1].failed == 1
    # All that is tried fails, and still it is one product of thirty.
    report = run(path, catalogue, replace(options, retry_failed=True))
    assert (report.spaces[1].failed, report.spaces[1].unchanged) == (1, 29)
    assert len(stubs[IMAGE].seen) == 29


def test_nothing_is_fitted_on_photos_that_are_not_there(tmp_path):
    path = tmp_path / "shelf"
    options = EmbedOptions(text="none", image="thumbnail", max_failures=1.0)
    rows = [(1, "чай", 10, None), (2, "мыло", 11, None)]
    with pytest.raises(EncoderError, match="no product has a photo that thumbnail could be fitted"):
        run(path, catalogue_of(tmp_path / "a", rows), options)
    rows = [(1, "чай", 10, BROKEN), (2, "мыло", 11, BROKEN[:-1])]
    with pytest.raises(EncoderError, match="no photo can be decoded"):
        run(path, catalogue_of(tmp_path / "b", rows), options)
    other = EmbedOptions(text="lexical", image="none")
    with pytest.raises(EncoderError, match="no product has text that lexical could be fitted on"):
        run(tmp_path / "other", catalogue_of(tmp_path / "c", [(1, "", 10, None)]), other)
    assert dict(OpenStore.open(path, create=True).manifest.spaces) == {}
    report = run(path, catalogue_of(tmp_path / "d", FIRST), options)
    assert report.spaces[0].dim > 1


@pytest.mark.usefixtures("stubs")
def test_rejected_rows_land_in_the_store_with_their_numbers(tmp_path):
    path = jsonl(
        tmp_path / "goods.jsonl",
        {"product_id": 1, "title": "чай"},
        {"title": "мыло"},
        {"product_id": 1, "title": "сок"},
        "{broken",
    )
    options = EmbedOptions(text="hf:team/words")
    report = run(tmp_path / "shelf", Catalogue.read(path), options)
    assert (report.products, report.rejected) == (1, 3)
    rows = pd.read_parquet(tmp_path / "shelf/errors.parquet")
    assert rows["row"].tolist() == [2, 3, 4]
    assert rows["product_id"].fillna("").tolist() == ["", "1", ""]
    assert rows["stage"].tolist() == ["read"] * 3
    assert rows["error"][0] == "no product_id"
    assert "seen before" in rows["error"][1]
    assert "JSON" in rows["error"][2]
    fixed = jsonl(tmp_path / "fixed.jsonl", {"product_id": 2, "title": "мыло"})
    run(tmp_path / "shelf", Catalogue.read(fixed), options)
    assert len(pd.read_parquet(tmp_path / "shelf/errors.parquet")) == 0


@pytest.mark.usefixtures("stubs")
def test_a_catalogue_that_does_not_fit_changes_nothing(tmp_path):
    shelf = tmp_path / "shelf"
    options = EmbedOptions(text="hf:team/words")
    run(shelf, catalogue_of(tmp_path / "a", FIRST))
    before = data_files(shelf)
    useless = jsonl(tmp_path / "useless.jsonl", {"product_id": 1, "text_fields": "{broken"})
    with pytest.raises(CatalogueError, match="no row can be used"):
        run(shelf, Catalogue.read(useless), options)
    with pytest.raises(EncoderError, match="say where the photos are with --images"):
        run(shelf, Catalogue.read(useless), STUBS)
    with pytest.raises(EncoderError, match="nothing to embed"):
        run(shelf, Catalogue.read(useless), EmbedOptions(text="none"))
    assert data_files(shelf) == before


# -- killed and resumed ---------------------------------------------------------------------------


@pytest.fixture
def each_shard_committed(monkeypatch):
    monkeypatch.setattr(commit_pace, "SHARDS", 1)


@pytest.mark.usefixtures("stubs", "each_shard_committed")
@pytest.mark.parametrize("call", [1, 2, 5, 6, 9])
def test_a_run_stopped_at_a_shard_and_resumed_gives_the_same_bytes(tmp_path, monkeypatch, call):
    catalogue = catalogue_of(tmp_path / "a", [*goods(14), *((20, "я", 1, BROKEN),)])
    run(tmp_path / "whole", catalogue)
    write, calls = space_module.write_shard, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise Killed
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(space_module, "write_shard", stopping)
        with pytest.raises(Killed):
            run(tmp_path / "resumed", catalogue)
    run(tmp_path / "resumed", catalogue)
    assert all_files(tmp_path / "resumed") == all_files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("prune", [False, True], ids=["kept", "pruned"])
def test_an_update_stopped_at_any_change_and_resumed_gives_the_same_bytes(
    tmp_path, monkeypatch, after, prune
):
    options = replace(STUBS, prune=prune)
    first, second = catalogue_of(tmp_path / "a", FIRST), catalogue_of(tmp_path / "b", SECOND)
    # Syncing makes it slow, and no test can see whether it was done.
    monkeypatch.setattr("os.fsync", lambda _: None)
    run(tmp_path / "first", first)
    shutil.copytree(tmp_path / "first", tmp_path / "whole")
    run(tmp_path / "whole", second, options)
    expected, data = all_files(tmp_path / "whole"), data_files(tmp_path / "whole")
    changes = 0
    while True:
        path = shutil.copytree(tmp_path / "first", tmp_path / f"shelf{changes}")
        with stopping_at(changes, after=after) as stop:
            run(path, second, options)
        run(path, second, options)
        assert data_files(path) == data, f"stopped at change {changes}"
        assert all_files(path) == expected, f"stopped at change {changes}"
        if not stop.happened:
            break
        changes += 1
    # A part of the products and a manifest, then shards, errors and manifests of two spaces.
    assert changes >= 12


@pytest.mark.usefixtures("stubs", "each_shard_committed")
def test_a_run_killed_by_the_system_and_resumed_gives_the_same_bytes(tmp_path):
    catalogue = catalogue_of(tmp_path / "a", goods(14))
    run(tmp_path / "whole", catalogue)
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", VICTIM, here, str(tmp_path / "a"), str(tmp_path / "shelf")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    # The store is as at its last commit, and open to readers.
    there = OpenStore.open(tmp_path / "shelf")
    assert there.manifest.spaces["text-words"].rows == 9
    assert (tmp_path / "shelf/.tmp-writer/shard.parquet").exists()
    report = run(tmp_path / "shelf", catalogue)
    assert report.spaces[0].unchanged == 9
    assert all_files(tmp_path / "shelf") == all_files(tmp_path / "whole")
    assert not list((tmp_path / "shelf").rglob(".tmp-*"))


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize("call", [2, 4])
def test_a_run_that_is_stopped_keeps_the_shards_before(tmp_path, monkeypatch, call):
    catalogue = catalogue_of(tmp_path / "a", goods(14))
    compute, calls = local_engine.LocalEngine.compute, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise Killed
        return compute(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(local_engine.LocalEngine, "compute", stopping)
        with pytest.raises(Killed):
            run(tmp_path / "shelf", catalogue)
    assert OpenStore.open(tmp_path / "shelf").manifest.spaces["text-words"].rows == 3 * (call - 1)
    report = run(tmp_path / "shelf", catalogue)
    assert report.spaces[0].unchanged == 3 * (call - 1)


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize(
    ("shards", "seconds", "expected"),
    [
        (64, 30, [5, 5]),
        (2, 30, [2, 4, 5, 5]),
        (1, 30, [1, 2, 3, 4, 5, 5]),
        (64, 0, [1, 2, 3, 4, 5, 5]),
    ],
)
def test_a_commit_is_due_after_some_shards_or_some_time(
    tmp_path, monkeypatch, shards, seconds, expected
):
    monkeypatch.setattr(commit_pace, "SHARDS", shards)
    monkeypatch.setattr(commit_pace, "SECONDS", seconds)
    monkeypatch.setattr(commit_pace, "SHARE", math.inf)
    committed, commit = [], Writer.commit

    def noted(writer, manifest):
        if "text-words" in manifest.spaces:
            committed.append(len(manifest.spaces["text-words"].shards))
        commit(writer, manifest)

    monkeypatch.setattr(Writer, "commit", noted)
    run(tmp_path / "shelf", catalogue_of(tmp_path / "a", goods(14)), replace(STUBS, image="none"))
    # The last one makes the space the active one of its modality.
    assert [count for count in committed if count] == expected


def in_numbers(encoder, compute):
    encoder.card = replace(encoder.card, details={"compute": compute})
    return encoder


def test_a_space_keeps_the_numbers_it_was_made_in(tmp_path, monkeypatch):
    path, asked = tmp_path / "shelf", []

    def load(_, model, compute, *, before=None, **_settings):
        asked.append((model.modality, compute, before))
        return in_numbers(Words(), "int8") if model.modality is TEXT else Colours()

    monkeypatch.setattr(encoder_choice, "load_model", load)
    report = run(path, catalogue_of(tmp_path / "a", FIRST))
    assert asked == [(TEXT, None, None), (IMAGE, None, None)]
    assert [space.compute for space in report.spaces] == ["int8", None]
    assert OpenStore.open(path).space(TEXT).compute is Compute.INT8
    asked.clear()
    more = catalogue_of(tmp_path / "b", [*FIRST, (9, "новое", 10, BLUE)])
    run(path, more)
    assert asked == [(TEXT, None, Compute.INT8)]
    same = replace(STUBS, compute=Compute.INT8)
    run(path, more, same)
    other = replace(STUBS, compute=Compute.FLOAT32)
    with pytest.raises(StoreError, match=r"made in int8, not float32; leave --compute out"):
        run(path, more, other)


def test_another_machine_goes_on_in_the_numbers_it_has(monkeypatch):
    asked = []

    def load(model, _, compute=None, *_settings):
        asked.append(compute)
        if compute is Compute.INT8:
            raise EncoderError("this model can't be run in int8 on this machine")
        return str(model)

    words = ModelRef.of_trained("words", TEXT)
    monkeypatch.setattr(encoders, "load_text", load)
    assert encoders.load_encoder(words, before=Compute.INT8) == "words"
    assert asked == [Compute.INT8, None]
    with pytest.raises(EncoderError, match="can't be run in int8"):
        encoders.load_encoder(words, compute=Compute.INT8, before=Compute.FLOAT32)


@pytest.mark.usefixtures("stubs")
def test_the_report_tells_where_the_time_went(tmp_path):
    report = run(tmp_path / "shelf", catalogue_of(tmp_path / "a", FIRST))
    text, image = report.spaces
    assert set(text.stages) == {"read", "encode", "write"}
    assert set(image.stages) == {"read", "decode", "encode", "write"}
    for space in report.spaces:
        assert sum(space.stages.values()) == pytest.approx(1, abs=1e-3)
        assert space.bottleneck in space.stages
    unchanged = run(tmp_path / "shelf", catalogue_of(tmp_path / "b", FIRST))
    assert [(space.stages, space.bottleneck) for space in unchanged.spaces] == [({}, None)] * 2


@pytest.mark.usefixtures("stubs")
def test_content_that_fails_in_one_shard_is_not_tried_in_the_next(tmp_path, monkeypatch):
    rows = [(at, "чай", 10, BROKEN if at % 2 else RED) for at in range(6)]
    options = replace(STUBS, shard_rows=1, max_failures=1.0)
    tried = []
    prepare = photos_module.prepare_photo
    monkeypatch.setattr(photos_module, "prepare_photo", lambda *a: tried.append(1) or prepare(*a))
    report = run(tmp_path / "shelf", catalogue_of(tmp_path / "a", rows), options).spaces[1]
    assert (report.embedded, report.reused, report.failed) == (1, 2, 3)
    assert len(tried) == 2
