"""Fine-tuning an image encoder: what it learns, what it looks at, what serves afterwards."""

import csv
import json
import shutil
import zipfile
from io import BytesIO

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import vitrina as vt
from support.named_models import find_image, load_image
from support.vision_models import hf_clip
from vitrina.data.decode import decode
from vitrina.embedder.finetuning.augment import augmented
from vitrina.embedder.finetuning.image_classes import ImageClasses
from vitrina.embedder.finetuning.image_network import TrainableImage
from vitrina.embedder.finetuning.photo_bytes import SMALL, PhotoBytes
from vitrina.errors import EncoderError, ImageError, ImageSourceError
from vitrina.pipelines.common.seen_rows import rows_seen
from vitrina.store.store import OpenStore
from vitrina.training import loop
from vitrina.training.config import TrainingConfig
from vitrina.training.loss import ClassLoss
from vitrina.types import Balance

pytestmark = pytest.mark.usefixtures("own_cache")

FAST = {"epochs": 5, "learning_rate": 3e-3, "batch_size": 16, "ema_decay": 0.0, "layer_decay": 1.0}
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 220))


def photo(number):
    """A rough patch of its category's colour."""
    rng = np.random.default_rng(number)
    pixels = np.array(COLOURS[number % 3]) + rng.integers(-35, 35, size=(12, 10, 3))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    out = BytesIO()
    image.resize((50, 60), Image.Resampling.BILINEAR).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_catalogue(folder, rows=150, start=0):
    with zipfile.ZipFile(folder / f"photos{start}.zip", "w") as archive:
        for number in range(start, start + rows):
            # Some have no photo, and one has a broken one.
            if number % 25 != 7:
                archive.writestr(f"{number}.jpg", b"no photo" if number == 31 else photo(number))
    with (folder / f"products{start}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "title", "category_id"])
        for number in range(start, start + rows):
            writer.writerow([number, f"товар {number}", f"c{number % 3}"])
    return folder / f"products{start}.csv", folder / f"photos{start}.zip"


def write_timm(folder, name="test_vit"):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0)
    folder.mkdir(parents=True)
    timm.models.save_for_hf(network, str(folder), safe_serialization=True)
    return folder


def write_clip(folder):
    torch.manual_seed(0)
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1},
    }
    folder.mkdir(parents=True)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder


WRITERS = {
    "clip": (write_clip, None),
    "vit": (write_timm, 64),
    "transformers": (hf_clip, None),
    "convolutions": (lambda folder: write_timm(folder, "test_efficientnet"), 48),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    products, photos = write_catalogue(folder)
    catalogue = vt.Catalogue.read(products, images=photos)
    vt.embed(
        catalogue, OpenStore.open(folder / "shelf", create=True), text="none", image="thumbnail"
    )
    catalogue.close()
    return folder


@pytest.fixture
def store(made, tmp_path):
    """A copy of its own for each test."""
    shutil.copytree(made / "shelf", tmp_path / "shelf")
    return OpenStore.open(tmp_path / "shelf")


# -- the job --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [pytest.param(one, marks=pytest.mark.slow) if one != "vit" else one for one in WRITERS],
)
def test_an_encoder_learns_the_categories_and_serves_embed(store, made, tmp_path, kind):
    write, size = WRITERS[kind]
    model = write(tmp_path / "model")
    report = vt.finetune(store, "image", model=str(model), name="colours", image_size=size, **FAST)
    assert report.validation.weighted_f1 > 0.9
    # 150 products, of which six have no photo and one a broken one.
    assert report.rows + report.held_out + report.validation.rows == 143
    with_photos = vt.Catalogue.read(made / "products0.csv", images=made / "photos0.zip")
    done = vt.embed(with_photos, store, text="none", image="colours")
    assert [(one.space, one.embedded) for one in done.spaces] == [("image-colours", 143)]
    head = vt.train(store, "logistic", features="image")
    assert head.validation.weighted_f1 > 0.9
    assert not np.isin(rows_seen(store, store.encoder_folder("colours")), [7, 31, 32]).any()
    # What was written is what was trained: the encoder is loaded from the store alone.
    encoder = load_image("colours", store.encoder_folder("colours"))
    assert encoder.card.fingerprint == report.fingerprint
    card = json.loads((store.encoder_folder("colours") / "encoder.json").read_text())
    assert (card["modality"], card["base"]) == ("image", str(model))


