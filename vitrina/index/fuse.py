"""Fusion of one or two modalities into one vector per product, for inner product search."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vitrina.index.whitened import directions, multiply
from vitrina.limits import computing_threads
from vitrina.parallel import map_ahead
from vitrina.store.rows import Rows
from vitrina.types import Codes, Floats, Mask, Modality, Vectors
from vitrina.whitening import Whitening, even_sample

LEAST_ROWS = 100
"""Rows below which no whitening is estimated: the mean of a few vectors is long by chance."""
BLOCK_ROWS = 8192


@dataclass(frozen=True, eq=False)
class Fusion:
    """How the vectors of modalities become one vector; the same for rows and queries of an index.

    Attributes:
        weights: one positive number per modality; only their ratios matter.
        whitenings: per modality, None for vectors that are taken as they are.

    Raises ValueError if they disagree in number, or a weight is not positive.
    """

    weights: tuple[float, ...]
    whitenings: tuple[Whitening | None, ...]

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) != len(self.whitenings):
            raise ValueError(
                f"{len(self.weights)} weights for whitenings of {len(self.whitenings)} modalities"
            )
        if not all(0 < weight < np.inf for weight in self.weights):
            raise ValueError(f"the weights of modalities must be positive, not {self.weights}")

    @classmethod
    def plain(cls, weights: Sequence[float]) -> Fusion:
        """A fusion of vectors as they are. weights: one per modality."""
        return cls(tuple(weights), (None,) * len(weights))

    @classmethod
    def fit(cls, rows: Rows, whitened: Collection[Modality] | None = None) -> Fusion:
        """Estimate a fusion of equal weights from some rows; of very many, from an even sample.

        whitened: the modalities to whiten; None for those whose vectors lie in a narrow cone.
        """
        whitenings = []
        for modality in rows.modalities:
            one = rows.only(modality)
            read = _reader(one)
            at = even_sample(np.flatnonzero(one.present[0]))
            at = at[_known(read, at)]
            wanted = len(at) >= LEAST_ROWS if whitened is None else modality in whitened
            # A cone of any width, if it is known that it is to be whitened.
            narrow = None if whitened is None else 0.0
            whitenings.append(Whitening.estimate(read, one.dim, at, narrow) if wanted else None)
        return cls((1.0,) * len(whitenings), tuple(whitenings))

    def fuse(self, vectors: Sequence[Floats], present: Sequence[Mask]) -> Vectors:
        """Whiten each modality where it is to be, concatenate `sqrt(weight) * vector` and scale to
        unit length.

        The inner product of two products that have every modality is then the weighted mean of
        their cosines. A product that lacks a modality keeps its full length in the others, so two
        products without images are compared by text alone.

        Args:
            vectors: per modality (n, dim_m) float32, L2-normalised; rows not `present` count as
                zero.
            present: per modality (n,) bool.

        Returns (n, sum of dim_m) float32, each row L2-normalised, or zero if every modality is
        missing. Raises ValueError if the arguments disagree in number or rows.
        """
        if not len(vectors) == len(present) == len(self.weights):
            raise ValueError(
                f"fuse needs vectors and masks of {len(self.weights)} modalities, "
                f"not {len(vectors)} and {len(present)}"
            )
        rows = {len(part) for part in (*vectors, *present)}
        if len(rows) != 1:
            raise ValueError(f"vectors and masks to fuse differ in rows: {sorted(rows)}")
        dims = [matrix.shape[1] for matrix in vectors]
        fused = np.zeros((rows.pop(), sum(dims)), dtype=np.float32)
        stops = np.cumsum(dims)
        parts = zip(vectors, present, self.shares, self.whitenings, dims, stops, strict=True)
        for matrix, mask, share, whitening, dim, stop in parts:
            block = matrix[mask]
            if whitening is not None:
                block = directions(whitening, block)[0]
            fused[mask, stop - dim : stop] = block * _root(share)
        # Computed, not derived from the weights: float16 vectors are not exactly of unit length.
        lengths = np.linalg.norm(fused, axis=1, keepdims=True)
        np.divide(fused, lengths, out=fused, where=lengths > 0)
        return fused

    def over(self, rows: Rows, lengths: Mapping[Modality, Floats] | None = None) -> FusedRows:
        """The rows with this fusion.

        lengths: of each whitened modality (n,) float32, the lengths of the rows' whitened vectors;
        None to compute them.
        """
        found: list[Floats | None] = []
        for modality, whitening in zip(rows.modalities, self.whitenings, strict=True):
            if whitening is None:
                found.append(None)
            elif lengths is None:
                found.append(_lengths(whitening, rows.only(modality)))
            else:
                found.append(lengths[modality])
        return FusedRows(rows, self, tuple(found))

    @property
    def shares(self) -> tuple[float, ...]:
        """Each modality's share of the weights."""
        total = sum(self.weights)
        return tuple(weight / total for weight in self.weights)


