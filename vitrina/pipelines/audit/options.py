"""Options of an audit."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from vitrina.data.options import PHOTOS
from vitrina.options import Panel, option
from vitrina.pipelines.common.options import FEATURES, SeededOptions
from vitrina.types import Features


@dataclass(frozen=True)
class AuditOptions(SeededOptions):
    """Options of `audit`; see there.

    Examples
    --------
    >>> vt.AuditOptions("report.html", folds=3).folds
    3
    """

    PANEL = Panel.EVALUATION

    out: Path | None = option(
        "HTML report to write; a Parquet file of all products is written beside it."
    )
    _: KW_ONLY
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
