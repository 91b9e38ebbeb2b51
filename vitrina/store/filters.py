"""Search filters: conditions such as `price<=1000`, and category subtrees.

A condition reads a column of the product table, or a key of its metadata. The table is streamed
once for all conditions, and only the columns they name are read.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vitrina.errors import StoreError, wrong_usage
from vitrina.store.products import Products
from vitrina.store.subtree import Subtree
from vitrina.types import CategoryId, Mask

METADATA = "metadata"

_SHOWN_NAMES = 20
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_WHOLE_NUMBER = f"^(?:{_NUMBER})$"
_SHOWN_TEXT = 40
_CONDITION = re.compile(r"(?!!=)([^=<>~]+?)\s*(!=|<=|>=|[=<>~])(.*)", re.DOTALL)


class Operator(StrEnum):
    """Comparison of a cell with a condition's value."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = "~"


# The comparison in Python or NumPy, and in Arrow.
_COMPARE: dict[Operator, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    Operator.EQUAL: (operator.eq, pc.equal),
    Operator.LESS: (operator.lt, pc.less),
    Operator.AT_MOST: (operator.le, pc.less_equal),
    Operator.MORE: (operator.gt, pc.greater),
    Operator.AT_LEAST: (operator.ge, pc.greater_equal),
}
_ORDERS = frozenset(_COMPARE) - {Operator.EQUAL}


