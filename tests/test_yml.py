import gzip
import io
import json
import re
import socket
import subprocess
import sys
from html import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.catalogue_files import all_rows, text
from vitrina.data.catalogue import Catalogue
from vitrina.data.photo_index import NameIndex
from vitrina.data.photo_lookup import PhotoLookup
from vitrina.data.photo_names import existing
from vitrina.data.product import Product, Rejection
from vitrina.data.readers import Columns
from vitrina.data.readers.feed import parts
from vitrina.data.readers.yml import YmlReader
from vitrina.data.reading import Reading
from vitrina.errors import CatalogueError

FEED = """<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE yml_catalog SYSTEM "shops.dtd">
<yml_catalog date="2024-05-01 12:00">
  <shop>
    <name>Магазин &quot;У дома&quot;</name>
    <company>ООО Ромашка</company>
    <currencies><currency id="RUR" rate="1"/></currencies>
    <categories>
      <category id="1">Все</category>
      <!-- the parent comes later -->
      <category id="12" parentId="10">Носки</category>
      <category id="10" parentId="1">Одежда &amp; обувь</category>
    </categories>
    <offers>
      <offer id="7" available="true">
        <url> https://shop.ru/7?a=1&amp;copy=2 </url>
        <price>199.90</price>
        <oldprice>250</oldprice>
        <currencyId>RUR</currencyId>
        <categoryId>12</categoryId>
        <categoryId>10</categoryId>
        <picture>
          https://cdn.ru/7/a%20b.jpg
        </picture>
        <picture>photos/7-2.jpg</picture>
        <picture/>
        <name>Носки &lt;b&gt;тёплые&lt;/b&gt;</name>
        <vendor>Чудо</vendor>
        <vendorCode>CH-7</vendorCode>
        <barcode>4600000000011</barcode>
        <barcode>4600000000028</barcode>
        <description><![CDATA[<p>Хлопок</p><p>95%&nbsp;и&nbsp;эластан</p>]]></description>
        <param name="Цвет">красный</param>
        <param name="Длина" unit="см">24</param>
        <param name="Цвет">синий</param>
        <param name="Пусто"></param>
        <param>просто так</param>
      </offer>
      <offer id="8" type="vendor.model" available="false">
        <price>по запросу</price>
        <categoryId>99</categoryId>
        <typePrefix>Чайник</typePrefix>
        <vendor>Bosch</vendor>
        <model>TWK 3A011</model>
        <description>Мощность&nbsp;2400 Вт <i><b>сталь</b><b>пласт&shy;ик</b></i></description>
      </offer>
    </offers>
  </shop>
</yml_catalog>
"""
PRODUCTS = [
    Product(
        row=1,
        product_id=7,
        title="Носки тёплые",
        description="Хлопок 95% и эластан",
        attributes=("Чудо",),
        characteristics=("Цвет: красный, синий", "Длина: 24 см", "просто так"),
        shop='Магазин "У дома"',
        category_id=12,
        category_name="Все->Одежда & обувь->Носки",
        images=("https://cdn.ru/7/a%20b.jpg", "photos/7-2.jpg"),
        metadata=(
            ("price", 199.9),
            ("oldprice", 250.0),
            ("currencyId", "RUR"),
            ("available", True),
            ("url", "https://shop.ru/7?a=1&copy=2"),
            ("vendor", "Чудо"),
            ("vendorCode", "CH-7"),
            ("barcode", "4600000000011, 4600000000028"),
        ),
    ),
    Product(
        row=2,
        product_id=8,
        title="Чайник Bosch TWK 3A011",
        description="Мощность 2400 Вт сталь пластик",
        shop='Магазин "У дома"',
        category_id=99,
        metadata=(("price", "по запросу"), ("available", False), ("vendor", "Bosch")),
    ),
]


def feed(*offers, shop="", before="", after=""):
    """A feed of offers, each the inside of its tag: `id="1"><name>a</name>`."""
    body = "\n".join(f"<offer {offer}</offer>" for offer in offers)
    return (
        f"<yml_catalog><shop><name>{shop}</name>{before}\n"
        f"<offers>\n{body}\n</offers>{after}</shop></yml_catalog>"
    )


