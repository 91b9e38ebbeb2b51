"""Cache of model fingerprints, so that a model is not loaded if there is nothing to encode.

A fingerprint covers the weights, so computing it loads them. For a directory whose files are
unchanged (names, sizes, times), the cached fingerprint is valid.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vitrina.cache import cache_folder
from vitrina.embedder.model_ref import ModelKind, ModelRef


def remember(model: ModelRef, fingerprint: str, settings: str = "") -> None:
    """Cache a fingerprint; does nothing if the cache can't be written. settings: `TextSettings.key`
    of its encoder."""
    entry = _entry(model, settings)
    if entry is None:
        return
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(fingerprint, encoding="ascii")
    except OSError:
        return


def unchanged(model: ModelRef, fingerprint: str, settings: str = "") -> bool:
    """Check, without loading a model, that it still has this fingerprint. settings: as of
    `remember`.

    A model on a hub counts as unchanged: its revision is checked when it is loaded.
    """
    if model.kind is not ModelKind.DIRECTORY:
        return True
    entry = _entry(model, settings)
    try:
        return entry is not None and entry.read_text(encoding="ascii") == fingerprint
    except (OSError, ValueError):
        return False


def _entry(model: ModelRef, settings: str) -> Path | None:
    if model.kind is not ModelKind.DIRECTORY:
        return None
    digest = hashlib.blake2b(model.place.encode(), digest_size=16)
    digest.update(settings.encode("utf-8", "surrogatepass"))
    try:
        for path in sorted(Path(model.place).rglob("*")):
            if path.is_file():
                seen = path.stat()
                digest.update(f"{path} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    except OSError:
        return None
    return cache_folder("fingerprints") / digest.hexdigest()
