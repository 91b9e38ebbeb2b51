"""The jobs as functions with plain arguments: what Python users and the command line call.

Strings from outside become enums here, once. Each job is imported when it is called, so that
embedding without a neural model never pays for torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vitrina.data.catalogue import Catalogue, Reading
from vitrina.data.readers import DEFAULT_COLUMNS, Columns
from vitrina.errors import CatalogueError, StoreError
from vitrina.store.store import Store
from vitrina.types import Compute, Features, HeadKind, Modality, OutputFormat, SplitKind, Stored

if TYPE_CHECKING:
    import pyarrow as pa

    from vitrina.pipelines.classify import ClassifyReport
    from vitrina.pipelines.embed import EmbedReport
    from vitrina.pipelines.leave_out import IndexEvaluation
    from vitrina.pipelines.neighbours import Index
    from vitrina.pipelines.queries import QueriesReport
    from vitrina.pipelines.train import TrainReport
    from vitrina.store.compact import CompactReport
    from vitrina.store.verify import VerifyReport
    from vitrina.types import CategoryId

__all__ = [
    "Catalogue",
    "Store",
    "build_index",
    "classify",
    "classify_to",
    "compact",
    "describe",
    "embed",
    "evaluate_index",
    "neighbours_to",
    "open_batch",
    "open_index",
    "train",
    "vectors",
    "verify",
]

Member = TypeVar("Member", bound=StrEnum)


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
    max_failures: float = 0.05,
    prune: bool = False,
    retry_failed: bool = False,
    rehash: bool = False,
    refit: bool = False,
    seed: int = 0,
    quiet: bool = True,
) -> EmbedReport:
    """Bring a store up to date with a catalogue; only what is new or changed is embedded.

    Args:
        catalogue: from `Catalogue.read`.
        store: from `Store.open(path)`.
        text: the text model; "none" for none; None for the store's, else rubert-tiny2.
        image: the image model, likewise; else CLIP ViT-B/32.
        dtype: "float16" or "float32", how vectors are kept; None for what the store has, float16
            for a new one.
        compute: "float32", "bfloat16" or "int8", the numbers that models are run in; None for
            what the store has, the fastest on this machine that keep the vectors for a new one.
        max_failures: the share of products that may fail before the run ends.
        prune: drop the products that the catalogue does not mention; they are kept otherwise.
        retry_failed: try again what failed and has not changed since.
        rehash: read every photo again, though its file looks as it did (same size and time).
        refit: fit `lexical` and `thumbnail` anew on this catalogue.
        seed: for fitting.
        quiet: print no progress.

    Raises EncoderError, StoreError, TooManyFailuresError.
    """
    from vitrina.pipelines.embed import embed as run
    from vitrina.pipelines.options import EmbedOptions

    if dtype not in (None, "float16", "float32"):
        raise CatalogueError(f"vectors are kept as float16 or float32, not {dtype!r}")
    options = EmbedOptions(
        text=text,
        image=image,
        dtype=dtype,
        compute=_member(Compute, compute),
        max_failures=max_failures,
        prune=prune,
        retry_failed=retry_failed,
        rehash=rehash,
        refit=refit,
        seed=seed,
        quiet=quiet,
    )
    return run(catalogue, store, options)


def build_index(
    store: Store,
    features: str | None = None,
    *,
    recall: float | None = None,
    memory: int | None = None,
    factory: str | None = None,
    rebuild: bool = False,
    seed: int = 0,
    quiet: bool = True,
) -> Index:
    """Build the index, or bring it up to date in time that grows with what has changed.

    Args:
        store: with the vectors.
        features: "text", "image" or "fused"; None for all that there is.
        recall: the share of the true ten nearest that it should find, above 0 and up to 1, which
            asks for exact search; None for what the index has, 0.99 for a new one.
        memory: bytes that the index may take; None for what it has, a quarter of the machine's
            memory for a new one.
        factory: a FAISS factory string, instead of Vitrina's own choice.
        rebuild: build anew though an update would do.
        seed: decides which rows are learnt from, and held out to tune and measure.
        quiet: print no progress.

    Raises StoreError.
    """
    from vitrina.pipelines.build import IndexOptions
    from vitrina.pipelines.build import build_index as run
    from vitrina.pipelines.neighbours import Index

    if recall is not None and not 0 < recall <= 1:
        raise StoreError(f"recall is a share above 0 and up to 1, not {recall}")
    options = IndexOptions(
        features=_member(Features, features),
        recall=recall,
        memory=memory,
        factory=factory,
        rebuild=rebuild,
        seed=seed,
        quiet=quiet,
    )
    return Index.open(store, run(store, options))


def open_index(store: Store, features: str | None = None) -> Index:
    """Open an index that was built before."""
    from vitrina.pipelines.neighbours import Index

    return Index.open(store, _member(Features, features))


def evaluate_index(
    store: Store, features: str | None = None, *, seed: int = 0, quiet: bool = True
) -> IndexEvaluation:
    """Measure the vote of an index's neighbours, leave-one-out, and keep the rule that is best.

    Every labelled product asks its 50 nearest others, duplicates (same title or photo) left out;
    of more than 200,000, a sample. `classify` votes by the rule from then on.

    Args:
        store: with the index.
        features: "text", "image" or "fused"; None for the fused index, or the only one there is.
        seed: decides on which half of the products the rule is chosen; the other is reported.
        quiet: print no progress.

    Raises StoreError if there is no index, TrainingError where too few products have a category.
    """
    from vitrina.pipelines.leave_out import evaluate_index as run

    return run(store, _member(Features, features), seed=seed, quiet=quiet)


def neighbours_to(
    store: Store,
    queries: str | Path,
    out: str | Path,
    *,
    features: str | None = None,
    k: int = 10,
    category: CategoryId | None = None,
    where: Sequence[str] = (),
    no_duplicates: bool = False,
    other_shops: bool = False,
    images: str | Path | None = None,
    quiet: bool = True,
) -> QueriesReport:
    """Find the neighbours of many products, into a Parquet file.

    It has a row for each neighbour: `query`, `rank` from 1, `product_id`, `score`, `category_id`
    and `category_name`, in the queries' order. What can't be searched for is in a file beside it.

    Args:
        store: with the index.
        queries: a Parquet file with the one column `product_id` asks about products of the
            store; any other file is a batch of new products, in the catalogue's form.
        out: the file to write.
        features: "text", "image" or "fused"; None for the fused index, or the only one there is.
        k: how many neighbours of each.
        category, where, no_duplicates, other_shops: as in `Index.search`.
        images: where the photos of new products are; None for what the store remembers.
        quiet: print no progress.

    Raises CatalogueError, ImageSourceError, StoreError.
    """
    from vitrina.pipelines.neighbours import Only
    from vitrina.pipelines.queries import (
        QueryOptions,
        asks_by_id,
        neighbours_of_batch,
        neighbours_of_ids,
    )
    from vitrina.store.where import Condition

    options = QueryOptions(
        features=_member(Features, features),
        k=k,
        only=Only(category, tuple(map(Condition.parse, where)), no_duplicates, other_shops),
        quiet=quiet,
    )
    if asks_by_id(Path(queries)):
        return neighbours_of_ids(store, Path(queries), Path(out), options)
    with closing(open_batch(queries, store, images=images)) as batch:
        return neighbours_of_batch(store, batch, Path(out), options)


def train(
    store: Store,
    head: str = "mlp",
    *,
    features: str | None = None,
    split: str = "grouped",
    name: str | None = None,
    refit: bool = True,
    epochs: int | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> TrainReport:
    """Train, calibrate and save a head.

    Args:
        store: with products that have categories.
        head: "logistic" or "mlp".
        features: "text", "image" or "fused"; None for all that there is.
        split: "grouped" or "stratified", how validation rows are chosen.
        name: the head's name; by default its features and kind.
        refit: fit the saved head on validation rows too, once they have served.
        epochs: None for as many as the rows call for.
        seed: of the split and of training.
        quiet: print no progress.

    Raises StoreError, TrainingError.
    """
    from vitrina.pipelines.train import TrainOptions
    from vitrina.pipelines.train import train as run

    options = TrainOptions(
        head=_member(HeadKind, head) or HeadKind.MLP,
        features=_member(Features, features),
        split=_member(SplitKind, split) or SplitKind.GROUPED,
        name=name,
        refit=refit,
        epochs=epochs,
        seed=seed,
        quiet=quiet,
    )
    return run(store, options)


def classify(
    catalogue: Catalogue, store: Store, *, model: str | None = None, neighbours: int = 10
) -> pa.Table:
    """Predict a batch that fits in memory: one row per product, in input order.

    Raises StoreError if there is no head, FingerprintError if an encoder is another one by now.
    """
    from vitrina.pipelines.classify import ClassifyOptions
    from vitrina.pipelines.classify import classify as run

    return run(catalogue, store, ClassifyOptions(model=model, neighbours=neighbours))[0]


def classify_to(
    catalogue: Catalogue,
    store: Store,
    out: str | Path,
    *,
    model: str | None = None,
    format: str = "full",
    top_k: int = 5,
    neighbours: int = 10,
    quiet: bool = True,
) -> ClassifyReport:
    """Predict a batch of any size into a file, "full" or as a "submission"."""
    from vitrina.pipelines.classify import ClassifyOptions
    from vitrina.pipelines.classify import classify_to as run

    options = ClassifyOptions(
        model=model,
        format=_member(OutputFormat, format) or OutputFormat.FULL,
        top_k=top_k,
        neighbours=neighbours,
        quiet=quiet,
    )
    return run(catalogue, store, Path(out), options)


def open_batch(
    path: str | Path,
    store: Store,
    *,
    images: str | Path | None = None,
    image_template: str | None = None,
    photos: int | None = None,
    columns: Columns = DEFAULT_COLUMNS,
    delimiter: str | None = None,
    encoding: str | None = None,
    fetchers: int | None = None,
    allow_private: bool | None = None,
) -> Catalogue:
    """Open a file of products as the store remembers its catalogue, except for what is given.

    images: where the photos are; None for where the catalogue's were, "none" for nowhere, "web"
    for the URLs that the catalogue gives: `fetchers` at once, and from private addresses only if
    `allow_private`.

    Raises CatalogueError, ImageSourceError.
    """
    remembered = store.manifest.reading.get("catalogue")
    reading = Reading.from_json(remembered) if remembered else Reading()
    asked = {"workers": fetchers, "allow_private": allow_private}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    reading = reading.with_options(
        columns=columns,
        delimiter=delimiter,
        encoding=encoding,
        images=images,
        image_template=image_template,
        photos=photos,
        fetching=replace(reading.fetching, **given),
    )
    # A column that was remembered may be absent from a new batch; one that is asked for may not.
    labels = columns.category_id is not None or columns.category_name is not None
    return Catalogue.open(path, reading, labels_needed=labels)


def _member(kind: type[Member], value: str | None) -> Member | None:
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError as err:
        choices = ", ".join(kind)
        raise CatalogueError(f"{value!r} is not one of {choices}") from err


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
    from vitrina.pipelines.progress import Meter
    from vitrina.store.repair import repair as mend
    from vitrina.store.verify import verify as run

    opened = Store.open(store, create=False, damaged_too=True, options=options)
    files = sum(1 for _ in opened.manifest.files())
    with Meter("verifying", files, unit="files", quiet=quiet) as meter:
        report = run(opened, meter.advance)
    return mend(opened, report) if repair and not report.ok else report


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
    from vitrina.pipelines.progress import Meter
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

    kind = _member(Modality, modality) or Modality.TEXT
    return Vectors(*matrix(store.products, store.space(kind)))
