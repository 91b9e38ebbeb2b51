"""One FAISS index: create it from a factory string, add rows, search, write and read it.

It only finds candidates. They are scored again exactly (see `score`), so it needs no exact vectors
of its own. Positions follow the order in which rows were added.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import faiss as untyped
import numpy as np
import numpy.typing as npt

from vitrina.index import quantizer_training
from vitrina.index.choose import kind_of
from vitrina.index.results import AGAIN
from vitrina.limits import computing_threads
from vitrina.store.damage import blamed_on
from vitrina.types import Codes, Floats, IndexKind, Mask, Vectors

# The stubs of faiss lack its search parameters and the way it takes arrays.
faiss: Any = untyped

SAMPLE_PER_LIST = 32
SAMPLE_LEAST = 65_536
SAMPLE_BYTES = 1 << 30
EF_CONSTRUCTION = 160
"""FAISS's efConstruction. Its default of 40 builds a graph faster, but searching that graph takes
twice the effort."""
CODEC_ROWS = 16_384
"""Rows that product quantisation codes are trained on."""

ROWS_AT_ONCE = 256
"""Rows added to FastScan at once."""
FEW = 8
"""Number of queries up to which a search runs on one thread."""
EXTRA_BYTES = 1 << 20
"""Allowance over the file's size for data that FAISS derives while reading."""
TABLE_TIMES = 64
"""How many times the file's size the table of an IVF-PQ index may take, which FAISS derives too."""

_READING = Lock()


