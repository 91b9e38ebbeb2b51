"""Heads: what they learn, what they bear, and what survives saving."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from vitrina.classifier import fit
from vitrina.classifier.backoff import BackOff, ThresholdsCard
from vitrina.classifier.card import HeadShape
from vitrina.classifier.fit import FitOptions, choose_scale, fit_head, planned_rows
from vitrina.classifier.fusion import Blend
from vitrina.classifier.heads import Head
from vitrina.classifier.minibatch import predict
from vitrina.classifier.model import Model, top
from vitrina.classifier.tree import CategoryTree
from vitrina.errors import FingerprintError, StoreError
from vitrina.parallel import no_progress
from vitrina.store.gather import Gathered
from vitrina.typed_json import convert_json
from vitrina.types import Balance, Features, FusionKind, HeadKind, Modality

CLASSES = 4
NONE = np.zeros(0, dtype=np.int64)
QUICK = FitOptions(kind=HeadKind.LOGISTIC, epochs=30, hidden=32)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def products(rows=400, seed=0, noise=(0.15, 0.15)):
    """Classes of two bits: text tells the first, the image the second, and neither tells both."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, CLASSES, rows)
    centres = rng.standard_normal((2, 2, 8))
    bits = (codes // 2, codes % 2)
    text, image = (
        unit(centres[m][bits[m]] + noise[m] * rng.standard_normal((rows, 8))) for m in (0, 1)
    )
    present = (np.ones(rows, dtype=bool), np.ones(rows, dtype=bool))
    return Gathered((Modality.TEXT, Modality.IMAGE), (text, image), present), codes


def accuracy(head, gathered, codes, rows):
    return float(np.mean(predict(head, gathered, rows).argmax(axis=1) == codes[rows]))


@pytest.mark.parametrize("kind", list(HeadKind))
def test_both_modalities_together_tell_what_neither_tells_alone(kind):
    gathered, codes = products()
    train, held = np.arange(300), np.arange(300, 400)
    options = FitOptions(kind=kind, epochs=30, hidden=32)
    fused = fit_head(gathered, codes, train, CLASSES, options)
    assert accuracy(fused, gathered, codes, held) > 0.97
    for number, modality in enumerate(gathered.modalities):
        alone = Gathered((modality,), (gathered.vectors[number],), (gathered.present[number],))
        head = fit_head(alone, codes, train, CLASSES, options)
        assert 0.3 < accuracy(head, alone, codes, held) < 0.75


def test_a_head_bears_a_missing_modality():
    gathered, codes = products(rows=1200)
    train, held = np.arange(1000), np.arange(1000, 1200)
    head = fit_head(gathered, codes, train, CLASSES, FitOptions(HeadKind.LOGISTIC, epochs=30))
    nobody = np.zeros(1200, dtype=bool)
    blind = Gathered(gathered.modalities, gathered.vectors, (gathered.present[0], nobody))
    guessed = predict(head, blind, held).argmax(axis=1)
    # Text still tells the first bit, as well as ever.
    assert np.mean(guessed // 2 == codes[held] // 2) > 0.97
    # What the vectors hold where the bit says missing must not matter.
    noisy = Gathered(
        gathered.modalities, (gathered.vectors[0], gathered.vectors[1][::-1]), blind.present
    )
    assert np.array_equal(predict(head, blind, held), predict(head, noisy, held))


def test_training_looks_at_its_own_rows_only():
    gathered, codes = products()
    train = np.arange(0, 400, 2)
    first = fit_head(gathered, codes, train, CLASSES, QUICK)
    changed = codes.copy()
    changed[1::2] = (changed[1::2] + 1) % CLASSES
    other = [matrix.copy() for matrix in gathered.vectors]
    for matrix in other:
        matrix[1::2] = 0
    shuffled = Gathered(gathered.modalities, tuple(other), gathered.present)
    second = fit_head(shuffled, changed, train, CLASSES, QUICK)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_the_seed_decides_and_the_global_state_is_left_alone():
    gathered, codes = products()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    rows = np.arange(400)
    options = FitOptions(kind=HeadKind.MLP, epochs=2, hidden=8, seed=1)
    one, two = (fit_head(gathered, codes, rows, CLASSES, options) for _ in range(2))
    assert np.array_equal(predict(one, gathered, rows), predict(two, gathered, rows))
    assert torch.equal(before, torch.random.get_rng_state())
    three = fit_head(gathered, codes, rows, CLASSES, FitOptions(HeadKind.MLP, 2, hidden=8, seed=2))
    assert not np.array_equal(predict(one, gathered, rows), predict(three, gathered, rows))


@pytest.mark.parametrize(
    ("rows", "classes", "width"), [(10_000, 100, 1024), (9_999, 100, 512), (10_000, 99, 512)]
)
def test_an_mlp_is_wide_for_many_rows_and_classes(rows, classes, width):
    gathered = Gathered((Modality.TEXT,), (np.eye(rows, 2),), (np.ones(rows, dtype=bool),))
    codes = np.arange(rows) % classes
    options = FitOptions(HeadKind.MLP, epochs=1, batch_rows=rows)
    assert fit_head(gathered, codes, np.arange(rows), classes, options).shape.hidden == width


def test_the_dropout_of_inputs_falls_with_the_rows(monkeypatch):
    gathered, codes = products()
    dropped = []
    monkeypatch.setattr(fit, "Head", lambda *a: dropped.append(a[1]) or Head(*a))
    monkeypatch.setattr(fit, "DROPOUT_ROWS", 100)
    options = FitOptions(HeadKind.MLP, epochs=1, hidden=8)
    for rows in (100, 400):
        fit._fit(gathered, codes, np.arange(rows), CLASSES, options, (1, 1), no_progress, NONE, ())
    assert dropped == [0.4, 0.2]
    strong = replace(options, epochs=20, input_dropout=0.9)
    weak = replace(strong, input_dropout=0.0)
    rows = np.arange(400)
    sure = [
        predict(fit_head(gathered, codes, rows, CLASSES, one), gathered, rows).max(axis=1).mean()
        for one in (weak, strong)
    ]
    assert sure[0] > sure[1]


def test_a_worthless_image_block_is_scaled_down():
    gathered, codes = products(rows=400, noise=(0.5, 0.1))
    noise = unit(np.random.default_rng(1).standard_normal((400, 300)))
    useless = Gathered(gathered.modalities, (gathered.vectors[0], noise), gathered.present)
    assert choose_scale(useless, codes // 2, np.arange(400), 2, seed=0) < 1.0
    useful, both = products(rows=2000)
    assert choose_scale(useful, both, np.arange(2000), CLASSES, seed=0) == 1.0


def test_progress_counts_every_row():
    gathered, codes = products()
    counted = []
    fit_head(gathered, codes, np.arange(400), CLASSES, QUICK, counted.append)
    planned = planned_rows(400, 2, CLASSES, QUICK)
    assert abs(sum(counted) - planned) <= 0.05 * planned


def test_a_small_logistic_head_is_fitted_on_all_rows_at_once():
    gathered, codes = products(rows=700)
    train, held = np.arange(500), np.arange(500, 700)
    options = FitOptions(HeadKind.LOGISTIC)
    counted = []
    whole = fit_head(gathered, codes, train, CLASSES, options, counted.append)
    again = fit_head(gathered, codes, train, CLASSES, replace(options, seed=options.seed))
    batches = fit_head(gathered, codes, train, CLASSES, replace(options, epochs=40))
    assert sum(counted) == pytest.approx(planned_rows(500, 2, CLASSES, options), rel=0.05)
    assert planned_rows(500, 2, CLASSES, options) < planned_rows(500, 2, 400, options)
    assert torch.equal(whole.layers.weight, again.layers.weight)
    assert not torch.equal(whole.layers.weight, batches.layers.weight)
    right = accuracy(whole, gathered, codes, held)
    assert right > 0.97
    assert right >= accuracy(batches, gathered, codes, held) - 0.01
    # It bears what is missing as the other does: each row was seen without either half too.
    blind = gathered.without(Modality.IMAGE)
    guessed = predict(whole, blind, held).argmax(axis=1)
    assert np.mean(guessed // 2 == codes[held] // 2) > 0.97


def test_it_stops_once_rows_kept_apart_get_no_better():
    gathered, codes = products(rows=1000, noise=(1.0, 1.0))
    rows, held = np.arange(800), np.arange(700, 800)
    options = FitOptions(HeadKind.MLP, epochs=30, hidden=32)
    gone = {}
    for patience in (0, 2):
        counted = []
        one = replace(options, patience=patience)
        head = fit_head(gathered, codes, rows, CLASSES, one, counted.append, held)
        gone[patience] = sum(counted)
        if patience:
            best = accuracy(head, gathered, codes, held)
    # Both went through the trials of scales.
    assert gone[2] < 0.75 * gone[0]
    assert best > 0.4
    # What is kept apart teaches nothing.
    other = codes.copy()
    other[held] = (codes[held] + 1) % CLASSES
    one = replace(options, patience=30)
    kept = [fit_head(gathered, c, rows, CLASSES, one, held_rows=held[:0]) for c in (codes, other)]
    assert not torch.equal(*(head.layers[1].weight for head in kept))
    short = replace(options, patience=1, epochs=1)
    kept = [fit_head(gathered, c, rows, CLASSES, short, held_rows=held) for c in (codes, other)]
    assert torch.equal(*(head.layers[1].weight for head in kept))


@pytest.mark.parametrize("balance", [Balance.WEIGHTS, Balance.PRIOR])
def test_rare_classes_are_heard_more_where_asked(balance):
    gathered, codes = products(rows=1500, noise=(0.4, 0.4))
    rare = codes == 3
    rows = np.flatnonzero(~rare | (np.arange(1500) % 20 == 0))
    rows, judged = rows[rows < 1000], np.arange(1000, 1500)
    found = []
    for one in (Balance.NONE, balance):
        head = fit_head(gathered, codes, rows, CLASSES, replace(QUICK, balance=one))
        said = predict(head, gathered, judged).argmax(axis=1)
        found.append((said == codes[judged])[rare[judged]].mean())
    assert found[1] > found[0] + 0.05


def test_a_short_training_does_not_fail():
    gathered, codes = products(rows=10)
    options = FitOptions(kind=HeadKind.LOGISTIC, epochs=1)
    head = fit_head(gathered, codes, np.arange(3), CLASSES, options)
    assert np.isfinite(predict(head, gathered, np.arange(10))).all()


def model_of(head, **more):
    names = ("a->b", "", "c", "d")
    tree = CategoryTree.of(names)
    told = [{"precision": 0.9, "coverage": 0.5, "reached": 0.95, "of": [0.8] * 4}]
    weights = {features: np.array([0.7], np.float32) for features in Features}
    return Model(
        **{
            "name": "fused-mlp",
            "features": Features.FUSED,
            "fusion": FusionKind.EARLY,
            "heads": {"fused": head},
            "blend": Blend(("fused",), weights),
            "back_off": BackOff.of(
                tree, convert_json(told, tuple[ThresholdsCard, ...], "it", "mend it")
            ),
            "vote": None,
            "categories": (7, 9, 11, 13),
            "names": names,
            "spaces": {Modality.TEXT: "text-x", Modality.IMAGE: "image-y"},
            "fingerprints": {Modality.TEXT: "f" * 64, Modality.IMAGE: "e" * 64},
            "report": {"validation": {"weighted_f1": 0.5}},
            **more,
        }
    )


def test_a_saved_model_predicts_the_same(tmp_path):
    gathered, codes = products()
    rows = np.arange(400)
    model = model_of(fit_head(gathered, codes, rows, CLASSES, FitOptions(epochs=2, hidden=8)))
    model.save(tmp_path / "model", "# A card")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "card.md",
        "head.safetensors",
        "model.json",
    }
    again = Model.load(tmp_path / "model")
    blocks = gathered.blocks(rows)
    expected = model.probabilities(*blocks)
    assert np.array_equal(again.probabilities(*blocks), expected)
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert (again.categories, again.names) == (model.categories, model.names)
    assert (again.modalities, again.fusion) == (model.modalities, FusionKind.EARLY)
    assert (again.back_off.decide(expected).steps == model.back_off.decide(expected).steps).all()


def test_several_heads_and_a_vote_are_put_together():
    gathered, codes = products()
    rows = np.arange(400)
    heads = {
        "fused": fit_head(gathered, codes, rows, CLASSES, QUICK),
        "text": fit_head(gathered.only([Modality.TEXT]), codes, rows, CLASSES, QUICK),
    }
    members = ("fused", "text", "vote")
    told = {
        Features.FUSED: [0.5, 0.3, 1.0],
        Features.TEXT: [0.1, 0.9, 0],
        Features.IMAGE: [1, 0, 0],
    }
    weights = {Features(name): np.array(one, np.float32) for name, one in told.items()}
    model = model_of(None, heads=heads, blend=Blend(members, weights), vote={"kind": "uniform"})
    vectors, present = gathered.blocks(rows)
    present = [present[0] & (rows % 3 != 0), present[1] & (rows % 3 != 1)]
    shares = np.zeros((400, CLASSES), np.float32)
    shares[:, 2] = 1
    found = model.probabilities(vectors, present, shares)
    scores = model.scores(vectors, present)
    expected = {
        0: scores["fused"],
        1: 0.1 * scores["fused"] + 0.9 * scores["text"],
        2: 0.5 * scores["fused"] + 0.3 * scores["text"] + np.log(shares + 1e-3),
    }
    for kind, logits in expected.items():
        some = (rows % 3 == kind) & (gathered.present[0] & gathered.present[1])
        exact = np.exp(logits[some] - logits[some].max(axis=1, keepdims=True))
        exact /= exact.sum(axis=1, keepdims=True)
        assert np.allclose(found[some], exact, atol=1e-4)
    # Without a vote the heads alone are heard.
    assert not np.allclose(found, model.probabilities(vectors, present))


def test_a_damaged_model_is_named(tmp_path):
    shape = HeadShape(HeadKind.LOGISTIC, (8, 8), (1.0, 1.0), CLASSES)
    model_of(Head(shape)).save(tmp_path / "model", "")
    (tmp_path / "model/head.safetensors").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"head\.safetensors"):
        Model.load(tmp_path / "model")
    model_of(Head(shape)).save(tmp_path / "model", "")
    path = tmp_path / "model/model.json"
    card = json.loads(path.read_text())
    del card["blend"]
    path.write_text(json.dumps(card))
    with pytest.raises(StoreError, match=r"model\.json"):
        Model.load(tmp_path / "model")


def test_other_vectors_are_refused_with_both_fingerprints():
    shape = HeadShape(HeadKind.LOGISTIC, (8, 8), (1.0, 1.0), CLASSES)
    model = model_of(Head(shape))
    model.check(Modality.TEXT, "f" * 64)
    with pytest.raises(FingerprintError, match=r"fused-mlp.*f{12}.*a{12}"):
        model.check(Modality.TEXT, "a" * 64)


def test_top_is_in_order_and_never_longer_than_the_classes():
    probabilities = np.array([[0.1, 0.6, 0.3], [0.5, 0.5, 0.0]], dtype=np.float32)
    codes, chances = top(probabilities, 2)
    assert codes.tolist() == [[1, 2], [0, 1]]
    assert np.allclose(chances, [[0.6, 0.3], [0.5, 0.5]])
    assert top(probabilities, 9)[0].shape == (2, 3)
