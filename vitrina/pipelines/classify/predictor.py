"""Prediction of products by a model, with its encoders and the voting index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vitrina.classifier.card import AGAIN
from vitrina.classifier.model import Model, top
from vitrina.classifier.tree import CategoryTree
from vitrina.data.catalogue import Catalogue
from vitrina.data.product import Product
from vitrina.errors import StoreError
from vitrina.index.vote import HeadVoteCard, VoteRule, vote_shares
from vitrina.page.summary import Summarised, Summary, counted
from vitrina.page.words import duration
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.common.batch_encoder import BatchEncoder, EncodedBatch, unusable
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.train.category_drift import reused, reused_line, unknown_line
from vitrina.store.store import OpenStore
from vitrina.typed_json import convert_json
from vitrina.types import CategoryId, Codes, Floats, Mask, Modality, OutputFormat


def submission_schema(product_id: pa.DataType, category_id: pa.DataType) -> pa.Schema:
    """The schema of `--format submission`."""
    return pa.schema([("product_id", product_id), ("predicted_category_id", category_id)])


def predictions_schema(
    product_id: pa.DataType, category_id: pa.DataType, neighbour_id: pa.DataType
) -> pa.Schema:
    """The schema of a predictions file. neighbour_id: the type of the store's product ids."""
    likely = pa.struct({"category_id": category_id, "probability": pa.float32()})
    alone = pa.struct({"text": pa.float32(), "image": pa.float32()})
    near = pa.struct(
        {"product_id": neighbour_id, "category_id": category_id, "score": pa.float32()}
    )
    return pa.schema(
        [
            *submission_schema(product_id, category_id),
            ("category_name", pa.string()),
            ("category_source", pa.string()),
            ("probability", pa.float32()),
            ("accepted", pa.bool_()),
            ("predicted_path", pa.string()),
            ("level", pa.int32()),
            ("path_probability", pa.float32()),
            ("alone", alone),
            ("top_k", pa.list_(likely)),
            ("vote", pa.struct({"category_id": category_id, "share": pa.float32()})),
            ("neighbours", pa.list_(near)),
            ("has_text", pa.bool_()),
            ("has_image", pa.bool_()),
            ("model", pa.string()),
        ]
    )


@dataclass(repr=False)
class ClassifyReport(Summarised):
    """The outcome of a classification.

    accepted: products whose category is accepted. backed_off: further ones of which an ancestor is
    accepted. failed: photos that could not be used. rejected: rows. reused: earlier meanings of the
    head's category ids that now mean other categories; outdated: products predicted in these.
    unknown: categories of the store or the batch that the head was not trained on, with their
    numbers of products. notes: missing parts of the batch, and their effect. errors_out: the file
    of errors, if there are any.
    """

    model: str
    out: str | None = None
    products: int = 0
    accepted: int = 0
    backed_off: int = 0
    without_text: int = 0
    without_image: int = 0
    failed: int = 0
    rejected: int = 0
    voted: bool = False
    reused: dict[CategoryId, str] = field(default_factory=dict)
    outdated: int = 0
    unknown: dict[CategoryId, int] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    errors_out: str | None = None
    errors: list[dict[str, Any]] = field(default_factory=list, repr=False)

    @property
    def unknown_line(self) -> str:
        """A warning about categories that the head was not trained on."""
        return unknown_line(self.model, self.unknown)

    @property
    def reused_line(self) -> str:
        """A warning about reused category ids."""
        return reused_line(self.model, self.reused)

    def summary(self) -> Summary:
        """Counts of products."""
        share = f", {self.accepted / self.products:.0%}" if self.products else ""
        facts = [
            ("model", self.model),
            ("file", self.out),
            ("accepted", f"{self.accepted:,}{share}"),
            ("accepted ancestors", f"{self.backed_off:,}" if self.backed_off else None),
            ("without a photo", self.without_image or None),
            ("without text", self.without_text or None),
            ("unusable photos", self.failed or None),
            ("rejected rows", self.rejected or None),
            ("vote of neighbours", self.voted),
            ("time", duration(self.seconds)),
        ]
        lines = (self.unknown_line if self.unknown else "", self.reused_line if self.reused else "")
        notes = [*self.notes, *filter(None, lines)]
        return Summary(f"Classified {counted(self.products, 'product')}", facts, notes=notes)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it; errors are only in their file."""
        plain = asdict(self)
        del plain["errors"]
        return plain


@dataclass(frozen=True)
class _Voting:
    """The neighbours' vote as a base model. classes: (store's categories,) int64, the model's class
    of each, -1 for a category that it was not trained on."""

    index: Index
    rule: VoteRule
    classes: Codes
    counts: Codes

    @classmethod
    def of(cls, model: Model, index: Index | None) -> _Voting | None:
        if model.vote is None or index is None:
            return None
        number = {key: at for at, key in enumerate(model.categories)}
        classes = np.array([number.get(key, -1) for key in index.categories.ids], dtype=np.int64)
        voting = classes[index.labels[index.labels >= 0]]
        counts = np.bincount(voting[voting >= 0], minlength=len(model.categories))
        card = convert_json(model.vote, HeadVoteCard, f"the vote of the head {model.name}", AGAIN)
        _check_scores(model, card, index)
        return cls(index, card.rule, classes, counts)

    def shares(self, vectors: Sequence[Floats], present: Sequence[Mask]) -> Floats:
        found = self.index.find(vectors, present, self.rule.k)
        labels = np.where(found.positions >= 0, self.index.labels[found.positions], -1)
        return vote_shares(
            np.where(labels >= 0, self.classes[labels], -1),
            found.scores,
            classes=len(self.counts),
            rule=self.rule,
            counts=self.counts,
        )


def _check_scores(model: Model, card: HeadVoteCard, index: Index) -> None:
    """Refuse a vote by scores of another kind than those that its rule and the calibration are
    for. Raises StoreError."""
    ours, theirs = card.whitened, index.vectors.rows.whitened
    if set(ours) == set(theirs):
        return
    kinds = [" and ".join(one) if one else "no" for one in (ours, theirs)]
    raise StoreError(
        f"the head {model.name} was trained with the vote of an index that whitens {kinds[0]} "
        f"vectors, and the index at {index.vectors.where} whitens {kinds[1]} vectors; {AGAIN}"
    )


def _path(tree: CategoryTree, step: int, node: int, share: float) -> dict[str, Any]:
    """The accepted part of the category's path, as columns."""
    if step < 0:
        return {"predicted_path": None, "level": None, "path_probability": None}
    return {
        "predicted_path": tree.paths[node] or None,
        "level": int(tree.levels[node]),
        "path_probability": share,
    }


