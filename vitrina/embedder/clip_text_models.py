"""Loading of the text towers of CLIP and SigLIP: transformers' models and open_clip's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers as library

from vitrina.embedder.clip_text import TextTower
from vitrina.embedder.image_models import clip_weights
from vitrina.embedder.model_folder import CLIP_CONFIG, check_clip_folder
from vitrina.embedder.probes import PROBES
from vitrina.embedder.quiet import quiet_logging, quiet_transformers
from vitrina.embedder.text_parts import Tokens
from vitrina.embedder.tokenizer_check import check_token, check_tokenizer, token_ids
from vitrina.embedder.untrusted import check_finite, loading
from vitrina.embedder.vision_folder import (
    TextTowerKind,
    TowerFolder,
    check_modules,
    check_text_tower,
    transformers_folder,
)
from vitrina.embedder.vision_models import load_tower
from vitrina.errors import EncoderError

PROJECTION = "text_projection.weight"


def tower_in_folder(folder: Path, model: str) -> TextTower:
    """Load the text tower of a CLIP or SigLIP model from a directory.

    Raises EncoderError if the directory is unsafe, damaged, incomplete or has no text tower.
    """
    if (folder / CLIP_CONFIG).exists():
        return _open_clip_folder(folder, model)
    check_modules(folder)
    own = transformers_folder(folder)
    checked = check_text_tower(own, model)
    what = f"{model}: {own} does not load as the text tower of a {checked.kind} model"
    with loading(what, checked.budget), quiet_transformers():
        network = _TransformersText(*_tower(checked))
        check_finite(network, f"{model}: {own}")
        tokenizer: Any = library.AutoTokenizer.from_pretrained(
            own, local_files_only=True, trust_remote_code=False
        )
        if not tokenizer.is_fast:
            raise EncoderError(f"{model}: {own} has no fast tokenizer (tokenizer.json)")
        config = network.tower.config
        rows, places = int(config.vocab_size), int(config.max_position_embeddings)
        limit = min(places, int(tokenizer.model_max_length))
        if limit < 3:
            raise ValueError(f"it takes texts of {limit} tokens")
        check_tokenizer(tokenizer, rows, PROBES, f"{model}: {own}")
    # SigLIP was trained on texts filled up, and takes the last token's vector.
    whole = checked.kind in (TextTowerKind.SIGLIP, TextTowerKind.SIGLIP_TEXT)
    masked = not whole or "attention_mask" in tokenizer.model_input_names
    network.masked = masked
    settings = {
        "library": "transformers",
        "network": str(network),
        "heads": config.num_attention_heads,
        "end": getattr(config, "eos_token_id", None),
        "masked": masked,
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
    }
    pad = tokenizer.pad_token_id or 0
    tokenize = _tokenizing(tokenizer.backend_tokenizer, limit, pad, rows, f"{model}: {own}")
    return TextTower(network.eval(), tokenize, limit, pad, whole, settings)


def tower_of_published(arch: str, tag: str) -> TextTower:
    """Load the text tower of an open_clip model by architecture and published weights.

    The caller checks the activation. Raises open_clip's exceptions if a file is not in the cache
    and the hub can't be reached.
    """
    with quiet_logging():
        clip, _, _ = open_clip.create_model_and_transforms(arch, pretrained=tag, weights_only=True)
        return _of_open_clip(clip, open_clip.get_tokenizer(arch))


def _open_clip_folder(folder: Path, model: str) -> TextTower:
    weights = clip_weights(folder, model)
    budget = check_clip_folder(folder, weights)
    with loading(f"{model}: the text tower of {folder} does not load", budget), quiet_logging():
        clip, _, _ = open_clip.create_model_and_transforms(
            f"local-dir:{folder}", pretrained_image=False, pretrained_text=False
        )
        tower = _of_open_clip(clip, open_clip.get_tokenizer(f"local-dir:{folder}"))
        check_finite(tower.network, f"{model}: {folder}")
    return tower


def _of_open_clip(clip: Any, tokenizer: Any) -> TextTower:
    """The text tower of a loaded model. The image tower is dropped from it."""
    del clip.visual
    network = _OpenClipText(clip)
    rows = len(_word_table(clip))
    limit = int(tokenizer.context_length)

    def tokenize(texts: Sequence[str]) -> Tokens:
        lists: list[list[int]] = tokenizer(list(texts)).tolist()
        check_token(max(map(max, lists), default=0), rows, "open_clip's tokenizer")
        return lists

    own = getattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer", None)
    settings = {
        "library": "open_clip",
        "network": str(network),
        "heads": [module.num_heads for module in clip.modules() if hasattr(module, "num_heads")],
        "pool": [getattr(clip, "text_pool_type", None), getattr(clip, "text_eos_id", None)],
        "tokenizer": type(tokenizer).__name__ if own is None else own.to_str(),
        "cleaning": [
            getattr(getattr(tokenizer, "clean_fn", None), "__name__", None),
            getattr(tokenizer, "strip_sep_token", None),
            getattr(tokenizer, "tokenizer_mode", None),
        ],
    }
    return TextTower(network.eval(), tokenize, limit, 0, True, settings)


def _word_table(clip: Any) -> Any:
    tower = getattr(clip, "text", clip)
    if hasattr(tower, "token_embedding"):
        return tower.token_embedding.weight
    return tower.transformer.get_input_embeddings().weight


class _OpenClipText(torch.nn.Module):
    """open_clip's model as a function from token ids to vectors."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, ids: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
        """Ids (n, tokens) to vectors (n, dim), not normalised."""
        vectors: torch.Tensor = self.clip.encode_text(ids)
        return vectors


class _TransformersText(torch.nn.Module):
    """A text tower of transformers as a function from token ids and a mask to vectors.

    name: of the vectors in the tower's output. masked: whether the tower takes the mask.
    """

    masked = True

    def __init__(self, tower: Any, name: str) -> None:
        super().__init__()
        self.tower, self._name = tower, name

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask (n, tokens) to vectors (n, dim), not normalised."""
        output = self.tower(input_ids=ids, attention_mask=mask if self.masked else None)
        vectors: torch.Tensor = getattr(output, self._name)
        return vectors


def _tower(checked: TowerFolder[TextTowerKind]) -> tuple[Any, str]:
    """A directory's text tower, and the name of the vectors in its output."""
    whole: Any = library.AutoConfig.from_pretrained(
        checked.folder, local_files_only=True, trust_remote_code=False
    )
    both = checked.kind in (TextTowerKind.CLIP, TextTowerKind.SIGLIP)
    config = whole.text_config if both else whole
    # Any other value makes transformers look for code, locally or on the hub.
    if config._attn_implementation not in ("eager", "sdpa"):
        config._attn_implementation = None
    if checked.kind in (TextTowerKind.SIGLIP, TextTowerKind.SIGLIP_TEXT):
        return load_tower(checked, "SiglipTextModel", config), "pooler_output"
    if not checked.has(PROJECTION):
        raise ValueError("it has no projection, without which its vectors match no picture's")
    if both:
        # CLIPModel projects to its own size, whatever the tower's config says.
        config.projection_dim = whole.projection_dim
    return load_tower(checked, "CLIPTextModelWithProjection", config), "text_embeds"


def _tokenizing(
    core: Any, limit: int, pad: int, rows: int, what: str
) -> Callable[[Sequence[str]], Tokens]:
    core.no_padding()
    core.enable_truncation(limit)

    def tokenize(texts: Sequence[str]) -> Tokens:
        return [ids or [pad] for ids in token_ids(core, texts, rows, what)]

    return tokenize
