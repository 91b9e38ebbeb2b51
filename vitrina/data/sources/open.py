"""Opening of the photo source given by `--images`."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vitrina.data.legacy_names import renamed_members
from vitrina.data.photo_names import choose_split, detect_template
from vitrina.data.product import Product
from vitrina.data.sources.fetching import DEFAULT_FETCHING, WEB, Fetching
from vitrina.data.sources.folder import FolderImages
from vitrina.data.sources.tar_source import TarImages, TarIndex
from vitrina.data.sources.zip_source import ZipImages
from vitrina.data.tar import PHOTO_SUFFIXES, TarError, find_shards
from vitrina.errors import ImageSourceError, PhotosNotFoundError

if TYPE_CHECKING:
    from vitrina.data.sources.web import WebImages

NamedImages: TypeAlias = FolderImages | ZipImages | TarImages
"""Sources whose photos have names, which a template can generate."""

_WAY_OUT = f"give --images a folder, a zip or tar archive, or {WEB}"


def open_images(
    location: str | Path,
    *,
    template: str | None,
    photos: int,
    sample: Sequence[Product],
    splits: Sequence[str],
    fetching: Fetching = DEFAULT_FETCHING,
    detect: bool = True,
) -> NamedImages | WebImages:
    """Open a folder, a zip archive, tar archives or the web.

    Parameters
    ----------
    location : the folder or the archive; tar archives also as a directory that holds them and no
        photos, or as a range such as `part-{000..012}.tar`; `web` for the catalogue's URLs.
    template : a photo's name with {product_id} and optionally {split} and {n}; None for the
        catalogue's names or, if it gives none, a detected template.
    photos : maximum number of photos per product.
    sample : products of the catalogue used to choose the template and the split.
    splits : possible values of {split}, the catalogue's own first.
    fetching : settings to fetch photos from the web.
    detect : whether to try templates if no photo is found under the catalogue's names.

    Raises ImageSourceError if there is nothing to read, or the template is malformed;
    PhotosNotFoundError if no product of the sample has a photo, but not if a template is given,
    since some batches have none.
    """
    if str(location) == WEB:
        return _open_web(template, photos, sample, fetching)
    source = _open(Path(location), photos)
    ids = [product.product_id for product in sample]
    try:
        if template is not None:
            return replace(source, template=choose_split(template, source.exists, ids, splits))
        named = [product for product in sample if product.images]
        if not ids or any(source.references(product) for product in named):
            return source
        found = detect_template(source.exists, ids, splits) if detect else None
        if found is None:
            if not detect and not named:
                return source
            raise _nothing_found(source, sample, named)
        return replace(source, template=found)
    except ImageSourceError:
        source.close()
        raise


def _nothing_found(
    source: NamedImages, sample: Sequence[Product], named: Sequence[Product]
) -> PhotosNotFoundError:
    """Build the error for a sample without photos. named: its products that name photos."""
    names = list(islice(source.some_names(), 3))
    if not named:
        return PhotosNotFoundError(
            f"{source.location}: no photo found of product {sample[0].product_id}; it holds "
            f"{', '.join(names) or 'no files'}; say how photos are named, for example "
            "--image-template 'images/{product_id}.jpg'"
        )
    reason = source.not_found(named[0]) if names else "it holds no files"
    return PhotosNotFoundError(
        f"{source.location}: none of the photos that the first {len(sample)} products name is "
        f"there ({reason}); say where they are with --images or how they are named with "
        "--image-template, or go without by --images none",
        empty=not names,
    )


def _open_web(
    template: str | None, photos: int, sample: Sequence[Product], fetching: Fetching
) -> WebImages:
    # Imported here: urllib3 is slow to import and rarely needed.
    from vitrina.data.sources.web import WebImages, urls_of

    if template is not None:
        raise ImageSourceError(
            f"--images {WEB}: photos have the catalogue's own URLs; leave out --image-template"
        )
    if sample and not any(urls_of(name) for product in sample for name in product.images):
        raise ImageSourceError(
            f"--images {WEB}: no http(s) URL in the first {len(sample)} products; "
            "say which column has them with --image-column, or go without by --images none"
        )
    return WebImages(photos, fetching)


def _refuse_special(path: Path) -> None:
    """Raise ImageSourceError for a pipe, a socket or a device, whose reading may never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        # The path may be a range of archives.
        return
    except OSError as err:
        raise ImageSourceError(f"{path}: {err.strerror}; {_WAY_OUT}") from err
    except ValueError as err:
        raise ImageSourceError(f"{str(path)!r} is no path ({err}); {_WAY_OUT}") from err
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ImageSourceError(f"{path}: no folder, zip or tar archive; {_WAY_OUT}")


def _open(path: Path, photos: int) -> NamedImages:
    _refuse_special(path)
    try:
        if shards := find_shards(path, unless=PHOTO_SUFFIXES):
            return TarImages(TarIndex(shards), str(path), photos=photos)
    except TarError as err:
        raise ImageSourceError(str(err)) from err
    if path.is_dir():
        return FolderImages(str(path), photos=photos)
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        archive = zipfile.ZipFile(path)
        return ZipImages(archive, photos=photos, renamed=renamed_members(archive))
    except OSError as err:
        raise ImageSourceError(f"{path}: {err.strerror}; {_WAY_OUT}") from err
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as err:
        what = "a damaged or cut zip archive" if is_zip else "no folder, zip or tar archive"
        raise ImageSourceError(f"{path}: {what}; {_WAY_OUT}") from err
