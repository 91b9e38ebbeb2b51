"""The baselines over text: what they learn, what they must not see, that a seed decides all."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import ComplementNB

from support.tuning import products
from vitrina.baselines.base import BaselineKind, BaselineTask, TextExamples
from vitrina.baselines.naive_bayes import PRIOR, fit_naive_bayes
from vitrina.baselines.network import planned_epochs
from vitrina.baselines.terms import TermKinds, Terms
from vitrina.baselines.train import planned_rows, train_baseline
from vitrina.baselines.words import WordPieces, split
from vitrina.classifier.metrics import evaluate
from vitrina.errors import TrainingError
from vitrina.training import loop
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.loop import Watch

pytestmark = pytest.mark.usefixtures("own_cache")

KINDS = list(BaselineKind)
COSTLY = (BaselineKind.CNN, BaselineKind.LSTM)
LEARNT = [pytest.param(kind, marks=[pytest.mark.slow] if kind in COSTLY else []) for kind in KINDS]
"""The kinds, for tests that train one more than once."""
NETWORKS = [BaselineKind.MLP, BaselineKind.CNN, BaselineKind.LSTM]
CLASSES = 6
"""Of which the catalogue has four: 0 and 3 are nobody's."""
NUMBERS = np.array([1, 2, 4, 5])


def catalogue(rows=360, seed=0):
    """Texts of `products`, with a number and an article code in each; their labels."""
    texts, labels = [], []
    for number, title, kind in products(rows, seed):
        texts.append(f"{title}, арт.{number * 7919} {number % 13}шт")
        labels.append(NUMBERS[kind])
    return texts, np.array(labels)


def examples(**changes):
    texts, labels = catalogue()
    rows = np.arange(len(texts))
    return replace(TextExamples(texts, labels, CLASSES, rows[:300], rows[300:]), **changes)


def learn(kind, given, *, seed=0, epochs=4, **options):
    return train_baseline(kind, given, seed=seed, epochs=epochs, **options)


@pytest.fixture(scope="module")
def learnt():
    return {kind: learn(kind, examples()) for kind in KINDS}


# -- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LEARNT)
def test_it_tells_new_products_apart(learnt, kind):
    texts, labels = catalogue(200, seed=1)
    probabilities = learnt[kind].probabilities(texts)
    chosen = probabilities.argmax(axis=1)
    assert evaluate(labels, chosen, None, classes=CLASSES).weighted_f1 > 0.95
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (200, CLASSES))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (probabilities[:, [0, 3]] == 0).all()
    # Calibrated: as sure as it is right.
    assert probabilities.max(axis=1).mean() == pytest.approx((chosen == labels).mean(), abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_gets_probabilities_that_do_not_rest_on_its_neighbours(learnt, kind):
    texts, _ = catalogue(70, seed=2)
    odd = ["", " ", "!?", "zzyzx qwerty", "кружка " * 3000, *texts]
    together = learnt[kind].probabilities(odd)
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[0], together[1], atol=1e-6)
    assert together[4].argmax() == NUMBERS[0]
    logits = learnt[kind].scorer.logits(odd)
    alone = np.concatenate([learnt[kind].scorer.logits([text]) for text in odd])
    np.testing.assert_allclose(logits, alone, rtol=1e-4, atol=1e-5)
    assert learnt[kind].probabilities([]).shape == (0, CLASSES)


@pytest.mark.parametrize("kind", LEARNT)
def test_a_seed_decides_all_and_other_rows_nothing(learnt, kind):
    texts, _ = catalogue(50, seed=3)
    before = learnt[kind].probabilities(texts)
    given = examples()
    # More rows, of other texts: half are not to be learnt from, half have no label.
    stray = [f"{text} чужое" for text in catalogue(40, seed=4)[0]]
    more = replace(
        given,
        texts=[*given.texts, *stray],
        labels=np.concatenate([given.labels, np.tile([0, -1], 20)]),
        rows=np.append(given.rows, np.arange(361, 400, 2)),
    )
    np.testing.assert_array_equal(learn(kind, more).probabilities(texts), before)
    if kind is not BaselineKind.NAIVE_BAYES:
        assert (learn(kind, given, seed=1, epochs=1).probabilities(texts) != before).any()


