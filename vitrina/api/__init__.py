"""Public functions with plain arguments, for Python users and the command line.

Each job is imported when it is called, so that embedding without a neural model does not import
torch.
"""

from vitrina.api.auditing import audit, export_decisions, import_decisions, review
from vitrina.api.conversion import convert_model
from vitrina.api.encoders import benchmark, finetune, models, pretrain
from vitrina.api.export import export_model
from vitrina.api.inputs import CatalogueLike, StoreLike
from vitrina.api.query import classify, classify_to, neighbours, neighbours_to, open_batch
from vitrina.api.store import Store
from vitrina.api.stores import compact, describe, embed, vectors, verify, work
from vitrina.api.training import build_index, evaluate_index, open_index, open_report, train
from vitrina.data.catalogue import Catalogue

__all__ = [
    "Catalogue",
    "CatalogueLike",
    "Store",
    "StoreLike",
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
