"""Predictions in memory: a table with a row for each product."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vitrina.page.summary import MOST_ROWS, Summary, SummaryTable
from vitrina.pipelines.classify.predictor import ClassifyReport
from vitrina.results import ResultTable, cell

_SHOWN = ("product_id", "predicted_category_id", "category_name", "probability", "accepted")


class Predictions(ResultTable[dict[str, Any]]):
    """Predictions, one row (a dictionary) for each product, in input order.

    Attributes:
        report: counts of the run, rejected rows and notes.
    """

    noun = "product"

    def __init__(self, table: pa.Table, report: ClassifyReport) -> None:
        super().__init__(table)
        self.report = report

    def _with(self, table: pa.Table) -> Predictions:
        return Predictions(table, self.report)

    def summary(self) -> Summary:
        """Counts, and the first predictions in their most telling columns."""
        names = [name for name in _SHOWN if name in self.column_names]
        first = self._table.select(names).slice(0, MOST_ROWS).to_pylist()
        rows = [[cell(name, row[name]) for name in names] for row in first]
        facts: list[tuple[str, Any]] = [("model", self.report.model)]
        if "accepted" in names:
            accepted = sum(filter(None, self._table.column("accepted").to_pylist()))
            facts.append(("accepted", f"{accepted:,}, {accepted / max(len(self), 1):.0%}"))
        facts.append(("rejected rows", self.report.rejected or None))
        others = [name for name in self.column_names if name not in names]
        facts.append(("further columns", ", ".join(others)))
        table = SummaryTable(names, rows, len(self) - len(rows))
        return Summary(self.title, facts, table if rows else None, self.report.notes)