@dataclass(frozen=True)
class Condition:
    """A condition on products.

    column: of the product table, else a key of the metadata; `metadata.KEY` is always the key.
    value: as it was typed; empty only with `=` and `!=`.

    - Numbers are compared as numbers, whatever their form: `5` equals `5.0`.
    - Text equals only identical text; `~` matches a substring and ignores case.
    - Text is ordered numerically if the value is a number (text that is not a number is then
      neither below nor above it), else by code points.
    - Metadata may hold either, product by product. Booleans equal the words `true` and `false` in
      any case, and have no order.
    - A list matches `=` or `~` if any of its items does; lists have no order.
    - `!=` is the complement of `=`, so products without a value satisfy it. They satisfy no other.

    Raises StoreError for text that is not valid Unicode, an empty column, or an empty value with
    another operator than `=` and `!=`.
    """

    column: str
    operator: Operator
    value: str

    def __post_init__(self) -> None:
        try:
            (self.column + self.value).encode()
        except UnicodeEncodeError:
            raise StoreError(f"the condition {str(self)!r} is not valid text") from None
        if not self.column:
            raise StoreError(f"the condition {str(self)!r} names no column")
        if not self.value and self.operator not in (Operator.EQUAL, Operator.UNEQUAL):
            raise StoreError(f"the condition {str(self)!r} has no value to compare with")

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {self.value}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse `COLUMN OPERATOR VALUE`, with or without spaces, split at the first operator.

        A value that begins like an operator needs a space before it, since `price=>5` and
        `shop==Foo` are typos. Raises StoreError for text that is not a condition.
        """
        found = _CONDITION.fullmatch(text.strip())
        if not found or found[3].startswith(("=", "<", ">", "~")):
            raise wrong_usage(
                StoreError(
                    f"{text!r} is no condition; write a column, one of {' '.join(Operator)} "
                    "and a value, such as 'price<=1000' or 'title~чай'"
                )
            )
        return cls(found[1], Operator(found[2]), found[3].strip())

    @property
    def number(self) -> int | float | None:
        """The value as a finite number, an integer if it is whole; None if it is not a number."""
        if not re.fullmatch(_NUMBER, self.value):
            return None
        number = float(self.value)
        if not math.isfinite(number):
            return None
        # Integers above 2**53 would lose their last digits as floats.
        if self.value.lstrip("+-").isdigit():
            return int(self.value)
        return int(number) if number.is_integer() else number


def matching(
    products: Products, conditions: Sequence[Condition], category: CategoryId | None = None
) -> Mask:
    """Find the products that satisfy all conditions and belong to a category.

    Returns (n,) bool in the product table's order.

    category: an id, for its products and those of the categories below it; or a path from the
    root, such as `Одежда->Женская`, for that node and all below it. Paths are compared segment by
    segment, ignoring case and extra spaces. Text is a path if it is no product's category id. A
    product without a category name gets its id's most frequent one.

    Raises StoreError for a column, key or category that no product has, for a value that is not a
    number where a column or key holds only numbers, for a numeric order over texts none of which
    is a number, for an order over lists, and for a store without products.
    """
    schema = products.schema
    own = [one for one in conditions if one.column in schema.names]
    keys = [one for one in conditions if one.column not in schema.names]
    tests: list[_Column | _Metadata | Subtree] = [
        _Column(one, schema.field(one.column).type) for one in own
    ]
    metadata = _Metadata(keys)
    tests += [metadata] if keys else []
    tests += [Subtree.find(products, category)] if category is not None else []
    mask = np.ones(len(products), dtype=np.bool_)
    if tests:
        columns = dict.fromkeys(name for test in tests for name in test.columns)
        for start, batch in products.batches(list(columns)):
            for test in tests:
                mask[start : start + batch.num_rows] &= test.holds(batch)
    metadata.check(products)
    for test in tests:
        if isinstance(test, _Column):
            test.check()
    return mask


class _Column:
    """A condition on a column of the product table."""

    def __init__(self, condition: Condition, kind: pa.DataType) -> None:
        self.columns = (condition.column,)
        self._condition = condition
        if pa.types.is_list(kind):
            self._found = _in_lists
            if condition.operator in _ORDERS:
                raise StoreError(f"{condition.column} is a list, which only =, != and ~ suit")
        elif pa.types.is_integer(kind) and condition.operator is not Operator.CONTAINS:
            self._found = _in_numbers
            _check_number(condition)
        else:
            self._found = _in_texts
        self._texts = _TextsOnly(condition) if self._found is _in_texts else None

    def holds(self, batch: pa.RecordBatch) -> Mask:
        cells = batch.column(self.columns[0])
        if self._texts is not None:
            self._texts.add(cells)
        return _apply(self._found, cells, self._condition)

    def check(self) -> None:
        """Raise StoreError if a numeric order is applied to texts none of which is a number."""
        if self._texts is not None:
            self._texts.check()


class _Metadata:
    """All conditions on metadata keys; the metadata is parsed once for all of them."""

    columns = (METADATA,)

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = [(one.column.removeprefix(f"{METADATA}."), one) for one in conditions]
        self._kinds: list[set[type]] = [set() for _ in conditions]
        self._texts = [_TextsOnly(one) for one in conditions]

    def holds(self, batch: pa.RecordBatch) -> Mask:
        rows = _objects(batch)
        mask = np.ones(len(rows), dtype=np.bool_)
        for (key, condition), kinds, texts in zip(
            self._conditions, self._kinds, self._texts, strict=True
        ):
            cells = [row.get(key) for row in rows]
            kinds.update(map(type, cells))
            texts.add([one for one in cells if type(one) is str])
            mask &= _apply(_in_values, cells, condition)
        return mask

    def check(self, products: Products) -> None:
        """Raise StoreError for a condition that the values seen contradict."""
        for (key, condition), kinds, texts in zip(
            self._conditions, self._kinds, self._texts, strict=True
        ):
            if kinds <= {NoneType, str}:
                texts.check()
            if kinds <= {NoneType}:
                known = {
                    name
                    for _, batch in products.batches([METADATA])
                    for row in _objects(batch)
                    for name in row
                }
                raise StoreError(
                    f"no product has {key!r}; columns: {', '.join(products.schema.names)}; "
                    f"keys of the metadata: {_listed(known)}"
                )
            if kinds <= {NoneType, int, float} and condition.operator is not Operator.CONTAINS:
                _check_number(condition)


class _TextsOnly:
    """Detects a numeric order over texts none of which is a number."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._open = condition.operator in _ORDERS and condition.number is not None
        self._example = ""

    def add(self, cells: Any) -> None:
        """Record texts, an Arrow column or a list; they may be null."""
        if not self._open:
            return
        texts = _texts(cells) if isinstance(cells, list) else cells
        texts = texts.filter(pc.not_equal(texts, ""))
        if pc.any(pc.match_substring_regex(texts, _WHOLE_NUMBER)).as_py():
            self._open = False
        elif len(texts) and not self._example:
            self._example = texts[0].as_py()[:_SHOWN_TEXT]

    def check(self) -> None:
        """Raise StoreError if this is the case."""
        if self._open and self._example:
            column, example = self._condition.column, self._example
            raise StoreError(
                f"{column} holds only text, such as {example!r}, which is neither above nor below "
                f"the number {self._condition.value}"
            )


