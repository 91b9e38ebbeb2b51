"""Categories of a table's products: the id, the path of names, or the fault that costs both."""

from __future__ import annotations

from typing import Any, NamedTuple

from vitrina.data.readers.base import IdType
from vitrina.data.readers.categories import ARROW, NEVER, CategoryPaths
from vitrina.data.readers.ids import read_id
from vitrina.data.readers.survey import Survey
from vitrina.types import CategoryId


class Label(NamedTuple):
    """A product's category; fault: why a part of it can't be used, "" if it can."""

    category_id: CategoryId | None = None
    name: str | None = None
    fault: str = ""


NO_LABEL = Label()


class Labels:
    """Reads categories from a column of ids, one of names, or one column that is both.

    Attributes:
        kind: the type of the ids; None where there is none.
        separator: between the names of a path, to read later files alike; None if unknown, or
            if paths have the stored form already.
        notes: how categories are read, for the user.
    """

    def __init__(
        self, survey: Survey, ids: str | None, names: str | None, separator: str | None
    ) -> None:
        """ids, names: the columns, of which one may be None. separator: as given, if it was."""
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
        """The label of one row. A value that can't be used costs the label: nothing is raised.

        name_value: the same as `id_value` where one column is both.
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
