"""Every form of a model's name is understood, and kept as it was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vitrina.embedder.model_ref import ALIASES, RESERVED, ModelKind, ModelRef
from vitrina.errors import EncoderError
from vitrina.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
RUBERT = "cointegrated/rubert-tiny2"
CLIP = "ViT-B-32-quickgelu/openai"


@pytest.mark.parametrize(
    ("name", "modality", "kind", "place", "revision"),
    [
        ("hf:a/b", TEXT, ModelKind.HUGGING_FACE, "a/b", None),
        ("hf:a/b@v1.0", TEXT, ModelKind.HUGGING_FACE, "a/b", "v1.0"),
        ("hf:a/b@", IMAGE, ModelKind.HUGGING_FACE, "a/b", None),
        ("open_clip:ViT-B-16/dfn2b", IMAGE, ModelKind.OPEN_CLIP, "ViT-B-16/dfn2b", None),
        ("timm:resnet50.a1_in1k", IMAGE, ModelKind.TIMM, "resnet50.a1_in1k", None),
        ("timm:resnet50@abc", IMAGE, ModelKind.TIMM, "resnet50", "abc"),
        ("lexical", TEXT, ModelKind.LEXICAL, "lexical", None),
        ("thumbnail", IMAGE, ModelKind.THUMBNAIL, "thumbnail", None),
        ("none", TEXT, ModelKind.NONE, "none", None),
        ("none", IMAGE, ModelKind.NONE, "none", None),
        ("rubert-tiny2", TEXT, ModelKind.HUGGING_FACE, RUBERT, None),
        ("cointegrated/rubert-tiny2", TEXT, ModelKind.HUGGING_FACE, RUBERT, None),
        ("clip", IMAGE, ModelKind.OPEN_CLIP, CLIP, None),
        ("ViT-B-32", IMAGE, ModelKind.OPEN_CLIP, CLIP, None),
        ("efficientnet_b1", IMAGE, ModelKind.TIMM, "efficientnet_b1", None),
    ],
)
def test_every_form_of_a_name(
    name: str, modality: Modality, kind: ModelKind, place: str, revision: str | None
) -> None:
    model = ModelRef.parse(name, modality)
    assert model == ModelRef(modality, kind, place, revision, text=name)
    assert str(model) == f"{model}" == model.card_text == name
    assert model.is_fitted is (name in ("lexical", "thumbnail"))


def test_a_directory_is_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shelf" / "model"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(folder), "shelf/model", "~/shelf/model"):
        model = ModelRef.parse(name, TEXT)
        assert model == ModelRef(TEXT, ModelKind.DIRECTORY, str(folder), text=name)
        # The store remembers what was given; an encoder's card must hold anywhere.
        assert (str(model), model.card_text) == (name, str(folder))


@pytest.mark.parametrize(
    "name", ["", "nonsense", "hf:", "timm:", "no/such/dir", "s3:a/b", "HF:a/b"]
)
@pytest.mark.parametrize(("modality", "offline_one"), [(TEXT, "lexical"), (IMAGE, "thumbnail")])
def test_an_unknown_name_is_told_the_forms(name: str, modality: Modality, offline_one: str) -> None:
    with pytest.raises(EncoderError) as caught:
        ModelRef.parse(name, modality)
    message = str(caught.value)
    assert message.startswith(f"{name!r} names no {modality} model")
    assert message.endswith(offline_one)


def test_a_fitted_model_of_the_other_modality_is_refused() -> None:
    with pytest.raises(EncoderError, match=r"^lexical is a model for text; it can't serve image$"):
        ModelRef.parse("lexical", IMAGE)
    with pytest.raises(
        EncoderError, match=r"^thumbnail is a model for image; it can't serve text$"
    ):
        ModelRef.parse("thumbnail", TEXT)


def test_an_encoder_of_the_store_precedes_what_else_its_name_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kinds").mkdir()
    for name in ("kinds", "clip", "rubert-tiny2"):
        model = ModelRef.parse(name, TEXT, {name: 1})
        assert model == ModelRef.of_trained(name, TEXT)
        assert (model.kind, model.place, str(model)) == (ModelKind.TRAINED, name, name)
    assert ModelRef.parse("kinds", TEXT, {"other"}).kind is ModelKind.DIRECTORY


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_name_is_no_encoder_of_the_store(name: str) -> None:
    modality = IMAGE if name == "thumbnail" else TEXT
    assert ModelRef.parse(name, modality, RESERVED).kind.value == name


def test_references_are_equal_if_they_mean_the_same_model() -> None:
    alias, whole = (ModelRef.parse(name, TEXT) for name in ("rubert-tiny2", f"hf:{RUBERT}"))
    assert alias == whole
    assert hash(alias) == hash(whole)
    assert str(alias) != str(whole)
    assert whole != ModelRef.parse(f"hf:{RUBERT}@v1", TEXT)
    assert whole != ModelRef.parse(f"hf:{RUBERT}", IMAGE)
    assert whole != replace(whole, kind=ModelKind.TIMM)


PARTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.one_of(
    PARTS,
    st.sampled_from([*ALIASES, *RESERVED]),
    st.tuples(st.sampled_from(["hf:", "open_clip:", "timm:"]), PARTS).map("".join),
)


@given(NAMES, st.sampled_from(Modality), st.lists(PARTS, max_size=2))
def test_a_name_comes_back_as_it_was_given(
    name: str, modality: Modality, trained: list[str]
) -> None:
    try:
        model = ModelRef.parse(name, modality, trained)
    except EncoderError:
        assume(False)
        return
    assert str(model) == name
    assert ModelRef.parse(str(model), modality, trained) == model
    # What a card says is understood wherever the command runs.
    assert ModelRef.parse(model.card_text, modality, trained) == model
