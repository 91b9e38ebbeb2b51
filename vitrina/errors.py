"""The one tree of exceptions: what a caller catches and what the command line prints.

Each message is one line that names the thing at fault and the way out.
"""

from __future__ import annotations

import re

# Control characters but tab and line feed, lone surrogates, and what turns the direction of text.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_START, _END = 2000, 500
_LONGEST = _START + _END + 500
"""Characters of a message."""


def printable(text: str) -> str:
    """Text of a stranger's as a terminal may show it: characters that steer one become escapes.

    The escapes are JSON's, so that JSON stays JSON of the same value.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class VitrinaError(Exception):
    """Base of everything Vitrina raises on purpose; the command line exits with 1 on it.

    A message that quotes more of a file than a person reads is shown by its start and its end.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= _LONGEST else f"{text[:_START]} ... {text[-_END:]}"


class CatalogueError(VitrinaError):
    """The catalogue can't be read: no such file, an unknown form, a missing column. Or a file that
    was asked for can't be written where it should go."""


class ImageSourceError(VitrinaError):
    """The folder, archive or column of images can't be opened, or holds no product's image."""


class PhotosNotFoundError(ImageSourceError):
    """No product's photo is where photos should be; text alone can be used without them.

    `empty`: whether there is no file at all, where the catalogue names some.
    """

    def __init__(self, message: str, *, empty: bool = False) -> None:
        super().__init__(message)
        self.empty = empty


class ImageError(VitrinaError):
    """One image can't be used; the message is the reason that lands in `errors.parquet`."""


class EncoderError(VitrinaError):
    """A model can't be found, loaded or trusted."""


class HubUnreachableError(EncoderError):
    """A model must come from a hub, and the hub can't be reached."""


class StoreError(VitrinaError):
    """The store is missing, damaged, of another format version, or lacks what was asked for."""


class StoreLockedError(StoreError):
    """Another process is writing to the store."""


class FingerprintError(StoreError):
    """Vectors, an index or a head were made by another encoder than the one at hand."""


class TooManyFailuresError(VitrinaError):
    """More products failed than `--max-failures` allows; what was done is kept."""


class UnusualChangeError(VitrinaError):
    """So much of a catalogue vanished or changed that it looks damaged; nothing was committed."""


class TrainingError(VitrinaError):
    """A head can't be trained on what the store holds."""