def _apply(found: Callable[[Any, Condition], Mask], cells: Any, condition: Condition) -> Mask:
    """Apply a condition; `!=` is evaluated as the complement of `=`."""
    if condition.operator is Operator.UNEQUAL:
        return ~found(cells, replace(condition, operator=Operator.EQUAL))
    return found(cells, condition)


def _in_texts(cells: pa.Array, condition: Condition) -> Mask:
    number = condition.number
    if condition.operator is Operator.CONTAINS:
        texts = cells.cast(pa.string())
        return _mask(pc.match_substring(texts, condition.value, ignore_case=True))
    compare = _COMPARE[condition.operator][1]
    if condition.operator is Operator.EQUAL or number is None:
        return _mask(compare(cells, condition.value))
    numeric = pc.match_substring_regex(cells, _WHOLE_NUMBER)
    numbers = pc.if_else(numeric, cells, None).cast(pa.float64())
    return _mask(compare(numbers, float(number)))


def _in_numbers(cells: pa.Array, condition: Condition) -> Mask:
    # NumPy compares 64-bit integers exactly with Python numbers; Arrow would convert to floats.
    numbers = cells.fill_null(0).to_numpy()
    found: Mask = _COMPARE[condition.operator][0](numbers, condition.number)
    return found & _mask(cells.is_valid())


def _in_lists(cells: pa.Array, condition: Condition) -> Mask:
    found = np.zeros(len(cells), dtype=np.bool_)
    inside = _in_texts(pc.list_flatten(cells), condition)
    found[pc.list_parent_indices(cells).to_numpy()[inside]] = True
    return found


def _in_values(cells: list[Any], condition: Condition) -> Mask:
    """Match JSON values: text, numbers, booleans, None for a missing one."""
    if condition.operator is Operator.CONTAINS:
        written = [one if one is None or type(one) is str else json.dumps(one) for one in cells]
        return _in_texts(_texts(written), condition)
    texts = [one if type(one) is str else None for one in cells]
    found = _in_texts(_texts(texts), condition)
    number, compare = condition.number, _COMPARE[condition.operator][0]
    if number is not None:
        hits = (type(one) in (int, float) and compare(one, number) for one in cells)
        found = found | np.fromiter(hits, np.bool_, len(cells))
    truth = {"true": True, "false": False}.get(condition.value.casefold())
    if truth is not None and condition.operator is Operator.EQUAL:
        found = found | np.fromiter((one is truth for one in cells), np.bool_, len(cells))
    return found


def _texts(values: list[str | None]) -> pa.Array:
    """Convert texts to an Arrow column; lone surrogates, which JSON allows, are replaced."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array(
            [one and one.encode(errors="replace").decode() for one in values], pa.string()
        )


def _mask(found: pa.Array) -> Mask:
    mask: Mask = found.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _check_number(condition: Condition) -> None:
    if condition.number is None:
        raise StoreError(f"{condition.column} holds numbers, and {condition.value!r} is none")


def _objects(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Parse each row's metadata; {} for none. Raises StoreError if it is not a JSON object."""
    texts = batch.column(METADATA).fill_null("{}").to_pylist()
    try:
        # Parsed as one document, which is several times faster than one by one.
        rows: list[dict[str, Any]] = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):
        rows = []
    if len(rows) != len(texts) or set(map(type, rows)) - {dict}:
        raise StoreError("a product's metadata is no JSON object; run `vitrina embed` again")
    return rows


def _listed(names: set[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    listed = ", ".join(sorted(names)[:_SHOWN_NAMES]) or "none"
    return f"{listed} and {more} more" if more > 0 else listed
