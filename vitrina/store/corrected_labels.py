"""Labels of a catalogue with reviewers' decisions applied."""

from __future__ import annotations

import numpy as np

from vitrina.ids import id_keys
from vitrina.store.decisions import Decisions
from vitrina.store.products import Categories, Products


def corrected(labels: Categories, products: Products, decisions: Decisions) -> Categories:
    """Labels with the decisions applied.

    A decision is about the label that was shown. If the catalogue's label has changed since, the
    decision is not applied.
    """
    settled = [*decisions.settled.values()]
    at = products.table.positions(id_keys([one.product_id for one in settled]))
    code_of = {key: code for code, key in enumerate(labels.ids)}
    wanted = [
        (row, one.category)
        for row, one in zip(at.tolist(), settled, strict=True)
        if row >= 0
        and one.category != one.given
        and labels.codes[row] == code_of.get(one.given, -1)
    ]
    # A category may have lost its last product since it was chosen.
    lost = {one for _, one in wanted} - code_of.keys()
    ids = tuple(sorted({*labels.ids, *lost}))
    names = dict(zip(labels.ids, labels.names, strict=True))
    place = {key: code for code, key in enumerate(ids)}
    moved = np.array([*(place[key] for key in labels.ids), -1], dtype=np.int64)[labels.codes]
    for row, category in wanted:
        moved[row] = place[category]
    return Categories(ids, moved, tuple(names.get(key, "") for key in ids))
