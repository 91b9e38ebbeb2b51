"""Models of a store, for use without Vitrina."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.inputs import StoreLike, as_store

if TYPE_CHECKING:
    from vitrina.pipelines.export.job import ExportReport


def export_model(store: StoreLike, name: str, directory: str | Path) -> ExportReport:
    """Write a model into a directory that other libraries open and the Hugging Face Hub takes.

    A text encoder is written for sentence-transformers, an image encoder for open_clip, timm or
    transformers.
    Its vectors are the same as in Vitrina. A head is written with its card; only Vitrina opens it.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL.
    name : str
        An encoder that was trained in the store, one of its spaces, the model of a space, or a
        head.
    directory : str or Path
        A new or empty directory outside the store.

    Returns
    -------
    ExportReport
        The library that opens the directory, its files and their size.

    Raises
    ------
    EncoderError
        If no other library could open the encoder (`lexical`, `thumbnail`), or its vectors would
        differ.
    HubUnreachableError
        If the encoder's files are neither in the store nor on this machine.
    StoreError
        For an unknown name, which the message answers with those that exist, or a directory that is
        not empty.

    Examples
    --------
    >>> report = vt.export_model(store, "text-logistic", folder / "exported")
    >>> report.library.value, report.files
    ('vitrina', ('README.md', 'head.safetensors', 'model.json'))
    """
    from vitrina.pipelines.export.job import export_model as run

    return run(as_store(store), name, Path(directory))
