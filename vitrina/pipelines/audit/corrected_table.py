"""Import of decisions from a table that a person has edited, such as an exported one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrina.data.options import NO_COLUMN
from vitrina.data.readers import Columns, Records, TableOptions
from vitrina.data.readers.base import Fault
from vitrina.data.readers.detect import open_table
from vitrina.data.readers.ids import read_id
from vitrina.data.readers.marketplace import text_of
from vitrina.errors import CatalogueError
from vitrina.ids import id_keys
from vitrina.pipelines.audit.corrections import category_names
from vitrina.store.decisions import Decision, add_decisions
from vitrina.store.store import OpenStore
from vitrina.tables.csv_file import unguarded
from vitrina.types import Action, CategoryId, IdType, ProductId

PRODUCT, CATEGORY, NAME, GIVEN = "product_id", "category_id", "category_name", "given_category_id"
_NOTHING = "nothing was imported"


@dataclass(frozen=True)
class _Row:
    """One row of the table. category: None if the person named none."""

    product_id: ProductId
    category: CategoryId | None
    given: CategoryId | None


def import_table(store: OpenStore, path: Path) -> int:
    """Import the right categories from a table with `product_id` and `category_id` or
    `category_name`; other columns, but for `given_category_id`, are ignored.

    A row whose category is the product's own one confirms it; another one corrects it. Rows without
    a category, and rows that say what is in force already, add nothing. A decision is about the
    label in `given_category_id` if there is that column, else about the product's current one.
    Returns the number of new decisions.

    Raises CatalogueError, with the file and the row, for a table that is not valid; nothing is
    imported then.
    """
    records = open_table(path, TableOptions(Columns(title=NO_COLUMN)))
    rows = list(_rows(records, store))
    positions = store.products.table.positions(id_keys([one.product_id for one in rows])).tolist()
    labels, standing = store.categories(), store.decisions().standing
    found = []
    for at, (one, position) in enumerate(zip(rows, positions, strict=True)):
        if position < 0:
            raise CatalogueError(
                f"{path}: product {one.product_id} is not in {store.place}; {_NOTHING}"
            )
        code = labels.codes[position]
        given = one.given
        if given is None and code >= 0:
            given = labels.ids[code]
        decided = standing.get(one.product_id)
        if decided is not None and (decided.category, decided.given) == (one.category, given):
            continue
        action = Action.KEEP if one.category == given else Action.MOVE
        shown = {"table": path.name, "row": at + records.first_row}
        found.append(
            Decision(one.product_id, action, given, one.category, reviewer=path.name, shown=shown)
        )
    if found:
        add_decisions(store.files, store.products, found)
    return len(found)


def _rows(records: Records, store: OpenStore) -> Iterator[_Row]:
    """The rows that name a category."""
    names = records.names
    if PRODUCT not in names or not {CATEGORY, NAME} & set(names):
        raise CatalogueError(
            f"{records.path}: decisions need the columns {PRODUCT}, and {CATEGORY} or {NAME}; "
            f"there are {', '.join(names)}"
        )
    wanted = [name for name in (PRODUCT, CATEGORY, NAME, GIVEN) if name in names]
    ids = _Categories(category_names(store), store.id_types[1])
    seen: dict[ProductId, int] = {}
    for number, values in enumerate(records.rows(wanted), records.first_row):
        if values is None:
            continue
        try:
            if isinstance(values, Fault):
                raise ValueError(values.reason)
            row = dict(zip(wanted, map(_plain, values), strict=True))
            product = read_id(PRODUCT, row[PRODUCT], store.id_types[0])
            category = ids.of(row.get(CATEGORY), row.get(NAME))
            if product is None and category is not None:
                raise ValueError(f"no {PRODUCT}")
            if product is None or category is None:
                continue
            if product in seen:
                raise ValueError(f"product {product} stands in row {seen[product]} too")
            seen[product] = number
            yield _Row(product, category, read_id(GIVEN, row.get(GIVEN), store.id_types[1]))
        except (ValueError, RecursionError) as err:
            raise CatalogueError(f"{records.path}: row {number}: {err}; {_NOTHING}") from err


class _Categories:
    """The categories of a store, by id and by path."""

    def __init__(self, names: Mapping[CategoryId, str], kind: IdType) -> None:
        self._names, self._kind = names, kind
        self._by_name: dict[str, list[CategoryId]] = {}
        for key, name in names.items():
            self._by_name.setdefault(_folded(name), []).append(key)

    def of(self, key: Any, name: Any) -> CategoryId | None:
        """The category of a row; None if it names none. Raises ValueError for one that is not in
        the store, and for an id and a name of different ones."""
        category = read_id(CATEGORY, key, self._kind)
        path = "" if name is None else text_of(name)
        if category is not None and category not in self._names:
            raise ValueError(f"{CATEGORY} {category} is no category of the store")
        if not path:
            return category
        named = self._by_name.get(_folded(path), [])
        if not named:
            raise ValueError(f"{path!r} is no category of the store")
        if category is not None:
            if category in named:
                return category
            raise ValueError(
                f"{CATEGORY} {category} is {self._names[category]!r}, but {NAME} is {path!r}: "
                "change both, or empty one"
            )
        if len(named) > 1:
            raise ValueError(f"{path!r} is the name of several categories: give {CATEGORY}")
        return named[0]


def _plain(value: Any) -> Any:
    return unguarded(value) if isinstance(value, str) else value


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())
