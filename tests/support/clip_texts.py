"""Tiny CLIP and SigLIP models with tokenizers, for their text towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from support.vision_models import SIZE, SMALL, clip_processor, exact_processor, write_vision

WORDS_OF_OPEN_CLIP = {
    "context_length": 20,
    "vocab_size": 49408,
    "width": 16,
    "heads": 2,
    "layers": 1,
}
"""Text tower for open_clip's own tokenizer."""

TITLES = ("красная кружка", "a red cup", "кружка", "Кружка белая 350 мл", "чехол для телефона", "x")


def bytes_of_bpe() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def clip_tokenizer() -> Any:
    """CLIP's own tokenizer over bytes, without merges."""
    words = [*bytes_of_bpe(), *(f"{one}</w>" for one in bytes_of_bpe())]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: at for at, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=32)


def write_clip_model(folder: Path, *, projected: bool = True) -> Path:
    """A transformers CLIPModel with its tokenizer."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    words = {
        **SMALL,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = transformers.CLIPConfig(
        vision_config={**SMALL, "image_size": SIZE, "patch_size": 16},
        text_config=words,
        projection_dim=24,
    )
    network: Any = transformers.CLIPModel(config)
    if not projected:
        network = network.text_model
    write_vision(folder, network, clip_processor())
    tokenizer.save_pretrained(folder)
    return folder


def gemma_like() -> Any:
    """A fast tokenizer like that of SigLIP 2: lower case, an end token, padding by zeros."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<pad>", "<eos>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=bytes_of_bpe(),
        show_progress=False,
    )
    core.train_from_iterator(TITLES, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        model_max_length=16,
        model_input_names=["input_ids"],
        padding_side="right",
    )


def write_siglip_model(folder: Path) -> Path:
    """A transformers SiglipModel with the tokenizer of SigLIP 2's kind."""
    torch.manual_seed(0)
    tokenizer = gemma_like()
    words = {
        **SMALL,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "projection_size": 32,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    config = transformers.SiglipConfig(
        vision_config={**SMALL, "image_size": SIZE, "patch_size": 16}, text_config=words
    )
    write_vision(folder, transformers.SiglipModel(config), exact_processor("Siglip"))
    tokenizer.save_pretrained(folder)
    return folder


def features_of(folder: Path, texts: list[str], **padding: Any) -> Any:
    """transformers' own text vectors, L2-normalised."""
    network = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with torch.inference_mode():
        inputs = tokenizer(texts, truncation=True, return_tensors="pt", **padding)
        inputs.pop("token_type_ids", None)
        vectors = network.get_text_features(**inputs).pooler_output
    return torch.nn.functional.normalize(vectors.float(), dim=1).numpy()
