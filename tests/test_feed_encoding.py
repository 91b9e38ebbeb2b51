"""How the encoding of a feed is found: by its bytes, whatever it declares."""

import gzip

import pytest

from support.feeds import DECLARATION, feed, offer, read
from vitrina.data.catalogue import Catalogue
from vitrina.data.readers.feed.repairs import FeedRepair
from vitrina.data.reading import Reading
from vitrina.errors import CatalogueError

NAMES = ["Смеситель однорычажный для кухни, хром", "Кружка «Ёлка» № 5 — синяя"]
CYRILLIC = ["Смеситель однорычажный для кухни, хром", "Кружка Ёлка 5 синяя"]


def declared(encoding):
    return f'<?xml version="1.0" encoding="{encoding}"?>\n' if encoding else ""


def of(names, encoding, head):
    return feed(*(offer(at, name) for at, name in enumerate(names)), head=head).encode(encoding)


@pytest.mark.parametrize("named", [None, "utf-8", "windows-1251", "win1251", "koi8-r", "latin1"])
@pytest.mark.parametrize(
    ("encoding", "spoken"),
    [
        ("utf-8", "UTF-8"),
        ("cp1251", "windows-1251"),
        ("koi8-r", "KOI8-R"),
        ("cp866", "CP866"),
        ("iso8859-5", "ISO-8859-5"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16-LE"),
        ("utf-16-be", "UTF-16-BE"),
        ("utf-8-sig", "UTF-8"),
        ("utf-32", "UTF-32"),
    ],
)
def test_any_encoding_under_any_declaration(tmp_path, encoding, spoken, named):
    found = read(tmp_path, of(CYRILLIC, encoding, declared(named)))
    assert list(found.titles.values()) == CYRILLIC
    assert found.repairs == {}
    is_true = (encoding[:5], named) in {("utf-8", "utf-8"), ("koi8-", "koi8-r")}
    is_true |= encoding == "cp1251" and named in ("windows-1251", "win1251")
    # Without a declaration, XML is UTF-8 or UTF-16.
    if is_true or (named is None and encoding.startswith("utf-")):
        assert found.notes == []
    else:
        (note,) = found.notes
        assert note.startswith(f"the feed declares {named or 'no encoding'}, but its ")
        assert note.endswith(f" are {spoken}; read as {spoken}")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_a_declaration_in_code(tmp_path, encoding):
    head = f'<? echo "<"."?xml version=\\"1.0\\" encoding=\\"{encoding}\\"?".">"?>\n'
    found = read(tmp_path, of(NAMES, encoding, head))
    assert (list(found.titles.values()), found.notes) == (NAMES, [])
    other = {"utf-8": "cp1251", "cp1251": "utf-8"}[encoding]
    found = read(tmp_path, of(NAMES, other, head))
    assert list(found.titles.values()) == NAMES
    assert f"declares {encoding}, but its" in found.notes[0]


@pytest.mark.parametrize("named", [None, "utf-8", "koi8-r", "klingon", "utf-16", "hex"])
def test_bytes_that_are_all_ascii(tmp_path, named):
    content = feed(offer(1, "cup"), head=declared(named), categories="").replace("Лавка", "Shop")
    found = read(tmp_path, content)
    assert (found.titles, found.notes) == ({1: "cup"}, [])


def test_an_unknown_encoding_is_found_by_the_bytes(tmp_path):
    found = read(tmp_path, of(NAMES, "utf-8", declared("klingon")))
    assert list(found.titles.values()) == NAMES
    assert found.notes == ["the feed declares klingon, but its bytes are UTF-8; read as UTF-8"]


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp866"])
@pytest.mark.parametrize("names", [["СМЕСИТЕЛЬ ДЛЯ КУХНИ"], ["чашка"], ["Чашка синяя"]])
def test_short_texts_and_capitals(tmp_path, names, encoding):
    found = read(tmp_path, of(names, encoding, ""))
    assert list(found.titles.values()) == names


def test_other_languages_in_cyrillic(tmp_path):
    names = ["Змішувач для кухні, колір білий, гарантія, їжа", "Гарантыя ў краме, сіні колер"]
    assert list(read(tmp_path, of(names, "cp1251", "")).titles.values()) == names
    kazakh = ["Қазақ тілі, ас үй араластырғышы"]
    assert (
        list(read(tmp_path, of(kazakh, "utf-8", declared("windows-1251"))).titles.values())
        == kazakh
    )


def test_a_western_encoding_stays_as_it_is_declared(tmp_path):
    content = feed(offer(1, "Größe, café, naïve"), head=declared("iso-8859-1"), categories="")
    found = read(tmp_path, content.replace("Лавка", "Shop").encode("latin-1"))
    assert (found.titles, found.notes) == ({1: "Größe, café, naïve"}, [])


def test_bytes_of_no_usual_encoding_are_replaced_and_said(tmp_path):
    content = feed(offer(1, "Größe"), offer(2, "cup"), categories="").replace("Лавка", "Shop")
    found = read(tmp_path, content.encode("latin-1"))
    assert found.titles == {1: "Gr\ufffd\ufffde", 2: "cup"}
    assert found.repairs == {FeedRepair.BYTES: 2}
    assert "neither UTF-8 nor Cyrillic" in found.notes[0]
    assert "--encoding" in found.notes[0]


@pytest.mark.parametrize("named", ["utf-8", "windows-1251"])
def test_a_text_cut_within_a_character_costs_that_character(tmp_path, named):
    content = of(["чашка", *NAMES], "utf-8", declared(named))
    letter = "чашка".encode()
    found = read(tmp_path, content.replace(letter, letter[:-1]))
    assert found.titles == {0: "чашк\ufffd", 1: NAMES[0], 2: NAMES[1]}
    assert found.repairs == {FeedRepair.BYTES: 1}
    assert len(found.notes) == (named != "utf-8")


@pytest.mark.slow
def test_a_large_feed_whose_only_letters_come_late(tmp_path):
    early = [offer(at, "cup " * 200) for at in range(2000)]
    content = feed(*early, offer(9999, NAMES[0]), categories="").replace("Лавка", "Shop")
    for encoding in ("utf-8", "cp1251"):
        for head in (declared("windows-1251"), declared("utf-8"), ""):
            written = content.replace(DECLARATION, head).encode(encoding)
            assert read(tmp_path, written).titles[9999] == NAMES[0]
            assert read(tmp_path, gzip.compress(written, 1)).titles[9999] == NAMES[0]


def test_the_encoding_that_is_given_wins(tmp_path):
    for encoding in ("utf-8", "cp1251", "koi8-r", "utf-16"):
        found = read(
            tmp_path, of(NAMES if encoding != "koi8-r" else CYRILLIC, encoding, ""), encoding
        )
        assert found.titles[0] == NAMES[0]
        assert found.notes == []
    found = read(tmp_path, of(CYRILLIC, "cp1251", declared("koi8-r")), "cp1251")
    assert (list(found.titles.values()), found.notes) == (CYRILLIC, [])
    found = read(tmp_path, of(NAMES, "utf-8", DECLARATION), "koi8-r")
    assert found.titles[0] == NAMES[0].encode().decode("koi8-r")
    said = "the feed was read as koi8-r, as --encoding says, but its bytes are valid UTF-8"
    assert found.notes == [said]
    with pytest.raises(CatalogueError, match=r"feed\.yml: unknown --encoding 'klingon'; give"):
        read(tmp_path, feed(offer(1)), "klingon")


def test_what_a_store_remembers(tmp_path):
    assert Reading().encoding is None
    old = {**Reading().to_json(), "encoding": "utf-8"}
    assert Reading.from_json(old).encoding is None
    assert Reading.from_json({**old, "encoding": "cp1251"}).encoding == "cp1251"
    path = tmp_path / "feed.yml"
    path.write_bytes(of(NAMES, "cp1251", DECLARATION))
    products = next(Catalogue.open(path, Reading.from_json(old)).batches()).products
    assert [product.title for product in products] == NAMES
