"""The built-in sample: same bytes each time, in the marketplace's form, true to its truth."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vitrina.errors import CatalogueError
from vitrina.sample import SampleReport, write_sample
from vitrina.sample.looks import look_of
from vitrina.sample.maker import INDEX, Maker
from vitrina.sample.photos import _load_shape, draw_photo, encode_jpeg
from vitrina.sample.plan import BROKEN, Photo, draw_plan
from vitrina.sample.taxonomy import ONE_ROW, categories
from vitrina.sample.wording import Clarity, reword, write_wording

FILES = ("train.parquet", "test.parquet", "truth.parquet", "images.zip")


@dataclass(frozen=True)
class Sample:
    report: SampleReport
    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    truth: dict[int, dict[str, Any]]
    images: dict[str, bytes]

    def image(self, product: int) -> bytes:
        return self.images[f"images/{self.truth[product]['split']}/{product}.jpg"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    report = write_sample(tmp_path_factory.mktemp("sample"))
    with ZipFile(report.images) as archive:
        images = {name: archive.read(name) for name in archive.namelist()}
    truth = pq.read_table(report.truth).to_pylist()
    return Sample(
        report=report,
        train=pq.read_table(report.train).to_pylist(),
        test=pq.read_table(report.test).to_pylist(),
        truth={row["product_id"]: row for row in truth},
        images=images,
    )


def opens(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except OSError:
        return False
    return True


def texts(row: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(row["text_fields"])
    return fields


def test_same_size_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_sample(tmp_path / folder, products=120, seed=3)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    write_sample(tmp_path / "one", products=60, seed=0)
    write_sample(tmp_path / "two", products=60, seed=1)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_a_product_is_the_same_made_alone(sample: Sample) -> None:
    maker = Maker(draw_plan(1200, 0), 0)
    rows = {row[INDEX]: row for row in sample.train}
    for position in (1100, 7, 640):
        if position in rows:
            assert maker.make_row(position) == rows[position]
        image = maker.make_image(position)
        assert image == sample.images.get(maker.image_name(position))


def test_an_earlier_sample_is_replaced_and_no_scraps_stay(tmp_path: Path) -> None:
    write_sample(tmp_path, products=60, seed=0)
    report = write_sample(tmp_path, products=50, seed=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert pq.read_table(report.truth).num_rows == 50


@pytest.mark.parametrize("products", [50, 51, 137])
def test_small_sizes_work(tmp_path: Path, products: int) -> None:
    report = write_sample(tmp_path, products=products)
    assert pq.read_table(report.train).num_rows == report.train_products
    assert pq.read_table(report.test).num_rows == report.test_products
    assert report.train_products + report.test_products == products
    assert report.broken_photos == 3


def test_fewer_products_than_a_sample_needs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="at least 50 products, not 49"):
        write_sample(tmp_path / "none", products=49)
    assert not (tmp_path / "none").exists()


def test_progress_counts_up_to_all_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrina.sample.write._ROWS_PER_GROUP", 25)
    told: list[int] = []
    write_sample(tmp_path, products=60, progress=told.append)
    assert told == [25, 50, 60]


def test_row_groups_do_not_change_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_sample(tmp_path / "whole", products=60)
    monkeypatch.setattr("vitrina.sample.write._ROWS_PER_GROUP", 7)
    cut = write_sample(tmp_path / "cut", products=60)
    assert pq.ParquetFile(cut.train).num_row_groups == 8
    for one, other in ((whole.train, cut.train), (whole.test, cut.test), (whole.truth, cut.truth)):
        assert pq.read_table(one).equals(pq.read_table(other))
    assert whole.images.read_bytes() == cut.images.read_bytes()


def test_columns_are_those_of_the_marketplace(sample: Sample) -> None:
    common = ["sale", "shop_id", "shop_title", "rating", "text_fields"]
    train = pd.read_parquet(sample.report.train)
    assert list(train) == ["product_id", "category_id", "category_name", *common]
    assert list(pd.read_parquet(sample.report.test)) == ["product_id", *common]
    assert train["product_id"].dtype == train["category_id"].dtype == "int64"


def test_the_train_frame_has_an_index_with_gaps(sample: Sample) -> None:
    index = pd.read_parquet(sample.report.train).index
    assert index.name is None
    assert index.is_monotonic_increasing
    assert index.is_unique
    assert index[-1] - index[0] + 1 > len(index)


def test_text_fields_are_json_of_the_marketplace_form(sample: Sample) -> None:
    for row in [*sample.train, *sample.test]:
        fields = texts(row)
        assert fields["title"].strip()
        assert isinstance(fields["description"], str)
        assert all(isinstance(attribute, str) for attribute in fields["attributes"])
        for kind in ("custom_characteristics", "defined_characteristics", "filters"):
            for values in fields[kind].values():
                assert values
                assert all(isinstance(value, str) for value in values)
    descriptions = " ".join(texts(row)["description"] for row in sample.train)
    for markup in ("<p>", "<ul><li>", "<b>", "<br/>", "&nbsp;", "&quot;", "&amp;", "&mdash;"):
        assert markup in descriptions
    assert "{" not in descriptions


def test_category_names_are_paths_below_the_root(sample: Sample) -> None:
    names = {row["category_id"]: row["category_name"] for row in sample.train}
    assert len(names) == len(categories()) == sample.report.categories == 42
    assert {name.split("->")[0] for name in names.values()} == {"Все категории"}
    assert {name.count("->") for name in names.values()} == {3, 4}


@pytest.mark.parametrize("products", [50, 137, 1200, 20_000])
def test_one_row_categories_have_one_row_at_every_size(products: int) -> None:
    plan = draw_plan(products, seed=2)
    last = np.arange(len(categories()))[-ONE_ROW:]
    for labels in (plan.true, plan.given):
        counts = np.bincount(labels[~plan.in_test], minlength=len(categories()))
        assert counts[last].tolist() == [1] * ONE_ROW
        assert not np.isin(labels[plan.in_test], last).any()


def test_counts_have_a_long_tail() -> None:
    plan = draw_plan(1200, seed=0)
    counts = np.bincount(plan.true[~plan.in_test])
    assert counts.sum() == 1020
    assert (np.diff(counts[np.r_[0, 5, 20, 37]]) < 0).all()
    assert counts[0] > 8 * counts[37] > 0


def test_truth_agrees_with_the_catalogue(sample: Sample) -> None:
    assert len(sample.truth) == 1200
    for row in sample.train:
        known = sample.truth[row["product_id"]]
        assert known["split"] == "train"
        assert known["given_category_id"] == row["category_id"]
        assert known["wrong_label"] == (known["true_category_id"] != row["category_id"])
    for row in sample.test:
        known = sample.truth[row["product_id"]]
        assert known["split"] == "test"
        assert known["given_category_id"] is None
        assert not known["wrong_label"]
    assert len(sample.train) + len(sample.test) == 1200


def test_the_report_counts_what_the_truth_tells(sample: Sample) -> None:
    report, truth = sample.report, sample.truth.values()
    assert (report.products, report.train_products, report.test_products) == (1200, 1020, 180)
    assert report.wrong_labels == sum(row["wrong_label"] for row in truth) == 31
    photos = Counter(row["photo"] for row in truth)
    assert photos == {"ok": 1140, "missing": 48, "broken": 12}
    assert (report.missing_photos, report.broken_photos) == (48, 12)
    assert report.near_duplicates == sum(row["duplicate_of"] is not None for row in truth) == 60


def test_wrong_labels_are_near_relations(sample: Sample) -> None:
    departments = {category.category_id: category.department for category in categories()}
    for row in sample.truth.values():
        if row["wrong_label"]:
            true, given = row["true_category_id"], row["given_category_id"]
            assert departments[true] == departments[given]


def test_the_archive_holds_what_the_truth_says(sample: Sample) -> None:
    expected = {
        f"images/{row['split']}/{product}.jpg"
        for product, row in sample.truth.items()
        if row["photo"] != "missing"
    }
    assert set(sample.images) == expected
    with ZipFile(sample.report.images) as archive:
        members = archive.infolist()
    assert len(members) == len(expected)
    assert {member.compress_type for member in members} == {ZIP_STORED}
    assert len({member.date_time for member in members}) == 1


def test_broken_photos_do_not_open_and_the_others_do(sample: Sample) -> None:
    broken = [sample.image(p) for p, row in sample.truth.items() if row["photo"] == "broken"]
    assert not any(opens(content) for content in broken)
    kinds = Counter(content[:3] for content in broken)
    assert kinds == {b"": 4, b"<ht": 4, b"\xff\xd8\xff": 4}
    for product, row in sample.truth.items():
        if row["photo"] == "ok":
            with Image.open(io.BytesIO(sample.image(product))) as image:
                assert image.format == "JPEG"
                assert image.size == (128, 128)
                image.load()


def test_near_duplicates_are_what_the_truth_says(sample: Sample) -> None:
    rows = {row["product_id"]: row for row in [*sample.train, *sample.test]}
    same_photos, same_texts = Counter[bool](), Counter[bool]()
    for product, known in sample.truth.items():
        original = known["duplicate_of"]
        if original is None:
            assert not known["same_photo"]
            assert not known["same_text"]
            continue
        assert sample.truth[original]["duplicate_of"] is None
        assert sample.truth[original]["true_category_id"] == known["true_category_id"]
        mine, theirs = sample.image(product), sample.image(original)
        assert (mine == theirs) == known["same_photo"]
        pixels = [
            np.asarray(Image.open(io.BytesIO(content)), np.float32) for content in (mine, theirs)
        ]
        assert np.abs(pixels[0] - pixels[1]).mean() < 8
        same_text = rows[product]["text_fields"] == rows[original]["text_fields"]
        assert same_text == known["same_text"]
        if same_text:
            assert rows[product]["shop_id"] == rows[original]["shop_id"]
        else:
            title, base = texts(rows[product])["title"], texts(rows[original])["title"]
            assert base.casefold() in title.casefold()
        same_photos[known["same_photo"]] += 1
        same_texts[known["same_text"]] += 1
    assert min(*same_photos.values(), *same_texts.values()) >= 5


def test_originals_are_sound_and_never_of_a_one_row_category() -> None:
    plan = draw_plan(5_000, seed=1)
    copies = np.flatnonzero(plan.original >= 0)
    sources = plan.original[copies]
    assert (plan.photo[sources] == Photo.OK).all()
    assert (plan.original[sources] == -1).all()
    assert (plan.true[copies] == plan.true[sources]).all()
    assert (plan.true[copies] < len(categories()) - ONE_ROW).all()
    assert np.isin(plan.photo, BROKEN).sum() == 50


def test_some_titles_do_not_name_the_thing(sample: Sample) -> None:
    names = {
        category.category_id: [name.split()[0].casefold()[:4] for name in category.names]
        for category in categories()
    }
    vague = 0
    for row in sample.train:
        true = sample.truth[row["product_id"]]["true_category_id"]
        title = texts(row)["title"].casefold()
        vague += not any(name in title for name in names[true])
    assert 0.1 < vague / len(sample.train) < 0.35


def test_every_category_can_be_drawn_and_described() -> None:
    for category in categories():
        for shape in look_of(category).shapes:
            assert np.abs(_load_shape(shape).points).max() < 1
        rng = Random(category.leaf)
        photo = draw_photo(category, "синий", rng, identifying=False)
        assert np.asarray(photo).std() > 8
        assert encode_jpeg(photo, 80).startswith(b"\xff\xd8")
        for clarity in Clarity:
            wording = write_wording(category, clarity, "синий", rng)
            assert reword(wording, rng).title != wording.title


def test_a_telling_photo_shows_a_shape_of_the_category_itself() -> None:
    looks = {category.leaf: look_of(category) for category in categories()}
    for leaf, look in looks.items():
        others = {shape for name, other in looks.items() if name != leaf for shape in other.own}
        assert set(look.own) <= set(look.shapes)
        assert "carton" not in look.own
        assert not set(look.own) & others


def test_leaves_and_ids_are_unique() -> None:
    assert len({category.leaf for category in categories()}) == len(categories())
    assert len({category.category_id for category in categories()}) == len(categories())
