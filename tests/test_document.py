"""Self-contained pages: what their templates escape, refuse and read one by one."""

import re

import pytest
from jinja2 import UndefinedError

from vitrina.page.document import document

EVIL = "<b>\"'&\u2028\x00\nlast"


@pytest.fixture
def render(tmp_path):
    """Renders the content of a page from the source of a template."""

    def made(content, **values):
        for folder in ("templates", "static"):
            (tmp_path / folder).mkdir(exist_ok=True)
        extends = '{% extends "document.html" %}{% import "parts.html" as parts %}'
        source = f"{extends}{{% block content %}}[{content}]{{% endblock %}}"
        (tmp_path / "templates" / "one.html").write_text(source, encoding="utf-8")
        (tmp_path / "static" / "one.css").write_text("p{margin:0}\n", encoding="utf-8")
        (tmp_path / "static" / "one.js").write_text("if (1 < 2) 3;\n", encoding="utf-8")
        return document(tmp_path, "one", title="A page", **values)

    return made


def content(pieces):
    return re.search(r"\[(.*)\]", "".join(pieces), re.DOTALL)[1]


def test_values_are_escaped_and_on_one_line(render):
    found = content(render('<i title="{{ x }}">{{ x }}</i>', x=EVIL))
    escaped = "&lt;b&gt;&#34;&#39;&amp; last"
    assert found == f'<i title="{escaped}">{escaped}</i>'
    found = content(render("{{ parts.category(x) }}", x=f"{EVIL}-> {EVIL} "))
    assert found == f'<span class="part-of">{escaped}</span>{escaped}'
    assert content(render("{{ parts.facts([(x, x)]) }}", x=EVIL)).count(escaped) == 2


def test_json_closes_no_element(render):
    found = content(render("{{ x|script_json }}", x={"a": "</script>\u2028", "b": None}))
    assert found == r'{"a":"\u003c/script\u003e\u2028","b":null}'


def test_an_unknown_name_is_refused(render):
    for source in ("{{ nothing }}", "{{ x.nothing }}", "{% if nothing %}{% endif %}"):
        with pytest.raises(UndefinedError):
            "".join(render(source, x="a"))


def test_style_and_script_are_inlined_as_they_are(render):
    text = "".join(render(""))
    assert "p{margin:0}\n</style>" in text
    assert "<script>if (1 < 2) 3;\n</script>" in text
    assert "<title>A page</title>" in text


def test_what_comes_first_is_written_before_the_rest_is_read(render):
    read = []

    def values():
        for at in range(3):
            read.append(at)
            yield at

    written = ""
    for piece in render("{% for one in x %}<p>{{ one }}</p>{% endfor %}", x=values()):
        written += piece
        assert len(read) <= written.count("<p>") + 1
        if read == [0]:
            assert "<h1>" in written
    assert read == [0, 1, 2]
