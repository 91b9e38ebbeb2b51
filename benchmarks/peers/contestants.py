"""Who takes part: each contestant is one process, one environment and one way to run a model."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from peers.models import CLIP

ROOT = Path(__file__).parents[2]
OURS = Path(sys.executable)
SHAPE = (2048, 1024, 1024)
"""Rows, inner and columns of the matrix products that tell the machine's rates."""
ALONE = 320
"""Photos that are prepared beforehand where the model alone is timed."""


@dataclass(frozen=True)
class Contestant:
    """name: as the tables have it. role: vitrina or peer (the whole job), part (the model alone),
    tokenizing, or rate (matrix products). default: whether it is what its peers do by default.
    """

    name: str
    role: str
    script: str
    options: dict = field(default_factory=dict)
    python: Path = OURS
    environment: str = ""
    default: bool = False

    @property
    def missing(self) -> str | None:
        """Why it can't take part, or None: its environment is not there."""
        if self.python.exists():
            return None
        log = ROOT / "build" / "peers" / f"{self.environment}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        last = f": {lines[-1][:300]}" if lines else ""
        return f"no {self.environment}; `make {self.environment}/.ready` makes it{last}"


def of_texts(model: Path, work: Path) -> list[Contestant]:
    """Those that encode texts. model: a sentence-transformers directory."""
    environment = ".venv-peers"
    python = ROOT / environment / "bin" / "python"

    def vitrina(name: str, compute: str | None) -> Contestant:
        options = {"modality": "text", "model": str(model), "compute": compute}
        return Contestant(name, "vitrina", "worker_vitrina.py", options)

    def peer(name: str, backend: str, precision: str = "float32", batch: int = 32) -> Contestant:
        options = {"model": str(model), "work": str(work), "backend": backend}
        options |= {"precision": precision, "batch": batch}
        script = "worker_sentence_transformers.py"
        default = name == "sentence-transformers"
        return Contestant(name, "peer", script, options, python, environment, default)

    measure = {"measure": "tokenizing", "model": str(model)}
    return [
        vitrina("vitrina", None),
        vitrina("vitrina float32", "float32"),
        peer("sentence-transformers", "torch"),
        peer("sentence-transformers, batches of 128", "torch", batch=128),
        peer("sentence-transformers, bfloat16", "torch", "bfloat16"),
        peer("sentence-transformers, ONNX", "onnx"),
        peer("sentence-transformers, ONNX int8", "onnx", "int8"),
        peer("sentence-transformers, OpenVINO", "openvino", "its own choice"),
        Contestant("tokenizing alone", "tokenizing", "worker_machine.py", measure),
    ]


def of_images(model: Path, threads: int) -> list[Contestant]:
    """Those that encode photos. model: an open_clip directory."""
    environment = ".venv-clip-retrieval"
    held = {"model": str(model)}

    def vitrina(name: str, compute: str | None, alone: bool = False) -> Contestant:
        options = {"modality": "image", **held, "compute": compute}
        options["alone"] = ALONE if alone else None
        return Contestant(name, "part" if alone else "vitrina", "worker_vitrina.py", options)

    def loop(name: str, precision: str, workers: int, alone: bool = False) -> Contestant:
        options = {**held, "precision": precision, "workers": workers}
        options["alone"] = ALONE if alone else None
        role, script = "part" if alone else "peer", "worker_open_clip.py"
        default = not alone and precision == "float32" and workers > 0
        return Contestant(name, role, script, options, default=default)

    return [
        vitrina("vitrina", None),
        vitrina("vitrina float32", "float32"),
        loop(f"open_clip, {threads} loader workers", "float32", threads),
        loop("open_clip, no loader workers", "float32", 0),
        loop(f"open_clip, {threads} loader workers, bfloat16", "bfloat16", threads),
        Contestant(
            "clip-retrieval",
            "peer",
            "worker_clip_retrieval.py",
            {**held, "architecture": CLIP, "workers": threads},
            ROOT / environment / "bin" / "python",
            environment,
        ),
        vitrina("model alone: vitrina", None, alone=True),
        vitrina("model alone: vitrina float32", "float32", alone=True),
        loop("model alone: open_clip", "float32", 0, alone=True),
        loop("model alone: open_clip bfloat16", "bfloat16", 0, alone=True),
    ]


def of_machine() -> list[Contestant]:
    """What measures the machine itself."""
    return [
        Contestant(name, "rate", "worker_machine.py", {"measure": name, "shape": SHAPE})
        for name in ("float32", "bfloat16", "int8")
    ]
