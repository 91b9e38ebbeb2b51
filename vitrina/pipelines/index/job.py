"""The indexing job: find the changes, then update the index or build a new one."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vitrina.errors import StoreError
from vitrina.index.build import Built, blocks, build
from vitrina.index.card import Goal, IndexCard
from vitrina.index.choose import plans
from vitrina.index.entries import Change, Entries
from vitrina.index.fuse import Fusion
from vitrina.index.recall_probe import Probe, Recall
from vitrina.index.search import VectorIndex
from vitrina.index.storage import INDEX_FILE, ROWS_FILE, WHITENING_FILE, Folder, write_parts
from vitrina.index.tune import measure, tune
from vitrina.limits import total_memory
from vitrina.pipelines.common.encoders import is_searched_by_text
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.common.vectors import default_features
from vitrina.pipelines.index.index_state import (
    card_of,
    changes,
    current_entries,
    fingerprints_of,
    folder_of,
    fusion_of,
    state_of,
)
from vitrina.pipelines.index.options import CHOOSE, IndexOptions
from vitrina.store import layout
from vitrina.store.entries import FileEntry, FolderEntry
from vitrina.store.rows import Rows
from vitrina.store.space import Space
from vitrina.store.store import OpenStore
from vitrina.store.writer import Writer
from vitrina.types import Features, Mask

log = logging.getLogger(__name__)

DELTA_ROWS = 1024
DELTA_SHARE = 256
"""A delta of more than `DELTA_ROWS` rows, and than 1 / `DELTA_SHARE` of the base, is merged."""
DEAD_SHARE = 0.2
GROWN = 1.5
"""An index is rebuilt above this share of dead rows, or this factor of growth."""
ROW_FILES = 16
FEWEST_QUERIES = 100


def build_index(store: OpenStore, options: IndexOptions) -> Features:
    """Update or build the index of some features, and make it live.

    Returns the features. Raises StoreError if a space is missing, nothing fits the memory, or
    FAISS refuses the factory string, and StoreLockedError if another process writes.
    """
    with timed_job("indexing", options.quiet), store.writer("index") as writer:
        features = options.features or default_features(store)
        spaces = store.spaces(features)
        started = time.perf_counter()
        before = _Old.of(store, features, damaged_too=options.rebuild)
        goal = _goal(options, before)
        if before and before.card.fingerprints != fingerprints_of(spaces):
            before = None
        old = None if options.rebuild else before
        state = state_of(store, spaces)
        if old and old.goal == goal and old.card.state == state:
            log.info("the %s index is up to date: %d vectors", features, old.card.rows)
            return features
        now, there = current_entries(store, spaces)
        job = _Job(store, writer, features, spaces, state, now, there, started)
        if old is None or old.goal != goal or not job.update(old):
            job.rebuild(goal, options, before)
    return features


def _goal(options: IndexOptions, old: _Old | None) -> Goal:
    before = old.goal if old else Goal(memory=total_memory() // 4)
    given = {
        name: value
        for name in ("recall", "memory", "factory")
        if (value := getattr(options, name)) is not None
    }
    goal = replace(before, **given)
    return replace(goal, factory=None) if goal.factory == CHOOSE else goal


@dataclass(frozen=True)
class _Old:
    """The existing index."""

    folder: Folder
    card: IndexCard
    goal: Goal
    files: FolderEntry

    @classmethod
    def of(cls, store: OpenStore, features: Features, *, damaged_too: bool) -> _Old | None:
        """Open the index; None if there is none. damaged_too: None for a damaged one as well."""
        if features not in store.manifest.indexes:
            return None
        try:
            folder = folder_of(store, features)
            card = card_of(folder, features)
        except StoreError:
            if damaged_too:
                return None
            raise
        return cls(folder, card, card.goal, store.manifest.indexes[features])


@dataclass(frozen=True)
class _Job:
    store: OpenStore
    writer: Writer
    features: Features
    spaces: tuple[Space, ...]
    state: str
    now: Entries
    there: Mask
    started: float

    def rebuild(self, goal: Goal, options: IndexOptions, old: _Old | None) -> None:
        """Build and commit a new index."""
        entries = self.now.take(np.flatnonzero(self.there))
        rows = self._map(entries)
        # An index of an earlier version keeps its scores until a rebuild is asked for.
        older = old is not None and old.card.whitened is None and not options.rebuild
        plain = older or all(map(is_searched_by_text, self.spaces))
        title = f"indexing {self.features} vectors"
        with Meter(title, len(rows), unit="vectors", quiet=options.quiet) as meter:
            try:
                built = build(
                    rows,
                    entries,
                    goal,
                    fusion=Fusion.plain((1.0,) * len(self.spaces)) if plain else Fusion.fit(rows),
                    seed=options.seed,
                    progress=meter.advance,
                )
            except ValueError as err:
                if goal.factory is None:
                    raise
                raise StoreError(f"{err}; --factory {CHOOSE} leaves the choice to Vitrina") from err
        index = built.index
        log.info(
            "%s index: chose %s for %d vectors, recall@%d %.4f",
            self.features,
            index.engine.factory,
            len(index),
            built.recall.at,
            built.recall.value,
        )
        card = self._card(built, goal, options.seed)
        card["update"] = self._update_entry("built", Change.none())
        if not older:
            card["whitened"] = [modality.value for modality in index.rows.whitened]
        # The voting rule depends on the scores, not on the kind of index.
        if old and "vote" in old.card.told:
            if index.rows.whitened == (old.card.whitened or ()):
                card["vote"] = old.card.told["vote"]
            else:
                log.info(
                    "%s index: its scores are others now; choose the vote's rule again with "
                    "`vitrina index --evaluate`",
                    self.features,
                )
        self._publish(index, card, built.probe, (ROWS_FILE.format(0), built.entries), [])

    def update(self, old: _Old) -> bool:
        """Update an index in time proportional to the change; False if a rebuild is better."""
        entries, dead = old.folder.entries(old.card)
        entries = entries.with_ids_as(self.now.ids.type)
        change = changes(entries, dead, self.now, self.there, self.spaces)
        more, base = self.now.take(change.fresh), old.card.base
        count = len(entries) + len(more)
        dead = np.concatenate([dead, np.zeros(len(more), dtype=bool)])
        dead[change.gone] = True
        if not self._worth_updating(old, int((~dead).sum()), int(dead.sum())):
            return False
        moved = self._moved(old) or len(old.folder.row_files) >= ROW_FILES
        if moved:
            entries = entries.moved(change.kept, self.now, change.at)
        first = len(entries)
        fusion = fusion_of(old.folder, old.card, self.spaces)
        more = replace(more, lengths=fusion.over(self._map(more)).lengths_of)
        entries = entries.followed_by(more)
        delta = count - base
        folded = delta > max(DELTA_ROWS, base // DELTA_SHARE)
        # The vectors of a dead row may have been deleted.
        rows = self._map(entries, ~dead, old.folder.damaged)
        index = VectorIndex(
            old.folder.engine(old.card, mapped=not folded),
            fusion.over(rows, entries.lengths),
            entries.ids,
            dead,
            old.card.parameters.effort,
            old.card.told,
            old.folder.where,
        )
        if folded:
            index.engine.extend(blocks(index.rows, np.arange(base, count)))
        probe = old.folder.probe(index.dim, first)
        if probe is not None:
            added = np.arange(first, count)
            probe = probe.without_rows(dead).with_rows(index.rows, added)
        card = dict(old.card.told)
        if probe is not None:
            judged = self._tuned(index, probe, old.goal)
            if judged is None:
                return False
            index, recall, rate = judged
            card["recall"], card["queries_per_second"] = recall.to_json(), round(rate)
        card["parameters"] = index.effort.to_json(index.engine.kind)
        kind = "folded" if folded else "added" if len(more) or len(change.gone) else "checked"
        log.info(
            "%s index: updated in place, %d added, %d changed, %d removed",
            self.features,
            change.added,
            change.changed,
            change.removed,
        )
        card["update"] = self._update_entry(kind, change)
        names = [] if moved else list(old.folder.row_files)
        new_rows = None
        if moved:
            new_rows = (ROWS_FILE.format(0), entries)
        elif len(more):
            new_rows = (ROWS_FILE.format(len(names)), more)
        names += [WHITENING_FILE] if folded else [INDEX_FILE, WHITENING_FILE]
        kept = [file for file in old.files.files if file.name in names]
        self._publish(index, card, probe, new_rows, kept, fold=folded)
        return True

    def _worth_updating(self, old: _Old, live: int, dead: int) -> bool:
        trained = old.card.trained_rows
        if not live or dead > DEAD_SHARE * (live + dead) or live > GROWN * max(trained, 1):
            return False
        if old.goal.factory is not None:
            return True
        goal = old.goal
        suited = plans(live, old.card.dim, memory=goal.memory, recall=goal.recall)
        return old.card.kind in {plan.kind for plan in suited}

    def _tuned(
        self, index: VectorIndex, probe: Probe, goal: Goal
    ) -> tuple[VectorIndex, Recall, float] | None:
        """The index with the effort that its target recall now needs, its recall, and the queries
        per second; None if no effort suffices."""
        if len(probe.half(tuning=False)) < min(FEWEST_QUERIES, len(probe) // 4):
            return None
        recall, rate = measure(index, probe)
        if recall.value < goal.recall:
            index = index.with_effort(tune(index, probe, goal.recall))
            recall, rate = measure(index, probe)
        return (index, recall, rate) if recall.high >= goal.recall else None

    def _moved(self, old: _Old) -> bool:
        """True if shards of the index's rows were rewritten since."""
        then = old.card.shards
        return any(
            space.shards[: len(then[space.modality])] != [*then[space.modality]]
            for space in self.spaces
        )

    def _map(
        self, entries: Entries, live: Mask | None = None, damaged: str = "the places of rows"
    ) -> Rows:
        places = []
        for space in self.spaces:
            shards, rows = entries.places[space.modality]
            places.append((shards if live is None else np.where(live, shards, -1), rows))
        return Rows.mapped(self.spaces, places, damaged)

    def _card(self, built: Built, goal: Goal, seed: int) -> dict[str, Any]:
        index = built.index
        return {
            "features": self.features.value,
            "kind": index.engine.kind.value,
            "factory": index.engine.factory,
            "parameters": index.effort.to_json(index.engine.kind),
            "metric": "inner product",
            "dim": index.dim,
            "goal": goal.to_json(),
            "seed": seed,
            "trained_rows": len(index),
            # A list, because the keys below are sorted and the vectors' order is text first.
            "modalities": [modality.value for modality in index.modalities],
            "weights": dict(zip(index.modalities, index.fusion.weights, strict=True)),
            "spaces": {space.modality.value: space.name for space in self.spaces},
            "fingerprints": fingerprints_of(self.spaces),
            "recall": built.recall.to_json(),
            "queries_per_second": round(built.queries_per_second),
            "build_seconds": round(time.perf_counter() - self.started, 3),
            "tried": list(built.tried),
        }

    def _update_entry(self, kind: str, change: Change) -> dict[str, Any]:
        return {
            "kind": kind,
            "added": change.added,
            "changed": change.changed,
            "removed": change.removed,
            "seconds": round(time.perf_counter() - self.started, 3),
        }

    def _publish(
        self,
        index: VectorIndex,
        card: dict[str, Any],
        probe: Probe | None,
        rows: tuple[str, Entries] | None,
        kept: list[FileEntry],
        *,
        fold: bool = True,
    ) -> None:
        base = len(index.engine)
        card |= {
            "rows": len(index),
            "base": base,
            "delta": len(index.dead) - base,
            "dead": int(index.dead.sum()),
            "left_out": int(len(self.now) - len(index)),
            "shards": {space.modality.value: space.shards for space in self.spaces},
            "state": self.state,
        }
        folder = self.writer.scratch / "index"
        is_kept = any(file.name == WHITENING_FILE for file in kept)
        write_parts(
            folder,
            card=card,
            dead=index.dead,
            probe=probe,
            rows=rows,
            engine=index.engine if fold else None,
            whitenings={} if is_kept else index.rows.whitenings,
            others=sum(entry.bytes for entry in kept),
        )
        entry = self.writer.publish_folder(
            folder, lambda digest: layout.index(self.features, digest), kept
        )
        self.writer.commit(self.store.manifest.with_index(self.features, entry))
