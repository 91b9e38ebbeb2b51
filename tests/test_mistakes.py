"""Typical mistakes at the command line: one line that names the option or row and the way out."""

import re

import pytest

from support.cli import vitrina
from support.vectors import units
from vitrina.cli.config import VARIABLE
from vitrina.store.store import OpenStore

USAGE, DATA = 2, 1
GOODS = ["product_id,title,category_id", *(f"{n},кружка {n},{n % 3}" for n in range(12))]

MISTAKES = [
    # The command and its arguments.
    ("clasify goods.csv", USAGE, r"no command 'clasify'; did you mean 'classify'\?"),
    ("search shelf", USAGE, "no command 'search': demo, models, embed, index, train, classify, "),
    ("--epochs 3 train shelf", USAGE, "--epochs can't stand before .*: give it after .*`vitrina t"),
    (
        "embed goods.csv shelf",
        USAGE,
        "no further argument 'shelf': give the store as --store shelf",
    ),
    ("embed --store shelf", USAGE, "CATALOGUE is missing: marketplace Parquet; .*embed --help"),
    ("verify shelf other", USAGE, "takes no further argument 'other'"),
    ("train", USAGE, r"give the store: --store DIRECTORY, or a line such as store = \"shelf\" in "),
    ("embed goods.csv", USAGE, "give the store: --store DIRECTORY"),
    ("train shelf --store other", USAGE, "two stores are given, shelf and --store other: give one"),
    # The names of options.
    ("train shelf --epoch 3", USAGE, r"has no option --epoch; did you mean --epochs\?"),
    ("train shelf --top-k 3", USAGE, "no option --top-k; it is an option of `vitrina classify`"),
    ("train shelf --batch_size 3", USAGE, "no option --batch_size; .*`vitrina train --help`"),
    ("neighbours shelf --text чай --k 3", USAGE, r"no option --k; did you mean -k\?"),
    ("embed goods.csv twice.csv --store new", USAGE, "argument 'twice.csv': one run takes one c"),
    ("train shelf --epochs", USAGE, "--epochs needs a value: --epochs INTEGER"),
    ("info shelf --json=yes", USAGE, "'--json' does not take a value"),
    ("classify goods.csv --store shelf", USAGE, "--out is missing: predictions: a .parquet, "),
    # Their values.
    ("train shelf --epochs three", USAGE, "--epochs must be a whole number, not 'three'"),
    ("train shelf --epochs 0", USAGE, "--epochs must be at least 1, not 0"),
    ("train shelf --precision 95", USAGE, "--precision must be above 0 and below 1, not 95"),
    ("train shelf --head mpl", USAGE, r"--head must be logistic or mlp, not 'mpl'; did you mean"),
    ("finetune shelf --modality img", USAGE, r"--modality must be text or image, .*'image'\?"),
    ("finetune shelf --learning-rate fast", USAGE, "--learning-rate must be a number, not 'fast'"),
    ("pretrain shelf --split half", USAGE, "--split must be stratified, grouped or none, not"),
    ("index shelf --memory lots", USAGE, "--memory must be a size such as 200MB or 1.5GB"),
    (
        "audit shelf --out report.pdf",
        USAGE,
        r"--out must end in \.html, \.parquet, .* not .report\.pdf",
    ),
    ("compact shelf --keep 9", USAGE, "--keep must be a whole number, at least 1 and at most 3"),
    ("work shelf --part 4/3", USAGE, "--part must be 1/3 to 3/3, not 4/3"),
    ("demo --products 10", USAGE, "--products must be a whole number, at least 50"),
    ("review shelf --port 99999", USAGE, "--port must be at least 1 and at most 65535, not 99999"),
    ("review shelf --token secret", USAGE, "--token must be 16 letters or digits or more"),
    (
        "neighbours shelf --text чай --where price",
        USAGE,
        "--where 'price' is no condition; write a column",
    ),
    # Options that exclude or need each other.
    ("train shelf --no-config --config my.toml", USAGE, "--config and --no-config exclude each"),
    ("neighbours shelf", USAGE, "give one of --product, --text and/or --image, and --queries"),
    ("cache --claer", USAGE, "did you mean --clear"),
    ("cache photo", USAGE, r"KINDS must be compute, .*, not 'photo'; did you mean 'photos'\?"),
    ("embed goods.csv --store new --encoding utf8r", USAGE, r"'utf8r'; did you mean 'utf-8'\?"),
    ("embed goods.csv --store new --delimiter tab", USAGE, "--delimiter must be one character"),
    ("models --modality text2", USAGE, "--modality must be text or image, not 'text2'"),
    ("convert-model", USAGE, "DIRECTORY is missing"),
    ("convert-model nowhere", DATA, "nowhere is no directory"),
    ("export-model shelf text-tuned", USAGE, "--to is missing"),
    ("export-model nowhere text-tuned --to out", DATA, "nowhere is not a store"),
    ("neighbours shelf --queries goods.csv", USAGE, "--queries needs --out, the file to write"),
    ("neighbours shelf --text чай --other-shops", USAGE, "--other-shops need a product to compare"),
    ("neighbours shelf --product 1 --images web", USAGE, "--images applies to --queries"),
    ("pretrain shelf --title-column name", USAGE, "--title-column applies to --also"),
    ("finetune shelf --delimiter ;", USAGE, "--delimiter applies to --catalogue and --unlabelled"),
    ("benchmark", USAGE, "give either the products' file or a --store that has them"),
    ("decisions shelf --changed-only", USAGE, "--changed-only applies to --export: give that too"),
    ("info shelf --quiet --verbose", USAGE, "--quiet and --verbose exclude each other"),
    # The names of models.
    ("embed goods.csv --store new --text-model rubert-tiny", USAGE, "did you mean 'rubert-tiny2'"),
    ("embed goods.csv --store new --text-model thumbnail", USAGE, "thumbnail is a model for image"),
    ("benchmark --store shelf --methods naive-bayse", USAGE, "'naive-bayse'; did you mean 'naive-"),
    ("classify goods.csv --store shelf --out o.parquet --model a", DATA, "no head named a .*train"),
    # Files, columns and what is not in the store yet.
    ("info nowhere", DATA, "nowhere is not a store .*; `vitrina embed CATALOGUE --store n"),
    ("embed nowhere.csv --store new", DATA, "nowhere.csv: can't be read: .*No such file"),
    ("embed goods.csv --store goods.csv", DATA, "goods.csv is a file; give a directory"),
    ("embed goods.csv --store new --images photos.zip", DATA, "photos.zip: No such file.*--images"),
    ("embed goods.csv --store new --title-column titel", DATA, "'titel'.*'title'.*--title-column"),
    (
        "embed twice.csv --store new --image-model none",
        DATA,
        "twice.csv: more than one .*--id-column",
    ),
    (
        "classify goods.csv --store shelf --out o.parquet",
        DATA,
        "no head; run `vitrina train shelf`",
    ),
    ("neighbours shelf --text чай", DATA, "has no index; run `vitrina index shelf`"),
    (
        "train shelf --features image",
        DATA,
        "no image space; run `vitrina embed` with --image-model",
    ),
    ("decisions shelf --import no.json", DATA, "no.json can't be read"),
    ("embed shelf --store new", USAGE, "shelf: this is a store; give the file that the products"),
    ("embed empty.csv --store new", DATA, r"the file is empty; was its export cut short\?"),
    ("embed goods.json --store new", DATA, "no JSON object on any of .*; write one on each line"),
    ("embed page.xml --store new", DATA, "neither a table nor a YML feed; download the feed's own"),
    ("embed goods.csv --store ftp://nowhere.invalid/shelf", DATA, "ftp://nowhere.invalid/shelf .*"),
    ("demo --out goods.csv", DATA, "goods.csv is a file; give a new folder with --out"),
    ("demo --out shelf", DATA, "shelf is a store; give a new folder with --out"),
    ("train shelf --config nowhere.toml", USAGE, "there is no configuration file nowhere.toml"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a catalogue and a store of it, without an index or a head."""
    from support.stores import put_products, put_space, row

    root = tmp_path_factory.mktemp("mistakes")
    (root / "goods.csv").write_text("\n".join(GOODS), encoding="utf-8")
    (root / "empty.csv").touch()
    (root / "goods.json").write_text("{product", encoding="utf-8")
    (root / "page.xml").write_text("<html>404</html>", encoding="utf-8")
    (root / "twice.csv").write_text("product_id,product_id,title\n1,2,a\n", encoding="utf-8")
    store = OpenStore.open(root / "shelf", create=True)
    titles = [f"кружка {n}" for n in range(12)]
    put_products(store, [row(n, title, category=n % 3) for n, title in enumerate(titles)])
    put_space(store, "text-own", [(list(range(12)), titles, units(12, 8, 0))])
    return root


@pytest.mark.parametrize(("typed", "code", "line"), MISTAKES, ids=[typed for typed, *_ in MISTAKES])
def test_a_mistake_is_one_line_that_says_the_way_out(
    folder, monkeypatch, capsys, typed, code, line
):
    monkeypatch.chdir(folder)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert vitrina(*typed.split(" ")) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (printed,) = captured.err.splitlines()
    assert printed.startswith("vitrina: ")
    assert re.search(line, printed), printed
    if code == USAGE and "see `" in printed:
        command = typed.split(" ")[0]
        assert printed.endswith(("see `vitrina --help`", f"see `vitrina {command} --help`"))


def test_every_command_has_its_mistake():
    import typer

    from vitrina import cli

    named = {typed.split(" ")[0] for typed, *_ in MISTAKES}
    assert set(typer.main.get_command(cli.app).commands) <= named
    assert len(MISTAKES) > 30


def test_the_name_alone_shows_the_help(capsys):
    assert vitrina() == 2
    printed = capsys.readouterr().out
    assert "Start here:" in printed
    assert "  classify " in printed
