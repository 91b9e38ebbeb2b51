"""Small vectors, exact search in float64 to hold every index against, and a store to index."""

import hashlib
import json

import numpy as np
import pyarrow as pa
from catalogue_files import jsonl

from vitrina import api
from vitrina.embedder.base import EncoderCard
from vitrina.index.build import Goal, build
from vitrina.index.entries import Entries
from vitrina.index.results import Effort
from vitrina.pipelines.embed import encoder_choice
from vitrina.store.rows import Rows
from vitrina.store.store import Store
from vitrina.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE

CELL = np.array(
    [*np.eye(4), *-np.eye(4), *(np.indices((2,) * 4).reshape(4, -1).T - 0.5)], dtype=np.float32
)
"""24 unit vectors whose inner products are 0, 1/2 and 1, or less: exact in any order of summing,
so that ties are ties to the last bit."""


# -- vectors --------------------------------------------------------------------------------------


def units(rows, dim, seed=0):
    """Unit vectors that point anywhere: (rows, dim) float32."""
    raw = np.random.default_rng(seed).standard_normal((rows, dim))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows, dim, seed=0, spread=0.6):
    """Unit vectors in clusters of about twenty: (rows, dim) float32."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(dim).standard_normal((150, dim))
    raw = centres[rng.integers(0, 150, rows)] + spread * rng.standard_normal((rows, dim))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def rows_of(*vectors, present=None):
    """Rows of one modality, or of two; `present` is a mask for each."""
    present = present or [np.ones(len(matrix), dtype=bool) for matrix in vectors]
    return Rows.of_arrays((TEXT, IMAGE)[: len(vectors)], vectors, present)


def entries_of(ids, modalities=(TEXT,)):
    """What an index keeps of products that lie in one shard, one after another."""
    ids = pa.array(ids)
    contents = np.arange(2 * len(ids), dtype=np.uint64).view("V16")
    place = (np.zeros(len(ids), dtype=np.int32), np.arange(len(ids), dtype=np.int32))
    return Entries(ids, contents, dict.fromkeys(modalities, place))


def built(rows, factory=None, *, ids=None, weights=None, recall=0.99, seed=0):
    """An index in memory."""
    ids = range(len(rows)) if ids is None else ids
    return build(
        rows,
        entries_of(ids, rows.modalities),
        Goal(recall=recall, factory=factory),
        weights=weights or (1.0,) * len(rows.modalities),
        seed=seed,
    )


def flat(vectors, ids=None):
    """An exact index of one matrix, in its order."""
    return built(rows_of(vectors), "Flat", ids=ids).index


# -- the truth ------------------------------------------------------------------------------------


def fused(vectors, present=None, weights=None):
    """What `fuse` gives, in float64."""
    weights = weights or (1.0,) * len(vectors)
    present = present or [np.ones(len(matrix), dtype=bool) for matrix in vectors]
    parts = [
        np.where(mask[:, None], matrix.astype(np.float64), 0) * np.sqrt(weight / sum(weights))
        for matrix, mask, weight in zip(vectors, present, weights, strict=True)
    ]
    whole = np.hstack(parts)
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    return whole / np.where(lengths > 0, lengths, 1)


def nearest(base, queries, k, *, barred=None, at=None):
    """Positions and scores, (q, k) each, by score and then by position; -1 and 0 for none.

    base: (n, dim). barred: (q, n) bool. at: the rows to look at, all by default.
    """
    # Rounded, since numpy's own product of matrices gives equal rows unequal scores.
    scores = np.round(queries.astype(np.float64) @ base.T.astype(np.float64), 9)
    positions, values = np.full((len(queries), k), -1), np.zeros((len(queries), k))
    at = np.arange(len(base)) if at is None else at
    for row, own in enumerate(scores):
        free = at if barred is None else at[~barred[row, at]]
        order = free[np.lexsort((free, -own[free]))][:k]
        positions[row, : len(order)], values[row, : len(order)] = order, own[order]
    return positions, values


def check_found(found, base, queries, k, **limits):
    """That a search found what `nearest` does: the same rows with the same scores.

    Two rows whose scores are less than 1e-6 apart and are no duplicates may have changed places.
    """
    expected, values = nearest(base, queries, k, **limits)
    np.testing.assert_allclose(found.scores, values, atol=1e-5)
    for row, at in np.argwhere(found.positions != expected):
        pair = found.positions[row, at], expected[row, at]
        assert min(pair) >= 0, (row, at, pair)
        ours, theirs = base[list(pair)]
        assert abs(queries[row].astype(np.float64) @ (ours - theirs)) < 1e-6, (row, at, pair)
        assert np.abs(ours - theirs).max() > 1e-9, (row, at, pair)


def recall_of(found, base, queries, **limits):
    """The share of the true ten nearest among the first ten found, ties counted, query by query."""
    _, values = nearest(base, queries, 10, **limits)
    there = found.positions[:, :10] >= 0
    return (there & (found.scores[:, :10] >= values[:, 9:] - 1e-5)).mean(axis=1)


# -- a store --------------------------------------------------------------------------------------


class Words:
    """A text encoder whose vectors hang on nothing but the text; of "zero" it knows nothing."""

    def __init__(self, dim=16):
        self.dim = dim
        self.card = EncoderCard(TEXT, "hf:team/words", None, "a1" * 32, dim, {})

    def encode(self, texts):
        return np.array([self.vector(text) for text in texts], np.float32).reshape(-1, self.dim)

    def vector(self, text):
        if text == "zero":
            return np.zeros(self.dim, dtype=np.float32)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return units(1, self.dim, int.from_bytes(digest, "big"))[0]


class Shelf:
    """A store of products that have a title each, and what is in it.

    titles: product id to title; "" for none.
    """

    def __init__(self, folder, patch, titles=None, dim=16):
        self.words = Words(dim)
        patch.setattr(encoder_choice, "load_model", lambda *_, **__: self.words)
        # Syncing makes it slow, and no test can see whether it was done.
        patch.setattr("os.fsync", lambda _: None)
        self.folder, self.path = folder, folder / "shelf"
        self.titles = dict(titles or {})
        if titles:
            self.embed()

    def put(self, changes):
        """Change the titles of some products, by id, None to remove one, and embed."""
        changed = {**self.titles, **changes}
        self.titles = {key: title for key, title in changed.items() if title is not None}
        self.embed()

    def embed(self):
        """Bring the store up to date with `titles`."""
        rows = [{"product_id": key, "title": title} for key, title in self.titles.items()]
        catalogue = api.Catalogue.read(jsonl(self.folder / "goods.jsonl", *rows))
        api.embed(
            catalogue,
            self.store,
            text=self.words.card.model,
            image="none",
            prune=True,
            accept_changes=True,
        )

    @property
    def store(self):
        """The store, opened anew."""
        return Store.open(self.path)

    def index(self, **options):
        """Build the index or bring it up to date, and open it."""
        return api.build_index(self.store, **options)

    def known(self, titles=None):
        """The products that have a vector, by id, with their titles."""
        titles = self.titles if titles is None else titles
        return {key: title for key, title in titles.items() if title not in ("", "zero")}

    def vectors(self, titles):
        """(n, dim) float64, as the store keeps them and an index reads them."""
        kept = self.words.encode(titles).astype(np.float16).astype(np.float64)
        return kept / np.linalg.norm(kept, axis=1, keepdims=True)

    def check(self, vectors, expected=None, k=5):
        """That an index holds exactly these products (all, by default) and finds them as exact
        search does."""
        expected = self.known() if expected is None else expected
        live = np.flatnonzero(~vectors.dead)
        ids = vectors.product_ids.to_pylist()
        assert sorted(ids[at] for at in live) == sorted(expected)
        base = np.zeros((len(ids), vectors.dim))
        base[live] = self.vectors([expected[ids[at]] for at in live])
        queries = np.vstack([base[live], units(3, vectors.dim)]).astype(np.float32)
        check_found(vectors.search(queries, k), base, queries, k, at=live)
        own = np.zeros((len(queries), len(ids)), dtype=bool)
        own[np.arange(len(live)), live] = True
        without = vectors.search(queries, k, exclude=[*(ids[at] for at in live), None, None, None])
        check_found(without, base, queries, k, at=live, barred=own)

    def files(self):
        """The live index's files by their names, with the paths that the commit names."""
        entry = self.store.manifest.indexes["text"]
        return {file.path.rpartition("/")[2]: file.path for file in entry.files}

    def card(self):
        """The live `index.json`, the seconds left out."""
        told = json.loads((self.path / self.files()["index.json"]).read_text())
        assert told["update"].pop("seconds") >= 0
        return told

    def check_update(self, index, kind, *, added=0, changed=0, removed=0):
        """What an update says of itself, that it finds all there is, that the store is whole."""
        told = self.card()
        counts = {"added": added, "changed": changed, "removed": removed}
        assert told["update"] == {"kind": kind, **counts}
        assert {**index.card, "update": told["update"]} == told
        base, known = len(index.vectors.engine), len(self.known())
        assert (told["rows"], told["base"]) == (known, base)
        assert told["delta"] == len(index.vectors.dead) - base
        assert told["dead"] == index.vectors.dead.sum()
        assert told["left_out"] == len(self.titles) - known
        assert told["shards"] == {"text": self.store.space(TEXT).shards}
        live = self.store.manifest.indexes["text"].files
        sizes = [file.bytes for file in live if not file.path.endswith("index.json")]
        assert told["bytes"] == sum(sizes)
        assert index.behind is None
        self.check(exhaustive(index))
        self.check(exhaustive(api.open_index(self.store)))
        assert api.verify(self.path).problems == []


def exhaustive(index):
    """A store's index at full effort."""
    vectors = index.vectors
    return vectors.with_effort(Effort(vectors.engine.most_effort, len(vectors.dead)))
