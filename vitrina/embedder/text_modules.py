"""`modules.json` of sentence-transformers: the modules of a text model, in their order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vitrina.embedder.weight_files import WAY_OUT, check_file
from vitrina.errors import EncoderError
from vitrina.typed_json import read_json, read_json_as

MODULES = "modules.json"
MOST_BYTES, MOST_MODULES, LONGEST_PATH = 1 << 20, 100, 200
AFTER = ("Dense", "LayerNorm", "Normalize", "Dropout")
"""Kinds of modules that may follow the pooling."""


@dataclass(frozen=True)
class Module:
    """An entry of the list. type: its class. path: its folder, relative to the model's."""

    type: str
    path: str = ""

    @property
    def kind(self) -> str:
        """Name of its class alone."""
        return self.type.rpartition(".")[2]


@dataclass(frozen=True)
class TextModules:
    """The modules of a text model.

    place: folder of the network and its tokenizer. static: whether that is a table of token
    vectors. pooling: folder of the pooling's configuration, None without one. after: modules after
    the pooling.
    """

    place: Path
    static: bool = False
    pooling: Path | None = None
    after: tuple[Module, ...] = ()


def read_modules(folder: Path) -> TextModules:
    """Read the modules of a model's directory; without a list it is a network alone.

    Raises EncoderError for modules that Vitrina does not run, for an order that makes no vector of
    a text, and for paths outside the directory.
    """
    path = folder / MODULES
    if not path.exists():
        return TextModules(folder, static=_is_model2vec(folder))
    check_file(path, MOST_BYTES)
    modules = read_json_as(path, list[Module], WAY_OUT, EncoderError)
    if len(modules) > MOST_MODULES:
        raise EncoderError(f"{path} lists {len(modules)} modules, above {MOST_MODULES}; {WAY_OUT}")
    found = TextModules(folder, static=_is_model2vec(folder))
    for module in modules:
        inner = _inner(folder, module)
        match module.kind:
            case "Transformer" | "StaticEmbedding":
                # Without files of its own the network lies in the directory itself.
                own = any((inner / name).exists() for name in ("config.json", "tokenizer.json"))
                static = module.kind == "StaticEmbedding"
                found = TextModules(inner if own else folder, static)
            case "Pooling":
                if any(one.kind in ("Dense", "LayerNorm") for one in found.after):
                    raise EncoderError(f"{path} has a layer before the pooling; {NOT_RUN}")
                found = TextModules(found.place, found.static, inner)
            case kind if kind in AFTER:
                found = TextModules(
                    found.place, found.static, found.pooling, (*found.after, module)
                )
            case kind:
                raise EncoderError(f"{folder} adds a {_plain(kind)} layer; {NOT_RUN}")
    if found.static and found.pooling is not None:
        raise EncoderError(f"{path} has a pooling after a StaticEmbedding; {NOT_RUN}")
    return found


NOT_RUN = "Vitrina does not run that; use a model without it"


def _inner(folder: Path, module: Module) -> Path:
    """A module's folder. Raises EncoderError if it is outside the model's."""
    parts = PurePosixPath(module.path.replace("\\", "/"))
    odd = "\0" in module.path or len(module.path) > LONGEST_PATH
    if parts.is_absolute() or ".." in parts.parts or odd:
        raise EncoderError(
            f"{folder / MODULES} names {json.dumps(module.path[:200])}, outside its folder"
        )
    inner = folder / module.path
    if not inner.resolve().is_relative_to(folder.resolve()):
        raise EncoderError(f"{inner} is a link to a place outside {folder}; {WAY_OUT}")
    return inner


def check_inside(folder: Path, path: Path) -> None:
    """Raise EncoderError for a file that is a link to a place outside the model's directory.

    A hub's cache keeps files in `blobs`, beside the folder of `snapshots`, and links to them.
    """
    real, home = path.resolve(), folder.resolve()
    cache = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not (real.is_relative_to(home) or real.is_relative_to(cache)):
        raise EncoderError(f"{path} is a link to a place outside {folder}; {WAY_OUT}")


def _is_model2vec(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.exists():
        return False
    check_file(path, 16 * MOST_BYTES)
    config = read_json(path, WAY_OUT, EncoderError)
    return isinstance(config, dict) and config.get("model_type") == "model2vec"


def _plain(kind: str) -> str:
    return "".join(c for c in kind if c.isalnum() or c == "_")[:60] or "nameless"