def read(tmp_path, content):
    return all_rows(Catalogue.read(text(tmp_path / "feed.xml", content)))


def products_of(tmp_path, content):
    products, rejected = read(tmp_path, content)
    assert rejected == []
    return products


# What a feed says.


@pytest.mark.parametrize("encoding", ["UTF-8", "windows-1251", "UTF-16", "KOI8-R"])
@pytest.mark.parametrize("name", ["feed.xml", "feed.yml", "feed.xml.gz", "feed.yml.gz", "feed"])
def test_a_feed(tmp_path, name, encoding):
    content = FEED.format(encoding=encoding).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    catalogue = Catalogue.read(tmp_path / name)
    assert (catalogue.id_type, catalogue.category_type) == (int, int)
    assert catalogue.has_categories
    assert catalogue.images is None
    assert all_rows(catalogue) == (PRODUCTS, [])
    assert all_rows(catalogue, size=1) == (PRODUCTS, [])


@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n  ", "\ufeff\r\n"])
def test_what_stands_before_the_first_tag(tmp_path, start):
    assert products_of(tmp_path, start + FEED.format(encoding="utf-8")) == PRODUCTS
    bare = FEED.partition("?>\n")[2]
    assert products_of(tmp_path, start + bare) == PRODUCTS
    # Without a DTD to declare them, XML knows none of HTML's entities.
    bare = bare.partition(">\n")[2].replace("400&nbsp;", "400 ").replace("&shy;", "")
    assert products_of(tmp_path, start + bare.replace("ь&nbsp;2", "ь 2")) == PRODUCTS


def test_a_feed_is_read_from_python_without_detection(tmp_path):
    reader = YmlReader(text(tmp_path / "a.xml", FEED.format(encoding="utf-8")))
    assert list(reader.rows()) == PRODUCTS
    assert (reader.id_type, reader.image_bytes) == (int, None)


def test_settings_of_a_table_say_nothing_of_a_feed(tmp_path):
    path = text(tmp_path / "feed.xml", FEED.format(encoding="utf-8"))
    columns = Columns(title="name", attributes=("brand",), keep=("price",))
    reading = Reading(columns, delimiter=";")
    assert all_rows(Catalogue.open(path, reading)) == (PRODUCTS, [])


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("<name>Имя</name><model>M</model>", ("Имя", ())),
        ("<name>Кофе Чудо</name><vendor>ЧУДО</vendor>", ("Кофе Чудо", ())),
        ("<name>Кофе</name><vendor>Чудо</vendor>", ("Кофе", ("Чудо",))),
        ("<model>M</model><vendor>V</vendor>", ("M", ("V",))),
        ("<name/><name>второе</name>", ("второе", ())),
        ("<title>Альбом</title>", ("Альбом", ())),
        ("", ("", ())),
    ],
)
def test_titles(tmp_path, offer, expected):
    (product,) = products_of(tmp_path, feed(f'id="1">{offer}'))
    assert (product.title, product.attributes) == expected


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("<typePrefix>P</typePrefix><vendor>V</vendor><model>M</model><name>N</name>", "P V M"),
        ("<vendor>V</vendor><model>M</model>", "V M"),
        ("<model>M</model>", "M"),
        ("<vendor>V</vendor><name>N</name>", "N"),
        ("<typePrefix>P</typePrefix><vendor>V</vendor>", "P V"),
    ],
)
def test_titles_of_the_type_vendor_model(tmp_path, offer, expected):
    (product,) = products_of(tmp_path, feed(f'id="1" type="vendor.model">{offer}'))
    assert product.title == expected


