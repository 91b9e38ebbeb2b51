import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.data.text import clean, normalise_title

ANY_TEXT = st.text(st.characters())  # surrogates and control characters included
TAGS = ["<p>", "</p>", "<br/>", "<script>", "</script>", "<textarea>", "<select>", "<svg>"]
MARKS = ["<", ">", "<b", "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE html>", "<?x?>", "<a href='"]
CHARS = ["&", "&amp;", "&#0;", "&#xD800;", '"', "'", "=", "слово", " ", "5", "\x00", "\ud800"]
HTML_PIECES = st.lists(st.sampled_from([*TAGS, *MARKS, *CHARS])).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  Носки \n\t мужские\u00a0 2,4%  ", "Носки мужские 2,4%"),
        ("<p>Хлопок</p><p>95%</p>", "Хлопок 95%"),
        ("тёплые<br>носки<br/>и<BR />шарф", "тёплые носки и шарф"),
        ("a<b>bold</b>c", "a bold c"),
        ("<ul><li>1</li><li>2</li></ul>", "1 2"),
        ("<table><tr><td>Вес<td>5 кг</table>", "Вес 5 кг"),
        ("<script>if (a<b) alert('x')</script>t<style>p{}</style>", "t"),
        ("a<!-- <b>no</b> -->b", "a b"),
        ("<![CDATA[<p>в обёртке</p>]]>", "в обёртке"),
        ("<?xml version='1.0'?><!DOCTYPE html><html><body>x</body></html>", "x"),
        ("AT&T &amp; &laquo;x&raquo; &#8212; 5&nbsp;кг", "AT&T & «x» — 5 кг"),
        ("<p>A&amp;B</p>", "A&B"),
        ("a &lt;b&gt; c", "a <b> c"),
        ("размер < 5", "размер < 5"),
        ("a<b", "a<b"),
        ("x<y и y>z", "x<y и y>z"),
        ("a <b и c> d", "a <b и c> d"),
        ("кабель <Type C>", "кабель <Type C>"),
        ("<p>вес<5 кг</p> и a<b", "вес<5 кг и a<b"),
        ("-> стрелки <-", "-> стрелки <-"),
        ("<!-- без конца", "<!-- без конца"),
        ('<a title="1 > 0 <b>">ссылка</a>', "ссылка"),
        ("<font face=Ариал>шрифт</font>", "шрифт"),
        ("<o:p></o:p>из Word<o:p/>", "из Word"),
        ("<title>заголовок</title><textarea>a<b>c</textarea>", "заголовок a c"),
        ("<frameset><p>кадры", "кадры"),
        ("zero\x00width\u200b soft\u00adhyphen \ufeffbom", "zero width softhyphen bom"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("<p>lone \udfff half</p>", "lone \ufffd half"),
        ("эмодзи \U0001f9e6", "эмодзи \U0001f9e6"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


@given(st.one_of(ANY_TEXT, HTML_PIECES))
def test_clean_is_always_harmless(text):
    result = clean(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in result)
    assert result == " ".join(result.split())
    result.encode()


@given(st.text(st.characters(exclude_characters="<&")))
def test_clean_is_idempotent_on_plain_text(text):
    assert clean(clean(text)) == clean(text)


@given(st.lists(st.from_regex("[а-яa-z0-9,%]{1,8}", fullmatch=True)))
def test_tags_part_words_and_lose_none(words):
    assert clean("".join(f"<p>{word}</p>" for word in words)).split() == words


@pytest.mark.parametrize(
    "hostile",
    ["<!--" * 50_000, "<" * 50_000, '<a "' * 20_000, "<a '\"<a \"'" * 10_000, "<div>" * 60_000],
)
def test_clean_takes_hostile_html_in_its_stride(hostile):
    assert isinstance(clean(hostile + " конец"), str)


def test_a_photo_inlined_in_html_does_not_hide_the_text_after_it():
    assert clean(f'до<img src="data:image/png;base64,{"A" * 300_000}">после') == "до после"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Ёлка «Ель», 2.4м", "елка ель 2 4м"),
        ("НОСКИ  мужские!!!", "носки мужские"),
        ("ﬁne_Straße①", "fine strasse1"),
        ("е\u0308лка", "елка"),
        ("...", ""),
    ],
)
def test_normalise_title(title, expected):
    assert normalise_title(title) == expected


@given(st.text())
def test_normalised_titles_hold_words_only(title):
    result = normalise_title(title)
    assert all(char.isalnum() or char == " " for char in result)
    assert normalise_title(title + " !") == result
