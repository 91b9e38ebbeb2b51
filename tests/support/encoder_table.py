"""Vitrina's vectors beside those of the library that made a model, and the table of them.

`python -m support.encoder_table` measures every form and writes the tables of `docs/encoders.md`.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support.encoder_forms import EncoderForm
from support.named_models import load_image, load_text
from support.real_models import real_forms
from vitrina.embedder.base import AGREEMENT
from vitrina.embedder.known_models import KNOWN_MODELS, KnownModel
from vitrina.errors import EncoderError
from vitrina.types import Compute, Modality

PAGE = Path(__file__).parent.parent.parent / "docs" / "encoders.md"
LISTS = ("text_forms", "image_forms", "onnx_forms")
"""Modules of `support` with a tuple `FORMS`."""

TEXTS = [
    "Кружка керамическая 350 мл, белая",
    "Чудо йогурт пер/дын 2,4% 290гр*10шт",
    "Nike Women Tempo Purple Shorts",
    "USB-C 65W",
    "платье",
    "Набор отвёрток слесарных CrV, 8 предметов, в пластиковом кейсе",
    "Café crème brûlée — 6 × 120 g",
    "UPPER lower MiXeD",
    "a",
    "Сумка женская через плечо, экокожа. Размер: 25х18х8 см. Цвет: чёрный. Застёжка: молния. " * 3,
    "кружка белая слово1 слово2",
    "ваза синяя слово11",
]

PATHS = {
    "PackedBert": "fast path",
    "PatchedVit": "fast path",
    "PaddedModel": "own code",
    "OwnCode": "own code",
    "OnnxNetwork": "onnxruntime",
    "PaddedTower": "own code",
    "StaticText": "table look-up",
}
"""What a backend is called in the table."""


@dataclass(frozen=True)
class Comparison:
    """Vitrina beside a form's library.

    cosines: the least over texts or photos, in each numeric format; None where this model or
    machine has no such format, a text where it is refused since its vectors fall too far. path:
    how float32 runs. refusal: the one line by which the whole model is refused, or "".
    """

    cosines: dict[Compute, float | str | None]
    path: str = ""
    refusal: str = ""


def forms() -> list[EncoderForm]:
    """All forms of tiny models whose packages are installed."""
    found: list[EncoderForm] = []
    for name in LISTS:
        if importlib.util.find_spec(f"support.{name}") is not None:
            found += importlib.import_module(f"support.{name}").FORMS
    return [one for one in found if not lacking(one)]


def lacking(form: EncoderForm) -> list[str]:
    """Packages that a form needs and that are not installed."""
    return [name for name in form.needs if importlib.util.find_spec(name) is None]


def pictures() -> list[Image.Image]:
    """Photos without fine detail, of several shapes."""
    rng = np.random.default_rng(1)
    sizes = [(160, 120), (90, 150), (64, 64), (301, 200), (224, 224)]
    patches = rng.integers(0, 256, size=(len(sizes), 6, 8, 3), dtype=np.uint8)
    return [
        Image.fromarray(patch).resize(size, Image.Resampling.BICUBIC)
        for patch, size in zip(patches, sizes, strict=True)
    ]


def compare(form: EncoderForm, folder: Path) -> Comparison:
    """Make a form's model in a folder, and compare Vitrina's vectors with its library's."""
    model = form.make(folder)
    if form.refused is not None:
        return Comparison(dict.fromkeys(Compute), refusal=_refusal(form, model))
    items: list[Any] = TEXTS if form.modality is Modality.TEXT else pictures()
    assert form.reference is not None
    with warnings.catch_warnings():
        # Other libraries warn of each other.
        warnings.simplefilter("ignore")
        expected = np.asarray(form.reference(model, items))
    cosines: dict[Compute, float | str | None] = {}
    path = ""
    for compute in Compute:
        try:
            encoder = _loaded(form, model, compute)
        except EncoderError as err:
            if compute is Compute.FLOAT32:
                raise
            cosines[compute] = None if "can't be run in" in str(err) else str(err)
            continue
        cosines[compute] = float(np.sum(expected * _encoded(form, encoder, items), axis=1).min())
        if compute is Compute.FLOAT32:
            path = _path_of(encoder)
    return Comparison(cosines, path)


