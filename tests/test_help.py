"""Help, completion, and what is printed with --quiet and -v."""

import json
import os
import re
import shutil
import subprocess
import sys
from enum import StrEnum

import pytest
import typer

from support.cli import vitrina
from support.heavy_modules import HEAVY
from support.stores import put_products, row
from vitrina import cli
from vitrina.cli import help as pages
from vitrina.cli.examples import EXAMPLES
from vitrina.options import Panel
from vitrina.store.store import OpenStore

GROUP = typer.main.get_command(cli.app)
NAMES = sorted(GROUP.commands)


def page(name, monkeypatch, capsys, columns):
    """The lines of a command's help at a width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert vitrina(*([name] if name else []), "-h") == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("name", [None, *NAMES])
def test_help_is_legible_at_any_width(name, columns, monkeypatch, capsys):
    lines = page(name, monkeypatch, capsys, columns)
    examples = lines.index("Examples:")
    assert max(map(len, lines[:examples])) <= max(columns, 58)
    assert 2 <= len([line for line in lines[examples + 1 :] if line]) <= 3
    text = "\n".join(lines)
    assert not re.search(r"<\w+>|\bTrue\b|\bFalse\b|\bNone\b", text)
    assert "-h, --help" in text
    assert "-q, --quiet" in text
    assert "-v, --verbose" in text


def test_commands_stand_in_panels(monkeypatch, capsys):
    lines = page(None, monkeypatch, capsys, 80)
    titles = [line.rstrip(":") for line in lines if re.fullmatch(r"[A-Z][^.]*:", line)]
    assert titles == [*cli.COMMANDS, "General", "Examples"]
    shown = [line.split()[0] for line in lines if re.match(r"  [a-z][a-z-]+ ", line)]
    assert set(NAMES) <= set(shown)


def test_options_stand_in_panels_in_one_order(monkeypatch, capsys):
    lines = page("finetune", monkeypatch, capsys, 80)
    titles = [line.rstrip(":") for line in lines if re.fullmatch(r"[A-Z][^.]*:", line)]
    order = ["Arguments", *map(str, Panel), "Examples"]
    assert titles == [one for one in order if one in titles]
    assert {"Input and output", "Models", "Training", "Photos", "General"} <= set(titles)
    by_panel = "\n".join(lines).split("\n\n")
    (training,) = (one for one in by_panel if one.startswith("Training:"))
    assert "--batch-size INTEGER" in training
    assert "--seed" not in training


def test_choices_defaults_and_models_are_shown(monkeypatch, capsys):
    lines = page("train", monkeypatch, capsys, 120)
    text = " ".join("\n".join(lines).split())
    assert "--head [logistic|mlp] " in text
    assert "[default: mlp]" in text
    assert "--refit, --no-refit" in text
    assert "[default: --refit]" in text
    text = " ".join("\n".join(page("pretrain", monkeypatch, capsys, 120)).split())
    assert "--split [stratified|grouped|none]" in text
    text = " ".join("\n".join(page("embed", monkeypatch, capsys, 120)).split())
    assert "else hf:cointegrated/rubert-tiny2." in text
    assert "else open_clip:ViT-B-32-quickgelu/openai." in text


def test_default_models_are_those_of_the_help():
    from vitrina.pipelines.common.encoders import DEFAULT_MODELS

    for command in ("embed", "benchmark"):
        helps = {one.name: one.help for one in GROUP.commands[command].params}
        for modality, name in DEFAULT_MODELS.items():
            assert f"else {name}." in helps[f"{modality}_model"]


def test_no_option_is_shown_by_the_name_of_its_type():
    for command in GROUP.commands.values():
        for param in command.params:
            kind = getattr(param, "type_descriptor", None)
            if kind is not None and isinstance(kind.annotation, type):
                assert not issubclass(kind.annotation, StrEnum), param.name
            if not param.hidden and not param.is_flag if hasattr(param, "is_flag") else False:
                assert param.metavar or param.count, param.name


def test_each_example_is_of_a_command_and_parses():
    assert set(EXAMPLES) == set(NAMES)
    import shlex

    for name, lines in EXAMPLES.items():
        for line in lines:
            program, command, *words = shlex.split(line)
            assert program == "vitrina"
            parser = GROUP.commands[command].make_parser(
                GROUP.context_class(GROUP.commands[command])
            )
            parser.parse_args(args=words)
        assert any(f"vitrina {name}" in line for line in lines)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_gets_frames(monkeypatch, encoding):
    class Terminal:
        def isatty(self):
            return True

    Terminal.encoding = encoding
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    made = pages.Help(
        "Usage: x", "Does.", [pages.Section("Models", [("--a [b|c]", "Help.")])], ["x"]
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", pages.rendered(made))
    assert "─ Models ─" in text if encoding == "utf-8" else "- Models -" in text
    assert "--a [b|c]" in text
    assert text.isascii() == (encoding == "ascii")
    assert max(map(len, text.splitlines())) == 100
    monkeypatch.setenv("TERM", "dumb")
    assert "Models:" in pages.rendered(made)


def loaded_by(*arguments, **environment):
    """Output of the command line in a process of its own, and the modules that it loaded."""
    code = (
        "import sys; sys.argv[0] = 'vitrina'; from vitrina.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout, {name.split(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy():
    text, modules = loaded_by("--help")
    assert text.startswith("Usage: vitrina [OPTIONS] COMMAND [ARGS]...\n")
    assert modules & (HEAVY | {"rich", "pydantic"}) == set()
    text, modules = loaded_by("train", "--help")
    assert "--patience" in text
    assert modules & (HEAVY | {"rich"}) == set()


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("vitrina tra", ["train"]),
        ("vitrina train --fus", ["--fusion"]),
        ("vitrina train s --head ", ["logistic", "mlp"]),
        ("vitrina pretrain s --split g", ["grouped"]),
        ("vitrina finetune s --ra", []),
    ],
)
def test_completion(words, completions, tmp_path):
    (tmp_path / "vitrina.toml").write_text("[nonsense")
    count = len(words.split()) - (not words.endswith(" "))
    text, modules = loaded_by(
        _VITRINA_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count)
    )
    assert text.split() == completions
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _vitrina_completion vitrina"),
        ("zsh", "compdef _vitrina_completion vitrina"),
        ("fish", "complete --command vitrina"),
    ],
)
def test_the_script_of_completion(shell, line):
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    text, _ = loaded_by("--show-completion", shell, **named)
    assert line in text


COMPLETE = """
source <(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 vitrina --show-completion bash)
complete -p vitrina
for last in tra goods; do
    COMP_WORDS=(vitrina embed $last); [ $last = tra ] && COMP_WORDS=(vitrina tra)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _vitrina_completion vitrina
    echo "$last: ${COMPREPLY[*]}"
