"""Generates single products of a planned sample: row, ground truth and photo."""

from __future__ import annotations

from random import Random
from typing import Any

from vitrina.sample.looks import pick_colour
from vitrina.sample.photos import draw_photo, encode_jpeg
from vitrina.sample.plan import Photo, SamplePlan
from vitrina.sample.shops import Shop, count_small_shops, pick_shop
from vitrina.sample.taxonomy import SampleCategory, categories
from vitrina.sample.wording import Clarity, Wording, draw_clarity, reword, write_wording

INDEX = "__index_level_0__"
"""Column name that pandas gives to an unnamed index."""

_FIRST_ID = 100_003
_ID_STEP = 17
_NOT_AN_IMAGE = b"<html><head><title>404 Not Found</title></head><body>nginx</body></html>\n"


class Maker:
    """Generates products from the plan and the seed, independently and in any order."""

    def __init__(self, plan: SamplePlan, seed: int) -> None:
        self._plan = plan
        self._seed = seed
        self._small_shops = count_small_shops(len(plan))

    def make_row(self, position: int) -> dict[str, Any]:
        """The catalogue row, with category and frame index, which a test file omits."""
        given = categories()[self._plan.given[position]]
        shop = self._shop(position)
        rng = self._rng(position, "sales")
        rated = rng.random() < 0.6
        return {
            "product_id": self._product_id(position),
            "category_id": given.category_id,
            "category_name": given.name,
            "sale": rng.random() < 0.2,
            "shop_id": shop.shop_id,
            "shop_title": shop.title,
            "rating": round(rng.uniform(3.4, 5.0), 2) if rated else 0.0,
            "text_fields": self._wording(position).as_json(),
            INDEX: position,
        }

    def make_truth(self, position: int) -> dict[str, Any]:
        """The ground truth of a product, which is not in the catalogue."""
        plan = self._plan
        true, given = self._category(position), categories()[plan.given[position]]
        in_test, original = bool(plan.in_test[position]), int(plan.original[position])
        photo = Photo(plan.photo[position])
        return {
            "product_id": self._product_id(position),
            "split": self._split(position),
            "true_category_id": true.category_id,
            "given_category_id": None if in_test else given.category_id,
            "wrong_label": true is not given,
            "photo": "broken" if photo.broken else photo.name.lower(),
            "duplicate_of": None if original < 0 else self._product_id(original),
            "same_photo": bool(plan.same_photo[position]),
            "same_text": bool(plan.same_text[position]),
        }

    def image_name(self, position: int) -> str:
        """The photo's name in the archive, even if there is no photo."""
        return f"images/{self._split(position)}/{self._product_id(position)}.jpg"

    def make_image(self, position: int) -> bytes | None:
        """The content of the photo's file, good or broken; None if there is no photo."""
        photo = Photo(self._plan.photo[position])
        if photo is Photo.MISSING:
            return None
        if photo is Photo.EMPTY:
            return b""
        if photo is Photo.NOT_AN_IMAGE:
            return _NOT_AN_IMAGE
        original = int(self._plan.original[position])
        if original < 0:
            content = self._photograph(position)
            return content[: len(content) * 2 // 5] if photo is Photo.TRUNCATED else content
        if self._plan.same_photo[position]:
            return self._photograph(original)
        # A re-encoded copy: nearly the same picture in other bytes.
        return self._photograph(original, quality=self._rng(position, "copy").randrange(40, 62))

    def _photograph(self, position: int, quality: int | None = None) -> bytes:
        rng = self._rng(position, "photo")
        usual_quality = rng.randrange(70, 92)
        # A product with a vague text gets a photo that identifies its category.
        identifying = not self._clarity(position).identifying
        photo = draw_photo(
            self._category(position), self._colour(position), rng, identifying=identifying
        )
        return encode_jpeg(photo, quality or usual_quality)

    def _wording(self, position: int) -> Wording:
        original = int(self._plan.original[position])
        if original < 0:
            rng = self._rng(position, "wording")
            clarity, colour = self._clarity(position), self._colour(position)
            return write_wording(self._category(position), clarity, colour, rng)
        wording = self._wording(original)
        if self._plan.same_text[position]:
            return wording
        return reword(wording, self._rng(position, "copy"))

    def _shop(self, position: int) -> Shop:
        # A byte-identical text is a card that the same shop has listed twice.
        copied = self._plan.same_text[position]
        source = int(self._plan.original[position]) if copied else position
        department = self._category(source).department
        return pick_shop(department, self._small_shops, self._rng(source, "shop"))

    def _category(self, position: int) -> SampleCategory:
        return categories()[int(self._plan.true[position])]

    def _colour(self, position: int) -> str:
        return pick_colour(self._category(position), self._rng(position, "colour"))

    def _clarity(self, position: int) -> Clarity:
        return draw_clarity(self._rng(position, "clarity"))

    def _split(self, position: int) -> str:
        return "test" if self._plan.in_test[position] else "train"

    def _product_id(self, position: int) -> int:
        # Ids rise, with uneven gaps.
        return _FIRST_ID + _ID_STEP * position + position * position // 3 % _ID_STEP

    def _rng(self, position: int, purpose: str) -> Random:
        # A random stream per purpose: a change to one kind of content does not affect the others.
        return Random(f"{self._seed}/{position}/{purpose}")
