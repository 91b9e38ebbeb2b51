"""Vectors on disk as every contestant reads them, exact search over them, and recall against it.

It needs the standard library and numpy alone, for it runs in each peer's own environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

BLOCK_ROWS = 8192
TIE = 1e-5
"""Scores closer than this are equal: float32 sums over a thousand terms differ by about 1e-6."""


@dataclass(frozen=True)
class VectorSet:
    """Rows of one or two modalities in `folder`/NAME.npy, (n, dim) float16 or float32 each.

    parts: the names, text first. rows: how many are indexed, from the first. queries: the rows
    that are asked for. own: whether those are indexed too; a query's own row is then left out of
    every answer.
    """

    folder: Path
    parts: tuple[str, ...]
    rows: int
    queries: tuple[int, ...]
    own: bool

    @classmethod
    def from_json(cls, value: dict) -> VectorSet:
        """Read it back from `to_json`."""
        parts, queries = tuple(value["parts"]), tuple(value["queries"])
        return cls(Path(value["folder"]), parts, value["rows"], queries, value["own"])

    def to_json(self) -> dict:
        """As a task for another process holds it."""
        return asdict(self) | {"folder": str(self.folder)}

    @property
    def dim(self) -> int:
        """The length of a joined vector."""
        return sum(matrix.shape[1] for matrix in self._mapped())

    @property
    def own_rows(self) -> np.ndarray | None:
        """(q,) int64: each query's own row; None where the queries are in no index."""
        return np.array(self.queries) if self.own else None

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[tuple[int, np.ndarray]]:
        """Stream the indexed rows: the first one's number, and (m, dim) float32.

        They are read, not mapped: mapped pages would count as a contestant's memory.
        """
        mapped = self._mapped()
        for start in range(0, self.rows, size):
            count = min(size, self.rows - start)
            read = []
            for matrix in mapped:
                width = matrix.shape[1]
                place = matrix.offset + start * width * matrix.itemsize
                flat = np.fromfile(matrix.filename, matrix.dtype, count * width, offset=place)
                read.append(flat.reshape(count, width))
            yield start, join(read)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, indexed or not: (len(rows), dim) float32."""
        return join([matrix[rows] for matrix in self._mapped()])

    def asked(self) -> np.ndarray:
        """The queries, (q, dim) float32."""
        return self.take(np.array(self.queries))

    def _mapped(self) -> list[np.memmap]:
        return [np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in self.parts]


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Put modalities side by side at equal weights, as Vitrina does: (n, sum of dims) float32.

    parts: (n, dim) each, L2-normalised; zero where a product lacks one. Rows come out at unit
    length, and all zero where every part is.
    """
    weight = np.float32(np.sqrt(1 / len(parts)))
    joined = np.hstack([part.astype(np.float32) * weight for part in parts])
    lengths = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.divide(joined, lengths, out=joined, where=lengths > 0)


def nearest(
    queries: np.ndarray,
    blocks: Iterable[tuple[int, np.ndarray]],
    k: int,
    own: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Exact search: the rows (q, k) int64, -1 where there are fewer, and their inner products.

    queries: (q, dim) float32. blocks: as `VectorSet.blocks` gives them. own: (q,) rows to leave
    out, one of each query.
    """
    count = len(queries)
    best = np.full((count, k), -np.inf, dtype=np.float32)
    rows = np.full((count, k), -1, dtype=np.int64)
    for start, block in blocks:
        scores = queries @ block.T
        if own is not None:
            inside = np.flatnonzero((own >= start) & (own < start + len(block)))
            scores[inside, own[inside] - start] = -np.inf
        if np.isneginf(best[:, -1]).any():
            columns = np.argpartition(-scores, min(k, len(block)) - 1, axis=1)[:, :k]
            query = np.repeat(np.arange(count), columns.shape[1])
            column = columns.ravel()
        else:
            # After the first block only few are better than what is there.
            query, column = np.nonzero(scores > best[:, -1:])
        queue = np.concatenate([np.repeat(np.arange(count), k), query])
        every = np.concatenate([best.ravel(), scores[query, column]])
        place = np.concatenate([rows.ravel(), start + column])
        order = np.lexsort((place, -every, queue))
        first = np.searchsorted(queue[order], np.arange(count))
        kept = order[first[:, None] + np.arange(k)]
        best, rows = every[kept], place[kept]
    rows[np.isneginf(best)] = -1
    return rows, best


def without_own(found: np.ndarray, own: np.ndarray | None, k: int) -> np.ndarray:
    """Drop each query's own row from (q, more than k) found ones: (q, k)."""
    if own is None:
        return found[:, :k]
    order = np.argsort(found == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)[:, :k]


def recall(found: np.ndarray, scores: np.ndarray, least: np.ndarray) -> float:
    """The share of the k nearest that was found, ties counted: any of equals is as right.

    found: (q, k) rows, -1 for none. scores: (q, k) their exact inner products. least: (q,) the
    exact k-th best.
    """
    order = np.argsort(found, axis=1)
    ordered = np.take_along_axis(found, order, axis=1)
    new = np.ones(found.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    near = np.take_along_axis(scores, order, axis=1) >= least[:, None] - TIE
    return float((new & near & (ordered >= 0)).mean())


def exact_scores(vectors: VectorSet, queries: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The inner products of queries (q, dim) with found rows (q, k): (q, k) float32."""
    unique, place = np.unique(np.maximum(found, 0), return_inverse=True)
    taken, place = vectors.take(unique), place.reshape(found.shape)
    return np.stack([taken[rows] @ query for rows, query in zip(place, queries, strict=True)])