class Predictor:
    """Predictor: a model, its encoders, and the voting index."""

    def __init__(self, store: OpenStore, options: ClassifyOptions) -> None:
        self.options = options
        self.model = Model.load(store.model_folder(options.model), store.id_types[1])
        spaces = [store.open_space(self.model.spaces[one]) for one in self.model.modalities]
        self.encoder = BatchEncoder.of(store, spaces)
        for space in spaces:
            self.model.check(space.modality, space.entry.fingerprint, space.dim)
        features = self.model.features
        self.index = Index.open(store, features) if features in store.manifest.indexes else None
        if self.index:
            self.index.vectors.check(self.encoder.fingerprints)
        if self.model.vote is not None and self.index is None:
            raise StoreError(
                f"the head {self.model.name} listens to the neighbours' vote, but {store.place} "
                f"has no {features} index; run `vitrina index {store.place} --features {features}`"
            )
        self._voting = _Voting.of(self.model, self.index)
        # As text: ids may be text in a batch and integers in the store.
        self._known = frozenset(map(str, self.model.categories))
        self._compare_categories(store)
        ids = store.products.schema
        self._product_type = ids.field("product_id").type
        self._category_type = ids.field("category_id").type

    def _compare_categories(self, store: OpenStore) -> None:
        """Compare the head's categories with what their ids mean in the store."""
        model, sources = self.model, store.sources
        self.reused = reused(store, dict(zip(model.categories, model.names, strict=True)))
        self._outdated = np.array([key in self.reused for key in model.categories], dtype=bool)
        labels = store.categories()
        now = {key: name for key, name in zip(labels.ids, labels.names, strict=True) if name}
        self._names = [
            name if key in self.reused else now.get(key, name)
            for key, name in zip(model.categories, model.names, strict=True)
        ]
        owners = [sources.of_category(key) for key in model.categories]
        self._sources = [(one.name or one.alias) if one else None for one in owners]

    def schema(self, product_id: pa.DataType) -> pa.Schema:
        """The columns of a predictions file, for a batch with ids of this type."""
        if self.options.format is OutputFormat.SUBMISSION:
            return submission_schema(product_id, self._category_type)
        return predictions_schema(product_id, self._category_type, self._product_type)

    @property
    def names(self) -> dict[CategoryId, str]:
        """The path of each category that can be predicted, by its id."""
        return dict(zip(self.model.categories, self._names, strict=True))

    def predict(
        self, products: Sequence[Product], catalogue: Catalogue, report: ClassifyReport
    ) -> list[dict[str, Any]]:
        """One row of predictions per product, in order; counts go into `report`."""
        encoded = self.encoder.encode(products, catalogue)
        probabilities = self._probabilities(encoded.vectors, encoded.present)
        # A product without any vector is never accepted, whatever the head's bias.
        known = np.logical_or.reduce(encoded.present)
        best, chance = top(probabilities, self.options.top_k)
        back_off = self.model.back_off
        decided = back_off.decide(probabilities)
        outdated = self._outdated[best[:, 0]]
        report.outdated += int(outdated.sum())
        # Neither is a category whose id now means another one.
        steps = np.where(known & ~outdated, decided.steps, -1)
        nodes = back_off.nodes(decided)
        accepted = steps == 0
        has = dict(zip(self.model.modalities, encoded.present, strict=True))
        report.products += len(products)
        for product in products:
            category = product.category_id
            if category is not None and str(category) not in self._known:
                report.unknown[category] = report.unknown.get(category, 0) + 1
        report.accepted += int(accepted.sum())
        report.backed_off += int((steps > 0).sum())
        report.failed += unusable(encoded.failures)
        report.errors += encoded.failures
        report.without_text += int((~has[Modality.TEXT]).sum()) if Modality.TEXT in has else 0
        report.without_image += int((~has[Modality.IMAGE]).sum()) if Modality.IMAGE in has else 0
        ids, names = self.model.categories, self._names
        rows = [
            {
                "product_id": product.product_id,
                "predicted_category_id": ids[best[at, 0]],
                "category_name": names[best[at, 0]] or None,
                "category_source": self._sources[best[at, 0]],
                "probability": chance[at, 0],
                "accepted": accepted[at],
                **_path(back_off.tree, steps[at], nodes[at], decided.shares[at]),
                "top_k": [
                    {"category_id": ids[code], "probability": share}
                    for code, share in zip(best[at], chance[at], strict=True)
                ],
                "has_text": bool(has[Modality.TEXT][at]) if Modality.TEXT in has else False,
                "has_image": bool(has[Modality.IMAGE][at]) if Modality.IMAGE in has else False,
                "model": self.model.name,
            }
            for at, product in enumerate(products)
        ]
        if self.options.format is OutputFormat.FULL:
            self._add_alone(encoded, best[:, 0], chance[:, 0], rows)
            if self.index:
                self._explain(self.index, encoded, rows)
        return rows

    def _probabilities(self, vectors: Sequence[Floats], present: Sequence[Mask]) -> Floats:
        shares = self._voting.shares(vectors, present) if self._voting else None
        return self.model.probabilities(vectors, present, shares)

    def _add_alone(
        self, encoded: EncodedBatch, chosen: Codes, chance: Floats, rows: list[dict[str, Any]]
    ) -> None:
        """Add the probability of the predicted category by each modality alone. chance: by all
        together."""
        modalities = self.model.modalities
        # A single modality needs no second prediction.
        alone: dict[str, Floats] = {modalities[0]: chance}
        for number, modality in enumerate(modalities if len(modalities) > 1 else ()):
            present = [
                mask if place == number else np.zeros_like(mask)
                for place, mask in enumerate(encoded.present)
            ]
            found = self._probabilities(encoded.vectors, present)
            alone[modality] = found[np.arange(len(rows)), chosen]
        for at, row in enumerate(rows):
            row["alone"] = {
                modality: alone[modality][at] if mask[at] else None
                for modality, mask in zip(self.model.modalities, encoded.present, strict=True)
            }

    def _explain(self, index: Index, encoded: EncodedBatch, rows: list[dict[str, Any]]) -> None:
        listed = self.options.neighbours
        found = index.find(encoded.vectors, encoded.present, max(listed, index.rule.k))
        votes, labels = index.vote(found)
        ids = index.categories.ids
        for at, row in enumerate(rows):
            if votes.codes[at] >= 0:
                row["vote"] = {"category_id": ids[votes.codes[at]], "share": votes.shares[at]}
            row["neighbours"] = [
                {
                    "product_id": near.product_id,
                    "category_id": ids[label] if label >= 0 else None,
                    "score": near.score,
                }
                for near, label in zip(found.neighbours(at)[:listed], labels[at], strict=False)
            ]
