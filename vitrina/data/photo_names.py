"""Photo names: from the catalogue, or from templates with {product_id}, {split} and {n}.

This module opens no files; callers pass a function that tests whether a name exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count, islice, takewhile
from string import Formatter
from typing import Any

from vitrina.data.photo_lookup import PhotoLookup
from vitrina.data.product import Product
from vitrina.errors import ImageSourceError
from vitrina.types import ProductId

SAMPLE_IDS = 100
"""Number of products sampled to detect a template."""
_EXTENSIONS = ("jpg", "jpeg", "png", "webp")
_NAME_KEYS = ("path", "url", "src", "file_name", "name")
_NOTHING = frozenset({"", "nan", "null", "none", "n/a", "#n/a", "nil", "-", "—"})


def detect_template(
    exists: Callable[[str], bool], product_ids: Sequence[ProductId], splits: Sequence[str]
) -> str | None:
    """Detect the template of photo names by trying the usual ones on a sample of products.

    `splits` are possible folders of photos, the catalogue's own first, since an id may have one
    photo in `images/train` and another in `images/test`. Returns the template, without {split},
    that finds photos of the most products, the earliest in a tie; None if none finds any.
    """
    folders = (form.format(_literal(split)) for split in splits for form in ("images/{}/", "{}/"))
    candidates = [
        f"{folder}{{product_id}}{number}.{extension}"
        for folder in dict.fromkeys((*folders, "images/", ""))
        for number in ("", "_{n}")
        for extension in _EXTENSIONS
    ]
    return _best(candidates, exists, product_ids)


def choose_split(
    template: str, exists: Callable[[str], bool], ids: Sequence[ProductId], splits: Sequence[str]
) -> str:
    """Validate a template and substitute the split that finds the most photos.

    Raises ImageSourceError for an invalid template.
    """
    problem = f"--image-template {template!r}"
    try:
        fields = [parts[1:] for parts in Formatter().parse(template) if parts[1] is not None]
    except ValueError as err:
        raise ImageSourceError(f"{problem}: {err}") from err
    for name, spec, conversion in fields:
        if name not in ("product_id", "split", "n") or spec or conversion:
            raise ImageSourceError(
                f"{problem}: unknown {name!r}; it takes {{product_id}}, {{split}} and {{n}}"
            )
    if not any(name == "product_id" for name, *_ in fields):
        raise ImageSourceError(f"{problem}: needs {{product_id}}, or all products share a photo")
    if "{split}" not in template:
        return template
    candidates = [template.replace("{split}", _literal(split)) for split in splits]
    if not candidates:
        raise ImageSourceError(f"{problem}: no split is known to put in place of {{split}}")
    return _best(candidates, exists, ids) or candidates[0]


def parse_references(value: Any) -> tuple[str, ...]:
    """Parse photo names from a table's value: a text, a list of texts, or such a list in JSON.

    A record of {bytes, path} or a JSON object gives its path or URL. A text that lists several
    names stays one, since only the photo source can distinguish it from a name with a comma.
    Raises UnicodeDecodeError.
    """
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        value = value.strip()
        if value[:1] in ("[", "{"):
            with suppress(ValueError, RecursionError):
                value = json.loads(value)
    if isinstance(value, list | tuple):
        return tuple(name for part in value for name in parse_references(part))
    if isinstance(value, dict):
        named = (parse_references(value.get(key)) for key in _NAME_KEYS)
        return next(filter(None, named), ())
    if isinstance(value, float) and value.is_integer():
        # An integer that became a float because its column has gaps.
        value = int(value)
    name = "" if value is None else str(value)
    return () if name.lower() in _NOTHING else (name.encode("utf-8", "replace").decode(),)


def existing(
    product: Product,
    template: str | None,
    photos: int,
    lookup: PhotoLookup,
) -> tuple[str, ...]:
    """Return the product's existing photos, under the catalogue's names or else the template's."""
    found = lookup.find(product.images, photos) if product.images else ()
    if found or template is None:
        return found
    return _templated(product.product_id, template, photos, lookup.exists)


def _best(
    candidates: Sequence[str], exists: Callable[[str], bool], ids: Sequence[ProductId]
) -> str | None:
    tried = ids[:: max(1, len(ids) // SAMPLE_IDS)][:SAMPLE_IDS]
    best, most = None, 0
    for template in candidates:
        hits = sum(bool(_templated(product_id, template, 1, exists)) for product_id in tried)
        if hits > most:
            best, most = template, hits
    return best


def _templated(
    product_id: ProductId, template: str, photos: int, exists: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return photos under the template's names; numbers start at 0 or 1 and end at a gap."""
    names: Iterable[str] = (template.format(product_id=product_id, n=n) for n in count())
    if "{n}" not in template:
        names = islice(names, 1)
    elif not exists(template.format(product_id=product_id, n=0)):
        names = islice(names, 1, None)
    return tuple(islice(takewhile(exists, names), photos))


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
