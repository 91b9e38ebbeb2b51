"""A store of products with a title each, whose index is checked against exact search."""

import hashlib
import json

import numpy as np

from support.catalogue_files import jsonl
from support.vectors import TEXT, check_found, units
from vitrina import api
from vitrina.embedder.base import EncoderCard
from vitrina.index.results import Effort
from vitrina.pipelines.embed import encoder_choice
from vitrina.store.store import OpenStore


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
        return OpenStore.open(self.path, create=True)

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
