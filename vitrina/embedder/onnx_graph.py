"""Checks of an ONNX graph before onnxruntime reads it.

The graph is untrusted. It may use operators of onnxruntime alone, without control flow, functions
or sparse tensors; its tensors have no more numbers than bytes; data outside the file must be a file
beside it; and no small constant, by which graphs give shapes, asks for a huge tensor. The file is
protobuf, of which only the fields below are read.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TypeAlias

from vitrina.embedder.weight_files import INDEX, WAY_OUT, WEIGHTS, check_file
from vitrina.errors import EncoderError
from vitrina.store.damage import blamed_on

GRAPHS = tuple(
    f"{folder}{name}.onnx"
    for name in ("model", "model_optimized", "model_quantized")
    for folder in ("onnx/", "")
)
"""Places of a graph in a model's directory, as optimum and fastembed write them; the first is
taken."""

FETCHED, DATA = GRAPHS[:4], "*.onnx_data"
"""Graphs that are fetched from a hub, for a model that has no weights in safetensors, and their
data: no quantised ones, which the first two would precede."""
MOST_GRAPH_BYTES = 1 << 31
"""Limit of protobuf."""
MOST_FIELDS = 2_000_000
DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Operator sets of onnxruntime: the standard's, and its own, which its optimiser writes."""

MOST_IN_SHAPE, SMALL = 1 << 28, 8
"""Maximum product of an integer constant of up to `SMALL` numbers, which may be a shape."""
_ENDS = (2**31 - 1, 2**63 - 1)
"""Stand for "to the end" in slices."""

_INT64 = 7
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5

Field: TypeAlias = tuple[int, int | memoryview]


def graph_of(folder: Path) -> Path | None:
    """The graph of a model that has no weights in safetensors; None for any other model."""
    if (folder / WEIGHTS).exists() or (folder / INDEX).exists():
        return None
    return next((folder / name for name in GRAPHS if (folder / name).exists()), None)


