"""Accepted predictions of an evaluation: coverage and precision at the target precision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Promised:
    """Coverage and precision of accepted predictions at a target precision.

    precision: the target. coverage, reached: share of rows whose category itself is accepted, and
    the precision among them, NaN for none. with_ancestors, reached_with: these two with accepted
    ancestors included.
    """

    precision: float
    coverage: float
    reached: float
    with_ancestors: float
    reached_with: float

    def lines(self) -> list[str]:
        """Both, for a terminal."""
        if not self.with_ancestors:
            return [f"nothing could be accepted at a precision of {self.precision:g}"]
        accepted = "none of the products"
        if self.coverage:
            accepted = f"{self.coverage:.3f} of products, {self.reached:.3f} of them correct"
        lines = [f"accepted at a target precision of {self.precision:g}: {accepted}"]
        if self.with_ancestors > self.coverage:
            lines.append(
                f"with ancestors of unsure categories: {self.with_ancestors:.3f}, "
                f"{self.reached_with:.3f} right"
            )
        return lines
