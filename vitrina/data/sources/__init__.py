"""Where photos come from: a folder, a zip or tar archive, a Parquet column, or the web.

Each form is an `ImageSource` (`base.py`) in a module of its own; `open_images` finds out which
one a location calls for. The web's is imported only when it is asked for.
"""

from vitrina.data.sources.base import ImageSource
from vitrina.data.sources.column import ColumnImages
from vitrina.data.sources.fetching import DEFAULT_FETCHING, WEB, Fetching
from vitrina.data.sources.folder import FolderImages
from vitrina.data.sources.open import NamedImages, open_images
from vitrina.data.sources.tar_source import TarImages, TarIndex
from vitrina.data.sources.zip_source import ZipImages

__all__ = [
    "DEFAULT_FETCHING",
    "WEB",
    "ColumnImages",
    "Fetching",
    "FolderImages",
    "ImageSource",
    "NamedImages",
    "TarImages",
    "TarIndex",
    "ZipImages",
    "open_images",
]
