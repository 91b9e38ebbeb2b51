"""Draw the picture of how data flows, in each language: `python docs/tools/pictures.py`."""

from __future__ import annotations

from html import escape
from pathlib import Path

ASSETS = Path(__file__).parent.parent / "assets"
WIDTH, HEIGHT = 1000, 424
INK, LINE, STORE, FILE, PERSON = "#17323c", "#5b7c88", "#e3f0f3", "#ffffff", "#fbe9dd"

# Boxes: x, y, width, kind; their texts below, by language: a title, then a line or two.
BOXES = {
    "catalogue": (24, 66, 162, FILE),
    "products": (216, 66, 162, STORE),
    "encoders": (408, 66, 162, STORE),
    "shards": (600, 66, 162, STORE),
    "index": (792, 26, 162, STORE),
    "head": (792, 146, 162, STORE),
    "batch": (408, 266, 162, FILE),
    "predictions": (600, 266, 162, FILE),
    "sure": (792, 266, 162, PERSON),
    "audit": (216, 266, 162, FILE),
    "decisions": (24, 266, 162, PERSON),
}
TALL = 92

TEXTS = {
    "en": {
        "catalogue": ("Catalogue", "table, feed, photos"),
        "products": ("Products", "a hash of each text", "and of each photo"),
        "encoders": ("Encoders", "only what is new", "or has changed"),
        "shards": ("Vectors", "shards of Parquet"),
        "index": ("Index", "nearest neighbours"),
        "head": ("Head", "calibrated classifier"),
        "batch": ("New batch", "products to classify"),
        "predictions": ("Predictions", "category, probability,", "neighbours to compare"),
        "sure": ("Accepted?", "sure: straight in", "unsure: to a person"),
        "audit": ("Audit", "labels that are", "probably wrong"),
        "decisions": ("Decisions", "of the reviewers"),
        "store": "the store: one directory or bucket",
        "next": "corrected labels: the next training",
        "title": "How data flows through Vitrina",
    },
    "ru": {
        "catalogue": ("Каталог", "таблица, фид, фото"),
        "products": ("Товары", "хеш каждого текста", "и каждой фотографии"),
        "encoders": ("Энкодеры", "только новое", "и изменившееся"),
        "shards": ("Векторы", "шарды в Parquet"),
        "index": ("Индекс", "поиск соседей"),
        "head": ("Голова", "классификатор", "с калибровкой"),
        "batch": ("Новая партия", "товары без категории"),
        "predictions": ("Предсказания", "категория, вероятность", "и соседи для проверки"),
        "sure": ("Принято?", "уверенные: в каталог", "остальные: человеку"),
        "audit": ("Аудит", "вероятно, неверная", "разметка"),
        "decisions": ("Решения", "проверяющих"),
        "store": "хранилище: папка на диске или бакет",
        "next": "исправленная разметка: следующее обучение",
        "title": "Как данные проходят через Vitrina",
    },
}

# Arrows as SVG paths.
ARROWS = [
    "M186 112 H212",
    "M378 112 H404",
    "M570 112 H596",
    "M762 112 H776 V72 H788",
    "M762 112 H776 V192 H788",
    "M873 118 V142",
    "M570 312 H596",
    "M873 238 V252 H681 V262",
    "M762 312 H788",
    "M681 158 V196 Q681 212 665 212 H313 Q297 212 297 228 V262",
    "M216 312 H190",
]
BACK = "M105 358 V384 Q105 400 121 400 H970 Q982 400 982 388 V204 Q982 192 970 192 H958"


def draw(language: str) -> str:
    """The picture as SVG."""
    texts = TEXTS[language]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" font-family="system-ui, \'Segoe UI\', '
        "'Noto Sans', 'DejaVu Sans', sans-serif\">",
        f"<title>{escape(str(texts['title']))}</title>",
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#f7fafb"/>',
        '<rect x="200" y="12" width="768" height="234" rx="10" fill="none" '
        f'stroke="{LINE}" stroke-dasharray="5 4" stroke-opacity=".6"/>',
        f'<text x="214" y="36" font-size="13" fill="{LINE}">{escape(str(texts["store"]))}</text>',
    ]
    for path in ARROWS:
        parts.append(
            f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.8" '
            'marker-end="url(#to)"/>'
        )
    parts.append(
        f'<path d="{BACK}" fill="none" stroke="#c4622d" stroke-width="1.8" '
        'stroke-dasharray="6 4" marker-end="url(#to)"/>'
    )
    parts.append(
        f'<text x="544" y="392" font-size="13" text-anchor="middle" fill="#a04a1c">'
        f"{escape(str(texts['next']))}</text>"
    )
    for name, (x, y, width, fill) in BOXES.items():
        title, *lines = texts[name]
        middle = x + width / 2
        edge = "#c4622d" if fill == PERSON else LINE
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{TALL}" rx="7" fill="{fill}" '
            f'stroke="{edge}" stroke-width="1.4"/>'
        )
        top = y + TALL / 2 - 9 * len(lines) + 5
        parts.append(
            f'<text x="{middle}" y="{top}" font-size="16" font-weight="600" text-anchor="middle" '
            f'fill="{INK}">{escape(title)}</text>'
        )
        for at, line in enumerate(lines, 1):
            parts.append(
                f'<text x="{middle}" y="{top + 4 + 17 * at}" font-size="12" '
                f'text-anchor="middle" fill="{INK}">{escape(line)}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write `flow.svg` and `flow.ru.svg`."""
    for language in TEXTS:
        suffix = "" if language == "en" else f".{language}"
        (ASSETS / f"flow{suffix}.svg").write_text(draw(language), encoding="utf-8")


if __name__ == "__main__":
    main()
