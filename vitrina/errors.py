"""Exception hierarchy of the package; the command line prints the messages.

Each message is one line that names the cause and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar

# Control characters except tab and line feed, lone surrogates, and bidirectional controls.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_START, _END = 2000, 500
_LONGEST = _START + _END + 500
"""Characters of a message that is shown in full."""


def printable(text: str) -> str:
    """Escape the characters of untrusted text that would control a terminal.

    The escapes are JSON's, so JSON text keeps its value.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def near_names(given: str, names: Iterable[str]) -> list[str]:
    """At most two of the names that are spelled almost like the given one, the closest first."""
    from difflib import get_close_matches

    plain = {name.casefold(): name for name in names}
    return [plain[one] for one in get_close_matches(given.casefold(), plain, n=2, cutoff=0.65)]


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: "; did you mean 'classify'?", or "" if none of
    the names is close to the given one."""
    near = near_names(given, names)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


class VitrinaError(Exception):
    """Base class of all deliberate errors; the command line exits with status 1 on it.

    A message longer than `_LONGEST` characters is cut to its start and its end. exit_code: 2 if
    what was typed is wrong whatever the data are, such as a model's name without a known form.

    Examples
    --------
    >>> try:
    ...     vt.Catalogue.read("nowhere.parquet")
    ... except vt.VitrinaError as err:
    ...     print(err)
    nowhere.parquet: can't be read: ... No such file or directory...
    """

    exit_code = 1

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= _LONGEST else f"{text[:_START]} ... {text[-_END:]}"


class OptionError(VitrinaError, ValueError):
    """An option has an unknown, mistyped or out-of-range value; the command line exits with 2.

    Attributes:
        name: of the option in Python.
        flag: of the option on the command line.
        problem: the rest of the message: "must be none, weights or prior, not 'some'".

    Examples
    --------
    >>> vt.TrainOptions(balance="some")
    Traceback (most recent call last):
    vitrina.errors.OptionError: balance must be none, weights or prior, not 'some'
    """

    exit_code = 2

    def __init__(self, name: str, problem: str, *, flag: str | None = None) -> None:
        super().__init__(f"{name} {problem}")
        self.name = name
        self.flag = f"--{name.replace('_', '-')}" if flag is None else flag
        self.problem = problem


Wrong = TypeVar("Wrong", bound=VitrinaError)


def wrong_usage(error: Wrong) -> Wrong:
    """Give an error the exit code of wrong usage, and return it."""
    error.exit_code = 2
    return error


class CatalogueError(VitrinaError):
    """The catalogue can't be read (no such file, an unknown format, a missing column), or an
    output file can't be written."""


class ImageSourceError(VitrinaError):
    """The folder, archive or column of images can't be opened, or holds no product's image."""


class PhotosNotFoundError(ImageSourceError):
    """The photo source holds no product's photo; text alone can be used without photos.

    `empty`: whether the source holds no file at all although the catalogue names photos.
    """

    def __init__(self, message: str, *, empty: bool = False) -> None:
        super().__init__(message)
        self.empty = empty


class ImageError(VitrinaError):
    """One image can't be used; the message is the reason recorded in `errors.parquet`."""


class EncoderError(VitrinaError):
    """A model can't be found, loaded or trusted."""


class HubUnreachableError(EncoderError):
    """A model must come from a hub, and the hub can't be reached."""


class MissingPackageError(VitrinaError, ImportError):
    """A package that only some jobs need is not installed.

    Attributes:
        package: its name on PyPI.
        extra: the extra of Vitrina that installs it; None if it comes with Vitrina.
    """

    def __init__(self, purpose: str, package: str, extra: str | None = None) -> None:
        wanted = package if extra is None else f"'vitrina[{extra}]'"
        super().__init__(
            f"{purpose} needs {package}, which is not installed: `pip install {wanted}`"
        )
        self.package = package
        self.extra = extra


class StoreError(VitrinaError):
    """The store is missing, damaged, of another format version, or lacks the requested data."""


class StoreLockedError(StoreError):
    """Another process is writing to the store."""


class FingerprintError(StoreError):
    """Vectors, an index or a head come from a different encoder than the current one."""


class TooManyFailuresError(VitrinaError):
    """More products failed than `--max-failures` allows; finished work is kept."""


class UnusualChangeError(VitrinaError):
    """A catalogue lost or changed so many products that it looks damaged; nothing is committed."""


class CacheError(VitrinaError):
    """The cache can't be cleared, because what is there may not be Vitrina's."""


class EngineError(VitrinaError):
    """Workers can't be started, or fail on an order again and again; finished work is kept."""


class TrainingError(VitrinaError):
    """A head can't be trained on the data in the store."""
