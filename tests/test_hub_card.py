"""Front matter of model cards: the Hub's own library reads back the same values."""

import math

import pytest
import yaml
from huggingface_hub import ModelCard

from vitrina.data.language import languages_of
from vitrina.page.hub_card import (
    HubMetadata,
    HubResult,
    Library,
    classification_metrics,
    has_front_matter,
    with_front_matter,
)

NAMES = [
    "shelf",
    "кухня: «посуда» & 'чай'",
    'a: b\n---\nlicense: mit\n"quoted"',
    "- item # comment",
    "{{ jinja }} {% raw %} !!python/object:os.system",
    "\u2028line\x1b[31m\x85 \ud800",
    "true",
    "2024-01-01",
    "a" * 300 + " --- " + "b " * 100,
    "",
]


def card_of(name="head", **changes):
    metrics = classification_metrics(0.91, 0.82, 0.9)
    found = HubResult("text-classification", name, "validation (grouped)", metrics)
    given = {"name": name, "library": Library.VITRINA, "pipeline_tag": "text-classification"}
    return with_front_matter(HubMetadata(**{**given, "evaluation": found, **changes}), "# body\n")


def test_the_hub_reads_what_was_measured():
    card = ModelCard(card_of(tags=("vitrina",), base_models=["a/b"], languages=["ru"]))
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("vitrina", "text-classification")
    assert (data.tags, data.base_model, data.language) == (["vitrina"], ["a/b"], ["ru"])
    assert data.license is None
    assert data.model_name == "head"
    found = {(one.metric_type, one.metric_name): one for one in data.eval_results}
    assert {key: one.metric_value for key, one in found.items()} == {
        ("f1", "Weighted F1"): 0.91,
        ("f1", "Macro F1"): 0.82,
        ("accuracy", "Accuracy"): 0.9,
    }
    weighted = found["f1", "Weighted F1"]
    assert weighted.metric_args == {"average": "weighted"}
    assert (weighted.task_type, weighted.dataset_name) == ("text-classification", "head")
    assert weighted.dataset_split == "validation (grouped)"
    assert all(one.verified is False for one in data.eval_results)
    assert card.text.strip() == "# body"


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_the_front_matter(name):
    text = card_of(name)
    assert has_front_matter(text)
    card = ModelCard(text)
    assert card.text.strip() == "# body"
    assert card.data.license is None
    shown = " ".join(name.encode("utf-8", "replace").decode().replace("\u2028", " ").split())
    shown = " ".join(shown.replace("\x1b", " ").replace("\x85", " ").split())
    model, result = card.data.model_name, card.data.eval_results[0]
    assert " ".join(model.split()) == (shown or "model")
    assert " ".join(result.dataset_name.split()) == (shown or "private")
    assert set(yaml.safe_load(text.split("---\n")[1])) <= {
        "library_name",
        "pipeline_tag",
        "metrics",
        "model-index",
    }


def test_what_is_no_number_is_left_out():
    metrics = classification_metrics(math.nan, 0.5, math.inf)
    found = HubResult("text-classification", "shelf", "validation", metrics)
    data = ModelCard(card_of(evaluation=found)).data
    assert [(one.metric_name, one.metric_value) for one in data.eval_results] == [("Macro F1", 0.5)]
    nothing = ModelCard(card_of(evaluation=None)).data
    assert nothing.eval_results is None
    assert "model-index" not in nothing.to_dict()


@pytest.mark.parametrize(
    ("texts", "languages"),
    [
        (["Кружка керамическая, белый цвет, объём 350 мл", "Чехлы для Samsung Galaxy"], ("ru",)),
        (["Nike Women Tempo Purple Shorts"], ()),
        (["Чохол для телефону синій, її розмір великий", "Ґудзики"], ()),
        (["Чаша керамична бяла, обем 350 мл", "Мъжка тениска"], ()),
        (["кружка " + "Samsung Galaxy A51 silicone case " * 3], ()),
        (["12 345", ""], ()),
    ],
    ids=["russian", "english", "ukrainian", "bulgarian", "mostly latin", "none"],
)
def test_the_language_is_told_where_it_is_sure(texts, languages):
    assert languages_of(texts) == languages
