"""Forms of text model directories, with sentence-transformers' and model2vec's own vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from support.encoder_forms import EncoderForm
from support.text_models import (
    PIECES,
    fill,
    tokenizer_core,
    write_bert,
    write_json,
    write_modules,
    write_tokenizer,
)
from vitrina.types import Modality

MEAN = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
CLS = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True}
PROMPTS = {"query": "search query: ", "passage": "passage: "}
WIDTH = 32


def sentence_transformers(folder: Path, texts: list[Any]) -> Any:
    """Vectors by sentence-transformers in its defaults."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def model2vec(folder: Path, texts: list[Any]) -> Any:
    """Vectors by model2vec's formula: the mean of weighted rows, without unknown words."""
    tensors = {name: one.numpy() for name, one in load_file(folder / "model.safetensors").items()}
    core = tokenizer_core()
    rows = []
    for text in texts:
        ids = core.encode(text[: 512 * 4], add_special_tokens=False).ids[:512]
        known = [one for one in ids if one != PIECES.index("[UNK]")]
        vectors = tensors["embeddings"][tensors.get("mapping", np.arange(len(PIECES)))[known]]
        weighted = vectors * tensors.get("weights", np.ones(len(PIECES)))[known][:, None]
        rows.append(weighted.mean(axis=0) if known else np.zeros(vectors.shape[1]))
    found = np.stack(rows).astype(np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _pooled(pooling: dict[str, Any], *after: str) -> Callable[[Path], Path]:
    """A maker of a BERT with a pooling, and modules after it."""

    def make(folder: Path) -> Path:
        write_bert(folder)
        write_modules(folder, ["Transformer", "Pooling", *after])
        write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": WIDTH, **pooling})
        return folder

    return make


def _with(make: Callable[[Path], Path], **files: dict[str, Any]) -> Callable[[Path], Path]:
    """A maker that writes further JSON files. files: contents by name, without ".json"."""

    def extended(folder: Path) -> Path:
        made = make(folder)
        for name, value in files.items():
            write_json(made / f"{name}.json", value)
        return made

    return extended


def write_dense(
    folder: Path,
    out: int = 20,
    taken: int = WIDTH,
    *,
    activation: str | None = "activation.Tanh",
    bias: bool = True,
    residual: bool = False,
) -> None:
    """Write a Dense module as sentence-transformers does. activation: in torch.nn.modules; None for
    the default. residual: add the input to the output."""
    config: dict[str, Any] = {"in_features": taken, "out_features": out, "bias": bias}
    if activation is not None:
        config["activation_function"] = f"torch.nn.modules.{activation}"
    layer = torch.nn.ModuleDict({"linear": torch.nn.Linear(taken, out, bias=bias)})
    if residual:
        config["use_residual"] = True
        layer["residual"] = torch.nn.Linear(taken, out, bias=False)
    write_json(folder / "config.json", config)
    save_file(fill(layer).state_dict(), folder / "model.safetensors")


def write_norm(folder: Path, width: int = WIDTH) -> None:
    """Write a LayerNorm module as sentence-transformers does."""
    write_json(folder / "config.json", {"dimension": width})
    layer = torch.nn.ModuleDict({"norm": torch.nn.LayerNorm(width)})
    save_file(fill(layer).state_dict(), folder / "model.safetensors")


def labse(folder: Path) -> Path:
    """The first token's vector, a Dense layer with tanh, and a scaling to unit length."""
    _pooled(CLS, "Dense", "Normalize")(folder)
    write_dense(folder / "2_Dense", out=WIDTH)
    return folder


def _layers(folder: Path) -> Path:
    mean = {"pooling_mode": ["mean", "max"]}
    _pooled(mean, "Normalize", "Dense", "Dropout", "LayerNorm", "Dense")(folder)
    write_dense(folder / "3_Dense", 20, 2 * WIDTH, activation="activation.GELU")
    write_json(folder / "4_Dropout/config.json", {"dropout": 0.3})
    write_norm(folder / "5_LayerNorm", 20)
    write_dense(folder / "6_Dense", 24, 20, activation="linear.Identity", bias=False, residual=True)
    return folder


def _prompted(default: str | None) -> Callable[[Path], Path]:
    model = {"prompts": PROMPTS, "default_prompt_name": default}
    made = _pooled(MEAN)
    return _with(made, config_sentence_transformers=model)


def _longer(folder: Path) -> Path:
    write_bert(folder, positions=80)
    write_tokenizer(folder, model_max_length=12)
    write_modules(folder, ["Transformer", "Pooling"])
    write_json(folder / "1_Pooling/config.json", MEAN)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 40})
    return folder


