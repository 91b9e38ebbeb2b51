"""PHP and other template code left in a feed, wherever it can stand."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.feeds import DECLARATION, feed, offer, read
from vitrina.data.readers.feed.php import LONGEST_BLOCK, strip_code
from vitrina.data.readers.feed.repairs import FeedRepair

TITLE = "чашка синяя"
BLOCKS = [
    "<?=$x?>",
    "<? ?>",
    '<?php echo "a?>b"; ?>',
    "<?php echo '<offer id=\"7\"><name>нет</name></offer>'; ?>",
    "<? // it's a comment ?>",
    "<? # don't ?>",
    "<? /* ?> ' */ ?>",
    '<? if ($a[$b[1]]>5 && $c<count($d)) { echo "</offers></shop>"; } ?>',
    "<?if($x):?>",
    "<?endif?>",
    "<?else:?>",
    '<?=$a["x"] ? \'да\' : "нет"?>',
    "<?php\n\n$a = 1;\n\n?>",
    "<?php\necho <<<XML\nit's </name> ?> \"\nXML;\n?>",
    '<? echo "\\"?>"; ?>',
    "<? it's ?>",
    '<%= Request("x") %>',
    '<script language="php">echo "<name>";</script>',
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_in_every_place(tmp_path, block):
    good = offer(2, f"{block}чашка {block}синяя{block}", f"<url>http://x/?a={block}&amp;b=1</url>")
    attributes = f' available="{block}" {block}'
    # Quotes in an attribute are the attribute's, and no fault of the code.
    plain = offer(3, attributes=attributes)
    section = offer(4, f"<![CDATA[чашка {block}синяя]]>", f"<!-- {block} -->")
    content = feed(
        block, offer(1), block + good, plain, section, offer(5), block, head=block + DECLARATION
    )
    content = content.replace("2024-05-01 12:00", block).replace(
        "</shop></yml", f"</shop>{block}</yml"
    )
    content += block
    found = read(tmp_path, content)
    assert found.titles == dict.fromkeys(range(1, 6), TITLE)
    assert found.reasons == []
    assert found.repairs[FeedRepair.PHP] == content.count(block)
    assert dict(found.products[1].metadata)["url"] == "http://x/?a=&b=1"


@pytest.mark.parametrize(
    ("head", "blocks"),
    [
        ('<? echo "<"."?xml version=\\"1.0\\" encoding=\\"utf-8\\"?".">"?>\n', 1),
        ('<?php echo \'<?xml version="1.0" encoding="utf-8"?>\'."\\n"; ?>\n', 1),
        ("<?php header('Content-Type: text/xml'); ?><?='<?xml version=\"1.0\"?>'?>", 2),
        (
            '<?if (!isset($_GET["r"]) || strlen($_GET["r"])<=0) $_GET["r"] = "y";?>'
            '<? $r = htmlspecialchars($_GET["r"]); ?><?php\n?>',
            3,
        ),
        ('<?xml version="1.0" encoding="<?=$charset?>"?>\n', 1),
        ("<?php\n$warning = \"it's\";\n/* ' */\n?>\n\n<?\n?>\n\n\n" + DECLARATION, 2),
        ('<!DOCTYPE yml_catalog SYSTEM "<?=$dtd?>">', 1),
    ],
)
def test_code_before_the_first_tag(tmp_path, head, blocks):
    found = read(tmp_path, feed(offer(1), offer(2), head=head))
    assert found.titles == {1: TITLE, 2: TITLE}
    assert found.repairs.get(FeedRepair.PHP, 0) == blocks


@pytest.mark.parametrize("tail", ["<? ", "<?php", "<? if ($x) { echo 'да", "<? /* it", "<?\n$a;"])
def test_code_without_an_end_at_the_end(tmp_path, tail):
    found = read(tmp_path, feed(offer(1), tail=tail))
    assert (found.titles, found.repairs) == ({1: TITLE}, {FeedRepair.PHP: 1})


@pytest.mark.parametrize("name", ["a <? b", "вопрос <?> ответ", "a <% b", "<?", "a <? b's"])
def test_a_mark_without_an_end_is_text(tmp_path, name):
    found = read(tmp_path, feed(offer(1, name), offer(2, "c's"), offer(3)))
    assert found.titles == {1: name, 2: "c's", 3: TITLE}
    assert (found.reasons, found.repairs) == ([], {FeedRepair.LESS_THAN: 1})


def test_the_outermost_tag_may_be_printed_by_code(tmp_path):
    start, end = (
        "<? echo '<yml_catalog date=\"'.date(\"Y\").'\">'; ?>",
        "<? echo '</yml_catalog>'?>",
    )
    content = feed(offer(1)).replace('<yml_catalog date="2024-05-01 12:00">', start)
    assert read(tmp_path, content.replace("</yml_catalog>", end)).titles == {1: TITLE}
    assert read(tmp_path, feed(offer(1)).replace("</shop></yml_catalog>", end)).ids == [1]


def test_declarations_and_instructions_are_no_code(tmp_path):
    instructions = '<?xml-stylesheet href="a.xsl"?><?mso-application progid="x"?><?yandex?><?xml ?>'
    found = read(tmp_path, feed(instructions + offer(1), offer(2, instructions + "a")))
    assert (found.titles, found.repairs) == ({1: TITLE, 2: "a"}, {})


def test_an_id_that_code_would_print_costs_the_offer(tmp_path):
    found = read(tmp_path, feed(offer(1), offer("<?=$id?>"), offer(3, "<?=$name?>")))
    assert found.titles == {1: TITLE, 3: ""}
    assert found.reasons == ["the offer at line 5 has no id"]


PLACES = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(BLOCKS)), min_size=1, max_size=6)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(places=PLACES, size=st.integers(1, 40))
def test_code_at_any_place_changes_nothing(places, size):
    clean = feed(offer(1), offer(2, "чашка <![CDATA[& <b>]]>"), head="")
    text = clean
    for place, block in sorted(places, reverse=True):
        place = min(place, len(clean))
        text = text[:place] + block + text[place:]
    whole = strip_code(text, final=True)
    assert (whole.text, whole.pending) == (clean, "")
    # In pieces of any size the same comes out, with as many lines.
    kept, held, lines, blocks = "", "", 0, 0
    for at in range(0, len(text) + size, size):
        piece = strip_code(held + text[at : at + size], final=at >= len(text))
        kept, held = kept + piece.text, piece.pending
        lines += sum(count for _, count in piece.gaps)
        blocks += piece.blocks
    assert (kept, held, blocks) == (clean, "", whole.blocks)
    assert blocks == len(places)
    assert lines == text.count("\n") - clean.count("\n")


def test_code_that_is_too_long_is_text():
    text = f"<? {'x' * LONGEST_BLOCK} ?></a>"
    assert strip_code(text, final=True).text == text


@pytest.mark.parametrize("mark", ["<?/*", "<?'", '<?"', "<?<<<A\n", "<?", "<%", "<?xml ", "<?a "])
@pytest.mark.slow
def test_hostile_openings_take_linear_time(mark):
    # Each of them is looked through to its limit only a few times; else this would take minutes.
    text = mark * (1 << 17)
    held = ""
    for at in range(0, len(text), 1 << 17):
        held = strip_code(held + text[at : at + (1 << 17)], final=False).pending
    assert len(held) <= (1 << 18)
