"""Text models run as sentence-transformers' files say, and keep their fingerprints over versions.

`test_encoder_forms.py` compares each form with its library.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vitrina as vt
from support.named_models import load_text
from support.text_forms import (
    CLS,
    MEAN,
    PROMPTS,
    labse,
    qwen3,
    sentence_transformers,
    static,
    t5,
    write_dense,
    write_model2vec,
    write_norm,
)
from support.text_models import TEXTS, write_bert, write_json, write_modules
from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.embedder.load import MODELS_OWN
from vitrina.embedder.load import load_text as load
from vitrina.embedder.model_ref import ModelRef
from vitrina.embedder.text_config import TextForm, read_form, write_form
from vitrina.embedder.text_settings import Prompts, TextSettings
from vitrina.errors import EncoderError
from vitrina.pipelines.finetune.encoder_files import base_text
from vitrina.types import Compute, Modality, Pooling

PASSAGE = "passage : "


def loaded(folder: Path, prompt: str | None = None, dim: int | None = None) -> Any:
    model = ModelRef.parse(str(folder), Modality.TEXT)
    return load(model, None, Compute.FLOAT32, TextSettings(prompt, dim))


def least_cosine(ours: Any, theirs: Any) -> float:
    return float(np.sum(ours * theirs, axis=1).min())


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A BERT with mean pooling, and prompts."""
    folder = write_bert(tmp_path / "bert")
    write_modules(folder, ["Transformer", "Pooling", "Normalize"])
    write_json(folder / "1_Pooling/config.json", MEAN)
    write_json(folder / "config_sentence_transformers.json", {"prompts": PROMPTS})
    return folder


# -- fingerprints --------------------------------------------------------------------------------


def _cls_mean(folder: Path) -> None:
    write_modules(folder, ["Transformer", "Pooling", "Normalize"])
    flags = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
    write_json(folder / "1_Pooling/config.json", {**CLS, **flags})
    limit = {"max_seq_length": 20, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", limit)
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": None}
    write_json(folder / "config_sentence_transformers.json", prompts)


def _max(folder: Path) -> None:
    write_modules(folder, ["Transformer", "Pooling"])
    write_json(folder / "1_Pooling/config.json", {"pooling_mode": "max"})


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        (lambda _: None, "f25e30c93f42949cf7f62f1f5d5912702f37d434dbd06ff7c2978d9897508034"),
        (_cls_mean, "2d9e4d97e2a3c2819a9dd44bfd77e576f3b2febae18ccf0e480fc29b413f15bd"),
        (_max, "751c90e00e6aa55bcadde9bfe0601dbab7db8e61752aaadfb1e5df5cc8558078"),
    ],
)
def test_fingerprints_are_those_of_version_0_2(tmp_path: Path, change: Any, stored: str) -> None:
    # Stores of users hold them: a change here would embed whole catalogues again.
    folder = write_bert(tmp_path / "model")
    change(folder)
    assert loaded(folder).card.fingerprint == stored


def test_what_is_set_is_part_of_the_fingerprint(bert: Path, tmp_path: Path) -> None:
    plain = loaded(bert).card.fingerprint
    assert loaded(bert, prompt="").card.fingerprint == plain
    assert loaded(bert, dim=32).card.fingerprint == plain
    other = {loaded(bert, prompt=PASSAGE).card.fingerprint, loaded(bert, dim=9).card.fingerprint}
    with_layer = shutil.copytree(bert, tmp_path / "dense")
    write_modules(with_layer, ["Transformer", "Pooling", "Dense"])
    write_dense(with_layer / "2_Dense", 32, activation="linear.Identity")
    other.add(loaded(with_layer).card.fingerprint)
    weights = with_layer / "2_Dense/model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "linear.bias": tensors["linear.bias"] + 1e-3}, weights)
    other.add(loaded(with_layer).card.fingerprint)
    assert len(other | {plain}) == 5


def test_dropout_and_normalize_at_the_end_change_nothing(bert: Path) -> None:
    before = loaded(bert).card.fingerprint
    write_modules(bert, ["Transformer", "Pooling", "Dropout", "Normalize", "Normalize"])
    shutil.rmtree(bert / "2_Dropout")
    assert loaded(bert).card.fingerprint == before


def test_settings_of_t5_and_of_decoders_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    for make, key, value in ((t5, "feed_forward_proj", "gated-silu"), (qwen3, "rms_norm_eps", 0.1)):
        folder = make(tmp_path / make.__name__)
        before = loaded(folder).card.fingerprint
        config = json.loads((folder / "config.json").read_text())
        assert config[key] != value
        write_json(folder / "config.json", {**config, key: value})
        assert loaded(folder).card.fingerprint != before


