"""Index of a source's file names, searched by path suffix without regard to spelling."""

from __future__ import annotations

import difflib
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from unicodedata import normalize

import numpy as np

from vitrina.ids import Keys, id_keys

MAX_NAMES = 2_000_000
"""Maximum number of files to index, at about 100 bytes each. Exact names in a larger source are
still found, without an index."""

PHOTO_EXTENSIONS = frozenset(
    {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff"}
    | {"avif", "heic", "heif", "jxl"}
)
_TOP_FOLDERS = frozenset(
    {"images", "image", "imgs", "img", "photos", "photo", "pictures", "picture", "pics"}
    | {"foto", "фото", "картинки", "изображения"}
)
_SAME_FORM = ({"jpg", "jpeg", "jpe", "jfif"}, {"tif", "tiff"}, {"heic", "heif"})
_NO_PHOTOS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_BATCH = 4096
_MOST_CANDIDATES = 64
_NEIGHBOURS = 50
_MOST_SORTED = 200_000


class AmbiguousNameError(Exception):
    """Several files match a name equally well; `names`: two of them."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one, other)
        self.names = (one, other)


class NameIndex:
    """Index of file names by path suffix, without case, Unicode form and extension.

    `complete` is false for more than `MAX_NAMES` files; then nothing is found. Names that are not
    valid text and system files (`.DS_Store`, `__MACOSX`) are left out.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """names: paths from the source's root, separated by `/`."""
        self._text = bytearray()
        self._ends = array("q", [0])
        self.complete = True
        keys: list[Keys] = [np.empty(0, np.uint64)]
        owners = array("i")
        candidates = filter(_is_candidate, names)
        while batch := list(islice(candidates, _BATCH)):
            spellings: list[str] = []
            for at, name in enumerate(batch, len(self)):
                before = len(spellings)
                spellings += _spellings(name)
                owners.extend([at] * (len(spellings) - before))
            for name in batch:
                self._text += name.encode()
                self._ends.append(len(self._text))
            keys.append(id_keys(spellings))
            if len(self) > MAX_NAMES:
                self.complete = False
                self._text, self._ends, owners, keys = bytearray(), array("q", [0]), owners[:0], []
                break
        every = np.concatenate([np.empty(0, np.uint64), *keys])
        order = np.argsort(every, kind="stable")
        self._keys = every[order]
        self._owners = np.array(owners, np.int32)[order]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def find(self, path: str, *, whole: bool, same_extension: bool) -> str | None:
        """Return the file with this path below the root or a top folder; None if there is none.

        whole: match the path at any depth. same_extension: false to accept any extension or none.
        Raises AmbiguousNameError if several files match equally well.
        """
        stem, extension = split_extension(folded(path))
        for place in ("/", "~/", "") if whole else ("/", "~/"):
            # A name may occur several times, as in a zip archive.
            owners = islice(self._at(place + stem), _MOST_CANDIDATES)
            names = list(dict.fromkeys(map(self._name, owners)))
            endings = [split_extension(folded(name))[1] for name in names]
            if same_extension:
                names = _those(names, [ending == extension for ending in endings])
            else:
                alike = [
                    any({ending, extension} <= one for one in _SAME_FORM) for ending in endings
                ]
                names = _those(names, alike) or names
            for form in (str, _composed):
                same = [f"/{form(name)}".endswith(f"/{form(path)}") for name in names]
                names = _those(names, same) or names
            if len(names) > 1:
                raise AmbiguousNameError(names[0], names[1])
            if names:
                return names[0]
        return None

    def nearest(self, path: str) -> str | None:
        """Return the file whose name is most similar to a path's last part, if any is similar."""
        given = folded(path)
        stem = _last_stem(given)
        same = [self._name(at) for at in islice(self._at(stem), _MOST_CANDIDATES)]
        if same:
            return max(same, key=lambda one: difflib.SequenceMatcher(None, given, one).ratio())
        place = bisect_left(self._stems, (stem, -1))
        around = dict(self._stems[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS])
        close = difflib.get_close_matches(stem, around, n=1)
        return self._name(around[close[0]]) if close else None

    @cached_property
    def _stems(self) -> list[tuple[str, int]]:
        """Sorted stems of file names with their positions, to search for similar neighbours."""
        return sorted(
            (_last_stem(folded(self._name(at))), at) for at in range(min(len(self), _MOST_SORTED))
        )

    def _at(self, spelling: str) -> Iterator[int]:
        key = id_keys([spelling])[0]
        first = np.searchsorted(self._keys, key)
        after = np.searchsorted(self._keys, key, side="right")
        return iter(self._owners[first:after].tolist())

    def _name(self, at: int) -> str:
        return self._text[self._ends[at] : self._ends[at + 1]].decode()


class LazyIndex:
    """Thread-safe `NameIndex` that is built on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: NameIndex | None = None

    def get(self, names: Callable[[], Iterable[str]]) -> NameIndex:
        """Return the index, built from `names()` on the first call."""
        with self._lock:
            if self._index is None:
                self._index = NameIndex(names())
            return self._index


def folded(path: str) -> str:
    """Normalize a path's case, Unicode form, separators and stray spaces."""
    path = path.replace("\\", "/")
    path = path.lower() if path.isascii() else _composed(_composed(path).casefold())
    parts = (part.strip() for part in path.split("/"))
    return "/".join(part for part in parts if part not in ("", "."))


def split_extension(path: str) -> tuple[str, str]:
    """Split a folded path into its stem and photo extension; "" if it has no such extension."""
    stem, dot, extension = path.rpartition(".")
    if dot and extension in PHOTO_EXTENSIONS and stem[-1:] not in ("", "/"):
        return stem, extension
    return path, ""


def _spellings(name: str) -> list[str]:
    """Return the search keys of a file, all without the extension.

    These are "/PATH" from the root, "~/PATH" below a generic top folder such as `images`, and each
    suffix of the path.
    """
    stem, _ = split_extension(folded(name))
    parts = stem.split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    top = [f"~/{ends[1]}"] if len(parts) > 1 and parts[0] in _TOP_FOLDERS else []
    return [f"/{stem}", *top, *ends]


def _is_candidate(name: str) -> bool:
    if name.endswith("/") or not name:
        return False
    parts = name.split("/")
    if any(part[:1] == "." and part not in (".", "..") for part in parts):
        return False
    if parts[0].lower() in _NO_PHOTOS or parts[-1].lower() in _NO_PHOTOS:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _composed(text: str) -> str:
    return normalize("NFC", text)


def _last_stem(path: str) -> str:
    return split_extension(path)[0].rpartition("/")[2]


def _those(names: list[str], wanted: list[bool]) -> list[str]:
    return [name for name, kept in zip(names, wanted, strict=True) if kept]
