"""Model cards in the form of the Hugging Face Hub: Markdown after a YAML front matter.

The Hub reads the front matter: https://huggingface.co/docs/hub/model-cards. It is written by the
Hub's own library, which quotes whatever stands in names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vitrina.page.words import plain

PRIVATE = "private"
"""Type of the dataset of an evaluation: a catalogue that is not on the Hub."""

_FRONT_MATTER = re.compile(r"---\n.*?\n---\n", re.DOTALL)


class Library(StrEnum):
    """Libraries that open a model, by their names on the Hub."""

    SENTENCE_TRANSFORMERS = "sentence-transformers"
    OPEN_CLIP = "open_clip"
    TIMM = "timm"
    TRANSFORMERS = "transformers"
    VITRINA = "vitrina"


@dataclass(frozen=True)
class HubMetric:
    """One metric. type: its id on the Hub. name: for readers. args: of the metric's function."""

    type: str
    name: str
    value: float
    args: Mapping[str, str] | None = None


@dataclass(frozen=True)
class HubResult:
    """Metrics on one dataset. task: its id on the Hub. dataset: name of the catalogue. split: the
    evaluated part."""

    task: str
    dataset: str
    split: str
    metrics: tuple[HubMetric, ...]


@dataclass(frozen=True)
class HubMetadata:
    """Front matter of a model card. The licence is left to the owner of the model.

    pipeline_tag: the task's id on the Hub. base_models: repositories on the Hub. languages: ISO
    639-1 codes.
    """

    name: str
    library: Library
    pipeline_tag: str
    tags: Sequence[str] = ()
    base_models: Sequence[str] = ()
    languages: Sequence[str] = ()
    evaluation: HubResult | None = None

    def front_matter(self) -> str:
        """The YAML between its two lines of dashes. Metrics that are not finite are left out."""
        from huggingface_hub import EvalResult, ModelCardData

        found = self.evaluation
        metrics = [one for one in (found.metrics if found else ()) if math.isfinite(one.value)]
        results = [
            EvalResult(
                task_type=found.task,
                task_name="Product classification" if "classification" in found.task else None,
                dataset_type=PRIVATE,
                dataset_name=plain(found.dataset) or PRIVATE,
                dataset_split=found.split,
                metric_type=one.type,
                metric_name=one.name,
                metric_value=round(float(one.value), 6),
                metric_args=dict(one.args) if one.args else None,
                verified=False,
            )
            for one in metrics
            if found is not None
        ]
        data = ModelCardData(
            language=list(self.languages) or None,
            library_name=self.library.value,
            pipeline_tag=self.pipeline_tag,
            tags=list(self.tags) or None,
            base_model=list(self.base_models) or None,
            metrics=list(dict.fromkeys(one.type for one in metrics)) or None,
            model_name=(plain(self.name) or "model") if results else None,
            eval_results=results or None,
        )
        return f"---\n{data.to_yaml()}\n---\n"


def with_front_matter(metadata: HubMetadata, body: str) -> str:
    """A card of the Hub. body: Markdown."""
    return f"{metadata.front_matter()}\n{body}"


def has_front_matter(card: str) -> bool:
    """True for a card that begins with a front matter."""
    return _FRONT_MATTER.match(card) is not None


def classification_metrics(
    weighted_f1: float, macro_f1: float, accuracy: float | None = None
) -> tuple[HubMetric, ...]:
    """Metrics of a classifier."""
    found = [
        HubMetric("f1", "Weighted F1", weighted_f1, {"average": "weighted"}),
        HubMetric("f1", "Macro F1", macro_f1, {"average": "macro"}),
    ]
    if accuracy is not None:
        found.append(HubMetric("accuracy", "Accuracy", accuracy))
    return tuple(found)
