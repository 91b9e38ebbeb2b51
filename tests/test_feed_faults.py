"""Faults in a feed's XML: what is mended, what costs an offer, and what ends the run."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.feeds import DECLARATION, feed, offer, read
from vitrina.data.catalogue import Catalogue
from vitrina.data.readers.feed.repairs import FeedRepair
from vitrina.data.readers.yml import YmlReader
from vitrina.errors import CatalogueError

TITLE = "чашка синяя"


def between(tmp_path, faulty):
    """A feed of a faulty offer between two good ones, which must come out as they are."""
    found = read(tmp_path, feed(offer(1), faulty, offer(3)))
    assert (found.titles[1], found.titles[3]) == (TITLE, TITLE)
    assert found.products[0].category_name == found.products[-1].category_name == "Чашки"
    return found


@pytest.mark.parametrize(
    ("written", "title", "repairs"),
    [
        ("LCD&TFT", "LCD&TFT", {FeedRepair.AMPERSAND: 1}),
        ("a & b && c", "a & b && c", {FeedRepair.AMPERSAND: 3}),
        ("a&hellip;b", "a…b", {FeedRepair.ENTITY: 1}),
        ("a&nbsp;b &laquo;c&raquo; &AMP; &NBSP;", "a b «c» &", {FeedRepair.ENTITY: 5}),
        ("a&foo;b", "a&foo;b", {FeedRepair.UNKNOWN_ENTITY: 1}),
        ("a\x0bb\x00\x1fc", "a b c", {FeedRepair.CONTROL: 3}),
        ("a&#0;b&#xFFFF;c&#99999999;d", "a b c d", {FeedRepair.CHARACTER: 3}),
        ("a&#55357;&#56832;b", "a😀b", {FeedRepair.CHARACTER: 2}),
        ("a&#8211 b", "a– b", {FeedRepair.CHARACTER: 1}),
        ("a&#;b", "a&#;b", {FeedRepair.AMPERSAND: 1}),
        ("размер <5", "размер <5", {FeedRepair.LESS_THAN: 1}),
        ("5 << 6 < 7", "5 << 6 < 7", {FeedRepair.LESS_THAN: 3}),
        ("один<br>два", "один два", {FeedRepair.TAG: 1}),
        ("a]]>b", "a b", {FeedRepair.CDATA: 1}),
        ("<![CDATA[a & <b>b</b>]]>", "a & b", {}),
        ("<![CDATA[a]]> & <![CDATA[b & c]]>", "a & b & c", {FeedRepair.AMPERSAND: 1}),
        ("<!-- & -->a", "a", {}),
        ("a<!-- & --> &", "a &", {FeedRepair.AMPERSAND: 1}),
        ("a &lt;b&gt; & &amp;lt; &quot;", 'a & < "', {FeedRepair.AMPERSAND: 1}),
    ],
)
def test_text_is_mended(tmp_path, written, title, repairs):
    found = between(tmp_path, offer(2, written))
    assert found.titles[2] == title
    assert found.repairs == repairs
    assert found.reasons == []
    in_description = between(tmp_path, offer(2, inside=f"<description>{written}</description>"))
    assert in_description.products[1].description == title
    assert in_description.products[1].category_id == 1


@pytest.mark.parametrize(
    "faulty",
    [
        '<offer id="2"><name>чашка</name><categoryId>1</categoryId>',
        '<offer id="2"><categoryId>1</categoryId><name>чашка',
        '<offer id="2"><name>чашка</nmae><categoryId>1</categoryId></offer>',
        '<offer id="2"><name>чашка</name <categoryId>1</categoryId></offer>',
        '<offer id="2"><name>чашка</name><categoryId>1<price>5</price></offer>',
        '<offer id="2" <name>чашка</name><categoryId>1</categoryId></offer>',
        '<offer id="2"><name>чашка</name><categoryId>1</categoryId></offer',
        "<offer id=2><name>чашка</name><categoryId>1</categoryId></offer>",
        "<offer id='2'><name>чашка</name><categoryId>1</categoryId></offer>",
        '<offer id="2" id="9"><name>чашка</name><categoryId>1</categoryId></offer>',
        '<offer id="2 available="true"><name>чашка</name><categoryId>1</categoryId></offer>',
        '<offer id="2" title="до <5"><name>чашка</name><categoryId>1</categoryId></offer>',
        '<offer id="2"><name><![CDATA[чашка</name><categoryId>1</categoryId></offer>',
        '<offer id="2"><name><![CDATA[чашка</name><categoryId><![CDATA[1]]></categoryId></offer>',
        '<offer id="2"><name>чашка</name><categoryId>1</categoryId><p>да</offer>',
        '<offer id="2"><name>чашка</name></b><categoryId>1</categoryId><br></offer>',
        '<offer id="2"><!-- <name>чашка</name><categoryId>1</categoryId></offer>',
        '<OFFER ID="2"><NAME>чашка</NAME><CATEGORYID>1</CATEGORYID></OFFER>',
        '<offer id="2"><name>чашка</name><g:price>5</g:price><categoryId>1</categoryId></offer>',
    ],
)
def test_tags_are_mended(tmp_path, faulty):
    found = between(tmp_path, faulty)
    assert found.titles[2] == "чашка"
    assert found.products[1].category_id == 1
    assert found.reasons == []


def test_a_faulty_description_costs_no_other_field(tmp_path):
    description = "Цена <price>5</price>, <name>имя</name><br><p>размер <M & <param name=x>"
    params = '<param name="Цвет">синий<param name=Вес>5</param>'
    fields = f"<description>{description}</description>{params}"
    (product,) = read(tmp_path, feed(offer(1, inside=fields))).products
    assert product.description == "Цена <price>5</price>, <name>имя</name> размер <M &"
    assert product.characteristics == ("Цвет: синий", "Вес: 5")
    assert product.metadata == ()


@pytest.mark.parametrize(
    "inside",
    [
        "<![CDATA[про </offer> и <offer id='9'><name>x</name>]]>",
        "<!-- </offer> <offer id='9'> -->да",
        "<![CDATA[<!-- </offer>]]>",
        "<!-- <![CDATA[ </offer> -->да",
    ],
)
def test_tags_in_sections_and_comments_are_none(tmp_path, inside):
    found = between(tmp_path, offer(2, inside=f"<description>{inside}</description>"))
    assert (found.ids, found.reasons, found.repairs) == ([1, 2, 3], [], {})


def test_offers_in_a_comment_are_none(tmp_path):
    found = read(tmp_path, feed(offer(1), f"<!-- {offer(2)}\n{offer(4)} -->", offer(3)))
    assert (found.ids, found.reasons) == ([1, 3], [])


@pytest.mark.parametrize("later", ["<description>да</description>", "<url><![CDATA[u]]></url>"])
def test_an_unclosed_section_costs_no_other_offer(tmp_path, later):
    faulty = offer(2, inside="<description><![CDATA[текст <b>да</description><vendor>V</vendor>")
    found = read(tmp_path, feed(offer(1), faulty, offer(3, inside=later), offer(4)))
    assert found.ids == [1, 2, 3, 4]
    assert found.products[1].description == "текст да"
    assert found.products[1].attributes == ("V",)
    assert found.repairs == {FeedRepair.CDATA: 1}


@pytest.mark.parametrize("tag", ["company", "name", "platform"])
def test_an_unclosed_section_before_the_offers_costs_none(tmp_path, tag):
    inside = "<description><![CDATA[да]]></description>"
    content = feed(offer(1, inside=inside), offer(2, inside=inside))
    content = content.replace("<categories>", f"<{tag}><![CDATA[ООО</{tag}><categories>")
    assert read(tmp_path, content).ids == [1, 2]


@pytest.mark.parametrize(
    ("faulty", "reason", "ids"),
    [
        ("<offer><name>a</name></offer>", "the offer at line 5 has no id", [1, 3]),
        (
            'offer id="2"><name>a</name></offer>',
            "the offer at line 5 can't be read: its first tag is missing",
            [1, 3],
        ),
        (
            '<offer id="2"><categoryId>1</categoryId><price>5<price></offer>',
            "the offer at line 5 can't be read: its tags are damaged, and no name can be read",
            [1, 3],
        ),
        (
            f'<offer id="2"><name>a<name>{"<b>" * 400_000}</offer>',
            "the offer at line 5 can't be read: its tags are damaged, and it has over 1024 KB",
            [1, 3],
        ),
    ],
)
def test_what_cannot_be_mended_costs_one_offer_and_names_its_line(tmp_path, faulty, reason, ids):
    found = between(tmp_path, faulty)
    assert (found.ids, found.reasons) == (ids, [reason])


def test_a_rejected_offer_keeps_its_id(tmp_path):
    path = tmp_path / "feed.yml"
    path.write_text(feed(offer(1), '<offer id="2"><price>5<price></offer>', offer(3)))
    (rejected,) = [r for batch in Catalogue.read(path).batches() for r in batch.rejected]
    assert (rejected.row, rejected.product_id) == (2, 2)


def test_nested_offers_are_two(tmp_path):
    nested = '<offer id="2"><name>a</name><offer id="4"><name>b</name></offer><url>u</url></offer>'
    found = between(tmp_path, nested)
    assert (found.ids, found.reasons) == ([1, 2, 4, 3], [])


def test_each_kind_is_counted_anew_on_each_reading(tmp_path):
    path = tmp_path / "feed.yml"
    path.write_text(feed(offer(1, "a & b"), offer(2, "<?=$x?>c & d")))
    reader = YmlReader(path)
    assert reader.repairs == {}
    next(reader.rows())
    for _ in range(2):
        list(reader.rows())
        assert reader.repairs == {"bare ampersands escaped": 2, "PHP blocks removed": 1}


def test_a_line_is_that_of_the_file(tmp_path):
    head = '<?php\n\n$a = "\n?>";\n?>\n' + DECLARATION
    faulty = "<offer>\n<name>a<?\n\n?>b</name></offer>"
    found = read(tmp_path, feed(faulty, offer(1), "\n<offer/>", head=head))
    assert found.reasons == ["the offer at line 9 has no id", "the offer at line 15 has no id"]


# Feeds that end too early, or hold more than a feed.


def error_of(tmp_path, content):
    path = tmp_path / "feed.yml"
    path.write_text(content)
    rows = []

    def go_on():
        for batch in Catalogue.read(path).batches(1):
            rows.extend(batch.products)

    with pytest.raises(CatalogueError) as caught:
        go_on()
    return [row.product_id for row in rows], str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("cut", ["</offer>", "</offers>", "<name>ча", "<offer id=", "<![CDATA[да"])
def test_a_feed_cut_short_gives_its_rows_and_an_error(tmp_path, cut):
    content = feed(offer(1), offer(2), offer(3, "чашка", "<url><![CDATA[да]]></url>"))
    content = content[: content.rindex(cut) + len(cut)]
    ids, message = error_of(tmp_path, content)
    assert ids == ([1, 2, 3] if cut in ("</offer>", "</offers>") else [1, 2])
    assert re.fullmatch(
        r"cut short or damaged at line [5-7]: Premature end, .* is not closed; export it again",
        message,
    )


def test_a_feed_that_lacks_only_its_last_tag_is_whole(tmp_path):
    assert read(tmp_path, feed(offer(1)).replace("</yml_catalog>", "")).ids == [1]


def test_two_feeds_in_a_row_are_an_error(tmp_path):
    ids, message = error_of(tmp_path, feed(offer(1)) + feed(offer(2)))
    assert ids == [1]
    assert "Extra content at the end" in message


# What else a feed may look like.


@pytest.mark.parametrize(
    "head",
    [
        "",
        "\ufeff",
        "\n\n  ",
        "<br />\n<b>Warning</b>:  mysql_connect() in <b>/a.php</b> on line <b>5</b><br />\n",
        "PHP Warning:  mysql_connect() in /a.php on line 5\n",
        "[01-Jan-2024 10:00:00 UTC] PHP Notice: a < b & c\n",
        "<!-- <yml_catalog> -->",
        f"<!-- {'x' * 500_000} -->",
        '<!DOCTYPE yml_catalog SYSTEM "shops.dtd">',
        '<?xml version="1.0" encoding="UTF-8">\n',
        '<?xml version="1.0"?><?xml version="1.0" encoding="utf-8"?>\n',
    ],
)
@pytest.mark.parametrize("declared", ["", DECLARATION])
def test_what_may_stand_before_a_feed(tmp_path, head, declared):
    found = read(tmp_path, feed(offer(1), head=head + declared))
    assert found.titles == {1: TITLE}
    words = "PHP" in head or "Warning" in head
    assert found.notes == ["text before the feed's first tag was left out"] * words


def test_a_shop_without_a_catalogue_around_it(tmp_path):
    content = feed(offer(1)).replace('<yml_catalog date="2024-05-01 12:00">', "")
    found = read(tmp_path, content.replace("</yml_catalog>", ""))
    assert found.titles == {1: TITLE}
    assert found.products[0].category_name == "Чашки"


def test_offers_straight_in_the_shop(tmp_path):
    content = feed(offer(1), offer(2)).replace("<offers>", "").replace("</offers>", "")
    assert read(tmp_path, content).ids == [1, 2]


def test_tags_in_capitals_and_with_namespaces(tmp_path):
    found = read(tmp_path, feed(offer(1, "A", '<param name="Цвет">x</param>')).upper())
    (product,) = found.products
    assert (product.title, product.category_name) == ("A", "ЧАШКИ")
    assert product.characteristics == ("ЦВЕТ: X",)
    spaces = '<yml_catalog xmlns="http://a" xmlns:g="http://b"'
    content = feed(offer(1, inside="<g:name>x</g:name>")).replace("<yml_catalog", spaces)
    found = read(tmp_path, content)
    assert (found.titles, found.repairs) == ({1: TITLE}, {})


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ('product_id,title\n1,"<yml_catalog><shop>"\n', "<yml_catalog><shop>"),
        ('{"product_id": 1, "title": "<p>\\n<yml_catalog>"}\n', "<yml_catalog>"),
    ],
)
def test_a_table_that_mentions_a_feed_is_a_table(tmp_path, content, title):
    assert read(tmp_path, content).titles == {1: title}


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("1 299,00", 1299.0),
        ("1299,5", 1299.5),
        ("1\u00a0234\u00a0567.89", 1234567.89),
        ("12 34", "12 34"),
        ("1,299", "1,299"),
        ("от 5", "от 5"),
    ],
)
def test_prices_as_shops_write_them(tmp_path, written, price):
    (product,) = read(tmp_path, feed(offer(1, inside=f"<price>{written}</price>"))).products
    assert product.metadata == (("price", price),)


# Categories.


def test_the_tree_of_categories(tmp_path):
    tree = (
        '<category id="1">Дом & сад</category><category id="2" parentId="1">Чашки</category>'
        '<category id="x" parentId=2>Пустая<category id="9" parentID="8">Без корня</category>'
        '<category id="5" parentId="6">a</category><category id="6" parentId="5">b</category>'
        '<category id="7"/>'
    )
    path = tmp_path / "feed.yml"
    path.write_text(feed(offer(1), categories=tree))
    reader = YmlReader(path)
    assert dict(reader.categories) == {
        "1": "Дом & сад",
        "2": "Дом & сад->Чашки",
        "x": "Дом & сад->Чашки->Пустая",
        "9": "Без корня",
        "5": "b->a",
        "6": "a->b",
        "7": "7",
    }
    assert (reader.category_type, reader.integer_categories) == (str, False)
    assert (reader.source, reader.integer_ids) == ("Лавка", True)


def test_two_names_for_one_category_are_noted(tmp_path):
    tree = "".join(
        f'<category id="{n}">a{n}</category><category id="{n}">b{n}</category>' for n in range(1, 6)
    )
    found = read(tmp_path, feed(offer(1), categories=tree + '<category id="1">a1</category>'))
    assert found.products[0].category_name == "a1"
    assert found.notes == [
        "category ids with two names, of which the first is kept: "
        "1 ('a1' and 'b1'), 2 ('a2' and 'b2'), 3 ('a3' and 'b3') and 2 more"
    ]


# Any offer of any feed, with faults at any place in its values.

NAMES = st.lists(
    st.sampled_from(
        ["чашка", "синяя", "5", "см", "x", "&", "<", "&nbsp;", "&hellip;", "\x0b", "<b>", "]]>"]
    )
)
FAULTS = {"&": "&", "<": "<", "&nbsp;": "", "&hellip;": "…", "\x0b": "", "<b>": "", "]]>": ""}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@given(names=st.lists(NAMES, min_size=1, max_size=5), breaks=st.sampled_from(["", "\n", "\x02&\n"]))
def test_any_faults_in_values_cost_nothing(tmp_path, names, breaks):
    names = [["товар", *name] for name in names]
    offers = [offer(at, " ".join(name)) for at, name in enumerate(names)]
    found = read(tmp_path, feed(breaks.join(offers)))
    assert found.reasons == []
    expected = (" ".join(filter(None, (FAULTS.get(w, w) for w in name))) for name in names)
    assert list(found.titles.values()) == list(expected)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@given(
    at=st.integers(0, 3),
    start=st.integers(1, 200),
    length=st.integers(0, 30),
    junk=st.sampled_from(
        ["", "<", ">", "&", '"', "]]>", "<![CDATA[", "<offer", "</offer>", "<?", "\0"]
    ),
)
def test_any_damage_inside_an_offer_costs_that_offer_alone(tmp_path, at, start, length, junk):
    inside = "<description><![CDATA[<p>да</p>]]></description><param name='a'>b</param>"
    offers = [offer(number, inside=inside) for number in range(4)]
    damaged = offers[at]
    # Its first and last tags stay.
    start = min(start + len('<offer id="0">'), len(damaged) - len("</offer>"))
    end = min(start + length, len(damaged) - len("</offer>"))
    offers[at] = damaged[:start] + junk + damaged[end:]
    found = read(tmp_path, feed(*offers))
    others = {number: TITLE for number in range(4) if number != at}
    assert {number: found.titles.get(number) for number in others} == others