@pytest.mark.parametrize("kind", LEARNT)
def test_held_rows_are_not_learnt_from(learnt, kind):
    """With other texts in held rows all that is learnt stays. For a network, every step does:
    which of them is kept is for the held rows to say."""
    given = examples()
    texts = list(given.texts)
    for row in given.held_out:
        texts[row] = f"небывальщина {texts[row]}"
    other, same = learn(kind, replace(given, texts=texts)), learnt[kind]
    if kind in NETWORKS:
        losses, expected = ([epoch.loss for epoch in one.history.epochs] for one in (other, same))
        both = min(len(losses), len(expected))
        assert losses[:both] == expected[:both]
    else:
        asked = [*catalogue(50, seed=5)[0], "небывальщина"]
        np.testing.assert_array_equal(other.scorer.logits(asked), same.scorer.logits(asked))


@pytest.mark.parametrize("kind", LEARNT)
def test_without_held_rows_it_learns_all_the_same(kind):
    texts, labels = catalogue(100, seed=6)
    baseline = learn(kind, examples(held_out=np.zeros(0, dtype=np.int64)))
    assert baseline.temperature == 1
    chosen = baseline.probabilities(texts).argmax(axis=1)
    assert evaluate(labels, chosen, None, classes=CLASSES).weighted_f1 > 0.95


@pytest.mark.parametrize("kind", LEARNT)
def test_two_classes_are_enough_and_one_is_not(kind):
    given = examples()
    two = given.rows[np.isin(given.labels[given.rows], [2, 4])]
    texts, labels = catalogue(150, seed=7)
    asked = np.flatnonzero(np.isin(labels, [2, 4]))
    probabilities = learn(kind, replace(given, rows=two), epochs=8).probabilities(
        [texts[row] for row in asked]
    )
    assert (probabilities.argmax(axis=1) == labels[asked]).mean() > 0.95
    assert (probabilities[:, [0, 1, 3, 5]] == 0).all()
    for rows in (two[given.labels[two] == 2], two[:0]):
        with pytest.raises(TrainingError, match=r"^a baseline needs two classes, .* have [01];"):
            learn(kind, replace(given, rows=rows))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_without_words_are_refused(kind):
    nothing = TextExamples(["", "!"] * 5, np.tile([0, 1], 5), 2, np.arange(8), np.arange(8, 10))
    with pytest.raises(TrainingError, match="the training texts have no words"):
        learn(kind, nothing)


@pytest.mark.parametrize("kind", KINDS)
def test_most_texts_may_be_empty(kind):
    texts, labels = catalogue(100, seed=9)
    given = TextExamples(
        [*texts[:10], *[""] * 90], labels, CLASSES, np.arange(95), np.arange(95, 100)
    )
    probabilities = learn(kind, given, epochs=2).probabilities(["", *texts])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_progress_comes_to_what_was_planned(kind):
    told = []
    given = examples(rows=np.arange(100))
    learn(kind, given, epochs=2, watch=Watch(told.append, told.append))
    assert sum(told) == planned_rows(kind, 100, 2)


def test_examples_that_do_not_fit_are_refused():
    given = examples()
    with pytest.raises(ValueError, match="360 texts, but 359 labels"):
        replace(given, labels=given.labels[1:])
    with pytest.raises(ValueError, match="must be below 5"):
        replace(given, classes=5)
    with pytest.raises(ValueError, match="both training and held-out rows"):
        replace(given, held_out=given.rows[:1])


def test_the_lesson_has_no_class_that_is_not_learnt():
    labels = np.array([3, -1, 5, 3, 0, 5, 1])
    task = BaselineTask.of(TextExamples(list("abcdefg"), labels, 6, np.arange(4), np.arange(4, 7)))
    assert (task.texts, task.labels.tolist()) == (["a", "c", "d"], [0, 1, 0])
    assert (task.held_out, task.held_out_labels.tolist()) == (["f"], [1])
    assert task.present.tolist() == [3, 5]


# -- networks -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_run_that_was_killed_ends_as_one_that_was_not(monkeypatch, learnt, kind):
    done = []

    def killed(rows):
        done.append(rows)
        if len(done) == 30:
            raise KeyboardInterrupt

    checkpoint = Checkpoint({"baseline": kind})
    with monkeypatch.context() as patch:
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            learn(kind, examples(), checkpoint=checkpoint, watch=Watch(killed))
    assert checkpoint.path.exists()
    told = []
    again = learn(kind, examples(), checkpoint=checkpoint, watch=Watch(told.append, told.append))
    texts, _ = catalogue(50, seed=8)
    np.testing.assert_array_equal(again.probabilities(texts), learnt[kind].probabilities(texts))
    assert [epoch.loss for epoch in again.history.epochs] == [
        epoch.loss for epoch in learnt[kind].history.epochs
    ]
    assert told[0] == sum(done[:-1])
    assert not checkpoint.path.exists()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_tells_how_its_training_went(learnt, kind):
    history = learnt[kind].history
    assert history.epochs[history.best].score == max(epoch.score for epoch in history.epochs)
    assert history.epochs[-1].loss < 0.7 * history.epochs[0].loss
    assert history.rows == 300 * len(history.epochs)


