"""Training of any baseline."""

from __future__ import annotations

from vitrina.baselines.base import Baseline, BaselineKind, BaselineTask, Scorer, TextExamples
from vitrina.baselines.cnn import CNN
from vitrina.baselines.linear_svm import fit_linear_svm
from vitrina.baselines.lstm import LSTM
from vitrina.baselines.mlp import MLP
from vitrina.baselines.naive_bayes import fit_naive_bayes
from vitrina.baselines.network import fit_network, planned_epochs
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
    """Train a baseline, and calibrate it on held-out rows.

    epochs: maximum epochs of a network; None to derive it from the number of rows. checkpoint: the
    file from which a network's training resumes; other methods start again. watch: its progress
    takes at most `planned_rows` rows in total. The same seed gives the same result on the same
    machine. Raises TrainingError if the rows have fewer than two classes, or no words.
    """
    task = BaselineTask.of(examples)
    scorer: Scorer
    history: History | None = None
    if kind is BaselineKind.NAIVE_BAYES:
        scorer = fit_naive_bayes(task)
        watch.progress(len(task.texts))
    elif kind is BaselineKind.LINEAR_SVM:
        scorer = fit_linear_svm(task, seed=seed, progress=watch.progress)
    else:
        scorer, history = fit_network(
            DESIGNS[kind],
            task,
            seed=seed,
            epochs=epochs,
            checkpoint=checkpoint,
            watch=watch,
        )
    temperature = 1.0
    if task.held_out:
        temperature = fit_temperature(scorer.logits(task.held_out), task.held_out_labels)
    return Baseline(scorer, task.present, examples.classes, temperature, history)


def planned_rows(kind: BaselineKind, rows: int, epochs: int | None = None) -> int:
    """Maximum rows that a training reports as progress, for a progress bar."""
    return rows * (epochs or planned_epochs(rows)) if kind in DESIGNS else rows