def test_params(tmp_path):
    params = [
        '<param name="Вес" unit="кг">1</param>',
        '<param name=" Вес " unit="г">500</param>',
        '<param name="Цвет &lt;i&gt;">красный</param>',
        '<param name="Вес" unit="кг">1</param>',
        "<param> </param>",
        "<param>a</param><param>b</param>",
        '<param name="Размер" unit=" ">38 &lt; 40</param>',
    ]
    (product,) = products_of(tmp_path, feed('id="1">' + "".join(params)))
    assert product.characteristics == (
        "Вес: 1 кг, 500 г",
        "Цвет: красный",
        "a, b",
        "Размер: 38 < 40",
    )


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("<price>10</price>", ("price", 10.0)),
        ("<price from='true'> 10.50 </price>", ("price", 10.5)),
        ("<price>1,500</price>", ("price", "1,500")),
        ("<price>1e5</price>", ("price", "1e5")),
        ("<oldprice>-1</oldprice>", ("oldprice", "-1")),
        ("<available>TRUE</available>", ("available", True)),
        ("<available>на складе</available>", ("available", "на складе")),
        ("<url/><url>u</url>", ("url", "u")),
    ],
)
def test_metadata(tmp_path, offer, expected):
    (product,) = products_of(tmp_path, feed(f'id="1">{offer}'))
    assert product.metadata == (expected,)
    json.dumps(product.metadata, allow_nan=False)
    assert product.text == ""


@pytest.mark.parametrize("price", ["9" * 400, "nan"])
def test_a_price_that_says_nothing_is_left_out(tmp_path, price):
    (product,) = products_of(tmp_path, feed(f'id="1"><price>{price}</price>'))
    assert product.metadata == ()


# Ids.


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["1", " 22 "], [1, 22]),
        (["1", "-5", "0"], [1, -5, 0]),
        (["1", "05"], ["1", "05"]),
        (["1", "٣"], ["1", "٣"]),
        (["1", "a-1"], ["1", "a-1"]),
        (["1", "1.0"], ["1", "1.0"]),
        (["1", str(2**63)], ["1", str(2**63)]),
        (["1", "9" * 5000], ["1", "9" * 5000]),
        ([str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)]),
    ],
)
def test_ids_are_integers_only_if_all_of_them_are(tmp_path, ids, expected):
    path = text(tmp_path / "a.xml", feed(*(f'id="{offer_id}">' for offer_id in ids)))
    catalogue = Catalogue.read(path)
    assert [product.product_id for product in all_rows(catalogue)[0]] == expected
    assert catalogue.id_type is type(expected[0])
    offers = (f'id="{n}"><categoryId>{c}</categoryId>' for n, c in enumerate(ids))
    catalogue = Catalogue.read(text(path, feed(*offers)))
    assert [product.category_id for product in all_rows(catalogue)[0]] == expected
    assert catalogue.category_type is type(expected[0])


def test_offers_without_an_id(tmp_path):
    content = feed("><name>a</name>", 'id="5">', 'id="  ">', 'id="5"><name>again</name>')
    products, rejected = read(tmp_path, content)
    assert [(p.row, p.product_id) for p in products] == [(2, 5)]
    assert rejected == [
        Rejection(1, "the offer at line 3 has no id"),
        Rejection(3, "the offer at line 5 has no id"),
        Rejection(4, "this product_id was seen before, in an earlier row", 5),
    ]


def test_a_feed_that_changes_after_it_was_opened(tmp_path):
    path = text(tmp_path / "a.xml", feed('id="1"><categoryId>1</categoryId>'))
    catalogue = Catalogue.read(path)
    text(path, feed('id="x">', 'id="2"><categoryId>y</categoryId>'))
    was = "is text, where all ids were integers before"
    faulty = Product(row=2, product_id=2, title="", label_fault=f"categoryId 'y' {was}")
    assert all_rows(catalogue) == ([faulty], [Rejection(1, f"the offer's id 'x' {was}")])


# Categories.


def category_names(tmp_path, tree, *ids, after=False):
    categories = f"<categories>{tree}</categories>"
    offers = (f'id="{n}"><categoryId>{c}</categoryId>' for n, c in enumerate(ids))
    where = {"after": categories} if after else {"before": categories}
    return [product.category_name for product in products_of(tmp_path, feed(*offers, **where))]


@pytest.mark.parametrize("after", [False, True])
def test_category_paths_wherever_the_tree_stands(tmp_path, after):
    tree = (
        '<category id="3" parentId="2">c</category><category id="2" parentId="1">b</category>'
        '<category id="1">a</category>'
    )
    names = category_names(tmp_path, tree, 1, 2, 3, 4, after=after)
    assert names == ["a", "a->b", "a->b->c", None]


