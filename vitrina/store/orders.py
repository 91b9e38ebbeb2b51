"""Orders: pieces of a space's plan that any machine can encode, and their results, as Parquet.

An order has one row for each product of one shard. A row has text or photo references if its
content is to be encoded, once for each content; the other rows reuse a vector. A result has one row
for each encoded content, in the order's sequence. Both are untrusted: they may come from another
machine, and their bytes must have the checksum in their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Meta

from vitrina.errors import StoreError
from vitrina.store.damage import blamed_on
from vitrina.store.entries import Fingerprint, Sha256
from vitrina.store.files import to_json
from vitrina.store.names import Role, parse
from vitrina.store.parquet import IDS, Column, read_table_as
from vitrina.store.shards import (
    array_to_hashes,
    check_vectors,
    hashes_to_array,
    matrix_of,
    vector_type,
)
from vitrina.typed_json import parse_json
from vitrina.types import Codes, Dtype, Mask, Modality, Stored

UNIT = 0.01
"""Largest difference of a stored vector's length from 1; float16 needs a twentieth of it."""

_ORDER, _RESULT = b"vitrina.order", b"vitrina.result"
_IGNORED = "it is ignored; delete it"
_LIST = pa.list_(pa.string())
_ORDER_COLUMNS = {
    "position": Column((pa.int64(),), nulls=False, least=0),
    "product_id": Column(IDS, nulls=False),
    "content_hash": Column((pa.string(),), nulls=False),
    "source": Column((pa.int64(),), nulls=False, least=0),
    "text": Column((pa.string(),)),
    "photos": Column((_LIST,)),
}
_RESULT_COLUMNS = {name: Column((pa.string(),)) for name in ("stage", "error", "mended")}

T = TypeVar("T")


@dataclass(frozen=True)
class OrderTerms:
    """Conditions that all orders of one run over one space share.

    compute: the encoder's numeric format, "" if it has none. max_pixels: limit on a photo's size,
    0 for text. version: of Vitrina.
    """

    space: str
    modality: Modality
    fingerprint: Fingerprint
    compute: str
    dtype: Dtype
    dim: Annotated[int, Meta(ge=1, le=1 << 20)]
    max_pixels: Annotated[int, Meta(ge=0, le=2**62)]
    version: str


