"""Vitrina stores the embeddings of a product catalogue and predicts each product's category.

The names below load on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vitrina._version import __version__ as __version__
from vitrina.limits import limit_thread_pools

# A library is silent until the program sets up logging; see `vitrina.logs`.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# A library is silent until the program sets up logging; see `vitrina.logs`.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from vitrina.api import (
        audit,
        benchmark,
        build_index,
        classify,
        classify_to,
        compact,
        convert_model,
        describe,
        embed,
        evaluate_index,
        export_decisions,
        export_model,
        finetune,
        import_decisions,
        models,
        neighbours,
        neighbours_to,
        open_batch,
        open_index,
        open_report,
        pretrain,
        review,
        train,
        vectors,
        verify,
        work,
    )
    from vitrina.api.store import Store
    from vitrina.audit.review.options import ReviewOptions
    from vitrina.data.catalogue import Catalogue
    from vitrina.data.options import Columns, ReadingOptions
    from vitrina.errors import OptionError, VitrinaError
    from vitrina.pipelines.audit.options import AuditOptions, ExportOptions
    from vitrina.pipelines.benchmark.options import BenchmarkOptions
    from vitrina.pipelines.classify.options import ClassifyOptions
    from vitrina.pipelines.embed.options import EmbedOptions
    from vitrina.pipelines.finetune.options import FinetuneOptions, PretrainOptions
    from vitrina.pipelines.index.options import IndexOptions, QueryOptions
    from vitrina.pipelines.train.estimator import FusionClassifier
    from vitrina.pipelines.train.options import TrainOptions
    from vitrina.pipelines.work.options import WorkOptions

# Torch, numba, FAISS and NumPy read these settings when they are loaded.
limit_thread_pools()

_HOMES = {
    "AuditOptions": "vitrina.pipelines.audit.options",
    "BenchmarkOptions": "vitrina.pipelines.benchmark.options",
    "Catalogue": "vitrina.data.catalogue",
    "ClassifyOptions": "vitrina.pipelines.classify.options",
    "Columns": "vitrina.data.options",
    "EmbedOptions": "vitrina.pipelines.embed.options",
    "ExportOptions": "vitrina.pipelines.audit.options",
    "FinetuneOptions": "vitrina.pipelines.finetune.options",
    "FusionClassifier": "vitrina.pipelines.train.estimator",
    "IndexOptions": "vitrina.pipelines.index.options",
    "OptionError": "vitrina.errors",
    "PretrainOptions": "vitrina.pipelines.finetune.options",
    "QueryOptions": "vitrina.pipelines.index.options",
    "ReadingOptions": "vitrina.data.options",
    "ReviewOptions": "vitrina.audit.review.options",
    "Store": "vitrina.api.store",
    "TrainOptions": "vitrina.pipelines.train.options",
    "VitrinaError": "vitrina.errors",
    "WorkOptions": "vitrina.pipelines.work.options",
    "audit": "vitrina.api",
    "benchmark": "vitrina.api",
    "build_index": "vitrina.api",
    "classify": "vitrina.api",
    "classify_to": "vitrina.api",
    "compact": "vitrina.api",
    "convert_model": "vitrina.api",
    "describe": "vitrina.api",
    "embed": "vitrina.api",
    "evaluate_index": "vitrina.api",
    "export_decisions": "vitrina.api",
    "export_model": "vitrina.api",
    "finetune": "vitrina.api",
    "import_decisions": "vitrina.api",
    "models": "vitrina.api",
    "neighbours": "vitrina.api",
    "neighbours_to": "vitrina.api",
    "open_batch": "vitrina.api",
    "open_index": "vitrina.api",
    "open_report": "vitrina.api",
    "pretrain": "vitrina.api",
    "review": "vitrina.api",
    "train": "vitrina.api",
    "vectors": "vitrina.api",
    "verify": "vitrina.api",
    "work": "vitrina.api",
}

__all__ = [
    "AuditOptions",
    "BenchmarkOptions",
    "Catalogue",
    "ClassifyOptions",
    "Columns",
    "EmbedOptions",
    "ExportOptions",
    "FinetuneOptions",
    "FusionClassifier",
    "IndexOptions",
    "OptionError",
    "PretrainOptions",
    "QueryOptions",
    "ReadingOptions",
    "ReviewOptions",
    "Store",
    "TrainOptions",
    "VitrinaError",
    "WorkOptions",
    "audit",
    "benchmark",
    "build_index",
    "classify",
    "classify_to",
    "compact",
    "convert_model",
    "describe",
    "embed",
    "evaluate_index",
    "export_decisions",
    "export_model",
    "finetune",
    "import_decisions",
    "models",
    "neighbours",
    "neighbours_to",
    "open_batch",
    "open_index",
    "open_report",
    "pretrain",
    "review",
    "train",
    "vectors",
    "verify",
    "work",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


class _Package(ModuleType):
    """Module class that protects the public names.

    Importing the subpackage `vitrina.audit` would otherwise rebind the name of the function to that
    module. `from vitrina.audit import ...` reaches the subpackage.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
