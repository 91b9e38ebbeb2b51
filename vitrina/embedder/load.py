"""Loading of encoders, with a one-line error for every failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vitrina.embedder.base import ImageEncoder, Images, TextEncoder, Texts
from vitrina.embedder.model_ref import ModelKind, ModelRef, unknown_model
from vitrina.embedder.onnx_graph import DATA, FETCHED
from vitrina.embedder.text_settings import TextSettings
from vitrina.errors import EncoderError, HubUnreachableError, wrong_usage
from vitrina.optional import needed_for
from vitrina.types import Compute

if TYPE_CHECKING:
    from vitrina.embedder.image_models import ImageParts


MODELS_OWN = TextSettings()
"""Prompt and dimension as the model has them."""


def fit_lexical(texts: Texts, seed: int = 0) -> TextEncoder:
    """Fit the lexical encoder, which needs no download, on a catalogue's texts."""
    from vitrina.embedder.lexical import Lexical

    return Lexical.fit(texts, seed=seed)


def fit_thumbnail(images: Images) -> ImageEncoder:
    """Fit the thumbnail encoder, which needs no download, on a catalogue's images."""
    from vitrina.embedder.thumbnail import Thumbnail

    return Thumbnail.fit(images)


@needed_for("a text model")
def load_text(
    model: ModelRef,
    kept: Path | None = None,
    compute: Compute | None = None,
    settings: TextSettings = MODELS_OWN,
) -> TextEncoder:
    """Load a text encoder.

    kept: its folder in the store, for `lexical` and finetuned models. compute: the numeric format;
    None for the fastest on this machine that keeps its vectors. settings: prompt and dimension.
    Raises EncoderError, HubUnreachableError.
    """
    if kept is not None and (kept / "config.json").exists():
        found = TextFiles(kept, str(model), None)
    elif model.kind is ModelKind.LEXICAL:
        from vitrina.embedder.lexical import Lexical

        return Lexical.load(_state(model, kept))
    elif model.kind is ModelKind.OPEN_CLIP:
        return _load_published_text(model, compute)
    else:
        found = find_text(model)
    if (tower := _text_tower(found, compute)) is not None:
        return tower
    from vitrina.embedder.text_modules import read_modules

    modules = read_modules(found.folder)
    if modules.static:
        from vitrina.embedder.static_text import StaticText

        return StaticText(found.folder, modules, found.model, found.revision, compute, settings)
    from vitrina.embedder.text import HuggingFaceText

    return HuggingFaceText(found.folder, found.model, found.revision, compute, settings)


@needed_for("a text model")
def load_text_tower(model: ModelRef, revision: str | None = None) -> TextEncoder:
    """Load the text tower of an image model, whose vectors match those of photos.

    revision: of a repository, instead of the model's own.
    Raises EncoderError if the model has no text tower, HubUnreachableError.
    """
    if model.kind is ModelKind.OPEN_CLIP:
        return _load_published_text(model, None)
    if model.kind in (ModelKind.HUGGING_FACE, ModelKind.DIRECTORY):
        pinned = replace(model, revision=revision or model.revision)
        if (tower := _text_tower(find_text(pinned), None)) is not None:
            return tower
    raise EncoderError(f"{model} has no text tower")


def may_have_text_tower(model: ModelRef) -> bool:
    """False for an image model that certainly has no text tower. Nothing is loaded or fetched, so
    a model of the hub may have one."""
    if model.kind is ModelKind.DIRECTORY:
        from vitrina.embedder.vision_folder import has_text_tower

        return has_text_tower(Path(model.place))
    return model.kind in (ModelKind.OPEN_CLIP, ModelKind.HUGGING_FACE)


def _text_tower(found: TextFiles, compute: Compute | None) -> TextEncoder | None:
    """The text tower of a CLIP or SigLIP model; None for files of any other model."""
    from vitrina.embedder.vision_folder import has_text_tower

    if not has_text_tower(found.folder):
        return None
    from vitrina.embedder.clip_text import ClipText
    from vitrina.embedder.clip_text_models import tower_in_folder

    tower = tower_in_folder(found.folder, found.model)
    return ClipText(tower, found.model, found.revision, compute)


