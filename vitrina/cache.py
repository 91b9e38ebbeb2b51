"""Where Vitrina keeps copies on the local disk of what it fetched; all of it may be deleted."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder for one kind of copies: below `$VITRINA_CACHE`, or the user's cache folder."""
    root = os.environ.get("VITRINA_CACHE")
    if root:
        return Path(root) / kind
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vitrina" / kind
