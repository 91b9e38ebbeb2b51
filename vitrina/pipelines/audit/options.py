"""Options of an audit."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from vitrina.data.options import PHOTOS
from vitrina.errors import OptionError
from vitrina.options import Panel, option
from vitrina.pipelines.common.options import FEATURES, SeededOptions
from vitrina.tables.destination import SUFFIXES, Destination, TableFormat
from vitrina.tables.options import CsvOptions, OutputOptions
from vitrina.types import Features

HTML = ".html"


@dataclass(frozen=True)
class AuditOptions(SeededOptions, CsvOptions):
    """Options of `audit`; see there.

    Examples
    --------
    >>> vt.AuditOptions("report.html", folds=3).folds
    3
    """

    PANEL = Panel.EVALUATION

    out: Path | None = option(
        "HTML report to write, with a table of all products beside it; or a .parquet, .csv, .xlsx "
        "or .jsonl file for the table alone."
    )
    _: KW_ONLY
    table: Path | None = option(
        "File of that table, if not a Parquet file beside the report: .csv, .xlsx, .jsonl.",
        panel=Panel.FILES,
    )
    features: Features | None = option(FEATURES, panel=Panel.MODELS)
    images: str | None = option(PHOTOS, panel=Panel.PHOTOS, metavar="PLACE")
    max_suspects: int = option(
        "Maximum number of suspects to explain and show.",
        default=10_000,
        least=1,
        panel=Panel.FILES,
        aliases=("most",),
    )
    folds: int = option("Number of cross-validation folds.", default=5, least=2)
    cleanlab: bool = option("Run cleanlab on the same probabilities too.", default=False)

    @property
    def report(self) -> Path | None:
        """The HTML report to write; None if there is none."""
        return self.out if self.out is not None and self.out.suffix.lower() == HTML else None

    @property
    def destination(self) -> Destination | None:
        """Where the table goes; None if neither a report nor a table is wanted.

        Raises OptionError for names that end otherwise.
        """
        if self.out is None or self.report is not None:
            if self.table is not None:
                return Destination.of(self.table, self, name="table")
            return None if self.out is None else Destination.of(self.out.with_suffix(".parquet"))
        if self.table is not None:
            raise OptionError("table", f"is beside a report, which ends in {HTML}, not {self.out}")
        return Destination.of(self.out, self, formats={HTML: TableFormat.PARQUET, **SUFFIXES})


@dataclass(frozen=True, kw_only=True)
class ExportOptions(OutputOptions):
    """Options of `export_decisions`; see there.

    Examples
    --------
    >>> vt.ExportOptions(csv_separator="semicolon").csv_separator
    ';'
    """

    PANEL = Panel.FILES

    changed_only: bool = option("Leave out labels that were confirmed.", default=False)
