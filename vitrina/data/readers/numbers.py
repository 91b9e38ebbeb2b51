"""Numbers that stand as text in a kept column: prices such as "1 299,00 ₽", shares such as "12%".

Whether a column holds numbers, and how they are written, is decided over all of its values:

- 19 of 20 are numbers with the same currency, or a percent sign, before or after them; some may
  lack it. The others ("по запросу") stay text. "12 шт", "42-44" and a column of two currencies
  are no such numbers.
- The decimal mark is a comma or a point. Thousands are set apart by spaces of any kind,
  apostrophes, or the other one of these two marks. Where both readings fit the column, as for
  "1.299 €" alone, the mark is one of thousands.
- Without a currency, all values have to fit, and the column's name has to say that it holds
  prices or measures: sizes such as "36,38" and phone numbers stay text.
- A number starts with no zero but "0" itself, so codes keep their zeros.

Plain numbers (`616`, `61.5`) stay as they are, since `--where` compares them already.
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
    """A number without its unit: the digits before the decimal mark, and those after it."""
    groups = rf"[1-9][0-9]{{0,2}}([\s'’{other}])[0-9]{{3}}(?:\1[0-9]{{3}})*"
    return re.compile(rf"(?:{groups}|0|[1-9][0-9]*)(?:{decimal}([0-9]+))?")


_STYLES = {",": _style(",", "."), ".": _style(r"\.", ",")}
"""By the decimal mark."""


@dataclass(frozen=True)
class NumberForm:
    """How the numbers of a column are written: with which decimal mark, and which unit, or ""."""

    decimal: str
    unit: str

    def read(self, value: Any) -> Any:
        """The number that a text of this form stands for; any other value as it is."""
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
    """Finds the form of a column's numbers.

    name: of the column. texts: its values that say anything; plain: those that are numbers as
    they stand. fitting, with_decimals: by the decimal mark, texts that this form fits, and those
    of them that have a decimal mark then.
    """

    name: str
    texts: int = 0
    plain: int = 0
    units: set[str] = field(default_factory=set)
    fitting: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STYLES, 0))
    with_decimals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_STYLES, 0))

    def add(self, values: Iterable[Any]) -> None:
        """Take note of some values of the column."""
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
        """The form; None for a column that stays as it is."""
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
    """A number's sign, its digits with their marks, and its unit; None for what is no number."""
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    found = _DECORATED.fullmatch(text)
    if found is None or (found[1] and found[3]) or (found[2] and found[5]):
        return None
    unit = _UNITS.get((found[2] or found[5] or "").lower(), "")
    return _Parts(bool(found[1] or found[3]), found[4], unit)