done
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_in_bash(tmp_path):
    program = tmp_path / "vitrina"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vitrina.cli "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", COMPLETE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    registered, command, file = done.stdout.splitlines()
    assert (command, done.stderr) == ("tra: train", "")
    # Where the program completes nothing, bash completes names of files.
    assert "-o default" in registered
    assert file == "goods: "


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("shelf") / "shelf"
    put_products(OpenStore.open(path, create=True), [row(1, "кружка", category=1)])
    return path


@pytest.mark.parametrize("arguments", [("-q", "info"), ("info", "-q"), ("info", "--quiet")])
def test_quiet_leaves_the_result(store, capsys, arguments):
    assert vitrina("info", store) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last.startswith("done: ")
    assert vitrina(*arguments, store) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == lines
    assert captured.err == ""


def test_quiet_prints_no_summary_but_errors_and_json(store, tmp_path, capsys):
    assert vitrina("compact", store, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert vitrina("info", store, "-q", "--json") == 0
    assert json.loads(capsys.readouterr().out)["products"] == 1
    assert vitrina("info", tmp_path / "nowhere", "-q") == 1
    assert capsys.readouterr().err.startswith("vitrina: ")


@pytest.mark.parametrize("arguments", [("-v", "info"), ("info", "-v"), ("info", "-vv")])
def test_verbose_shows_the_log(store, capsys, monkeypatch, arguments):
    import logging

    from vitrina.cli import maintenance

    def opened(*places):
        logging.getLogger("vitrina.store").info("opened %s", places[0])
        return OpenStore.open(places[0])

    monkeypatch.setattr(maintenance, "open_store", opened)
    assert vitrina(*arguments, store) == 0
    assert f"INFO    vitrina.store: opened {store}" in capsys.readouterr().err
    assert vitrina("info", store, "-v", "--json") == 0
    captured = capsys.readouterr()
    assert "vitrina.store: opened" in captured.err
    assert json.loads(captured.out)["products"] == 1
    assert vitrina("info", store) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("former", "present", "value"),
    [
        ("--batch-rows", "batch_size", "16"),
        ("--rate", "learning_rate", "0.5"),
        ("--warm-up", "warmup_ratio", "0.5"),
        ("--smoothing", "label_smoothing", "0.5"),
        ("--average", "ema_decay", "0.5"),
        ("--out", "name", "mine"),
        ("--fetchers", "num_workers", "3"),
    ],
)
def test_former_names_of_options_still_work(monkeypatch, capsys, former, present, value):
    seen = []
    monkeypatch.setattr("vitrina.api.finetune", lambda _, options: seen.append(options) or 1 / 0)
    monkeypatch.setattr("vitrina.cli.finetune.open_store", lambda *places: places)
    with pytest.raises(ZeroDivisionError):
        vitrina("finetune", "s", "--catalogue", "c", former, value)
    (options,) = seen
    owner = options.reading if present == "num_workers" else options
    assert str(getattr(owner, present)) == value
    flag = f"--{present.replace('_', '-')}"
    assert capsys.readouterr().err.startswith(f"warning: {former} is called {flag} now\n")


def test_former_names_of_keywords_still_work(store, monkeypatch, caplog):
    import vitrina as vt

    seen = []
    job = "vitrina.pipelines.finetune.job.finetune"
    monkeypatch.setattr(job, lambda _, options, *__, **___: seen.append(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        vt.finetune(store, rate=0.5, batch_rows=16)
    assert (seen[0].learning_rate, seen[0].batch_size) == (0.5, 16)
    assert "rate is called learning_rate now" in caplog.text
