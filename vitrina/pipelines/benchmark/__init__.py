"""The benchmark job: methods, results, and their report as text and HTML."""
