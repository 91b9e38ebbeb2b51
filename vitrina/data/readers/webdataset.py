"""WebDataset reader: products as samples in tar archives, with their photos.

A sample is a run of files with the same key, which is the path up to the first dot of the file
name. `0001.json` holds the columns of a table's row, `0001.jpg` and `0001.side.png` are photos,
`0001.txt` is the title and `0001.cls` the category if the JSON has none. The key is the product_id
if the JSON has none.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from vitrina.data.options import NO_COLUMN
from vitrina.data.readers.base import Columns, Fault, IdType
from vitrina.data.readers.columns import ALL_NEEDED, Needs
from vitrina.data.readers.json_table import id_in
from vitrina.data.readers.table import TableReader
from vitrina.data.readers.text_tables import SAMPLE_ROWS
from vitrina.data.sources.tar_source import TarImages, TarIndex
from vitrina.data.tar import Cut, Member, TarError, find_shards, members
from vitrina.errors import CatalogueError
from vitrina.ids import is_canonical_integer

PHOTOS = "(photos)"
"""Column of a sample's photos; a JSON key is unlikely to have this name."""

_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
_PHOTO_KINDS = ("jpg", "jpeg", "png", "webp")
_FIELDS = frozenset({"json", "txt", "cls"})
_LONGEST_FIELD = 1 << 24


def webdataset_shards(path: Path) -> tuple[Path, ...]:
    """Return the archives at a catalogue's path; () if it is no WebDataset.

    A directory that holds Parquet files is no WebDataset. Raises CatalogueError for an invalid
    range of names, or if an archive in it is missing.
    """
    try:
        return find_shards(path, unless={".parquet"})
    except TarError as err:
        raise CatalogueError(str(err)) from err


class WebDatasetReader(TableReader):
    """Reader of products from samples, as from a table's rows. See `Reader` for the properties."""

    def __init__(
        self,
        path: Path,
        shards: Sequence[Path],
        columns: Columns,
        needs: Needs = ALL_NEEDED,
        separator: str | None = None,
    ) -> None:
        """Read all headers once.

        path: the location given by the user. shards: the archives, from `webdataset_shards`. Raises
        CatalogueError if a shard is no tar archive, or if there is no sample or a missing column.
        """
        records = WebDatasetRecords(path, shards)
        named = columns.image is not None
        if "image" in needs.optional and columns.image not in (NO_COLUMN, *records.names):
            named = False
        self.holds_photos = len(records.photos) > 0 and not named
        if self.holds_photos:
            columns = replace(columns, image=PHOTOS)
        super().__init__(records, columns, needs, separator)
        self._photos = records.photos
        self._path = path

    def images(self, photos: int) -> TarImages:
        """Return the source of the samples' own photos, at most `photos` per sample."""
        return TarImages(self._photos, str(self._path), photos=photos)


