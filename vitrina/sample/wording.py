"""Product texts of the sample: title, HTML description, attributes, characteristics."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum, auto
from random import Random

from vitrina.sample.taxonomy import SampleCategory, categories
from vitrina.sample.vocabulary import (
    ANY_BRANDS,
    BRANDS,
    BULLETS,
    CLOSINGS,
    COUNTRIES,
    MATERIALS,
    MEASURES,
    MODELS,
    OPENINGS,
    VAGUE_TITLES,
)


class Clarity(Enum):
    """Clarity of a text: how well it identifies the category."""

    PLAIN = auto()
    TERSE = auto()
    HINTED = auto()
    VAGUE = auto()

    @property
    def identifying(self) -> bool:
        """True if the title names the kind of product."""
        return self in (Clarity.PLAIN, Clarity.TERSE)


# Shares of the products. The rest is plain.
_CLARITY_SHARES = {Clarity.TERSE: 0.08, Clarity.HINTED: 0.06, Clarity.VAGUE: 0.09}
_ANY_BRAND_SHARE = 0.35
_CROSS_SELL_SHARE = 0.08
_LATIN = str.maketrans("аеорсухАЕОРСХКМТ", "aeopcyxAEOPCXKMT")


@dataclass(frozen=True, slots=True)
class Wording:
    """The text fields of one row, as in the marketplace file."""

    title: str
    description: str
    attributes: tuple[str, ...]
    custom: dict[str, list[str]]
    defined: dict[str, list[str]]
    filters: dict[str, list[str]]

    def as_json(self) -> str:
        """The `text_fields` cell."""
        fields = {
            "title": self.title,
            "description": self.description,
            "attributes": list(self.attributes),
            "custom_characteristics": self.custom,
            "defined_characteristics": self.defined,
            "filters": self.filters,
        }
        return json.dumps(fields, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Facts:
    """Properties of a product that its texts are written from."""

    category: SampleCategory
    clarity: Clarity
    colour: str
    name: str
    brand: str
    model: str
    material: str
    measure: str


def draw_clarity(rng: Random) -> Clarity:
    """Draw the clarity of a product's text."""
    left = rng.random()
    for clarity, share in _CLARITY_SHARES.items():
        left -= share
        if left < 0:
            return clarity
    return Clarity.PLAIN


def write_wording(category: SampleCategory, clarity: Clarity, colour: str, rng: Random) -> Wording:
    """Write the text of a product of a category and colour."""
    own_brands = BRANDS[category.department]
    facts = _Facts(
        category=category,
        clarity=clarity,
        colour=colour,
        # The first name is the usual one.
        name=category.names[int(len(category.names) * rng.random() ** 1.7)],
        brand=rng.choice(ANY_BRANDS if rng.random() < _ANY_BRAND_SHARE else own_brands),
        model=f"{rng.choice(MODELS)} {rng.randrange(2, 40)}",
        material=rng.choice(MATERIALS[category.materials]),
        measure=rng.choice(MEASURES[category.measures]),
    )
    return Wording(
        title=_write_title(facts, rng),
        description=_write_description(facts, rng),
        attributes=_write_attributes(facts, rng),
        custom=_custom_characteristics(facts, rng),
        defined=_defined_characteristics(facts, rng),
        filters={"Бренд": [facts.brand]} if rng.random() < 0.5 else {},
    )


def reword(wording: Wording, rng: Random) -> Wording:
    """Change the title, as sellers do with a copied card; the rest is unchanged."""
    title = wording.title
    endings = (" / в наличии", ", оригинал", " NEW", " + подарок", ", скидка", " (1 шт)")
    ending = rng.choice(endings)
    if rng.random() < 0.3:
        title = title.upper() if title != title.upper() else title.lower()
    if rng.random() < 0.3:
        return replace(wording, title=f"{ending.strip(' ,/')} {title}")
    return replace(wording, title=title + ending)


