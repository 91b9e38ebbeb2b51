"""Reviewers' decisions on products, in small append-only Parquet files.

No commit names them, so a reviewer never waits for a writer, and two reviewers never overwrite one
another: each adds files of their own, and a reader takes all files. An undone decision stays in
them, and so does the decision that undoes it.

Decisions on one product are ordered causally, not by clocks alone: one that is added later is
recorded as later, however slow the clock of its machine (a hybrid logical clock: Kulkarni et al.,
"Logical Physical Clocks", 2014). Concurrent decisions are ordered by the clocks.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.errors import StoreError
from vitrina.ids import typed_id
from vitrina.page.summary import Summary
from vitrina.parquet.pages import check_pages
from vitrina.results import Tabular, arrow_type, table_of
from vitrina.store import layout
from vitrina.store.damage import blamed_on
from vitrina.store.files import Files
from vitrina.store.names import Role, parse
from vitrina.store.parquet import kind_of_schema, read_table_as
from vitrina.typed_json import parse_json
from vitrina.types import Action, CategoryId, IdType, ProductId

if TYPE_CHECKING:
    from vitrina.store.products import Products

_TRIES = 5
_TICK = timedelta(microseconds=1)
"""Resolution of the times in the store."""


def _id() -> str:
    return uuid.uuid4().hex


def _now() -> datetime:
    return datetime.now(UTC)


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Decision:
    """One reviewer's decision on one product.

    Attributes:
        product_id: of the product.
        action: the action taken.
        given: the product's category in the catalogue.
        category: the right category, if the action gives one; to keep, `given`.
        suggested: the category that the audit suggested.
        reviewer: the reviewer's name.
        time: in UTC; once stored, later than all earlier decisions on its product.
        shown: the data shown to the reviewer, as JSON types: the audit, its score and reasons.
        undoes: the `key` of the decision that this one undoes.
        key: its unique id.

    Raises StoreError for inconsistent fields.
    """

    product_id: ProductId
    action: Action
    given: CategoryId | None
    category: CategoryId | None = None
    suggested: CategoryId | None = None
    reviewer: str = ""
    time: datetime = field(default_factory=_now)
    shown: Mapping[str, Any] = field(default_factory=_nothing)
    undoes: str | None = None
    key: str = field(default_factory=_id)

    def __post_init__(self) -> None:
        needs_category = self.action in (Action.KEEP, Action.MOVE)
        if needs_category != (self.category is not None):
            raise StoreError(
                f"a decision to {self.action} product {self.product_id} "
                f"{'needs a' if needs_category else 'has no'} category"
            )
        if (self.action is Action.KEEP) and self.category != self.given:
            raise StoreError(
                f"product {self.product_id} is of category {self.given}, so it can't "
                f"be kept in {self.category}"
            )
        if (self.action is Action.UNDO) != (self.undoes is not None):
            raise StoreError("an undoing names a decision, and nothing else does")

    def undone(self, reviewer: str) -> Decision:
        """The decision that undoes this one."""
        return replace(
            self,
            action=Action.UNDO,
            category=None,
            reviewer=reviewer,
            undoes=self.key,
            key=_id(),
            time=_now(),
        )


@dataclass(frozen=True, repr=False)
class Decisions(Tabular):
    """Unique decisions, of which it is a sequence. all: by time."""

    all: tuple[Decision, ...]

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.all)

    def __getitem__(self, at: int) -> Decision:
        return self.all[at]

    def to_arrow(self) -> pa.Table:
        """All decisions by time, as in the files of the store."""
        products = (one.product_id for one in self.all)
        categories = (key for one in self.all for key in (one.given, one.category, one.suggested))
        return to_table(self.all, arrow_type(products), arrow_type(categories))

    def summary(self) -> Summary:
        """Counts, and the first decisions."""
        standing = Counter(one.action.value for one in self.standing.values())
        facts = [("in force", dict(standing))]
        return Summary(f"Decisions: {len(self):,}", facts, table_of(self) if self.all else None)

    @cached_property
    def standing(self) -> dict[ProductId, Decision]:
        """The last decision on each product that was not undone."""
        undone = {one.undoes for one in self.all}
        return {
            one.product_id: one
            for one in self.all
            if one.action is not Action.UNDO and one.key not in undone
        }

    @cached_property
    def settled(self) -> dict[ProductId, Decision]:
        """The standing decisions that give a category."""
        return {key: one for key, one in self.standing.items() if one.category is not None}


def decision_schema(product_id: pa.DataType, category_id: pa.DataType) -> pa.Schema:
    """The schema of `decisions/`."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("product_id", product_id, nullable=False),
            pa.field("action", pa.string(), nullable=False),
            ("given_category_id", category_id),
            ("category_id", category_id),
            ("suggested_category_id", category_id),
            ("reviewer", pa.string()),
            pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
            ("shown", pa.string()),
            ("undoes", pa.string()),
        ]
    )


