"""Tar archives for tests."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any


def tarred(path: Path, files: dict[str, Any], format: int = tarfile.PAX_FORMAT) -> Path:
    """Pack files into an archive. Contents are bytes, text, or what JSON takes."""
    return tarred_in_order(path, list(files.items()), format)


def tarred_in_order(
    path: Path, files: list[tuple[str, Any]], format: int = tarfile.PAX_FORMAT
) -> Path:
    """The same where a name comes more than once."""
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in files:
            data = content if isinstance(content, bytes) else text_of(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