def _loaded(form: EncoderForm, model: Path, compute: Compute | None) -> Any:
    load: Any = load_text if form.modality is Modality.TEXT else load_image
    return load(str(model), compute=compute)


def _encoded(form: EncoderForm, encoder: Any, items: list[Any]) -> Any:
    if form.modality is Modality.TEXT:
        return encoder.encode(items)
    return encoder.encode([encoder.prepare(one.convert("RGB")) for one in items])


def _path_of(encoder: Any) -> str:
    """What runs an encoder: its backend, or the network inside it if that has a name of its own."""
    backend = getattr(encoder, "_network", encoder)
    names = [type(one).__name__ for one in (getattr(backend, "_model", None), backend)]
    return next((PATHS[name] for name in names if name in PATHS), names[-1])


def _refusal(form: EncoderForm, model: Path) -> str:
    try:
        _loaded(form, model, None)
    except EncoderError as err:
        return str(err).replace(f"{model}: {model}", "DIR").replace(str(model), "DIR")
    raise AssertionError(f"{form.name} is not refused")


def rows() -> Iterator[str]:
    """Lines of the table of forms."""
    yield "| form | compared with | float32 | bfloat16 | int8 | runs by |"
    yield "|---|---|---|---|---|---|"
    for form in [*forms(), *real_forms()]:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(form, Path(folder))
        print(form.name, found, file=sys.stderr)
        if found.refusal:
            refusal = found.refusal.replace("|", "/")
            yield f"| {form.name} | {form.library} | | | | refused: {refusal} |"
        else:
            cells = " | ".join(_cell(compute, found) for compute in Compute)
            yield f"| {form.name} | {form.library} | {cells} | {found.path} |"


def _cell(compute: Compute, found: Comparison) -> str:
    value = found.cosines[compute]
    if value is None:
        return "-"
    if isinstance(value, str):
        return f"not used, below {AGREEMENT[compute]}"
    return f"{min(value, 1.0):.6f}"


def known_rows(modality: Modality) -> Iterator[str]:
    """Lines of the table of known models of one modality."""
    names = "short name", "stands for", "MB", "dim", "speed", "licence", "prompt", "figure", "for"
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for one in KNOWN_MODELS:
        if one.modality is modality:
            yield f"| {' | '.join(_known_cells(one))} |"


def _known_cells(one: KnownModel) -> list[str]:
    figure = "none published" if one.figure is None else f"[{one.figure}]({one.figure.source})"
    prompt = f"`{one.prompt}`" if one.prompt else ""
    numbers = [str(one.megabytes), str(one.dim), one.speed.value, one.licence]
    return [f"`{one.name}`", f"`{one.hub}`", *numbers, prompt, figure, one.use]


def between(page: str, name: str) -> tuple[int, int]:
    """Where the lines of a table stand in a page, between its two comments."""
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    return page.index(first) + len(first), page.index(last)


def with_table(page: str, name: str, lines: list[str]) -> str:
    """The page with a table in place of the one that stands there."""
    start, end = between(page, name)
    return page[:start] + "\n" + "\n".join(lines) + "\n\n" + page[end:]


def table_of(page: str, name: str) -> list[str]:
    """The lines of a table of the page."""
    start, end = between(page, name)
    return page[start:end].strip().splitlines()


def main() -> None:
    """Bring the tables of the page up to date."""
    page = PAGE.read_text(encoding="utf-8")
    for modality in Modality:
        page = with_table(page, f"known {modality} models", [*known_rows(modality)])
    PAGE.write_text(with_table(page, "forms", [*rows()]), encoding="utf-8")


if __name__ == "__main__":
    main()
