"""Options for reading a file of products: fields with their help, defaults and limits.

The command line's options and the option names in error messages come from these fields; a new
option is a new field. None or an empty tuple means that an option is not given, so the value saved
in the store applies. "none" unsets a saved value, as does "" for columns and photos, and "auto" if
the default is detection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from vitrina.data.image_limits import MAX_PIXELS, MEGAPIXEL, MOST_MEGAPIXELS
from vitrina.errors import CatalogueError

NONE = "none"
UNSET = (NONE, "auto")
"""Values that reset most options to their defaults."""
NO_COLUMN = ""
"""Value for no column, even if the file has one of the default name."""
NO_COLUMNS = (NO_COLUMN,)
"""Value for no columns, for an option that takes several names."""


def option(
    text: str,
    *,
    default: Any = None,
    name: str | None = None,
    least: int = 0,
    most: int | None = None,
    unset: tuple[str, ...] = UNSET,
    repr: bool = True,
) -> Any:
    """Return a dataclass field that is an option.

    text: the help. name: the option's name if it differs from the field's. least, most: minimum
    and maximum of a number. unset: values that reset the default. repr: false if no result depends
    on the option.
    """
    metadata = {"help": text, "name": name, "min": least, "max": most, "unset": unset}
    return field(default=default, metadata=metadata, repr=repr)


def option_name(of: Field[Any]) -> str:
    """Return the name of a field's option as a Python name: `id_column`."""
    return of.metadata.get("name") or of.name


def flag(of: Field[Any]) -> str:
    """Return a field's option on the command line: `--id-column`."""
    return f"--{option_name(of).replace('_', '-')}"


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        names = tuple(name.strip() for name in value.split(",") if name.strip()) or NO_COLUMNS
    else:
        names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"names of columns are text, not {names!r}")
    return NO_COLUMNS if names in ((NONE,), NO_COLUMNS) else names


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; None means the default name, if the table has it.

    "none" or "" means no column, and for the id the default name. Several names are a tuple, or a
    string separated by commas.

    Attributes:
        product_id: default "product_id".
        title: default "title".
        description: default "description".
        attributes: further columns, whose text is added to the attributes as "name: value".
        shop: default "shop_title".
        category_id: default "category_id".
        category_name: default "category_name".
        image: names or paths of photos (a string or a list of them), or the photos' bytes;
            no default.
        keep: further columns to keep as metadata, which is not part of the text.
    """

    product_id: str | None = option("Default: product_id.", name="id_column")
    title: str | None = option("Default: title; none: no title.", name="title_column")
    description: str | None = option(
        "Default: description; none: leave it out.", name="description_column"
    )
    attributes: tuple[str, ...] = option(
        "Further columns to add to the text, with commas between; none: no longer.",
        default=(),
        name="attribute_columns",
    )
    shop: str | None = option("Default: shop_title; none: leave it out.", name="shop_column")
    category_id: str | None = option(
        "Default: category_id; none: leave it out.", name="category_column"
    )
    category_name: str | None = option(
        "Default: category_name; none: leave it out.", name="category_name_column"
    )
    image: str | None = option(
        "A column of photo names or URLs, or of the photos themselves; none: no longer.",
        name="image_column",
    )
    keep: tuple[str, ...] = option(
        "Columns to keep beside the text, such as price,stock; none: no longer.",
        default=(),
        name="keep_columns",
    )

    def __post_init__(self) -> None:
        """Normalize unset values. Raises TypeError for a name that is not text."""
        for one in fields(self):
            value: Any = getattr(self, one.name)
            if one.default == ():
                object.__setattr__(self, one.name, _names(value))
            elif value is not None:
                (name,) = _names((value,))
                object.__setattr__(self, one.name, name)

    @property
    def given(self) -> frozenset[str]:
        """Names of the fields that are set."""
        return frozenset(name for name, value in vars(self).items() if value not in (None, ()))

    def updated(self, other: Columns) -> Columns:
        """Return these columns, overridden by the fields that are set in `other`."""
        named = {name: getattr(other, name) for name in other.given}
        changes: dict[str, Any] = {n: () if v == NO_COLUMNS else v for n, v in named.items()}
        if changes.get("product_id") == NO_COLUMN:
            changes["product_id"] = None
        return replace(self, **changes)


DEFAULT_COLUMNS = Columns()


@dataclass(frozen=True)
class ReadingOptions:
    """Options given for reading a file of products; values saved in the store fill the rest.

    Attributes:
        images: location of the photos: a folder, an archive or "web"; "none" for no photos.
        image_template: template of photo names; "none" to detect it.
        photos: maximum number of photos per product.
        columns: the table's columns.
        delimiter: of a CSV file; "auto" to detect it.
        encoding: of a CSV, JSON or YML file; "auto" for the default.
        category_separator: between the names of a category path; "none" for names that are no
            paths, "auto" to detect it.
        fetchers: number of photos fetched from the web at once.
        allow_private: whether photos may be fetched from private addresses.
        source: the shop or feed whose saved settings apply, if the store holds several.
        max_megapixels: limit on a photo's size in million pixels. Never saved in a store, since an
            untrusted store must not raise it.
    """

    images: str | None = option("Folder, zip or tar of photos, web, or none; default: remembered.")
    image_template: str | None = option(
        "A photo's name, such as images/{product_id}.jpg; none: found out."
    )
    photos: int | None = option("Photos of a product to use; default: 1.", least=1)
    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = option("Of a CSV; auto, the default: found out.")
    encoding: str | None = option(
        "Of a CSV, JSON or YML, such as cp1251; auto, the default: found out of a feed, else utf-8."
    )
    category_separator: str | None = option(
        "Between the names of a category's path; auto, the default: found out; none: no path.",
        unset=("auto",),
    )
    fetchers: int | None = option("With --images web: photos fetched at once.", least=1)
    allow_private: bool | None = option(
        "Whether to fetch photos from private addresses too; never remembered."
    )
    source: str | None = option(
        "Name of the shop or feed that the products come from; default: the feed's own name, else "
        "the store's only source."
    )
    max_megapixels: int | None = option(
        f"Refuse larger photos, in million pixels; default: {MAX_PIXELS // MEGAPIXEL}. Not "
        "remembered.",
        least=1,
        most=MOST_MEGAPIXELS,
        repr=False,
    )

    def __post_init__(self) -> None:
        """Convert `images` to text. Raises CatalogueError for a limit out of range."""
        if self.images is not None:
            object.__setattr__(self, "images", str(self.images))
        limit = self.max_megapixels
        if limit is not None and not 1 <= limit <= MOST_MEGAPIXELS:
            raise CatalogueError(
                f"--max-megapixels must be from 1 to {MOST_MEGAPIXELS}, not {limit!r}"
            )

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of a photo."""
        limit = self.max_megapixels
        return MAX_PIXELS if limit is None else int(limit * MEGAPIXEL)

    @property
    def flags(self) -> list[str]:
        """Command-line names of the options that are given."""
        own = [one for one in fields(self) if one.name != "columns"]
        given = [flag(one) for one in own if getattr(self, one.name) is not None]
        named = self.columns.given
        return given + [flag(one) for one in fields(Columns) if one.name in named]


DEFAULT_OPTIONS = ReadingOptions()
