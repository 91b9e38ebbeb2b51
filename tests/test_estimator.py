import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import vitrina as vt
from vitrina.classifier import minibatch

TEXT, IMAGE = 12, 8


def catalogue(rows=600, seed=0):
    """Text tells two families apart, the photo their two members each; some lack one."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(7)
    labels = rng.integers(4, size=rows)
    texts, photos = world.normal(size=(2, TEXT)), world.normal(size=(2, IMAGE))
    text = texts[labels // 2] + rng.normal(0, 0.7, (rows, TEXT))
    photo = photos[labels % 2] + rng.normal(0, 0.7, (rows, IMAGE))
    for part in (text, photo):
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    lacking = rng.random(rows)
    text[lacking < 0.1] = 0
    photo[lacking > 0.8] = 0
    names = np.array(["mugs", "plates", "shirts", "skirts"])
    return np.hstack([text, photo]).astype(np.float32), names[labels]


def quick(**more):
    return vt.FusionClassifier("logistic", **{"blocks": (TEXT, IMAGE), "epochs": 8, **more})


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [vt.FusionClassifier("logistic"), vt.FusionClassifier("mlp", epochs=2)],
    ids=["logistic", "mlp"],
)
def test_it_is_a_scikit_learn_classifier(model):
    # No check is expected to fail. The array API's is skipped by scikit-learn itself, unless the
    # environment turns that on for SciPy.
    results = check_estimator(model, on_skip=None)
    others = {one["check_name"]: one["status"] for one in results if one["status"] != "passed"}
    assert len(results) > 50
    assert others in ({}, {"check_array_api_input": "skipped"})


def test_it_can_be_cloned_and_asked_for_its_parameters():
    given = quick(fusion="late", precision=0.9)
    assert clone(given).get_params() == given.get_params()


# What serves a store shows "late" and "knn" too: `test_train.py`.
@pytest.mark.parametrize(
    "fusion",
    [
        "early",
        pytest.param("late", marks=pytest.mark.slow),
        pytest.param("knn", marks=pytest.mark.slow),
        "stack",
    ],
)
def test_it_tells_products_apart(fusion):
    model = quick(fusion=fusion).fit(*catalogue())
    X, y = catalogue(300, seed=1)
    both = X[:, :TEXT].any(axis=1) & X[:, TEXT:].any(axis=1)
    assert (model.predict(X) == y)[both].mean() > 0.9
    shares = model.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (model.classes_[shares.argmax(axis=1)] == model.predict(X)).all()
    # One half of what there is to know.
    alone = ~X[:, TEXT:].any(axis=1)
    assert 0.35 < (model.predict(X) == y)[alone].mean() < 0.65
    assert shares[alone].max(axis=1).mean() < 0.75


@pytest.mark.slow
def test_it_compares():
    model = quick(compare=True).fit(*catalogue())
    assert model.fusion_ in ("early", "late", "knn", "stack")
    assert 0.7 < model.validation_.weighted_f1 < 1


@pytest.mark.slow
def test_what_may_be_let_through():
    names = ["kitchen->mugs", "kitchen->plates", "clothes->shirts", "clothes->skirts"]
    model = quick(precision=0.9).fit(*catalogue(1500), names=names)
    X, y = catalogue(2000, seed=1)
    decided = model.decide(X)
    leaf, parent = decided.steps == 0, decided.steps == 1
    right = model.classes_[decided.chosen] == y
    family = np.isin(y, ["shirts", "skirts"]) == np.isin(
        model.classes_[decided.chosen], ["shirts", "skirts"]
    )
    assert leaf.mean() > 0.3
    assert parent.mean() > 0.1
    assert right[leaf].mean() > 0.87
    assert np.where(leaf, right, family)[leaf | parent].mean() > 0.87
    # What was let through as a family only would not have been right as a label.
    assert right[parent].mean() < 0.87


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model():
    X, y = catalogue(200)
    first, again, other = (
        quick(random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_it_works_within_scikit_learn():
    X, y = catalogue(300)
    model = make_pipeline(FunctionTransformer(), quick())
    assert cross_val_score(model, X, y, cv=3).mean() > 0.7
    shares = cross_val_predict(model, X, y, cv=3, method="predict_proba")
    assert shares.shape == (300, 4)
    assert (np.unique(y)[shares.argmax(axis=1)] == y).mean() > 0.7
    search = GridSearchCV(model, {"fusionclassifier__balance": ["none", "prior"]}, cv=2)
    search.fit(X, y, fusionclassifier__groups=np.arange(300))
    assert search.best_score_ > 0.7
    assert search.classes_.tolist() == ["mugs", "plates", "shirts", "skirts"]


def test_it_keeps_the_names_of_columns():
    X, y = catalogue(120)
    names = [f"c{at}" for at in range(X.shape[1])]
    frame = pd.DataFrame(X, columns=names)
    model = quick(epochs=2).fit(frame, y)
    assert model.feature_names_in_.tolist() == names
    assert model.n_features_in_ == len(names)
    np.testing.assert_array_equal(model.predict(frame), model.fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.fit(frame, y).predict(frame[names[::-1]])


def test_joblib_keeps_it_as_it_is(tmp_path):
    X, y = catalogue(120)
    model = quick(epochs=2).fit(X, y)
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.slow
def test_a_fit_does_not_load_the_compiler_of_torch():
    """It takes two seconds of CPU, longer than a small fit."""
    code = (
        "import sys, numpy as np, vitrina as vt\n"
        "X = np.eye(3)[np.arange(60) % 3]\n"
        "for head in ('mlp', 'logistic'):\n"
        "    vt.FusionClassifier(head, blocks=(2, 1)).fit(X, np.arange(60) % 3)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.slow
def test_a_fit_on_few_rows_takes_few_steps_without_autograd(monkeypatch):
    # Under a second of one core for 120 x 24, of which autograd's overhead would be half.
    steps, gradients = [], minibatch.loss_gradients

    def counted(*given):
        steps.append(given)
        return gradients(*given)

    monkeypatch.setattr(minibatch, "loss_gradients", counted)
    monkeypatch.delattr(torch.Tensor, "backward")
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=120)
    rows = rng.standard_normal((120, 24)) + 2 * np.eye(24)[labels]
    model = vt.FusionClassifier().fit(rows, labels)
    assert model.score(rows, labels) > 0.9
    # 40 epochs of at most four batches for the split's fold, four other folds and all rows.
    assert 40 * 6 * 3 <= len(steps) <= 40 * 6 * 4


def test_groups_never_stand_on_two_sides():
    """Copies under random labels would otherwise be told by heart."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(200, 16)), 5, axis=0)
    y = np.repeat(rng.integers(4, size=200), 5)
    model = vt.FusionClassifier("mlp", epochs=15)
    alone = model.fit(X, y).validation_.accuracy
    assert model.fit(X, y, groups=np.repeat(np.arange(200), 5)).validation_.accuracy < 0.45 < alone


