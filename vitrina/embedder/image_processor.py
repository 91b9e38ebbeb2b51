"""Preprocessing of transformers' image models, from `preprocessor_config.json`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from PIL.Image import Image, Resampling
from torchvision.transforms import Compose, Normalize, ToTensor

from vitrina.embedder.model_folder import MOST_EDGE, MOST_JSON_BYTES
from vitrina.embedder.weight_files import WAY_OUT, check_file
from vitrina.errors import EncoderError
from vitrina.options import listed
from vitrina.typed_json import convert_json, read_json

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
NESTED = "image_processor"
"""Key of `processor_config.json`, where transformers 5 writes the image processor of a model with
two towers."""

Side = Annotated[int, msgspec.Meta(ge=1, le=2 * MOST_EDGE)]
Crop = Annotated[int, msgspec.Meta(ge=1, le=MOST_EDGE)]
Numbers = Annotated[list[float], msgspec.Meta(min_length=1, max_length=3)]


@dataclass(frozen=True)
class _Box:
    """A size with names, as newer files have it."""

    height: Side | None = None
    width: Side | None = None
    shortest_edge: Side | None = None
    longest_edge: Side | None = None
    max_height: Side | None = None
    max_width: Side | None = None


@dataclass(frozen=True)
class _Settings:
    """The fields of an image processor that determine its output; None: the class's default."""

    image_processor_type: str | None = None
    feature_extractor_type: str | None = None
    do_resize: bool | None = None
    size: Side | list[Side] | _Box | None = None
    resample: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    do_center_crop: bool | None = None
    crop_size: Crop | list[Crop] | _Box | None = None
    crop_pct: float | None = None
    do_rescale: bool | None = None
    rescale_factor: Annotated[float, msgspec.Meta(ge=1e-6, le=10)] | None = None
    do_normalize: bool | None = None
    image_mean: Numbers | float | None = None
    image_std: Numbers | float | None = None
    do_pad: bool | None = None
    do_flip_channel_order: bool | None = None

    def __post_init__(self) -> None:
        for name, least, value in (
            ("image_mean", -1000.0, self.image_mean),
            ("image_std", 1e-4, self.image_std),
        ):
            numbers = value if isinstance(value, list) else [0.5 if value is None else value]
            if len(numbers) == 2 or not all(
                math.isfinite(one) and least <= one <= 1000 for one in numbers
            ):
                raise ValueError(f"{name} is not three numbers from {least} to 1000")


@dataclass(frozen=True)
class _Defaults:
    """Defaults of an image processor's class. square: a plain number is both edges of the size, not
    the shorter one. edge: of the size without one in the file, the shorter if `crop`."""

    resample: Resampling
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    square: bool
    crop: bool
    edge: int = 224


_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_CUBIC, _LINEAR = Resampling.BICUBIC, Resampling.BILINEAR

PROCESSORS = {
    "CLIP": _Defaults(_CUBIC, *_OPENAI, square=False, crop=True),
    "Siglip": _Defaults(_CUBIC, _HALF, _HALF, square=False, crop=False),
    "Bit": _Defaults(_CUBIC, *_OPENAI, square=False, crop=True),
    "ViT": _Defaults(_LINEAR, _HALF, _HALF, square=True, crop=False),
    "DINOv3ViT": _Defaults(_LINEAR, *_IMAGENET, square=True, crop=False),
}
"""Image processors by the start of their class's name."""

_ENDINGS = ("ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor")


@dataclass(frozen=True)
class Resize:
    """Resizes a picture: to an exact height and width, or its shorter edge to `shortest`."""

    height: int | None
    width: int | None
    shortest: int | None
    resample: Resampling

    def __call__(self, image: Image) -> Image:
        """A picture to the size."""
        if self.height is not None and self.width is not None:
            return image.resize((self.width, self.height), self.resample)
        assert self.shortest is not None
        short, long = sorted(image.size)
        longer = int(self.shortest * long / short)
        portrait = image.width <= image.height
        size = (self.shortest, longer) if portrait else (longer, self.shortest)
        return image.resize(size, self.resample)


@dataclass(frozen=True)
class CenterCrop:
    """Crops the middle of a picture, as transformers does; a smaller one gets black borders."""

    height: int
    width: int

    def __call__(self, image: Image) -> Image:
        """A picture to its middle."""
        left, top = _start(image.width, self.width), _start(image.height, self.height)
        return image.crop((left, top, left + self.width, top + self.height))


def _start(have: int, want: int) -> int:
    return (have - want) // 2 if have >= want else -((want - have) // 2)


@dataclass(frozen=True)
class Preprocessing:
    """A transform from an RGB image to (3, height, width) float32.

    edge: the shortest edge, in pixels, to decode for. size: height and width of the result.
    source: the file's content, which a copy of the model needs.
    """

    transform: Callable[[Image], torch.Tensor]
    edge: int
    size: tuple[int, int]
    source: dict[str, Any]


