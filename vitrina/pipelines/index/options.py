"""Options of an index and of its queries."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.options import Options, Panel, byte_size, option
from vitrina.pipelines.common.options import FEATURES, SeededOptions
from vitrina.tables.options import OutputOptions
from vitrina.types import CategoryId, Features

if TYPE_CHECKING:
    from vitrina.pipelines.index.neighbours import SearchFilter

CHOOSE = "auto"
"""Value of `factory` that leaves the choice to Vitrina."""


@dataclass(frozen=True)
class IndexOptions(SeededOptions):
    """Options of `build_index`; see there.

    Examples
    --------
    >>> vt.IndexOptions("fused", memory="200MB").memory
    200000000
    """

    PANEL = Panel.SEARCH

    features: Features | None = option(FEATURES, panel=Panel.MODELS)
    _: KW_ONLY
    recall: float | None = option(
        "Target recall of the true ten nearest neighbours, above 0; 1: exact search; default: the "
        "index's own, 0.99 for a new one.",
        above=0,
        most=1,
    )
    memory: int | None = option(
        "Maximum memory of the index, such as 200MB or 4GB; default: the index's own, a quarter of "
        "the machine's memory for a new one.",
        least=1,
        parse=byte_size,
    )
    factory: str | None = option(
        "FAISS factory string instead of the automatic choice; auto: return to that; default: the "
        "index's own."
    )
    rebuild: bool = option("Rebuild even if an update is enough.", default=False)


@dataclass(frozen=True)
class SearchOptions(Options):
    """Options of `neighbours`; see there."""

    PANEL = Panel.SEARCH

    features: Features | None = option(
        "Index to search: text, image or fused; default: fused, or the only one."
    )
    _: KW_ONLY
    k: int = option("Neighbours per query.", default=10, least=1, flag="-k")
    category: CategoryId | None = option(
        "Only products of this category id, or below this category path.", metavar="CATEGORY"
    )
    where: tuple[str, ...] = option(
        "Only products that meet a condition such as 'price<=1000'. Can be given several times.",
        default=(),
        metavar="CONDITION",
    )
    no_duplicates: bool = option(
        "Leave out products with the title or a photo of the query product.",
        default=False,
    )
    other_shops: bool = option("Leave out products of the query product's own shop.", default=False)

    @property
    def only(self) -> SearchFilter:
        """The search filter. Raises StoreError for a condition that is none."""
        from vitrina.pipelines.index.neighbours import SearchFilter
        from vitrina.store.filters import Condition

        conditions = tuple(map(Condition.parse, self.where))
        return SearchFilter(self.category, conditions, self.no_duplicates, self.other_shops)


@dataclass(frozen=True, kw_only=True)
class QueryFileOptions(OutputOptions):
    """Options of a file of queries, and of the table to write."""

    images: str | None = option(
        "Location of new products' photos; None for the one saved in the store.",
        command_line=False,
    )
    reading: ReadingOptions = DEFAULT_OPTIONS


@dataclass(frozen=True)
class QueryOptions(SearchOptions, QueryFileOptions):
    """Options of `neighbours_to`; see there.

    Examples
    --------
    >>> vt.QueryOptions(k=5, where=["price<1000"]).where
    ('price<1000',)
    """
