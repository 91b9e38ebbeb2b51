"""Reading settings of a catalogue, saved in its store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from vitrina.data.image_limits import MAX_PIXELS
from vitrina.data.options import DEFAULT_COLUMNS, NO_COLUMN, NONE, Columns, ReadingOptions
from vitrina.data.sources import DEFAULT_FETCHING, WEB, Fetching
from vitrina.options import spec_of
from vitrina.typed_json import Count, Finite, convert_json

MOST_WORKERS = 256
MOST_BYTES = 1 << 30
MOST_SECONDS = 3600.0
MOST_TRIES = 20
MOST_PHOTOS = 1000
"""Upper limits of saved settings; larger values are clipped to them."""
RIGHTS = ("allow_private", "cache")
"""Fetch settings that are never saved in a store, since only the user may grant them."""


@dataclass(frozen=True)
class Reading:
    """Settings to read a catalogue and later batches of the same kind.

    Attributes:
        columns: the table's columns.
        delimiter: of a CSV file; None to detect it.
        encoding: of a CSV, JSONL or YML file; None to detect it, which means UTF-8 for a table.
        images: the folder or archive of photos, or `web`; None for no photos.
        image_template: template of photo names; None to detect it for each catalogue file, so
            that training and test products use their own folders.
        photos: maximum number of photos per product.
        fetching: settings to fetch photos from the web.
        category_separator: between the names of a category path; None until one is detected or
            given, `none` for names that are no paths.
        max_pixels: maximum number of pixels of a photo; given each time, never saved.
        had_private: whether a store of an older version contains permission to fetch from private
            addresses, which is now ignored.
    """

    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = None
    encoding: str | None = None
    images: str | None = None
    image_template: str | None = None
    photos: int = 1
    fetching: Fetching = DEFAULT_FETCHING
    category_separator: str | None = None
    max_pixels: int = MAX_PIXELS
    had_private: bool = field(default=False, compare=False, repr=False)

    def with_options(self, given: ReadingOptions) -> Reading:
        """Return these settings, overridden by the given options; see `vitrina.data.options`."""
        fetching = {"workers": given.num_workers, "allow_private": given.allow_private}
        fetch_changes: dict[str, Any] = {n: v for n, v in fetching.items() if v is not None}
        changes: dict[str, Any] = {"fetching": replace(self.fetching, **fetch_changes)}
        unset = {one.name: spec_of(one).unset for one in fields(given) if one.name != "columns"}
        for setting in fields(self):
            value = getattr(given, setting.name, None)
            if value is not None:
                back = value in unset.get(setting.name, ())
                changes[setting.name] = setting.default if back else value
        changes["columns"] = self.columns.updated(given.columns)
        if given.images is not None:
            # Photos at another location may have other names.
            changes.setdefault("image_template", None)
            nowhere = given.images in (NONE, "")
            changes["images"] = None if nowhere else str(_absolute(given.images))
            if nowhere and "image" not in given.columns.given:
                changes["columns"] = _without_photos(changes["columns"])
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON types, without the rights that a store can't grant."""
        settings = asdict(self)
        del settings["had_private"], settings["max_pixels"]
        for name in RIGHTS:
            del settings["fetching"][name]
        for name in ("attributes", "keep"):
            settings["columns"][name] = list(getattr(self.columns, name))
        return settings

    @classmethod
    def from_json(cls, settings: Any, where: str = "a store's reading settings") -> Reading:
        """Parse the result of `to_json`, which is untrusted and grants no rights.

        where: the name for the message. Raises StoreError for invalid settings.
        """
        stored = convert_json(settings, _Stored, where, "bring the store back from a backup")
        fetched = stored.fetching
        return cls(
            columns=stored.columns,
            delimiter=stored.delimiter,
            # Version 0.1 stored "utf-8" also if no encoding was given.
            encoding=None if stored.encoding == "utf-8" else stored.encoding,
            images=stored.images,
            image_template=stored.image_template,
            photos=min(stored.photos, MOST_PHOTOS),
            fetching=Fetching(
                workers=min(fetched.workers, MOST_WORKERS),
                max_bytes=min(fetched.max_bytes, MOST_BYTES),
                timeout=min(fetched.timeout, MOST_SECONDS),
                tries=min(fetched.tries, MOST_TRIES),
            ),
            category_separator=stored.category_separator,
            had_private=fetched.allow_private is True,
        )


@dataclass(frozen=True)
class _StoredFetching:
    """`Fetching` as stored; see there. Older stores also hold a cache, which is ignored."""

    workers: Count = DEFAULT_FETCHING.workers
    max_bytes: Count = DEFAULT_FETCHING.max_bytes
    timeout: Finite = DEFAULT_FETCHING.timeout
    tries: Count = DEFAULT_FETCHING.tries
    allow_private: bool | None = None

    def __post_init__(self) -> None:
        if min(self.workers, self.max_bytes, self.timeout, self.tries) <= 0:
            raise ValueError("limits of fetching must be above 0")


@dataclass(frozen=True)
class _Stored:
    """`Reading` as stored. Stores of version 0.1 lack some fields."""

    columns: Columns
    delimiter: str | None = None
    encoding: str | None = None
    images: str | None = None
    image_template: str | None = None
    photos: Count = 1
    fetching: _StoredFetching = field(default_factory=_StoredFetching)
    category_separator: str | None = None

    def __post_init__(self) -> None:
        if self.photos < 1:
            raise ValueError("photos must be at least 1")


def _without_photos(columns: Columns) -> Columns:
    """Return the columns without the photo column, which would require a photo location."""
    return columns if columns.image is None else replace(columns, image=NO_COLUMN)


def _absolute(location: str | Path) -> str | Path:
    elsewhere = str(location) == WEB or "://" in str(location)
    return location if elsewhere else Path(location).expanduser().absolute()
