"""Shops of the sample: a few large ones that sell everything, many small specialised ones."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from vitrina.sample.vocabulary import BRANDS

_BIG = ("ВсёДома маркет", "Megastock", "Оптовик24", "ТоргСити", "Best Price", "Склад у дома")
_ADJECTIVES = (
    *("Добрая", "Первая", "Новая", "Северная", "Весёлая", "Волжская", "Уральская", "Золотая"),
    *("Белая", "Умная", "Модная", "Казанская", "Тихая", "Яркая", "Домашняя", "Счастливая"),
)
_NOUNS = {
    "Одежда": ("мода", "ткань", "примерочная"),
    "Обувь": ("тропа", "подошва", "походка"),
    "Электроника": ("техника", "волна", "розетка"),
    "Дом и кухня": ("кухня", "комната", "полка"),
    "Красота": ("красота", "улыбка", "палитра"),
    "Детские товары": ("игра", "семья", "песочница"),
    "Продукты": ("корзина", "лавка", "ярмарка"),
}
_SHARED_NOUNS = ("лавка", "витрина", "находка", "покупка", "полка")
_DEPARTMENTS = tuple(BRANDS)

_BIG_SHARE = 0.4
_OWN_DEPARTMENT_SHARE = 0.55


@dataclass(frozen=True, slots=True)
class Shop:
    """A seller as a catalogue row shows it."""

    shop_id: int
    title: str


def count_small_shops(products: int) -> int:
    """Number of small shops: one per twenty products, but at least six per department."""
    return max(6 * len(_DEPARTMENTS), products // 20)


def pick_shop(department: str, small_shops: int, rng: Random) -> Shop:
    """Draw the shop of a product; small shops mostly sell in one department."""
    if rng.random() < _BIG_SHARE:
        number = int(len(_BIG) * rng.random() ** 2)
        return Shop(101 + number, _BIG[number])
    number = int(small_shops * rng.random() ** 1.7)
    if rng.random() < _OWN_DEPARTMENT_SHARE:
        number -= number % len(_DEPARTMENTS)
        number += _DEPARTMENTS.index(department)
    return _small_shop(number)


def _small_shop(number: int) -> Shop:
    department = _DEPARTMENTS[number % len(_DEPARTMENTS)]
    rng = Random(f"shop/{number}")
    nouns = _SHARED_NOUNS if rng.random() < 0.5 else _NOUNS[department]
    title = f"{rng.choice(_ADJECTIVES)} {rng.choice(nouns)}"
    if rng.random() < 0.3:
        title = f"ИП {title}"
    # There are fewer titles than small shops, so a number makes them unique.
    return Shop(1_000 + 3 * number, f"{title} {number + 1}")