# -- prompts and dimensions ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_prompt_is_that_of_sentence_transformers(bert: Path) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(bert), device="cpu", local_files_only=True)
    theirs = reference.encode(TEXTS, prompt=PASSAGE, normalize_embeddings=True)
    encoder = loaded(bert, prompt=PASSAGE)
    assert least_cosine(encoder.encode(TEXTS), theirs) > 0.9999
    assert least_cosine(loaded(bert).encode(TEXTS), theirs) < 0.99
    assert encoder.card.details["prompt"] == PASSAGE
    named = loaded(bert, prompt="passage")
    assert named.card.details["prompt"] == PROMPTS["passage"]
    queries = reference.encode_query(TEXTS, normalize_embeddings=True)
    assert least_cosine(named.encode_queries(TEXTS), queries) > 0.9999
    assert named.card.details["query_prompt"] == PROMPTS["query"]


@pytest.mark.parametrize(
    ("named", "default", "wanted", "document", "query"),
    [
        ({}, None, None, "", ""),
        ({}, None, "query: ", "query: ", "query: "),
        # e5: both sides alike, as its makers advise for classification, or a pair.
        ({"query": "q: ", "passage": "p: "}, None, "q: ", "q: ", "q: "),
        ({"query": "q: ", "passage": "p: "}, None, "passage", "p: ", "q: "),
        # Vectors without a prompt, from before the store knew prompts, keep their queries.
        ({"query": "q: ", "passage": "p: "}, None, None, "", ""),
        # Qwen3, and models with a prompt for queries alone.
        ({"query": "q: ", "document": ""}, None, None, "", "q: "),
        ({"query": "q: "}, None, None, "", "q: "),
        ({"query": "q: "}, None, "other: ", "other: ", "other: "),
        ({"search_query": "q: ", "search_document": "d: "}, "d: ", None, "d: ", "q: "),
        ({"query": "q: "}, "c: ", "", "", "q: "),
    ],
)
def test_queries_have_their_own_prompt_where_the_model_pairs_them(
    named: dict[str, str], default: str | None, wanted: str | None, document: str, query: str
) -> None:
    prompts = Prompts(named, default)
    found = prompts.of_documents(wanted, "model")
    assert found == document
    assert prompts.of_queries(found) == query


def test_a_dimension_cuts_vectors(bert: Path) -> None:
    whole, cut = loaded(bert).encode(TEXTS), loaded(bert, dim=12)
    assert cut.card.dim == cut.card.details["truncate_dim"] == 12
    expected = whole[:, :12] / np.linalg.norm(whole[:, :12], axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode(TEXTS), expected, atol=1e-6)
    with pytest.raises(EncoderError, match=r"--dim 33 is above the 32 numbers of a vector of"):
        loaded(bert, dim=33)


def test_settings_come_back_from_a_card(bert: Path) -> None:
    card = loaded(bert, prompt=PASSAGE, dim=12).card.to_json()
    assert TextSettings.of_card(json.loads(json.dumps(card))) == TextSettings(PASSAGE, 12)
    assert TextSettings.of_card(loaded(bert).card.to_json()) == MODELS_OWN
    # Cards of stores are untrusted.
    for odd in ({}, {"details": []}, {"details": {"prompt": 3, "truncate_dim": True}}):
        assert TextSettings.of_card(odd) == MODELS_OWN
    assert TextSettings.of_card({"details": {"truncate_dim": -3}}) == MODELS_OWN


def test_a_store_remembers_prompt_and_dimension(bert: Path, tmp_path: Path) -> None:
    rows = [{"product_id": at, "title": text} for at, text in enumerate(TEXTS)]
    store = vt.Store.create(tmp_path / "shelf")
    options = {"text": str(bert), "image": "none", "compute": "float32"}
    vt.embed(rows, store, **options, text_prompt="passage", dim=12)
    store.refresh()
    space = store.space(Modality.TEXT)
    assert space.dim == 12
    assert space.card["details"]["prompt"] == PROMPTS["passage"]
    # The next runs need no option.
    rows.append({"product_id": 99, "title": "чехол синяя"})
    vt.embed(rows, store, **options)
    store.refresh()
    assert list(store.manifest.spaces) == [space.name]
    encoder = loaded(bert, prompt="passage", dim=12)
    vectors = vt.vectors(store, "text")
    expected = encoder.encode([row["title"] for row in rows])
    got = np.asarray(vectors, dtype=np.float32)
    assert least_cosine(got, expected) > 0.9999
    # Training starts with them, too.
    model = ModelRef.parse(str(bert), Modality.TEXT)
    assert base_text(store, model).settings == TextSettings(PROMPTS["passage"], 12)
    # A search query has the model's prompt for queries.
    vt.build_index(store, features="text", quiet=True)
    near = vt.neighbours(store, text="кружка", k=1)
    scores = encoder.encode_queries(["кружка"]) @ expected.T
    assert near[0].score == pytest.approx(scores.max(), abs=2e-3)
    # Other settings are another encoder.
    vt.embed(rows, store, **options, text_prompt="")
    store.refresh()
    assert len(store.manifest.spaces) == 2
    assert "prompt" in store.space(Modality.TEXT).card["details"]


