"""A model's directory from a stranger: it runs no code, and a broken one ends in one line, soon."""

import json
import os
import resource
import shutil
import socket
import struct
import time
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from support.named_models import find_image, load_image, load_text
from support.tuning import write_model
from vitrina.embedder.finetuning.mlm import BESIDE, MLMHead
from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
from vitrina.embedder.untrusted import Budget, loading
from vitrina.embedder.weight_files import read_weights
from vitrina.errors import EncoderError

DEEP = "[" * 200_000
NONSENSE = ["", "{", "[]", "null", "3", '"x"', '{"a": 1', "\udcff", DEEP, '{"\\ud800": 1}', "{}"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}
    text = {"context_length": 4, "vocab_size": 9, "width": 8, "heads": 2, "layers": 1}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    whole = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0)
    save_file(model.state_dict(), folder / "model.safetensors")
    settings = {**model.pretrained_cfg, "num_classes": 1000}
    config = {"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def copied(tmp_path):
    """Copies a model's directory, and changes one of its files."""

    def copy(source, name=None, change=None):
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(source, folder)
        if name is not None:
            path = folder / name
            if callable(change):
                value = json.loads(path.read_text())
                changed = change(value)
                path.write_text(json.dumps(value if changed is None else changed))
            elif isinstance(change, bytes):
                path.write_bytes(change)
            else:
                path.write_bytes(change.encode("utf-8", "surrogateescape"))
        return folder

    return copy


def refused(load, folder, *words):
    """Loading ends in one line of EncoderError that names the folder, and soon."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EncoderError) as caught:
        load(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert str(folder) in message
    for word in words:
        assert word in message, message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert time.monotonic() - started < 60
    return message


def trained(name):
    return TrainableText(Path(name), name, TextShape(), seed=0)


def drawn_anew(name):
    return TrainableText(Path(name), name, TextShape(from_scratch=True), seed=0)


def image_from_scratch(name):
    return find_image(name, from_scratch=True)


def change(path, **values):
    whole = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**whole, **values}))


@pytest.mark.slow
def test_whole_directories_load(bert, clip, vit):
    assert load_text(str(bert)).card.dim == 24
    assert load_image(str(clip)).card.dim == 8
    assert load_image(str(vit)).card.dim == 64


# Code


@pytest.mark.parametrize("load", [load_text, trained, drawn_anew])
@pytest.mark.parametrize("model_type", ["evil", "Bert", "", "bert\n", "../bert", "custom-code"])
def test_an_unknown_type_runs_no_code_and_asks_nothing(bert, copied, load, model_type, monkeypatch):
    folder = copied(bert)
    trace = folder.parent / "ran"
    code = f"open({str(trace)!r}, 'w')\nfrom transformers import BertConfig\nclass A(BertConfig):\n"
    (folder / "evil.py").write_text(f"{code}    model_type = {model_type!r}\n")
    own = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer"), "evil.A")
    change(folder / "config.json", model_type=model_type, auto_map=own)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.A", "evil.A"]})
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the terminal was asked"))
    refused(load, folder, "code that comes with a model is never run", "config.json")
    assert not trace.exists()


@pytest.mark.parametrize("load", [load_text, trained])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.A", "AutoConfig": "evil.A"}}),
        ("config.json", {"auto_map": {"AutoModel": "someone/else--evil.A"}}),
        ("config.json", {"tokenizer_class": "evil.A"}),
        ("config.json", {"_name_or_path": "someone/else"}),
        (
            "config.json",
            {"custom_generate": "evil.A", "custom_pipelines": {"x": {"impl": "evil.A"}}},
        ),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.A", "evil.A"]}}),
        ("tokenizer_config.json", {"auto_map": ["evil.A", None]}),
        ("tokenizer_config.json", {"tokenizer_class": "evil.A"}),
        ("tokenizer_config.json", {"tokenizer_class": "os.system"}),
        ("tokenizer_config.json", {"name_or_path": "someone/else", "vocab_file": "/etc/passwd"}),
        ("tokenizer_config.json", {"chat_template": "{{ ''.__class__.__mro__ }}"}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "evil.A"}}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "evil.A"}}),
        ("generation_config.json", {"custom_generate": "evil.A"}),
    ],
)
def test_code_that_a_file_names_is_not_run(bert, copied, load, name, values, monkeypatch):
    folder = copied(bert)
    trace = folder.parent / "ran"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass A: ...\n")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(f"open({str(trace)!r}, 'w')\n")
    change(folder / name, **values)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the terminal was asked"))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it connects"))
    try:
        load(str(folder))
    except EncoderError as err:
        assert "\n" not in str(err)  # noqa: PT017
    assert not trace.exists()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "quant"),
        ({"quantization_config": []}, "quantization_config"),
        ({"fusion_config": {"x": True}}, "fusion_config"),
        ({"transformers_weights": "../x.safetensors"}, "transformers_weights"),
        ({"attn_implementation": "someone/kernel"}, "someone/kernel"),
        ({"_attn_implementation": "someone/kernel:run"}, "someone/kernel"),
        ({"_attn_implementation": "paged|x/y"}, "paged"),
        ({"attn_implementation": {"": "someone/kernel"}}, "attn_implementation"),
    ],
)
def test_what_a_config_would_have_imported_is_refused(bert, copied, values, word):
    folder = copied(bert)
    change(folder / "config.json", **values)
    for load in (load_text, trained, drawn_anew):
        refused(load, folder, word, "config.json")


def test_an_adapter_is_no_model(bert, copied):
    folder = copied(bert)
    change(folder / "adapter_config.json", base_model_name_or_path="/etc", peft_type="LORA")
    refused(load_text, folder, "adapter_config.json", "merge it")


def test_a_distributed_checkpoint_is_refused(bert, copied):
    folder = copied(bert)
    shutil.copy(
        folder / "model.safetensors", folder / "shard-00001-model-00001-of-00001.safetensors"
    )
    refused(load_text, folder, "shard-00001", "save the model whole")


@pytest.mark.parametrize("suffix", ["bin", "pth", "pt", "ckpt"])
def test_pickles_are_not_read(bert, clip, vit, copied, suffix):
    for load, source in ((load_text, bert), (load_image, clip), (load_image, vit)):
        folder = copied(source)
        (weights,) = folder.glob("*.safetensors")
        tensors = load_file(weights)
        weights.unlink()
        for stem in ("pytorch_model", "open_clip_pytorch_model", "model"):
            torch.save(tensors, folder / f"{stem}.{suffix}")
        refused(load, folder, "safetensors")
        # A pickle's name would come before that of any other file.
        save_file(tensors, folder / "zzz.safetensors")
        if source is not clip or suffix in ("bin", "pth"):
            refused(load, folder, "safetensors")


def test_nothing_is_fetched(clip, vit, copied, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the network was used")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, fail)
    monkeypatch.setattr(socket.socket, "connect", fail)
    for named in ("someone/else", "/etc", "../x", "hf-hub:a/b", "bert-base-uncased"):
        folder = copied(clip)
        text = {"hf_model_name": named, "hf_tokenizer_name": named, "proj_type": "mlp"}
        config = json.loads((folder / "open_clip_config.json").read_text())
        config["model_cfg"]["text_cfg"] = text
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        if named in ("someone/else", "bert-base-uncased"):
            # The image tower needs nothing of the text tower's model.
            assert load_image(str(folder)).card.dim == 8
        else:
            refused(load_image, folder)
            refused(image_from_scratch, folder)
        refused(load_text, folder)
    for named in ("hf-hub:a/b", "local-dir:/etc", "hf_hub:a/b", "nothing", "resnet18.a1_in1k:x"):
        folder = copied(clip)
        config = json.loads((folder / "open_clip_config.json").read_text())
        config["model_cfg"]["vision_cfg"] |= {
            "timm_model_name": named,
            "timm_model_pretrained": True,
        }
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        refused(load_image, folder)
    # What says where else weights are is not followed: those of the folder are taken.
    source = load_image(str(vit)).card
    for more in (
        {"url": "https://example.com/x.pth", "hf_hub_id": "a/b", "source": "hf-hub"},
        {"file": "/etc/passwd", "custom_load": True, "source": ""},
        {"custom_load": "hf", "hf_hub_filename": "x.bin"},
    ):
        folder = copied(vit, "config.json", lambda v, more=more: v["pretrained_cfg"].update(more))
        assert load_image(str(folder)).card.fingerprint == source.fingerprint


@pytest.mark.parametrize(
    "arguments",
    [
        {"pretrained_strict": False},
        {"pretrained_cfg_overlay": {"url": "https://example.com"}},
        {"pretrained_custom_load": True},
        {"checkpoint_path": "/etc/passwd"},
        {"features_only": True},
        {"img_size": 1_000_000},
        {"img_size": [160, 10**9]},
        {"img_size": "160"},
        {"depth": 10**9},
        {"embed_dim": 10**9},
        {"embed_dim": -1},
        {"block_fn": "os.system"},
        {"act_layer": "os.system"},
        {"nonsense": 1},
    ],
)
def test_arguments_of_a_timm_model_are_bounded(vit, copied, arguments):
    folder = copied(vit, "config.json", lambda value: value.update(model_args=arguments))
    refused(load_image, folder)


def test_the_hub_is_back_after_loading(bert, copied):
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    before = constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE
    load_text(str(bert))
    refused(load_text, copied(bert, "tokenizer.json", "{"))
    assert before == (constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE)
    with loading("x", Budget()):
        assert constants.HF_HUB_OFFLINE
        assert dynamic_module_utils.TIME_OUT_REMOTE_CODE == 0


# Claims that the weights do not hold


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (key, value)
        for key in (
            "num_hidden_layers",
            "hidden_size",
            "vocab_size",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        )
        for value in (10**9, 10**400, 0, -1, "2", 2.5, True, [2], {}, 999)
    ]
    + [("type_vocab_size", 10**9), ("num_hidden_layers", 3), ("layer_norm_eps", "x")],
)
def test_a_config_that_claims_more_than_its_weights(bert, copied, key, value):
    folder = copied(bert)
    change(folder / "config.json", **{key: value})
    refused(load_text, folder)


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "vocab_size"])
def test_a_model_from_scratch_is_bounded_too(bert, copied, key):
    folder = copied(bert)
    change(folder / "config.json", **{key: 10**9})
    refused(drawn_anew, folder)


@pytest.mark.parametrize(
    ("model_type", "values"),
    [
        ("distilbert", {"n_layers": 10**7}),
        ("distilbert", {"dim": 10**7}),
        ("gpt2", {"n_layer": 10**7}),
        ("albert", {"embedding_size": 10**8}),
        ("mixtral", {"num_local_experts": 10**7}),
        ("t5", {"num_layers": 10**7}),
    ],
)
def test_other_types_are_bounded_while_they_are_built(bert, copied, model_type, values):
    folder = copied(bert)
    change(folder / "config.json", model_type=model_type, **values)
    refused(load_text, folder)


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("vision_cfg", {"layers": 10**9}),
        ("vision_cfg", {"layers": 900}),
        ("vision_cfg", {"width": 10**9}),
        ("vision_cfg", {"width": 60_000}),
        ("vision_cfg", {"image_size": 10**9}),
        ("vision_cfg", {"image_size": 2048, "patch_size": 1}),
        ("vision_cfg", {"image_size": 0}),
        ("vision_cfg", {"image_size": -16}),
        ("vision_cfg", {"image_size": "16"}),
        ("vision_cfg", {"image_size": [16, 16, 16]}),
        ("vision_cfg", {"patch_size": 0}),
        ("vision_cfg", {"mlp_ratio": 1e9}),
        ("vision_cfg", {"head_width": 0}),
        ("vision_cfg", {"nonsense": 1}),
        ("text_cfg", {"vocab_size": 10**9}),
        ("text_cfg", {"layers": 10**9}),
        ("text_cfg", {"context_length": 10**9}),
    ],
)
def test_a_clip_config_that_claims_too_much(clip, copied, part, values):
    def more(value):
        value["model_cfg"][part].update(values)

    refused(load_image, copied(clip, "open_clip_config.json", more))


COLOURS = [
    {"mean": [0.5] * 2},
    {"std": [0.5] * 4},
    {"mean": []},
    {"std": [0.0, 0.5, 0.5]},
    {"std": [-1, 1, 1]},
    {"std": [float("nan")] * 3},
    {"std": [1e-30] * 3},
    {"mean": [float("inf")] * 3},
    {"mean": "0.5"},
    {"mean": {"r": 1}},
    {"mean": [10**400] * 3},
]


@pytest.mark.parametrize("values", COLOURS)
def test_preprocessing_that_can_not_be(clip, vit, copied, values):
    folder = copied(clip, "open_clip_config.json", lambda v: v["preprocess_cfg"].update(values))
    refused(load_image, folder, "open_clip_config.json")
    folder = copied(vit, "config.json", lambda value: value["pretrained_cfg"].update(values))
    refused(load_image, folder, "config.json")


@pytest.mark.parametrize(
    "values",
    [
        {"input_size": [3, 10**9, 10**9]},
        {"input_size": [3, 0, 0]},
        {"input_size": [3, -160, 160]},
        {"input_size": [3, 160]},
        {"input_size": "3x160x160"},
        {"crop_pct": 1e-9},
        {"crop_pct": 0},
        {"crop_pct": -1},
        {"crop_pct": "1"},
        {"num_classes": 10**12},
        {"interpolation": 3},
    ],
)
def test_settings_of_a_timm_model_that_can_not_be(vit, copied, values):
    refused(load_image, copied(vit, "config.json", lambda v: v["pretrained_cfg"].update(values)))


@pytest.mark.parametrize("architecture", ["nothing", "", "local-dir:/etc", "hf-hub:a/b", 3, None])
def test_an_unknown_architecture(vit, copied, architecture):
    folder = copied(vit, "config.json", lambda value: value.update(architecture=architecture))
    refused(load_image, folder)


# Tokenizers


def without_tokenizer(folder):
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    return folder


@pytest.mark.parametrize("load", [load_text, trained, drawn_anew])
def test_a_directory_without_a_tokenizer_is_refused(bert, copied, load):
    refused(
        load, without_tokenizer(copied(bert)), "has no tokenizer", "all words would be the same"
    )


def other_vocabulary(words):
    def put(value):
        value["model"]["vocab"] = {word: at for at, word in enumerate(words)}

    return put


def test_a_tokenizer_that_knows_no_word_is_refused(bert, copied):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    folder = copied(bert, "tokenizer.json", other_vocabulary([*special, "☃", "##☃"]))
    refused(load_text, folder, "has no word and no letter")
    refused(trained, folder, "has no word and no letter")
    folder = copied(bert, "tokenizer.json", other_vocabulary([*special, "белая"]))
    assert load_text(str(folder)).encode(["белая"]).shape == (1, 24)


def test_an_empty_vocabulary_file_is_refused(bert, copied):
    folder = without_tokenizer(copied(bert))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    refused(load_text, folder, "has no word")


def test_more_tokens_than_rows(bert, copied):
    def more(value):
        vocabulary = value["model"]["vocab"]
        vocabulary.update({f"новое{at}": len(vocabulary) + at for at in range(9)})

    refused(load_text, copied(bert, "tokenizer.json", more), "the model's table has 55 rows")

    def added(value):
        entry = dict(value["added_tokens"][0], id=10**6, content="новое")
        value["added_tokens"].append(entry)

    refused(load_text, copied(bert, "tokenizer.json", added), "tokenizer")

    def template(value):
        value["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [4_000_000_000]

    refused(load_text, copied(bert, "tokenizer.json", template), "token 4000000000", "55 rows")
    refused(trained, copied(bert, "tokenizer.json", template), "token 4000000000")


def test_a_token_beyond_the_table_is_met_when_a_text_has_it(bert, copied):
    def gap(value):
        del value["model"]["vocab"]["слово39"]
        value["model"]["vocab"]["редкое"] = 70_000

    encoder = load_text(str(copied(bert, "tokenizer.json", gap)))
    assert np.isfinite(encoder.encode(["кружка белая"])).all()
    with pytest.raises(EncoderError, match=r"token 70000, and the model's table has 55 rows"):
        encoder.encode(["кружка", "редкое"])


@pytest.mark.parametrize("ident", [10**7, 10**9, 2**32 - 1])
def test_a_token_of_a_very_high_number_is_refused(bert, copied, ident):
    # The tokenizers library would count up to it, and keep what is missing.
    def high(value):
        value["model"]["vocab"]["слово39"] = ident

    refused(load_text, copied(bert, "tokenizer.json", high), f"numbers a token {ident}")
    other = copied(bert, "tokenizer.json", high)
    (other / "tokenizer.json").rename(other / "tokenizer.9.json")
    shutil.copy(bert / "tokenizer.json", other)
    config = json.loads((other / "tokenizer_config.json").read_text())
    named = {**config, "fast_tokenizer_files": ["tokenizer.9.json"]}
    (other / "tokenizer_config.json").write_text(json.dumps(named))
    refused(load_text, other, f"numbers a token {ident}")


def test_a_token_that_looks_like_a_number_is_one(bert, copied):
    def named(value):
        value["model"]["vocab"][": 4000000000"] = value["model"]["vocab"].pop("слово39")

    load_text(str(copied(bert, "tokenizer.json", named)))


@pytest.mark.parametrize(
    "change_of",
    [
        lambda v: v.update(model=None),
        lambda v: v.update(model={"type": "Evil"}),
        lambda v: v.update(version="99"),
        lambda v: v["model"].update(vocab={"a": -1}),
        lambda v: v["model"].update(vocab={"a": "b"}),
        lambda v: v["model"].update(vocab={"a": 2**40}),
        lambda v: v["model"].update(unk_token="gone"),
        lambda v: v.update(model={"type": "Unigram", "unk_id": 10**6, "vocab": [["a", -1.0]]}),
        lambda v: v.update(model={"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}),
        lambda v: v.update(
            normalizer={"type": "Replace", "pattern": {"Regex": "(("}, "content": ""}
        ),
        lambda v: v.update(pre_tokenizer={"type": "Evil"}),
        lambda v: v.update(post_processor={"type": "TemplateProcessing", "single": [], "pair": []}),
        lambda v: v["post_processor"].update(special_tokens={}),
        lambda v: v.update(added_tokens=[{"id": "x"}]),
        lambda v: v.update(added_tokens=3),
        lambda v: v.update(truncation={"max_length": 0, "strategy": "LongestFirst", "stride": 5}),
    ],
)
def test_a_broken_tokenizer_is_one_line_or_works(bert, copied, change_of):
    folder = copied(bert, "tokenizer.json", change_of)
    try:
        vectors = load_text(str(folder)).encode(["кружка белая", ""])
        assert np.isfinite(vectors).all()
    except EncoderError as err:
        assert "\n" not in str(err)  # noqa: PT017


@pytest.mark.parametrize(
    "normalizer",
    [
        {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40,
        },
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10**6},
        {"type": "Replace", "pattern": {"Regex": ""}, "content": "b" * 1000},
    ],
)
def test_a_tokenizer_that_blows_texts_up_is_refused(bert, copied, normalizer):
    folder = copied(bert, "tokenizer.json", lambda value: value.update(normalizer=normalizer))
    refused(load_text, folder, "times as long")


def test_a_template_that_repeats_the_text_is_refused(bert, copied):
    def repeat(value):
        value["post_processor"]["single"] = [{"Sequence": {"id": "A", "type_id": 0}}] * 1000

    refused(load_text, copied(bert, "tokenizer.json", repeat), "times as long")


@pytest.mark.parametrize("limit", ["512", [], {}, -5, 0, 1, 10**400, 1e308, float("nan"), None])
def test_any_length_limit_is_one_line_or_works(bert, copied, limit):
    folder = copied(bert)
    change(folder / "tokenizer_config.json", model_max_length=limit)
    try:
        encoder = load_text(str(folder))
    except EncoderError as err:
        assert "\n" not in str(err)  # noqa: PT017
        assert limit not in (None, -5, 0, 1e308)
        return
    assert np.isfinite(encoder.encode(["слово1 " * 500])).all()


def test_texts_are_cut_to_the_positions_that_there_are(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    # The last two tell the loader's probes apart.
    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3, "Nike": 4, "USB": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = RobertaConfig(
        vocab_size=6,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=20,
        pad_token_id=1,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    encoder = load_text(str(tmp_path))
    # Positions count from beyond the padding token: 18 tokens of 20 rows.
    vectors = encoder.encode(["a b " * 50, "a b " * 9])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


# Broken files


@pytest.mark.parametrize("content", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_in_any_file_is_one_line(bert, clip, vit, copied, content):
    for name in ("config.json", "tokenizer.json"):
        refused(load_text, copied(bert, name, content))
        refused(trained, copied(bert, name, content))
    refused(load_image, copied(vit, "config.json", content), "config.json")
    refused(load_image, copied(clip, "open_clip_config.json", content), "open_clip_config.json")
    for name in ("modules.json", "sentence_bert_config.json", "tokenizer_config.json"):
        folder = copied(bert, name, content)
        try:
            load_text(str(folder))
            assert content in ("{}", "[]")
        except EncoderError as err:
            assert "\n" not in str(err)  # noqa: PT017
            assert name in str(err)  # noqa: PT017


@pytest.mark.parametrize(
    "modules",
    [
        [{"type": "x.Pooling", "path": "/etc"}],
        [{"type": "x.Pooling", "path": "../../x"}],
        [{"type": "x.Dense", "path": ""}],
        [{"type": 3}],
        [{"path": "x"}],
        ["x"],
    ],
)
def test_modules_that_can_not_be(bert, copied, modules):
    folder = copied(bert)
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(load_text, folder)


@pytest.mark.parametrize("mode", ["evil", ["cls", "cls", "x"], 3, {"a": 1}, [[]], [None]])
def test_pooling_that_can_not_be(bert, copied, mode):
    folder = copied(bert)
    (folder / "1_Pooling").mkdir()
    (folder / "modules.json").write_text('[{"type": "x.Pooling", "path": "1_Pooling"}]')
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": mode}))
    refused(load_text, folder, "pooling")


def header(tensors, data=b"", length=None):
    told = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(told) if length is None else length) + told + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HEADERS = [
    b"",
    b"\0" * 8,
    b"x" * 100,
    header({}, length=2**63),
    header({}, length=10**6),
    header(b"{"),
    header(b"[]"),
    header(DEEP.encode()),
    header({"a": entry()}),
    header({"a": entry(shape=[10**12])}, b"1234"),
    header({"a": entry(shape=[-1])}, b"1234"),
    header({"a": entry(shape=["1"])}, b"1234"),
    header({"a": entry(dtype="EVIL")}, b"1234"),
    header({"a": entry(offsets=[4, 0])}, b"1234"),
    header({"a": entry(offsets=[0])}, b"1234"),
    header({"a": entry(shape=[2**62, 4])}, b"1234"),
    header({"a": 3}, b"1234"),
    header({"a": entry(), "b": entry()}, b"1234"),
]


@pytest.mark.parametrize("content", HEADERS, ids=range(len(HEADERS)))
def test_broken_weights(bert, clip, vit, copied, content):
    refused(load_text, copied(bert, "model.safetensors", content))
    refused(load_image, copied(vit, "model.safetensors", content))
    refused(load_image, copied(clip, "open_clip_model.safetensors", content))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_numbers(bert, clip, vit, copied, value):
    for load, source in ((load_text, bert), (trained, bert), (load_image, clip), (load_image, vit)):
        folder = copied(source)
        (weights,) = folder.glob("*.safetensors")
        tensors = load_file(weights)
        parts = ("blocks.0.mlp.fc1", "visual.transformer", "word_embeddings")
        name = next(one for one in tensors if any(part in one for part in parts))
        # One number of many, of a word that no probe has.
        tensors[name].view(-1)[-1] = value
        save_file(tensors, weights, metadata={"format": "pt"})
        refused(load, folder, "holds NaN or infinity")


def test_vectors_that_are_not_numbers(bert, copied):
    folder = copied(bert)
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][-1] = 3e38
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = load_text(str(folder))
    try:
        assert np.isfinite(encoder.encode(["слово39"])).all()
    except EncoderError as err:
        assert "its vectors are not numbers" in str(err)  # noqa: PT017


@pytest.mark.parametrize("drop", [0, -1])
def test_timm_weights_are_whole(vit, copied, drop):
    folder = copied(vit)
    tensors = load_file(folder / "model.safetensors")
    name = list(tensors)[drop]
    tensors[f"{name}.other"] = tensors.pop(name)
    save_file(tensors, folder / "model.safetensors")
    refused(load_image, folder, "its weights lack", name)


def sharded(folder, weight_map=None):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2])):
        chosen = {name: tensors[name] for name in part}
        save_file(chosen, folder / f"part-{number}.safetensors", metadata={"format": "pt"})
    whole = {name: f"part-{at % 2}.safetensors" for at, name in enumerate(names)}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map or whole}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards_load_as_the_whole(bert, copied):
    folder = sharded(copied(bert))
    assert load_text(str(folder)).card.fingerprint == load_text(str(bert)).card.fingerprint
    assert read_weights(folder).numbers == read_weights(bert).numbers


@pytest.mark.parametrize(
    "named",
    [
        "../outside.safetensors",
        "/etc/passwd",
        "/tmp/x.safetensors",
        "sub/x.safetensors",
        "..",
        "",
        "pytorch_model.bin",
        "gone.safetensors",
        "config.json",
        "x\0.safetensors",
        3,
        None,
        ["part-0.safetensors"],
    ],
)
def test_shards_lie_in_the_folder(bert, copied, named):
    folder = copied(bert)
    shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    names = sorted(load_file(folder / "model.safetensors"))
    sharded(
        folder, {name: named if at == 3 else "part-0.safetensors" for at, name in enumerate(names)}
    )
    refused(load_text, folder)


def test_an_index_that_claims_what_its_files_lack(bert, copied):
    folder = copied(bert)
    names = sorted(load_file(folder / "model.safetensors"))
    sharded(folder, {**dict.fromkeys(names, "part-0.safetensors"), "evil": "part-1.safetensors"})
    refused(load_text, folder, "model.safetensors.index.json", "lack evil")


@pytest.mark.parametrize("content", NONSENSE, ids=range(len(NONSENSE)))
def test_a_broken_index(bert, copied, content):
    folder = sharded(copied(bert))
    path = folder / "model.safetensors.index.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(load_text, folder, path.name)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop"])
def test_what_is_no_file_is_not_waited_for(bert, copied, name, kind):
    folder = copied(bert)
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to("/dev/zero" if kind == "device" else name)
    refused(load_text, folder)


def test_a_layer_over_words_that_does_not_fit(tmp_path):
    save_file({"dense.weight": torch.zeros(3, 3)}, tmp_path / BESIDE)
    with pytest.raises(EncoderError, match=BESIDE):
        MLMHead(4, 9, 1e-12).load_beside(tmp_path, from_scratch=False)
    (tmp_path / BESIDE).write_bytes(b"x" * 50)
    with pytest.raises(EncoderError, match=BESIDE):
        MLMHead(4, 9, 1e-12).load_beside(tmp_path, from_scratch=False)
    MLMHead(4, 9, 1e-12).load_beside(tmp_path, from_scratch=True)


def test_a_library_that_builds_more_than_the_weights_is_stopped():
    small = Budget(numbers=10**6, parts=100)
    with (
        pytest.raises(EncoderError, match="x: its configuration requires more layers"),
        loading("x", small),
    ):
        torch.nn.ModuleList([torch.nn.Linear(1, 1) for _ in range(10**6)])
    for size in ((10**9,), (10**5, 10**5)):
        with pytest.raises(EncoderError, match="requires more numbers"), loading("x", small):
            torch.randn(size)
    with pytest.raises(EncoderError, match="requires more numbers"), loading("x", small):
        torch.nn.Linear(10**4, 10**4, device="meta")
    with pytest.raises(KeyboardInterrupt), loading("x", Budget()):
        raise KeyboardInterrupt
    with loading("x", small):
        torch.nn.Linear(100, 100)
    torch.nn.Linear(2000, 2000)
