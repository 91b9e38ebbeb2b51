"""Conversion of model directories, without a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrina.embedder.convert import ConvertedModel


def convert_model(directory: str | Path, out: str | Path | None = None) -> ConvertedModel:
    """Write a model's weights, which it has only as pickle, as safetensors.

    A pickle is a program. It is read without running any: a file that holds anything but weights is
    refused. `embed` then takes the directory.

    Parameters
    ----------
    directory : str or Path
        Directory of a model with `pytorch_model.bin` or `open_clip_pytorch_model.bin`.
    out : str or Path, optional
        A new or empty directory for the whole model; default: the weights are written beside the
        pickles, which stay.

    Returns
    -------
    ConvertedModel
        The directory, the files written and their size.

    Raises
    ------
    EncoderError
        If there are no pickled weights, or if they hold anything but weights.

    Examples
    --------
    >>> vt.convert_model("rubert-base").files  # doctest: +SKIP
    ('model.safetensors',)
    """
    from vitrina.optional import needed_for

    with needed_for("the conversion of a model"):
        from vitrina.embedder.convert import convert_model as run

    return run(Path(directory), None if out is None else Path(out))
