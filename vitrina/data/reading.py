"""The settings that a catalogue is read with, for its store to remember."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from vitrina.data.image_limits import MAX_PIXELS
from vitrina.data.options import DEFAULT_COLUMNS, NO_COLUMN, NONE, Columns, ReadingOptions
from vitrina.data.sources import DEFAULT_FETCHING, WEB, Fetching
from vitrina.errors import CatalogueError


@dataclass(frozen=True)
class Reading:
    """How a catalogue is read: all that a later batch of the same kind needs to be told.

    Attributes:
        columns: the table's columns.
        delimiter: of a CSV file; None to find it out.
        encoding: of a CSV, JSONL or YML file; None to find it out, which is UTF-8 for a table.
        images: the folder or archive of photos, or `web`; None for none.
        image_template: how photos are named; None to find it out for each catalogue file, so
            that training and test products find their own folders.
        photos: how many photos of a product to use at most.
        fetching: how photos are fetched from the web.
        category_separator: between the names of a category's path; None until one is found or
            given, `none` for names that are no paths.
        max_pixels: the most that a photo may have. It is given anew each time, and not stored.
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

    def with_options(self, given: ReadingOptions) -> Reading:
        """These settings with what is given in its place; see `vitrina.data.options`."""
        fetching = {"workers": given.fetchers, "allow_private": given.allow_private}
        asked: dict[str, Any] = {n: value for n, value in fetching.items() if value is not None}
        changes: dict[str, Any] = {"fetching": replace(self.fetching, **asked)}
        unset = {one.name: one.metadata.get("unset", ()) for one in fields(given)}
        for setting in fields(self):
            value = getattr(given, setting.name, None)
            if value is not None:
                back = value in unset.get(setting.name, ())
                changes[setting.name] = setting.default if back else value
        changes["columns"] = self.columns.updated(given.columns)
        if given.images is not None:
            # Photos elsewhere may be named otherwise.
            changes.setdefault("image_template", None)
            nowhere = given.images in (NONE, "")
            changes["images"] = None if nowhere else str(_absolute(given.images))
            if nowhere and "image" not in given.columns.given:
                changes["columns"] = _without_photos(changes["columns"])
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON's types, but for what is a right of whoever runs the command."""
        settings = asdict(self)
        del settings["max_pixels"]
        for name in ("attributes", "keep"):
            settings["columns"][name] = list(getattr(self.columns, name))
        return settings

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> Reading:
        """Read what `to_json` gave. Raises CatalogueError for anything else."""
        try:
            if "max_pixels" in settings:
                raise ValueError("max_pixels is not among them")
            columns = dict(settings["columns"])
            columns["attributes"] = tuple(columns["attributes"])
            # Settings stored by version 0.1 have none.
            columns["keep"] = tuple(columns.get("keep", ()))
            fetching = Fetching(**settings.get("fetching", {}))
            # Version 0.1 had no way to say that none was given.
            encoding = None if settings.get("encoding") == "utf-8" else settings.get("encoding")
            made = {"columns": Columns(**columns), "fetching": fetching, "encoding": encoding}
            return cls(**{**settings, **made})
        except (KeyError, TypeError, ValueError) as err:
            raise CatalogueError(f"these are no settings of a catalogue: {err}") from err


def _without_photos(columns: Columns) -> Columns:
    """The columns without the one that has photos or their names, which asks where they are."""
    return columns if columns.image is None else replace(columns, image=NO_COLUMN)


def _absolute(location: str | Path) -> str | Path:
    elsewhere = str(location) == WEB or "://" in str(location)
    return location if elsewhere else Path(location).expanduser().absolute()
