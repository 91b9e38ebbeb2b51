"""Training loop of every network: batches, steps, scores, early stopping, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from vitrina.errors import TrainingError
from vitrina.parallel import Progress, map_ahead, no_progress
from vitrina.threads import side_by_side
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import TrainingConfig
from vitrina.training.dropout import drawing
from vitrina.training.optimiser import Arrays, Optimiser
from vitrina.typed_json import Count, convert_json
from vitrina.types import Codes

SECONDS_BETWEEN_CHECKPOINTS = 300.0


@dataclass(frozen=True)
class BatchPart:
    """Part of a batch. share: its share of the batch. loss: computes its mean loss; random draws
    go through `training.dropout`."""

    share: float
    loss: Callable[[], torch.Tensor]


class Task(Protocol):
    """A network, its training rows and its score."""

    @property
    def rows(self) -> Codes:
        """Training rows, (n,) int64; only the task interprets the numbers."""
        ...

    def optimiser(self, recipe: TrainingConfig, steps: int) -> Optimiser:
        """Create the optimiser of the network's parameters."""
        ...

    @property
    def workers(self) -> int:
        """Number of batch parts that may run in parallel."""
        ...

    def parts(self, rows: Codes, rng: np.random.Generator) -> Sequence[BatchPart]:
        """Split a batch into parts. rng: for augmentation."""
        ...

    def score(self) -> float:
        """Score the current weights on held-out rows, higher is better; NaN if there are none."""
        ...


@dataclass(frozen=True)
class Epoch:
    """One pass over the rows. loss: mean training loss. score: after it. seconds: its time."""

    number: int
    loss: float
    score: float
    seconds: float


@dataclass(frozen=True)
class History:
    """Record of a training run. best: the number of the epoch whose weights were kept. rows:
    trained on, summed over epochs. seconds: in total, those before a kill included."""

    epochs: tuple[Epoch, ...]
    best: int
    rows: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


def _ignore(epoch: Epoch) -> None:
    """Ignore the epoch: the default callback."""


@dataclass(frozen=True)
class Watch:
    """Callbacks of a training run. progress: takes the rows of each batch. resumed: takes the rows
    that an earlier call completed. epoch: takes each finished epoch."""

    progress: Progress = no_progress
    resumed: Progress = no_progress
    epoch: Callable[[Epoch], None] = _ignore


UNWATCHED = Watch()


@dataclass
class _Run:
    """Progress of a run. batch: batches done in this epoch. loss: sum of their rows' losses."""

    epoch: Count = 0
    batch: Count = 0
    loss: float = 0.0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best: int = -1
    history: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.epoch != len(self.history) or not -1 <= self.best < len(self.history):
            raise ValueError(f"epoch {self.epoch} after {len(self.history)}, the best {self.best}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def fit(
    task: Task,
    recipe: TrainingConfig,
    *,
    checkpoint: Checkpoint | None = None,
    watch: Watch = UNWATCHED,
) -> History:
    """Train a network, and leave the best-scoring weights in it, in float32.

    checkpoint: the file to resume from and to save to every `SECONDS_BETWEEN_CHECKPOINTS` and
    after each epoch; deleted at the end. With the same task and recipe, a resumed run gives the
    same result as an uninterrupted one, bit for bit on a CPU. Raises TrainingError if the
    checkpoint is damaged.
    """
    rows = task.rows
    optimiser = task.optimiser(recipe, recipe.steps(len(rows)))
    run, best = _Run(), optimiser.weights()
    found = checkpoint.read() if checkpoint else None
    if found is not None:
        assert checkpoint is not None
        where, way_out = str(checkpoint.path), "delete it, and train from the start"
        run = convert_json(found.told, _Run, where, way_out, TrainingError)
        try:
            best = _checked(best, found.part("best"))
            optimiser.load(found.part("state"), found.step)
        except (LookupError, RuntimeError, ValueError) as err:
            raise TrainingError(f"{where} is damaged ({err}); {way_out}") from err
        watch.resumed(run.epoch * len(rows) + min(run.batch * recipe.batch_rows, len(rows)))
    started, written = time.monotonic(), time.monotonic()
    before = run.seconds
    while run.epoch < recipe.epochs:
        epoch_started = time.monotonic() - run.epoch_seconds
        # Draws depend on the seed and the position in the run alone, so that a resumed run equals
        # an uninterrupted one.
        order = np.random.default_rng([recipe.seed, run.epoch]).permutation(rows)
        batches = range(run.batch * recipe.batch_rows, len(order), recipe.batch_rows)
        with side_by_side(task.workers):
            for start in batches:
                batch = order[start : start + recipe.batch_rows]
                run.loss += _step(task, optimiser, batch, recipe) * len(batch)
                run.batch += 1
                watch.progress(len(batch))
                now = time.monotonic()
                if checkpoint and now - written > SECONDS_BETWEEN_CHECKPOINTS:
                    run.seconds, run.epoch_seconds = before + now - started, now - epoch_started
                    _save(checkpoint, run, optimiser, best)
                    written = time.monotonic()
        with optimiser.averaged():
            score = task.score()
        seconds = time.monotonic() - epoch_started
        epoch = Epoch(run.epoch, run.loss / len(rows), score, round(seconds, 2))
        watch.epoch(epoch)
        # Comparisons with NaN are false, so without a score the last weights are kept.
        worse = run.best >= 0 and score <= run.history[run.best].score
        run.history.append(epoch)
        if not worse:
            run.best, best = run.epoch, optimiser.weights()
        run = replace(run, epoch=run.epoch + 1, batch=0, loss=0.0, epoch_seconds=0.0)
        run.seconds = before + time.monotonic() - started
        if recipe.patience and run.epoch - 1 - run.best >= recipe.patience:
            break
        if checkpoint and run.epoch < recipe.epochs:
            _save(checkpoint, run, optimiser, best)
            written = time.monotonic()
    optimiser.finish(best)
    if checkpoint:
        checkpoint.delete()
    return History(
        tuple(run.history), run.best, len(run.history) * len(rows), round(run.seconds, 2)
    )


def _checked(wanted: Arrays, found: Arrays) -> Arrays:
    """Return `found`. Raises ValueError if its names or shapes differ from those of `wanted`."""
    shapes = [{name: one.shape for name, one in some.items()} for some in (wanted, found)]
    if shapes[0] != shapes[1]:
        raise ValueError("weights of another network")
    return found


def _step(task: Task, optimiser: Optimiser, batch: Codes, recipe: TrainingConfig) -> float:
    draws = np.random.default_rng([recipe.seed, 1 << 32, optimiser.step_number])
    seed = int(draws.integers(1 << 62))
    torch.manual_seed(seed)
    parts = task.parts(batch, draws)
    leaves = optimiser.leaves

    def differentiate(
        numbered: tuple[int, BatchPart],
    ) -> tuple[float, Sequence[torch.Tensor | None]]:
        number, part = numbered
        with drawing(seed, number):
            loss = part.loss() * part.share
            grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        return float(loss.detach()), grads

    total = 0.0
    for value, grads in map_ahead(differentiate, enumerate(parts), task.workers):
        # Sum in the order of the parts, so that the result does not depend on timing.
        optimiser.add(grads)
        total += value
    optimiser.step()
    return total


def _save(checkpoint: Checkpoint, run: _Run, optimiser: Optimiser, best: Arrays) -> None:
    arrays = {f"state.{name}": one for name, one in optimiser.state().items()}
    arrays |= {f"best.{name}": one for name, one in best.items()}
    checkpoint.write(run.to_json(), optimiser.step_number, arrays)