@dataclass(frozen=True)
class Order:
    """One order.

    Attributes:
        terms: its conditions.
        positions: (n,) int64, of its products in the product table.
        ids: (n,) the products' ids.
        hashes: (n,) `V16`, the products' content hashes.
        sources: (n,) int64, the first product with the same content, whose vector is reused.
        encoded: (m,) int64, the rows whose contents are encoded.
        texts: m texts to encode; empty for photos.
        photos: references of the m contents' photos; empty for text.
    """

    terms: OrderTerms
    positions: Codes
    ids: pa.Array
    hashes: npt.NDArray[np.void]
    sources: Codes
    encoded: Codes
    texts: Sequence[str] = ()
    photos: Sequence[Sequence[str]] = ()

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that decides its result."""
        digest = hashlib.sha256(to_json(asdict(self.terms)))
        digest.update(json.dumps(self.ids.to_pylist(), ensure_ascii=False).encode())
        digest.update(self.hashes.tobytes())
        digest.update(np.ascontiguousarray(self.encoded, dtype="<i8").tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """The content of its file."""
        texts: list[str | None] = [None] * len(self.positions)
        photos: list[Sequence[str] | None] = [None] * len(self.positions)
        for row, text in zip(self.encoded.tolist(), self.texts, strict=False):
            texts[row] = text
        for row, references in zip(self.encoded.tolist(), self.photos, strict=False):
            photos[row] = references
        columns = {
            "position": pa.array(self.positions),
            "product_id": self.ids,
            "content_hash": array_to_hashes(self.hashes),
            "source": pa.array(self.sources),
            "text": pa.array(texts, pa.string()),
            "photos": pa.array(photos, _LIST),
        }
        return _to_parquet(columns, _ORDER, {"key": self.key, "terms": asdict(self.terms)})


@dataclass(frozen=True)
class OrderResult:
    """The result of one order.

    Attributes:
        key: of the order.
        vectors: (m, dim) of the space's dtype, L2-normalised; zero where it failed.
        failures: stage and reason of each failed content, by its number in the order.
        mended: defect of each content that was repaired and encoded.
    """

    key: str
    vectors: Stored
    failures: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    mended: Mapping[int, str] = field(default_factory=dict)

    @property
    def ok(self) -> Mask:
        """(m,) bool: the contents that have a vector."""
        mask = np.ones(len(self.vectors), dtype=bool)
        mask[list(self.failures)] = False
        return mask

    def to_bytes(self) -> bytes:
        """The content of its file."""
        rows = range(len(self.vectors))
        failed = [self.failures.get(row, (None, None)) for row in rows]
        flat = pa.array(np.ascontiguousarray(self.vectors).reshape(-1))
        kind = pa.list_(flat.type, self.vectors.shape[1])
        columns = {
            "embedding": pa.FixedSizeListArray.from_arrays(flat, type=kind),
            "stage": pa.array([stage for stage, _ in failed], pa.string()),
            "error": pa.array([error for _, error in failed], pa.string()),
            "mended": pa.array([self.mended.get(row) for row in rows], pa.string()),
        }
        return _to_parquet(columns, _RESULT, {"key": self.key})


@dataclass(frozen=True)
class _OrderCard:
    key: Sha256
    terms: OrderTerms


@dataclass(frozen=True)
class _ResultCard:
    key: Sha256


def read_order(content: bytes, name: str, where: str) -> Order:
    """Parse an order. name: in the store. Raises StoreError if it is damaged or foreign."""
    card, file = _opened(content, name, where, _ORDER, _OrderCard, Role.ORDER)
    terms = card.terms
    with blamed_on(where, _IGNORED):
        table = read_table_as(file, _ORDER_COLUMNS)
        filled = table.column("text" if terms.modality is Modality.TEXT else "photos")
        encoded = np.flatnonzero(filled.is_valid().to_numpy()).astype(np.int64)
        contents: list[Any] = filled.drop_null().to_pylist()
        is_text = terms.modality is Modality.TEXT
        if not is_text and not all(photos and None not in photos for photos in contents):
            raise pa.ArrowInvalid("a photo has no reference")
        order = Order(
            terms,
            table.column("position").to_numpy(),
            table.column("product_id").combine_chunks(),
            hashes_to_array(table.column("content_hash")),
            table.column("source").to_numpy(),
            encoded,
            texts=contents if is_text else (),
            photos=() if is_text else contents,
        )
    if order.key != card.key or not len(encoded):
        raise StoreError(f"{where} is not the order that it says it is; {_IGNORED}")
    return order


def read_terms(content: bytes, name: str, where: str) -> OrderTerms:
    """Parse the terms of an order. Raises StoreError if it is damaged or foreign."""
    return _opened(content, name, where, _ORDER, _OrderCard, Role.ORDER)[0].terms


def read_result(
    content: bytes, name: str, where: str, key: str, rows: int, terms: OrderTerms
) -> OrderResult:
    """Parse the result of an order.

    key, rows, terms: the order's key, its number of encoded contents, and its terms. Raises
    StoreError if it is damaged, foreign, or not of this order.
    """
    card, file = _opened(content, name, where, _RESULT, _ResultCard, Role.RESULT)
    if card.key != key:
        raise StoreError(f"{where} is the result of another order; {_IGNORED}")
    with blamed_on(where, _IGNORED):
        check_vectors(file, rows, vector_type(terms.dim, terms.dtype))
        table = read_table_as(file, _RESULT_COLUMNS)
        vectors = matrix_of(table.column("embedding").combine_chunks())
        columns = {name: table.column(name).to_pylist() for name in _RESULT_COLUMNS}
        if vectors.shape != (rows, terms.dim):
            raise pa.ArrowInvalid("its vectors lack values")
        failures = {
            row: (stage, columns["error"][row] or "")
            for row, stage in enumerate(columns["stage"])
            if stage is not None
        }
        mended = {row: what for row, what in enumerate(columns["mended"]) if what}
        result = OrderResult(key, vectors, failures, mended)
        _check_lengths(vectors, result.ok)
    return result


def _check_lengths(vectors: Stored, ok: Mask) -> None:
    """Raise pa.ArrowInvalid unless vectors have length 1; those of failures, and of content that
    tells the encoder nothing, are zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    unit = np.abs(lengths - 1) <= UNIT
    if not np.where(ok, unit | (lengths == 0), lengths == 0).all():
        raise pa.ArrowInvalid("its vectors are not of unit length")


def _to_parquet(columns: Mapping[str, pa.Array], kind: bytes, card: Mapping[str, Any]) -> bytes:
    table = pa.table(dict(columns))
    table = table.replace_schema_metadata({kind: to_json(dict(card))})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_page_checksum=True)
    return bytes(sink.getvalue())


def _opened(
    content: bytes, name: str, where: str, kind: bytes, card: type[T], role: Role
) -> tuple[T, pq.ParquetFile]:
    """Check a file's bytes against its name, and open it: its card, and the Parquet file."""
    parsed = parse(name)
    if parsed is None or parsed.role is not role:
        raise StoreError(f"{where} is not {role}; {_IGNORED}")
    if not hashlib.sha256(content).hexdigest().startswith(parsed.digest):
        raise StoreError(f"{where} is damaged: it has not the checksum in its name; {_IGNORED}")
    with blamed_on(where, _IGNORED):
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        written = (file.schema_arrow.metadata or {}).get(kind)
        if written is None:
            raise pa.ArrowInvalid("it has no card")
    found = parse_json(written, card, where, _IGNORED)
    if not str(found.key).startswith(parsed.key):  # type: ignore[attr-defined]
        raise StoreError(f"{where} is named after another order; {_IGNORED}")
    return found, file
