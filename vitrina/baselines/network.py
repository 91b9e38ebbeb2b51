"""What the neural baselines share: a table of pieces, a network over it, a layer of classes."""

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
from vitrina.training.config import Recipe
from vitrina.training.dropout import Dropout
from vitrina.training.loop import BatchPart, History, Watch, fit
from vitrina.training.loss import ClassLoss
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.training.sparse_embedding import SparseEmbedding
from vitrina.types import Balance, Codes, Floats

PART_ROWS = 64
"""Texts that go through a network at once: few enough for one core's cache, and of like length."""
BATCH_ROWS = 16, 256
"""Of a step: the fewest and the most."""
STEPS = 200
"""Of an epoch, where that is between the two."""
EPOCHS = 8, 40
"""The fewest and the most."""
ROWS = 200_000
"""Of all epochs, where that is between the two."""
SMOOTHING = 0.1
AVERAGE, PATIENCE = 0.99, 4
"""As `Recipe` has them."""


@dataclass(frozen=True, eq=False)
class Bags:
    """Weighted sums of a table's rows.

    ids: (k,) int64 rows. weights: (k,) float32. starts: (b,) int64, where each of b sums begins.
    words: (n, longest) int64, the sums that n texts consist of, in their order, where a text is
    more than one; the first sum is empty then, and fills shorter texts up.
    """

    ids: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor
    words: torch.Tensor | None = None


def bags_of(sums: sp.csr_matrix) -> Bags:
    """The sums that rows of a matrix are, (b, rows of the table) float32."""
    return Bags(
        torch.from_numpy(sums.indices.astype(np.int64)),
        torch.from_numpy(sums.data),
        torch.from_numpy(sums.indptr[:-1].astype(np.int64)),
    )


class Texts(Protocol):
    """Texts in the form that a network reads."""

    @property
    def lengths(self) -> Codes:
        """(n,) int64: what each takes to go through."""
        ...

    def bags(self, rows: Codes) -> Bags:
        """Some of them."""
        ...


class TextReader(Protocol):
    """Brings texts into that form."""

    def __len__(self) -> int:
        """Rows of the table."""
        ...

    def __call__(self, texts: Sequence[str]) -> Texts:
        """Any texts."""
        ...


class Body(torch.nn.Module):
    """A network between the table and the classes."""

    width: int

    def forward(self, vectors: torch.Tensor, bags: Bags) -> torch.Tensor:
        """vectors: (b, dim) float32, the sums. Returns (n, width) float32."""
        raise NotImplementedError


@dataclass(frozen=True)
class Design:
    """A network and how it is trained.

    reader: learns from training texts how to read. body: makes a network for vectors of some
    length. dim: the length of a table's row. scale: of its numbers at first. hidden: the share of
    pieces that are left out anew in each pass. dropout: before the classes. rate: as `Recipe`'s.
    """

    reader: Callable[[Sequence[str]], TextReader]
    body: Callable[[int], Body]
    dim: int
    scale: float = 0.1
    hidden: float = 0.1
    dropout: float = 0.3
    rate: float = 5e-3


