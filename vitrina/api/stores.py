"""Stores: embed a catalogue into one, look after it, read it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vitrina.api.enums import member
from vitrina.data.catalogue import Catalogue
from vitrina.errors import CatalogueError, StoreError
from vitrina.store.store import Store
from vitrina.types import Compute, Modality, Stored

if TYPE_CHECKING:
    import pyarrow as pa

    from vitrina.pipelines.embed.job import EmbedReport
    from vitrina.store.compact import CompactReport
    from vitrina.store.verify import VerifyReport


class Vectors(NamedTuple):
    """What `vectors` gives: ids, an Arrow array, and matrix, (n, dim)."""

    ids: pa.Array
    matrix: Stored


def embed(
    catalogue: Catalogue,
    store: Store,
    *,
    text: str | None = None,
    image: str | None = None,
    dtype: str | None = None,
    compute: str | None = None,
    source: str | None = None,
    max_failures: float | None = None,
    accept_changes: bool = False,
    prune: bool = False,
    retry_failed: bool = False,
    rehash: bool = False,
    refit: bool = False,
    seed: int = 0,
    quiet: bool = True,
) -> EmbedReport:
    """Bring a store up to date with a catalogue; only what is new or changed is embedded.

    Args:
        catalogue: from `Catalogue.read`, or from `open_batch` with all that the store remembers.
        store: from `Store.open(path)`.
        text: the text model; "none" for none; None for the store's, else rubert-tiny2.
        image: the image model, likewise; else CLIP ViT-B/32.
        dtype: "float16" or "float32", how vectors are kept; None for what the store has, float16
            for a new one.
        compute: "float32", "bfloat16" or "int8", the numbers that models are run in; None for
            what the store has, the fastest on this machine that keep the vectors for a new one.
        source: the name of the shop or feed that the products come from; None for the name that
            the feed gives itself, or else the store's only source. Products and categories of
            several sources live side by side, and each is pruned by itself.
        max_failures: the share of rows that may be unusable, and of products whose content may
            fail, before the run ends; None for 0.05, and 3 more, so that a small catalogue bears
            an accident.
        accept_changes: go on however much of the catalogue vanished or changed.
        prune: drop the source's products that the catalogue does not mention; else they are kept.
        retry_failed: try again what failed and has not changed since.
        rehash: read every photo again, though its file looks as it did (same size and time).
        refit: fit `lexical` and `thumbnail` anew on this catalogue.
        seed: for fitting.
        quiet: print no progress.

    Raises CatalogueError, EncoderError, StoreError, TooManyFailuresError, UnusualChangeError.
    """
    from vitrina.pipelines.embed.job import embed as run
    from vitrina.pipelines.embed.options import EmbedOptions

    if dtype not in (None, "float16", "float32"):
        raise CatalogueError(f"vectors are kept as float16 or float32, not {dtype!r}")
    catalogue.check_complete()
    options = EmbedOptions(
        text=text,
        image=image,
        dtype=dtype,
        compute=member(Compute, compute),
        source=source,
        max_failures=max_failures,
        accept_changes=accept_changes,
        prune=prune,
        retry_failed=retry_failed,
        rehash=rehash,
        refit=refit,
        seed=seed,
        quiet=quiet,
    )
    return run(catalogue, store, options)


def describe(store: Store) -> dict[str, Any]:
    """What a store holds, as JSON values."""
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

    Args:
        store: where it lies; not an opened one, since a damaged one may not open.
        repair: leave out what is damaged or missing, so that work can go on; the next `embed`
            of the catalogue redoes it.
        options: for fsspec, of a URL.
        quiet: print no progress.

    Raises StoreError if there is no store, or none of its commits is whole.
    """
    from vitrina.pipelines.common.progress import Meter
    from vitrina.store.repair import repair as mend
    from vitrina.store.verify import verify as run

    opened = Store.open(store, create=False, damaged_too=True, options=options)
    files = sum(1 for _ in opened.manifest.files())
    with Meter("verifying", files, unit="files", quiet=quiet) as meter:
        report = run(opened, meter.advance)
    return mend(opened, report) if repair else report


def compact(
    store: Store, *, keep: int = 3, rows: int = 32_768, quiet: bool = True
) -> CompactReport:
    """Merge small shards and drop dead rows, in one commit.

    Args:
        store: to rewrite; its live contents stay the same.
        keep: commits that stay readable, 3 at most; 1 frees the most.
        rows: of a merged shard at most.
        quiet: print no progress.

    Raises StoreError if a shard is damaged, StoreLockedError if another process writes.
    """
    from vitrina.pipelines.common.progress import Meter
    from vitrina.store.compact import compact as run

    if not 1 <= keep <= 3 or rows < 1:
        raise StoreError(f"1 to 3 commits are kept, not {keep}, and at least one row to a shard")
    shards = sum(len(space.shards) for space in store.manifest.spaces.values())
    with Meter("compacting", shards, unit="shards", quiet=quiet) as meter:
        return run(store, keep=keep, rows=rows, progress=meter.advance)


def vectors(store: Store, modality: str) -> Vectors:
    """Read all vectors of a modality into memory.

    Args:
        store: with a space of that modality.
        modality: "text" or "image".

    Returns the product ids, (n,) int64 or string, and the vectors, (n, dim) float16 or float32
    as they are kept, row by row, of the products that have one, in the catalogue's order.
    Raises StoreError if there is no such space, or a shard is damaged.
    """
    from vitrina.store.gather import matrix

    kind = member(Modality, modality) or Modality.TEXT
    return Vectors(*matrix(store.products, store.space(kind)))
