"""Stores: embed a catalogue, verify, compact, and read vectors."""

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
    """Result of `vectors`. ids: (n,) Arrow array. matrix: (n, dim) float16 or float32."""

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
    """Bring a store up to date with a catalogue; only new or changed products are embedded.

    Args:
        catalogue: from `Catalogue.read`, or from `open_batch` with all that the store remembers.
        store: from `Store.open(path)`.
        text: the text model; "none" for no text; None for the store's, or else rubert-tiny2.
        image: the image model, likewise; by default CLIP ViT-B/32.
        dtype: "float16" or "float32", in which vectors are stored; None for the store's, float16
            for a new one.
        compute: "float32", "bfloat16" or "int8", the precision in which models run; None for the
            store's; for a new one, the fastest on this machine that preserves the vectors.
        source: the name of the shop or feed that the products come from; None for the name
            in the feed, or else the store's only source. The products and categories of several
            sources are separate, and each source is pruned separately.
        max_failures: the share of rows that may be unusable, and of products whose content may
            fail, before the run ends; None for 0.05, plus 3, so that a small catalogue tolerates
            a few failures.
        accept_changes: continue however much of the catalogue vanished or changed.
        prune: drop the source's products that are not in the catalogue; by default they are kept.
        retry_failed: retry failed content that has not changed since.
        rehash: read every photo again, even if its file has the same size and time.
        refit: fit `lexical` and `thumbnail` anew on this catalogue.
        seed: random seed of fitting.
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
    """Summarise a store's content as JSON values."""
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
        store: its location, not an open store, since a damaged one may not open.
        repair: leave out damaged and missing files, so that work can continue; the next `embed` of
            the catalogue restores their content.
        options: options of fsspec, for a URL.
        quiet: print no progress.

    Raises StoreError if there is no store, or none of its commits is complete.
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
        store: to rewrite; its live content stays the same.
        keep: commits that stay readable, 3 at most; 1 frees the most.
        rows: upper limit of rows in a merged shard.
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

    Returns the product ids, (n,) int64 or string, and the vectors, (n, dim) float16 or float32 as
    stored, of the products that have one, in the catalogue's order.
    Raises StoreError if there is no such space, or a shard is damaged.
    """
    from vitrina.store.gather import matrix

    kind = member(Modality, modality) or Modality.TEXT
    return Vectors(*matrix(store.products, store.space(kind)))
