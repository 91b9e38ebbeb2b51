"""WebDataset: products as samples in tar archives, their photos beside their fields.

A sample is a run of files with the same key, which is the path up to the first dot of the name:
`0001.json` holds the columns of a table's row, `0001.jpg` and `0001.side.png` are photos,
`0001.txt` is the title and `0001.cls` the category where the JSON names none. The key itself
is the product_id where the JSON has none.
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
"""The column of a sample's photos; no key of a JSON object is likely to be named so."""

_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
_PHOTO_KINDS = ("jpg", "jpeg", "png", "webp")
_FIELDS = frozenset({"json", "txt", "cls"})
_LONGEST_FIELD = 1 << 24


def webdataset_shards(path: Path) -> tuple[Path, ...]:
    """The archives that a catalogue's path stands for; () if it is no WebDataset.

    A directory that holds Parquet files is one of these. Raises CatalogueError for a range of
    names that makes no sense.
    """
    try:
        return find_shards(path, unless={".parquet"})
    except TarError as err:
        raise CatalogueError(str(err)) from err


class WebDatasetReader(TableReader):
    """Makes products of samples, as of a table's rows. See `Reader` for the properties."""

    def __init__(
        self,
        path: Path,
        shards: Sequence[Path],
        columns: Columns,
        needs: Needs = ALL_NEEDED,
        separator: str | None = None,
    ) -> None:
        """Go through all headers once. Raises CatalogueError for no tar archive, no sample, or a
        column that isn't there.

        path: what the user calls it. shards: the archives, from `webdataset_shards`.
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
        """The source of the samples' own photos, at most so many of each."""
        return TarImages(self._photos, str(self._path), photos=photos)


class WebDatasetRecords:
    """Samples as the rows of a table, whose columns are the keys of their JSON: a `Records`."""

    first_row = 1
    typed = True
    names_grow = True
    notes: Sequence[str] = ()

    def __init__(self, path: Path, shards: Sequence[Path]) -> None:
        """Go through all headers, and read the fields of some samples."""
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
        stand_ins = ["product_id"]
        stand_ins += ["title"] * ("txt" in self._kinds) + ["category_id"] * ("cls" in self._kinds)
        stand_ins += [PHOTOS] * (len(self.photos) > 0)
        names = chain(chain.from_iterable(row.fields for row in objects), stand_ins)
        self._names = dict.fromkeys(names)

    @property
    def names(self) -> tuple[str, ...]:
        """The keys seen so far, in their order."""
        return tuple(self._names)

    def id_type(self, column: str, *, lists: bool = False) -> IdType | None:  # noqa: ARG002
        """None: only the values tell."""
        return None

    def holds_text(self, column: str) -> bool:  # noqa: ARG002
        """Perhaps."""
        return True

    def holds_bytes(self, column: str) -> bool:  # noqa: ARG002
        """Never: photos are files of their own."""
        return False

    def rows(
        self, columns: Sequence[str], id_column: str | None = None
    ) -> Iterator[tuple[Any, ...] | Fault]:
        """Every sample; None for what neither its JSON nor another of its files tells."""
        names = self._names
        for row in self._samples(id_column):
            if isinstance(row, Fault):
                yield row
                continue
            if not row.fields.keys() <= names.keys():
                names.update(dict.fromkeys(row.fields))
            yield tuple(map(row.value, columns))

    def _survey(self, member: Member) -> bool:
        """Learn from a member's name; keep it if it is a photo."""
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
        # The key is the id of samples whose JSON names none.
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
    """The files with one key: by kind, and the names of those that are photos."""

    key: str
    files: dict[str, Member] = field(default_factory=dict)
    photos: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row:
    """What a sample says: by its JSON, and by its other files where the JSON says nothing."""

    fields: dict[str, Any]
    others: dict[str, Any]

    def value(self, column: str) -> Any:
        value = self.fields.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return self.others.get(column, value)
        return value


def _samples_of(shard: Path) -> Iterator[_Sample | Fault]:
    """Group an archive's files; a sample never goes on in the next archive."""
    sample: _Sample | None = None
    for member in members(shard):
        if isinstance(member, Cut):
            # What the last sample lacks may have stood behind the cut.
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
    """A file's key, and its kind: "photo", "json", "txt", "cls" or "" for nothing of ours."""
    match = _KEY.fullmatch(name)
    if match is None:
        return "", ""
    ending = match[2].lower()
    if ending.rpartition(".")[2] in _PHOTO_KINDS:
        return match[1], "photo"
    return match[1], ending if ending in _FIELDS else ""
