"""Export of models: other libraries open what is written, and give the same vectors."""

import json
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

import vitrina as vt
from support.catalogue_files import jsonl
from support.cli import vitrina
from support.clip_texts import write_clip_model
from support.embedding import BLUE, GREEN, RED
from support.image_models import write_clip, write_timm
from support.named_models import load_image, load_text
from support.tuning import write_model, write_store
from support.vision_models import hf_clip, vit
from vitrina.embedder.text_config import TextForm, write_form
from vitrina.errors import EncoderError, StoreError
from vitrina.page.hub_card import Library, has_front_matter
from vitrina.pipelines.export import encoders
from vitrina.pipelines.finetune.encoder_card import encoder_card
from vitrina.types import Compute, Modality, Pooling

pytestmark = pytest.mark.usefixtures("own_cache", "unsynced")

PEERS = Path(__file__).parent.parent / ".venv-peers" / "bin" / "python"
TEXTS = ["кружка белая слово1", "Ваза СИНЯЯ", "стол " * 40, "никакого слова"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A store with a fine-tuned and a pretrained text encoder, and the folder of their base."""
    folder = tmp_path_factory.mktemp("tuned")
    model = write_model(folder / "bert")
    store = write_store(folder / "shelf", rows=120)
    fast = {"epochs": 1, "batch_rows": 32, "lower_case": True, "max_length": 12}
    vt.pretrain(store, model=str(model), **fast)
    vt.finetune(store, "text", model="text-pretrained", pooling="cls", **fast)
    vt.train(store, "logistic", epochs=2)
    return store, model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A store of three photos with a timm and a CLIP space, the latter with a preprocessing of its
    own."""
    folder = tmp_path_factory.mktemp("pictures")
    photos = folder / "photos"
    photos.mkdir()
    for number, data in enumerate((RED, GREEN, BLUE)):
        (photos / f"{number}.png").write_bytes(data)
    path = jsonl(folder / "goods.jsonl", *({"product_id": at, "title": "т"} for at in range(3)))
    clip = write_clip(folder / "clip")
    settings = json.loads((clip / "open_clip_config.json").read_text())
    settings["preprocess_cfg"] = {"interpolation": "bilinear", "resize_mode": "squash"}
    (clip / "open_clip_config.json").write_text(json.dumps(settings))
    store = vt.Store.open(folder / "shelf", create=True)
    for model in (write_timm(folder / "vit", crop_pct=0.8), clip):
        goods = vt.Catalogue.read(path, images=photos, image_template="{product_id}.png")
        with closing(goods):
            vt.embed(goods, store, text="none", image=str(model))
    return store, folder


def files_of(folder):
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())


def check_nothing_private(folder, store):
    """No path of this machine, no product ids, no code and no pickles."""
    names = set(files_of(folder))
    assert {Path(name).suffix for name in names} <= {".json", ".md", ".safetensors", ".txt"}
    assert not names & {"encoder.json", "trained-on.parquet", "card.md"}
    assert len({(folder / name).stat().st_mode for name in names}) == 1
    for name in names:
        content = (folder / name).read_bytes()
        assert str(Path(store.place).parent).encode() not in content, name


def own_vectors(folder, texts, pooling):
    """Vectors by transformers alone, pooled here."""
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        given = tokenizer(
            text, truncation=True, max_length=settings["max_seq_length"], return_tensors="pt"
        )
        with torch.no_grad():
            hidden = model(**given).last_hidden_state[0]
        row = hidden[0] if pooling == "cls" else hidden.mean(dim=0)
        rows.append((row / row.norm()).numpy())
    return np.stack(rows)


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "pooling"), [("text-tuned", "cls"), ("text-pretrained", "mean")])
def test_a_trained_text_encoder_gives_the_same_vectors_elsewhere(tuned, tmp_path, name, pooling):
    store, _ = tuned
    report = vt.export_model(store, name, tmp_path / "out")
    assert (report.library, report.dim) == ("sentence-transformers", 24)
    assert list(report.files) == files_of(tmp_path / "out")
    expected = load_text(name, store.encoder_folder(name), Compute.FLOAT32).encode(TEXTS)
    found = own_vectors(tmp_path / "out", TEXTS, pooling)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    check_nothing_private(tmp_path / "out", store)


