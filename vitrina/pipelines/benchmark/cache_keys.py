"""Cache keys of predictions: a digest of all inputs that a method's predictions depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from vitrina.errors import StoreError
from vitrina.pipelines.benchmark.dataset import BenchmarkData
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.pipelines.benchmark.zero_shot import ZERO_SHOT
from vitrina.types import Modality

TUNING = {
    Modality.TEXT: (
        "text",
        "from_scratch",
        "lower_case",
        "max_length",
        "pooling",
        "unlabelled",
        "reading",
        "text_epochs",
    ),
    Modality.IMAGE: ("image", "image_size", "image_epochs"),
}
"""Fields of `BenchmarkOptions` that each encoder's fine-tuning depends on."""

HEADS = {"text", "image", "fused", "fused-tuned"}
"""Methods that train a head over vectors."""
HEAD_RECIPE = 2
"""Goes up when a head of the same vectors and options is trained differently."""

VOTE_RECIPE = 2
"""Goes up when neighbours of the same vectors vote differently."""


def key_of(name: str, ground: BenchmarkData, options: BenchmarkOptions) -> str:
    """Cache key of a method that is no pool. name: of the `--rows` option."""
    inputs: dict[str, Any] = {"name": name, "ground": ground.digest, "seed": options.seed}
    if name in HEADS:
        inputs["head"] = HEAD_RECIPE
    if name.startswith("vote-"):
        inputs["vote"] = VOTE_RECIPE
    looks_at = name.removeprefix("vote-").removesuffix("-tuned")
    if name == ZERO_SHOT:
        looks_at = Modality.IMAGE.value
    for modality in Modality:
        if looks_at == "efficientnet" and modality is Modality.IMAGE:
            inputs["image"] = [options.image_size, options.image_epochs]
        elif looks_at in (modality, "fused"):
            if name.endswith("-tuned"):
                inputs[modality] = [getattr(options, option) for option in TUNING[modality]]
            # The frozen encoder is also the base of the tuned one, unless another is named.
            inputs[f"{modality}-vectors"] = _vectors(modality, ground, options)
    return _digest(inputs)


def key_of_pool(name: str, keys: Iterable[str]) -> str:
    """Cache key of a pool. keys: of all methods that it may combine."""
    return _digest({"name": name, "keys": sorted(keys)})


def _vectors(modality: Modality, ground: BenchmarkData, options: BenchmarkOptions) -> str:
    wanted = str(getattr(options, modality.value))
    try:
        return f"{wanted} {ground.store.space(modality).entry.fingerprint}"
    except StoreError:
        return wanted


def _digest(inputs: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=repr).encode()).hexdigest()[
        :16
    ]
