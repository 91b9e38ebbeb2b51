"""Audit results: suspects with their evidence, and their files in a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.audit.stored import StoredAudit, StoredSuspect
from vitrina.errors import StoreError
from vitrina.ids import typed_id
from vitrina.page.summary import MOST_ROWS, Summary, SummaryTable, counted
from vitrina.page.words import duration
from vitrina.results import Tabular, arrow_type
from vitrina.store import layout
from vitrina.store.damage import blamed_on
from vitrina.store.files import write_json
from vitrina.store.parquet import IDS, Column, Kind, read_file_as
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.typed_json import convert_json, read_json
from vitrina.types import CategoryId, IdType, ProductId, Reason

CARD = "audit.json"
SUSPECTS = "suspects.parquet"
FORMAT = 1
"""Raise it when the meaning of the files changes; older audits must then be run again."""


@dataclass(frozen=True)
class AuditNeighbour:
    """A neighbour or copy of a suspect. score: its cosine, higher is nearer."""

    product_id: ProductId
    category_id: CategoryId | None
    score: float


@dataclass(frozen=True)
class Suspect:
    """A product whose label is probably wrong.

    Attributes:
        rank: from 1, the surest first.
        product_id, title: of the product.
        given: the category that it has, decisions applied.
        suggested: the most probable other one.
        score: the evidence against the label, from 0 to 1, by which suspects are ranked.
        given_probability, suggested_probability: out-of-fold probabilities of the two categories.
        reasons: the kinds of evidence against the label, the strongest first.
        evidence: the strength of each kind of evidence against the label, from 0 to 1; kinds
            without a value are left out.
        text_category, image_category: the prediction from each modality alone; None where the
            product lacks it.
        neighbours: the nearest labelled products, nearest first.
        copies: its near duplicates, nearest first.
        batch: suspects that look alike and share both categories have one number, so that they
            can be decided together; 0 for none.
    """

    rank: int
    product_id: ProductId
    title: str
    given: CategoryId
    suggested: CategoryId
    score: float
    given_probability: float
    suggested_probability: float
    reasons: tuple[Reason, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)
    text_category: CategoryId | None = None
    image_category: CategoryId | None = None
    neighbours: tuple[AuditNeighbour, ...] = ()
    copies: tuple[AuditNeighbour, ...] = ()
    batch: int = 0


@dataclass(frozen=True, repr=False)
class Audit(Tabular):
    """Result of an audit: its card and its suspects, of which it is a sequence.

    card: JSON values; see `pipelines.audit` for its content. names: the path of each category in
    it, by id. suspects: by rank.
    """

    card: Mapping[str, Any]
    names: Mapping[CategoryId, str]
    suspects: tuple[Suspect, ...]

    @cached_property
    def by_product(self) -> dict[ProductId, Suspect]:
        """The suspects by product."""
        return {one.product_id: one for one in self.suspects}

    def __len__(self) -> int:
        return len(self.suspects)

    def __bool__(self) -> bool:
        # An audit without suspects is an audit.
        return True

    def __iter__(self) -> Iterator[Suspect]:
        return iter(self.suspects)

    @overload
    def __getitem__(self, key: int) -> Suspect: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Suspect, ...]: ...
    def __getitem__(self, key: int | slice) -> Suspect | tuple[Suspect, ...]:
        return self.suspects[key]

    def to_arrow(self) -> pa.Table:
        """The suspects by rank, with the paths of both categories."""
        products = [one.product_id for one in self.suspects]
        schema = suspect_schema(arrow_type(products), arrow_type(self.names))
        table = pa.Table.from_pylist([_row(one) for one in self.suspects], schema=schema)
        for at, which in ((4, "given"), (6, "suggested")):
            paths = [self.names.get(getattr(one, which)) for one in self.suspects]
            table = table.add_column(at, f"{which}_category_name", pa.array(paths, pa.string()))
        return table

    def summary(self) -> Summary:
        """Counts, and the first suspects."""
        card, names = self.card, self.names
        rows = [
            (
                one.rank,
                one.product_id,
                one.title,
                _leaf(names.get(one.given), one.given),
                _leaf(names.get(one.suggested), one.suggested),
                one.score,
                list(map(str, one.reasons)),
            )
            for one in self.suspects[:MOST_ROWS]
        ]
        head = ("rank", "product_id", "title", "given", "suggested", "score", "reasons")
        table = SummaryTable(head, rows, len(self.suspects) - len(rows))
        checked = card.get("checked", 0)
        facts = [
            ("checked", f"{checked:,} of {counted(card.get('products', 0), 'product')}"),
            ("suspects", f"{card.get('suspects', 0):,}"),
            (
                "explained",
                f"the first {len(self):,}" if len(self) < card.get("suspects", 0) else None,
            ),
            ("reasons", card.get("reasons")),
            ("decided by reviewers", card.get("settled") or None),
            ("features", card.get("features")),
            ("time", duration(float(card.get("took", 0)))),
        ]
        return Summary(f"Audit of {card.get('store', '')}", facts, table if rows else None)

    @property
    def key(self) -> str:
        """Identifier of this audit, which decisions record."""
        return str(self.card["key"])

    def write_files(self, folder: Path, product_id: pa.DataType, category_id: pa.DataType) -> None:
        """Write it into a folder. product_id, category_id: the types of the store's ids."""
        names = [{"id": key, "name": name} for key, name in self.names.items()]
        write_json(folder / CARD, {**self.card, "format": FORMAT, "names": names})
        schema = suspect_schema(product_id, category_id)
        table = pa.Table.from_pylist([_row(one) for one in self.suspects], schema=schema)
        pq.write_table(table, folder / SUSPECTS, compression="zstd", write_page_checksum=True)

    def keep(self, store: OpenStore, writer: Writer) -> None:
        """Commit it as the store's latest audit."""
        folder = writer.scratch / "audit"
        folder.mkdir(parents=True, exist_ok=True)
        schema = store.products.schema
        self.write_files(
            folder, *(schema.field(name).type for name in ("product_id", "category_id"))
        )
        writer.commit(store.manifest.with_audit(writer.publish_folder(folder, layout.audit)))

    @classmethod
    def of(cls, store: OpenStore) -> Audit:
        """The latest audit of a store.

        Raises StoreError if there is none, its files are gone, or another version of Vitrina made
        it.
        """
        way = f"run `vitrina audit {store.place}`"
        if store.manifest.audit is None:
            raise StoreError(f"{store.place} was not audited yet; {way}")
        folder = store.folder(store.manifest.audit, way)
        return cls.read(folder, store.id_types, way)

    @classmethod
    def read(cls, folder: Path, id_types: tuple[IdType, IdType], way: str) -> Audit:
        """Read the audit in a folder. id_types: of the store's product and category ids. way: the
        remedy, for messages. Raises StoreError."""
        path = folder / CARD
        content = read_json(path, way)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StoreError(f"{path} is of another version of Vitrina; {way}")
        named = convert_json(content, StoredAudit, str(path), way).names
        names = {typed_id(one.id, id_types[1]): one.name for one in named}
        card = {key: value for key, value in content.items() if key != "names"}
        # The store's ids may have become strings since the audit.
        schema = suspect_schema(*(pa.int64() if kind is int else pa.string() for kind in id_types))
        path = folder / SUSPECTS
        table = read_file_as(path, _SUSPECTS, way)
        with blamed_on(str(path), way):
            _check_lists(table)
            rows = table.select(schema.names).cast(schema).to_pylist()
        stored = convert_json(rows, tuple[StoredSuspect, ...], str(path), way)
        for key in ("rank", "product_id"):
            if len({getattr(one, key) for one in stored}) < len(stored):
                raise StoreError(f"{path} has a {key} twice; {way}")
        return cls(card, names, tuple(map(_suspect, stored)))


