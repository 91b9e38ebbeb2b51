"""Building blocks of HTML pages: escaped markup, charts, the shared style sheet."""