@dataclass(frozen=True, eq=False)
class FusedRows:
    """n rows with their fusion, read and compared as fused vectors.

    The cosine of whitened vectors is computed without whitening the rows: with a symmetric factor
    W, a centre c and a query y it is ((W y) . (x - c)) / |W (x - c)|. So a row needs only its
    length, and a query is projected once; see `projected` and `centred`.

    lengths: per modality (n,) float32, the lengths of whitened vectors, 0 for none; None for a
    modality that is not whitened.
    """

    rows: Rows
    fusion: Fusion
    lengths: tuple[Floats | None, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities, in order."""
        return self.rows.modalities

    @property
    def whitenings(self) -> dict[Modality, Whitening]:
        """The whitening of each modality that has one."""
        pairs = zip(self.modalities, self.fusion.whitenings, strict=True)
        return {modality: one for modality, one in pairs if one is not None}

    @property
    def whitened(self) -> tuple[Modality, ...]:
        """The modalities whose vectors are whitened."""
        return tuple(self.whitenings)

    @property
    def dim(self) -> int:
        """The dimension of a fused vector."""
        return self.rows.dim

    @property
    def lengths_of(self) -> dict[Modality, Floats]:
        """The lengths of whitened vectors, by modality."""
        pairs = zip(self.modalities, self.lengths, strict=True)
        return {modality: one for modality, one in pairs if one is not None}

    def take(self, at: Codes) -> FusedRows:
        """Select rows, in the order of `at`."""
        lengths = tuple(None if one is None else one[at] for one in self.lengths)
        return FusedRows(self.rows.take(at), self.fusion, lengths)

    def near(self, positions: Codes) -> tuple[FusedRows, Codes]:
        """Rows with an address for each of some rows, and `positions` in them; see `Rows.near`."""
        rows, places = self.rows.near(positions)
        if rows is self.rows:
            return self, positions
        there = positions >= 0
        lengths: list[Floats | None] = []
        for own in self.lengths:
            copied = None if own is None else np.zeros(len(rows), dtype=np.float32)
            if own is not None and copied is not None:
                copied[places[there]] = own[positions[there]]
            lengths.append(copied)
        return FusedRows(rows, self.fusion, tuple(lengths)), places

    def read(self, at: Codes) -> Vectors:
        """The fused vectors of some rows: (len(at), dim) float32, L2-normalised or zero."""
        return self.fusion.fuse(*self.rows.read(at))

    def projected(self, queries: Vectors) -> Vectors:
        """Fused queries, (q, dim) float32, as they are compared with `centred` rows."""
        out = queries
        stops = np.cumsum(self.rows.dims)
        parts = zip(self.fusion.whitenings, self.rows.dims, stops, strict=True)
        for whitening, dim, stop in parts:
            if whitening is not None:
                out = out.copy() if out is queries else out
                part = slice(stop - dim, stop)
                out[:, part] = multiply(queries[:, part], whitening.factor)
        return out

    def centred(self, at: Codes) -> Vectors:
        """Some rows, (len(at), dim) float32, such that their inner products with `projected`
        queries are those of the fused vectors. Without whitening they are the fused vectors."""
        vectors, present = self.rows.read(at)
        if not self.whitened:
            return self.fusion.fuse(vectors, present)
        squares = np.zeros(len(at), dtype=np.float32)
        parts = []
        for matrix, share, whitening, lengths in zip(
            vectors, self.fusion.shares, self.fusion.whitenings, self.lengths, strict=True
        ):
            if whitening is None or lengths is None:
                matrix *= _root(share)
                squares += np.square(matrix).sum(axis=1)
            else:
                own = lengths[at]
                known = own > 0
                matrix -= whitening.centre
                scale = np.divide(_root(share), own, out=np.zeros_like(own), where=known)
                matrix *= scale[:, None]
                squares += np.float32(share) * known
            parts.append(matrix)
        whole = np.hstack(parts)
        scale = np.zeros_like(squares)
        np.divide(1, np.sqrt(squares), out=scale, where=squares > 0)
        whole *= scale[:, None]
        return whole


def _root(share: float) -> np.float32:
    return np.float32(np.sqrt(share))


def _reader(rows: Rows) -> Callable[[Codes], Floats]:
    """Reads vectors of rows of one modality."""
    return lambda at: rows.read(at)[0][0]


def _known(read: Callable[[Codes], Floats], at: Codes) -> Mask:
    """(len(at),) bool: rows whose vector is not zero."""
    blocks = [at[start : start + BLOCK_ROWS] for start in range(0, len(at), BLOCK_ROWS)]
    return np.concatenate([np.zeros(0, dtype=bool), *(read(one).any(axis=1) for one in blocks)])


def _lengths(whitening: Whitening, rows: Rows) -> Floats:
    """The lengths of whitened vectors of one modality, (n,) float32, 0 for none."""
    read = _reader(rows)
    out = np.zeros(len(rows), dtype=np.float32)

    def block(start: int) -> Floats:
        at = np.arange(start, min(start + BLOCK_ROWS, len(rows)))
        # Missing vectors are read as zeros.
        return directions(whitening, read(at))[1]

    starts = range(0, len(rows), BLOCK_ROWS)
    for start, lengths in zip(starts, map_ahead(block, starts, computing_threads()), strict=True):
        out[start : start + len(lengths)] = lengths
    return out