DECISIONS = kind_of_schema(
    decision_schema(pa.string(), pa.string()),
    ("product_id", "given_category_id", "category_id", "suggested_category_id"),
)
"""Column requirements of every decision file."""
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**6 for year in (1970, 9000))
# A file's name holds a time, and a later decision needs a time after it.
DECISIONS["time"] = replace(DECISIONS["time"], least=_FIRST, most=_LAST)

_WAY_OUT = "bring it back from a backup, or `vitrina verify STORE --repair` puts it aside"


def to_table(
    decisions: Iterable[Decision], product_id: pa.DataType, category_id: pa.DataType
) -> pa.Table:
    """Decisions as a table of `decision_schema`."""
    rows = [
        {
            "key": one.key,
            "product_id": one.product_id,
            "action": one.action.value,
            "given_category_id": one.given,
            "category_id": one.category,
            "suggested_category_id": one.suggested,
            "reviewer": one.reviewer,
            "time": one.time,
            "shown": json.dumps(dict(one.shown), ensure_ascii=False, sort_keys=True),
            "undoes": one.undoes,
        }
        for one in decisions
    ]
    return pa.Table.from_pylist(rows, schema=decision_schema(product_id, category_id))


def from_table(table: pa.Table) -> list[Decision]:
    """The decisions of a table of `decision_schema`."""
    return [*map(_from_row, table.to_pylist())]


def in_types(
    decisions: Iterable[Decision], product_id: IdType, category_id: IdType
) -> tuple[Decision, ...]:
    """Decisions with ids of the store's current types: integers may have become strings."""
    if str not in (product_id, category_id):
        return tuple(decisions)
    return tuple(
        replace(
            one,
            product_id=typed_id(one.product_id, product_id),
            given=typed_id(one.given, category_id),
            category=typed_id(one.category, category_id),
            suggested=typed_id(one.suggested, category_id),
        )
        for one in decisions
    )


