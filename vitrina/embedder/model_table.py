"""The known models as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from vitrina.embedder.known_models import BY_NAME, KNOWN_MODELS, KnownModel
from vitrina.results import ResultTable
from vitrina.types import Modality

_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("modality", pa.string()),
        ("hub", pa.string()),
        ("megabytes", pa.int64()),
        ("dim", pa.int64()),
        ("licence", pa.string()),
        ("speed", pa.string()),
        ("use", pa.string()),
        ("prompt", pa.string()),
        ("benchmark", pa.string()),
        ("value", pa.float64()),
        ("source", pa.string()),
    ]
)


class ModelTable(ResultTable[KnownModel]):
    """Known models, texts first; each row is a `KnownModel`."""

    noun = "model"

    @classmethod
    def of(cls, modality: Modality | None = None) -> ModelTable:
        """Make the table of the models of one modality, or of all."""
        rows = [one.to_json() for one in KNOWN_MODELS if modality in (None, one.modality)]
        return cls(pa.Table.from_pylist(rows, schema=_SCHEMA))

    def row_of(self, values: Mapping[str, Any]) -> KnownModel:
        """Return the record of a row."""
        return BY_NAME[values["name"]]
