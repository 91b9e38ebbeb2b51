"""Packages that only some jobs need: they are imported there, and a missing one is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vitrina.errors import MissingPackageError

_PACKAGES = {
    "PIL": "pillow",
    "adbc_driver_manager": "adbc-driver-manager",
    "adbc_driver_postgresql": "adbc-driver-postgresql",
    "faiss": "faiss-cpu",
    "huggingface_hub": "huggingface-hub",
    "open_clip": "open_clip_torch",
    "pillow_heif": "pillow-heif",
    "pillow_jxl": "pillow-jxl-plugin",
    "python_calamine": "python-calamine",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""Packages by the module they install, where their names differ."""

_EXTRAS = {
    "adbc_driver_postgresql": "postgresql",
    "cleanlab": "cleanlab",
    "matplotlib": "plots",
    "onnxruntime": "onnx",
    "pillow_heif": "heic",
    "pillow_jxl": "jxl",
    "polars": "polars",
    "ray": "ray",
    "s3fs": "s3",
}
"""Vitrina's extras by the module they install; all other packages come with Vitrina itself."""


@contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Import modules of other packages inside the block.

    purpose: start of the message, such as "the review page". Raises MissingPackageError if a module
    of another package is missing; its message has the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        module = (err.name or "").partition(".")[0]
        if module in ("", "vitrina"):
            raise
        package = _PACKAGES.get(module, module)
        raise MissingPackageError(purpose, package, _EXTRAS.get(module)) from err
