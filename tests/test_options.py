"""Options: spelled once, checked by themselves, the same on the command line and in Python."""

from dataclasses import FrozenInstanceError, fields
from enum import StrEnum
from inspect import signature

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

import vitrina as vt
from support.cli import vitrina
from vitrina import api, cli
from vitrina.errors import CatalogueError
from vitrina.options import (
    Options,
    choice,
    flag,
    hints_of,
    join_values,
    kind_of,
    option_name,
    spec_of,
    split_values,
)
from vitrina.types import Balance

KINDS = {
    "embed": vt.EmbedOptions,
    "index": vt.IndexOptions,
    "train": vt.TrainOptions,
    "finetune": vt.FinetuneOptions,
    "pretrain": vt.PretrainOptions,
    "benchmark": vt.BenchmarkOptions,
    "classify": vt.ClassifyOptions,
    "neighbours": vt.QueryOptions,
    "audit": vt.AuditOptions,
    "review": vt.ReviewOptions,
    "decisions": vt.ExportOptions,
    "work": vt.WorkOptions,
}
FUNCTIONS = {"index": "build_index", "neighbours": "neighbours_to", "decisions": "export_decisions"}
FIELDS = [
    pytest.param(command, one, id=f"{command}-{one.name}")
    for command, kind in KINDS.items()
    for one in fields(kind)
    if one.metadata
]
COMMANDS = typer.main.get_command(cli.app).commands


def is_enum(command, one):
    kind, _ = kind_of(hints_of(KINDS[command])[one.name])
    return isinstance(kind, type) and issubclass(kind, StrEnum)


CHOICES = [one for one in FIELDS if is_enum(*one.values)]
LIMITED = [
    one
    for one in FIELDS
    if (spec_of(one.values[1]).least, spec_of(one.values[1]).above) != (None, None)
]


def test_all_kinds_of_options_are_here():
    def below(kind):
        return {kind, *(leaf for one in kind.__subclasses__() for leaf in below(one))}

    leaves = {one for one in below(Options) if not one.__subclasses__()}
    # `embed`, `classify` and others take the options of reading beside their own.
    assert leaves == {*KINDS.values(), vt.ReadingOptions}
    assert len(CHOICES) > 10
    assert len(LIMITED) > 25


@pytest.mark.parametrize(("command", "one"), FIELDS)
def test_a_field_is_a_keyword_and_an_option(command, one):
    spec = spec_of(one)
    function = getattr(vt, FUNCTIONS.get(command, command))
    assert one.name in signature(function).parameters
    assert f"\n{one.name} : " in function.__doc__
    assert spec.help[0].isupper() or spec.help.startswith(("early:", "full:", "hf:"))
    assert spec.help.endswith(".")
    if spec.command_line:
        (parameter,) = (p for p in COMMANDS[command].params if flag(one) in p.opts)
        assert parameter.name == option_name(one)
        assert parameter.help == spec.help or command == "audit"


@pytest.mark.parametrize(("command", "one"), CHOICES)
def test_a_misspelt_value_names_the_option_and_its_choices(command, one, tmp_path, capsys):
    kind, _ = kind_of(hints_of(KINDS[command])[one.name])
    with pytest.raises(vt.OptionError, match=f"^{one.name} must be ") as info:
        KINDS[command](**{one.name: "nonsense"})
    assert "'nonsense'" in str(info.value)
    assert all(str(member) in str(info.value) for member in kind)
    assert isinstance(info.value, ValueError)
    needed = {"embed": ["a", "--store", "s"], "classify": ["a", "--store", "s", "--out", "b"]}
    given = [command, *needed.get(command, [str(tmp_path)]), flag(one), "nonsense"]
    with pytest.raises(SystemExit) as ended:
        cli.app(given)
    assert ended.value.code == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert flag(one) in printed
    assert all(str(member) in printed for member in kind)


@pytest.mark.parametrize(("command", "one"), LIMITED)
def test_a_number_out_of_range_is_refused(command, one):
    spec = spec_of(one)
    low = spec.above if spec.least is None else spec.least - 1
    bad = [low]
    if (top := spec.most if spec.below is None else spec.below) is not None:
        bad.append(top if spec.below is not None else top + 1)
    for value in [type(spec.least or 0)(value) for value in bad]:
        if spec.none is not None and value == spec.none:
            continue
        with pytest.raises(vt.OptionError, match=rf"^{one.name} must be (at|above)"):
            KINDS[command](**{one.name: value})


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (vt.TrainOptions, {"epochs": 1.5}, "epochs must be a whole number, not 1.5"),
        (vt.TrainOptions, {"epochs": True}, "epochs must be a whole number, not True"),
        (vt.TrainOptions, {"epochs": "3"}, "epochs must be a whole number, not '3'"),
        (vt.TrainOptions, {"precision": "high"}, "precision must be a number, not 'high'"),
        (vt.TrainOptions, {"precision": float("nan")}, "precision must be a number, not nan"),
        (vt.TrainOptions, {"refit": "no"}, "refit must be True or False, not 'no'"),
        (vt.TrainOptions, {"name": 3}, "name must be text, not 3"),
        (vt.TrainOptions, {"seed": None}, "seed must not be None"),
        (vt.IndexOptions, {"memory": "lots"}, "memory must be a size such as 200MB or 1.5GB"),
        (vt.FinetuneOptions, {"catalogue": 3}, "catalogue must be text, not 3"),
        (vt.FinetuneOptions, {"unlabelled": 3}, "unlabelled must be a sequence, not 3"),
        (vt.ReviewOptions, {"token": "short"}, "token must be 16 letters or digits"),
    ],
)
def test_another_type_is_refused(kind, given, message):
    with pytest.raises(vt.OptionError) as info:
        kind(**given)
    assert str(info.value).startswith(message)
    (name,) = given
    assert info.value.name == name


