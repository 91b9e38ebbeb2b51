"""Options of a classification."""

from __future__ import annotations

from dataclasses import dataclass

from vitrina.options import Panel, option
from vitrina.tables.options import OutputOptions
from vitrina.types import OutputFormat


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(OutputOptions):
    """Options of `classify` and `classify_to`; see there.

    Examples
    --------
    >>> vt.ClassifyOptions(format="submission").format
    <OutputFormat.SUBMISSION: 'submission'>
    """

    PANEL = Panel.FILES

    model: str | None = option(
        "Name of a head; default: the one trained last.", panel=Panel.MODELS, metavar="NAME"
    )
    format: OutputFormat = option(
        "full: predictions with reasons; submission: product_id and predicted_category_id only.",
        default=OutputFormat.FULL,
    )
    top_k: int = option("Categories to list per product.", default=5, least=1)
    neighbours: int = option("Neighbours to list per product.", default=10, least=1)
