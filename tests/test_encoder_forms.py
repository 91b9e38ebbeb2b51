"""Whatever form a model directory has, its vectors are those of the library that made it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.encoder_forms import EncoderForm
from support.encoder_table import PAGE, compare, forms, known_rows, table_of, with_table
from support.real_models import real_forms
from vitrina.embedder.base import AGREEMENT
from vitrina.types import Compute, Modality

FORMS = forms()
REAL = real_forms()
TEXT = PAGE.read_text(encoding="utf-8")


def name_of(form: EncoderForm) -> str:
    return form.name


def check(form: EncoderForm, folder: Path) -> None:
    """A form's vectors agree with its library's, or it is refused by its line."""
    found = compare(form, folder)
    if form.refused is not None:
        assert re.search(form.refused, found.refusal)
        assert "\n" not in found.refusal
        assert not re.search(r"Traceback|<class|object at 0x|\w+Error\(", found.refusal)
        return
    assert found.path
    exact = found.cosines[Compute.FLOAT32]
    assert isinstance(exact, float)
    assert exact >= AGREEMENT[Compute.FLOAT32]
    for compute, cosine in found.cosines.items():
        # A text: refused, since its vectors fall too far; then no run chooses this format either.
        assert cosine is None or isinstance(cosine, str) or cosine >= AGREEMENT[compute]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_a_form_gives_its_makers_vectors(form: EncoderForm, tmp_path: Path) -> None:
    check(form, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", REAL, ids=name_of)
def test_a_real_model_gives_its_makers_vectors(form: EncoderForm, tmp_path: Path) -> None:
    check(form, tmp_path)


def test_a_name_is_one_forms() -> None:
    names = [(form.modality, form.name) for form in [*FORMS, *REAL]]
    assert len(set(names)) == len(names)
    assert len({form.modality for form in [*FORMS, *REAL]}) == len(Modality)


def test_the_page_has_a_row_for_each_form() -> None:
    """`make encoder-table` writes it."""
    shown = {tuple(line.split(" | ")[:2]) for line in table_of(TEXT, "forms")}
    assert {(f"| {form.name}", form.library) for form in FORMS} <= shown


def test_every_row_of_the_page_agrees_in_float32() -> None:
    for line in table_of(TEXT, "forms")[2:]:
        float32 = line.split("|")[3].strip()
        assert "refused: " in line if float32 == "" else float(float32) >= 0.9999


@pytest.mark.parametrize("modality", Modality)
def test_the_page_lists_the_known_models(modality: Modality) -> None:
    """`make encoder-table` writes it."""
    assert table_of(TEXT, f"known {modality} models") == [*known_rows(modality)]


def test_a_table_is_put_in_its_place() -> None:
    page = "above\n<!-- forms -->\n\n| a |\n\n<!-- /forms -->\nbelow\n"
    assert table_of(page, "forms") == ["| a |"]
    changed = with_table(page, "forms", ["| b |", "| c |"])
    assert changed == "above\n<!-- forms -->\n\n| b |\n| c |\n\n<!-- /forms -->\nbelow\n"