def test_texts_become_values(tmp_path):
    options = vt.FinetuneOptions(
        "image", balance="prior", unlabelled=tmp_path, catalogue=tmp_path, max_length=0
    )
    assert options.balance is Balance.PRIOR
    assert (options.unlabelled, options.catalogue) == ((str(tmp_path),), str(tmp_path))
    assert options.max_length is None
    assert vt.IndexOptions(memory="1.5GB").memory == 1_500_000_000
    assert vt.IndexOptions(memory="2KiB").memory == 2048
    assert type(vt.IndexOptions(memory=4e9).memory) is int
    assert vt.PretrainOptions(split="none").split is None
    assert vt.BenchmarkOptions(methods="mlp, cnn").methods == ("mlp", "cnn")
    with pytest.raises(FrozenInstanceError):
        options.seed = 3


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("price, stock,", ("price", "stock")),
        ('"Цена, руб",stock', ("Цена, руб", "stock")),
        (' "a, b" , " c "', ("a, b", " c ")),
        ('"a ""b"", c"', ('a "b", c',)),
        # Quotes that do not enclose a value are part of it.
        ('5" pipe,"a"b,"c', ('5" pipe', '"a"b', '"c')),
        ('""," "', (" ",)),
        ("", ()),
    ],
)
def test_a_text_of_several_values(text, values):
    assert split_values(text) == values


@settings(max_examples=50)
@given(st.lists(st.text('a ",', min_size=1, max_size=6), max_size=3))
def test_joined_values_are_split_into_the_same(values):
    assert split_values(join_values(values)) == tuple(values)


def test_a_list_is_a_list():
    assert vt.Columns(keep=["a, b", "c,d"]).keep == ("a, b", "c,d")
    assert vt.Columns(attributes='"a, b",c').attributes == ("a, b", "c")
    assert vt.BenchmarkOptions(methods=["mlp", "a,b"]).methods == ("mlp", "a,b")


def test_an_option_of_several_values_may_be_repeated(monkeypatch, tmp_path):
    seen = []

    def stopped(_path, _store, reading, **_):
        seen.append(reading)
        raise CatalogueError("enough")

    monkeypatch.setattr(api, "open_batch", stopped)
    typed = ("--keep-columns", '"a, b",c', "--keep-columns", "d", "--attribute-columns", "e")
    assert vitrina("embed", "goods.csv", "--store", tmp_path / "new", *typed) == 1
    (reading,) = seen
    assert (reading.columns.keep, reading.columns.attributes) == (("a, b", "c", "d"), ("e",))


def test_a_function_takes_options_or_keywords_or_both(monkeypatch, tmp_path):
    seen = []
    job = "vitrina.pipelines.train.job.train"
    monkeypatch.setattr(job, lambda store, options: seen.append((store, options)))
    store = vt.Store.create(tmp_path / "store")
    vt.train(store, "logistic", seed=3)
    vt.train(store, head="logistic", seed=3)
    vt.train(store, vt.TrainOptions("logistic", seed=3))
    vt.train(store, vt.TrainOptions("logistic", seed=4), seed=3)
    vt.train(store=store, options=vt.TrainOptions("logistic", seed=3))
    assert seen == [(store, vt.TrainOptions("logistic", seed=3))] * 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (((), {"presision": 0.9}), "unexpected keyword argument 'presision'; did you mean 'prec"),
        (((), {"zzzzzz": 0.9}), "unexpected keyword argument 'zzzzzz'$"),
        ((("mlp", 3), {}), r"takes only \['head'\] by position"),
        ((("mlp",), {"head": "logistic"}), "got multiple values for 'head'"),
        (((), {"options": 3}), "options must be TrainOptions, not 3"),
    ],
)
def test_a_call_that_fits_no_option_is_refused(given, message):
    arguments, keywords = given
    with pytest.raises(TypeError, match=message):
        vt.train(None, *arguments, **keywords)


def test_an_error_within_a_command_names_its_option(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.app(["train", "s", "--precision", "1.5"])
    assert ended.value.code == 2
    assert "--precision must be above 0 and below 1, not 1.5" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_choice_by_itself():
    assert choice(Balance, None, "balance") is None
    assert choice(Balance, "prior", "balance") is Balance.PRIOR
    with pytest.raises(vt.OptionError, match="balance must be none, weights or prior, not 'x'"):
        choice(Balance, "x", "balance")
