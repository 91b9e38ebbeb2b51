"""Loading of encoders by model name, with a one-line error for every failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vitrina.embedder.base import ImageEncoder, Images, TextEncoder, Texts
from vitrina.errors import EncoderError, HubUnreachableError
from vitrina.types import Compute, Modality

if TYPE_CHECKING:
    from vitrina.embedder.image_models import ImageParts

NONE = "none"
ALIASES = {
    "rubert-tiny2": "hf:cointegrated/rubert-tiny2",
    "cointegrated/rubert-tiny2": "hf:cointegrated/rubert-tiny2",
    "clip": "open_clip:ViT-B-32-quickgelu/openai",
    "ViT-B-32": "open_clip:ViT-B-32-quickgelu/openai",
    "efficientnet_b1": "timm:efficientnet_b1",
}


class ModelNameForm(StrEnum):
    """Forms of a model name."""

    HUGGING_FACE = "hf"
    OPEN_CLIP = "open_clip"
    TIMM = "timm"
    DIRECTORY = "directory"
    LEXICAL = "lexical"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True)
class ModelName:
    """A parsed model name. `place` is a repository, ARCH/TAG, a timm name or a directory."""

    form: ModelNameForm
    place: str
    revision: str | None = None

    @classmethod
    def parse(cls, name: str, modality: Modality) -> ModelName:
        """Parse a user's model name.

        Raises EncoderError if it has no known form, or is a model of the other modality.
        """
        name = ALIASES.get(name, name)
        if name in (ModelNameForm.LEXICAL, ModelNameForm.THUMBNAIL):
            fits = Modality.TEXT if name == ModelNameForm.LEXICAL else Modality.IMAGE
            if fits is not modality:
                raise EncoderError(f"{name} is a model for {fits}; it can't serve {modality}")
            return cls(ModelNameForm(name), name)
        head, _, rest = name.partition(":")
        if (
            head in (ModelNameForm.HUGGING_FACE, ModelNameForm.OPEN_CLIP, ModelNameForm.TIMM)
            and rest
        ):
            place, _, revision = rest.partition("@")
            return cls(ModelNameForm(head), place, revision or None)
        folder = Path(name).expanduser()
        if name and folder.is_dir():
            return cls(ModelNameForm.DIRECTORY, str(folder.absolute()))
        raise EncoderError(
            f"{name!r} names no {modality} model; give hf:REPO, open_clip:ARCH/TAG, timm:NAME, "
            f"a directory that exists, or "
            f"{'lexical' if modality is Modality.TEXT else 'thumbnail'}"
        )


def fit_lexical(texts: Texts, seed: int = 0) -> TextEncoder:
    """Fit the lexical encoder, which needs no download, on a catalogue's texts."""
    from vitrina.embedder.lexical import Lexical

    return Lexical.fit(texts, seed=seed)


def fit_thumbnail(images: Images) -> ImageEncoder:
    """Fit the thumbnail encoder, which needs no download, on a catalogue's images."""
    from vitrina.embedder.thumbnail import Thumbnail

    return Thumbnail.fit(images)


def load_text(name: str, kept: Path | None = None, compute: Compute | None = None) -> TextEncoder:
    """Load a text encoder.

    name: see the model names in DESIGN.md. kept: its folder in the store, for `lexical` and
    finetuned models. compute: the numeric format; None for the fastest on this machine that keeps
    its vectors.
    Raises EncoderError, HubUnreachableError.
    """
    if kept is None or not (kept / "config.json").exists():
        parsed = ModelName.parse(name, Modality.TEXT)
        if parsed.form is ModelNameForm.LEXICAL:
            from vitrina.embedder.lexical import Lexical

            return Lexical.load(_state(name, kept))
        found = find_text(name)
    else:
        found = TextFiles(kept, name, None)
    from vitrina.embedder.text import HuggingFaceText

    return HuggingFaceText(found.folder, found.model, found.revision, compute)


@dataclass(frozen=True)
class TextFiles:
    """Files of a text model. model: the name by which `load_text` finds them."""

    folder: Path
    model: str
    revision: str | None


def find_text(name: str) -> TextFiles:
    """Find the files of a Hugging Face text model: in a directory, the cache or on the hub.

    Raises EncoderError, HubUnreachableError.
    """
    parsed = ModelName.parse(name, Modality.TEXT)
    if parsed.form is ModelNameForm.HUGGING_FACE:
        folder, revision = _snapshot(parsed, ("*.json", "*.txt", "*.model", "*.safetensors"))
        return TextFiles(folder, name, revision)
    if parsed.form is ModelNameForm.DIRECTORY:
        if not (Path(parsed.place) / "config.json").exists():
            raise EncoderError(f"{parsed.place} has no config.json: not a Hugging Face model")
        return TextFiles(Path(parsed.place), parsed.place, None)
    if parsed.form is ModelNameForm.LEXICAL:
        raise EncoderError(
            "lexical is fitted, not trained; give hf:REPO or a directory of a text model"
        )
    raise EncoderError(f"{name} is a model for images; it can't serve text")


