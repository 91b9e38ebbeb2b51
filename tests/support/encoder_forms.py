"""Forms of model directories, and the libraries that say what vectors each form gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrina.types import Modality


@dataclass(frozen=True)
class EncoderForm:
    """One form of model directory, made tiny from random weights.

    name: as in the table of `docs/encoders.md`. library: which one made the form and gives the
    reference. make: writes the model into an empty folder and returns the directory to load.
    reference: that directory and texts or RGB images to L2-normalised vectors (n, dim) float32, by
    the library's own code. refused: a regex of the one-line error, for what Vitrina doesn't load;
    it has no reference. needs: packages without which the form is left out.
    """

    name: str
    modality: Modality
    library: str
    make: Callable[[Path], Path]
    reference: Callable[[Path, list[Any]], Any] | None = None
    refused: str | None = None
    needs: tuple[str, ...] = ()
