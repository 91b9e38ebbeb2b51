"""How photos are named: templates with {product_id}, {split} and {n}, found out or checked.

Nothing here opens a file; whether a name exists is asked of the source that is handed in.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count, islice, takewhile
from string import Formatter
from urllib.parse import unquote, urlsplit

from vitrina.data.product import Product
from vitrina.errors import ImageError, ImageSourceError
from vitrina.types import ProductId

SAMPLE_IDS = 100
"""How many products are looked up to find out how photos are named."""
_EXTENSIONS = ("jpg", "jpeg", "png", "webp")


def detect_template(
    exists: Callable[[str], bool], product_ids: Sequence[ProductId], splits: Sequence[str]
) -> str | None:
    """Find how photos are named: try the usual templates on some of the products.

    `splits` are folders that may part the photos, the catalogue's own first, since an id may
    have one photo in `images/train` and another in `images/test`. Returns the template, free of
    {split}, that finds photos of the most products, the earliest of equals; None if none does.
    """
    parted = (form.format(_literal(split)) for split in splits for form in ("images/{}/", "{}/"))
    candidates = [
        f"{folder}{{product_id}}{number}.{extension}"
        for folder in dict.fromkeys((*parted, "images/", ""))
        for number in ("", "_{n}")
        for extension in _EXTENSIONS
    ]
    return _best(candidates, exists, product_ids)


def choose_split(
    template: str, exists: Callable[[str], bool], ids: Sequence[ProductId], splits: Sequence[str]
) -> str:
    """Check a template from outside, and put the split that finds most photos into it."""
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


def existing(
    product: Product, template: str | None, photos: int, exists: Callable[[str], bool]
) -> tuple[str, ...]:
    """The product's photos that exist: under the catalogue's names or else the template's.

    Where the catalogue gives an address on the web, the file it ends in counts too: a feed
    names its photos by address, and they may have been fetched into a folder since.
    """
    named = (next(filter(exists, _file_names(image)), None) for image in product.images)
    found = tuple(islice((name for name in named if name is not None), photos))
    if found or template is None:
        return found
    return _templated(product.product_id, template, photos, exists)


def inside(reference: str) -> str:
    """The reference as a plain relative path. Raises ImageError if it leads out of the source."""
    name = posixpath.normpath(reference.lstrip("/"))
    if name == ".." or name.startswith("../"):
        raise ImageError(f"leads outside of the photos' place: {reference!r}")
    return name


def _file_names(reference: str) -> Iterator[str]:
    """The reference as it is, and of a web address the last part of its path, unquoted."""
    yield reference
    if "://" in reference or reference.startswith("//"):
        with suppress(ValueError):
            path = unquote(urlsplit(reference).path)
            if name := posixpath.basename(path):
                yield name


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
    """Photos under the template's names; numbers start at 0 or 1 and end at the first gap."""
    names: Iterable[str] = (template.format(product_id=product_id, n=n) for n in count())
    if "{n}" not in template:
        names = islice(names, 1)
    elif not exists(template.format(product_id=product_id, n=0)):
        names = islice(names, 1, None)
    return tuple(islice(takewhile(exists, names), photos))


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
