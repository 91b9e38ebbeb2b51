"""Flat columns for formats without lists and records.

The rules follow the type and the name of a column:

- a ranking of categories (`top_k`) becomes `second_category_id`, `second_category_name`,
  `second_probability`, and the same for the third; the first stands in columns of its own;
- a record becomes a column for each field: `vote_category_id`, `vote_share`;
- a list of records becomes text, an item for each: "1937 (0.91); 2044 (0.88)";
- any other list becomes text: "neighbours, copies".

Names of categories are added where only their ids stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa

from vitrina.types import CategoryId

RANKING = "top_k"
PREDICTED = "predicted_category_id"
NEIGHBOURS = "neighbours"
REASONS = "reasons"
_PLACES = ("second", "third")

_Make = Callable[[Mapping[str, Any]], Any]


class FlatColumns:
    """Conversion of tables with a schema to flat columns.

    Attributes:
        schema: of the flat tables.
    """

    def __init__(
        self, schema: pa.Schema, names: Mapping[CategoryId, str | None] | None = None
    ) -> None:
        """names: of categories by id, to be added beside ids; None to add none."""
        self._names = names
        self._columns: list[tuple[pa.Field, str, _Make | None]] = []
        for field in schema:
            self._columns += self._of(field)
        if {PREDICTED, NEIGHBOURS} <= set(schema.names) and REASONS not in schema.names:
            at = [field.name for field, *_ in self._columns].index(NEIGHBOURS)
            field = pa.field(REASONS, pa.string())
            self._columns.insert(at, (field, "", _reasons))
        self.schema = pa.schema([field for field, *_ in self._columns])

    def convert(self, table: pa.Table) -> pa.Table:
        """Return a table with flat columns, in the order of the rows."""
        nested = [one.name for one in table.schema if _is_nested(one.type)]
        if not nested:
            columns = [table.column(source) for _, source, _ in self._columns]
            return pa.table(columns, schema=self.schema)
        needed = [name for name in table.column_names if name in nested or name == PREDICTED]
        rows = table.select(needed).to_pylist()
        arrays = [
            table.column(source)
            if make is None
            else pa.array([make(row) for row in rows], field.type)
            for field, source, make in self._columns
        ]
        return pa.table(arrays, schema=self.schema)

    def _of(self, field: pa.Field) -> Iterable[tuple[pa.Field, str, _Make | None]]:
        name, kind = field.name, field.type
        if pa.types.is_struct(kind):
            yield from self._record(name, kind)
        elif not _is_nested(kind):
            yield pa.field(name, kind), name, None
        elif name == RANKING and pa.types.is_struct(kind.value_type):
            yield from self._ranking(name, kind.value_type)
        elif pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            yield pa.field(name, pa.string()), name, lambda row: _items(row[name])
        else:
            yield pa.field(name, pa.string()), name, lambda row: _text(row[name])

    def _record(
        self, name: str, kind: pa.StructType
    ) -> Iterable[tuple[pa.Field, str, _Make | None]]:
        for one in kind:
            flat = f"{name}_{one.name}"
            nested = _is_nested(one.type)
            made = _part(name, one.name, nested=nested)
            yield pa.field(flat, pa.string() if nested else one.type), name, made
            if one.name == "category_id" and self._names is not None:
                yield pa.field(f"{name}_category_name", pa.string()), name, self._named(made)

    def _ranking(
        self, name: str, kind: pa.StructType
    ) -> Iterable[tuple[pa.Field, str, _Make | None]]:
        for at, place in enumerate(_PLACES, start=1):
            for one in kind:
                made = _ranked(name, at, one.name)
                yield pa.field(f"{place}_{one.name}", one.type), name, made
                if one.name == "category_id" and self._names is not None:
                    yield pa.field(f"{place}_category_name", pa.string()), name, self._named(made)

    def _named(self, category: _Make) -> _Make:
        names = self._names or {}
        return lambda row: names.get(category(row)) or None


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))


def _part(name: str, field: str, *, nested: bool) -> _Make:
    def make(row: Mapping[str, Any]) -> Any:
        value = (row[name] or {}).get(field)
        return _text(value) if nested else value

    return make


def _ranked(name: str, at: int, field: str) -> _Make:
    def make(row: Mapping[str, Any]) -> Any:
        ranking = row[name] or ()
        return ranking[at][field] if len(ranking) > at else None

    return make


def _items(values: Any) -> str | None:
    """Records as text: the first field, with the score in parentheses."""
    if values is None:
        return None
    return "; ".join(map(_item, values))


def _item(record: Mapping[str, Any] | None) -> str:
    if not record:
        return ""
    first = next(iter(record.values()))
    score = record.get("score")
    return f"{first}" if score is None else f"{first} ({score:.2f})"


def _text(value: Any) -> str | None:
    """A nested value as text."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) or "" for one in value)
    return str(value)


def _reasons(row: Mapping[str, Any]) -> str | None:
    """The reasons of a prediction in words."""
    told = []
    alone = {mode: share for mode, share in (row.get("alone") or {}).items() if share is not None}
    if len(alone) > 1:
        told += [f"{share:.0%} by {mode} alone" for mode, share in alone.items()]
    near = row[NEIGHBOURS] or ()
    if near:
        same = sum(one["category_id"] == row[PREDICTED] for one in near)
        told.append(f"{same} of {len(near)} neighbours are in this category")
    return "; ".join(told) or None