def test_sentence_transformers_opens_it(tuned, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    store, _ = tuned
    vt.export_model(store, "text-tuned", tmp_path / "out")
    expected = load_text("text-tuned", store.encoder_folder("text-tuned"), Compute.FLOAT32)
    model = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert model.max_seq_length == 12
    found = model.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(found, expected.encode(TEXTS), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="no .venv-peers here; `make bench` makes it")
def test_an_older_sentence_transformers_opens_it_too(tuned, tmp_path):
    store, _ = tuned
    vt.export_model(store, "text-tuned", tmp_path / "out")
    code = (
        "import sys, json, numpy as np; from sentence_transformers import SentenceTransformer\n"
        "model = SentenceTransformer(sys.argv[1], device='cpu')\n"
        "np.save(sys.argv[2], model.encode(json.loads(sys.argv[3])))"
    )
    arguments = [tmp_path / "out", tmp_path / "found.npy", json.dumps(TEXTS)]
    # Without this tree, whose packages are not the peer's.
    subprocess.run([PEERS, "-I", "-c", code, *map(str, arguments)], check=True)
    expected = load_text("text-tuned", store.encoder_folder("text-tuned"), Compute.FLOAT32)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected.encode(TEXTS), atol=1e-5)


def test_the_encoder_of_a_space_is_exported_as_it_serves(tuned, tmp_path):
    store, model = tuned
    shutil.copytree(store.place, tmp_path / "shelf")
    shutil.copytree(model, tmp_path / "private-base")
    write_form(tmp_path / "private-base", TextForm(Pooling.MAX, 9), 24)
    own = vt.Store.open(tmp_path / "shelf")
    path = jsonl(tmp_path / "goods.jsonl", {"product_id": 1, "title": "кружка"})
    vt.embed(vt.Catalogue.read(path), own, text=str(tmp_path / "private-base"), image="none")
    report = vt.export_model(own, "private-base", tmp_path / "out")
    expected = load_text(str(tmp_path / "private-base"), None, Compute.FLOAT32).encode(TEXTS)
    again = load_text(str(tmp_path / "out"), None, Compute.FLOAT32)
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-6)
    assert json.loads((tmp_path / "out/1_Pooling/config.json").read_text())[
        "pooling_mode_max_tokens"
    ]
    check_nothing_private(tmp_path / "out", own)
    card = ModelCard.load(tmp_path / "out/README.md")
    assert card.data.eval_results is None
    assert "The weights are unchanged" in card.text
    # A model that changed since is not passed off as the one that made the vectors.
    write_model(tmp_path / "another", seed=1)
    shutil.copy(tmp_path / "another/model.safetensors", tmp_path / "private-base")
    with pytest.raises(StoreError, match="space text-private-base was made with text encoder"):
        vt.export_model(own, report.name, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_the_card_of_a_tuned_encoder_says_what_was_measured(tuned, tmp_path):
    store, _ = tuned
    vt.export_model(store, "text-tuned", tmp_path / "out")
    folder = store.encoder_folder("text-tuned")
    record = json.loads((folder / "encoder.json").read_text())
    card = ModelCard.load(tmp_path / "out/README.md")
    assert (folder / "README.md").read_text() == card.content
    data, best = card.data, record["validation"]
    assert data.library_name == "sentence-transformers"
    assert data.pipeline_tag == "sentence-similarity"
    assert data.language == ["ru"]
    found = {one.metric_name: one for one in data.eval_results}
    assert found["Weighted F1"].metric_value == pytest.approx(best["weighted_f1"], abs=1e-6)
    assert found["Accuracy"].metric_value == pytest.approx(best["accuracy"], abs=1e-6)
    assert found["Accuracy"].dataset_name == "shelf"
    assert f"| {best['weighted_f1']:.4f} | {best['macro_f1']:.4f} |" in card.text
    assert "longer texts are cut to 12 tokens" in card.text
    assert "There is no prompt or prefix" in card.text


def test_the_card_of_a_pretrained_encoder_has_its_perplexity(tuned, tmp_path):
    store, _ = tuned
    vt.export_model(store, "text-pretrained", tmp_path / "out")
    record = json.loads((store.encoder_folder("text-pretrained") / "encoder.json").read_text())
    (found,) = ModelCard.load(tmp_path / "out/README.md").data.eval_results
    assert (found.task_type, found.metric_type) == ("fill-mask", "perplexity")
    assert found.metric_value == pytest.approx(np.exp(-record["likelihood"][-1]), rel=1e-6)


def test_a_card_without_a_measure_has_no_results():
    record = encoders.EncoderRecord(
        "talk", Modality.TEXT, "bert", "f", 8, texts=10, likelihood=(float("nan"),)
    )
    text = encoder_card(record, Library.SENTENCE_TRANSFORMERS)
    assert ModelCard(text).data.eval_results is None
    assert "Evaluation" not in text
    assert "nan" not in text


def test_an_encoder_of_an_older_vitrina_gets_a_card(tuned, tmp_path, monkeypatch):
    store, _ = tuned
    read = encoders.EncoderRecord.read

    def older(folder):
        value = json.loads((folder / "encoder.json").read_text())
        del value["hub"]
        (tmp_path / "encoder.json").write_text(json.dumps(value))
        return read(tmp_path)

    monkeypatch.setattr(encoders.EncoderRecord, "read", older)
    vt.export_model(store, "text-tuned", tmp_path / "out")
    assert ModelCard.load(tmp_path / "out/README.md").data.language is None


# -- images ---------------------------------------------------------------------------------------


def image():
    """A picture that is not square, so that how it is resized and cropped shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((300, 120), Image.Resampling.BICUBIC)


def expected_vector(model):
    encoder = load_image(str(model), None, Compute.FLOAT32)
    return encoder.encode([encoder.prepare(image())])[0]


def test_timm_opens_it(pictures, tmp_path):
    store, folder = pictures
    report = vt.export_model(store, "vit", tmp_path / "out")
    assert (report.library, report.dim) == ("timm", 64)
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=0)
    config = timm.data.resolve_model_data_config(model)
    prepared = timm.data.create_transform(**config, is_training=False)(image())[None]
    with torch.no_grad():
        found = torch.nn.functional.normalize(model.eval()(prepared))[0].numpy()
    np.testing.assert_allclose(found, expected_vector(folder / "vit"), atol=1e-5)
    check_nothing_private(tmp_path / "out", store)
    data = ModelCard.load(tmp_path / "out/README.md").data
    assert (data.library_name, data.pipeline_tag) == ("timm", "image-feature-extraction")
    assert data.base_model is None


def test_open_clip_opens_it(pictures, tmp_path):
    store, folder = pictures
    report = vt.export_model(store, "clip", tmp_path / "out")
    assert (report.library, report.dim) == ("open_clip", 16)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    with torch.no_grad():
        found = model.eval().encode_image(preprocess(image())[None], normalize=True)[0].numpy()
    np.testing.assert_allclose(found, expected_vector(folder / "clip"), atol=1e-5)
    before = load_file(folder / "clip/open_clip_model.safetensors")
    after = load_file(tmp_path / "out/open_clip_model.safetensors")
    assert before.keys() == after.keys()
    check_nothing_private(tmp_path / "out", store)
    data = ModelCard.load(tmp_path / "out/README.md").data
    assert (data.library_name, data.pipeline_tag) == ("open_clip", "zero-shot-image-classification")


@pytest.mark.parametrize("make", [hf_clip, vit])
def test_transformers_opens_it(tmp_path, make, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "0.png").write_bytes(RED)
    path = jsonl(tmp_path / "goods.jsonl", {"product_id": 0, "title": "т"})
    store = vt.Store.open(tmp_path / "shelf", create=True)
    model = make(tmp_path / "model")
    with closing(
        vt.Catalogue.read(path, images=photos, image_template="{product_id}.png")
    ) as goods:
        vt.embed(goods, store, text="none", image=str(model))
    report = vt.export_model(store, str(model), tmp_path / "out")
    assert report.library == "transformers"
    check_nothing_private(tmp_path / "out", store)
    card = (tmp_path / "out/README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace("DIRECTORY", str(tmp_path / "out"))
    image().save(tmp_path / "photo.jpg", quality=100)
    monkeypatch.chdir(tmp_path)
    ran: dict = {}
    exec(code, ran)
    with Image.open(tmp_path / "photo.jpg") as opened:
        encoder = load_image(str(model), compute=Compute.FLOAT32)
        expected = encoder.encode([encoder.prepare(opened.convert("RGB"))])[0]
    np.testing.assert_allclose(ran["vectors"][0].numpy(), expected, atol=3e-3)


def test_a_text_tower_is_not_exported(tmp_path):
    path = jsonl(tmp_path / "goods.jsonl", {"product_id": 0, "title": "т"})
    store = vt.Store.open(tmp_path / "shelf", create=True)
    model = write_clip_model(tmp_path / "model")
    with closing(vt.Catalogue.read(path, images="none")) as goods:
        vt.embed(goods, store, text=str(model), image="none")
    with pytest.raises(EncoderError, match="can't be trained or exported"):
        vt.export_model(store, str(model), tmp_path / "out")
    with pytest.raises(EncoderError, match="can't be trained or exported"):
        vt.pretrain(store)


def test_an_export_that_would_give_other_vectors_is_refused(pictures, tmp_path, monkeypatch):
    store, _ = pictures
    clean = encoders._make_portable

    def forgetful(folder):
        clean(folder)
        settings = json.loads((folder / "open_clip_config.json").read_text())
        settings["preprocess_cfg"].update(mean=[0, 0.5, 0], std=[9, 0.1, 1])
        (folder / "open_clip_config.json").write_text(json.dumps(settings))

    monkeypatch.setattr(encoders, "_make_portable", forgetful)
    with pytest.raises(EncoderError, match=r"clip can't be exported: .* other vectors"):
        vt.export_model(store, "clip", tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


# -- heads ----------------------------------------------------------------------------------------


def test_a_head_is_exported_with_its_card(tuned, tmp_path):
    store, _ = tuned
    report = vt.export_model(store, "text-logistic", tmp_path / "out")
    assert report.files == ("README.md", "head.safetensors", "model.json")
    folder = store.model_folder("text-logistic")
    told = json.loads((folder / "model.json").read_text())["report"]
    data = ModelCard.load(tmp_path / "out/README.md").data
    assert (data.library_name, data.pipeline_tag) == ("vitrina", "text-classification")
    assert data.language == ["ru"]
    found = {one.metric_name: one.metric_value for one in data.eval_results}
    for name, key in (("Weighted F1", "weighted_f1"), ("Macro F1", "macro_f1")):
        assert found[name] == pytest.approx(told["validation"][key], abs=1e-6)
    assert (folder / "card.md").read_text() == (tmp_path / "out/README.md").read_text()


def test_a_head_of_an_older_vitrina_gets_a_front_matter(tuned, tmp_path, monkeypatch):
    store, _ = tuned
    monkeypatch.setattr("vitrina.pipelines.export.heads.has_front_matter", lambda _: False)
    vt.export_model(store, "text-logistic", tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert has_front_matter(text)
    data = ModelCard(text).data
    assert [one.metric_name for one in data.eval_results] == ["Weighted F1", "Macro F1"]


# -- what is refused ------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_those_there_are(tuned, tmp_path, capsys):
    store, _ = tuned
    assert vitrina("export-model", store.place, "text-tunde", "--to", tmp_path / "out") == 1
    line = capsys.readouterr().err
    assert "has no model 'text-tunde'; did you mean text-tuned? it has: " in line
    assert line.rstrip().endswith("it has: text-pretrained, text-tuned, text-logistic")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["lexical", "text-lexical"])
def test_an_encoder_that_only_vitrina_opens_is_refused(tuned, tmp_path, name):
    store, _ = tuned
    with pytest.raises(EncoderError, match=f"{name} is a lexical encoder.*: text-pretrained, "):
        vt.export_model(store, name, tmp_path / "out")


def test_nothing_is_overwritten(tuned, tmp_path):
    store, _ = tuned
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="taken is not empty; give a new directory"):
        vt.export_model(store, "text-logistic", tmp_path / "taken")
    with pytest.raises(StoreError, match=r"notes\.txt is a file; "):
        vt.export_model(store, "text-logistic", tmp_path / "taken/notes.txt")
    with pytest.raises(StoreError, match="lies in the store"):
        vt.export_model(store, "text-logistic", Path(store.place) / "models/mine")
    assert files_of(tmp_path) == ["taken/notes.txt"]
    (tmp_path / "empty").mkdir()
    vt.export_model(store, "text-logistic", tmp_path / "empty")
    assert "README.md" in files_of(tmp_path / "empty")


def test_the_command_prints_how_to_open_it(pictures, tmp_path, capsys):
    store, _ = pictures
    to = tmp_path / "out"
    assert vitrina("export-model", "--store", store.place, "vit", "--to", to, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["library"], told["name"], told["dim"]) == ("timm", "vit", 64)
    assert vitrina("export-model", store.place, "--to", to) == 2
    assert "give the NAME" in capsys.readouterr().err
