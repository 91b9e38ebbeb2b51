"""The interface between the harness and a class of inputs."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from random import Random
from typing import Any

from fuzz.outcomes import WronglyAcceptedError

SOUND = "sound"
"""A form of every class: inputs as they should be, which must be accepted."""
NOTE = "input.json"
"""In an input's folder: how to run it."""


class Target:
    """A class of inputs, in several forms.

    `prepare` runs once, in a process of its own, and writes sound files that inputs are made from.
    `load` runs in the process that forks one child for each input, and must start no thread there.
    `make` and `run` run in the child.

    Attributes:
        name: of the class.
        forms: names of its hostile forms.
        seeds: the folder of sound files.
    """

    name: str
    forms: tuple[str, ...]
    seeds: Path

    def prepare(self, folder: Path) -> None:
        """Write the sound files."""

    def load(self) -> None:
        """Import what inputs need, and read the sound files."""

    def warm_up(self) -> None:
        """Run some sound inputs in the process that forks, so that each child need not import and
        compile what they use."""

    def make(self, form: str, draw: Random, folder: Path) -> str:
        """Write a hostile input into a folder; returns how it was made. The same draw makes the
        same input."""
        raise NotImplementedError

    def run(self, form: str, folder: Path) -> None:
        """Have Vitrina read the input.

        Raises VitrinaError or OSError if it is refused, WronglyAcceptedError if it has an effect
        that it must not have; anything else is a traceback.
        """
        raise NotImplementedError


def note(folder: Path, **how: Any) -> None:
    """Keep beside an input how to run it."""
    (folder / NOTE).write_text(json.dumps(how), encoding="utf-8")


def noted(folder: Path) -> dict[str, Any]:
    return json.loads((folder / NOTE).read_text(encoding="utf-8"))


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder of small files, links as links and pipes as pipes."""
    shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)


def _copy_file(source: str, target: str) -> None:
    if stat.S_ISFIFO(os.stat(source, follow_symlinks=False).st_mode):
        os.mkfifo(target)
    else:
        shutil.copyfile(source, target)


def expect(condition: bool, reason: str) -> None:
    """Raise WronglyAcceptedError unless a condition holds."""
    if not condition:
        raise WronglyAcceptedError(reason)


def one_thread() -> None:
    """Have libraries compute in the thread that calls them; to be called before they load."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1", ARROW_IO_THREADS="1")