def _old_layout(folder: Path) -> Path:
    write_bert(folder / "0_Transformer")
    write_json(folder / "0_Transformer/sentence_roberta_config.json", {"max_seq_length": 24})
    write_modules(folder, [("Transformer", "0_Transformer"), "Pooling"])
    write_json(folder / "1_Pooling/config.json", {**MEAN, "include_prompt": True})
    return folder


def _roberta(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=len(PIECES),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=66,
        pad_token_id=0,
    )
    fill(XLMRobertaModel(config)).save_pretrained(folder)
    # Without it sentence-transformers fails on texts of 64 tokens.
    write_tokenizer(folder, model_max_length=64)
    return folder


def t5(folder: Path) -> Path:
    """A whole T5, of which the encoder makes vectors, as in FRIDA."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=len(PIECES),
        d_model=WIDTH,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=0,
    )
    fill(T5ForConditionalGeneration(config)).save_pretrained(folder)
    write_tokenizer(folder, "$A [SEP]")
    write_modules(folder, ["Transformer", "Pooling", "Normalize"])
    write_json(folder / "1_Pooling/config.json", CLS)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 48})
    prompts = {"categorize": "search : ", "search_query": "query : "}
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    return folder


def qwen3(folder: Path, padding_side: str = "left") -> Path:
    """A decoder with the last token's vector, after an end mark of the tokenizer."""
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=len(PIECES),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=48,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    fill(Qwen3Model(config)).save_pretrained(folder)
    write_tokenizer(folder, "$A [SEP]", padding_side=padding_side)
    write_modules(folder, ["Transformer", "Pooling", "Normalize"])
    write_json(
        folder / "1_Pooling/config.json",
        {"embedding_dimension": WIDTH, "pooling_mode": "lasttoken"},
    )
    prompts = {"query": "search : ", "document": ""}
    model = {"prompts": prompts, "default_prompt_name": None}
    write_json(folder / "config_sentence_transformers.json", model)
    return folder


def _right_padded(folder: Path) -> Path:
    return qwen3(folder, "right")


def _modern_bert(folder: Path) -> Path:
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(
        vocab_size=len(PIECES),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=96,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    )
    fill(ModernBertModel(config), 0.2).save_pretrained(folder)
    write_tokenizer(folder, model_input_names=["input_ids", "attention_mask"])
    return folder


