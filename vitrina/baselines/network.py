"""Common code of the neural baselines: a table of pieces, a network over it, a class layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional as fn

from vitrina.baselines.base import BaselineTask
from vitrina.parallel import map_ahead
from vitrina.threads import one_thread_each, workers
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import TrainingConfig
from vitrina.training.dropout import Dropout
from vitrina.training.loop import BatchPart, History, Watch, fit
from vitrina.training.loss import ClassLoss
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.training.sparse_embedding import SparseEmbedding
from vitrina.types import Balance, Codes, Floats

PART_ROWS = 64
"""Texts of similar length in one forward pass: few enough for one core's cache."""
BATCH_ROWS = 16, 256
"""Minimum and maximum rows per step."""
STEPS = 200
"""Target steps per epoch, within the limits of `BATCH_ROWS`."""
EPOCHS = 8, 40
"""Minimum and maximum epochs."""
ROWS = 200_000
"""Target rows summed over epochs, within the limits of `EPOCHS`."""
SMOOTHING = 0.1
AVERAGE, PATIENCE = 0.99, 4
"""See `TrainingConfig`."""


@dataclass(frozen=True, eq=False)
class Bags:
    """Weighted sums of a table's rows.

    ids: (k,) int64 rows. weights: (k,) float32. starts: (b,) int64, the start of each of b sums.
    words: (n, longest) int64, the sums of each of n texts in order, if a text is a sequence of
    sums; sum 0 is then empty and serves as padding. None if each text is one sum.
    """

    ids: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor
    words: torch.Tensor | None = None


def bags_of(sums: sp.csr_matrix) -> Bags:
    """Convert a matrix of weights, (b, rows of the table) float32, to b sums."""
    return Bags(
        torch.from_numpy(sums.indices.astype(np.int64)),
        torch.from_numpy(sums.data),
        torch.from_numpy(sums.indptr[:-1].astype(np.int64)),
    )


class Texts(Protocol):
    """Texts in a network's input form."""

    @property
    def lengths(self) -> Codes:
        """Cost of a forward pass for each text, (n,) int64."""
        ...

    def bags(self, rows: Codes) -> Bags:
        """The sums of some texts. rows: int64."""
        ...


class TextReader(Protocol):
    """Converts texts to a network's input form."""

    def __len__(self) -> int:
        """Number of rows in the table."""
        ...

    def __call__(self, texts: Sequence[str]) -> Texts:
        """Convert any texts."""
        ...


class Body(torch.nn.Module):
    """A network between the table and the classes."""

    width: int

    def forward(self, vectors: torch.Tensor, bags: Bags) -> torch.Tensor:
        """Map the sums' vectors, (b, dim) float32, to one vector per text, (n, width) float32."""
        raise NotImplementedError


@dataclass(frozen=True)
class Design:
    """A network and how it is trained.

    reader: fits a text reader on training texts. body: creates a network for vectors of length
    `dim`. dim: the length of a table row. scale: standard deviation of its initial values. hidden:
    the share of pieces dropped at random in each pass. dropout: before the class layer. rate: the
    peak learning rate.
    """

    reader: Callable[[Sequence[str]], TextReader]
    body: Callable[[int], Body]
    dim: int
    scale: float = 0.1
    hidden: float = 0.1
    dropout: float = 0.3
    rate: float = 5e-3