def test_category_trees_that_are_none(tmp_path):
    tree = (
        '<category id="1" parentId="2">a</category><category id="2" parentId="1">b</category>'
        '<category id="3" parentId="3">c</category><category id="4" parentId="0">d</category>'
        '<category id="5" parentId="4"/><category id="6" parentId=" 5 "> f &amp;amp; g </category>'
        '<category id="4" parentId="6">said twice</category><category>no id</category>'
    )
    names = category_names(tmp_path, tree, 1, 2, 3, 4, 5, 6)
    assert names == ["b->a", "a->b", "c", "d", "d", "d->f & g"]


def test_a_category_tree_of_any_depth_gives_short_paths(tmp_path):
    tree = "".join(f'<category id="{n}" parentId="{n - 1}">{n}</category>' for n in range(1, 3000))
    (name,) = category_names(tmp_path, tree, 2999)
    assert name.split("->") == [str(n) for n in range(2900, 3000)]


def test_categories_of_a_shape_of_their_own_make_all_text(tmp_path):
    tree = "<categories><category id='x-1'>a</category></categories>"
    (product,) = products_of(tmp_path, feed('id="1"><categoryId>5</categoryId>', before=tree))
    assert product.category_id == "5"


def test_no_offer_with_a_category(tmp_path):
    tree = "<categories><category id='1'>a</category></categories>"
    path = text(tmp_path / "a.xml", feed('id="1"><categoryId> </categoryId>', before=tree))
    catalogue = Catalogue.read(path)
    assert (catalogue.has_categories, catalogue.category_type) == (False, None)
    assert all_rows(catalogue)[0] == [Product(row=1, product_id=1, title="")]


def test_only_the_shops_own_name_counts(tmp_path):
    after = "<promos><promo><name>Акция</name><category>x</category></promo></promos>"
    (product,) = products_of(tmp_path, feed('id="1"><name>a</name>', shop=" Шкаф ", after=after))
    assert product == Product(row=1, product_id=1, title="a", shop="Шкаф")


def test_a_feed_without_offers(tmp_path):
    assert read(tmp_path, "<yml_catalog/>") == ([], [])
    assert read(tmp_path, feed()) == ([], [])


def test_undeclared_namespaces_do_no_harm(tmp_path):
    offers = [f'id="{n}"><g:name>x</g:name><name>a</name>' for n in range(3000)]
    assert {product.title for product in products_of(tmp_path, feed(*offers))} == {"a"}
    with pytest.raises(CatalogueError, match=r"cut short or damaged at line 3003: Premature end"):
        read(tmp_path, feed(*offers).removesuffix("</shop></yml_catalog>"))


