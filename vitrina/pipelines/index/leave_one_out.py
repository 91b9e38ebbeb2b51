"""Leave-one-out evaluation of an index's vote, over its labelled products.

It chooses the voting rule that the index uses from then on. Duplicates of a query are left out as
well, as in a grouped split: a new product has none yet, and votes of copies would make the
confidence too high.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import Metrics, metrics_table
from vitrina.index.card import CARD_FILE
from vitrina.index.exact import ExcludedRows
from vitrina.index.results import SearchResult
from vitrina.index.vote import DEFAULT_RULE, VOTERS
from vitrina.page.summary import Summarised, Summary, counted
from vitrina.page.words import duration
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.index.vote_report import VoteEvaluation, format_evaluation, rule_line
from vitrina.pipelines.index.vote_rules import evaluate_votes, measure_rule
from vitrina.plots import coverage_plot
from vitrina.store import layout
from vitrina.store.files import write_json
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Codes, Features, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

NEIGHBOURS = max(VOTERS)
MOST_QUERIES = 200_000
"""Queries at most: more labelled products are sampled. Their neighbours take 240 MB."""
BLOCK_ROWS = 4096


@dataclass(frozen=True, repr=False)
class IndexEvaluation(Summarised):
    """Result of the leave-one-out evaluation of an index's vote.

    Attributes:
        features: of the index.
        labelled: products of the index that have a category.
        asked: queries: all of them, or a sample.
        duplicated: queries with a duplicate among their 50 nearest.
        votes: with duplicates left out; its rule becomes the rule of the index.
        with_duplicates, default_with_duplicates: metrics of that rule and of `DEFAULT_RULE` on the
            same rows where duplicates may vote.
        seconds: in total.
    """

    features: Features
    labelled: int
    asked: int
    duplicated: int
    votes: VoteEvaluation
    with_duplicates: Metrics
    default_with_duplicates: Metrics
    seconds: float

    def summary(self) -> Summary:
        """The chosen rule, with its metrics beside the default rule's."""
        votes = self.votes
        table = metrics_table(
            (
                (rule_line(votes.rule), votes.metrics),
                ("the default rule", votes.default_metrics),
                ("with the votes of duplicates", self.with_duplicates),
            )
        )
        facts = [
            ("queries", f"{self.asked:,} of {counted(self.labelled, 'labelled product')}"),
            ("with duplicates nearby", f"{self.duplicated:,}"),
            ("time", duration(self.seconds)),
        ]
        return Summary(f"Vote of the index {self.features}", facts, table)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as `--json` prints it."""
        return {
            "features": self.features.value,
            "labelled": self.labelled,
            "asked": self.asked,
            "duplicated": self.duplicated,
            "seconds": self.seconds,
            **self.votes.to_json(),
            "with_duplicates": self.with_duplicates.to_json(),
            "default_with_duplicates": self.default_with_duplicates.to_json(),
        }

    def to_card(self) -> dict[str, Any]:
        """JSON-compatible dict for the index's card."""
        metrics = self.votes.metrics
        return {
            "rule": self.votes.rule.to_json(),
            "weighted_f1": metrics.weighted_f1,
            "macro_f1": metrics.macro_f1,
            "coverage_at_95": metrics.coverage_at_95,
            "rows": metrics.rows,
        }

    def lines(self) -> list[str]:
        """The evaluation for a terminal."""
        return [
            *format_evaluation(self.votes),
            "",
            f"{self.asked} of {self.labelled} labelled products were queries; {self.duplicated} "
            f"have duplicates (the same title or photo) among their {NEIGHBOURS} nearest",
            f"with the votes of duplicates, which are excluded above: weighted F1 "
            f"{self.with_duplicates.weighted_f1:.4f}, default "
            f"{self.default_with_duplicates.weighted_f1:.4f}",
        ]

    def plot_coverage(self, ax: Axes | None = None) -> Axes:
        """Draw the precision of accepted votes against their share.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; default: those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        VitrinaError
            If matplotlib is not installed; `pip install 'vitrina[plots]'` installs it.
        """
        votes = self.votes
        points = sorted(
            (one.coverage, one.precision) for one in votes.curve if 0 < one.coverage < 1
        )
        return coverage_plot(
            [*points, (1.0, votes.metrics.accuracy)],
            None,
            {},
            ax,
            title=f"Vote of neighbours, {votes.metrics.rows:,} products",
            curve=f"{self.features} index, {votes.rule.k} nearest",
        )


