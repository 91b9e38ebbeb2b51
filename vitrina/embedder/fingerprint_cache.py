"""Fingerprints of models that were loaded before, so that one without work need not be loaded.

A fingerprint covers the weights, so to take it is to load them. For a directory whose files look
as they did (names, sizes, times), the one taken then still holds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vitrina.cache import cache_folder
from vitrina.embedder.load import ModelName, ModelNameForm
from vitrina.types import Modality


def remember(name: str, modality: Modality, fingerprint: str) -> None:
    """Keep a fingerprint that was just taken; where the cache can't be written, don't."""
    entry = _entry(ModelName.parse(name, modality))
    if entry is None:
        return
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(fingerprint, encoding="ascii")
    except OSError:
        return


def unchanged(name: str, modality: Modality, fingerprint: str) -> bool:
    """Whether a model is known to have this fingerprint still, without loading it.

    A model on a hub is taken to be what it was: its revision is looked at when it is loaded.
    """
    parsed = ModelName.parse(name, modality)
    if parsed.form is not ModelNameForm.DIRECTORY:
        return True
    entry = _entry(parsed)
    try:
        return entry is not None and entry.read_text(encoding="ascii") == fingerprint
    except (OSError, ValueError):
        return False


def _entry(name: ModelName) -> Path | None:
    if name.form is not ModelNameForm.DIRECTORY:
        return None
    digest = hashlib.blake2b(name.place.encode(), digest_size=16)
    try:
        for path in sorted(Path(name.place).rglob("*")):
            if path.is_file():
                seen = path.stat()
                digest.update(f"{path} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    except OSError:
        return None
    return cache_folder("fingerprints") / digest.hexdigest()