# What any feed gives, written at random.

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Co", "Cn", "Z")),
    min_size=1,
    max_size=12,
).filter(lambda word: not set("<&") & set(word) and word.isprintable())
OFFERS = st.sampled_from([st.integers(-(2**63), 2**63 - 1), WORDS.map("id".__add__)]).flatmap(
    lambda ids: st.lists(
        st.fixed_dictionaries(
            {
                "id": ids,
                "name": WORDS,
                "description": WORDS,
                "category": st.integers(0, 6),
                "pictures": st.lists(WORDS, max_size=3),
                "params": st.dictionaries(WORDS, WORDS, max_size=3),
                "price": st.integers(0, 10**7).map(lambda cents: cents / 100),
            }
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda offer: offer["id"],
    )
)
# The parent of each of the categories 1 to 5, which may be missing or a ring.
TREES = st.lists(st.integers(0, 7), min_size=5, max_size=5)


def written(offers, parents, wrap):
    out = io.StringIO()
    out.write("<yml_catalog><shop><offers>")
    for offer in offers:
        out.write(f'<offer id="{escape(str(offer["id"]))}"><categoryId>{offer["category"]}')
        out.write(f"</categoryId><price>{offer['price']}</price>")
        for name in ("name", "description"):
            out.write(f"<{name}>{wrap(offer[name])}</{name}>")
        for picture in offer["pictures"]:
            out.write(f"<picture> {wrap(picture)}\n</picture>")
        for name, value in offer["params"].items():
            out.write(f'<param name="{escape(name)}">{wrap(value)}</param>')
        out.write("</offer>")
    out.write("</offers><categories>")
    for number, parent in enumerate(parents, 1):
        out.write(f'<category id="{number}" parentId="{parent}">c{number}</category>')
    out.write("</categories></shop></yml_catalog>")
    return out.getvalue()


def path_of(category, parents):
    found = []
    while 1 <= category <= 5 and category not in found:
        found.append(category)
        category = parents[category - 1]
    return "->".join(f"c{number}" for number in reversed(found)) or None


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(offers=OFFERS, parents=TREES, wrap=st.sampled_from([escape, "<![CDATA[{}]]>".format]))
def test_any_feed_comes_back_as_it_was_written(tmp_path, offers, parents, wrap):
    assert products_of(tmp_path, written(offers, parents, wrap)) == [
        Product(
            row=row,
            product_id=offer["id"],
            title=offer["name"],
            description=offer["description"],
            characteristics=tuple(f"{name}: {value}" for name, value in offer["params"].items()),
            category_id=offer["category"],
            category_name=path_of(offer["category"], parents),
            images=tuple(offer["pictures"]),
            metadata=(("price", offer["price"]),),
        )
        for row, offer in enumerate(offers, 1)
    ]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80
)
@given(data=st.data(), junk=st.sampled_from([b"", b"<", b">", b"&", b"]]>", b"\xff", b"\0", b'"']))
def test_any_damage_gives_rows_in_order_or_one_clear_error(tmp_path, data, junk):
    content = FEED.format(encoding="utf-8").encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    path = tmp_path / "feed.yml"
    path.write_bytes(b"<yml_catalog>"[: 5 * (start == 0)] + content[:start] + junk + content[end:])
    rows = []
    try:
        for batch in Catalogue.read(path).batches(1):
            rows += [*batch.products, *batch.rejected]
    except CatalogueError as err:
        assert str(err).startswith(str(path))  # noqa: PT017 - some damage is no error
        assert "\n" not in str(err)  # noqa: PT017
    assert [row.row for row in rows] == list(range(1, len(rows) + 1))


# Broken and hostile feeds.


