"""Training any baseline."""

from __future__ import annotations

from vitrina.baselines.base import Baseline, BaselineKind, BaselineTask, Scorer, TextExamples
from vitrina.baselines.cnn import CNN
from vitrina.baselines.linear_svm import learn_linear_svm
from vitrina.baselines.lstm import LSTM
from vitrina.baselines.mlp import MLP
from vitrina.baselines.naive_bayes import learn_naive_bayes
from vitrina.baselines.network import learn_network, planned_epochs
from vitrina.classifier.calibrate import fit_temperature
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.loop import UNWATCHED, History, Watch

DESIGNS = {BaselineKind.MLP: MLP, BaselineKind.CNN: CNN, BaselineKind.LSTM: LSTM}


def train_baseline(
    kind: BaselineKind,
    examples: TextExamples,
    *,
    seed: int,
    epochs: int | None = None,
    checkpoint: Checkpoint | None = None,
    watch: Watch = UNWATCHED,
) -> Baseline:
    """Train a method on some rows, and calibrate it by held ones.

    epochs: of a network, at most; None for what suits the number of rows. checkpoint: what a
    network's training goes on from after a kill; the other methods begin anew. watch: told of
    rows, `planned_rows` in all or fewer. The same seed gives the same outcome on the same machine.
    Raises TrainingError where the rows have fewer than two classes, or no words.
    """
    lesson = BaselineTask.of(examples)
    scorer: Scorer
    history: History | None = None
    if kind is BaselineKind.NAIVE_BAYES:
        scorer = learn_naive_bayes(lesson)
        watch.progress(len(lesson.texts))
    elif kind is BaselineKind.LINEAR_SVM:
        scorer = learn_linear_svm(lesson, seed=seed, progress=watch.progress)
    else:
        scorer, history = learn_network(
            DESIGNS[kind],
            lesson,
            seed=seed,
            epochs=epochs,
            checkpoint=checkpoint,
            watch=watch,
        )
    temperature = 1.0
    if lesson.held:
        temperature = fit_temperature(scorer.logits(lesson.held), lesson.held_labels)
    return Baseline(scorer, lesson.present, examples.classes, temperature, history)


def planned_rows(kind: BaselineKind, rows: int, epochs: int | None = None) -> int:
    """Rows that a training's progress will be told of at most, for a progress bar."""
    return rows * (epochs or planned_epochs(rows)) if kind in DESIGNS else rows
