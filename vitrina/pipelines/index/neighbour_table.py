"""The neighbours of one query as a table in a file."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from vitrina.pipelines.index.neighbour_products import NeighbourProduct
from vitrina.store.store import OpenStore
from vitrina.tables.destination import Destination
from vitrina.tables.write import write_table


def write_neighbours(store: OpenStore, found: Iterable[NeighbourProduct], out: Destination) -> None:
    """Write neighbours, nearest first: `rank` from 1, `product_id`, `score`, `title`,
    `category_id`, `category_name`.

    Raises CatalogueError if the file or the table of a database can't be written.
    """
    own = store.products.schema
    schema = pa.schema(
        [
            ("rank", pa.int32()),
            ("product_id", own.field("product_id").type),
            ("score", pa.float32()),
            ("title", pa.string()),
            ("category_id", own.field("category_id").type),
            ("category_name", pa.string()),
        ]
    )
    rows = [{"rank": rank, **near.to_json()} for rank, near in enumerate(found, start=1)]
    write_table([pa.Table.from_pylist(rows, schema=schema)], schema, out)
