"""The kind of machine of a space's vectors: pinned, recognised by probes, mixed on request."""

import json
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from support.cli import vitrina
from support.embedding import (
    FIRST,
    STUBS,
    TEXT,
    Words,
    catalogue_of,
    data_files,
    run,
    use_stubs,
    vectors_of,
)
from vitrina.embedder.base import normalise
from vitrina.embedder.machine import Machine
from vitrina.embedder.thumbnail import FEATURES, Thumbnail
from vitrina.errors import StoreError
from vitrina.pipelines.embed import encoder_choice
from vitrina.store.store import OpenStore
from vitrina.types import Compute

MORE = [*FIRST, (9, "новое", 10, None)]
MIXED = replace(STUBS, mixed_machines=True)


class OtherMachine(Words):
    """The same model where floats are rounded in another way."""

    def __init__(self, compute="float32"):
        super().__init__()
        self.card = replace(self.card, details={"compute": compute, "device": "cpu"})

    def encode(self, texts):
        return normalise(super().encode(texts) + np.float32(1e-3))


@pytest.fixture
def stubs(monkeypatch):
    return use_stubs(monkeypatch.setattr)


@pytest.fixture
def move(stubs):
    """Goes on to another machine."""
    return lambda **kind: stubs.update({TEXT: OtherMachine(**kind)})


def card_of(path):
    return dict(OpenStore.open(path).space(TEXT).card)


def spaces_of(path):
    return {name: data for name, data in data_files(path).items() if name.startswith("spaces/")}


def changed_card(path, change):
    """Commit a card as another version, or another hand, would have written it."""
    store = OpenStore.open(path)
    entry = store.space(TEXT).entry
    card = dict(entry.card)
    change(card)
    with store.writer("test") as writer:
        writer.commit(store.manifest.with_space("text-words", replace(entry, card=card)))


def test_a_space_names_its_machine_and_is_refused_on_another(tmp_path, stubs, move):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    pinned = card_of(path)["machine"]
    assert pinned == Machine.of(stubs[TEXT]).to_json()
    assert json.loads((path / "spaces/text-words/space.json").read_text())["machine"] == pinned
    before = spaces_of(path)
    move()
    # Nothing is to be encoded: any machine will do.
    run(path, catalogue_of(tmp_path / "b", FIRST))
    assert spaces_of(path) == before
    with pytest.raises(StoreError, match=r"text-words .* this one \(float32, torch .*--mixed-mach"):
        run(path, catalogue_of(tmp_path / "c", MORE))
    assert 9 not in vectors_of(path, TEXT)


def test_a_machine_that_gives_the_same_bytes_goes_on(tmp_path, stubs):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    pinned = card_of(path)
    # Of another version of torch, say, whose vectors are equal.
    stubs[TEXT].card = replace(stubs[TEXT].card, details={"compute": "float32", "device": "cpu"})
    run(path, catalogue_of(tmp_path / "b", MORE))
    assert 9 in vectors_of(path, TEXT)
    assert card_of(path) == pinned


def test_machines_are_mixed_on_request_and_the_card_says_so(tmp_path, move):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    first = card_of(path)
    move(compute="int8")
    run(path, catalogue_of(tmp_path / "b", MORE), MIXED)
    card = card_of(path)
    (other,) = card["other_machines"]
    assert (other["compute"], card["least_cosine_to_float32"]) == ("int8", 0.99)
    assert card["machine"] == first["machine"]
    # Once byte equality is given up, further runs need no leave.
    run(path, catalogue_of(tmp_path / "c", [*MORE, (10, "и это", 10, None)]))
    assert 10 in vectors_of(path, TEXT)
    assert card_of(path) == card


def test_an_older_space_is_pinned_with_its_next_shard(tmp_path, move):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    changed_card(path, lambda card: card.pop("machine"))
    run(path, catalogue_of(tmp_path / "b", FIRST))
    assert "machine" not in card_of(path)
    move()
    run(path, catalogue_of(tmp_path / "c", MORE))
    assert card_of(path)["machine"]["compute"] == "float32"


def test_a_space_without_vectors_takes_the_machine_that_makes_them(tmp_path, stubs, move):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", [(1, "", 1, None), (2, "чай", 1, None)]))
    store = OpenStore.open(path)
    entry = replace(store.space(TEXT).entry, shards=())
    with store.writer("test") as writer:
        writer.commit(store.manifest.with_space("text-words", entry))
    move()
    run(path, catalogue_of(tmp_path / "b", MORE))
    assert card_of(path)["machine"] == Machine.of(stubs[TEXT]).to_json()


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("machine", "mine"),
        ("machine", {"probe": "ff", "architecture": "x86_64"}),
        ("machine", {"probe": "f" * 64, "architecture": "a\u202eb"}),
        ("other_machines", [1]),
    ],
)
def test_a_pin_from_elsewhere_is_checked(tmp_path, key, value):
    path = tmp_path / "shelf"
    run(path, catalogue_of(tmp_path / "a", FIRST))
    changed_card(path, lambda card: card.update({key: value}))
    with pytest.raises(StoreError, match=r"^the card of the space text-words is not .*; bring the"):
        run(path, catalogue_of(tmp_path / "b", MORE))


@pytest.mark.slow
def test_the_threads_of_torch_are_no_part_of_it(tmp_path, monkeypatch):
    import torch

    from support.tuning import write_model
    from vitrina.embedder.load import load_text
    from vitrina.embedder.model_ref import ModelRef

    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    model = ModelRef.parse(str(write_model(tmp_path / "model")), TEXT)
    encoder = load_text(model, compute=Compute.FLOAT32)
    before, kinds = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            kinds.append(Machine.of(encoder))
    finally:
        torch.set_num_threads(before)
    assert kinds[0] == kinds[1]
    assert str(kinds[0]).startswith(f"float32, torch {torch.__version__}, ")


def test_the_threads_of_numpy_are_no_part_of_it():
    rng = np.random.default_rng(0)
    mean, components = rng.random(FEATURES, np.float32), rng.random((FEATURES, 256), np.float32)
    encoder = Thumbnail(mean, components)
    kinds = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            kinds.append(Machine.of(encoder))
    assert kinds[0] == kinds[1] == kinds[2]


def test_the_command_line_has_the_option(capsys):
    assert vitrina("embed", "--help") == 0
    assert "--mixed-machines" in capsys.readouterr().out


def test_the_numbers_of_the_space_are_kept_when_its_model_is_loaded(tmp_path, stubs, monkeypatch):
    # With an empty cache of fingerprints the model is loaded to find its space.
    path, asked = tmp_path / "shelf", []
    stubs[TEXT].card = replace(stubs[TEXT].card, details={"compute": "int8", "device": "cpu"})
    run(path, catalogue_of(tmp_path / "a", FIRST))
    monkeypatch.setattr(encoder_choice, "unchanged", lambda *_: False)

    def load(_, model, *__, before=None, **___):
        asked.append(before)
        return stubs[model.modality]

    monkeypatch.setattr(encoder_choice, "load_model", load)
    run(path, catalogue_of(tmp_path / "b", FIRST))
    assert asked == ["int8", None]