def _write_title(facts: _Facts, rng: Random) -> str:
    if not facts.clarity.identifying:
        model, _, number = facts.model.partition(" ")
        template = rng.choice(VAGUE_TITLES)
        year = rng.choice((2022, 2023, 2024, 2025))
        return template.format(
            model=model, number=number, year=year, brand=facts.brand, colour=facts.colour
        )
    if facts.clarity is Clarity.TERSE:
        return _corrupt(facts.name.capitalize(), rng)
    words = [facts.name]
    if rng.random() < 0.6:
        words.append(facts.brand)
    if rng.random() < 0.45:
        words.append(facts.model)
    if rng.random() < 0.2:
        rng.shuffle(words)
    tail = [facts.colour, facts.measure, rng.choice(facts.category.phrases), facts.material]
    rng.shuffle(tail)
    title = ", ".join([" ".join(words), *tail[: rng.randrange(4)]])
    return _corrupt(title[0].upper() + title[1:], rng)


def _corrupt(title: str, rng: Random) -> str:
    """Corrupt some titles: typos, Latin look-alikes, case, spaces."""
    slip = rng.random()
    if slip < 0.07:
        at = rng.randrange(1, max(2, len(title) - 1))
        return title[:at] + title[at + 1 :]
    if slip < 0.12:
        at = rng.randrange(1, max(2, len(title) - 1))
        return title[:at] + title[at : at + 2][::-1] + title[at + 2 :]
    if slip < 0.17:
        return title.translate(_LATIN)
    if slip < 0.24:
        return title.upper()
    if slip < 0.31:
        return title.replace(", ", ",")
    if slip < 0.38:
        return title.lower().replace("ё", "е")
    return title


def _write_description(facts: _Facts, rng: Random) -> str:
    if facts.clarity is Clarity.TERSE or rng.random() < 0.12:
        return ""
    model = facts.model
    parts = [f"<p>{rng.choice(OPENINGS).format(model=model, brand=facts.brand)}</p>"]
    if facts.clarity is Clarity.HINTED:
        parts.append(f"<p>{facts.name.capitalize()}, {facts.measure}.</p>")
    points = rng.sample(BULLETS, rng.randrange(3))
    if facts.clarity is Clarity.PLAIN:
        points += rng.sample(facts.category.phrases, rng.randrange(3))
        if rng.random() < 0.5:
            parts.append(
                f"<p><b>{facts.name.capitalize()}</b> &mdash; {facts.material},"
                f"&nbsp;{facts.measure}.<br/>{rng.choice(facts.category.phrases).capitalize()}!</p>"
            )
    if points:
        items = "".join(f"<li>{point}</li>" for point in points)
        parts.append(f"<ul>{items}</ul>")
    if rng.random() < _CROSS_SELL_SHARE:
        other = rng.choice(rng.choice(categories()).names)
        parts.append(f"<p>С&nbsp;этим товаром берут: &quot;{other}&quot;</p>")
    if rng.random() < 0.4:
        parts.append(f"<p><i>{rng.choice(CLOSINGS)}</i></p>")
    return "".join(parts)


def _write_attributes(facts: _Facts, rng: Random) -> tuple[str, ...]:
    attributes = []
    if rng.random() < 0.3:
        attributes.append(f"Страна: {rng.choice(COUNTRIES)}")
    if facts.clarity is Clarity.PLAIN and rng.random() < 0.5:
        attributes.append(rng.choice(facts.category.phrases).capitalize())
    return tuple(attributes)


def _custom_characteristics(facts: _Facts, rng: Random) -> dict[str, list[str]]:
    if not facts.clarity.identifying or rng.random() < 0.6:
        return {}
    return {"Размер": [facts.measure]}


def _defined_characteristics(facts: _Facts, rng: Random) -> dict[str, list[str]]:
    characteristics = {}
    if rng.random() < 0.5:
        characteristics["Цвет"] = [facts.colour]
    if facts.clarity.identifying and rng.random() < 0.35:
        characteristics["Материал"] = [facts.material]
    return characteristics
