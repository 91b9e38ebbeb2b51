"""Category tree of the sample, and the order of its leaves by frequency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from vitrina.sample.leaves import LEAVES

ROOT = "Все категории"
SEPARATOR = "->"


@dataclass(frozen=True, slots=True)
class SampleCategory:
    """One leaf of the tree.

    `path` runs from the department down, without the root. `names` are the sellers' names for
    such a product, `phrases` their descriptions. `materials` and `measures` name lists in
    `vocabulary`, which several leaves share.
    """

    category_id: int
    path: tuple[str, ...]
    names: tuple[str, ...]
    phrases: tuple[str, ...]
    materials: str
    measures: str

    @property
    def leaf(self) -> str:
        """The last step of the path; no two categories share it."""
        return self.path[-1]

    @property
    def department(self) -> str:
        """The first step of the path."""
        return self.path[0]

    @property
    def name(self) -> str:
        """The whole path as a marketplace file writes it."""
        return SEPARATOR.join((ROOT, *self.path))


ONE_ROW = 4
"""Number of categories, the last in `BY_FREQUENCY`, with exactly one training row."""

# Look-alikes are close together, so that frequency does not decide between them.
BY_FREQUENCY = (
    *("Футболки", "Платья", "Чехлы для телефонов", "Лонгсливы", "Кроссовки", "Кружки"),
    *("Смартфоны", "Рубашки", "Шампуни", "Стаканы", "Ботинки", "Бальзамы для волос"),
    *("Наушники", "Умные часы", "Юбки", "Мягкие игрушки", "Кремы для лица", "Наручные часы"),
    *("Сумки", "Чай", "Тарелки", "Колонки", "Джинсы", "Рюкзаки", "Туфли", "Кофе"),
    *("Полотенца", "Кабели и зарядки", "Машинки", "Куртки", "Сковороды", "Помады"),
    *("Чайники", "Бутылочки для кормления", "Сапоги", "Шоколад", "Духи", "Шапки"),
    *("Зонты", "Мячи", "Мёд", "Настольные лампы"),
)


@cache
def categories() -> tuple[SampleCategory, ...]:
    """All leaves, most frequent first; ids follow the tree's order, not the frequency."""
    leaves: dict[str, SampleCategory] = {}
    for position, (path, names, phrases, materials, measures) in enumerate(LEAVES):
        category = SampleCategory(
            category_id=11_003 + 37 * position,
            path=tuple(path.split(SEPARATOR)),
            names=tuple(names.split("|")),
            phrases=tuple(phrases.split("|")),
            materials=materials,
            measures=measures,
        )
        leaves[category.leaf] = category
    return tuple(leaves[leaf] for leaf in BY_FREQUENCY)