class Engine:
    """A FAISS index behind the interface that Vitrina needs."""

    def __init__(self, index: Any, factory: str, where: str = "the index in memory") -> None:
        # In a container with a quota FAISS sees all of the host's CPUs.
        faiss.omp_set_num_threads(min(faiss.omp_get_max_threads(), computing_threads()))
        self._index = index
        self.factory = factory
        self.kind = kind_of(factory)
        self._where = where

    @classmethod
    def train(cls, factory: str, dim: int, sample: Floats, seed: int) -> Engine:
        """Create and train an empty index.

        factory: FAISS's factory string. sample: (m, dim) float32, typical of the rows to add; see
        `sample_rows`. seed: random seed of the centres of an inverted file.

        Raises ValueError if FAISS rejects the factory string, or the sample is too small for it.
        """
        # For unit vectors, nearest by distance equals largest inner product. With fewer dimensions,
        # lists and graphs work better by distance.
        flat = factory == "Flat"
        metric = faiss.METRIC_INNER_PRODUCT if flat else faiss.METRIC_L2
        try:
            # 4-bit codes are laid out for FastScan at the end; see `_finish`.
            index = faiss.index_factory(dim, _plain(factory), metric)
        except RuntimeError as err:
            raise ValueError(f"FAISS can't make an index {factory!r}: {_reason(err)}") from err
        engine = cls(index, factory)
        if flat:
            return engine
        steps, inner = _chain(index)
        try:
            for step in steps:
                if isinstance(step, faiss.OPQMatrix):
                    rotation = quantizer_training.rotation(sample, step.d_out, step.M)
                    faiss.copy_array_to_vector(np.ascontiguousarray(rotation.T).ravel(), step.A)
                    step.is_trained = True
                else:
                    step.train(sample)
                sample = _transform(step)(sample)
            if isinstance(inner, faiss.IndexIVF):
                _train_lists(inner, sample, seed)
            elif isinstance(inner, faiss.IndexHNSW):
                inner.hnsw.efConstruction = EF_CONSTRUCTION
            # Training codes means hundreds of tiny k-means problems.
            with _one_thread():
                inner.train(sample[:CODEC_ROWS])
        except RuntimeError as err:
            raise ValueError(f"FAISS can't train {factory!r}: {_reason(err)}") from err
        index.is_trained = True
        return engine

    def fill(self, blocks: Iterable[Vectors]) -> None:
        """Add the first rows, in blocks of (n, dim) float32, and finish the layout."""
        self.extend(blocks)
        self._finish()

    def extend(self, blocks: Iterable[Vectors]) -> None:
        """Add more rows, in blocks of (n, dim) float32."""
        _, inner = _chain(self._index)
        quick = _list_assigner(inner)
        for block in blocks:
            for transform in self._transforms:
                block = transform(block)
            block = np.ascontiguousarray(block, dtype=np.float32)
            if quick is None:
                inner.add(block)
            elif isinstance(inner, faiss.IndexIVFFastScan):
                _add_by_lists(inner, block, quick(block))
            else:
                ids = np.arange(inner.ntotal, inner.ntotal + len(block))
                lists = quick(block)
                pointers = (faiss.swig_ptr(array) for array in (block, ids, lists))
                inner.add_core(len(block), *pointers)
        self._index.ntotal = inner.ntotal

    def _finish(self) -> None:
        if self.factory == _plain(self.factory):
            return
        _, slow = _chain(self._index)
        fast = faiss.IndexIVFPQFastScan(slow)
        # Both point to the same centres.
        slow.own_fields, fast.own_fields = False, True
        if isinstance(self._index, faiss.IndexPreTransform):
            # The wrapper owns its inner index: it takes the new one, and Python frees the old one.
            self._index.index = fast
            fast.thisown = False
            slow.thisown = True
        else:
            self._index = fast

    def search(
        self, queries: Vectors, candidates: int, effort: int, live: Mask | None = None
    ) -> npt.NDArray[np.int64]:
        """Find candidate rows: (q, candidates) int64, best first, -1 for none.

        queries: (q, dim) float32. effort: lists to probe, or a graph's efSearch; ignored for other
        kinds. live: (rows,) bool, rows that may be found; None for all. Raises StoreError if the
        index is damaged.
        """
        selector = None
        if live is not None:
            bits = np.packbits(live, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        _, inner = _chain(self._index)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        for transform in self._transforms:
            queries = transform(queries)
        parameters = _parameters(inner, effort, selector)
        # For a few queries, starting threads takes longer than searching.
        with (
            blamed_on(self._where, AGAIN),
            _one_thread() if len(queries) <= FEW else nullcontext(),
        ):
            _, found = inner.search(queries, candidates, params=parameters)
            # Rows become memory addresses, so a damaged list must not supply any.
            if found.size and not -1 <= found.min() <= found.max() < len(self):
                raise ValueError(f"it finds rows that are not among its {len(self)}")
        positions: npt.NDArray[np.int64] = found
        return positions

    @cached_property
    def _transforms(self) -> list[Callable[[Floats], Floats]]:
        return [_transform(step) for step in _chain(self._index)[0]]

    @property
    def most_effort(self) -> int:
        """Effort beyond which a search finds no more."""
        _, inner = _chain(self._index)
        if isinstance(inner, faiss.IndexIVF | faiss.IndexIVFFastScan):
            return int(inner.nlist)
        return 4096 if self.kind is IndexKind.HNSW else 1

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """The dimension of a vector."""
        return int(self._index.d)

    def write(self, path: Path) -> None:
        """Write the index. Raises OSError, also if the disk is full."""
        # FAISS ignores an error when the end of a file does not fit on the disk.
        with path.open("wb") as file:
            writer = faiss.PyCallbackIOWriter(file.write)
            faiss.write_index(self._index, writer)

    @classmethod
    def read(cls, path: Path, factory: str, *, mapped: bool = True) -> Engine:
        """Read an index. mapped: map the file; the index then can be searched but not added to.

        Opening a mapped index costs next to nothing, and processes on one machine share its pages.
        FAISS can't map 4-bit codes, so these are read into memory. Raises StoreError if the file is
        missing or damaged.
        """
        flags = faiss.IO_FLAG_MMAP_IFC if mapped else 0
        with blamed_on(str(path), AGAIN):
            size = path.stat().st_size
            # FAISS allocates as much as a file claims to hold. Its limits are process-wide.
            with _READING:
                faiss.set_deserialization_vector_byte_limit(_most_bytes(factory, size))
                faiss.set_deserialization_loop_limit(size)
                index = faiss.read_index(str(path), flags)
                if mapped and not _ends_with_its_lists(index, path):
                    index = faiss.read_index(str(path))
            engine = cls(index, factory, str(path))
            engine._check()
            return engine

    def _check(self) -> None:
        """Raise ValueError if parts of the index don't fit each other, so that no search fails on
        them."""
        steps, inner = _chain(self._index)
        dim = self.dim
        for step in steps:
            if step.d_in != dim:
                raise ValueError(f"a step takes vectors of {step.d_in}, not {dim}")
            dim = step.d_out
        if (inner.d, inner.ntotal) != (dim, len(self)):
            raise ValueError(
                f"it wraps {inner.ntotal} vectors of {inner.d}, not {len(self)} of {dim}"
            )
        if not self._index.is_trained:
            raise ValueError("it was never trained")
        # A step's matrix may have another size than the step declares.
        none = np.zeros((1, self.dim), dtype=np.float32)
        for transform in self._transforms:
            none = transform(none)


def _most_bytes(factory: str, size: int) -> int:
    """The most bytes that FAISS may allocate for one part of an index file of so many bytes.

    For an IVF-PQ index that is a table of (lists, parts, codes of a part) float32, which is not in
    the file.
    """
    parts = re.search(r"(?<!O)PQ(\d{1,6})(?:x(\d{1,2}))?", factory)
    table = 0
    if parts:
        table = 4 * _lists_of(factory) * int(parts[1]) << min(int(parts[2] or 8), 16)
    return max(size, min(table, TABLE_TIMES * size)) + EXTRA_BYTES


def sample_rows(rows: int, dim: int, factory: str) -> int:
    """Number of rows to train an index on."""
    lists = _lists_of(factory)
    wanted = max(SAMPLE_LEAST, SAMPLE_PER_LIST * lists)
    return min(rows, max(lists, min(wanted, SAMPLE_BYTES // (4 * dim))))


def _lists_of(factory: str) -> int:
    """The number of inverted lists; 0 for an index without."""
    found = re.search(r"IVF(\d{1,9})", factory)
    return int(found[1]) if found else 0


def _plain(factory: str) -> str:
    """The factory string without FastScan: 4-bit codes in FAISS's simple layout."""
    return factory.removesuffix("fs") if "IVF" in factory and factory.endswith("x4fs") else factory


def _chain(index: Any) -> tuple[list[Any], Any]:
    """Split an index into the transforms before it and the inner index."""
    if not isinstance(index, faiss.IndexPreTransform):
        return [], index
    steps = [faiss.downcast_VectorTransform(index.chain.at(at)) for at in range(index.chain.size())]
    return steps, faiss.downcast_index(index.index)


def _transform(step: Any) -> Callable[[Floats], Floats]:
    """Convert a transform to a function: numpy's matrix product is several times faster than that
    of the library FAISS ships with."""
    if not isinstance(step, faiss.LinearTransform):
        whole: Callable[[Floats], Floats] = step.apply
        return whole
    matrix = faiss.vector_to_array(step.A).reshape(step.d_out, step.d_in).T
    bias = faiss.vector_to_array(step.b) if step.have_bias else np.float32(0)

    def apply(vectors: Floats) -> Floats:
        out: Floats = vectors @ matrix
        out += bias
        return out

    return apply


def _ends_with_its_lists(index: Any, path: Path) -> bool:
    """Check that an inverted file's last list ends at the end of its file; True for other kinds.

    FAISS maps a file that is cut within its last id, and would then read past the end.
    """
    _, inner = _chain(index)
    if not isinstance(inner, faiss.IndexIVF):
        return True
    lists = faiss.downcast_InvertedLists(inner.invlists)
    if not isinstance(lists, faiss.ArrayInvertedLists):
        return False
    # Layout: "ilar", number of lists, bytes of a code, "full" or "sprs", count of the numbers that
    # follow, sizes of all lists, or number and size of each non-empty one; then the lists.
    start = path.stat().st_size - lists.compute_ntotal() * (lists.code_size + 8)
    filled = sum(lists.list_size(at) > 0 for at in range(lists.nlist))
    with path.open("rb") as file:
        for kind, numbers in ((b"full", lists.nlist), (b"sprs", 2 * filled)):
            head = struct.pack("<4sQQ4sQ", b"ilar", lists.nlist, lists.code_size, kind, numbers)
            file.seek(max(0, start - len(head) - 8 * numbers))
            if file.read(len(head)) == head:
                return True
    return False


def _parameters(inner: Any, effort: int, selector: Any) -> Any:
    given = {} if selector is None else {"sel": selector}
    if isinstance(inner, faiss.IndexIVF | faiss.IndexIVFFastScan):
        return faiss.SearchParametersIVF(nprobe=min(effort, inner.nlist), **given)
    if isinstance(inner, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=effort, **given)
    return faiss.SearchParameters(**given)


def _train_lists(inner: Any, sample: Floats, seed: int) -> None:
    if isinstance(inner, faiss.IndexIVFPQ):
        # Reorders codes for a comparison that is not used here, and takes most of a minute.
        inner.do_polysemous_training = False
        if inner.pq.nbits == 4:
            # Encode the vectors themselves, not their residuals from a list's centre: one table of
            # distances then serves a query in all lists.
            inner.by_residual = False
    quantizer = faiss.downcast_index(inner.quantizer)
    if _is_plain(quantizer):
        quantizer.add(quantizer_training.centres(sample, inner.nlist, seed))


def _list_assigner(inner: Any) -> Any:
    """A function that assigns vectors to lists by a matrix product; None to leave it to FAISS."""
    if not isinstance(inner, faiss.IndexIVF):
        return None
    quantizer = faiss.downcast_index(inner.quantizer)
    if not _is_plain(quantizer):
        return None
    return quantizer_training.assigner(quantizer.reconstruct_n(0, quantizer.ntotal))


def _add_by_lists(inner: Any, vectors: Vectors, lists: Codes) -> None:
    """Add vectors whose lists are already known.

    FastScan does not take list numbers: it searches all centres itself, slowly. Rows are therefore
    added a few lists at a time, with a quantizer that has the centres of those lists only.
    """
    every = faiss.downcast_index(inner.quantizer)
    centres = every.reconstruct_n(0, every.ntotal)
    first, order = inner.ntotal, np.argsort(lists, kind="stable")
    try:
        for start in range(0, len(order), ROWS_AT_ONCE):
            part = order[start : start + ROWS_AT_ONCE]
            used = np.unique(lists[part])
            some = faiss.IndexIDMap(faiss.IndexFlatL2(inner.d))
            some.add_with_ids(centres[used], used)
            inner.quantizer = some
            inner.add_with_ids(vectors[part], first + part)
    finally:
        inner.quantizer = every


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run FAISS on one thread, for work too small to gain from more."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _is_plain(quantizer: Any) -> bool:
    """Check that lists are assigned by Euclidean distance over all centres."""
    return type(quantizer) in (faiss.IndexFlat, faiss.IndexFlatL2) and (
        quantizer.metric_type == faiss.METRIC_L2
    )


def _reason(err: RuntimeError) -> str:
    """FAISS's message without its source location."""
    return re.sub(r"^Error in .* at \S+:\d+: (Error: )?", "", str(err)).strip()
