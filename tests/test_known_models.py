"""The known models check themselves, are listed, and are reached by their short names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vitrina as vt
from support.cli import vitrina
from support.embedding import FIRST, catalogue_of, run, use_stubs
from vitrina.embedder.known_models import BY_HUB, BY_NAME, KNOWN_MODELS, PublishedFigure
from vitrina.embedder.model_ref import ALIASES, RESERVED, ModelKind, ModelRef
from vitrina.embedder.text_settings import TextSettings
from vitrina.errors import EncoderError
from vitrina.pipelines.common.encoders import DEFAULT_MODELS, remembered_settings
from vitrina.store.store import OpenStore
from vitrina.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
E5 = BY_NAME["e5-small"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "E5 small"}, "no short name"),
        ({"name": "e5_small"}, "no short name"),
        ({"hub": "intfloat/multilingual-e5-small"}, "names no model of a hub"),
        ({"hub": "hf:multilingual-e5-small"}, "names no model of a hub"),
        ({"megabytes": 0}, "e5-small: 0 MB"),
        ({"dim": 70_000}, "70000 numbers"),
        ({"licence": ""}, "no licence"),
        ({"use": ""}, "no use"),
        ({"prompt": " query:"}, "no prompt"),
        ({"modality": IMAGE}, "no prompt"),
    ],
)
def test_a_record_checks_itself(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(E5, **change)


@pytest.mark.parametrize(
    "change", [{"value": 0.0}, {"value": 551.0}, {"benchmark": ""}, {"source": "the card"}]
)
def test_a_figure_is_a_percentage_with_a_source(change: dict[str, Any]) -> None:
    figure = PublishedFigure("ruMTEB", 55.1, "https://example.org")
    assert str(figure) == "ruMTEB 55.1"
    with pytest.raises(ValueError, match="is no"):
        replace(figure, **change)


def test_a_dozen_for_each_need() -> None:
    assert len([one for one in KNOWN_MODELS if one.modality is TEXT]) >= 10
    assert len([one for one in KNOWN_MODELS if one.modality is IMAGE]) >= 6
    assert len({one.speed for one in KNOWN_MODELS}) == 4
    assert not set(BY_NAME) & {*RESERVED}


def test_the_defaults_are_known() -> None:
    for modality, name in DEFAULT_MODELS.items():
        known = ModelRef.parse(name, modality).known
        assert known is not None
        assert known.modality is modality


@pytest.mark.parametrize("model", KNOWN_MODELS, ids=lambda model: model.name)
def test_a_short_name_means_its_model(model: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    short = ModelRef.parse(model.name, model.modality)
    whole = ModelRef.parse(model.hub, model.modality)
    assert short == whole
    assert short.known is whole.known is model
    assert str(short) == model.name
    # A longer name brings no prompt: stores that use it stay as they are.
    assert short.prompt == (model.prompt or None)
    assert whole.prompt is None
    # An encoder's card holds anywhere; the names that were short before stay as they were.
    assert short.card_text == (model.name if model.name in ALIASES else model.hub)
    # An encoder of the store, and a directory, precede it.
    assert ModelRef.parse(model.name, model.modality, {model.name}).kind is ModelKind.TRAINED
    (tmp_path / model.name).mkdir()
    there = ModelRef.parse(model.name, model.modality)
    assert (there.kind is ModelKind.DIRECTORY) == (model.name not in ALIASES)


def test_a_short_names_prompt_is_the_first_that_a_store_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = replace(E5, name="words", hub="hf:team/words")
    monkeypatch.setitem(BY_NAME, "words", words)
    monkeypatch.setitem(BY_HUB, "hf:team/words", words)
    short, whole = (ModelRef.parse(name, TEXT) for name in ("words", "hf:team/words"))
    path = tmp_path / "store"
    empty = OpenStore.open(path, create=True)
    assert remembered_settings(empty, short) == TextSettings("query: ")
    assert remembered_settings(empty, whole) == TextSettings()
    use_stubs(monkeypatch.setattr)
    run(path, catalogue_of(tmp_path / "goods", FIRST))
    # A space that was made without a prompt stays as it is, however its model is named.
    store = OpenStore.open(path)
    assert remembered_settings(store, short) == remembered_settings(store, whole) == TextSettings()


def test_another_model_is_not_known(tmp_path: Path) -> None:
    assert ModelRef.parse("hf:team/words", TEXT).known is None
    assert ModelRef.parse("lexical", TEXT).known is None
    assert ModelRef.parse(str(tmp_path), TEXT).known is None


def test_a_model_for_text_serves_no_images() -> None:
    with pytest.raises(EncoderError, match=r"^frida is a model for text; it can't serve image$"):
        ModelRef.parse("frida", IMAGE)


@pytest.mark.parametrize(
    ("name", "modality", "meant"),
    [
        ("e5-smal", TEXT, "e5-small"),
        ("siglip-b16", IMAGE, "siglip2-b16"),
        ("clip-b-32", IMAGE, "clip-b32"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_right_one(
    name: str, modality: Modality, meant: str
) -> None:
    with pytest.raises(EncoderError, match=f"did you mean .*'{meant}'"):
        ModelRef.parse(name, modality)


def test_names_of_the_other_modality_are_not_suggested() -> None:
    with pytest.raises(EncoderError) as caught:
        ModelRef.parse("e5-smal", IMAGE)
    assert "e5-small" not in str(caught.value)


def test_the_table() -> None:
    models = vt.models()
    assert [one.name for one in models] == [*BY_NAME]
    assert models[1] is E5
    assert models.to_pandas().loc[1, "prompt"] == "query: "
    assert [one.modality for one in vt.models("image")] == [IMAGE] * len(vt.models("image"))
    assert len(vt.models("text")) + len(vt.models("image")) == len(models)
    with pytest.raises(vt.OptionError, match="modality must be text or image, not 'sound'"):
        vt.models("sound")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert vitrina("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 * len(KNOWN_MODELS)
    assert lines[0].split()[:3] == ["name", "MB", "dim"]
    (at,) = (at for at, line in enumerate(lines) if line.startswith("e5-small "))
    assert lines[at].split()[1:5] == ["449", "384", "fast", "MIT"]
    assert lines[at + 1].startswith("  hf:intfloat/multilingual-e5-small, prompt 'query: ', https:")
    assert lines[-1].startswith("done: ")
    assert vitrina("models", "--modality", "image", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == vt.models("image").to_pylist()
    assert vitrina("models", "--modality", "sound") == 2
    assert "'sound'" in capsys.readouterr().err
