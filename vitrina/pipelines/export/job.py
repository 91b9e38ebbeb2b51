"""The export job: find a model by its name, write it, check its vectors, rename the directory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vitrina.atomic_files import making_folder
from vitrina.errors import EncoderError, StoreError
from vitrina.page.hub_card import Library
from vitrina.page.summary import Summarised, Summary
from vitrina.pipelines.export.encoders import write_encoder
from vitrina.pipelines.export.heads import write_head
from vitrina.pipelines.export.named import NamedEncoder, find_model
from vitrina.pipelines.finetune.encoder_files import README
from vitrina.store.store import OpenStore


@dataclass(frozen=True, repr=False)
class ExportReport(Summarised):
    """A model that was exported.

    Attributes:
        name: of the encoder, space or head in the store.
        directory: where it is.
        library: the library that opens it.
        dim: length of an encoder's vectors; None for a head.
        files: names of the files.
        bytes: size of them all.
    """

    store: str
    name: str
    directory: str
    library: Library
    dim: int | None
    files: tuple[str, ...]
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as `--json` prints it."""
        return {**asdict(self), "library": self.library.value, "files": list(self.files)}

    def summary(self) -> Summary:
        """Library, directory and size."""
        facts = [
            ("opened by", self.opening),
            ("files", ", ".join(self.files)),
            ("size", f"{self.bytes / 1e6:.1f} MB"),
        ]
        return Summary(f"{self.name} in {self.directory}", facts)

    @property
    def opening(self) -> str:
        """The line of Python that opens it, or what to do with a head."""
        if self.library is Library.SENTENCE_TRANSFORMERS:
            return f"SentenceTransformer({self.directory!r})"
        if self.library is Library.OPEN_CLIP:
            return f"open_clip.create_model_and_transforms({f'local-dir:{self.directory}'!r})"
        if self.library is Library.TIMM:
            return f"timm.create_model({f'local-dir:{self.directory}'!r}, pretrained=True)"
        return "a head's weights, categories and calibration, for Vitrina"


def export_model(store: OpenStore, name: str, directory: Path) -> ExportReport:
    """Write a model into a new directory, in the form of the library that opens it.

    Raises EncoderError for an encoder that no other library opens or whose vectors would differ,
    StoreError for an unknown name or a directory that is not empty.
    """
    folder = _checked_target(store, directory)
    model = find_model(store, name)
    with making_folder(folder) as temporary:
        if isinstance(model, NamedEncoder):
            library, dim = write_encoder(store, model, temporary)
        else:
            library, dim = write_head(store, model, temporary), None
        files = sorted(one for one in temporary.rglob("*") if one.is_file())
        for one in files:
            # transformers writes weights that nobody else may read.
            one.chmod((temporary / README).stat().st_mode)
        names = tuple(one.relative_to(temporary).as_posix() for one in files)
        size = sum(one.stat().st_size for one in files)
    return ExportReport(store.place, name, str(directory), library, dim, names, size)


def _checked_target(store: OpenStore, directory: Path) -> Path:
    """The absolute path to write to. Raises StoreError if it is taken or in the store."""
    folder = directory.expanduser().absolute().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise StoreError(f"{directory} {what}; give a new directory with --to")
    root = Path(store.place).absolute().resolve()
    if "://" not in store.place and (folder == root or root in folder.parents):
        raise StoreError(
            f"{directory} lies in the store, which holds only its own files; give a directory "
            "elsewhere with --to"
        )
    if not folder.name:
        raise EncoderError(f"{directory} is no place for a model; give a new directory with --to")
    return folder
