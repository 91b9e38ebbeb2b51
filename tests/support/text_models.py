"""Tiny text models in the layouts of sentence-transformers, model2vec and transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = (
    *("кружка", "ваза", "лампа", "стол", "платье", "чехол", "набор", "сумка", "куртка", "чайник"),
    *("белая", "синяя", "красная", "зелёная", "чёрная", "жёлтая", "женское", "летнее", "стальной"),
    *("red", "cup", "white", "the", "is", "shoes", "running", "shirt", "cotton", "blue", "men"),
    *("a", "b", "c", "d", "e", "о", "и", "в", "на", "для", "с", "0", "1", "2", "3", "5", "мл"),
    *("Кружка", "Ваза", "Red", "query", "passage", "search", ":", ",", ".", "-", "/", "%", "*"),
)
LETTERS = "abcdefghijklmnopqrstuvwxyzабвгдежзийклмнопрстуфхцчшщъыьэюя0123456789"
LETTERS += LETTERS[:58].upper()
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = tuple(dict.fromkeys([*SPECIAL, *WORDS, *LETTERS, *(f"##{one}" for one in LETTERS)]))
"""The vocabulary: words, and letters for all others."""

TEXTS = [
    "кружка белая 350 мл",
    "Кружка",
    "платье женское летнее , red cotton shirt",
    "чайник стальной для кружка и ваза " * 9,
    "неведомое слово 漢字",
    "the white cup is red",
    "стол",
    "Red Ваза - 5",
]
"""Texts of unlike lengths, with capitals, unknown words, and one past the limits."""


def tokenizer_core(template: str = "[CLS] $A [SEP]", *, lower: bool = False) -> Tokenizer:
    """A tokenizer of `PIECES`; its ids are stable."""
    numbers = {piece: at for at, piece in enumerate(PIECES)}
    core = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    if lower:
        core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    named = [(piece, numbers[piece]) for piece in SPECIAL if piece in template]
    core.post_processor = processors.TemplateProcessing(single=template, special_tokens=named)
    return core


def write_tokenizer(folder: Path, template: str = "[CLS] $A [SEP]", **options: Any) -> None:
    """Write a tokenizer as transformers does. options: of its constructor."""
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    named |= {"sep_token": "[SEP]", "mask_token": "[MASK]"}
    core = tokenizer_core(template)
    PreTrainedTokenizerFast(tokenizer_object=core, **named, **options).save_pretrained(folder)


def fill(network: torch.nn.Module, scale: float = 0.3) -> Any:
    """Give a network weights that depend on no random generator."""
    for number, (name, one) in enumerate(network.named_parameters()):
        mixed = (torch.arange(one.numel()) * 7919 + number * 104_729) % 1009
        centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
        one.data = (centre + scale * (mixed / 504 - 1).reshape(one.shape)).to(one.dtype)
    return network.eval()


def write_bert(folder: Path, *, positions: int = 64, **options: Any) -> Path:
    """A BERT of two layers, 32 wide. options: of its configuration."""
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=positions,
        **options,
    )
    fill(BertModel(config)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write JSON, and the folder it belongs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_modules(folder: Path, kinds: Sequence[str | tuple[str, str]]) -> None:
    """Write `modules.json`. kinds: names of modules in order, or names and paths; a module's path
    is its number and name, and empty for the first."""
    entries = []
    for number, kind in enumerate(kinds):
        name, path = kind if isinstance(kind, tuple) else (kind, f"{number}_{kind}" * (number > 0))
        place = f"sentence_transformers.models.{name}"
        entries.append({"idx": number, "name": str(number), "path": path, "type": place})
        (folder / path).mkdir(parents=True, exist_ok=True)
    write_json(folder / "modules.json", entries)
