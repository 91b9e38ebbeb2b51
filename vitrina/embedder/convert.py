"""Conversion of pickled weights to safetensors, without running what a pickle may hold.

A pickle is a program. Before torch reads one, its instructions are listed, without running any, and
every name they import must be one that plain weights need. `torch.load(weights_only=True)` checks
the same again with its own rules.
"""

from __future__ import annotations

import pickletools
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save_file

from vitrina.embedder.text_modules import MODULES, check_inside, read_modules
from vitrina.embedder.weight_files import (
    INDEX,
    PICKLES,
    WAY_OUT,
    WEIGHTS,
    check_file,
    read_header,
)
from vitrina.errors import EncoderError, VitrinaError
from vitrina.store.damage import reason_of
from vitrina.typed_json import read_json_as

MOST_BYTES = 64 << 30
"""Maximum size of a file of pickled weights."""
MOST_PROGRAM = 256 << 20
"""Maximum bytes of a file's pickles, the numbers apart."""
MOST_JSON_BYTES = 16 << 20
MOST_COPIED_BYTES = 1 << 30
MOST_FILES = 10_000

CLIP_PICKLE, CLIP_WEIGHTS = "open_clip_pytorch_model.bin", "open_clip_model.safetensors"
KEPT = (".json", ".txt", ".model", ".md")
"""Ends of the names of files that belong to a model beside its weights."""

_ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter",
    "torch Size",
    "torch device",
    *(
        f"torch {name}Storage"
        for name in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Byte", "Char")
    ),
    "torch BoolStorage",
}
"""Names that a pickle of weights may import."""

_IMPORTS = ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")
_TIED_HEADS = ("cls.", "lm_head.")
"""Starts of names of heads over the word embedding, which no vector depends on."""


@dataclass(frozen=True)
class _Index:
    weight_map: dict[str, str]


@dataclass(frozen=True)
class ConvertedModel:
    """Result of `convert_model`.

    Attributes:
        directory: the model's directory, with safetensors.
        files: the files written, relative to it.
        tensors: number of tensors in them.
        bytes: their size.
    """

    directory: str
    files: tuple[str, ...]
    tensors: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "directory": self.directory,
            "files": list(self.files),
            "tensors": self.tensors,
            "bytes": self.bytes,
        }


def convert_model(folder: Path, out: Path | None = None) -> ConvertedModel:
    """Write a model's pickled weights as safetensors: beside them, or into a copy.

    folder: a directory of transformers, sentence-transformers, timm or open_clip. out: a new or
    empty directory for the model; None to write beside the pickles, which stay.

    Raises EncoderError if there are none, and for files that hold anything but weights.
    """
    if not folder.is_dir():
        raise EncoderError(f"{folder} is no directory; give that of a model")
    places = list(_places(folder))
    if not places:
        there = [name for name in (WEIGHTS, INDEX, CLIP_WEIGHTS) if (folder / name).exists()]
        raise EncoderError(
            f"{folder} has safetensors already ({there[0]}); nothing is to convert"
            if there
            else f"{folder} has no pickled weights ({PICKLES[0]} or {CLIP_PICKLE})"
        )
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EncoderError(f"{out} is not empty; give a new directory")
    target = folder if out is None else out
    written, tensors, size = [], 0, 0
    for place in places:
        found = dict(_read(folder, place))
        inner = target / place.relative_to(folder)
        inner.mkdir(parents=True, exist_ok=True)
        name = CLIP_WEIGHTS if _is_clip(place) else WEIGHTS
        _write(inner / name, found)
        written.append(str((inner / name).relative_to(target)))
        tensors += len(found)
        size += (inner / name).stat().st_size
    if out is not None:
        _copy(folder, out)
    return ConvertedModel(str(target), tuple(written), tensors, size)


def _places(folder: Path) -> Iterator[Path]:
    """Folders of the model that have pickled weights and no others."""
    inner = [folder]
    if (folder / MODULES).exists():
        modules = read_modules(folder)
        inner += [modules.place, *(folder / one.path for one in modules.after)]
    for place in dict.fromkeys(one.resolve() for one in inner):
        near = folder / place.relative_to(folder.resolve())
        pickled = any((near / name).exists() for name in PICKLES)
        whole = any((near / name).exists() for name in (WEIGHTS, INDEX))
        if (pickled and not whole) or _is_clip(near):
            yield near


def _is_clip(place: Path) -> bool:
    return (place / CLIP_PICKLE).exists() and not (place / CLIP_WEIGHTS).exists()


