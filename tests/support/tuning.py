"""A small text model and a catalogue that it can learn, for tests of training encoders."""

import csv
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import vitrina as vt

KINDS = ("кружка", "ваза", "лампа", "стол")
COLOURS = ("белая", "синяя", "красная", "зелёная", "чёрная", "жёлтая")
WORDS = tuple(f"слово{number}" for number in range(40))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (*SPECIAL, *KINDS, *COLOURS, *WORDS)


def write_model(folder: Path, *, dim=24, layers=2, seed=0, mask=True, lower=False) -> Path:
    """A BERT with random weights whose vocabulary is that of `products`."""
    tokenizer = Tokenizer(
        models.WordPiece({piece: at for at, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * dim,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    named = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    named |= {"mask_token": "[MASK]"} if mask else {}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    return folder


def products(rows, seed=0):
    """(id, title, category): the category is the kind, which stands in a random place; every
    kind's words come from a range of its own, so that hidden words can be guessed."""
    rng = np.random.default_rng(seed)
    for number in range(rows):
        kind = int(rng.choice(len(KINDS), p=(0.4, 0.3, 0.2, 0.1)))
        own = WORDS[10 * kind : 10 * kind + 10]
        words = [KINDS[kind], COLOURS[rng.integers(6)], *rng.choice(own, int(rng.integers(2, 6)))]
        yield number, " ".join(rng.permutation(words)), kind


def write_catalogue(path: Path, rows=400, seed=0, labelled=True) -> Path:
    """The same as a CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "title"] + (["category_id"] if labelled else []))
        for number, title, kind in products(rows, seed):
            writer.writerow([number, title] + ([f"c{kind}"] if labelled else []))
    return path


def write_store(folder: Path, rows=400, seed=0) -> vt.Store:
    """A store of these products."""
    catalogue = vt.Catalogue.read(write_catalogue(folder.with_suffix(".csv"), rows, seed))
    store = vt.Store.open(folder, create=True)
    vt.embed(catalogue, store, text="lexical", image="none")
    return store
