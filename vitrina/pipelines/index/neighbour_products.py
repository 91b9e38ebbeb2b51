"""Neighbours of one query: a table with a row for each neighbour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from vitrina.page.summary import counted
from vitrina.results import ResultTable
from vitrina.types import CategoryId, ProductId


@dataclass(frozen=True)
class NeighbourProduct:
    """One neighbour. score: the cosine of the vectors that the index compares, higher is nearer;
    of whitened ones, if they lie in a narrow cone.

    Between complete products of a fused index that is the mean of their text and image cosines. A
    query with a single modality scores at most 0.71 there, since it matches only half of a complete
    product's vector.
    """

    product_id: ProductId
    score: float
    title: str
    category_id: CategoryId | None
    category_name: str | None

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)


class NeighbourTable(ResultTable[NeighbourProduct]):
    """Neighbours, nearest first; each row is a `NeighbourProduct`."""

    noun = "neighbour"

    @classmethod
    def of(
        cls, rows: Iterable[NeighbourProduct], product_id: pa.DataType, category_id: pa.DataType
    ) -> NeighbourTable:
        """Make the table of some neighbours. product_id, category_id: the types of their ids."""
        schema = pa.schema(
            [
                ("product_id", product_id),
                ("score", pa.float64()),
                ("title", pa.string()),
                ("category_id", category_id),
                ("category_name", pa.string()),
            ]
        )
        return cls(pa.Table.from_pylist([one.to_json() for one in rows], schema=schema))

    def row_of(self, values: Mapping[str, Any]) -> NeighbourProduct:
        """Make a neighbour from its values by column."""
        return NeighbourProduct(**values)

    @property
    def title(self) -> str:
        """The first line of `repr`."""
        return counted(len(self), "neighbour")
