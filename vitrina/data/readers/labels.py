"""Category labels of a table's products: id, path of names, and fault."""

from __future__ import annotations

from typing import Any, NamedTuple

from vitrina.data.readers.base import IdType
from vitrina.data.readers.categories import ARROW, NEVER, CategoryPaths
from vitrina.data.readers.ids import read_id
from vitrina.data.readers.survey import ColumnSurvey
from vitrina.types import CategoryId


class Label(NamedTuple):
    """A product's category. fault: reason why a part of it can't be used, or ""."""

    category_id: CategoryId | None = None
    name: str | None = None
    fault: str = ""


NO_LABEL = Label()


class Labels:
    """Reader of categories from a column of ids, one of names, or one column that is both.

    Attributes:
        kind: the type of the ids; None if there are none.
        separator: between the names of a path, so that later files are read alike; None if
            unknown, or if paths have the stored form already.
        notes: notes for the user on how categories are read.
    """

    def __init__(
        self, survey: ColumnSurvey, ids: str | None, names: str | None, separator: str | None
    ) -> None:
        """ids, names: the columns, or None. separator: the given separator, if any."""
        self._column = ids or names
        self.kind: IdType | None = None if self._column is None else survey.id_type(self._column)
        self.separator = separator
        self.notes: list[str] = []
        are_paths = separator not in (None, NEVER)
        if separator is None and (found := survey.paths.separator()) is not None:
            are_paths = True
            if found != ARROW:
                self.separator = found
                self.notes.append(f"category paths are split at {found!r}")
        if ids is None and names is not None:
            self.notes.append(
                f"categories have no id: their names, in column {names!r}, serve as ids"
            )
        self._names_are_ids = names is None or ids is None
        self._named = names is not None or (self.kind is str and (are_paths or survey.paths.lists))
        self._paths = CategoryPaths(self.separator)

    def read(self, id_value: Any, name_value: Any) -> Label:
        """Read the label of one row. An unusable value is recorded as a fault and never raises.

        name_value: equal to `id_value` if one column is both.
        """
        category_id, name, fault = None, None, ""
        try:
            if self.kind is str and isinstance(id_value, list | tuple):
                id_value = self._paths.path(id_value)
            category_id = read_id("category_id", id_value, self.kind or str)
        except (ValueError, RecursionError) as err:
            fault = _reason("category_id", err)
        if self._named and not (self._names_are_ids and category_id is None):
            try:
                name = self._paths.path(name_value) or None
            except (ValueError, RecursionError) as err:
                fault = fault or _reason("category_name", err)
        return Label(category_id, name, fault)


def _reason(label: str, err: Exception) -> str:
    if isinstance(err, UnicodeDecodeError):
        return f"{label} is not valid {err.encoding}"
    return "lists nested too deep" if isinstance(err, RecursionError) else str(err)