def find_whole_text(model: ModelRef) -> TextFiles:
    """As `find_text`, for training or exporting. Raises EncoderError for a CLIP's text tower."""
    from vitrina.embedder.vision_folder import has_text_tower

    found = find_text(model)
    if has_text_tower(found.folder):
        raise _no_tower(found.model)
    return found


def _no_tower(model: str) -> EncoderError:
    return EncoderError(
        f"{model}: the text tower of a CLIP embeds texts, but can't be trained or exported; give "
        "hf:REPO or a directory of a text model"
    )


def _load_published_text(model: ModelRef, compute: Compute | None) -> TextEncoder:
    """The text tower of an open_clip model, from the cache or the hub."""
    from vitrina.embedder.clip_text import ClipText
    from vitrina.embedder.clip_text_models import tower_of_published
    from vitrina.embedder.image_models import check_activation

    arch, _, tag = model.place.partition("/")
    check_activation(arch, tag)
    tower = _reaching_hub(model.card_text, lambda: tower_of_published(arch, tag))
    return ClipText(tower, model.card_text, None, compute)


@dataclass(frozen=True)
class TextFiles:
    """Files of a text model. model: its name in the encoder's card. settings: prompt and
    dimension."""

    folder: Path
    model: str
    revision: str | None
    settings: TextSettings = MODELS_OWN


@needed_for("a text model")
def find_text(model: ModelRef) -> TextFiles:
    """Find the files of a Hugging Face text model: in a directory, the cache or on the hub.

    Raises EncoderError, HubUnreachableError.
    """
    match model.kind:
        case ModelKind.HUGGING_FACE:
            patterns = ("*.json", "*.txt", "*.model", "*.safetensors")
            folder, revision = _snapshot(model.place, model.revision, patterns)
            if not any(folder.rglob("*.safetensors")):
                # The same revision, which is there already: only the graph is fetched.
                _snapshot(model.place, revision, (*FETCHED, DATA))
            return TextFiles(folder, model.card_text, revision)
        case ModelKind.DIRECTORY:
            from vitrina.embedder.vision_folder import has_text_tower

            folder = Path(model.place)
            lists = any((folder / name).exists() for name in ("config.json", "modules.json"))
            if not lists and not has_text_tower(folder):
                raise EncoderError(f"{model.place} has no config.json: not a Hugging Face model")
            return TextFiles(folder, model.card_text, None)
        case ModelKind.LEXICAL:
            raise EncoderError(
                "lexical is fitted, not trained; give hf:REPO or a directory of a text model"
            )
        case ModelKind.OPEN_CLIP:
            raise _no_tower(str(model))
        case ModelKind.TIMM:
            raise wrong_usage(EncoderError(f"{model} is a model for images; it can't serve text"))
    raise unknown_model(model.text, model.modality)


@needed_for("an image model")
def load_image(
    model: ModelRef, kept: Path | None = None, compute: Compute | None = None
) -> ImageEncoder:
    """Load an image encoder.

    kept: its folder in the store, for `thumbnail` and finetuned models. compute: the numeric
    format; None for the fastest on this machine that keeps its vectors.
    Raises EncoderError, HubUnreachableError.
    """
    if kept is not None and _is_image_model(kept):
        found = ImageFiles(_image_folder(kept, str(model)), str(model), None)
    elif model.kind is ModelKind.THUMBNAIL:
        from vitrina.embedder.thumbnail import Thumbnail

        return Thumbnail.load(_state(model, kept))
    else:
        found = find_image(model)
    return found.encoder(compute)


@dataclass(frozen=True)
class ImageFiles:
    """Parts of an image model. model: its name in the encoder's card."""

    parts: ImageParts
    model: str
    revision: str | None

    def encoder(self, compute: Compute | None = None) -> ImageEncoder:
        """Create the encoder."""
        from vitrina.embedder.image import TorchImage

        return TorchImage(
            self.parts.network,
            self.parts.transform,
            self.parts.edge,
            model=self.model,
            revision=self.revision,
            settings=self.parts.settings,
            compute=compute,
        )


