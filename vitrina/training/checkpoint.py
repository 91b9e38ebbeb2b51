"""Training checkpoints: one file on the local disk from which a killed run resumes."""

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
    """Content of a checkpoint. told: JSON state of the run. step: optimiser steps taken. arrays:
    tensors by their dotted names."""

    told: dict[str, Any]
    step: int
    arrays: Mapping[str, torch.Tensor]

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The arrays whose names begin with `name` and a dot, without that prefix."""
        return under(self.arrays, name)


def under(arrays: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """Select the arrays whose names begin with `name` and a dot, and strip that prefix."""
    start = f"{name}."
    return {key.removeprefix(start): one for key, one in arrays.items() if key.startswith(start)}


@dataclass(frozen=True)
class _Metadata:
    run: dict[str, Any]
    step: Count


class Checkpoint:
    """Checkpoint file of one training run, named by a hash of everything that determines the run.

    A run with other settings uses another file, so it never overwrites an unfinished one.
    """

    def __init__(self, what: Mapping[str, Any]) -> None:
        """what: JSON values that identify this training run."""
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        self.path = cache_folder("training") / f"{digest[:24]}.safetensors"

    def read(self) -> SavedState | None:
        """Read the last saved state; None if the file is missing or unreadable."""
        try:
            with safe_open(self.path, "pt") as file:
                content = (file.metadata() or {})["vitrina"].encode()
                metadata = parse_json(content, _Metadata, str(self.path), "delete it")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return SavedState(metadata.run, metadata.step, arrays)
        except (OSError, SafetensorError, KeyError, ValueError, StoreError):
            return None

    def write(self, run: Mapping[str, Any], step: int, arrays: Mapping[str, torch.Tensor]) -> None:
        """Replace the saved state. Raises OSError if the disk is full."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        unfinished = self.path.with_suffix(f".{os.getpid()}.unfinished")
        metadata = json.dumps({"run": run, "step": step})
        with removing(lambda: unfinished.unlink(missing_ok=True)), filling(self.path):
            # safetensors can't write tensors that share memory; none here should.
            whole = {name: one.detach().cpu().contiguous() for name, one in arrays.items()}
            save_file(whole, unfinished, {"vitrina": metadata})
            unfinished.replace(self.path)

    def delete(self) -> None:
        """Delete the file, and unfinished files of killed runs."""
        self._remove_unfinished()
        self.path.unlink(missing_ok=True)

    def _remove_unfinished(self) -> None:
        """Remove unfinished files of this run's killed processes."""
        for left in self.path.parent.glob(f"{self.path.stem}.*.unfinished"):
            with suppress(PermissionError):
                try:
                    os.kill(int(left.name.split(".")[-2]), 0)
                except ProcessLookupError:
                    left.unlink(missing_ok=True)
