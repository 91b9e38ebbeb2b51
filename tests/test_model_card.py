"""The card of a head shows names from a catalogue as they are, whatever markup they hold."""

import re

import pytest

from vitrina.page.markdown import code, escaped

HOSTILE = [
    "a|b||c",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[text](javascript:alert(1))",
    "![x](http://a/b.png)",
    "first\n# heading\n- item\r\n> quote",
    "`code` ``more``",
    "*bold* _italic_ ~~gone~~ **x**",
    "&lt;script&gt; &#60;",
    "back\\slash \\| \\`",
    "$x^2$ and $$y$$",
    "www.example.com and HTTP://example.com",
    "\u2028line\u2029",
    "\x1b[31mred",
]


def shown(markdown: str) -> str:
    """What CommonMark shows of escapes."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_they_are(name):
    line = escaped(name)
    assert "\n" not in line
    assert shown(line).split() == re.sub(r"[\x00-\x1f\u2028\u2029]", " ", name).split()
    # No character begins markup but after a backslash.
    bare = re.sub(r"\\.", "", line)
    assert not re.search(r"[\\`*_\[\]<&|~$!#]|://|www\.", bare)


@pytest.mark.parametrize("name", HOSTILE)
def test_code_spans_are_closed_only_at_their_end(name):
    span = code(name)
    assert "\n" not in span
    fence = re.match("`+", span).group()
    assert span.endswith(fence)
    inside = span[len(fence) : -len(fence)]
    assert fence not in re.findall("`+", inside)


def test_plain_names_stay():
    assert escaped("Посуда -> Кружки, 350 мл (белые)") == "Посуда -> Кружки, 350 мл (белые)"
    assert code("shelf/own") == "`shelf/own`"