@pytest.mark.slow
def test_the_order_of_words_is_seen_by_those_who_read_in_order():
    """The class is which of two words comes first."""
    rng = np.random.default_rng(0)
    texts, labels = [], []
    for _ in range(700):
        label = int(rng.integers(2))
        filler = [f"слово{number}" for number in rng.integers(0, 30, size=3)]
        first, second = ("белый", "чёрный")[:: 1 if label else -1]
        texts.append(" ".join([*filler[: rng.integers(4)], first, second, filler[0]]))
        labels.append(label)
    given = TextExamples(texts, np.array(labels), 2, np.arange(500), np.arange(500, 600))
    for kind in (BaselineKind.CNN, BaselineKind.LSTM):
        chosen = learn(kind, given).probabilities(texts[600:]).argmax(axis=1)
        assert (chosen == labels[600:]).mean() > 0.95


def test_epochs_suit_the_rows():
    assert [planned_epochs(rows) for rows in (0, 100, 20_000, 1_000_000)] == [40, 40, 10, 8]


# -- what they read -------------------------------------------------------------------------------


def test_naive_bayes_is_that_of_scikit_learn():
    texts, labels = catalogue(200)
    task = BaselineTask.of(TextExamples(texts, labels, CLASSES, np.arange(200), np.arange(0)))
    ours = fit_naive_bayes(task)
    words = TfidfVectorizer(token_pattern=r"\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
    theirs = ComplementNB(alpha=PRIOR).fit(words.fit_transform(texts), task.labels)
    asked = [*catalogue(100, seed=1)[0], "белая", "нечто"]
    expected = theirs.predict_joint_log_proba(words.transform(asked))
    logits = ours.logits(asked)
    np.testing.assert_allclose(
        logits - logits[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4
    )


def test_terms_are_those_of_enough_texts():
    texts = [f"кружка белая {number}" for number in range(1000)]
    terms, matrix = Terms.fit(texts, TermKinds(characters=None))
    assert len(terms) == 3
    np.testing.assert_allclose(matrix.toarray(), terms(texts).toarray())
    few, _ = Terms.fit(texts[:10], TermKinds(characters=None))
    assert len(few) == 2 + 10 + 1 + 10
    most, _ = Terms.fit(texts, TermKinds(most=2))
    assert len(most) == 4


def test_words_are_runs_of_letters_and_of_digits():
    assert split("Fa-486освежитель ЁЛКА 0.5л_(р)") == (
        ["fa", "486", "освежитель", "елка", "0", "5", "л", "р"]
    )
    assert len(split("слово " * 100)) == 64


def test_a_word_is_its_pieces_and_a_typo_shares_most():
    pieces = WordPieces(["кружка кружка ваза", "ваза"])
    lists = pieces(["кружка крушка", "", "ваза кружка ъ"])
    assert lists.lengths.tolist() == [2, 0, 3]
    assert lists.flat.tolist() == [0, 1, 2, 0, 3]
    likeness = (lists.pieces @ lists.pieces.T).toarray()
    np.testing.assert_allclose(np.diag(likeness), [1, 1, 1, 0], atol=1e-6)
    assert likeness[0, 1] > 0.3 > likeness[0, 2]


def test_bags_give_each_word_of_each_text():
    pieces = WordPieces(["кружка ваза", "лампа"])
    lists = pieces(["кружка ваза", "", "лампа кружка ваза"])
    bags = lists.bags(np.array([2, 0, 1]))
    stops = [*bags.starts.tolist()[1:], len(bags.ids)]
    sums = np.zeros((len(bags.starts), len(pieces)), dtype=np.float32)
    for row, (start, stop) in enumerate(zip(bags.starts.tolist(), stops, strict=True)):
        sums[row, bags.ids[start:stop]] = bags.weights[start:stop]
    assert not sums[0].any()
    whole = lists.pieces.toarray()
    expected = [[2, 0, 1], [0, 1, None], [None, None, None]]
    for words, row in zip(bags.words.tolist(), expected, strict=True):
        for word, number in zip(words, row, strict=True):
            np.testing.assert_array_equal(sums[word], whole[number] if number is not None else 0)
