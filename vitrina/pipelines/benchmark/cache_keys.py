"""What a method's answers depend on: with all of it as it was, they need not be made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from vitrina.errors import StoreError
from vitrina.pipelines.benchmark.dataset import BenchmarkData
from vitrina.pipelines.benchmark.options import BenchmarkOptions
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
"""The options of `BenchmarkOptions` that an encoder's fine-tuning goes by."""


def key_of(name: str, ground: BenchmarkData, options: BenchmarkOptions) -> str:
    """The key of a method that learns by itself. name: as `--rows` calls it."""
    told: dict[str, Any] = {"name": name, "ground": ground.digest, "seed": options.seed}
    looks_at = name.removeprefix("vote-").removesuffix("-tuned")
    for modality in Modality:
        if looks_at == "efficientnet" and modality is Modality.IMAGE:
            told["image"] = [options.image_size, options.image_epochs]
        elif looks_at in (modality, "fused"):
            if name.endswith("-tuned"):
                told[modality] = [getattr(options, option) for option in TUNING[modality]]
            # What is frozen; it is also the base of what is tuned, unless another is named.
            told[f"{modality}-vectors"] = _vectors(modality, ground, options)
    return _digest(told)


def key_of_pool(name: str, keys: Iterable[str]) -> str:
    """The key of a blend. keys: of all methods that it may listen to."""
    return _digest({"name": name, "keys": sorted(keys)})


def _vectors(modality: Modality, ground: BenchmarkData, options: BenchmarkOptions) -> str:
    wanted = str(getattr(options, modality.value))
    try:
        return f"{wanted} {ground.store.space(modality).entry.fingerprint}"
    except StoreError:
        return wanted


def _digest(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode()).hexdigest()[:16]