def broken(tmp_path, content, name="feed.yml"):
    """The rows before the break, and the message."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = []

    def read_on():
        for batch in Catalogue.read(path).batches(1):
            rows.extend([*batch.products, *batch.rejected])

    with pytest.raises(CatalogueError) as caught:
        read_on()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return rows, message.removeprefix(f"{path}: ")


OFFERS_TEXT = feed(*(f'id="{n}"><name>{n}</name>' for n in range(5000)))
HALF = OFFERS_TEXT.index('<offer id="2500"')


@pytest.mark.parametrize(
    "tail", ["", '<offer id="2500"><name>Имя', '<offer id="2500" available="tr']
)
def test_rows_before_a_cut_are_given(tmp_path, tail):
    rows, message = broken(tmp_path, OFFERS_TEXT[:HALF] + tail)
    assert [row.product_id for row in rows] == list(range(2500))
    assert message.startswith("cut short or damaged at line 2503: ")


def test_the_line_counts_blank_lines_before_the_first_tag(tmp_path):
    _, message = broken(tmp_path, "\n\n\n<yml_catalog><shop><name>a</name>\n<offers></yml>")
    assert message.startswith("cut short or damaged at line 5: Premature end, <yml_catalog> is")


def test_a_gzipped_feed_cut_short(tmp_path):
    content = "".join(f'<offer id="{n}"><name>{hash(str(n))}</name></offer>\n' for n in range(4000))
    zipped = gzip.compress(f"<yml_catalog><offers>{content}</offers></yml_catalog>".encode())
    rows, message = broken(tmp_path, zipped[: len(zipped) // 2], "feed.yml.gz")
    assert len(rows) > 1000
    line = int(re.match(r"cut short or damaged at line (\d+): Compressed file ended", message)[1])
    assert len(rows) <= line <= len(rows) + 2
    damaged = bytearray(zipped)
    damaged[-8] ^= 1
    rows, message = broken(tmp_path, bytes(damaged), "feed.yml.gz")
    assert [row.product_id for row in rows] == list(range(4000))
    assert message.startswith("cut short or damaged at line 4001: CRC check failed")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<?xml version='1.0'?><rss version='2.0'><channel/></rss>", "outermost tag is <rss>"),
        ("<?xml version='1.0'?><shop><offers/></shop>", "outermost tag is <shop>"),
        ("<yml_catalogue/>", "outermost tag is <yml_catalogue>"),
        ("<?xml version='1.0'?>", "cut short or damaged at line 1: "),
        ("<?xml version='1.0'?><yml_catalog><shop><na", "cut short or damaged at line 1: "),
        (b"<?xml version='1.0' encoding='utf-8'?>\n<yml_catalog>\xff", "damaged at line 2: "),
        ("<?xml version='1.0'?><yml_catalog/><yml_catalog/>", "Extra content at the end"),
        ("<html><body>404</body></html>", "this is XML or HTML, neither a table nor a YML feed"),
        ("<!DOCTYPE html><html></html>", "this is XML or HTML, neither a table nor a YML feed"),
    ],
)
def test_what_is_no_feed(tmp_path, content, message):
    rows, found = broken(tmp_path, content)
    assert rows == []
    assert message in found


def test_a_missing_feed(tmp_path):
    with pytest.raises(CatalogueError, match=r"nope\.yml: can't be read: .*No such file"):
        Catalogue.read(tmp_path / "nope.yml")


REFUSED = "which is more than plain text and might be an attack; export the feed without it"


def test_a_billion_laughs(tmp_path):
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    doctype = f'<!DOCTYPE yml_catalog [<!ENTITY l0 "lol">{entities}]>'
    for offer in ('id="1"><name>&l11;</name>', 'id="&l11;">', 'id="1">'):
        rows, message = broken(tmp_path, doctype + feed(offer))
        assert rows == []
        assert message == f"its DOCTYPE declares the entity 'l1', {REFUSED}"
    # Ten million letters from a feed of ten thousand, in one entity.
    doctype = f'<!DOCTYPE yml_catalog [<!ENTITY l "{"l" * 10_000}">]>'
    offers = ('id="1">', f'id="2" x="{"&l;" * 1000}">', f'id="3"><name>{"&l;" * 6}</name>')
    products, rejected = read(tmp_path, doctype + feed(*offers))
    assert [(p.product_id, len(p.title)) for p in products] == [(1, 0), (3, 60_000)]
    reason = "entities of the DOCTYPE make it more than 64 KB longer"
    assert rejected == [Rejection(2, f"the offer at line 4 can't be read: {reason}", 2)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1251"])
@pytest.mark.parametrize("end", ["", "</offers></shop></yml_catalog>"])
def test_elements_in_an_entity(tmp_path, encoding, end):
    declared = "windows-1251" if encoding == "cp1251" else encoding[:6]
    content = (
        f'<?xml version="1.0" encoding="{declared}"?>'
        "<!DOCTYPE yml_catalog [<!ENTITY o '<offer id=\"2\"><name>x</name></offer>'>]>"
        f'<yml_catalog date=">">&o;<shop><offers>&o;<offer id="1">&o;</offer>{end}'
    )
    path = tmp_path / "feed.xml"
    path.write_bytes(content.encode(encoding))
    with pytest.raises(CatalogueError, match=f"declares the entity 'o', {REFUSED}$"):
        YmlReader(path)


def test_entities_that_are_plain_text(tmp_path):
    doctype = '<!DOCTYPE yml_catalog [<!ENTITY nbsp "&#160;"><!ENTITY mark "Чудо">]>'
    offer = 'id="&mark;"><name>a&nbsp;b &mark; &lt;i&gt;c&lt;/i&gt; &eacute;</name>'
    (product,) = products_of(tmp_path, doctype + feed(offer))
    assert (product.product_id, product.title) == ("Чудо", "a b Чудо c é")


def test_no_other_file_is_opened(tmp_path):
    secret = text(tmp_path / "secret.txt", "СЕКРЕТ")
    dtd = text(tmp_path / "shops.dtd", '<!ENTITY x "СЕКРЕТ">')
    content = feed('id="1"><name>a &x; b</name>')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        web = f"http://127.0.0.1:{listener.getsockname()[1]}/shops.dtd"
        for address in (secret.as_uri(), dtd.as_uri(), web):
            (product,) = products_of(
                tmp_path, f'<!DOCTYPE yml_catalog SYSTEM "{address}">{content}'
            )
            assert product == Product(row=1, product_id=1, title="a &x; b")
            for entity, use in (("x", ""), ("% x", "%x;")):
                doctype = f'<!DOCTYPE yml_catalog [<!ENTITY {entity} SYSTEM "{address}"> {use}]>'
                rows, message = broken(tmp_path, doctype + content)
                assert (rows, message) == ([], f"its DOCTYPE declares the entity 'x', {REFUSED}")
        with pytest.raises(BlockingIOError):
            listener.accept()
    include = f"<name><xi:include href='{secret.as_uri()}' parse='text'/>a</name>"
    content = feed(f'id="1" xmlns:xi="http://www.w3.org/2001/XInclude">{include}')
    assert products_of(tmp_path, content)[0].title == "a"


@pytest.mark.parametrize(
    ("start", "filler", "rejected"),
    [
        ("<offer id='2'><name>", "x", True),
        ("<offer id='2' x='", "x", False),
        ("<offer id='2'><![CDATA[", "\n", True),
        ("<offer id='2'><!--", "\n", True),
        ("<!--", "\n", False),
        ("<![CDATA[", "\n", False),
        ("<offer id='2'>", "<a>x</a>", True),
        ("<offer id='2'>", "<a>", True),
    ],
)
@pytest.mark.parametrize("end", ["", "</offer>\n<offer id='3'/></shop></yml_catalog>"])
@pytest.mark.slow
def test_nothing_without_an_end_is_held_whole(tmp_path, start, filler, rejected, end, monkeypatch):
    monkeypatch.setattr(parts, "LONGEST_ELEMENT", 1 << 20)
    good = "<yml_catalog>\n<offer id='1'></offer>\n" + start
    path = text(tmp_path / "feed.yml", good + filler * (2_200_000 // len(filler)) + end)
    rows = []
    try:
        for batch in Catalogue.read(path).batches(1):
            rows += [*batch.products, *batch.rejected]
    except CatalogueError as err:
        assert re.search(r"cut short or damaged at line \d+: Premature end", str(err))  # noqa: PT017
    assert rows[0].product_id == 1
    reasons = [row.reason for row in rows if isinstance(row, Rejection)]
    if rejected:
        reason = "the offer at line 3 can't be read: it has no end in 1024 KB"
        assert (reasons, rows[1].product_id) == ([reason], 2)
        assert [row.product_id for row in rows[2:]] == [3] * bool(end)


def test_a_prologue_without_an_end(tmp_path):
    comment = "<!-- лицензия -->\n" * 1000
    assert products_of(tmp_path, "<?xml version='1.0'?>" + comment + feed('id="1">')) != []
    rows, message = broken(tmp_path, "<?xml version='1.0'?>" + comment * 200 + feed('id="1">'))
    assert rows == []
    assert "there is no <yml_catalog> in the first 1024 KB" in message


def test_a_text_past_the_parsers_own_limit_costs_its_offer(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "LONGEST_ELEMENT", 1 << 25)
    for start, end in (("", ""), ("<![CDATA[", "]]>")):
        long = f"{start}{'x' * 11_000_000}{end}"
        products, rejected = read(
            tmp_path, feed('id="1">', f'id="2"><name>{long}</name>', 'id="3">')
        )
        assert [product.product_id for product in products] == [1, 3]
        assert [(row.row, row.product_id) for row in rejected] == [(2, 2)]
        assert "XML_PARSE_HUGE" not in rejected[0].reason


@pytest.mark.slow
def test_a_feed_is_read_in_bounded_memory(tmp_path):
    params = "".join(f'<param name="Свойство {n}">значение {n}</param>' for n in range(10))
    offer = f"<price>10</price><name>Имя</name><description>{'Слова. ' * 20}</description>{params}"
    junk = "<promo><x>y</x></promo>" * 100
    small = text(tmp_path / "small.xml", feed(f'id="1">{offer}'))
    big = tmp_path / "big.xml"
    with big.open("w", encoding="utf-8") as file:
        file.write("<yml_catalog><shop><offers>\n")
        file.writelines(f'<offer id="{n}">{offer}</offer>\n' for n in range(30_000))
        file.write("</offers><promos>\n")
        file.writelines(junk for _ in range(500))
        file.write("</promos></shop></yml_catalog>")
    script = (
        "import sys, resource\n"
        "from pathlib import Path\n"
        "from vitrina.data.readers.yml import YmlReader\n"
        "def peak(path):\n"
        "    rows = sum(1 for row in YmlReader(Path(path)).rows())\n"
        "    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "(_, before), (rows, after) = peak(sys.argv[1]), peak(sys.argv[2])\n"
        "print(rows, after - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(small), str(big)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, grown = map(int, ran.stdout.split())
    assert rows == 30_000
    # In MB. The whole tree takes 280, and its emptied elements alone 25.
    assert grown < 12


# Photos of a feed that have been fetched into a folder.


def lookup(files):
    return PhotoLookup(files.__contains__, lambda: NameIndex(sorted(files)))


@pytest.mark.parametrize(
    ("images", "files", "expected"),
    [
        (("https://cdn.ru/x/a.jpg?w=9#z",), {"a.jpg"}, ("a.jpg",)),
        (("https://cdn.ru/x/a%20b.jpg",), {"a b.jpg"}, ("a b.jpg",)),
        (("https://cdn.ru/x/a%20b.jpg",), {"a%20b.jpg"}, ("a%20b.jpg",)),
        (("//cdn.ru/x/a.jpg",), {"a.jpg"}, ("a.jpg",)),
        (("https://cdn.ru/a.jpg", "https://cdn.ru/b.jpg"), {"b.jpg"}, ("b.jpg",)),
        (
            ("https://cdn.ru/a.jpg", "b.jpg", "c.jpg"),
            {"a.jpg", "b.jpg", "c.jpg"},
            ("a.jpg", "b.jpg"),
        ),
        (("https://cdn.ru/a.jpg",), {"https://cdn.ru/a.jpg", "a.jpg"}, ("https://cdn.ru/a.jpg",)),
        (("https://cdn.ru/x/..%2f..%2fa.jpg",), {"a.jpg", "../../a.jpg"}, ("a.jpg",)),
        (("x/a.jpg",), {"a.jpg"}, ("a.jpg",)),
        (("x/a.jpg",), {"y/a.jpg"}, ()),
        (("https://cdn.ru/", "https://[x/a.jpg", "http://"), {"", "a.jpg"}, ()),
    ],
)
def test_a_web_address_stands_for_the_file_it_ends_in(images, files, expected):
    product = Product(row=1, product_id=1, title="", images=images)
    assert existing(product, None, 2, lookup(files)) == expected


def test_a_template_serves_where_no_named_photo_exists():
    product = Product(row=1, product_id=5, title="", images=("https://cdn.ru/a.jpg",))
    template = "p/{product_id}.jpg"
    assert existing(product, template, 1, lookup({"p/5.jpg"})) == ("p/5.jpg",)
    assert existing(product, template, 1, lookup({"p/5.jpg", "a.jpg"})) == ("a.jpg",)
    assert existing(product, template, 1, lookup(set())) == ()


def test_a_feed_with_a_folder_of_photos(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a b.jpg").write_bytes(b"one")
    path = text(tmp_path / "feed.yml", FEED.format(encoding="utf-8"))
    catalogue = Catalogue.read(path, images=tmp_path / "photos", photos=2)
    one, two = all_rows(catalogue)[0]
    assert catalogue.images.references(one) == ("a b.jpg",)
    assert catalogue.images.references(two) == ()
    assert catalogue.images.read("a b.jpg") == b"one"
    catalogue.close()
