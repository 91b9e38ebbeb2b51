"""Language of a catalogue's texts, as far as its letters tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

CYRILLIC, RUSSIAN, FOREIGN = 0.5, 0.005, 0.002
"""Shares: of Cyrillic among all letters, at least; among these, of letters that Bulgarian,
Serbian and Ukrainian lack, at least; and of letters that Russian lacks, at most."""

_RUSSIAN = frozenset("ыэё")
_BASIC = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")


def languages_of(texts: Iterable[str]) -> tuple[str, ...]:
    """ISO 639-1 codes of the texts' language: "ru", or none.

    Latin letters could be of any language, so they give none.
    """
    letters = Counter[str]()
    for text in texts:
        letters.update(text.lower())
    every = sum(count for one, count in letters.items() if one.isalpha())
    cyrillic = {one: count for one, count in letters.items() if "\u0400" <= one <= "\u052f"}
    total = sum(cyrillic.values())
    if not total or total < CYRILLIC * every:
        return ()
    russian = sum(count for one, count in cyrillic.items() if one in _RUSSIAN)
    foreign = sum(count for one, count in cyrillic.items() if one not in _BASIC)
    return ("ru",) if russian >= RUSSIAN * total and foreign <= FOREIGN * total else ()
