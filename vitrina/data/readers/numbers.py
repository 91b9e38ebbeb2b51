"""Numbers written as text in a kept column: prices such as "1 299,00 ₽", shares such as "12%".

A column's number format is detected over all of its values:

- At least 19 of 20 values are numbers with the same currency, or a percent sign, before or after
  them; some may lack it. The others ("по запросу") stay text. "12 шт", "42-44" and a column with
  two currencies are no such numbers.
- The decimal mark is a comma or a point. Thousands are separated by spaces of any kind,
  apostrophes, or the other of these two marks. If both readings fit the column, as for "1.299 €"
  alone, the mark separates thousands.
- Without a currency, all values must fit, and the column's name must suggest prices or measures, so
  sizes such as "36,38" and phone numbers stay text.
- A number has no leading zero except in "0" and "0,5", so codes keep their zeros.

Plain numbers (`616`, `61.5`) stay unchanged, since `--where` compares them already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vitrina.data.text import is_missing

_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_NAMES = re.compile(
    r"price|cost|amount|msrp|rrp|discount|rating|weight|height|width|length|depth|volume|"
    r"цен|стоим|сумм|скид|рейтинг|вес|высот|ширин|длин|глубин|объ[её]м|площад|мощност|диаметр",
    re.IGNORECASE,
)
_CURRENCIES = {
    "₽": "₽ руб. руб рублей рубля рубль р. р rub rur",
    "$": "$ usd us$",
    "€": "€ eur euro",
    "£": "£ gbp",
    "₴": "₴ грн. грн uah",
    "₸": "₸ тг. тг тенге kzt",
    "Br": "br byn бел.руб. бел.руб",
    "so'm": "сум so'm uzs",
    "¥": "¥ jpy cny",
    "₹": "₹ rs. rs inr",
    "zł": "zł pln",
    "Kč": "kč czk",
    "₺": "₺ tl try",
    "CHF": "chf",
    "%": "%",
}
_UNITS = {written: unit for unit, forms in _CURRENCIES.items() for written in forms.split()}
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_DECORATED = re.compile(
    rf"([-−]?)\s*({_UNIT})?\s*([-−]?)([0-9](?:[0-9\s.,'’]*[0-9])?)\s*({_UNIT})?", re.IGNORECASE
)
_LONGEST = 64
_MOST_OF = 0.95


def _style(decimal: str, other: str) -> re.Pattern[str]:
    """Compile the pattern of a number without its unit; group 2 holds the decimals."""
    groups = rf"[1-9][0-9]{{0,2}}([\s'’{other}])[0-9]{{3}}(?:\1[0-9]{{3}})*"
    return re.compile(rf"(?:{groups}|0|[1-9][0-9]*)(?:{decimal}([0-9]+))?")


_STYLES = {",": _style(",", "."), ".": _style(r"\.", ",")}
"""Patterns of numbers by decimal mark."""


@dataclass(frozen=True)
class NumberForm:
    """Number format of a column: its decimal mark, and its unit or ""."""

    decimal: str
    unit: str

    def read(self, value: Any) -> Any:
        """Convert a text of this format to a number; return any other value unchanged."""
        if not isinstance(value, str):
            return value
        parts = _parts(value)
        if parts is None or parts.unit not in ("", self.unit):
            return value
        found = _STYLES[self.decimal].fullmatch(parts.digits)
        if found is None:
            return value
        whole = parts.digits.rpartition(self.decimal)[0] if found[2] else parts.digits
        whole = re.sub(r"\D", "", whole)
        number = float(f"{whole}.{found[2]}") if found[2] else int(whole)
        return -number if parts.negative else number


@dataclass
class NumberScan:
    """Detector of a column's number format.

    name: the column's name. texts: number of non-missing texts. plain: number of plain numbers
    among them. fitting, with_decimals: by decimal mark, number of texts that fit the format, and of
    those with decimals.
    """

    name: str
    texts: int = 0
    plain: int = 0
    units: set[str] = field(default_factory=set)
    fitting: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STYLES, 0))
    with_decimals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STYLES, 0))

    def add(self, values: Iterable[Any]) -> None:
        """Add values of the column."""
        for value in values:
            if not isinstance(value, str) or is_missing(value):
                continue
            self.texts += 1
            parts = _parts(value)
            if parts is None:
                continue
            self.plain += _PLAIN.fullmatch(value.strip()) is not None
            if parts.unit:
                self.units.add(parts.unit)
            for mark, style in _STYLES.items():
                if found := style.fullmatch(parts.digits):
                    self.fitting[mark] += 1
                    self.with_decimals[mark] += found[2] is not None

    def form(self) -> NumberForm | None:
        """Return the detected format; None for a column that stays unchanged."""
        if self.plain == self.texts or len(self.units) > 1:
            return None
        if not self.units and not _NAMES.search(self.name):
            return None
        needed = self.texts * (_MOST_OF if self.units else 1)
        marks = [mark for mark in (".", ",") if self.fitting[mark] >= needed]
        if not marks:
            return None
        return NumberForm(min(marks, key=self.with_decimals.__getitem__), "".join(self.units))


@dataclass(frozen=True, slots=True)
class _Parts:
    negative: bool
    digits: str
    unit: str


def _parts(text: str) -> _Parts | None:
    """Split a number into sign, digits with their marks, and unit; None for other text."""
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    found = _DECORATED.fullmatch(text)
    if found is None or (found[1] and found[3]) or (found[2] and found[5]):
        return None
    unit = _UNITS.get((found[2] or found[5] or "").lower(), "")
    return _Parts(bool(found[1] or found[3]), found[4], unit)
