"""Explanations of suspects: reasons, neighbours, copies, and batches of look-alikes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vitrina.audit.outliers import FAR
from vitrina.audit.photo_hash import photo_hash, same_photo
from vitrina.audit.results import AuditNeighbour, Suspect
from vitrina.data.sources import ImageSource
from vitrina.errors import ImageError, ImageSourceError
from vitrina.parallel import map_ahead
from vitrina.pipelines.common.progress import Meter
from vitrina.store.store import OpenStore
from vitrina.types import CategoryId, Codes, Floats, Modality, Reason

if TYPE_CHECKING:
    from vitrina.pipelines.audit.search import AuditResult

SHOWN = 6
"""Neighbours and copies of a suspect to show, at most."""
LOOKALIKE_NEIGHBOURS = 5
"""Nearest neighbours of a suspect among which another suspect counts as a look-alike."""
BATCH = 60
"""Look-alikes in one batch, at most, to be decided together."""
LOOKS_SAME = 0.9
"""Cosine of two photos' vectors from which on their photo hashes are compared."""
DISAGREEMENT = 0.5
"""Probability that both modalities must reach for their disagreement to be a reason."""
EVIDENCE_BELOW = 0.05
"""Probability that a modality gives a label, at most, to be evidence against it."""


def explain(
    store: OpenStore,
    found: AuditResult,
    rows: Codes,
    images: ImageSource | None,
    quiet: bool | None,
) -> tuple[Suspect, ...]:
    """Describe suspects. rows: (m,) int64 positions in the product table, by rank."""
    predictor, predictions, labels = found.predictor, found.predictions, found.labels
    ids = store.products.ids
    near, scores = predictor.near.of(rows)
    who, other = predictor.copies.pairs(rows, near, scores)
    same = _same_photos(store, found, rows, near, images, quiet)
    copies = _copies(who, other, same, rows, near, scores)
    batches = _batches(found, rows, near, copies)
    titles = store.products.take(rows, ["title"]).column("title").to_pylist() if len(rows) else []
    out = []
    for at, row in enumerate(rows.tolist()):
        given = int(predictor.codes[row])
        suggested = int(predictions.pooled.other[row])
        beside = [
            (int(one), float(score))
            for one, score in zip(near[at], scores[at], strict=True)
            if one >= 0 and predictor.codes[one] >= 0
        ][:SHOWN]
        alone = {
            one: _likeliest(
                scores_of.given[row], scores_of.other[row], scores_of.beside[row], given
            )
            for one, scores_of in predictions.alone.items()
            if predictor.gathered.present[predictor.gathered.modalities.index(one)][row]
        }
        evidence = _evidence(found, row, copies[at])
        reasons = _reasons(found, row, evidence, alone)

        def described(pairs: list[tuple[int, float]]) -> tuple[AuditNeighbour, ...]:
            return tuple(
                AuditNeighbour(
                    ids[one].as_py(), _id(labels.ids, predictor.codes[one]), round(score, 4)
                )
                for one, score in pairs
            )

        out.append(
            Suspect(
                rank=at + 1,
                product_id=ids[row].as_py(),
                title=titles[at] or "",
                given=labels.ids[given],
                suggested=labels.ids[suggested],
                score=float(found.score[row]),
                given_probability=float(predictions.pooled.given[row]),
                suggested_probability=float(predictions.pooled.beside[row]),
                reasons=reasons,
                evidence={kind.value: round(value, 4) for kind, value in evidence.items()},
                text_category=_id(labels.ids, alone.get(Modality.TEXT, (-1, 0.0))[0]),
                image_category=_id(labels.ids, alone.get(Modality.IMAGE, (-1, 0.0))[0]),
                neighbours=described(beside),
                copies=described(copies[at][:SHOWN]),
                batch=int(batches[at]),
            )
        )
    return tuple(out)


def _id(ids: tuple[CategoryId, ...], code: int) -> CategoryId | None:
    return ids[code] if code >= 0 else None


def _likeliest(given: float, other: int, beside: float, label: int) -> tuple[int, float]:
    """The likeliest category, and its probability."""
    return (int(other), float(beside)) if beside > given else (label, float(given))


def _evidence(found: AuditResult, row: int, copies: list[tuple[int, float]]) -> dict[Reason, float]:
    """Evidence against the label by each kind, from 0 to 1."""
    predictions, codes = found.predictions, found.predictor.codes
    out = {
        Reason.MODEL: 1 - float(predictions.model.given[row]),
        Reason.NEIGHBOURS: 1 - float(predictions.near.given[row]),
    }
    labelled = [codes[one] for one, _ in copies if codes[one] >= 0]
    if labelled:
        out[Reason.COPIES] = float(np.mean([code != codes[row] for code in labelled]))
    for modality, kind in ((Modality.TEXT, Reason.TEXT), (Modality.IMAGE, Reason.PHOTO)):
        scores_of = predictions.alone.get(modality)
        if scores_of is not None and scores_of.given[row] + scores_of.beside[row] > 0:
            out[kind] = 1 - float(scores_of.given[row])
    if (
        predictions.words is not None
        and predictions.words.given[row] + predictions.words.beside[row] > 0
    ):
        words = 1 - float(predictions.words.given[row])
        out[Reason.TEXT] = max(words, out.get(Reason.TEXT, 0.0))
    return out