def evaluate_index(
    store: OpenStore, features: Features | None = None, *, seed: int = 0, quiet: bool | None = None
) -> IndexEvaluation:
    """Evaluate an index's vote, choose the best rule, and save it in the index's card.

    features: None for the fused index, or the only one there is. seed: random seed of the rows that
    the rule is chosen on, and of the sample of queries.

    Raises StoreError if the index was not built, TrainingError if fewer than two of its products
    have a category, StoreLockedError if another process writes.
    """
    with timed_job("evaluating the index", quiet), store.writer("index") as writer:
        index = Index.open(store, features)
        evaluation = leave_one_out(index, seed=seed, quiet=quiet)
        _keep(index, writer, evaluation)
        log.info("%s index: the vote's rule is now %s", evaluation.features, evaluation.votes.rule)
    return evaluation


def leave_one_out(index: Index, *, seed: int = 0, quiet: bool | None = None) -> IndexEvaluation:
    """Evaluate the vote of an index's neighbours, and find the best rule."""
    started = time.perf_counter()
    labels, categories = index.labels, index.categories
    classes = len(categories.ids)
    labelled = np.flatnonzero(labels >= 0)
    counts = np.bincount(labels[labelled], minlength=classes)
    queries = labelled
    if len(queries) > MOST_QUERIES:
        chosen_rows = np.random.default_rng(seed).choice(len(queries), MOST_QUERIES, replace=False)
        queries = queries[np.sort(chosen_rows)]
    with_duplicates, without, duplicated = _search(index, queries, quiet)
    true = labels[queries]
    votes = evaluate_votes(
        true,
        without.labels,
        without.scores,
        classes,
        names=categories.names,
        ids=categories.ids,
        seed=seed,
        counts=counts,
    )
    chosen, default = (
        measure_rule(
            rule,
            true,
            with_duplicates.labels,
            with_duplicates.scores,
            classes,
            seed=seed,
            counts=counts,
        )
        for rule in (votes.rule, DEFAULT_RULE)
    )
    return IndexEvaluation(
        features=Features(index.card["features"]),
        labelled=len(labelled),
        asked=len(queries),
        duplicated=duplicated,
        votes=votes,
        with_duplicates=chosen,
        default_with_duplicates=default,
        seconds=round(time.perf_counter() - started, 2),
    )


@dataclass(frozen=True, eq=False)
class _QueryNeighbours:
    """Neighbours of n queries. labels, scores: (n, NEIGHBOURS) of each, -1 and 0 for none."""

    labels: npt.NDArray[np.int64]
    scores: Floats

    @classmethod
    def empty(cls, rows: int) -> _QueryNeighbours:
        labels = np.full((rows, NEIGHBOURS), -1, dtype=np.int64)
        return cls(labels, np.zeros((rows, NEIGHBOURS), dtype=np.float32))

    def put(self, at: Codes, found: SearchResult, labels: Codes) -> None:
        self.labels[at] = np.where(found.positions >= 0, labels[found.positions], -1)
        self.scores[at] = found.scores


def _search(
    index: Index, queries: Codes, quiet: bool | None
) -> tuple[_QueryNeighbours, _QueryNeighbours, int]:
    """Search the neighbours of some rows of the index.

    Returns all neighbours, those that are no duplicates, and the number of rows with duplicates.
    """
    labels, duplicates = index.labels, index.duplicates
    with_duplicates, without = (
        _QueryNeighbours.empty(len(queries)),
        _QueryNeighbours.empty(len(queries)),
    )
    duplicated = 0
    with Meter("finding neighbours", len(queries), quiet=quiet) as meter:
        for start in range(0, len(queries), BLOCK_ROWS):
            block = queries[start : start + BLOCK_ROWS]
            here = np.arange(start, start + len(block))
            found = index.of_products(block, NEIGHBOURS)
            with_duplicates.put(here, found, labels)
            without.put(here, found, labels)
            # Only rows with a duplicate among their neighbours are searched again.
            barred = ExcludedRows(duplicates, [codes[block] for codes in duplicates])
            some = np.flatnonzero(barred.candidates(found.positions).any(axis=1))
            if len(some):
                rows = block[some]
                vectors = index.vectors.read(rows)
                found = index.vectors.search_rows(
                    vectors, NEIGHBOURS, own=rows, barred=barred.of(some)
                )
                without.put(here[some], found, labels)
            duplicated += len(some)
            meter.advance(len(block))
    return with_duplicates, without, duplicated


def _keep(index: Index, writer: Writer, evaluation: IndexEvaluation) -> None:
    """Commit the index with another card; its other files stay unchanged."""
    store, name = index.store, evaluation.features
    folder = writer.scratch / "index"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CARD_FILE, {**index.card, "vote": evaluation.to_card()})
    kept = [file for file in store.manifest.indexes[name].files if file.name != CARD_FILE]
    new = writer.publish_folder(folder, lambda digest: layout.index(name, digest), kept)
    writer.commit(store.manifest.with_index(name, new))
