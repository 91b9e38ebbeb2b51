"""Photo style of each sample category: shapes, usual colours, backdrops.

Some shapes serve several categories (a folded garment, a bottle, a retail carton), and some
differ by a detail: there a photo alone is ambiguous, as in a real catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from random import Random

from vitrina.sample.taxonomy import SampleCategory
from vitrina.sample.vocabulary import COLOURS


class Backdrop(Enum):
    """Background of a photo."""

    STUDIO = auto()
    GREY = auto()
    PASTEL = auto()
    TABLE = auto()
    DARK = auto()
    WOOD = auto()


@dataclass(frozen=True, slots=True)
class Look:
    """Choices for a category's photos; an entry given twice is drawn twice as often.

    `shapes` are all shapes, `own` those of them that identify the category best.
    """

    shapes: tuple[str, ...]
    own: tuple[str, ...]
    colours: tuple[str, ...]


@cache
def look_of(category: SampleCategory) -> Look:
    """The look of a category."""
    shapes, colours = _LOOKS[category.leaf]
    own, _, shared = shapes.partition(" / ")
    return Look(_repeat(own) + _repeat(shared), _repeat(own), tuple(colours.split()))


def _repeat(weighted: str) -> tuple[str, ...]:
    shapes: list[str] = []
    for entry in weighted.split("|") if weighted else ():
        shape, _, times = entry.partition("*")
        shapes += [shape] * int(times or 1)
    return tuple(shapes)


def backdrops_of(category: SampleCategory) -> tuple[Backdrop, ...]:
    """Usual backdrops of the category's department."""
    return _BACKDROPS[category.department]


def pick_colour(category: SampleCategory, rng: Random) -> str:
    """Draw a product's colour: mostly one that is usual in its category."""
    if rng.random() < _ANY_COLOUR_SHARE:
        return rng.choice(tuple(COLOURS))
    return rng.choice(look_of(category).colours)


_ANY_COLOUR_SHARE = 0.25

_SUITS = "чёрный белый серый синий тёмно-синий"
_BRIGHT = "красный жёлтый голубой зелёный оранжевый розовый"

# Own shapes / shapes shared with other categories, each with a weight; colours.
_LOOKS: dict[str, tuple[str, str]] = {
    "Платья": ("dress*3|sleeved dress*2 / skirt", "красный бордовый розовый чёрный зелёный"),
    "Юбки": ("skirt*3|straight skirt*2 / dress", "чёрный серый розовый бежевый хаки"),
    "Футболки": ("tee*2|printed tee*2 / folded|longsleeve", f"{_SUITS} хаки"),
    "Лонгсливы": ("longsleeve*2|printed longsleeve*2 / folded|tee", f"{_SUITS} бордовый"),
    "Рубашки": ("shirt*3 / short shirt|folded", "белый голубой синий серый красный"),
    "Джинсы": ("jeans", "синий тёмно-синий голубой серый"),
    "Куртки": ("jacket*4 / shirt", "хаки чёрный тёмно-синий оранжевый"),
    "Шапки": ("beanie", "серый бордовый розовый белый"),
    "Сумки": ("handbag*3|shopper*2 / backpack", "чёрный коричневый бежевый красный"),
    "Рюкзаки": ("backpack*4 / shopper", "чёрный серый тёмно-синий хаки"),
    "Зонты": ("umbrella", _BRIGHT),
    "Кроссовки": ("sneaker*3 / boot", "белый чёрный серый синий красный"),
    "Ботинки": ("boot*4 / sneaker|tall boot", "коричневый чёрный хаки серый"),
    "Туфли": ("pump", "чёрный красный бежевый серебристый"),
    "Сапоги": ("tall boot*3 / boot", "чёрный коричневый бордовый"),
    "Смартфоны": ("phone*3 / phone back|carton", "чёрный синий голубой серебристый"),
    "Чехлы для телефонов": ("case*3|open case*2 / phone back", f"{_BRIGHT} чёрный"),
    "Кабели и зарядки": ("cable*3|charger*2 / carton", "белый чёрный серый"),
    "Наушники": ("headphones*3|earbuds*3 / carton", "чёрный белый розовый"),
    "Колонки": ("speaker*3|drum speaker*2 / carton", "чёрный красный синий серый"),
    "Умные часы": ("smart watch*4 / round smart watch|dark wrist watch", _SUITS),
    "Наручные часы": ("wrist watch*3 / dark wrist watch|round smart watch", "коричневый чёрный"),
    "Кружки": ("mug*3|slim mug / tumbler", f"белый {_BRIGHT}"),
    "Стаканы": ("glass*2|tumbler*3 / slim mug", f"белый бирюзовый {_BRIGHT}"),
    "Тарелки": ("plate*2|bowl", "белый голубой бежевый серый"),
    "Сковороды": ("pan", "чёрный серый красный коричневый"),
    "Чайники": ("kettle*4 / carton", "белый серебристый чёрный красный"),
    "Настольные лампы": ("lamp", "белый чёрный жёлтый"),
    "Полотенца": ("towels*2|hanging towel*2 / folded", "бирюзовый розовый бежевый белый сиреневый"),
    "Шампуни": ("bottle*2|pump bottle*2 / tube", "зелёный бирюзовый белый голубой сиреневый"),
    "Бальзамы для волос": ("tube*3 / bottle|jar", "зелёный белый бежевый розовый сиреневый"),
    "Кремы для лица": ("jar*3 / tube|carton", "белый розовый бежевый золотистый"),
    "Помады": ("lipstick|lip gloss", "красный бордовый розовый коричневый"),
    "Духи": ("perfume*4 / carton", "розовый золотистый сиреневый голубой"),
    "Мягкие игрушки": ("bear", "коричневый бежевый розовый белый серый"),
    "Машинки": ("car*3|truck*2 / carton", _BRIGHT),
    "Мячи": ("ball", _BRIGHT),
    "Бутылочки для кормления": ("baby bottle*4 / bottle", "голубой розовый зелёный жёлтый"),
    "Чай": ("tea box*4 / pouch|carton", "зелёный жёлтый красный чёрный"),
    "Кофе": ("pouch*4 / honey|tea box", "коричневый чёрный красный золотистый"),
    "Шоколад": ("chocolate", "коричневый красный фиолетовый синий"),
    "Мёд": ("honey", "золотистый жёлтый оранжевый"),
}

_BACKDROPS: dict[str, tuple[Backdrop, ...]] = {
    "Одежда": (Backdrop.STUDIO, Backdrop.STUDIO, Backdrop.GREY, Backdrop.PASTEL),
    "Обувь": (Backdrop.STUDIO, Backdrop.GREY, Backdrop.TABLE, Backdrop.WOOD),
    "Электроника": (Backdrop.STUDIO, Backdrop.GREY, Backdrop.DARK, Backdrop.PASTEL),
    "Дом и кухня": (Backdrop.STUDIO, Backdrop.TABLE, Backdrop.WOOD, Backdrop.PASTEL),
    "Красота": (Backdrop.STUDIO, Backdrop.PASTEL, Backdrop.PASTEL, Backdrop.GREY),
    "Детские товары": (Backdrop.STUDIO, Backdrop.PASTEL, Backdrop.PASTEL, Backdrop.TABLE),
    "Продукты": (Backdrop.STUDIO, Backdrop.WOOD, Backdrop.TABLE, Backdrop.DARK),
}