def check_graph(path: Path, folder: Path) -> str:
    """Check a graph and the files it names, and return a hash of all their bytes.

    folder: the model's, which has the graph. Raises EncoderError that names the file.
    """
    check_file(path, MOST_GRAPH_BYTES)
    check_inside(path, folder)
    checker = _Checker(path, folder)
    with blamed_on(str(path), WAY_OUT, EncoderError):
        with path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Not closed here: an error's traceback may hold parts of it.
        files = checker.model(memoryview(whole))
    digest = hashlib.sha256()
    for name in [path.name, *sorted(files)]:
        with (path.parent / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class _Checker:
    """Walks a graph. path: of its file. folder: the model's."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._files: set[str] = set()
        self._left = MOST_FIELDS

    def model(self, whole: memoryview) -> set[str]:
        """Check the file's message, and return the names of the files it needs."""
        for number, value in self._fields(whole):
            match number, value:
                case 7, memoryview():
                    self._graph(value)
                case 25, memoryview():
                    raise self._refusal("has functions of its own")
        return self._files

    def _graph(self, graph: memoryview) -> None:
        for number, value in self._fields(graph):
            match number, value:
                case 1, memoryview():
                    self._node(value)
                case 5, memoryview():
                    self._tensor(value)
                case 15, memoryview():
                    raise self._refusal("has sparse tensors")

    def _node(self, node: memoryview) -> None:
        operator, domain = "", ""
        for number, value in self._fields(node):
            match number, value:
                case 4, memoryview():
                    operator = _text(value)
                case 7, memoryview():
                    domain = _text(value)
                case 5, memoryview():
                    self._attribute(value)
        if domain not in DOMAINS:
            raise self._refusal(f"uses the operator {operator!r} of {domain!r}")

    def _attribute(self, attribute: memoryview) -> None:
        integers: list[int] = []
        for number, value in self._fields(attribute):
            match number, value:
                case ((5 | 10), memoryview()):
                    self._tensor(value)
                case ((6 | 11), memoryview()):
                    raise self._refusal("has loops or branches")
                case ((22 | 23), memoryview()):
                    raise self._refusal("has sparse tensors")
                case ((3 | 8), int()):
                    integers.append(value)
                case 8, memoryview():
                    integers += self._varints(value)
        self._check_shape(integers)

    def _tensor(self, tensor: memoryview) -> None:
        dims: list[int] = []
        values: list[int] = []
        kind, size, place = 0, 0, dict[str, str]()
        for number, value in self._fields(tensor):
            match number, value:
                case 1, int():
                    dims.append(value)
                case 1, memoryview():
                    dims += self._varints(value)
                case 2, int():
                    kind = value
                case 7, int():
                    values.append(value)
                    size += 8
                case 7, memoryview():
                    packed = self._varints(value)
                    values += packed
                    size += 8 * len(packed)
                case 9, memoryview():
                    size += len(value)
                    if kind in (0, _INT64) and len(value) <= 8 * SMALL:
                        whole = value[: len(value) // 8 * 8]
                        values += [
                            int.from_bytes(whole[at : at + 8], "little")
                            for at in range(0, len(whole), 8)
                        ]
                case 13, memoryview():
                    place |= self._entry(value)
                case _, memoryview():
                    # Numbers of other types, at least half a byte each.
                    size += len(value)
                case _, int():
                    size += 8
        if place:
            size = self._outside(place)
        if prod(dims) > 2 * size:
            raise self._refusal(f"claims {prod(dims)} numbers in {size} bytes")
        if kind == _INT64:
            self._check_shape(values)

    def _check_shape(self, values: list[int]) -> None:
        shape = [one for one in values if 1 < one < 1 << 63 and one not in _ENDS]
        if len(values) <= SMALL and prod(shape) > MOST_IN_SHAPE:
            raise self._refusal(f"has the shape {shape}")

    def _entry(self, entry: memoryview) -> dict[str, str]:
        """A key and its value."""
        parts = dict(self._fields(entry))
        key, value = parts.get(1, b""), parts.get(2, b"")
        if isinstance(key, int) or isinstance(value, int):
            raise ValueError("a place of data is no text")
        return {_text(key): _text(value)}

    def _outside(self, place: dict[str, str]) -> int:
        """Check data outside the graph's file, and return their size in bytes."""
        name = place.get("location", "")
        if not name or name != Path(name).name or "\\" in name:
            raise EncoderError(f"{self._path} names {name[:200]!r}, no file beside it; {WAY_OUT}")
        file = self._path.parent / name
        check_file(file)
        check_inside(file, self._folder)
        self._files.add(name)
        there = file.stat().st_size
        first = int(place.get("offset", "0"))
        length = int(place.get("length", str(there - first)))
        if not 0 <= first <= first + length <= there:
            raise EncoderError(
                f"{self._path} names bytes {first} to {first + length} of {file}, "
                f"which has {there}; {WAY_OUT}"
            )
        return length

    def _refusal(self, what: str) -> EncoderError:
        return EncoderError(
            f"{self._path} {what}, which Vitrina does not run; export the model again "
            "(optimum-cli export onnx), or use its safetensors weights"
        )

    def _fields(self, message: memoryview) -> Iterator[Field]:
        """The fields of a message, by number: integers, or bytes that may be a message."""
        at = 0
        while at < len(message):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {MOST_FIELDS} fields")
            tag, at = _varint(message, at)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, at = _varint(message, at)
                yield number, value
            elif kind in (_EIGHT, _FOUR):
                at += 8 if kind == _EIGHT else 4
                yield number, 0
            elif kind == _BYTES:
                length, at = _varint(message, at)
                if at + length > len(message):
                    raise ValueError("cut off")
                yield number, message[at : at + length]
                at += length
            else:
                raise ValueError("no ONNX graph")
        if at > len(message):
            raise ValueError("cut off")

    def _varints(self, packed: memoryview) -> list[int]:
        found, at = [], 0
        while at < len(packed):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {MOST_FIELDS} fields")
            value, at = _varint(packed, at)
            found.append(value)
        return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no ONNX graph")


def _text(value: memoryview | bytes) -> str:
    return bytes(value[:1000]).decode("utf-8", "replace")


def check_inside(path: Path, folder: Path) -> None:
    """Raise EncoderError for a link to a place outside a model's folder.

    A hub's cache keeps files in `blobs`, beside the folder of `snapshots`, and links to them.
    """
    real, home = path.resolve(), folder.resolve()
    cached = home.parent.name == "snapshots" and real.parent == home.parent.parent / "blobs"
    if not cached and not real.is_relative_to(home):
        raise EncoderError(f"{path} is a link to a place outside {folder}; {WAY_OUT}")
