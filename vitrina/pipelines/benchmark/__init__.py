"""What `vitrina benchmark` found, and how it is shown: rows, figures, text, charts, the page."""
