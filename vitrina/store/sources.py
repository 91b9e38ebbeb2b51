"""Sources: the shops and feeds whose products share one store.

Product and category ids belong to their source. The first source of a store is its home; its ids
are stored as its catalogue writes them. The ids of every other source are prefixed with its name
("Ромашка:15"), so they are unique in the whole store and one column still joins all its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from vitrina.errors import CatalogueError, StoreError
from vitrina.typed_json import convert_json
from vitrina.types import CategoryId

SEPARATOR = ":"
"""Separator between a source's name and its own id."""

_KEY = "sources"


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Source:
    """One source of products.

    Attributes:
        name: "" where neither its catalogue nor the user names it.
        home: True if its ids are stored as its catalogue writes them.
        asked: True if the user named it, False if its feed did.
        alias: the feed's own name, if it differs.
        reading: how its catalogue was last read, as JSON.
        retired: for each reused category id, as text and as stored, the names of the categories
            that it meant before.
    """

    name: str = ""
    home: bool = True
    asked: bool = False
    alias: str | None = None
    reading: Mapping[str, Any] = field(default_factory=_nothing)
    retired: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)

    @property
    def title(self) -> str:
        """The name for messages."""
        return repr(self.name or self.alias) if self.name or self.alias else "the unnamed source"

    @property
    def prefix(self) -> str:
        """The prefix of its ids in the store."""
        return "" if self.home else f"{self.name}{SEPARATOR}"

    def to_json(self) -> dict[str, Any]:
        """The JSON form in a manifest."""
        return {
            "name": self.name,
            "home": self.home,
            "asked": self.asked,
            "alias": self.alias,
            "reading": dict(self.reading),
            "retired": {key: list(names) for key, names in self.retired.items()},
        }


@dataclass(frozen=True)
class Sources:
    """All sources of a store, the home first."""

    all: tuple[Source, ...] = ()

    @classmethod
    def of(cls, reading: Mapping[str, Any], *, products: bool) -> Sources:
        """The sources in a manifest's `reading`.

        products: True if the store holds any; a store of format 2 that does has one unnamed source.
        Raises StoreError for an invalid list.
        """
        listed = reading.get(_KEY)
        if listed is None:
            return cls((Source(reading=reading.get("catalogue") or {}),)) if products else cls()
        return cls(
            convert_json(
                listed,
                tuple[Source, ...],
                "the list of sources in the store's manifest",
                "bring the store back from a backup",
            )
        )

    def __iter__(self) -> Iterator[Source]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def to_json(self) -> dict[str, Any]:
        """The part of a manifest's `reading` that lists the sources."""
        return {_KEY: [one.to_json() for one in self.all]}

    def named(self, name: str) -> Source | None:
        """The source with a name; None if there is none."""
        return next((one for one in self.all if one.name == name), None)

    def known(self, name: str) -> Source | None:
        """The source that a feed's own name refers to; None for a new one."""
        by_alias = next((one for one in self.all if one.alias == name), None)
        return self.named(_plain(name)) or by_alias

    def with_source(self, source: Source) -> Sources:
        """A copy with one source added, or replaced if its name exists."""
        if self.named(source.name) is None:
            return Sources((*self.all, source))
        return Sources(tuple(source if one.name == source.name else one for one in self.all))

    def resolve(self, asked: str | None, named: str | None, catalogue: object) -> Source:
        """The source of a catalogue's products, an existing one or a new one.

        asked: the name given by the user, "" for the unnamed source. named: the name in the
        catalogue itself. catalogue: for messages.

        Raises CatalogueError for an invalid name, StoreError if a name is required and missing.
        """
        if asked is not None:
            name = " ".join(asked.split())
            if SEPARATOR in name:
                raise CatalogueError(
                    f"--source {asked!r}: a source's name can't hold {SEPARATOR!r}, which parts it "
                    "from its ids"
                )
            source = self.named(name) or Source(name, home=not self.all, asked=True)
            # Later runs recognise the feed by its own name.
            return source if named in (None, name) else replace(source, alias=named)
        if named is not None:
            return self.known(named) or Source(_plain(named), home=not self.all)
        if not self.all:
            return Source()
        if len(self.all) == 1 and (self.all[0].asked or not self.all[0].name):
            return self.all[0]
        if unnamed := self.named(""):
            return unnamed
        have = ", ".join(one.title for one in self.all)
        raise StoreError(
            f"{catalogue} names no source, and the store holds the products of {have}: say "
            f"--source {self.all[0].name!r} to bring these up to date, or --source NAME for "
            "another shop's products"
        )

    def of_category(self, category: CategoryId) -> Source | None:
        """The source that a category id of the store belongs to; None in an empty store."""
        text = str(category)
        others = (one for one in self.all if one.prefix and text.startswith(one.prefix))
        return next(others, next(iter(self.all), None))

    @property
    def retired(self) -> dict[str, tuple[str, ...]]:
        """For reused category ids, the names of the categories that they meant before."""
        return {key: names for one in self.all for key, names in one.retired.items()}


def _plain(name: str) -> str:
    """Convert a feed's own name to a valid source name."""
    return " ".join(name.replace(SEPARATOR, " ").split())


def with_retired(source: Source, reused: Mapping[str, tuple[frozenset[str], str]]) -> Source:
    """The source with the earlier names of reused category ids added to `retired`.

    reused: by id as text, the earlier names and the current name.
    """
    retired = dict(source.retired)
    for key, (before, now) in reused.items():
        names = {*retired.get(key, ()), *before} - {now}
        retired[key] = tuple(sorted(names))
    return replace(source, retired=retired)