@needed_for("an image model")
def find_image(
    model: ModelRef,
    kept: Path | None = None,
    *,
    size: int | None = None,
    from_scratch: bool = False,
) -> ImageFiles:
    """Find an image model of open_clip, timm or transformers: in a directory, cached or on the hub.

    kept: its folder in the store, if it was finetuned. size: input pixels; None for the default.
    from_scratch: use random weights, which need no hub.

    Raises EncoderError, HubUnreachableError.
    """
    name = model.card_text
    if kept is not None:
        return ImageFiles(_image_folder(kept, name, size, from_scratch), name, None)
    if model.kind is ModelKind.THUMBNAIL:
        raise EncoderError(
            "thumbnail is fitted, not trained; give open_clip:ARCH/TAG, timm:NAME or a directory "
            "of an image model"
        )
    from vitrina.embedder import image_models

    match model.kind:
        case ModelKind.OPEN_CLIP:
            arch, _, tag = model.place.partition("/")
            if from_scratch:
                return ImageFiles(image_models.clip_parts(arch, None, size), name, None)
            image_models.check_activation(arch, tag)
            return ImageFiles(
                _reaching_hub(name, lambda: image_models.clip_parts(arch, tag, size)), name, None
            )
        case ModelKind.TIMM:
            if from_scratch:
                return ImageFiles(image_models.timm_random(model.place, size), name, None)
            repository = image_models.timm_repository(model.place)
            patterns = ("config.json", "model.safetensors")
            folder, revision = _snapshot(repository, model.revision, patterns)
            return ImageFiles(image_models.timm_parts(folder, name, size), name, revision)
        case ModelKind.HUGGING_FACE:
            patterns = ("*.json", "*.safetensors")
            folder, revision = _snapshot(model.place, model.revision, patterns)
            return ImageFiles(_image_folder(folder, name, size, from_scratch), name, revision)
        case ModelKind.DIRECTORY:
            parts = _image_folder(Path(model.place), name, size, from_scratch)
            return ImageFiles(parts, name, None)
    raise unknown_model(model.text, model.modality)


def _is_image_model(folder: Path) -> bool:
    return (folder / "open_clip_config.json").exists() or (folder / "config.json").exists()


def _image_folder(
    folder: Path, name: str, size: int | None = None, from_scratch: bool = False
) -> ImageParts:
    from vitrina.embedder import image_models, vision_folder

    if (folder / "open_clip_config.json").exists():
        return image_models.clip_folder_parts(folder, name, size, from_scratch=from_scratch)
    if vision_folder.model_type(folder) is not None:
        from vitrina.embedder import vision_models

        return vision_models.transformers_parts(folder, name, size, from_scratch=from_scratch)
    if (folder / "config.json").exists():
        return image_models.timm_parts(folder, name, size, from_scratch=from_scratch)
    raise EncoderError(
        f"{folder} has neither open_clip_config.json nor a config.json of transformers or timm: "
        "not an image model"
    )


def _state(model: ModelRef, kept: Path | None) -> Path:
    if kept is None:
        raise EncoderError(f"{model} is fitted on a catalogue first; run `vitrina embed`")
    return kept


def _snapshot(repository: str, revision: str | None, patterns: tuple[str, ...]) -> tuple[Path, str]:
    """Get a repository's files from the cache or the hub: their folder and the revision."""
    from huggingface_hub import snapshot_download

    folder = _reaching_hub(
        repository,
        lambda: Path(
            snapshot_download(repository, revision=revision, allow_patterns=list(patterns))
        ),
    )
    return folder, folder.name


Loaded = TypeVar("Loaded")


def _reaching_hub(name: str, load: Callable[[], Loaded]) -> Loaded:
    """Run a loader that may need the hub; open_clip wraps network failures in RuntimeError."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return load()
    except (RepositoryNotFoundError, RevisionNotFoundError) as err:
        raise EncoderError(f"{name} is not on the hub: {_first_line(err)}") from err
    except (OSError, RuntimeError, ValueError) as err:
        raise HubUnreachableError(
            f"{name} is not in the cache and the hub can't be reached ({_first_line(err)}); "
            "give a local directory, fill the cache on a machine that reaches it (HF_HOME), "
            "or use lexical for text and thumbnail for images"
        ) from err


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:200]
