"""Head of a self-contained HTML page with a strict content security policy."""

from __future__ import annotations

import base64
import hashlib

from vitrina.page.markup import text


def opening(title: str, style: str, script: str) -> str:
    """Return the page up to the body's content. script: the source of its only script element.

    The policy lets the page load nothing and run only this style and script, so even product text
    that became markup would not run.
    """
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"/>',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>{text(title)}</title>",
            f"<style>{style}</style></head><body>",
        )
    )


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
