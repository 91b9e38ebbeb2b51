"""Options of reading a file of products.

None or an empty tuple means that an option is not given, so that the value saved in the
store applies. "none" resets a saved value, as does "" for columns and photos, and "auto" where the
default is detection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from vitrina.data.image_limits import MAX_PIXELS, MEGAPIXEL, MOST_MEGAPIXELS, in_pixels
from vitrina.options import Options, Panel, flag, option, split_values

NONE = "none"
UNSET = (NONE, "auto")
"""Values that reset most options to their defaults."""
NO_COLUMN = ""
"""Value for no column, even if the file has one of the default name."""
SOURCE = (
    "Name of the shop or feed that the products come from; default: the feed's own name, else the "
    "store's only source."
)
PHOTOS = "Folder, zip or tar of photos, web, or none; default: the one saved in the store."
"""Help of options that several jobs share."""
NO_COLUMNS = (NO_COLUMN,)
"""Value for no columns, for an option that takes several names."""


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    names = tuple(value) if not isinstance(value, str) else split_values(value) or NO_COLUMNS
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"names of columns are text, not {names!r}")
    return NO_COLUMNS if names in ((NONE,), NO_COLUMNS) else names


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; None means the default name, if the table has it.

    "none" or "" means no column, and for the id the default name. Several names are a tuple, or a
    string separated by commas, in which a name with a comma is quoted as in CSV.

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

    Examples
    --------
    >>> vt.Columns(title="name", keep="price,stock").keep
    ('price', 'stock')
    >>> vt.Columns(title="name", keep='"Price, EUR",stock').keep
    ('Price, EUR', 'stock')
    """

    PANEL = Panel.COLUMNS

    product_id: str | None = option(
        "Column of product ids; default: product_id.", flag="id-column", metavar="COLUMN"
    )
    title: str | None = option(
        "Column of titles; default: title; none: no title.", flag="title-column", metavar="COLUMN"
    )
    description: str | None = option(
        "Column of descriptions; default: description; none: leave it out.",
        flag="description-column",
        metavar="COLUMN",
    )
    attributes: tuple[str, ...] = option(
        "Further columns to add to the text, separated by commas; a name with a comma in double "
        "quotes; none: no more.",
        default=(),
        listed=True,
        flag="attribute-columns",
        metavar="COLUMNS",
    )
    shop: str | None = option(
        "Column of shop names; default: shop_title; none: leave it out.",
        flag="shop-column",
        metavar="COLUMN",
    )
    category_id: str | None = option(
        "Column of category ids; default: category_id; none: leave it out.",
        flag="category-column",
        metavar="COLUMN",
    )
    category_name: str | None = option(
        "Column of category names or paths; default: category_name; none: leave it out.",
        flag="category-name-column",
        metavar="COLUMN",
    )
    image: str | None = option(
        "Column of photo names or URLs, or of encoded photos; none: no such column.",
        flag="image-column",
        metavar="COLUMN",
    )
    keep: tuple[str, ...] = option(
        "Columns to keep as metadata, such as price,stock; a name with a comma in double quotes; "
        "none: no more.",
        default=(),
        listed=True,
        flag="keep-columns",
        metavar="COLUMNS",
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
class ReadingOptions(Options):
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
        num_workers: number of photos fetched from the web at once.
        allow_private: whether photos may be fetched from private addresses.
        source: the shop or feed whose saved settings apply, if the store holds several.
        query: of a database, an SQL query or the name of a table. Never saved in a store.
        max_megapixels: limit on a photo's size in million pixels. Never saved in a store, since an
            untrusted store must not raise it.

    Raises OptionError for another type or a limit out of range.

    Examples
    --------
    >>> options = vt.ReadingOptions(images="none", photos=2)
    >>> vt.open_batch(batch, store, options).images is None
    True
    """

    PANEL = Panel.READING

    images: str | None = option(
        "Folder, zip or tar of photos, web for URLs in the file, or none; default: the saved one.",
        unset=UNSET,
        panel=Panel.PHOTOS,
        metavar="PLACE",
    )
    image_template: str | None = option(
        "Template of photo names, such as images/{product_id}.jpg; none: detect it.",
        unset=UNSET,
        panel=Panel.PHOTOS,
    )
    photos: int | None = option(
        "Maximum photos per product; default: 1.", least=1, unset=UNSET, panel=Panel.PHOTOS
    )
    columns: Columns = DEFAULT_COLUMNS
    delimiter: str | None = option(
        "Delimiter of a CSV file; auto (default): detect it.", unset=UNSET
    )
    encoding: str | None = option(
        "Encoding of a CSV, JSON or YML file, such as cp1251; auto (default): detected for YML, "
        "utf-8 for the others.",
        unset=UNSET,
    )
    category_separator: str | None = option(
        "Separator between the names of a category path; auto (default): detect it; none: names "
        "are no paths.",
        unset=("auto",),
    )
    num_workers: int | None = option(
        "Photos to fetch at the same time with --images web; default: 16, at most 4 of one host.",
        least=1,
        unset=UNSET,
        panel=Panel.PHOTOS,
        aliases=("fetchers",),
    )
    allow_private: bool | None = option(
        "Fetch photos from private addresses too; never saved in the store.",
        flag="--allow-private/--no-allow-private",
        unset=UNSET,
        panel=Panel.PHOTOS,
        right=True,
    )
    source: str | None = option(
        SOURCE,
        unset=UNSET,
        metavar="NAME",
    )
    query: str | None = option(
        "Of a database (postgresql://USER@HOST/NAME or sqlite:///FILE): the SQL query, or the "
        "table, to read.",
        repr=False,
        panel=Panel.FILES,
    )
    max_megapixels: int | None = option(
        f"Refuse larger photos, in million pixels; default: {MAX_PIXELS // MEGAPIXEL}. Not "
        "saved in the store.",
        least=1,
        most=MOST_MEGAPIXELS,
        repr=False,
        panel=Panel.PHOTOS,
        right=True,
    )

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of a photo."""
        return in_pixels(self.max_megapixels)

    @property
    def flags(self) -> list[str]:
        """Command-line names of the options that are given."""
        own = [one for one in fields(self) if one.name != "columns"]
        given = [flag(one) for one in own if getattr(self, one.name) is not None]
        named = self.columns.given
        return given + [flag(one) for one in fields(Columns) if one.name in named]


DEFAULT_OPTIONS = ReadingOptions()


def whole_table(name: str) -> str:
    """Return the `query` that reads a whole table, whose name may have spaces."""
    parts = name.split(".") if '"' not in name else [name]
    return ".".join(part if '"' in part or part.isidentifier() else f'"{part}"' for part in parts)
