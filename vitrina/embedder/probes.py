"""Built-in texts and pictures that encoders are checked with."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow
from PIL.Image import Image

PROBES = (
    "Кружка керамическая 350 мл, белая",
    "Платье женское летнее, размер 44-46, хлопок",
    "Чехол для Samsung Galaxy A51 силиконовый прозрачный",
    "Nike Women Tempo Purple Shorts",
    "Конструктор 256 деталей для мальчиков от 6 лет. Пластик, яркие цвета, развивает моторику.",
    "Чудо йогурт пер/дын 2,4% 290гр*10шт",
    "USB-C 65W",
    "Набор отвёрток слесарных CrV, 8 предметов, в пластиковом кейсе",
    "Apparel Topwear Tshirts. Men Navy Blue Printed T-shirt, regular fit, 100% cotton, Summer 2012",
    "Сумка женская через плечо, экокожа. Размер: 25х18х8 см. Цвет: чёрный. Застёжка: молния. "
    "Длина ремня регулируется. Внутри одно отделение и карман для телефона. Подходит для города, "
    "прогулок и поездок, хорошо держит форму и легко чистится влажной салфеткой.",
)


def probe_images() -> list[Image]:
    """Eight smooth colour images, the same on every machine."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, size=(8, 7, 7, 3), dtype=np.uint8)
    return [
        Pillow.fromarray(pixels).resize((224, 224), Pillow.Resampling.BICUBIC) for pixels in small
    ]