def read_preprocessing(folder: Path, family: str) -> Preprocessing:
    """Read a model's preprocessing from its directory.

    family: start of the processor's class name, of `PROCESSORS`, if the file names none.
    Raises EncoderError for a missing or damaged file, and for steps that Vitrina doesn't follow.
    """
    path, raw = _read(folder)
    settings = convert_json(raw, _Settings, str(path), WAY_OUT, EncoderError)
    named = settings.image_processor_type or settings.feature_extractor_type
    defaults = _defaults(path, named, family)
    for name in ("do_pad", "do_flip_channel_order", "crop_pct"):
        if getattr(settings, name):
            raise EncoderError(f"{path} sets {name}, which Vitrina does not follow")
    if settings.do_resize is False:
        raise EncoderError(
            f"{path} leaves pictures in their own size, which no batch can hold; set do_resize"
        )
    resize = _resize(path, settings, defaults)
    steps: list[Any] = [resize]
    size = (resize.height, resize.width)
    if defaults.crop if settings.do_center_crop is None else settings.do_center_crop:
        crop = CenterCrop(*_crop(path, settings, defaults))
        steps.append(crop)
        size = (crop.height, crop.width)
    height, width = size
    if height is None or width is None:
        raise EncoderError(
            f"{path} scales the shortest edge without a crop, so pictures would differ in shape; "
            "give its size a height and a width"
        )
    if max(height, width) > MOST_EDGE:
        raise EncoderError(f"{path} makes pictures of {height}x{width} pixels, above {MOST_EDGE}")
    steps += [ToTensor(), Normalize(*_scaling(settings, defaults))]
    edge = resize.shortest or max(height, width)
    return Preprocessing(Compose(steps), edge, (height, width), raw)


def _read(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / PREPROCESSOR
    nested = not path.exists() and (folder / PROCESSOR).exists()
    path = folder / PROCESSOR if nested else path
    if not path.exists():
        raise EncoderError(
            f"{folder} has no {PREPROCESSOR}, which says how its pictures are prepared; copy it "
            "next to the weights"
        )
    check_file(path, MOST_JSON_BYTES)
    raw = read_json(path, WAY_OUT, EncoderError)
    if nested:
        raw = raw.get(NESTED) if isinstance(raw, dict) else None
    if not isinstance(raw, dict):
        what = f"object {NESTED!r}" if nested else "object"
        raise EncoderError(f"{path} holds no {what}; {WAY_OUT}")
    return path, raw


def _defaults(path: Path, named: str | None, family: str) -> _Defaults:
    if named is None:
        return PROCESSORS[family]
    for ending in _ENDINGS:
        start = named.removesuffix(ending)
        if start != named:
            break
    if start not in PROCESSORS:
        raise EncoderError(
            f"{path} is of type {named!r}, whose steps Vitrina does not know; it follows "
            f"{listed(f'{one}ImageProcessor' for one in PROCESSORS)}"
        )
    return PROCESSORS[start]


def _resize(path: Path, settings: _Settings, defaults: _Defaults) -> Resize:
    filter_ = defaults.resample if settings.resample is None else Resampling(settings.resample)
    size = defaults.edge if settings.size is None else settings.size
    if isinstance(size, int):
        # Without a size, only classes that crop scale the shorter edge.
        square = defaults.square or (settings.size is None and not defaults.crop)
        size = _Box(size, size) if square else _Box(shortest_edge=size)
    if isinstance(size, list):
        size = _Box(*size) if len(size) == 2 else _Box()
    others = (size.longest_edge, size.max_height, size.max_width)
    if any(one is not None for one in others) or (size.shortest_edge and size.height):
        raise EncoderError(
            f"{path} has a size that Vitrina does not follow; it follows shortest_edge, or height "
            "and width"
        )
    if size.shortest_edge is None and (size.height is None or size.width is None):
        raise EncoderError(f"{path} has a size without shortest_edge, or height and width")
    return Resize(size.height, size.width, size.shortest_edge, filter_)


def _crop(path: Path, settings: _Settings, defaults: _Defaults) -> tuple[int, int]:
    crop = defaults.edge if settings.crop_size is None else settings.crop_size
    if isinstance(crop, int):
        return crop, crop
    if isinstance(crop, list):
        crop = _Box(*crop) if len(crop) == 2 else _Box()
    if crop.height is None or crop.width is None:
        raise EncoderError(f"{path} has a crop_size without height and width")
    return crop.height, crop.width


def _scaling(settings: _Settings, defaults: _Defaults) -> tuple[list[float], list[float]]:
    """Mean and deviation for pixels from 0 to 1, whatever the file scales them to."""
    mean, deviation = [0.0] * 3, [1.0] * 3
    if settings.do_normalize is not False:
        mean = _three(settings.image_mean, defaults.mean)
        deviation = _three(settings.image_std, defaults.std)
    factor = settings.rescale_factor
    if settings.do_rescale is False:
        factor = 1.0
    if factor is None or abs(255 * factor - 1) < 1e-6:
        return mean, deviation
    return [one / (255 * factor) for one in mean], [one / (255 * factor) for one in deviation]


def _three(numbers: list[float] | float | None, otherwise: tuple[float, ...]) -> list[float]:
    if numbers is None:
        return list(otherwise)
    return numbers * (3 // len(numbers)) if isinstance(numbers, list) else [numbers] * 3
