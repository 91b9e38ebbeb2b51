"""Stores: embed a catalogue, verify, compact, and read vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vitrina.api.keywords import with_keywords
from vitrina.data.catalogue import Catalogue
from vitrina.errors import OptionError
from vitrina.options import choice
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.store.store import OpenStore
from vitrina.types import Modality, Stored

if TYPE_CHECKING:
    import pyarrow as pa

    from vitrina.pipelines.embed.job import EmbedReport
    from vitrina.store.compact import CompactReport
    from vitrina.store.verify import VerifyReport


class Vectors(NamedTuple):
    """Ids, an Arrow array of n values, and vectors, (n, dim) float16 or float32; of `vectors`."""

    ids: pa.Array
    matrix: Stored


@with_keywords(EmbedOptions)
def embed(catalogue: Catalogue, store: OpenStore, options: EmbedOptions) -> EmbedReport:
    """Bring a store up to date with a catalogue; only new or changed products are embedded.

    Products and categories of several sources are separate, and each source is pruned separately.

    Parameters
    ----------
    catalogue : Catalogue
        Catalogue from `Catalogue.read`, or from `open_batch` with `complete=True`.
    store : Store
        Store from `OpenStore.open(path)`.
    {options}

    Returns
    -------
    EmbedReport
        Counts of products: new, changed, unchanged, removed, failed.

    Raises
    ------
    CatalogueError, EncoderError, OptionError, StoreError
    TooManyFailuresError
        If more products failed than `max_failures` allows; finished work is kept.
    UnusualChangeError
        If the catalogue lost or changed so much that it looks damaged; nothing is committed.

    Examples
    --------
    >>> report = vt.embed(catalogue, store, text="lexical", image="thumbnail", max_failures=0.5)
    >>> report.new, report.unchanged == len(store.products)
    (0, True)
    """
    from vitrina.pipelines.embed.job import embed as run

    catalogue.check_complete()
    return run(catalogue, store, options)


def describe(store: OpenStore) -> dict[str, Any]:
    """Summarise a store's content.

    Parameters
    ----------
    store : Store
        Any store.

    Returns
    -------
    dict
        Counts of products, and descriptions of spaces, indexes, heads and decisions, as JSON
        values.

    Raises
    ------
    StoreError
        If a file of the store is damaged.

    Examples
    --------
    >>> [space["name"] for space in vt.describe(store)["spaces"]]
    ['text-lexical', 'image-thumbnail']
    """
    from vitrina.pipelines.info import info

    return info(store)


def verify(
    store: str | Path,
    *,
    repair: bool = False,
    options: dict[str, Any] | None = None,
    quiet: bool = True,
) -> VerifyReport:
    """Check every byte of a store against its commits.

    Parameters
    ----------
    store : str or Path
        Location of the store, not an open one, since a damaged store may not open.
    repair : bool, default False
        Leave out damaged and missing files, so that work can continue; the next `embed` of the
        catalogue restores their content.
    options : dict, optional
        Options of fsspec, for a URL.
    quiet : bool, default True
        Print no progress.

    Returns
    -------
    VerifyReport
        Problems found, and counts of files, bytes, products and vectors.

    Raises
    ------
    StoreError
        If there is no store, or none of its commits is complete.

    Examples
    --------
    >>> vt.verify(store.place).problems
    []
    """
    from vitrina.pipelines.common.progress import Meter
    from vitrina.store.repair import repair as mend
    from vitrina.store.verify import verify as run

    opened = OpenStore.open(store, create=False, damaged_too=True, options=options)
    files = sum(1 for _ in opened.manifest.files())
    with Meter("verifying", files, unit="files", quiet=quiet) as meter:
        report = run(opened, meter.advance)
    return mend(opened, report) if repair else report


def compact(
    store: OpenStore, *, keep: int = 3, rows: int = 32_768, quiet: bool = True
) -> CompactReport:
    """Merge small shards and drop dead rows, in one commit; the live content stays the same.

    Parameters
    ----------
    store : Store
        Store to rewrite.
    keep : int, default 3
        Commits that stay readable, from 1 to 3; 1 frees the most space.
    rows : int, default 32768
        Maximum rows of a merged shard.
    quiet : bool, default True
        Print no progress.

    Returns
    -------
    CompactReport
        Shards before and after per space, and bytes freed.

    Raises
    ------
    OptionError
        For a number out of range.
    StoreError
        If a shard is damaged.
    StoreLockedError
        If another process writes.

    Examples
    --------
    >>> [space.shards for space in vt.compact(store).spaces]
    [1, 1]
    """
    from vitrina.pipelines.common.progress import Meter
    from vitrina.store.compact import compact as run

    if not 1 <= keep <= 3:
        raise OptionError("keep", f"must be from 1 to 3, not {keep!r}")
    if rows < 1:
        raise OptionError("rows", f"must be at least 1, not {rows!r}")
    shards = sum(len(space.shards) for space in store.manifest.spaces.values())
    with Meter("compacting", shards, unit="shards", quiet=quiet) as meter:
        return run(store, keep=keep, rows=rows, progress=meter.advance)


def vectors(store: OpenStore, modality: str) -> Vectors:
    """Read all vectors of a modality into memory.

    Parameters
    ----------
    store : Store
        Store with a space of that modality.
    modality : {'text', 'image'}
        The modality.

    Returns
    -------
    Vectors
        `ids`, an Arrow array of n int64 or strings, and `matrix`, (n, dim) float16 or float32 as
        stored, of the n products that have a vector, in the catalogue's order.

    Raises
    ------
    OptionError
        For another modality.
    StoreError
        If there is no such space, or a shard is damaged.

    Examples
    --------
    >>> ids, matrix = vt.vectors(store, "text")
    >>> matrix.dtype, len(ids) == len(matrix)
    (dtype('float16'), True)
    """
    from vitrina.store.gather import matrix

    kind = choice(Modality, modality, "modality") or Modality.TEXT
    return Vectors(*matrix(store.products, store.space(kind)))