class TextNetwork:
    """The task of telling a lesson's classes apart; a `Task` and, once trained, a `Scorer`."""

    def __init__(self, design: Design, lesson: BaselineTask, *, seed: int) -> None:
        """seed: decides the first weights."""
        self._design, self._lesson = design, lesson
        self._reader = design.reader(lesson.texts)
        self._texts, self._held = self._reader(lesson.texts), self._reader(lesson.held)
        self._labels = torch.from_numpy(lesson.labels)
        self._loss = ClassLoss.of(lesson.labels, lesson.classes, Balance.NONE, SMOOTHING)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._first = design.scale * torch.randn(len(self._reader), design.dim)
            self._body = design.body(design.dim)
            self._head = torch.nn.Linear(self._body.width, lesson.classes)
        torch.nn.init.zeros_(self._head.weight)
        torch.nn.init.zeros_(self._head.bias)
        self._dropout = Dropout(design.dropout)
        self._table = SparseEmbedding(self._first[:0], torch.float32)
        # Now, since in training torch is told that there is one thread.
        self._workers = workers(torch.device("cpu"))

    @property
    def rows(self) -> Codes:
        """As `Task.rows`."""
        return np.arange(len(self._lesson.texts))

    @property
    def workers(self) -> int:
        """As `Task.workers`."""
        return self._workers

    def optimiser(self, recipe: Recipe, steps: int) -> Optimiser:
        """As `Task.optimiser`."""
        self._table = SparseEmbedding(self._first, torch.float32, averaged=bool(recipe.average))
        groups = [*grouped(self._head), *grouped(self._body)]
        return Optimiser(groups, [self._table], recipe, steps)

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[BatchPart]:
        """As `Task.parts`: texts of like length."""
        self._body.train()
        self._dropout.train()
        chosen = [rows[part] for part in _parts(self._texts.lengths[rows])]
        all_bags = [self._thinned(self._texts.bags(part), rng) for part in chosen]
        self._table.open(torch.cat([bags.ids for bags in all_bags]))
        return [
            BatchPart(len(part) / len(rows), partial(self._loss_of, bags, part))
            for part, bags in zip(chosen, all_bags, strict=True)
        ]

    def score(self) -> float:
        """As `Task.score`: weighted F1 of held rows."""
        return self._lesson.score(self._logits_of(self._held))

    def logits(self, texts: Sequence[str]) -> Floats:
        """As `Scorer.logits`."""
        return self._logits_of(self._reader(texts))

    def _logits_of(self, texts: Texts) -> Floats:
        self._body.eval()
        self._dropout.eval()
        out = np.empty((len(texts.lengths), self._lesson.classes), dtype=np.float32)

        def some(rows: Codes) -> tuple[Codes, Floats]:
            with torch.inference_mode():
                bags = texts.bags(rows)
                vectors = _sums(bags.ids, self._table.weight, bags)
                logits: torch.Tensor = self._head(self._body(vectors, bags))
                return rows, logits.numpy()

        with one_thread_each():
            for rows, logits in map_ahead(some, _parts(texts.lengths), self._workers):
                out[rows] = logits
        return out

    def _thinned(self, bags: Bags, rng: np.random.Generator) -> Bags:
        share = self._design.hidden
        if not share:
            return bags
        kept = torch.from_numpy(rng.random(len(bags.ids), dtype=np.float32) >= share)
        return Bags(bags.ids, bags.weights * kept / (1 - share), bags.starts, bags.words)

    def _loss_of(self, bags: Bags, rows: Codes) -> torch.Tensor:
        vectors = _sums(self._table.places(bags.ids), self._table.rows, bags)
        logits = self._head(self._dropout(self._body(vectors, bags)))
        return self._loss(logits, self._labels[rows])


def learn_network(
    design: Design,
    lesson: BaselineTask,
    *,
    seed: int,
    epochs: int | None,
    checkpoint: Checkpoint | None,
    watch: Watch,
) -> tuple[TextNetwork, History]:
    """Train a network. epochs: None for what suits the number of rows."""
    network = TextNetwork(design, lesson, seed=seed)
    rows = len(lesson.texts)
    recipe = Recipe(
        epochs=epochs or planned_epochs(rows),
        batch_rows=int(np.clip(rows // STEPS, *BATCH_ROWS)),
        rate=design.rate,
        average=AVERAGE,
        patience=PATIENCE,
        seed=seed,
    )
    return network, fit(network, recipe, checkpoint=checkpoint, watch=watch)


def planned_epochs(rows: int) -> int:
    """Epochs of a training on so many rows, at most."""
    return int(np.clip(ROWS // max(1, rows), *EPOCHS))


def _parts(lengths: Codes) -> list[Codes]:
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + PART_ROWS] for start in range(0, len(order), PART_ROWS)]


def _sums(ids: torch.Tensor, rows: torch.Tensor, bags: Bags) -> torch.Tensor:
    return fn.embedding_bag(ids, rows, bags.starts, mode="sum", per_sample_weights=bags.weights)