def suspect_schema(product_id: pa.DataType, category_id: pa.DataType) -> pa.Schema:
    """The columns of a table of suspects."""
    near = pa.list_(
        pa.struct(
            [("product_id", product_id), ("category_id", category_id), ("score", pa.float32())]
        )
    )
    return pa.schema(
        [
            ("rank", pa.int64()),
            pa.field("product_id", product_id, nullable=False),
            ("title", pa.string()),
            ("given_category_id", category_id),
            ("suggested_category_id", category_id),
            ("score", pa.float32()),
            ("given_probability", pa.float32()),
            ("suggested_probability", pa.float32()),
            ("reasons", pa.list_(pa.string())),
            ("evidence", pa.list_(pa.struct([("kind", pa.string()), ("against", pa.float32())]))),
            ("text_category_id", category_id),
            ("image_category_id", category_id),
            ("neighbours", near),
            ("copies", near),
            ("batch", pa.int64()),
        ]
    )


def _leaf(path: str | None, category: CategoryId) -> str:
    return (path or "").rpartition("->")[2].strip() or str(category)


def _suspects_kind() -> Kind:
    """The columns of any table of suspects, for all types of ids."""
    both = [suspect_schema(*pair) for pair in product(IDS, IDS)]
    return {
        one.name: Column(tuple({schema.field(one.name).type for schema in both}), one.nullable)
        for one in both[0]
    }


_SUSPECTS = _suspects_kind()
_LONGEST = 100
"""Upper limit of neighbours, copies or kinds of evidence per suspect; far fewer are written."""


def _check_lists(table: pa.Table) -> None:
    """Raise ValueError if a column of lists has more values than suspects can have."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_list(column.type):
            found = sum(len(chunk.flatten()) for chunk in column.chunks)
            if found > _LONGEST * max(1, table.num_rows):
                raise ValueError(f"its column {name} has {found} values")


def _row(one: Suspect) -> dict[str, Any]:
    return {
        "rank": one.rank,
        "product_id": one.product_id,
        "title": one.title,
        "given_category_id": one.given,
        "suggested_category_id": one.suggested,
        "score": one.score,
        "given_probability": one.given_probability,
        "suggested_probability": one.suggested_probability,
        "reasons": [reason.value for reason in one.reasons],
        "evidence": [{"kind": key, "against": value} for key, value in one.evidence.items()],
        "text_category_id": one.text_category,
        "image_category_id": one.image_category,
        "neighbours": [vars(near) for near in one.neighbours],
        "copies": [vars(near) for near in one.copies],
        "batch": one.batch,
    }


def _suspect(row: StoredSuspect) -> Suspect:
    return Suspect(
        rank=row.rank,
        product_id=row.product_id,
        title=row.title or "",
        given=row.given_category_id,
        suggested=row.suggested_category_id,
        score=row.score,
        given_probability=row.given_probability,
        suggested_probability=row.suggested_probability,
        reasons=row.reasons,
        evidence={one.kind: one.against for one in row.evidence},
        text_category=row.text_category_id,
        image_category=row.image_category_id,
        neighbours=tuple(AuditNeighbour(**vars(one)) for one in row.neighbours),
        copies=tuple(AuditNeighbour(**vars(one)) for one in row.copies),
        batch=row.batch,
    )