def in_order(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """Unique decisions by time; files may overlap."""
    once = {one.key: one for one in decisions}
    return tuple(sorted(once.values(), key=lambda one: (one.time, one.key)))


def add_decisions(
    files: Files,
    products: Products,
    decisions: Sequence[Decision],
    known: Iterable[Decision] | None = None,
) -> tuple[Decision, ...]:
    """Add decisions to the store in one new file. Returns them as recorded: by time, each later
    than the existing ones on its product.

    known: all decisions in the store, if already loaded; None to read them. Any process may call
    this at any time, also while a writer runs. Raises StoreError if the disk fails, or a decision
    file is damaged.
    """
    if not decisions:
        return ()
    recorded = _later(decisions, read_decisions(files) if known is None else known)
    schema = products.schema
    kinds = (schema.field(name).type for name in ("product_id", "category_id"))
    put_decisions(files, to_table(recorded, *kinds), min(one.time for one in recorded))
    return recorded


def _later(decisions: Iterable[Decision], known: Iterable[Decision]) -> tuple[Decision, ...]:
    """Move times so that each decision is later than all before it on its product."""
    newest: dict[ProductId, datetime] = {}
    for one in known:
        newest[one.product_id] = max(one.time, newest.get(one.product_id, one.time))
    recorded = []
    for one in sorted(decisions, key=lambda one: one.time):
        last = newest.get(one.product_id)
        if last is not None and one.time <= last:
            one = replace(one, time=last + _TICK)
        newest[one.product_id] = one.time
        recorded.append(one)
    return tuple(recorded)


def put_decisions(files: Files, table: pa.Table, moment: datetime) -> str:
    """Write a decision file and return its name. Raises StoreError if the disk fails."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    name = layout.decisions(moment, hashlib.sha256(content).hexdigest())
    try:
        files.create(name, content)
    except FileExistsError:
        # The name carries the checksum: it is the same file.
        return name
    except OSError as err:
        raise StoreError(
            f"{files.where(name)}: {err.strerror or err}; see to the disk, and decide again: "
            "what was decided before is kept"
        ) from err
    return name


def decision_files(files: Files) -> list[str]:
    """Names of all decision files, oldest first; other files in the folder are ignored."""
    names = files.names(layout.DECISIONS)
    return [name for name in names if (parsed := parse(name)) and parsed.role is Role.DECISIONS]


def read_decisions(files: Files) -> tuple[Decision, ...]:
    """All decisions, unique, by time.

    Raises StoreError for a damaged file.
    """
    for _ in range(_TRIES):
        try:
            found = [decisions_in(files, name) for name in decision_files(files)]
        except FileNotFoundError:
            # Files were merged meanwhile.
            continue
        return in_order(one for decisions in found for one in decisions)
    raise StoreError(f"{files.place}: decisions come and go faster than they can be read")


def read_file(files: Files, name: str) -> pa.Table:
    """Read a decision file. Raises FileNotFoundError, StoreError if it is damaged."""
    content = files.read(name)
    digest = hashlib.sha256(content).hexdigest()[: layout.DIGEST]
    if not name.endswith(f"-{digest}.parquet"):
        raise StoreError(
            f"{files.where(name)} is damaged: its content is not what its name says; {_WAY_OUT}"
        )
    with blamed_on(files.where(name), _WAY_OUT):
        check_pages(pa.BufferReader(content))
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        return read_table_as(file, DECISIONS)


def decisions_in(files: Files, name: str) -> list[Decision]:
    """The decisions of one file. Raises FileNotFoundError, StoreError if it is damaged."""
    table, where = read_file(files, name), files.where(name)
    with blamed_on(where, _WAY_OUT):
        try:
            return from_table(table)
        except StoreError as err:
            raise StoreError(f"{where} is damaged ({err}); {_WAY_OUT}") from err


def merge_decisions(files: Files) -> int:
    """Merge all decision files into one; returns their number before the merge.

    A file added meanwhile stays separate, and readers take a decision in two files once. Raises
    StoreError if a file is damaged.
    """
    names = decision_files(files)
    if len(names) > 1:
        rows = _joined([read_file(files, name) for name in names])
        once = np.unique(rows.column("key").to_numpy(), return_index=True)[1]
        rows = rows.take(pa.array(once)).sort_by([("time", "ascending"), ("key", "ascending")])
        kept = put_decisions(files, rows, rows.column("time")[0].as_py())
        for name in names:
            if name != kept:
                files.delete(name)
    return len(names)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate tables of decisions; an id column is of strings if it is in any table."""
    schema = tables[0].schema
    for at, field_ in enumerate(schema):
        if any(one.schema.field(at).type == pa.string() for one in tables):
            schema = schema.set(at, field_.with_type(pa.string()))
    return pa.concat_tables([one.cast(schema) for one in tables])


def _from_row(row: Mapping[str, Any]) -> Decision:
    return Decision(
        product_id=row["product_id"],
        action=Action(row["action"]),
        given=row["given_category_id"],
        category=row["category_id"],
        suggested=row["suggested_category_id"],
        reviewer=row["reviewer"] or "",
        time=row["time"],
        shown=_shown(row),
        undoes=row["undoes"],
        key=row["key"],
    )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return parse_json(
        (row["shown"] or "{}").encode(),
        dict[str, Any],
        f"what the decision {row['key']} was made by",
        "`vitrina verify STORE --repair` puts damaged decisions aside",
    )