def _reasons(
    found: AuditResult,
    row: int,
    evidence: Mapping[Reason, float],
    alone: Mapping[Modality, tuple[int, float]],
) -> tuple[Reason, ...]:
    predictions = found.predictions
    weight: dict[Reason, float] = {}
    if predictions.model.against[row]:
        weight[Reason.MODEL] = evidence[Reason.MODEL]
    if predictions.near.against[row]:
        weight[Reason.NEIGHBOURS] = evidence[Reason.NEIGHBOURS]
    if evidence.get(Reason.COPIES, 0.0) >= 0.5:
        weight[Reason.COPIES] = evidence[Reason.COPIES]
    for modality, kind in ((Modality.TEXT, Reason.TEXT), (Modality.IMAGE, Reason.PHOTO)):
        outliers = float(found.outliers[modality][row]) if modality in found.outliers else 0.0
        if evidence.get(kind, 0.0) >= 1 - EVIDENCE_BELOW or outliers >= FAR:
            weight[kind] = max(evidence.get(kind, 0.0), min(1.0, outliers / (2 * FAR)))
    if len(alone) == len(Modality):
        (text, sure), (image, sure_too) = (alone[one] for one in Modality)
        if text != image and min(sure, sure_too) >= DISAGREEMENT:
            weight[Reason.MODALITIES] = min(sure, sure_too)
    ranked = sorted(weight, key=lambda kind: (-weight[kind], kind.value))
    return tuple(ranked)


def _copies(
    who: Codes,
    other: Codes,
    same: set[tuple[int, int]],
    rows: Codes,
    near: Codes,
    scores: Floats,
) -> list[list[tuple[int, float]]]:
    """The copies of each suspect with their cosines, nearest first."""
    out: list[dict[int, float]] = [{} for _ in rows]
    for at, one in zip(who.tolist(), other.tolist(), strict=True):
        # A copy by title or photo may be too far away to be among the neighbours.
        found = np.flatnonzero(near[at] == one)
        out[at][one] = float(scores[at][found[0]]) if len(found) else 1.0
    for at, one in same:
        place = int(np.flatnonzero(near[at] == one)[0])
        out[at].setdefault(one, float(scores[at][place]))
    return [sorted(some.items(), key=lambda pair: (-pair[1], pair[0])) for some in out]


def _same_photos(
    store: OpenStore,
    found: AuditResult,
    rows: Codes,
    near: Codes,
    images: ImageSource | None,
    quiet: bool | None,
) -> set[tuple[int, int]]:
    """Pairs (index into `rows`, position of a neighbour) with the same photo by its hash."""
    gathered = found.predictor.gathered
    if images is None or Modality.IMAGE not in gathered.modalities or not len(rows):
        return set()
    vectors = gathered.vectors[gathered.modalities.index(Modality.IMAGE)]
    pairs = []
    for at, row in enumerate(rows.tolist()):
        some = near[at][:10]
        some = some[some >= 0]
        cosines = vectors[some].astype(np.float32) @ vectors[row].astype(np.float32)
        pairs += [(at, int(one)) for one in some[cosines >= LOOKS_SAME]]
    wanted = np.unique([one for at, other in pairs for one in (int(rows[at]), other)])
    if not len(wanted):
        return set()
    table = store.products.take(wanted.astype(np.int64), ["images", "image_hash"]).to_pylist()
    places = [row["images"][:1] if row["image_hash"] else [] for row in table]

    def look(place: list[str]) -> int | None:
        try:
            return photo_hash(images.read(place[0])) if place else None
        except (ImageError, ImageSourceError, OSError):
            return None

    hashes = {}
    with Meter("comparing photos", len(wanted), "photos", quiet) as meter:
        looked = map_ahead(look, places, images.workers)
        for row, value in zip(wanted.tolist(), looked, strict=True):
            hashes[row] = value
            meter.advance(1)
    return {pair for pair in pairs if same_photo(hashes[int(rows[pair[0]])], hashes[pair[1]])}


def _batches(
    found: AuditResult, rows: Codes, near: Codes, copies: list[list[tuple[int, float]]]
) -> Codes:
    """Batch numbers of look-alikes: (m,) int64 from 1, in the order of their first suspects."""
    codes, other = found.predictor.codes, found.predictions.pooled.other
    place = {row: at for at, row in enumerate(rows.tolist())}
    ends = []
    for at, row in enumerate(rows.tolist()):
        for one in (*near[at][:LOOKALIKE_NEIGHBOURS].tolist(), *(copy for copy, _ in copies[at])):
            there = place.get(one)
            if there is not None and codes[one] == codes[row] and other[one] == other[row]:
                ends.append((at, there))
    left, right = zip(*ends, strict=True) if ends else ((), ())
    edges = coo_array((np.ones(len(ends)), (left, right)), shape=(len(rows), len(rows)))
    joined = connected_components(edges, directed=False)[1] if len(rows) else np.zeros(0, np.int64)
    out = np.zeros(len(rows), dtype=np.int64)
    met: dict[tuple[int, int], int] = {}
    seen: dict[int, int] = {}
    for at, group in enumerate(joined.tolist()):
        size = seen[group] = seen.get(group, -1) + 1
        key = (group, size // BATCH)
        out[at] = met.setdefault(key, len(met) + 1)
    return out
