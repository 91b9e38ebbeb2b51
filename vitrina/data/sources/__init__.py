"""Photo sources: a folder, a zip or tar archive, a Parquet column, or the web.

Each source is an `ImageSource` (`base.py`) in a module of its own. `open_images` opens the source
for a location; the web source is imported only on use.
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