@pytest.mark.parametrize("kind", WRITERS)
def test_training_sees_the_vectors_that_serving_gives(tmp_path, kind):
    write, size = WRITERS[kind]
    model = write(tmp_path / "model")
    network = TrainableImage(find_image(str(model), size=size), from_scratch=False)
    images = [decode(photo(number)) for number in range(6)]
    network.begin(torch.float32)
    network.train()
    with torch.no_grad():
        own = network.vectors(network.pixels([network.served(image) for image in images]))
    network.finish()
    (tmp_path / "kept").mkdir()
    network.save(tmp_path / "kept")
    encoder = load_image("kept", tmp_path / "kept", "float32")
    assert encoder.edge >= (size or 32)
    served = encoder.encode([encoder.prepare(image) for image in images])
    unit = torch.nn.functional.normalize(own, dim=1).numpy()
    if kind == "clip" or kind == "vit":
        np.testing.assert_allclose(served, unit, atol=1e-4)
    else:
        # Its norms stay as they are while the rest learns.
        np.testing.assert_allclose(served, unit, atol=1e-3)


@pytest.mark.slow
def test_two_runs_with_one_seed_are_the_same_and_a_killed_one_goes_on(store, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    model = str(write_timm(tmp_path / "model", "test_efficientnet"))
    options = {**FAST, "epochs": 2, "model": model, "image_size": 48, "from_scratch": True}
    one = vt.finetune(store, "image", name="one", **options)
    two = vt.finetune(store, "image", name="two", **options)
    assert (one.fingerprint, one.validation) == (two.fingerprint, two.validation)
    count, before = [], loop._step

    def counted(*args):
        count.append(1)
        if len(count) == 9:
            raise KeyboardInterrupt
        return before(*args)

    monkeypatch.setattr(loop, "_step", counted)
    with pytest.raises(KeyboardInterrupt):
        vt.finetune(store, "image", name="killed", **options)
    killed = vt.finetune(store, "image", name="killed", **options)
    # With it come the means and deviations of batch norms, which no gradient teaches.
    assert (killed.fingerprint, killed.validation) == (one.fingerprint, one.validation)


def test_photos_are_found_by_the_catalogue_where_the_store_cannot(store, tmp_path):
    model = str(write_clip(tmp_path / "model"))
    options = {**FAST, "epochs": 1, "model": model}
    bare = OpenStore.open(tmp_path / "bare", create=True)
    products, photos = write_catalogue(tmp_path)
    vt.embed(vt.Catalogue.read(products), bare, text="lexical", image="none")
    with pytest.raises(ImageSourceError, match="give the catalogue's file with --catalogue"):
        vt.finetune(bare, "image", **options)
    with pytest.raises(ImageSourceError, match="--catalogue in addition to --images"):
        vt.finetune(store, "image", images=photos, **options)
    moved = photos.rename(tmp_path / "moved.zip")
    report = vt.finetune(store, "image", catalogue=products, images=moved, **options)
    assert report.rows > 100


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("thumbnail", "fitted, not trained"),
        ("lexical", "can't serve image"),
        ("no", "names no image"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_error(store, model, message):
    with pytest.raises(EncoderError, match=message):
        vt.finetune(store, "image", model=model, **FAST)


# -- photos ---------------------------------------------------------------------------------------


def test_photos_are_kept_as_they_came_unless_they_are_large():
    small = photo(1)
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, size=(900, 1200, 3), dtype=np.uint8))
    out = BytesIO()
    noise.save(out, "PNG")
    files = {"a": small, "b": out.getvalue(), "c": b"broken"}

    def read(name):
        if name == "gone":
            raise ImageError("gone")
        return files[name]

    products = [["a"], ["gone", "c", "a"], [], ["c"], ["b"]]
    kept = PhotoBytes.write(products, read, 32)
    assert kept.there.tolist() == [True, True, False, False, True]
    assert kept[0] == kept[1] == small
    assert len(out.getvalue()) > SMALL > len(kept[4])
    shrunk = decode(kept[4])
    assert 32 <= min(shrunk.size) <= 64
    assert shrunk.width / shrunk.height == pytest.approx(4 / 3, rel=0.05)
    assert len(PhotoBytes.write([], read, 32)) == 0


