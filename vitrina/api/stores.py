"""Stores: embed a catalogue, verify, compact, and read vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitrina.api.inputs import CatalogueLike, StoreLike, as_catalogue, as_store, reopened
from vitrina.api.keywords import with_keywords
from vitrina.data.options import ReadingOptions
from vitrina.errors import OptionError
from vitrina.options import choice
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.work.options import WorkOptions
from vitrina.store.store import OpenStore
from vitrina.types import Features

if TYPE_CHECKING:
    from vitrina.pipelines.common.vectors import Vectors
    from vitrina.pipelines.embed.job import EmbedReport
    from vitrina.pipelines.work.job import WorkReport
    from vitrina.store.compact import CompactReport
    from vitrina.store.verify import VerifyReport


@with_keywords(EmbedOptions)
def embed(
    catalogue: CatalogueLike,
    store: StoreLike,
    options: EmbedOptions,
    *,
    images: str | Path | None = None,
    reading: ReadingOptions | None = None,
) -> EmbedReport:
    """Bring a store up to date with a catalogue; only new or changed products are embedded.

    The store is created if there is none. A file is read as the store remembers its catalogue,
    except for the options given, as on the command line. Products and categories of several sources
    are separate, and each source is pruned separately.

    Parameters
    ----------
    catalogue : Catalogue, str, Path, DataFrame or other table
        Catalogue from `Catalogue.read`, or its file or table.
    store : Store, str or Path
        Store, or its directory or URL.
    {options}
    images : str or Path, optional
        Location of the photos of a file, as of `ReadingOptions`.
    reading : ReadingOptions, optional
        Options of reading a file, such as the names of its columns.

    Returns
    -------
    EmbedReport
        Counts of products: new, changed, unchanged, removed, failed.

    Raises
    ------
    CatalogueError, EncoderError, ImageSourceError, OptionError, StoreError
    TooManyFailuresError
        If more products failed than `max_failures` allows; finished work is kept.
    UnusualChangeError
        If the catalogue lost or changed so much that it looks damaged; nothing is committed.

    Examples
    --------
    >>> report = vt.embed(catalogue, store, text="lexical", image="thumbnail", max_failures=0.5)
    >>> report.new, report.unchanged == len(store.products)
    (0, True)

    A file of the same catalogue, with the options that the store remembers:

    >>> vt.embed(file, store, max_failures=0.5).new
    0
    """
    from vitrina.pipelines.embed.job import embed as run

    opened = as_store(store, create=True)
    with as_catalogue(catalogue, opened, images, reading, complete=True) as products:
        products.check_complete()
        if reading is not None and options.source is None:
            options = replace(options, source=reading.source)
        return run(products, opened, options)


@with_keywords(WorkOptions)
def work(store: StoreLike, options: WorkOptions) -> WorkReport:
    """Compute orders that `embed(..., engine="staged")` published, and write their results.

    Commits nothing: the process that embeds adopts the results. Any number of workers may run at
    once, on any machines that reach the store, the model and the photos. A worker with another
    model, other numbers or another version of Vitrina is refused.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL.
    {options}

    Returns
    -------
    WorkReport
        Counts of orders and contents.

    Raises
    ------
    EncoderError, FingerprintError, ImageSourceError, OptionError, StoreError

    Examples
    --------
    >>> vt.work(store, "1/2").computed
    0
    """
    from vitrina.pipelines.work.job import work as run

    return run(reopened(store), options)


def describe(store: StoreLike) -> dict[str, Any]:
    """Summarise a store's content.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL.

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

    return info(as_store(store))


def verify(
    store: StoreLike,
    *,
    repair: bool = False,
    options: dict[str, Any] | None = None,
    quiet: bool | None = None,
) -> VerifyReport:
    """Check every byte of a store against its commits.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL; a damaged store may not open, so its place is enough.
    repair : bool, default False
        Leave out damaged and missing files, so that work can continue; the next `embed` of the
        catalogue restores their content.
    options : dict, optional
        Options of fsspec, for a URL; those of an open store are its own.
    quiet : bool, optional
        Show no progress; default: shown only in a notebook or in IPython on a terminal.

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
    >>> vt.verify(store).problems
    []
    """
    from vitrina.pipelines.common.progress import Meter
    from vitrina.store.repair import repair as mend
    from vitrina.store.verify import verify as run

    opened = reopened(store, damaged_too=True, options=options)
    files = sum(1 for _ in opened.manifest.files())
    with Meter("verifying", files, unit="files", quiet=quiet) as meter:
        report = run(opened, meter.advance)
    if not repair:
        return report
    report = mend(opened, report)
    if isinstance(store, OpenStore):
        store.show(opened.manifest)
    return report


def compact(
    store: StoreLike, *, keep: int = 3, rows: int = 32_768, quiet: bool | None = None
) -> CompactReport:
    """Merge small shards and drop dead rows, in one commit; the live content stays the same.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL.
    keep : int, default 3
        Commits that stay readable, from 1 to 3; 1 frees the most space.
    rows : int, default 32768
        Maximum rows of a merged shard.
    quiet : bool, optional
        Show no progress; default: shown only in a notebook or in IPython on a terminal.

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
    opened = as_store(store)
    shards = sum(len(space.shards) for space in opened.manifest.spaces.values())
    with Meter("compacting", shards, unit="shards", quiet=quiet) as meter:
        return run(opened, keep=keep, rows=rows, progress=meter.advance)


def vectors(store: StoreLike, features: str | None = None) -> Vectors:
    """Read the vectors of all products into memory.

    Fused vectors are the concatenation that a fused index searches: of products with text and
    photo, both halves have the same weight; the half of a missing modality is zero.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL.
    features : {'text', 'image', 'fused'}, optional
        Vectors to read; default: all in the store, fused if these are of both.

    Returns
    -------
    Vectors
        An array of n rows, L2-normalised, for the n products that have a vector, in the catalogue's
        order; `ids` has their ids. Its dtype is float16 or float32, as stored; fused, float32.

    Raises
    ------
    OptionError
        For other features.
    StoreError
        If there is no such space, or a shard is damaged.

    Examples
    --------
    >>> fused = vt.vectors(store, "fused")
    >>> fused.dtype, len(fused) == len(fused.ids)
    (dtype('float32'), True)
    >>> ids, matrix = vt.vectors(store, "text")
    >>> matrix.dtype
    dtype('float16')
    """
    from vitrina.pipelines.common.vectors import read_vectors

    return read_vectors(as_store(store), choice(Features, features, "features"))
