"""The format version of a store, recorded in `store.json`."""

from __future__ import annotations

from dataclasses import dataclass

from vitrina.errors import StoreError
from vitrina.store import layout
from vitrina.store.files import Files
from vitrina.typed_json import parse_json


@dataclass(frozen=True)
class StoreCard:
    """The content of `store.json`. format: the version. created: the time, in ISO 8601."""

    format: int
    created: str = ""


def read_card(files: Files) -> StoreCard:
    """Read `store.json`.

    Raises FileNotFoundError, and StoreError if it is damaged or its version can't be read.
    """
    way_out = "delete it, and `vitrina verify STORE --repair` writes it again"
    where = files.where(layout.CARD)
    card = parse_json(files.read(layout.CARD), StoreCard, where, way_out)
    if card.format not in layout.READABLE_FORMATS:
        raise StoreError(
            f"{files.place} is of format {card.format}, this Vitrina reads "
            f"{min(layout.READABLE_FORMATS)} to {max(layout.READABLE_FORMATS)}; "
            "use the version of Vitrina that wrote it"
        )
    return card
