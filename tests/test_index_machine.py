"""Any sequence of changes, updates, compactions and searches, against exact search over a
dictionary."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from support.shelf import Shelf, exhaustive
from vitrina import api
from vitrina.pipelines.index import job
from vitrina.pipelines.index.index_state import Staleness

PRODUCTS = 24
FEWEST = 12
DELTA_ROWS = 3
titles = st.sampled_from(["", *(f"t{at}" for at in range(15))])
"""Few, so that many products have the same; one in sixteen has none."""
more = st.sampled_from(["update", "search"])
"""What is done after a change."""
changes = st.dictionaries(st.integers(0, 40), st.none() | titles, min_size=1, max_size=6)


class Machine(RuleBasedStateMachine):
    """`shelf.titles` is what the store holds, `indexed` what its index was last built from."""

    @initialize(factory=st.sampled_from(["Flat", "IVF4,Flat"]))
    def begin(self, factory):
        self.folder = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(job, "DELTA_ROWS", DELTA_ROWS)
        self.patch.setattr(job, "ROW_FILES", 3)
        first = {at: f"t{at % 15}" for at in range(PRODUCTS)}
        self.shelf = Shelf(Path(self.folder.name), self.patch, first)
        self.exact = factory == "Flat"
        self.shelf.check_update(self.shelf.index(factory=factory), "built")
        self.indexed = self.shelf.known()
        self.state = self.shelf.card()["state"]

    def teardown(self):
        self.patch.undo()
        self.folder.cleanup()

    @rule(changes=changes, more=more)
    def change(self, changes, more):
        self.put(changes, more)

    @rule(titles=st.lists(titles, min_size=1, max_size=4), more=more)
    def add(self, titles, more):
        free = [key for key in range(60) if key not in self.shelf.titles]
        self.put(dict(zip(free, titles, strict=False)), more)

    @rule(data=st.data(), more=more)
    def remove(self, data, more):
        there = st.sampled_from(sorted(self.shelf.titles))
        self.put(dict.fromkeys(data.draw(st.sets(there, max_size=5))), more)

    @rule(keep=st.sampled_from([1, 3]), more=more)
    def compact(self, keep, more):
        api.compact(self.shelf.store, keep=keep, rows=20)
        getattr(self, more)()

    def put(self, changes, more):
        """Change products, as long as some are left."""
        if sum(map(bool, (self.shelf.titles | changes).values())) >= FEWEST:
            self.shelf.put(changes)
            getattr(self, more)()

    @rule()
    def search(self):
        index = api.open_index(self.shelf.store)
        missing = self.missing()
        assert index.behind == (None if missing == Staleness(0, 0, 0) else missing)
        now = self.shelf.known()
        same = {key: title for key, title in self.indexed.items() if now.get(key) == title}
        self.shelf.check(exhaustive(index), same)

    @rule()
    def update(self):
        before, sequence = self.shelf.card(), self.shelf.store.manifest.sequence
        missing = self.missing()
        index = self.shelf.index()
        self.indexed = self.shelf.known()
        after = self.shelf.card()
        if after["state"] == before["state"]:
            assert self.shelf.store.manifest.sequence == sequence
            assert missing == Staleness(0, 0, 0)
            self.shelf.check(exhaustive(index))
            return
        assert self.shelf.store.manifest.sequence > sequence
        kind = self.kind(before, missing)
        if not self.exact and after["update"]["kind"] == "built":
            # Too few queries may be left to tell whether lists are still good.
            kind = "built"
        counts = {} if kind == "built" else vars(missing)
        self.shelf.check_update(index, kind, **counts)

    def missing(self):
        """What the index lacks of the store."""
        now, then = self.shelf.known(), self.indexed
        changed = sum(now[key] != then[key] for key in now.keys() & then.keys())
        return Staleness(len(now.keys() - then.keys()), changed, len(then.keys() - now.keys()))

    def kind(self, before, missing):
        """What the rules in docs/topics/search-index.md make of it."""
        fresh, gone = missing.added + missing.changed, missing.removed + missing.changed
        dead, live = before["dead"] + gone, before["rows"] + missing.added - missing.removed
        if dead > 0.2 * (live + dead) or live > 1.5 * before["trained_rows"]:
            return "built"
        if before["delta"] + fresh > DELTA_ROWS:
            return "folded"
        return "added" if fresh or gone else "checked"


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=4, stateful_step_count=15, deadline=None)


@pytest.mark.slow
class TestMachineForLong(Machine.TestCase):
    settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
