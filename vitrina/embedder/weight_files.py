"""Tensor entries of a model's safetensors files; only the headers are read."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from vitrina.errors import EncoderError
from vitrina.store.damage import blamed_on
from vitrina.typed_json import convert_json, load_json, read_json_as

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MOST_HEADER_BYTES = 100_000_000
"""Limit of the safetensors library."""
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Weights as pickle: in one file, or the index of several."""
WAY_OUT = "copy or download the model again"

_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2} | {
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}

Length = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's entry in the header."""

    dtype: str
    shape: list[Length]
    data_offsets: tuple[Length, Length]

    @property
    def numbers(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Weights:
    """All tensors of a model, by name."""

    tensors: dict[str, TensorEntry]

    @property
    def numbers(self) -> int:
        """Number of elements of all tensors."""
        return sum(tensor.numbers for tensor in self.tensors.values())


@dataclass(frozen=True)
class _Index:
    weight_map: dict[str, str]


def read_weights(folder: Path) -> Weights:
    """Read the tensor entries of a transformers model: one file, or several with an index.

    Raises EncoderError for missing weights, files outside the folder and damaged headers.
    """
    check_converted(folder)
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        return Weights(read_header(folder / WEIGHTS))
    index = folder / INDEX
    check_file(index)
    weight_map = read_json_as(index, _Index, WAY_OUT, EncoderError).weight_map
    found: dict[str, TensorEntry] = {}
    for name in sorted(set(weight_map.values())):
        # A plain file name, no path: weights must be in this folder.
        if name != Path(name).name or not name.endswith(".safetensors"):
            raise EncoderError(
                f"{index} names {name!r}, which is no .safetensors file of its folder; {WAY_OUT}"
            )
        found |= read_header(folder / name)
    lacking = sorted(set(weight_map) - set(found))
    if lacking or not found:
        named = lacking[0] if lacking else "any tensor"
        raise EncoderError(f"the files that {index} names lack {named}; {WAY_OUT}")
    return Weights(found)


def check_converted(folder: Path, model: Path | None = None) -> None:
    """Raise EncoderError for a folder that has its weights only as pickle. model: the model's
    directory, if the folder is one inside it."""
    if any((folder / name).exists() for name in (WEIGHTS, INDEX)):
        return
    home = (model or folder).resolve()
    if home.parent.name == "snapshots":
        # A hub's cache, into which no pickle is fetched.
        repository = home.parent.parent.name.removeprefix("models--").replace("--", "/")
        raise EncoderError(
            f"{repository} has no {WEIGHTS} on the hub at this revision; name one that has "
            f"(hf:{repository}@refs/pr/1 is often its conversion), or download all its files and "
            "run `vitrina convert-model DIRECTORY`"
        )
    for name in PICKLES:
        if (folder / name).exists():
            raise EncoderError(
                f"{folder} has its weights only as pickle ({name}), which could run code; "
                f"convert them to {WEIGHTS} once, by `vitrina convert-model {model or folder}`"
            )


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Read the tensor entries of one safetensors file, by name. Raises EncoderError if damaged."""
    check_file(path)
    with blamed_on(str(path), WAY_OUT, EncoderError):
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, MOST_HEADER_BYTES):
                raise ValueError(f"its header would be of {length} bytes")
            header = file.read(length)
    where = f"the header of {path}"
    entries = load_json(header, where, WAY_OUT, EncoderError)
    if isinstance(entries, dict):
        entries.pop("__metadata__", None)
    found = convert_json(entries, dict[str, TensorEntry], where, WAY_OUT, EncoderError)
    for name, fault in _faults(found, size - 8 - length):
        raise EncoderError(f"{path} does not hold {name} as its header says ({fault}); {WAY_OUT}")
    return found


def _faults(found: dict[str, TensorEntry], size: int) -> Iterator[tuple[str, str]]:
    for name, tensor in found.items():
        first, last = tensor.data_offsets
        if not first <= last <= size:
            yield name, f"bytes {first} to {last} of {size}"
        # Elements of dtypes newer than this list take at least half a byte.
        elif 2 * (last - first) < tensor.numbers:
            yield name, f"{tensor.numbers} numbers in {last - first} bytes"
        elif tensor.dtype in _BYTES and last - first != tensor.numbers * _BYTES[tensor.dtype]:
            yield name, f"{tensor.numbers} numbers of {tensor.dtype} in {last - first} bytes"


def check_file(path: Path, most: int | None = None) -> None:
    """Raise EncoderError for a path that is missing, no regular file (reading a pipe would block)
    or larger than `most` bytes."""
    try:
        seen = path.stat()
    except (OSError, ValueError) as err:
        raise EncoderError(f"{path} is missing or can't be read; {WAY_OUT}") from err
    if not stat.S_ISREG(seen.st_mode):
        raise EncoderError(f"{path} is no file; {WAY_OUT}")
    if most is not None and seen.st_size > most:
        raise EncoderError(f"{path} has {seen.st_size} bytes, above {most}; {WAY_OUT}")
