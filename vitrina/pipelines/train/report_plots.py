"""Plots of a training report: reliability, confused categories, coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitrina.classifier.card import AGAIN
from vitrina.errors import VitrinaError
from vitrina.plots import Bar, bars_plot, category_names, coverage_plot, reliability_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vitrina.classifier.calibrate import ReliabilityBin
    from vitrina.classifier.error_analysis import Confusion, CoveragePoint
    from vitrina.pipelines.train.acceptance import Promised


class TrainPlots:
    """Mixin: plots of the attributes below; see `TrainReport`."""

    if TYPE_CHECKING:
        store: str
        model: str
        evaluated: int
        calibration_error: float
        calibration_error_before: float
        bins: tuple[ReliabilityBin, ...]
        bins_before: tuple[ReliabilityBin, ...]
        acceptance: Promised
        confusions: tuple[Confusion, ...]
        coverage: tuple[CoveragePoint, ...]

    def plot_reliability(self, ax: Axes | None = None) -> Axes:
        """Draw the reliability diagram, with and without calibration.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; default: those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        VitrinaError
            If matplotlib is not installed; `pip install 'vitrina[plots]'` installs it.
        """
        errors = self.calibration_error, self.calibration_error_before
        return reliability_plot(self.bins, self.bins_before, errors, ax)

    def plot_confusions(self, ax: Axes | None = None, *, top: int = 15) -> Axes:
        """Draw the pairs of categories that are confused most often.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; default: those of a new figure.
        top : int, default 15
            Most pairs to draw, up to 30.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        VitrinaError
            If matplotlib is not installed, or an earlier version trained the head.
        """
        self._check_plots()
        pairs = self.confusions[: max(1, top)]
        names = category_names(
            [
                name
                for one in pairs
                for name in (
                    (str(one.true), one.true_name),
                    (str(one.predicted), one.predicted_name),
                )
            ]
        )
        bars = [
            Bar(f"{true}\n→ {predicted}", one.rows, text=f"{one.rows:,} of {one.true_rows:,}")
            for one, true, predicted in zip(pairs, names[::2], names[1::2], strict=True)
        ]
        return bars_plot(
            bars,
            ax,
            title=f"Most confused categories, {self.evaluated:,} validation products",
            xlabel="products of the first category predicted as the second",
            whole=True,
        )

    def plot_coverage(self, ax: Axes | None = None) -> Axes:
        """Draw the precision of accepted predictions against their share, with the thresholds that
        were chosen.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; default: those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        VitrinaError
            If matplotlib is not installed, or an earlier version trained the head.
        """
        self._check_plots()
        promised = self.acceptance
        chosen = {"accepted": (promised.coverage, promised.reached)}
        if promised.with_ancestors > promised.coverage:
            with_ancestors = (promised.with_ancestors, promised.reached_with)
            chosen["accepted, with ancestors"] = with_ancestors
        return coverage_plot(
            [(one.coverage, one.precision) for one in self.coverage],
            promised.precision,
            chosen,
            ax,
            title=f"Coverage and precision, {self.evaluated:,} validation products",
            curve="one threshold for all categories",
        )

    def _check_plots(self) -> None:
        if not self.coverage:
            raise VitrinaError(
                f"{self.store}: the report of {self.model} has no data for this plot, since an "
                f"earlier version trained it; {AGAIN}"
            )