class TextNetwork:
    """Classification of texts by a network: a `Task` and, once trained, a `Scorer`."""

    def __init__(self, design: Design, task: BaselineTask, *, seed: int) -> None:
        """seed: random seed of the initial weights."""
        self._design, self._task = design, task
        self._reader = design.reader(task.texts)
        self._texts, self._held_out = self._reader(task.texts), self._reader(task.held_out)
        self._labels = torch.from_numpy(task.labels)
        self._loss = ClassLoss.of(task.labels, task.classes, Balance.NONE, SMOOTHING)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._initial = design.scale * torch.randn(len(self._reader), design.dim)
            self._body = design.body(design.dim)
            self._head = torch.nn.Linear(self._body.width, task.classes)
        torch.nn.init.zeros_(self._head.weight)
        torch.nn.init.zeros_(self._head.bias)
        self._dropout = Dropout(design.dropout)
        self._table = SparseEmbedding(self._initial[:0], torch.float32)
        # Counted now: in training torch runs with one thread.
        self._workers = workers(torch.device("cpu"))

    @property
    def rows(self) -> Codes:
        """As `Task.rows`."""
        return np.arange(len(self._task.texts))

    @property
    def workers(self) -> int:
        """As `Task.workers`."""
        return self._workers

    def optimiser(self, recipe: TrainingConfig, steps: int) -> Optimiser:
        """As `Task.optimiser`."""
        self._table = SparseEmbedding(self._initial, torch.float32, averaged=bool(recipe.average))
        groups = [*grouped(self._head), *grouped(self._body)]
        return Optimiser(groups, [self._table], recipe, steps)

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[BatchPart]:
        """As `Task.parts`: parts of texts of similar length."""
        self._body.train()
        self._dropout.train()
        chosen = [rows[part] for part in _by_length(self._texts.lengths[rows])]
        all_bags = [self._with_dropped_pieces(self._texts.bags(part), rng) for part in chosen]
        self._table.open(torch.cat([bags.ids for bags in all_bags]))
        return [
            BatchPart(len(part) / len(rows), partial(self._loss_of, bags, part))
            for part, bags in zip(chosen, all_bags, strict=True)
        ]

    def score(self) -> float:
        """As `Task.score`: weighted F1 on held-out rows."""
        return self._task.score(self._logits_of(self._held_out))

    def logits(self, texts: Sequence[str]) -> Floats:
        """As `Scorer.logits`."""
        return self._logits_of(self._reader(texts))

    def _logits_of(self, texts: Texts) -> Floats:
        self._body.eval()
        self._dropout.eval()
        out = np.empty((len(texts.lengths), self._task.classes), dtype=np.float32)

        def some(rows: Codes) -> tuple[Codes, Floats]:
            with torch.inference_mode():
                bags = texts.bags(rows)
                vectors = _weighted_sums(bags.ids, self._table.weight, bags)
                logits: torch.Tensor = self._head(self._body(vectors, bags))
                return rows, logits.numpy()

        with one_thread_each():
            for rows, logits in map_ahead(some, _by_length(texts.lengths), self._workers):
                out[rows] = logits
        return out

    def _with_dropped_pieces(self, bags: Bags, rng: np.random.Generator) -> Bags:
        share = self._design.hidden
        if not share:
            return bags
        kept = torch.from_numpy(rng.random(len(bags.ids), dtype=np.float32) >= share)
        return Bags(bags.ids, bags.weights * kept / (1 - share), bags.starts, bags.words)

    def _loss_of(self, bags: Bags, rows: Codes) -> torch.Tensor:
        vectors = _weighted_sums(self._table.places(bags.ids), self._table.rows, bags)
        logits = self._head(self._dropout(self._body(vectors, bags)))
        return self._loss(logits, self._labels[rows])


def fit_network(
    design: Design,
    task: BaselineTask,
    *,
    seed: int,
    epochs: int | None,
    checkpoint: Checkpoint | None,
    watch: Watch,
) -> tuple[TextNetwork, History]:
    """Train a network. seed: random seed of weights and training. epochs: the maximum; None to
    derive it from the number of rows."""
    network = TextNetwork(design, task, seed=seed)
    rows = len(task.texts)
    recipe = TrainingConfig(
        epochs=epochs or planned_epochs(rows),
        batch_rows=int(np.clip(rows // STEPS, *BATCH_ROWS)),
        rate=design.rate,
        average=AVERAGE,
        patience=PATIENCE,
        seed=seed,
    )
    return network, fit(network, recipe, checkpoint=checkpoint, watch=watch)


def planned_epochs(rows: int) -> int:
    """Maximum epochs of a training on `rows` rows."""
    return int(np.clip(ROWS // max(1, rows), *EPOCHS))


def _by_length(lengths: Codes) -> list[Codes]:
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + PART_ROWS] for start in range(0, len(order), PART_ROWS)]


def _weighted_sums(ids: torch.Tensor, rows: torch.Tensor, bags: Bags) -> torch.Tensor:
    return fn.embedding_bag(ids, rows, bags.starts, mode="sum", per_sample_weights=bags.weights)