def load_image(name: str, kept: Path | None = None, compute: Compute | None = None) -> ImageEncoder:
    """Load an image encoder.

    name: see the model names in DESIGN.md. kept: its folder in the store, for `thumbnail` and
    finetuned models. compute: the numeric format; None for the fastest on this machine that keeps
    its vectors.
    Raises EncoderError, HubUnreachableError.
    """
    if kept is None or not _is_image_model(kept):
        parsed = ModelName.parse(name, Modality.IMAGE)
        if parsed.form is ModelNameForm.THUMBNAIL:
            from vitrina.embedder.thumbnail import Thumbnail

            return Thumbnail.load(_state(name, kept))
        found = find_image(name)
    else:
        found = ImageFiles(_image_folder(kept, name), name, None)
    return found.encoder(compute)


@dataclass(frozen=True)
class ImageFiles:
    """Parts of an image model. model: the name by which `load_image` finds them."""

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


def find_image(
    name: str,
    kept: Path | None = None,
    *,
    size: int | None = None,
    from_scratch: bool = False,
) -> ImageFiles:
    """Find an image model of open_clip or timm: in a directory, the cache or on the hub.

    kept: its folder in the store, if it was finetuned. size: input pixels; None for the default.
    from_scratch: use random weights, which need no hub.

    Raises EncoderError, HubUnreachableError.
    """
    if kept is not None:
        return ImageFiles(_image_folder(kept, name, size, from_scratch), name, None)
    parsed = ModelName.parse(name, Modality.IMAGE)
    if parsed.form is ModelNameForm.THUMBNAIL:
        raise EncoderError(
            "thumbnail is fitted, not trained; give open_clip:ARCH/TAG, timm:NAME or a directory "
            "of an image model"
        )
    from vitrina.embedder import image_models

    if parsed.form is ModelNameForm.OPEN_CLIP:
        arch, _, tag = parsed.place.partition("/")
        if from_scratch:
            return ImageFiles(image_models.clip_parts(arch, None, size), name, None)
        image_models.check_activation(arch, tag)
        return ImageFiles(
            _reaching_hub(name, lambda: image_models.clip_parts(arch, tag, size)), name, None
        )
    if parsed.form is ModelNameForm.TIMM:
        if from_scratch:
            return ImageFiles(image_models.timm_random(parsed.place, size), name, None)
        repository = image_models.timm_repository(parsed.place)
        hub = ModelName(ModelNameForm.HUGGING_FACE, repository, parsed.revision)
        folder, revision = _snapshot(hub, ("config.json", "model.safetensors"))
        return ImageFiles(image_models.timm_parts(folder, name, size), name, revision)
    folder, found = Path(parsed.place), None
    if parsed.form is ModelNameForm.HUGGING_FACE:
        folder, found = _snapshot(parsed, ("*.json", "*.safetensors"))
    else:
        name = parsed.place
    return ImageFiles(_image_folder(folder, name, size, from_scratch), name, found)


def _is_image_model(folder: Path) -> bool:
    return (folder / "open_clip_config.json").exists() or (folder / "config.json").exists()


def _image_folder(
    folder: Path, name: str, size: int | None = None, from_scratch: bool = False
) -> ImageParts:
    from vitrina.embedder import image_models

    if (folder / "open_clip_config.json").exists():
        return image_models.clip_folder_parts(folder, name, size, from_scratch=from_scratch)
    if (folder / "config.json").exists():
        return image_models.timm_parts(folder, name, size, from_scratch=from_scratch)
    raise EncoderError(
        f"{folder} has neither open_clip_config.json nor a timm config.json: not an image model"
    )


def _state(name: str, kept: Path | None) -> Path:
    if kept is None:
        raise EncoderError(f"{name} is fitted on a catalogue first; run `vitrina embed`")
    return kept


def _snapshot(name: ModelName, patterns: tuple[str, ...]) -> tuple[Path, str]:
    """Get a repository's files from the cache or the hub: their folder and the revision."""
    from huggingface_hub import snapshot_download

    folder = _reaching_hub(
        name.place,
        lambda: Path(
            snapshot_download(name.place, revision=name.revision, allow_patterns=list(patterns))
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
