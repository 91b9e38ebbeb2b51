"""A small store with an audit made up by hand, for tests of what is done with one."""

from contextlib import closing
from itertools import cycle

import numpy as np

from vitrina import api
from vitrina.audit.results import Audit, AuditNeighbour, Suspect
from vitrina.types import Reason


def embedded(path, sample):
    """The sample's labelled products, embedded without a model."""
    store = api.Store.open(path, create=True)
    with closing(api.Catalogue.read(sample.train, images=sample.images)) as catalogue:
        api.embed(catalogue, store, text="lexical", image="thumbnail", max_failures=0.5)
    return store


def undecided(path):
    """A store that several tests share, without the decisions of the one before."""
    store = api.Store.open(path)
    for name in store.files.names("decisions"):
        store.files.delete(name)
    return store


def audited(store, count=12, card=None):
    """Call every other product a suspect, in some order, with all kinds of reasons."""
    labels = store.products.categories()
    ids = store.products.ids.to_pylist()
    kinds = cycle(Reason)
    rows = np.flatnonzero(labels.codes >= 0)[: 2 * count : 2]
    suspects = []
    for rank, row in enumerate(rows.tolist(), 1):
        given = int(labels.codes[row])
        near = [(row + step) % len(ids) for step in (1, 2, 3, 4)]
        suspects.append(
            Suspect(
                rank=rank,
                product_id=ids[row],
                title=store.products.titles([ids[row]])[0]["title"],
                given=labels.ids[given],
                suggested=labels.ids[(given + 1) % len(labels.ids)],
                score=1 - rank / (2 * count),
                given_probability=0.01 * rank,
                suggested_probability=1 - 0.02 * rank,
                reasons=(next(kinds), next(kinds)),
                evidence={"model": 0.9, "neighbours": 0.5},
                text_category=labels.ids[(given + 1) % len(labels.ids)],
                image_category=labels.ids[given],
                neighbours=tuple(
                    AuditNeighbour(ids[at], labels.ids[int(labels.codes[at])], 0.9 - 0.1 * number)
                    for number, at in enumerate(near)
                ),
                copies=(
                    AuditNeighbour(ids[near[0]], labels.ids[int(labels.codes[near[0]])], 0.99),
                ),
                batch=1 + rank // 3,
            )
        )
    names = dict(zip(labels.ids, labels.names, strict=True))
    told = {"key": "made-up", "products": len(ids), "labelled": len(rows), **(card or {})}
    with store.writer("audit") as writer:
        Audit(told, names, tuple(suspects)).keep(store, writer)
    return store
