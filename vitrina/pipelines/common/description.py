"""Description of a store: JSON values that show themselves, and a table of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from vitrina.page.summary import Summary, counted
from vitrina.results import Tabular

_LISTS = {"sources": "source", "spaces": "space", "indexes": "index", "models": "head"}
_SCHEMA = pa.schema([(name, pa.string()) for name in ("part", "name", "property", "value")])


class Description(dict[str, Any], Tabular):
    """Content of a store as JSON values, by name.

    As a table it has a row for each value: `part` ("store", "source", "space", "index", "head",
    "decisions" or "reading"), `name` of the part, `property`, and `value` as text.
    """

    __repr__ = Tabular.__repr__

    def to_arrow(self) -> pa.Table:
        """All values as text, one in each row."""
        return pa.Table.from_pylist([*self._rows()], schema=_SCHEMA)

    def _rows(self) -> Iterator[dict[str, str | None]]:
        for key, value in self.items():
            if key in _LISTS:
                for one in value:
                    name = str(one.get("name") or one.get("features") or "")
                    yield from _properties(_LISTS[key], name, one)
            elif isinstance(value, Mapping):
                yield from _properties(key, "", value)
            else:
                yield _row("store", "", key, value)

    def summary(self) -> Summary:
        """A line for each part."""
        facts: list[tuple[str, Any]] = [
            ("products", self._products_line()),
            ("sources", [one["name"] for one in self.get("sources", ()) if one["name"]]),
        ]
        for one in self.get("spaces", ()):
            idle = "" if one["active"] else ", not in use"
            failed = f", {one['errors']:,} failed" if one["errors"] else ""
            line = f"{one['model']}, {one['rows']:,} x {one['dim']} {one['dtype']}{failed}{idle}"
            facts.append((f"space {one['name']}", line))
        for one in self.get("indexes", ()):
            recall = one.get("recall", {}).get("value")
            told = "" if recall is None else f", recall {recall:.3f}"
            facts.append((f"index {one['features']}", f"{one['kind']}, {one['rows']:,} rows{told}"))
        for one in self.get("models", ()):
            line = f"{one['head']} over {one['features']}, {one['categories']} categories, "
            line += f"weighted F1 {one['weighted_f1']:.4f}" + (", in use" if one["active"] else "")
            facts.append((f"head {one['name']}", line))
        decided = {key: count for key, count in self.get("decisions", {}).items() if count}
        facts.append(("decisions", decided))
        return Summary(f"Store {self.get('store', '')}, commit {self.get('commit', 0)}", facts)

    def _products_line(self) -> str:
        line = f"{self.get('products', 0):,}"
        for name, words in (("text", "text"), ("image", "a photo")):
            if f"with_{name}" in self:
                line += f", {self[f'with_{name}']:,} with {words}"
        if categories := self.get("categories"):
            line += f", {self.get('with_category', 0):,} in "
            line += counted(categories, "category", "categories")
        rejected = self.get("rejected")
        return line + (f"; {counted(rejected, 'row')} rejected" if rejected else "")


def _properties(part: str, name: str, values: Mapping[str, Any]) -> Iterator[dict[str, str | None]]:
    for key, value in values.items():
        if key != "name":
            yield _row(part, name, key, value)


def _row(part: str, name: str, key: str, value: Any) -> dict[str, str | None]:
    if value is not None and not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return {"part": part, "name": name, "property": key, "value": value}