def _read(folder: Path, place: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a folder's pickles, contiguous, and none twice under a head's name."""
    if _is_clip(place):
        paths = [place / CLIP_PICKLE]
    elif (place / PICKLES[0]).exists():
        paths = [place / PICKLES[0]]
    else:
        index = place / PICKLES[1]
        check_inside(folder, index)
        check_file(index, MOST_JSON_BYTES)
        names = sorted(set(read_json_as(index, _Index, WAY_OUT, EncoderError).weight_map.values()))
        for name in names:
            if name != Path(name).name or not name.endswith(".bin"):
                raise EncoderError(f"{index} names a file that is not of its folder; {WAY_OUT}")
        paths = [place / name for name in names]
    for path in paths:
        check_inside(folder, path)
        yield from _tensors(path)


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    check_file(path, MOST_BYTES)
    try:
        _check_program(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except VitrinaError:
        raise
    except Exception as err:
        raise EncoderError(f"{path} can't be read as weights ({_line(err)}); {WAY_OUT}") from err
    named = _named(loaded, path)
    # A tensor may claim more numbers than the file has: all rows may be one.
    size, total = path.stat().st_size, 0
    seen: dict[tuple[Any, ...], str] = {}
    kept: dict[str, torch.Tensor] = {}
    for name, one in named.items():
        if one.layout is not torch.strided or one.is_meta or one.is_quantized:
            raise EncoderError(f"{path} has {_shown(name)} in a form that is no plain tensor")
        key = (one.data_ptr(), one.dtype, tuple(one.shape), one.stride())
        other = seen.setdefault(key, name) if one.numel() else name
        if other != name and any(each.startswith(_TIED_HEADS) for each in (name, other)):
            # One of both is the word embedding, which stays.
            if name.startswith(_TIED_HEADS):
                continue
            kept.pop(other)
            seen[key] = name
        else:
            total += one.numel() * one.element_size()
        if one.numel() * one.element_size() > size or total > 8 * size:
            raise EncoderError(f"{path} is smaller than the tensors that it names; {WAY_OUT}")
        kept[name] = one
    for name, one in kept.items():
        # A copy of its own, since a safetensors file has no shared tensors.
        yield name, one.detach().clone().contiguous()


def _named(loaded: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state, by name; checkpoints of a training hold them under a key."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    found = loaded if isinstance(loaded, dict) else {}
    named = {
        str(name).removeprefix("module."): one
        for name, one in found.items()
        if isinstance(one, torch.Tensor)
    }
    if not named or len(named) < len(found):
        raise EncoderError(f"{path} holds other things than tensors by name; {WAY_OUT}")
    return named


def _check_program(path: Path) -> None:
    """Raise EncoderError for a pickle that imports what weights do not need, or that is packed."""
    with path.open("rb") as file:
        # As torch tells both forms apart: the end of a file may look like an archive, too.
        archived = file.read(4) == b"PK\x03\x04"
    if archived:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = sum(one.file_size for one in entries)
            if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
                raise EncoderError(f"{path} is a compressed archive, which torch writes none of")
            if packed > path.stat().st_size:
                raise EncoderError(f"{path} has {packed} bytes in fewer; {WAY_OUT}")
            programs = [one for one in entries if one.filename.endswith(".pkl")]
            if not programs or max(one.file_size for one in programs) > MOST_PROGRAM:
                raise EncoderError(f"{path} has no weights as torch writes them; {WAY_OUT}")
            for one in programs:
                with archive.open(one) as file:
                    _check_pickle(file, path)
        return
    with path.open("rb") as file:
        # Before torch 1.6: five pickles one after the other, and the numbers after them.
        for _ in range(5):
            _check_pickle(file, path)
            if file.tell() > MOST_PROGRAM:
                raise EncoderError(f"{path} has no weights as torch writes them; {WAY_OUT}")


def _check_pickle(file: Any, path: Path) -> None:
    stream: BinaryIO = file
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in _IMPORTS and (opcode.name != "GLOBAL" or str(argument) not in _ALLOWED):
            what = _shown(str(argument or opcode.name).replace(" ", "."))
            raise EncoderError(
                f"{path} is no file of weights alone: it would import {what}, which could run "
                "code; get the model's safetensors, or another model"
            )


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    if not tensors:
        raise EncoderError(f"{path.parent} has no tensors to convert")
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        read_header(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(folder: Path, out: Path) -> None:
    """Copy the configuration and tokenizer files of a model, and weights that are safe already."""
    files = sorted(folder.rglob("*"))
    if len(files) > MOST_FILES:
        raise EncoderError(f"{folder} has over {MOST_FILES} files; give a model's directory")
    for path in files:
        wanted = path.suffix in (*KEPT, ".safetensors") and path.name != PICKLES[1]
        target = out / path.relative_to(folder)
        if not wanted or target.exists() or not path.is_file() or _hidden(path, folder):
            continue
        check_inside(folder, path)
        check_file(path, MOST_BYTES if path.suffix == ".safetensors" else MOST_COPIED_BYTES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _line(err: BaseException) -> str:
    """First sentence of a library's message, without advice to load the file unsafely."""
    text = reason_of(err).partition("weights_only")[0].partition(". ")[0].strip()
    return "".join(c for c in text if c.isprintable())[:150] or type(err).__name__


def _shown(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:100]