def test_settings_are_for_models_from_elsewhere(tmp_path: Path) -> None:
    store = vt.Store.create(tmp_path / "shelf")
    rows = [{"product_id": at, "title": text} for at, text in enumerate(TEXTS)]
    for settings in ({"dim": 9}, {"text_prompt": "query: "}):
        with pytest.raises(EncoderError, match=r"--(dim|text-prompt) is for models"):
            vt.embed(rows, store, text="lexical", image="none", **settings)


# -- training and export -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [labse, t5])
def test_training_sees_and_keeps_the_whole_form(make: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    settings = TextSettings("кружка ", 12)
    network = TrainableText(folder, "model", TextShape(settings=settings), seed=0)
    tokens = TokenLists.write([network.tokenize(TEXTS)])
    network.begin(torch.float32, averaged=False)
    network.body.eval()
    with torch.no_grad():
        pooled = network.pooled(*tokens.padded(np.arange(len(TEXTS)), network.pad)).numpy()
    assert network.dim == pooled.shape[1] == 12
    network.finish()
    network.save(tmp_path / "saved")
    served = load_text(str(tmp_path / "saved"), compute=Compute.FLOAT32)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(served.encode(TEXTS), unit, atol=1e-5)
    assert served.card.details["prompt"] == "кружка "
    theirs = sentence_transformers(tmp_path / "saved", TEXTS)
    assert least_cosine(served.encode(TEXTS), theirs) > 0.9999


def test_a_pooling_that_the_layers_do_not_take_is_refused(tmp_path: Path) -> None:
    folder = labse(tmp_path / "model")
    with pytest.raises(EncoderError, match="takes vectors of 32 numbers, and gets 64"):
        TrainableText(folder, "model", TextShape(pooling=Pooling.CLS_MEAN), seed=0)


def test_a_static_model_is_not_trained(tmp_path: Path) -> None:
    folder = static(tmp_path / "model")
    with pytest.raises(EncoderError, match="a table of token vectors"):
        TrainableText(folder, "model", TextShape(), seed=0)


@pytest.mark.parametrize("name", ["mean+max", "lasttoken", "max+cls"])
def test_any_form_is_read_as_it_was_written(name: str, bert: Path) -> None:
    form = TextForm(Pooling(name), 30, "p: ", "q: ", lower_case=True, dim=7)
    write_form(bert, form, 32)
    network = TrainableText(bert, "model", TextShape(), seed=0)
    assert read_form(bert, network.body.config, network._tokenizer) == form


def test_poolings_are_joined_in_any_order() -> None:
    joined = Pooling("max+mean")
    assert joined is Pooling("max+mean")
    assert joined.parts == (Pooling.MAX, Pooling.MEAN)
    assert joined.width == 2
    for odd in ("max+max", "max+", "+", "max+cls+mean+median"):
        with pytest.raises(ValueError, match="is not a valid Pooling"):
            Pooling(odd)
    assert "max+mean" not in [one.value for one in Pooling]


# -- hostile directories -------------------------------------------------------------------------


def modules_of(folder: Path, *entries: Any) -> None:
    first = [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1_Pooling"}]
    write_json(folder / "modules.json", [*first, *entries])


def layer(kind: str = "Dense", path: str = "2_Dense") -> dict[str, str]:
    return {"type": f"x.{kind}", "path": path}


def dense_config(**values: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "2_Dense/config.json"
        write_json(path, {**json.loads(path.read_text()), **values})

    return change


def dense_weights(**tensors: torch.Tensor) -> Any:
    def change(folder: Path) -> None:
        path = folder / "2_Dense/model.safetensors"
        save_file({**load_file(path), **tensors}, path)

    return change


def json_file(name: str, value: Any) -> Any:
    return lambda folder: write_json(folder / name, value)


def linked_folder(folder: Path) -> None:
    shutil.move(folder / "2_Dense", folder.parent / "elsewhere")
    (folder / "2_Dense").symlink_to(folder.parent / "elsewhere")


def linked_weights(folder: Path) -> None:
    weights = folder / "2_Dense/model.safetensors"
    shutil.move(weights, folder.parent / "elsewhere.safetensors")
    weights.symlink_to(folder.parent / "elsewhere.safetensors")


def pipe(folder: Path) -> None:
    (folder / "2_Dense/config.json").unlink()
    os.mkfifo(folder / "2_Dense/config.json")


def wide_norm(folder: Path) -> None:
    modules_of(folder, layer(), layer("LayerNorm", "3_LayerNorm"))
    write_norm(folder / "3_LayerNorm", 21)


NAN = torch.full((20,), torch.nan)
MODEL, NETWORK = "config_sentence_transformers.json", "sentence_bert_config.json"

HOSTILE = {
    "a path upwards": lambda f: modules_of(f, layer(path="../2_Dense")),
    "an absolute path": lambda f: modules_of(f, layer(path="/etc")),
    "a path of Windows": lambda f: modules_of(f, layer(path="..\\2_Dense")),
    "a path with a zero byte": lambda f: modules_of(f, layer(path="2_Dense\0")),
    "a long path": lambda f: modules_of(f, layer(path="x" * 5000)),
    "a network upwards": json_file("modules.json", [{"type": "x.Transformer", "path": ".."}]),
    "a linked folder": linked_folder,
    "linked weights": linked_weights,
    "a pipe": pipe,
    "too many modules": lambda f: modules_of(f, *[layer()] * 1000),
    "a module of no type": json_file("modules.json", [{"type": 3, "path": ""}]),
    "no list": json_file("modules.json", {"type": "x"}),
    "an unknown layer": lambda f: modules_of(f, layer("WordEmbeddings")),
    "a layer before the pooling": lambda f: modules_of(f, layer(), layer("Pooling", "1_Pooling")),
    "no configuration": lambda f: (f / "2_Dense/config.json").unlink(),
    "no weights": lambda f: (f / "2_Dense/model.safetensors").unlink(),
    "a huge layer": dense_config(out_features=10**9),
    "a large layer": dense_config(out_features=65_536),
    "no output": dense_config(out_features=0),
    "a negative width": dense_config(in_features=-32),
    "a width of text": dense_config(in_features="32"),
    "another width": dense_config(in_features=31),
    "a residual without weights": dense_config(use_residual=True),
    "an activation of code": dense_config(activation_function="os.system"),
    "a function of torch": dense_config(activation_function="torch.load"),
    "an unknown activation": dense_config(activation_function="torch.nn.modules.activation.RReLU"),
    "an activation of no text": dense_config(activation_function=["Tanh"]),
    "token vectors": dense_config(module_input_name="token_embeddings"),
    "NaN": dense_weights(**{"linear.bias": NAN}),
    "wrong weights": dense_weights(**{"linear.weight": torch.ones(20, 31)}),
    "whole numbers": dense_weights(**{"linear.bias": torch.ones(20).int()}),
    "a norm of another width": wide_norm,
    "prompts of a list": json_file(MODEL, {"prompts": ["query: "]}),
    "a prompt of no text": json_file(MODEL, {"prompts": {"query": 3}}),
    "a default of no text": json_file(MODEL, {"default_prompt_name": 3}),
    "an unknown default": json_file(MODEL, {"default_prompt_name": "nothing"}),
    "a long prompt": json_file(MODEL, {"prompts": {"a": "x" * 9000}, "default_prompt_name": "a"}),
    "no dimension": json_file(MODEL, {"truncate_dim": 0}),
    "a dimension of text": json_file(MODEL, {"truncate_dim": "12"}),
    "lower case of text": json_file(NETWORK, {"do_lower_case": "yes"}),
    "a limit of text": json_file(NETWORK, {"max_seq_length": "long"}),
    "a limit of nothing": json_file(NETWORK, {"max_seq_length": 2}),
    "a prompt of huge files": json_file(MODEL, {"prompts": {"a": "x" * 2_000_000}}),
}


@pytest.fixture(scope="module")
def with_dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_bert(tmp_path_factory.mktemp("hostile") / "model")
    modules_of(folder, layer())
    write_json(folder / "1_Pooling/config.json", MEAN)
    write_dense(folder / "2_Dense")
    return folder


def refusal(load: Any) -> str:
    with pytest.raises(EncoderError) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_directory_is_refused_in_one_line(
    case: str, with_dense: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(with_dense, tmp_path / "model")
    HOSTILE[case](folder)
    assert str(folder) in refusal(lambda: loaded(folder))


def test_the_directory_of_these_cases_is_sound(with_dense: Path) -> None:
    assert loaded(with_dense).card.dim == 20


def test_a_cache_of_the_hub_links_its_files(with_dense: Path, tmp_path: Path) -> None:
    home = tmp_path / "models--a--b"
    shutil.copytree(with_dense, home / "snapshots/r1")
    (home / "blobs").mkdir()
    for number, name in enumerate(("2_Dense/model.safetensors", "2_Dense/config.json")):
        path = home / "snapshots/r1" / name
        shutil.move(path, home / f"blobs/{number}")
        path.symlink_to(f"../../../blobs/{number}")
    assert loaded(home / "snapshots/r1").card.fingerprint == loaded(with_dense).card.fingerprint


def table_of(**tensors: torch.Tensor) -> Any:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file({**load_file(path), **tensors}, path)

    return change


def without_table(folder: Path) -> None:
    save_file({"other": torch.ones(3, 3)}, folder / "model.safetensors")


HOSTILE_TABLES = {
    "a mapping out of the table": table_of(mapping=torch.tensor([0, 10**6])),
    "a negative mapping": table_of(mapping=torch.tensor([0, -1])),
    "a mapping of fractions": table_of(mapping=torch.tensor([0.5])),
    "a short mapping": table_of(mapping=torch.tensor([0, 1])),
    "weights of another length": table_of(mapping=torch.zeros(400).long(), weights=torch.ones(3)),
    "weights of NaN": table_of(weights=torch.full((400,), torch.nan)),
    "a table of one row of numbers": table_of(embeddings=torch.ones(9)),
    "an empty table": table_of(embeddings=torch.ones(0, 32)),
    "a table of whole numbers": table_of(embeddings=torch.ones(400, 32).int()),
    "a table of NaN": table_of(embeddings=torch.full((400, 32), torch.nan)),
    "few rows": table_of(embeddings=torch.ones(7, 32)),
    "vectors that are all alike": table_of(embeddings=torch.ones(400, 32)),
    "no table": without_table,
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "a broken tokenizer": lambda f: (f / "tokenizer.json").write_text("{"),
    "a limit of nothing": json_file("config.json", {"model_type": "model2vec", "max_length": 0}),
    "a limit of text": json_file("config.json", {"model_type": "model2vec", "max_length": "x"}),
    "a pooling": json_file(
        "modules.json", [{"type": "x.StaticEmbedding"}, {"type": "x.Pooling", "path": "1"}]
    ),
}


@pytest.mark.parametrize("case", HOSTILE_TABLES)
def test_a_hostile_table_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    folder = write_model2vec(tmp_path / "model")
    HOSTILE_TABLES[case](folder)
    assert str(folder) in refusal(lambda: loaded(folder))


@pytest.mark.slow
def test_a_static_model_has_prompts_and_dimensions(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = static(tmp_path / "model")
    reference = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    theirs = reference.encode(TEXTS, prompt=PASSAGE, truncate_dim=9, normalize_embeddings=True)
    encoder = loaded(folder, prompt=PASSAGE, dim=9)
    assert least_cosine(encoder.encode(TEXTS), theirs) > 0.9999
    assert encoder.encode([]).shape == (0, 9)
    assert encoder.card.fingerprint != loaded(folder).card.fingerprint
    with pytest.raises(EncoderError, match="can't be run in int8"):
        load_text(str(folder), compute=Compute.INT8)


def test_order_holds_over_windows_of_a_static_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitrina.embedder import static_text

    encoder = loaded(write_model2vec(tmp_path / "model"))
    texts = [*TEXTS, "", "漢"] * 3
    whole = encoder.encode(texts)
    monkeypatch.setattr(static_text, "WINDOW", 4)
    np.testing.assert_array_equal(encoder.encode(texts), whole)
    assert not whole[len(TEXTS)].any()


def test_a_tokenizer_of_sentencepiece_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_bert(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"\n\x0f")
    monkeypatch.setattr("vitrina.embedder.model_folder.find_spec", lambda _: None)
    message = refusal(lambda: loaded(folder))
    assert "only as spiece.model, which needs sentencepiece: `pip install" in message


def test_xlm_roberta_without_limits_takes_texts_of_any_length(tmp_path: Path) -> None:
    from support.text_forms import FORMS

    (form,) = (one for one in FORMS if one.name.startswith("XLM-RoBERTa"))
    folder = form.make(tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    write_json(folder / "tokenizer_config.json", config)
    # 66 positions, the first of which is of padding.
    whole, longer = loaded(folder).encode(["кружка " * 63, "кружка " * 999])
    np.testing.assert_allclose(whole, longer, atol=1e-6)
