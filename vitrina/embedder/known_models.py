"""Registry of known models: short names, sizes, licences, prompts and published figures.

A record says what a model's own page or a public benchmark says; Vitrina measured none of it. The
names are stable, since stores remember them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vitrina.types import Modality

_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_HUB = re.compile(r"(hf:[\w.-]+/[\w.-]+|open_clip:[\w.-]+/[\w.-]+|timm:[\w.-]+)")


class SpeedClass(StrEnum):
    """Cost of one item on a CPU.

    STATIC looks up a vector for each token. FAST, MEDIUM and SLOW are up to 25 million, up to 100
    million and more weights outside the word embedding for texts; up to 1, up to 6 and more
    thousand million multiply-adds for photos.
    """

    STATIC = "static"
    FAST = "fast"
    MEDIUM = "medium"
    SLOW = "slow"


@dataclass(frozen=True)
class PublishedFigure:
    """A figure of a public benchmark, in percent. source: the page that publishes it."""

    benchmark: str
    value: float
    source: str

    def __post_init__(self) -> None:
        if not self.benchmark or not 0 < self.value < 100:
            raise ValueError(f"{self.value!r} is no percentage of {self.benchmark!r}")
        if not self.source.startswith("https://"):
            raise ValueError(f"{self.source!r} is no address of a page")

    def __str__(self) -> str:
        return f"{self.benchmark} {self.value:.1f}"


@dataclass(frozen=True)
class KnownModel:
    """A model that `vitrina models` lists, and its short name stands for.

    Attributes:
        name: its short name for `--text-model` and `--image-model`.
        hub: the name that the short one stands for.
        megabytes: size of its weights in float32, both towers of a CLIP model included.
        dim: numbers of a vector.
        licence: of the weights, as their page states it.
        use: what to take it for.
        prompt: text that its makers put before each product's text; "" for none.
        figure: of a public benchmark; None if there is none that could be checked.
    """

    name: str
    modality: Modality
    hub: str
    megabytes: int
    dim: int
    licence: str
    speed: SpeedClass
    use: str
    prompt: str = ""
    figure: PublishedFigure | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no short name: lower case, digits, - and .")
        if not _HUB.fullmatch(self.hub):
            raise ValueError(f"{self.name}: {self.hub!r} names no model of a hub")
        if not 1 <= self.megabytes <= 100_000 or not 1 <= self.dim <= 65_536:
            raise ValueError(f"{self.name}: {self.megabytes} MB, {self.dim} numbers")
        if not self.licence or not self.use:
            raise ValueError(f"{self.name} has no licence or no use")
        if self.prompt and (self.modality is not Modality.TEXT or self.prompt[0].isspace()):
            raise ValueError(f"{self.name}: {self.prompt!r} is no prompt for texts")

    def to_json(self) -> dict[str, Any]:
        """The record as plain values; the figure in three of them, None without one."""
        figure = self.figure
        return {
            "name": self.name,
            "modality": self.modality.value,
            "hub": self.hub,
            "megabytes": self.megabytes,
            "dim": self.dim,
            "licence": self.licence,
            "speed": self.speed.value,
            "use": self.use,
            "prompt": self.prompt,
            "benchmark": figure and figure.benchmark,
            "value": figure and figure.value,
            "source": figure and figure.source,
        }


_CLASSIFICATION = "ruMTEB classification"
_ZERO_SHOT = "ImageNet zero-shot"
_TURBO = "https://huggingface.co/sergeyzh/rubert-tiny-turbo"
_ENCODECHKA = "https://github.com/avidale/encodechka"
_OPEN_CLIP = "https://github.com/mlfoundations/open_clip/blob/main/docs/openclip_results.csv"
_SPACES = "https://huggingface.co/spaces"
_TEXT, _IMAGE = Modality.TEXT, Modality.IMAGE

KNOWN_MODELS = (
    KnownModel(
        "rubert-tiny2",
        _TEXT,
        "hf:cointegrated/rubert-tiny2",
        megabytes=112,
        dim=312,
        licence="MIT",
        speed=SpeedClass.FAST,
        use="Russian and English, the fastest transformer; the default",
        figure=PublishedFigure(_CLASSIFICATION, 51.4, _TURBO),
    ),
    KnownModel(
        "e5-small",
        _TEXT,
        "hf:intfloat/multilingual-e5-small",
        megabytes=449,
        dim=384,
        licence="MIT",
        speed=SpeedClass.FAST,
        use="100 languages, good for its cost; the first to try",
        prompt="query: ",
        figure=PublishedFigure(_CLASSIFICATION, 55.1, _TURBO),
    ),
    KnownModel(
        "e5-base",
        _TEXT,
        "hf:intfloat/multilingual-e5-base",
        megabytes=1061,
        dim=768,
        licence="MIT",
        speed=SpeedClass.MEDIUM,
        use="100 languages, where e5-small is not enough",
        prompt="query: ",
        figure=PublishedFigure(_CLASSIFICATION, 56.1, _TURBO),
    ),
    KnownModel(
        "minilm-multilingual",
        _TEXT,
        "hf:sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        megabytes=449,
        dim=384,
        licence="Apache-2.0",
        speed=SpeedClass.FAST,
        use="50 languages, paraphrases of short texts; needs no prompt",
        figure=PublishedFigure("encodechka", 73.4, _ENCODECHKA),
    ),
    KnownModel(
        "labse-ru",
        _TEXT,
        "hf:cointegrated/LaBSE-en-ru",
        megabytes=492,
        dim=768,
        licence="not stated",
        speed=SpeedClass.MEDIUM,
        use="the same product in Russian and in English",
        figure=PublishedFigure("encodechka", 73.9, _ENCODECHKA),
    ),
    KnownModel(
        "user-bge-m3",
        _TEXT,
        "hf:deepvk/USER-bge-m3",
        megabytes=1370,
        dim=1024,
        licence="Apache-2.0",
        speed=SpeedClass.SLOW,
        use="Russian, long descriptions; a GPU or patience",
        figure=PublishedFigure(
            _CLASSIFICATION,
            59.4,
            f"{_SPACES}/Thun09/leaderboard_demo/raw/f1b428dedb95754efdde4963ac8cdcf6d245eed7/"
            "all_data_tasks/31/default.jsonl",
        ),
    ),
    KnownModel(
        "bge-m3",
        _TEXT,
        "hf:BAAI/bge-m3",
        megabytes=2167,
        dim=1024,
        licence="MIT",
        speed=SpeedClass.SLOW,
        use="100 languages, long descriptions; a GPU or patience",
        figure=PublishedFigure(
            _CLASSIFICATION,
            57.4,
            f"{_SPACES}/reader-1/1/blob/9fa47979fcfbf2b7c9668acfaf2f4acd455e8ed5/overall.csv",
        ),
    ),
    KnownModel(
        "frida",
        _TEXT,
        "hf:ai-forever/FRIDA",
        megabytes=3141,
        dim=1536,
        licence="MIT",
        speed=SpeedClass.SLOW,
        use="Russian, among the best of ruMTEB; a GPU",
        prompt="categorize_topic: ",
        figure=PublishedFigure(
            "ruMTEB retrieval",
            77.0,
            f"{_SPACES}/mteb/leaderboard/blame/f75033ed25185154a44fdcad81bac03cebd19ccb/"
            "all_data_tasks/40/default.jsonl",
        ),
    ),
    KnownModel(
        "qwen3-0.6b",
        _TEXT,
        "hf:Qwen/Qwen3-Embedding-0.6B",
        megabytes=2273,
        dim=1024,
        licence="Apache-2.0",
        speed=SpeedClass.SLOW,
        use="100 languages, vectors that may be cut; a GPU",
        figure=PublishedFigure(
            "MTEB multilingual", 64.3, "https://huggingface.co/Qwen/Qwen3-Embedding-0.6B"
        ),
    ),
    KnownModel(
        "potion-multilingual",
        _TEXT,
        "hf:minishlab/potion-multilingual-128M",
        megabytes=489,
        dim=256,
        licence="MIT",
        speed=SpeedClass.STATIC,
        use="100 languages, tens of millions of products on CPUs",
    ),
    KnownModel(
        "clip-b32",
        _IMAGE,
        "open_clip:ViT-B-32-quickgelu/openai",
        megabytes=577,
        dim=512,
        licence="MIT",
        speed=SpeedClass.MEDIUM,
        use="photos of any kind; the default",
        figure=PublishedFigure(_ZERO_SHOT, 63.3, _OPEN_CLIP),
    ),
    KnownModel(
        "clip-b32-laion",
        _IMAGE,
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
        megabytes=577,
        dim=512,
        licence="MIT",
        speed=SpeedClass.MEDIUM,
        use="the same at the same cost, trained on 2 thousand million photos",
        figure=PublishedFigure(_ZERO_SHOT, 66.6, _OPEN_CLIP),
    ),
    KnownModel(
        "clip-b32-multilingual",
        _IMAGE,
        "open_clip:xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k",
        megabytes=1400,
        dim=512,
        licence="MIT",
        speed=SpeedClass.MEDIUM,
        use="photos that Russian texts are to find",
        figure=PublishedFigure(_ZERO_SHOT, 62.4, _OPEN_CLIP),
    ),
    KnownModel(
        "siglip2-b16",
        _IMAGE,
        "open_clip:ViT-B-16-SigLIP2/webli",
        megabytes=1431,
        dim=768,
        licence="Apache-2.0",
        speed=SpeedClass.SLOW,
        use="the best photos for four times the cost of clip-b32; 100 languages",
        figure=PublishedFigure(
            _ZERO_SHOT,
            78.2,
            "https://github.com/google-research/big_vision/blob/main/big_vision/configs/proj/"
            "image_text/README_siglip2.md",
        ),
    ),
    KnownModel(
        "dinov2-small",
        _IMAGE,
        "hf:facebook/dinov2-small",
        megabytes=84,
        dim=384,
        licence="Apache-2.0",
        speed=SpeedClass.MEDIUM,
        use="photos of the same product, by their looks alone",
        figure=PublishedFigure("ImageNet k-NN", 79.0, "https://github.com/facebookresearch/dinov2"),
    ),
    KnownModel(
        "efficientnet-lite0",
        _IMAGE,
        "timm:efficientnet_lite0",
        megabytes=18,
        dim=1280,
        licence="Apache-2.0",
        speed=SpeedClass.FAST,
        use="photos at a tenth of the cost of clip-b32",
    ),
    KnownModel(
        "efficientnet-b1",
        _IMAGE,
        "timm:efficientnet_b1",
        megabytes=31,
        dim=1280,
        licence="Apache-2.0",
        speed=SpeedClass.FAST,
        use="a small network to fine-tune on photos",
    ),
)
"""The known models, texts first, in the order in which they are shown."""

BY_NAME = {model.name: model for model in KNOWN_MODELS}
BY_HUB = {model.hub: model for model in KNOWN_MODELS}
if not len(BY_NAME) == len(BY_HUB) == len(KNOWN_MODELS):
    raise ValueError("two known models have one name")
