"""Pieces of the HTML pages that Vitrina writes: safe markup, charts, the look they share."""
