"""Plain tables: in Markdown, and as aligned lines for a terminal."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], words: Container[int] | None = None
) -> list[str]:
    """Return the lines of a GitHub Markdown table; cells must be escaped.

    words: positions of the columns to align left, the others being aligned right; None leaves the
    alignment to the reader's style sheet.
    """
    if words is None:
        rule = ["---"] * len(head)
    else:
        rule = [":--" if column in words else "--:" for column in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def aligned_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], words: Container[int]
) -> list[str]:
    """Return the lines of a table for a terminal. words: positions of the columns to align left."""
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if column in words else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    ]
