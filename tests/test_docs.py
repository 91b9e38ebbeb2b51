"""The README's commands exist, and its Python runs as it stands."""

import re
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

import vitrina
from vitrina import cli
from vitrina.sample import write_sample

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^vitrina .*$", README, flags=re.M)


@pytest.mark.parametrize("line", LINES)
def test_commands_and_options_exist(line):
    _, name, *words = shlex.split(line)
    command = typer.main.get_command(cli.app).commands[name]
    known = {flag for option in command.params for flag in option.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_there_are_commands_to_check():
    assert len(LINES) >= 5


def test_options_named_in_prose_exist():
    commands = typer.main.get_command(cli.app).commands.values()
    known = {f for c in commands for o in c.params for f in (*o.opts, *o.secondary_opts)}
    prose = set(re.findall(r"`(--[a-z-]+)", README)) - {"--help"}
    assert len(prose) > 10
    assert prose <= known


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch):
    sample = write_sample(tmp_path, products=150, seed=2)
    monkeypatch.chdir(tmp_path)
    first = pq.read_table(sample.train).column("product_id")[0].as_py()
    (code,) = re.findall(r"```python\nimport vitrina.*?```", README, flags=re.S)
    code = code.removeprefix("```python\n").removesuffix("```").replace("1937", str(first))
    names: dict[str, object] = {}
    exec(code, names)
    assert names["predictions"].num_rows == sample.test_products
    assert len(names["near"]) == 10
    assert names["report"].validation.weighted_f1 > 0.3


def test_the_readme_names_the_whole_api():
    for name in vitrina.__all__:
        assert f"vt.{name}" in README, name


def test_every_test_that_the_security_policy_names_exists():
    tests = Path(__file__).parent
    text = (tests.parent / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py|fuzz/\w+\.py)`", text))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (tests / name).is_file()] == []