def test_what_does_not_fit_is_refused():
    X, y = catalogue(50)
    with pytest.raises(ValueError, match="sum to the 20 columns"):
        quick(blocks=(12, 9)).fit(X, y)
    with pytest.raises(ValueError, match="late fusion needs text and image vectors"):
        quick(blocks=None, fusion="late").fit(X, y)
    with pytest.raises(ValueError, match="3 names, but 4 classes"):
        quick().fit(X, y, names=["a", "b", "c"])
    with pytest.raises(ValueError, match="49 groups, but 50 rows"):
        quick().fit(X, y, groups=np.arange(49))
    with pytest.raises(ValueError, match="precision must be above 0 and below 1"):
        quick(precision=2).fit(X, y)


@pytest.mark.parametrize("photos", [0, 1, 3])
@pytest.mark.parametrize("head", ["logistic", "mlp"])
@pytest.mark.slow
def test_hardly_a_row_with_a_photo_is_no_hindrance(photos, head):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=120)
    parts = [np.eye(3)[labels] + 0.2 * rng.normal(size=(120, 3)) for _ in range(2)]
    X = np.hstack(parts).astype(np.float32)
    X[photos:, 3:] = 0
    model = vt.FusionClassifier(head, blocks=(3, 3), epochs=3 if head == "mlp" else None)
    model.fit(X, labels)
    assert (model.predict(X) == labels).mean() > 0.9
    assert np.isfinite(model.predict_proba(np.hstack(parts))).all()
