"""How good an index's vote is: every labelled product asks its neighbours, itself left out.

What comes out chooses the rule by which the index lets neighbours vote from then on. Duplicates
of the asked product are left out too, as in a grouped split: a new product has none yet, and a
vote of copies would look surer than it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vitrina.classifier.metrics import Metrics
from vitrina.index.card import CARD_FILE
from vitrina.index.exact import Barred
from vitrina.index.results import SearchResult
from vitrina.index.vote import DEFAULT_RULE, VOTERS
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.index.vote_report import VoteEvaluation, format_evaluation
from vitrina.pipelines.index.vote_rules import evaluate_votes, measure_rule
from vitrina.store import layout
from vitrina.store.files import write_json
from vitrina.store.store import Store
from vitrina.store.writer import Writer
from vitrina.types import Codes, Features, Floats

NEIGHBOURS = max(VOTERS)
MOST_ASKED = 200_000
"""Of more labelled products a sample is asked, whose neighbours take 240 MB."""
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class IndexEvaluation:
    """What an index's vote reaches, leave-one-out.

    Attributes:
        features: of the index.
        labelled: products of the index that have a category.
        asked: those that were asked about: all, or a sample.
        duplicated: those of them with a duplicate among their 50 nearest.
        votes: with duplicates left out; its rule is what the index votes by from now on.
        with_duplicates, default_with_duplicates: what that rule and `DEFAULT_RULE` reach on the
            same rows where duplicates may vote.
        seconds: all in all.
    """

    features: Features
    labelled: int
    asked: int
    duplicated: int
    votes: VoteEvaluation
    with_duplicates: Metrics
    default_with_duplicates: Metrics
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
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
        """As the index's card keeps it."""
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
            f"{self.asked} of {self.labelled} labelled products were asked; {self.duplicated} have "
            f"duplicates (the same title or photo) among their {NEIGHBOURS} nearest",
            f"with the votes of duplicates, which are left out above: weighted F1 "
            f"{self.with_duplicates.weighted_f1:.4f}, default "
            f"{self.default_with_duplicates.weighted_f1:.4f}",
        ]


def evaluate_index(
    store: Store, features: Features | None = None, *, seed: int = 0, quiet: bool = True
) -> IndexEvaluation:
    """Measure an index's vote, choose the rule that serves best, and keep it in the index's card.

    features: None for the fused index, or the only one there is. seed: decides which rows the
    rule is chosen on, and which are asked where not all are.

    Raises StoreError if the index was not built, TrainingError where fewer than two of its
    products have a category, StoreLockedError if another process writes.
    """
    with store.writer("index") as writer:
        index = Index.open(store, features)
        evaluation = leave_one_out(index, seed=seed, quiet=quiet)
        _keep(index, writer, evaluation)
    return evaluation


def leave_one_out(index: Index, *, seed: int = 0, quiet: bool = True) -> IndexEvaluation:
    """Measure the vote of an index's neighbours, and find the rule that serves best."""
    started = time.perf_counter()
    labels, categories = index.labels, index.categories
    classes = len(categories.ids)
    labelled = np.flatnonzero(labels >= 0)
    counts = np.bincount(labels[labelled], minlength=classes)
    asked = labelled
    if len(asked) > MOST_ASKED:
        drawn = np.random.default_rng(seed).choice(len(asked), MOST_ASKED, replace=False)
        asked = asked[np.sort(drawn)]
    everybody, others, duplicated = _ask(index, asked, quiet)
    true = labels[asked]
    votes = evaluate_votes(
        true,
        others.labels,
        others.scores,
        classes,
        names=categories.names,
        ids=categories.ids,
        seed=seed,
        counts=counts,
    )
    chosen, default = (
        measure_rule(
            rule, true, everybody.labels, everybody.scores, classes, seed=seed, counts=counts
        )
        for rule in (votes.rule, DEFAULT_RULE)
    )
    return IndexEvaluation(
        features=Features(index.card["features"]),
        labelled=len(labelled),
        asked=len(asked),
        duplicated=duplicated,
        votes=votes,
        with_duplicates=chosen,
        default_with_duplicates=default,
        seconds=round(time.perf_counter() - started, 2),
    )


@dataclass(frozen=True, eq=False)
class _Heard:
    """labels, scores: (n, NEIGHBOURS) of the neighbours of each row, -1 and 0 for none."""

    labels: npt.NDArray[np.int64]
    scores: Floats

    @classmethod
    def nobody(cls, rows: int) -> _Heard:
        labels = np.full((rows, NEIGHBOURS), -1, dtype=np.int64)
        return cls(labels, np.zeros((rows, NEIGHBOURS), dtype=np.float32))

    def hear(self, at: Codes, found: SearchResult, labels: Codes) -> None:
        self.labels[at] = np.where(found.positions >= 0, labels[found.positions], -1)
        self.scores[at] = found.scores


def _ask(index: Index, asked: Codes, quiet: bool) -> tuple[_Heard, _Heard, int]:
    """What neighbours say to some rows of the index: all of them; those that are no duplicates;
    and how many rows had duplicates among them."""
    labels, duplicates = index.labels, index.duplicates
    everybody, others = _Heard.nobody(len(asked)), _Heard.nobody(len(asked))
    duplicated = 0
    with Meter("asking neighbours", len(asked), quiet=quiet) as meter:
        for start in range(0, len(asked), BLOCK_ROWS):
            block = asked[start : start + BLOCK_ROWS]
            here = np.arange(start, start + len(block))
            found = index.of_products(block, NEIGHBOURS)
            everybody.hear(here, found, labels)
            others.hear(here, found, labels)
            # Where no duplicate was found, a search without duplicates finds the same again.
            barred = Barred(duplicates, [codes[block] for codes in duplicates])
            some = np.flatnonzero(barred.candidates(found.positions).any(axis=1))
            if len(some):
                rows = block[some]
                vectors = index.vectors.read(rows)
                found = index.vectors.search_rows(
                    vectors, NEIGHBOURS, own=rows, barred=barred.of(some)
                )
                others.hear(here[some], found, labels)
            duplicated += len(some)
            meter.advance(len(block))
    return everybody, others, duplicated


def _keep(index: Index, writer: Writer, evaluation: IndexEvaluation) -> None:
    """Commit the index with another card; all its other files stay where they are."""
    store, name = index.store, evaluation.features
    folder = writer.scratch / "index"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CARD_FILE, {**index.card, "vote": evaluation.to_card()})
    kept = [file for file in store.manifest.indexes[name].files if file.name != CARD_FILE]
    new = writer.publish_folder(folder, lambda digest: layout.index(name, digest), kept)
    writer.commit(store.manifest.with_index(name, new))
