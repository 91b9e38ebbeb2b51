"""Building blocks of HTML pages: templates, style sheets, escaping, charts."""
