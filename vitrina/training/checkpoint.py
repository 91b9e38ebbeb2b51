"""What a training that was killed goes on from: one file on the local disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vitrina.cache import cache_folder
from vitrina.disk import filling
from vitrina.errors import StoreError
from vitrina.temporary_files import removing
from vitrina.typed_json import Count, parse_json


@dataclass(frozen=True)
class SavedState:
    """What a checkpoint holds. told: of the run. step: steps taken."""

    told: dict[str, Any]
    step: int
    arrays: Mapping[str, torch.Tensor]

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The arrays of one part."""
        return under(self.arrays, name)


def under(arrays: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """Those whose names begin with `name` and a dot, without that."""
    start = f"{name}."
    return {key.removeprefix(start): one for key, one in arrays.items() if key.startswith(start)}


@dataclass(frozen=True)
class _Told:
    run: dict[str, Any]
    step: Count


class Checkpoint:
    """One training's file, named by all that decides how the training goes: with anything else
    another file is looked for, and a run that nobody goes on with is written over by none."""

    def __init__(self, what: Mapping[str, Any]) -> None:
        """what: JSON values that tell this training from every other."""
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        self.path = cache_folder("training") / f"{digest[:24]}.safetensors"

    def read(self) -> SavedState | None:
        """What was written last; None for nothing, or nothing that can be read."""
        try:
            with safe_open(self.path, "pt") as file:
                content = (file.metadata() or {})["vitrina"].encode()
                told = parse_json(content, _Told, str(self.path), "delete it")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return SavedState(told.run, told.step, arrays)
        except (OSError, SafetensorError, KeyError, ValueError, StoreError):
            return None

    def write(self, run: Mapping[str, Any], step: int, arrays: Mapping[str, torch.Tensor]) -> None:
        """Put a newer state in the place of the last. Raises OSError where the disk is full."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        unfinished = self.path.with_suffix(f".{os.getpid()}.unfinished")
        told = json.dumps({"run": run, "step": step})
        with removing(lambda: unfinished.unlink(missing_ok=True)), filling(self.path):
            # Arrays that share memory can't be written; none here does but by chance.
            whole = {name: one.detach().cpu().contiguous() for name, one in arrays.items()}
            save_file(whole, unfinished, {"vitrina": told})
            unfinished.replace(self.path)

    def delete(self) -> None:
        """Forget it, and what a killed run left of it."""
        self._remove_unfinished()
        self.path.unlink(missing_ok=True)

    def _remove_unfinished(self) -> None:
        """Remove what runs of this training left that were killed."""
        for left in self.path.parent.glob(f"{self.path.stem}.*.unfinished"):
            with suppress(PermissionError):
                try:
                    os.kill(int(left.name.split(".")[-2]), 0)
                except ProcessLookupError:
                    left.unlink(missing_ok=True)
