"""Text cleaning: HTML to plain text, and normalization of titles for comparison."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

from selectolax.lexbor import LexborHTMLParser

# Only HTML element names open a tag: "<Type C>" and "a<b" are text that a seller typed.
_HTML = (
    "a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big "
    "blink blockquote body br button canvas caption center circle cite code col colgroup data "
    "datalist dd del details dfn dialog dir div dl dt ellipse em embed fieldset figcaption figure "
    "font footer form g h1 h2 h3 h4 h5 h6 head header hgroup hr html i image img input ins "
    "isindex kbd keygen label legend li line link main map mark marquee math menu menuitem meta "
    "meter nav nobr noindex noscript object ol optgroup option output p param path picture polygon "
    "polyline pre progress q rb rect rp rt rtc ruby s samp script search section select slot small "
    "source span strike strong style sub summary sup svg table tbody td text tfoot th thead time "
    "tr track tspan tt u ul use var video wbr"
)
_NAMES = frozenset(_HTML.split())
# The parser treats the content of these as raw text, or drops it with the element.
_OPAQUE = frozenset(
    {"title", "textarea", "xmp", "plaintext", "listing", "iframe", "noembed", "noframes"}
    | {"template", "frameset", "frame"}
)
# Prefixes of Microsoft Word's elements, such as <o:p>.
_WORD = ("o:", "v:", "w:", "m:", "st1:")
# Every "<", with the whole tag where one may start. An attribute starts with a Latin letter, so
# "a <b и c> d" is text. Quoted values may hold "<"; their length and number are bounded, which
# keeps the time linear.
_MARKUP = re.compile(
    r"<(?:(/?[a-z][a-z0-9]*+(?::\w+)?)"
    r"(?:/|\s+(?=[a-z_:@/>\"'])(?:[^<>\"']++|\"[^\"]{0,500}\"|'[^']{0,500}'|[\"']){0,100}+)?>"
    r"|[!?][a-z\[][^<>]*>)?",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>", re.IGNORECASE)
# Lexbor's time is quadratic in the depth: a megabyte of nested <div> takes minutes.
_LONGEST_HTML = 100_000

# Texts that programs write for a missing value. "Nan" and "NAN" are names of people and brands.
_MISSING = frozenset({"NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>"})

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")
_NOT_WORD = re.compile(r"[\W_]+")


def clean(text: str) -> str:
    """Convert a field to plain text on one line that is always encodable as UTF-8.

    Tags become spaces, so that words stay separate. Scripts, styles and comments are removed with
    their content. Entities are unescaped once. A `<` that opens no HTML tag stays: "размер < 5" and
    "a<b" are text. Control characters become spaces, lone surrogates become U+FFFD, and invisible
    marks (soft hyphens, zero-width spaces) are removed. Never raises.
    """
    if "<" in text:
        text = _without_tags(text)
    elif "&" in text:
        text = unescape(text)
    text = " ".join(text.split())
    if text.isprintable():
        return text
    text = _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", _CONTROL.sub(" ", text)))
    return " ".join(text.split())


def is_missing(text: str) -> bool:
    """Return True if a field is blank or a program's text for a missing value."""
    return text in _MISSING or not text or text.isspace()


def normalise_title(title: str) -> str:
    """Normalize a title for comparison: its words and numbers, case folded, in order.

    Applies NFKC, writes ё as е, and replaces each run of other characters with one space. The
    result may be empty. Used for grouped splits and duplicates, where merging two different titles
    is the safer mistake.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", title).casefold())
    return _NOT_WORD.sub(" ", folded.replace("ё", "е")).strip()


def _without_tags(text: str) -> str:
    last_comment = text.rfind("-->") + len("-->")
    if last_comment >= len("<!---->"):
        # Cut there, since each unclosed opening would cause another search for an end.
        text = _COMMENT.sub(" ", text[:last_comment]) + text[last_comment:]
    if "<![" in text:
        text = _CDATA.sub(" ", text)
    text = _MARKUP.sub(_keep_tag, text)
    if "<" not in text:
        return unescape(text)
    if len(text) > _LONGEST_HTML:
        # Attributes are dropped first, since inlined photos make a description this long.
        text = _MARKUP.sub(r"<\1>", text)[:_LONGEST_HTML]
    tree = LexborHTMLParser(_SURROGATE.sub("\ufffd", text))
    tree.strip_tags(["script", "style"], recursive=True)
    return tree.root.text(separator=" ") if tree.root is not None else ""


def _keep_tag(markup: re.Match[str]) -> str:
    """Return the parser's input for one `<`: the tag, a space, or the `<` as an entity."""
    found = markup[0]
    if found == "<":
        return "&lt;"
    if markup[1] is None:
        return " "
    name = markup[1].lower().removeprefix("/")
    if name in _NAMES or name.startswith(_WORD):
        return found
    return " " if name in _OPAQUE else "&lt;" + found[1:].replace("<", "&lt;")
