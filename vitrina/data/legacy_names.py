"""Decoding of archive file names in a Russian code page that the archive does not declare."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable

from vitrina.data.photo_lookup import inside
from vitrina.errors import ImageError

_CODE_PAGES = ("cp866", "cp1251")
_RUSSIAN = re.compile("[А-Яа-яЁё№]")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_ENOUGH = 0.8
"""Minimum share of Russian letters among non-ASCII characters for a code page to be accepted."""
_UTF8_FLAG = 0x800


def decode_name(raw: bytes) -> str:
    """Decode a file name as UTF-8, or else in the likelier Russian code page."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(code_page([raw]) or "utf-8", "replace")


def code_page(names: Iterable[bytes]) -> str | None:
    """Return the code page in which names that are not UTF-8 become Russian; None for neither."""
    shares = dict.fromkeys(_CODE_PAGES, 0.0)
    names = list(names)
    for page in _CODE_PAGES:
        text = "".join(name.decode(page, "replace") for name in names)
        if foreign := len(_FOREIGN.findall(text)):
            shares[page] = len(_RUSSIAN.findall(text)) / foreign
    best = max(shares, key=lambda page: shares[page])
    return best if shares[best] >= _ENOUGH else None


def renamed_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip archive that `zipfile` misnames, by their correct names.

    These have names in a code page without the UTF-8 flag, with backslashes, or with a leading
    slash or `./`.
    """
    odd = {name: info for name, info in archive.NameToInfo.items() if _is_odd(info)}
    raw = {name: _raw(info) for name, info in odd.items()}
    utf8 = {name: text for name, data in raw.items() if (text := _utf8(data)) is not None}
    page = code_page(data for name, data in raw.items() if data and name not in utf8)
    renamed: dict[str, zipfile.ZipInfo] = {}
    for name, info in odd.items():
        right = utf8.get(name, name)
        if name not in utf8 and page and raw[name]:
            right = raw[name].decode(page, "replace")
        try:
            right = inside(right.replace("\\", "/"))
        except ImageError:
            continue
        if right != name:
            renamed.setdefault(right, info)
    return renamed


def _is_odd(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    if name.endswith(("/", "\\")):
        return False
    unsaid = not name.isascii() and not info.flag_bits & _UTF8_FLAG
    return unsaid or "\\" in name or "//" in name or name.startswith(("/", "./"))


def _raw(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name that `zipfile` decoded as cp437; b"" for any other name."""
    if info.flag_bits & _UTF8_FLAG:
        return b""
    try:
        return info.filename.encode("cp437")
    except UnicodeEncodeError:
        return b""


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode() or None
    except UnicodeDecodeError:
        return None
