"""Encoders that are trained here: what they start from, what they read, how they are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vitrina.data.product import TEXT_FIELDS, encoder_text
from vitrina.data.sources import ImageSource, open_images
from vitrina.embedder.base import EncoderCard
from vitrina.embedder.load import NONE, ImageFiles, TextFiles, find_image, find_text
from vitrina.embedder.tuning.tokens import TokenLists
from vitrina.errors import EncoderError, ImageSourceError, TrainingError
from vitrina.parallel import Progress
from vitrina.pipelines.embed import DEFAULT_MODELS
from vitrina.pipelines.encoders import ENCODER_CARD, trained_for
from vitrina.pipelines.reading import remembered_models, remembered_reading, warn_of_private
from vitrina.store import layout
from vitrina.store.damage import blamed_on
from vitrina.store.files import write_json
from vitrina.store.manifest import FolderEntry
from vitrina.store.parquet import IDS, Column, read_file_as
from vitrina.store.products import Products
from vitrina.store.shards import array_keys
from vitrina.store.space import Space
from vitrina.store.store import Store
from vitrina.store.writer import Writer
from vitrina.types import Codes, Mask, Modality

TRAINED_ON = "trained-on.parquet"
"""The products that an encoder learnt from: none of them may judge what is built on it."""

_SEEN = {"product_id": Column(IDS)}

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_TAKEN = ("lexical", "thumbnail", NONE)


def check_name(name: str) -> None:
    """Raise EncoderError for what can't be an encoder's name."""
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise EncoderError(
            f"an encoder can't be named {name!r}; use small letters, digits, '.', '_' and '-', "
            f"100 at most, and none of {', '.join(_TAKEN)}"
        )


def base_text(store: Store, name: str | None) -> TextFiles:
    """The files of the text model to begin with. name: None for what the store embeds with.

    Raises EncoderError, HubUnreachableError, StoreError.
    """
    chosen = chosen_base(store, Modality.TEXT, name)
    if chosen in store.manifest.encoders:
        trained_for(store, chosen, Modality.TEXT)
        return TextFiles(store.encoder_folder(chosen), chosen, None)
    return find_text(chosen)


def base_image(
    store: Store, name: str | None, *, size: int | None, from_scratch: bool, seed: int
) -> ImageFiles:
    """The image model to begin with. name: None for what the store embeds with. size: pixels of
    its input, None for its own. seed: for random weights.

    Raises EncoderError, HubUnreachableError, StoreError.
    """
    chosen = chosen_base(store, Modality.IMAGE, name)
    kept = None
    if chosen in store.manifest.encoders:
        trained_for(store, chosen, Modality.IMAGE)
        kept = store.encoder_folder(chosen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return find_image(chosen, kept, size=size, from_scratch=from_scratch)


def chosen_base(store: Store, modality: Modality, name: str | None) -> str:
    """The name of the model to begin with. name: None for what the store embeds with."""
    remembered = remembered_models(store).get(modality)
    if remembered in _TAKEN:
        remembered = None
    return name or remembered or DEFAULT_MODELS[modality]


def remembered_images(store: Store) -> ImageSource:
    """The photos of the store's catalogue, where that had them.

    Raises ImageSourceError if it had none, or in a form that only the catalogue's file opens.
    """
    images = remembered_reading(store).images
    if images is None:
        raise ImageSourceError(
            f"{store.place} does not remember a folder or archive of photos; give the catalogue's "
            "file with --catalogue, and --images where its photos are apart"
        )
    return opened_images(store, images)


def opened_images(store: Store, images: str) -> ImageSource:
    """A folder or archive of photos, read as the store's catalogue was. Raises ImageSourceError."""
    reading = replace(remembered_reading(store), images=images)
    warn_of_private(reading)
    return open_images(
        images,
        template=None,
        photos=reading.photos,
        sample=(),
        splits=(),
        fetching=reading.fetching,
    )


def references(products: Products, progress: Progress) -> Iterator[list[str]]:
    """Where the photos of every product are, in the table's order; none where none was read."""
    for _, batch in products.batches(["images", "image_hash"]):
        for row in batch.to_pylist():
            yield row["images"] if row["image_hash"] is not None else []
        progress(batch.num_rows)


def texts(products: Products) -> Iterator[list[str]]:
    """What a text encoder reads of every product, in the table's order, a batch at a time."""
    for _, batch in products.batches(TEXT_FIELDS):
        yield [encoder_text(**row) for row in batch.to_pylist()]


def text_tokens(
    products: Products, tokenize: Callable[[Sequence[str]], Sequence[Sequence[int]]]
) -> TokenLists:
    """The tokens of every product's text, in the table's order."""
    return TokenLists.write(tokenize(batch) for batch in texts(products))


def write_encoder(
    store: Store,
    writer: Writer,
    folder: Path,
    card: EncoderCard,
    report: dict[str, Any],
    trained_on: Codes,
) -> None:
    """Commit an encoder that was saved to a folder. trained_on: rows of the product table."""
    ids = store.products.ids.take(pa.array(trained_on))
    pq.write_table(pa.table({"product_id": ids}), folder / TRAINED_ON, compression="zstd")
    told = {"fingerprint": card.fingerprint, "dim": card.dim, "details": card.details}
    write_json(folder / ENCODER_CARD, {**report, **told})
    name = report["name"]
    # By its whole content: trained again to the same weights, it has another card.
    entry = writer.publish_folder(folder, lambda digest: layout.encoder(name, digest))
    writer.commit(store.manifest.with_encoder(name, entry))


def seen_by_spaces(store: Store, spaces: Iterable[Space]) -> Mask:
    """(n,) bool: products that the encoder of a space has learnt from."""
    return _seen(store, (space.entry.encoder for space in spaces))


def seen_by_base(store: Store, model: str) -> Mask:
    """(n,) bool: products that an encoder which was trained here has learnt from; none for a model
    from elsewhere."""
    return _seen(store, [store.manifest.encoders.get(model)])


def _seen(store: Store, encoders: Iterable[FolderEntry | None]) -> Mask:
    seen = np.zeros(len(store.products), dtype=bool)
    for kept in encoders:
        if kept is not None and TRAINED_ON in {file.name for file in kept.files}:
            seen[rows_seen(store, store.folder(kept, "run `vitrina finetune` again"))] = True
    return seen


def rows_seen(store: Store, folder: Path) -> Codes:
    """The rows of the product table that an encoder in a folder learnt from, as far as they are
    there still. Raises TrainingError if it does not say."""
    path, way = folder / TRAINED_ON, "run `vitrina finetune` again"
    kind = store.products.ids.type
    column = read_file_as(path, _SEEN, way, TrainingError).column("product_id")
    # Integers may have become strings since.
    with blamed_on(str(path), way, TrainingError):
        keys = array_keys(column.combine_chunks().drop_null().cast(kind))
    found = store.products.table.positions(keys)
    return np.unique(found[found >= 0])
