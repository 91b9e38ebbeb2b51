"""Opening of product files with a store's settings, and checks for missing parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS, NONE, Columns, ReadingOptions
from vitrina.data.readers import LABELS, TEXTS, Needs
from vitrina.data.readers.detect import source_of
from vitrina.data.readers.missing_columns import MissingColumn, enumerated
from vitrina.data.reading import Reading
from vitrina.data.sources.fetching import ALLOW_PRIVATE, WEB
from vitrina.database.url import is_database_url
from vitrina.errors import CatalogueError
from vitrina.store.store import OpenStore
from vitrina.typed_json import convert_json
from vitrina.types import Modality

log = logging.getLogger(__name__)

_ALL = frozenset(field.name for field in fields(Columns))


@dataclass(frozen=True)
class Purpose:
    """Purpose of a batch, as a noun and a participle for its notes ("predictions", "made")."""

    noun: str
    verb: str


PREDICTIONS = Purpose("predictions", "made")
NEIGHBOURS = Purpose("neighbours", "found")
TRAINING = Purpose("training texts", "read")


def remembered_reading(
    store: OpenStore, path: str | Path | Any = None, given: ReadingOptions = DEFAULT_OPTIONS
) -> Reading:
    """Reading settings of a source's catalogue.

    The source is the given one, else the one named in the file; without either, the settings are
    those of the last catalogue.
    """
    remembered = store.manifest.reading.get("catalogue")
    sources = store.sources
    known = None
    if given.source is not None:
        known = sources.named(given.source)
    elif isinstance(path, (str, os.PathLike)) and len(sources) > 1:
        named = None if is_database_url(path) else source_of(Path(path), given.encoding)
        known = None if named is None else sources.known(named)
    if known is not None:
        remembered = known.reading
    where = f"the reading settings of {store.place}"
    return Reading.from_json(remembered, where) if remembered else Reading()


def remembered_models(store: OpenStore) -> dict[Modality, str]:
    """The names of the models that a store's last catalogue was embedded with.

    A modality without a saved name has that of its active space, so that a manifest that lost the
    names never leads to a hub. Names are untrusted input if the store is. Raises StoreError if they
    are not names.
    """
    names = convert_json(
        store.manifest.reading.get("models", {}),
        dict[Modality, str],
        f"the list of models in {store.place}",
        "bring the store back from a backup",
    )
    for modality in store.manifest.active.keys() - names.keys():
        names[modality] = store.space(modality).card["model"]
    return {modality: name for modality, name in names.items() if name}


def warn_of_private(reading: Reading) -> None:
    """Warn on standard error, if relevant, that an older store's permission to fetch from private
    addresses is ignored."""
    fetching = reading.fetching
    if reading.had_private and reading.images == WEB and not fetching.private_allowed:
        log.warning(
            "the store was embedded with --allow-private, which is no longer recorded: give "
            "it again, or set %s=1",
            ALLOW_PRIVATE,
        )


def open_as_remembered(
    store: OpenStore,
    source: str | Path | Any,
    given: ReadingOptions = DEFAULT_OPTIONS,
    *,
    complete: bool = False,
    labelled: bool = True,
) -> Catalogue:
    """Open a file or table of products with the store's settings, overridden by the given options.

    Given columns and photos must exist. Those of the store's settings may be missing:
    `Catalogue.missing` and `photos_error` list them.

    complete: these must exist too, except for categories, as in a catalogue to embed. labelled:
    category options apply to this file too, not only to other files of the command.

    Raises CatalogueError, ImageSourceError.
    """
    remembered = remembered_reading(store, source, given)
    columns = given.columns.given if labelled else given.columns.given - LABELS
    photos = given.images is not None or given.image_template is not None or "image" in columns
    needs = Needs(
        optional=(LABELS if complete else _ALL) - columns,
        remembered=remembered.columns.given - columns,
        photos=complete or photos,
        located=given.images is not None,
        # A store without photos gets none from a column that nobody named.
        find_photos=given.images in (None, WEB)
        and (remembered.images is not None or "catalogue" not in store.manifest.reading),
    )
    reading = remembered.with_options(given)
    if given.allow_private is None:
        warn_of_private(reading)
    return Catalogue.open(source, reading, needs, given.query)


@contextmanager
def opened_texts(
    store: OpenStore,
    paths: Sequence[str | Path],
    given: ReadingOptions = DEFAULT_OPTIONS,
) -> Iterator[list[Catalogue]]:
    """Open files for their text only, and log which columns of the store's settings they lack.

    Raises CatalogueError for a file that can't be read or has no text.
    """
    text_alone = replace(given, images=NONE)
    with ExitStack() as stack:
        opened = []
        for path in paths:
            catalogue = open_as_remembered(store, path, text_alone, labelled=False)
            opened.append(stack.enter_context(closing(catalogue)))
            for note in check_batch(catalogue, {Modality.TEXT}, TRAINING):
                log.warning("%s: %s", path, note)
        yield opened


def check_batch(
    catalogue: Catalogue, modalities: Collection[Modality], purpose: Purpose
) -> list[str]:
    """Check that a batch has what a model of some modalities needs; returns notes for the user.

    A modality may be missing if the batch has another one that the model uses. Raises
    CatalogueError if it has none.
    """
    text = Modality.TEXT in modalities and catalogue.has_text
    photos = Modality.IMAGE in modalities and catalogue.images is not None
    if not photos:
        _check_text(catalogue, modalities)
    notes = list(catalogue.notes)
    if missing := _missing_note(catalogue, modalities, purpose):
        notes.append(missing)
    if Modality.IMAGE in modalities and not photos:
        why = f" ({catalogue.photos_error})" if catalogue.photos_error else ""
        notes.append(f"no photos: {purpose.noun} by text alone{why}")
    if Modality.TEXT in modalities and not text:
        notes.append(f"no text: {purpose.noun} by photos alone")
    return notes


def _check_text(catalogue: Catalogue, modalities: Collection[Modality]) -> None:
    """Raise CatalogueError if a batch without photos lacks text, or the model uses none."""
    why = f": {catalogue.photos_error}" if catalogue.photos_error else ""
    is_file = isinstance(catalogue.path, Path)
    if Modality.TEXT not in modalities:
        raise CatalogueError(
            f"{catalogue.path}: there are no photos, and the model uses nothing else; say "
            f"where they are with {'--images' if is_file else 'images=...'}{why}"
        )
    either = f"; there are no photos either{why}" if Modality.IMAGE in modalities else ""
    title = catalogue.missing.of({"title"})
    if title.columns:
        raise CatalogueError(f"{title.error()}{either}")
    if not catalogue.has_text:
        names = "--title-column, --description-column or --attribute-columns"
        names = names if is_file else "columns=vt.Columns(title=..., description=...)"
        raise CatalogueError(
            f"{catalogue.path}: no column is read as text; name one with {names}{either}"
        )


def _missing_note(
    catalogue: Catalogue, modalities: Collection[Modality], purpose: Purpose
) -> str | None:
    used = TEXTS if Modality.TEXT in modalities else frozenset[str]()
    used |= {"image"} if Modality.IMAGE in modalities else set()
    missing = catalogue.missing
    names = list(dict.fromkeys(map(_shown, missing.columns)))
    if not names:
        return None
    without = list(dict.fromkeys(map(_shown, missing.of(used).columns)))
    said = f"the batch lacks {enumerated(names)}, which the store remembers; "
    they = "they are" if len(names) > 1 else "it is"
    if not without:
        return said + f"{they} not needed for {purpose.noun}"
    which = enumerated(without) if len(without) < len(names) else "them" if len(names) > 1 else "it"
    return said + f"{purpose.noun} are {purpose.verb} without {which}"


def _shown(one: MissingColumn) -> str:
    # With several sources, the intended one is unknown.
    return f"{one.column} (it has several)" if one.ambiguous else one.column
