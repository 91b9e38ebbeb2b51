"""The models that every contestant loads: true shapes, random weights, nothing downloaded.

Speed does not depend on what the weights are; how far precisions agree does, a little.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

CLIP = "ViT-B-32-quickgelu"
VOCABULARY = 83_828
LENGTH = 2048
MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def write_rubert(folder: Path, tokenizer: Path | None, words: list[str]) -> Path:
    """rubert-tiny2's shape as a sentence-transformers directory: first token, normalised.

    tokenizer: the published one's directory. words: what to train one on where there is none.
    """
    if (folder / "modules.json").exists():
        return folder
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        for path in tokenizer.iterdir():
            if path.name != "config.json":
                shutil.copyfile(path, folder / path.name)
        vocabulary = VOCABULARY
    else:
        vocabulary = train_tokenizer(folder, words)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=312,
        num_hidden_layers=3,
        num_attention_heads=12,
        intermediate_size=600,
        max_position_embeddings=LENGTH,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        hidden_act="gelu",
        pad_token_id=0,
    )
    torch.manual_seed(0)
    BertModel(config).eval().save_pretrained(folder)
    for place in ("1_Pooling", "2_Normalize"):
        (folder / place).mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": mode == "cls_token" for mode in MODES}
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 312, **modes})
    write(folder / "sentence_bert_config.json", {"max_seq_length": LENGTH, "do_lower_case": False})
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": f"{at}_{kind}" if at else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for at, kind in enumerate(("Transformer", "Pooling", "Normalize"))
    ]
    write(folder / "modules.json", modules)
    return folder


def train_tokenizer(folder: Path, words: list[str]) -> int:
    """Write a small WordPiece tokenizer in BERT's form; returns the size of its vocabulary."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    made = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    made.train_from_iterator(words, vocab_size=2500, show_progress=False)
    made.save(str(folder / "tokenizer.json"))
    whole = BertTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), do_lower_case=False, model_max_length=LENGTH
    )
    whole.save_pretrained(folder)
    return len(whole)


def write_clip(folder: Path) -> Path:
    """ViT-B/32 with its text tower, in open_clip's local form."""
    if (folder / "open_clip_config.json").exists():
        return folder
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = open_clip.create_model(CLIP, pretrained=None, load_weights=False)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    preprocessing = {
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    config = {"model_cfg": open_clip.get_model_config(CLIP), "preprocess_cfg": preprocessing}
    write(folder / "open_clip_config.json", config)
    return folder


def write(path: Path, value: object) -> None:
    """Write JSON, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    part.replace(path)


def text_length(folder: Path) -> int:
    """The longest input of a sentence-transformers directory, in tokens."""
    limits = [read(folder / "config.json").get("max_position_embeddings", 512)]
    path = folder / "sentence_bert_config.json"
    limits.append(read(path).get("max_seq_length") if path.exists() else None)
    return min(int(limit) for limit in limits if limit)


def text_operations(folder: Path, tokens: float, squared: float) -> float:
    """Floating-point operations of the whole model for one text, at the mean.

    tokens, squared: means of the number of tokens and of its square. A multiplication and an
    addition are two. Nothing is left out that some contestant may skip.
    """
    config = read(folder / "config.json")
    layers, d, ff = (
        config[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size")
    )
    return layers * (2 * (4 * d * d + 2 * d * ff) * tokens + 4 * d * squared)


def image_operations(folder: Path) -> float:
    """The same for one photo through the visual tower of an open_clip directory."""
    whole = read(folder / "open_clip_config.json")["model_cfg"]
    vision = whole["vision_cfg"]
    d, layers, patch = vision["width"], vision["layers"], vision["patch_size"]
    patches = (vision["image_size"] // patch) ** 2
    tokens = patches + 1
    blocks = layers * (2 * 12 * d * d * tokens + 4 * d * tokens**2)
    return blocks + 2 * patches * 3 * patch**2 * d + 2 * d * whole["embed_dim"]


def read(path: Path) -> dict:
    """JSON from a file."""
    return json.loads(path.read_text("utf-8"))