def _write_table(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = torch.nn.ModuleDict({"embedding": torch.nn.EmbeddingBag(len(PIECES), WIDTH)})
    save_file(fill(table).state_dict(), folder / "model.safetensors")
    tokenizer_core(lower=True).save(str(folder / "tokenizer.json"))


def static(folder: Path) -> Path:
    """A table of token vectors, as sentence-transformers writes it."""
    _write_table(folder)
    write_modules(folder, ["StaticEmbedding"])
    return folder


def _static_old(folder: Path) -> Path:
    _write_table(folder / "0_StaticEmbedding")
    kinds = [("StaticEmbedding", "0_StaticEmbedding"), ("Normalize", "1_Normalize")]
    write_modules(folder, [*kinds, "Dense"])
    write_dense(folder / "2_Dense", activation=None)
    return folder


def write_model2vec(folder: Path, *, quantised: bool = False, **config: Any) -> Path:
    """A model of model2vec 0.10. quantised: several tokens share a row, and have weights."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = 20 if quantised else len(PIECES)
    mixed = (np.arange(rows * WIDTH) * 7919 % 1009).reshape(rows, WIDTH)
    tensors = {"embeddings": (mixed / 504 - 1).astype(np.float16 if quantised else np.float32)}
    if quantised:
        tensors["mapping"] = (np.arange(len(PIECES)) * 7 % rows).astype(np.int32)
        tensors["weights"] = (0.5 + np.arange(len(PIECES)) % 5).astype(np.float64)
    tensors = {name: torch.from_numpy(one) for name, one in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    tokenizer_core().save(str(folder / "tokenizer.json"))
    whole = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True}
    write_json(folder / "config.json", {**whole, "hidden_dim": WIDTH, "apply_pca": 32, **config})
    entry = {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models."}
    kinds = ("StaticEmbedding", "Normalize")
    places = (".", "1_Normalize")
    modules = [
        {**entry, "idx": at, "path": places[at], "type": f"{entry['type']}{kind}"}
        for at, kind in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    return folder


def _quantised(folder: Path) -> Path:
    return write_model2vec(folder, quantised=True)


def pickled(folder: Path) -> Path:
    """A BERT with its weights only as pickle."""
    write_bert(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def _lstm(folder: Path) -> Path:
    return _pooled(MEAN, "LSTM")(folder)


def _without_prompt(folder: Path) -> Path:
    _prompted("query")(folder)
    path = folder / "1_Pooling/config.json"
    write_json(path, {**json.loads(path.read_text()), "include_prompt": False})
    return folder


def _form(
    name: str,
    make: Callable[[Path], Path],
    library: str = "sentence-transformers",
    reference: Callable[[Path, list[Any]], Any] | None = sentence_transformers,
) -> EncoderForm:
    return EncoderForm(name, Modality.TEXT, library, make, reference)


def _refused(name: str, make: Callable[[Path], Path], message: str) -> EncoderForm:
    library = "sentence-transformers"
    return EncoderForm(name, Modality.TEXT, library, make, refused=message)


LOWER = {"do_lower_case": True}
_MEAN = _pooled(MEAN)

FORMS: tuple[EncoderForm, ...] = (
    _form("BERT, no further files: mean", write_bert),
    _form("XLM-RoBERTa, no further files: mean", _roberta),
    _form("ModernBERT, no further files: mean", _modern_bert),
    _form("BERT, first token (cls)", _pooled(CLS)),
    _form("BERT, max", _pooled({"pooling_mode_max_tokens": True})),
    _form("BERT, mean and max together", _pooled({"pooling_mode": ["mean", "max"]})),
    _form(
        "BERT, cls, max and mean by the former flags",
        _pooled({**CLS, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}),
    ),
    _form("BERT, mean_sqrt_len_tokens", _pooled({"pooling_mode_mean_sqrt_len_tokens": True})),
    _form("BERT, weightedmean", _pooled({"pooling_mode_weightedmean_tokens": True})),
    _form("BERT, lasttoken", _pooled({"pooling_mode": "lasttoken"})),
    _form("BERT with a default prompt", _prompted("query")),
    _form("BERT with prompts, none of them the default", _prompted(None)),
    _form("BERT, do_lower_case", _with(_MEAN, sentence_bert_config=LOWER)),
    _form("BERT, max_seq_length above the tokenizer's", _longer),
    _form(
        "BERT, truncate_dim (Matryoshka)",
        _with(_MEAN, config_sentence_transformers={"truncate_dim": 12}),
    ),
    _form("LaBSE: cls, Dense, Normalize", labse),
    _form("Normalize, Dense, Dropout, LayerNorm, Dense with residual", _layers),
    _form("the former layout, 0_Transformer", _old_layout),
    _form("T5 encoder, cls (FRIDA)", t5),
    _form("Qwen3 decoder, lasttoken, padded on the left", qwen3),
    _form("Qwen3 decoder, lasttoken, padded on the right", _right_padded),
    _form("StaticEmbedding", static),
    _form("StaticEmbedding in a folder, Normalize, Dense", _static_old),
    _form("model2vec (potion)", write_model2vec, "model2vec", model2vec),
    _form("model2vec, quantised vocabulary with weights", _quantised, "model2vec", model2vec),
    _refused("weights only as pickle", pickled, "convert-model"),
    _refused("an LSTM after the pooling", _lstm, "adds a LSTM layer"),
    _refused("a prompt outside the pooling", _without_prompt, "leaves the prompt out"),
)