class WebDatasetRecords:
    """`Records` of samples, whose columns are the keys of their JSON."""

    first_row = 1
    typed = True
    names_grow = True
    notes: Sequence[str] = ()

    def __init__(self, path: Path, shards: Sequence[Path]) -> None:
        """Read all headers, and the fields of some samples. Raises CatalogueError."""
        self.path = path
        self._shards = shards
        self._keys_are_integers = True
        self._kinds: set[str] = set()
        try:
            self.photos = TarIndex(shards, self._survey)
        except TarError as err:
            raise CatalogueError(str(err)) from err
        if not self._kinds:
            raise CatalogueError(
                f"{path}: no sample in it: no file is named like KEY.json, KEY.txt or KEY.jpg"
            )
        sample = islice(self._samples(None), SAMPLE_ROWS)
        objects = (row for row in sample if isinstance(row, _Row))
        fallbacks = ["product_id"]
        fallbacks += ["title"] * ("txt" in self._kinds) + ["category_id"] * ("cls" in self._kinds)
        fallbacks += [PHOTOS] * (len(self.photos) > 0)
        names = chain(chain.from_iterable(row.fields for row in objects), fallbacks)
        self._names = dict.fromkeys(names)

    @property
    def names(self) -> tuple[str, ...]:
        """Keys seen so far, in order of first occurrence."""
        return tuple(self._names)

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:  # noqa: ARG002
        """Return None: only the values determine the type."""
        return None

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Return True: any column may hold text."""
        return True

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Return False: photos are separate files."""
        return False

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Yield every sample as a row; None for a value that none of its files holds."""
        names = self._names
        for row in self._samples(id_column):
            if isinstance(row, Fault):
                yield row
                continue
            if not row.fields.keys() <= names.keys():
                names.update(dict.fromkeys(row.fields))
            yield tuple(map(row.value, columns))

    def _survey(self, member: Member) -> bool:
        """Record a member's kind and key; return True for a photo, which is then indexed."""
        key, kind = _parts(member.name)
        if kind:
            self._kinds.add(kind)
            self._keys_are_integers = self._keys_are_integers and is_canonical_integer(key)
        return kind == "photo"

    def _samples(self, id_column: str | None) -> Iterator[_Row | Fault]:
        for shard in self._shards:
            try:
                with shard.open("rb", buffering=0) as file:
                    for sample in _samples_of(shard):
                        if isinstance(sample, Fault):
                            yield sample
                        else:
                            yield self._row(sample, file, id_column)
            except TarError as err:
                raise CatalogueError(str(err)) from err
            except OSError as err:
                raise CatalogueError(f"{shard}: can't be read: {err.strerror or err}") from err

    def _row(self, sample: _Sample, file: BinaryIO, id_column: str | None) -> _Row | Fault:
        key = int(sample.key) if self._keys_are_integers else sample.key
        # The key is the id of a sample whose JSON has none.
        known = key if id_column == "product_id" else None
        parts: dict[str, bytes] = {}
        for kind, member in sample.files.items():
            if member.size > _LONGEST_FIELD:
                return Fault(f"too large: .{kind} of {member.size} bytes", product_id=known)
            parts[kind] = os.pread(file.fileno(), member.size, member.offset)
        fields: Any = {}
        if "json" in parts:
            try:
                fields = json.loads(parts["json"])
            except (ValueError, RecursionError) as err:
                text = parts["json"].decode("utf-8", "replace")
                named = None if id_column is None else id_in(text, id_column)
                return Fault(f"broken JSON: {err}", product_id=known if named is None else named)
            if not isinstance(fields, dict):
                return Fault("not a JSON object", product_id=known)
        row = _Row(fields, {PHOTOS: sample.photos, "product_id": key})
        if "txt" in parts:
            row.others["title"] = parts["txt"]
        if "cls" in parts:
            label = parts["cls"].strip()
            text = label.decode("ascii", "replace")
            row.others["category_id"] = int(text) if is_canonical_integer(text) else label
        return row


@dataclass(slots=True)
class _Sample:
    """The files with one key: other files by kind, and the names of photos."""

    key: str
    files: dict[str, Member] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row:
    """Values of a sample: from its JSON, and from its other files as a fallback."""

    fields: dict[str, Any]
    others: dict[str, Any]

    def value(self, column: str) -> Any:
        value = self.fields.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return self.others.get(column, value)
        return value


def _samples_of(shard: Path) -> Iterator[_Sample | Fault]:
    """Group an archive's files into samples; a sample never continues in the next archive."""
    sample: _Sample | None = None
    for member in members(shard):
        if isinstance(member, Cut):
            # Files of the last sample may be lost, so it is dropped.
            last = f" from {sample.key} on" if sample else ""
            yield Fault(f"lost: {shard.name} is damaged or cut short, samples{last} are missing")
            return
        key, kind = _parts(member.name)
        if not kind:
            continue
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key)
        if kind == "photo":
            sample.photos.append(member.name)
        else:
            sample.files[kind] = member
    if sample is not None:
        yield sample


def _parts(name: str) -> tuple[str, str]:
    """Return a file's key and kind: "photo", "json", "txt", "cls", or "" for any other file."""
    match = _KEY.fullmatch(name)
    if match is None:
        return "", ""
    ending = match[2].lower()
    if ending.rpartition(".")[2] in _PHOTO_KINDS:
        return match[1], "photo"
    return match[1], ending if ending in _FIELDS else ""
