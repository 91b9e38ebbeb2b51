"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = {line.partition(":")[0].strip(): line.partition(":")[2] for line in lines}
    return {
        "cpu": found.get("model name", platform.machine()).strip(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