def test_a_photo_is_another_in_every_pass_and_the_same_by_its_seed():
    image = decode(photo(4))
    shown = [augmented(image, 32, np.random.default_rng(seed)) for seed in range(40)]
    assert {one.size for one in shown} == {(32, 32)}
    assert len({one.tobytes() for one in shown}) == 40
    again = augmented(image, 32, np.random.default_rng(3))
    assert again.tobytes() == shown[3].tobytes()
    # In the mean it is of its own colour still.
    mean = np.mean([np.asarray(one).mean(axis=(0, 1)) for one in shown], axis=0)
    assert mean.argmax() == 1


def test_mirrors_and_crops_are_as_often_as_they_should_be():
    ramp = np.zeros((40, 60, 3), dtype=np.uint8)
    ramp[:, :, 0] = np.linspace(0, 255, 60).astype(np.uint8)
    image = Image.fromarray(ramp)
    mirrored, widths = 0, []
    for seed in range(300):
        row = np.asarray(augmented(image, 32, np.random.default_rng(seed)))[:, :, 0].mean(axis=0)
        mirrored += row[0] > row[-1]
        widths.append(abs(row[-1] - row[0]))
    assert 120 < mirrored < 180
    assert np.std(widths) > 10


def test_parts_of_a_batch_are_the_batch(tmp_path):
    network = TrainableImage(find_image(str(write_clip(tmp_path / "m"))), from_scratch=False)
    photos = PhotoBytes.write(
        [[str(number)] for number in range(40)], lambda name: photo(int(name)), 64
    )
    labels = np.arange(40) % 3
    task = ImageClasses(
        network=network,
        photos=photos,
        labels=labels,
        classes=3,
        rows=np.arange(40),
        held_out=np.arange(0),
        loss=ClassLoss.of(labels, 3, Balance.NONE),
        score_of=lambda true, predicted: 0.0,  # noqa: ARG005
        dropout=0.0,
        augment=False,
    )
    torch.nn.init.normal_(task.head.weight, generator=torch.Generator().manual_seed(0))
    task.optimiser(TrainingConfig(1, 40, 0.1), 1)
    parts = task.parts(np.arange(40), np.random.default_rng(0))
    assert [part.share for part in parts] == [0.4, 0.4, 0.2]
    total = sum(float(part.loss().detach()) * part.share for part in parts)
    logits = task.logits(np.arange(40))
    whole = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    assert total == pytest.approx(float(whole), rel=1e-4)


def test_norms_keep_their_numbers_in_bfloat16(tmp_path):
    """As on a GPU: what they learn of their inputs' spread, bfloat16 would round away."""
    files = find_image(str(write_timm(tmp_path / "net", "test_efficientnet")))
    network = TrainableImage(files, from_scratch=True)
    network.begin(torch.bfloat16)
    network.train()
    norms = [part for part in network.body.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    before = norms[0].running_mean.clone()
    pixels = network.pixels([Image.new("RGB", (network.size, network.size), (9, 99, 199))] * 4)
    assert torch.isfinite(network.vectors(pixels)).all()
    assert norms[0].running_mean.dtype == torch.float32
    assert not torch.equal(norms[0].running_mean, before)
    network.finish()
    assert {part.dtype for part in network.body.parameters()} == {torch.float32}
