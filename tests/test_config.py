"""vitrina.toml: what a team repeats every day, and what a stranger's file may not do."""

import os
from typing import Any

import pytest
import typer

from support.cli import vitrina
from vitrina import cli
from vitrina.cli import config

COMMANDS = typer.main.get_command(cli.app)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory of a test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(config.VARIABLE, raising=False)
    return tmp_path


def defaults(command: str, *arguments: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """The defaults that the configuration has for a command called with these arguments."""
    group = COMMANDS.make_context("vitrina", [*before, command, *arguments])
    one = COMMANDS.commands[command]
    ctx = type(group)(one, parent=group, info_name=command)
    config.set_defaults(one, ctx, list(arguments))
    return dict(ctx.default_map or {})


def refusal(capsys, *arguments: str) -> str:
    """The line of a command that ends with exit code 2."""
    assert vitrina(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line.removeprefix("vitrina: ")


def write(path, text: str):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_values_of_all_types_become_defaults(folder):
    write(
        folder / "vitrina.toml",
        """
store = "shelf"
seed = 7
[embed]
catalogue = "feed.xml"
text-model = "lexical"
images = "web"
photos = 3
keep_columns = ["price", "Вес, кг"]
max-failures = 0.1
prune = true
refit = false
[neighbours]
where = ["price<1000", "sale=true"]
[index]
memory = "2GB"
[train]
refit = false
precision = 0.9
""",
    )
    assert defaults("embed") == {
        "store": "shelf",
        "seed": "7",
        "catalogue": "feed.xml",
        "text_model": "lexical",
        "images": "web",
        "photos": "3",
        "keep_columns": ['price,"Вес, кг"'],
        "max_failures": "0.1",
        "prune": True,
        "refit": False,
    }
    assert defaults("neighbours") == {
        "store_option": "shelf",
        "where": ["price<1000", "sale=true"],
    }
    assert defaults("index")["memory"] == "2GB"
    assert defaults("train")["refit"] is False
    assert defaults("info") == {"store_option": "shelf"}


def test_the_command_line_precedes_the_file_and_the_file_the_default(folder, monkeypatch):
    seen = []
    monkeypatch.setattr("vitrina.api.train", lambda _, options: seen.append(options) or 1 / 0)
    monkeypatch.setattr("vitrina.cli.train.open_store", lambda *places: places)
    write(folder / "vitrina.toml", "[train]\nepochs = 5\nfusion = 'late'\nrefit = false\n")
    with pytest.raises(ZeroDivisionError):
        vitrina("train", "shelf", "--epochs", "2")
    (options,) = seen
    assert (options.epochs, options.fusion, options.refit) == (2, "late", False)
    assert options.precision == 0.95


def test_a_store_that_is_typed_excludes_the_one_of_the_file(folder):
    write(folder / "vitrina.toml", 'store = "shelf"')
    assert defaults("train", "other") == {}
    assert defaults("benchmark") == {"store_option": "shelf"}
    assert defaults("benchmark", "goods.csv") == {}
    write(folder / "vitrina.toml", 'store = "shelf"\n[benchmark]\ncatalogue = "goods.csv"')
    assert defaults("benchmark") == {"catalogue": "goods.csv"}
    assert defaults("benchmark", "--store", "s") == {"store_option": "shelf"}


def test_the_working_directory_precedes_the_folder_of_the_store(folder):
    write(folder / "team/vitrina.toml", "[train]\nepochs = 5\npatience = 2\n")
    assert defaults("train", "team/shelf") == {"epochs": "5", "patience": "2"}
    write(folder / "vitrina.toml", "[train]\nepochs = 3\n")
    assert defaults("train", "team/shelf") == {"epochs": "3", "patience": "2"}
    assert defaults("train", "--store", "team/shelf") == {"epochs": "3", "patience": "2"}
    assert defaults("train", "shelf") == {"epochs": "3"}
    write(folder / "vitrina.toml", "store = 'team/shelf'\n")
    assert defaults("train") == {"store_option": "team/shelf", "epochs": "5", "patience": "2"}
    assert defaults("train", "s3://team/shelf") == {}


def test_a_named_file_replaces_those_that_are_found(folder, monkeypatch):
    write(folder / "vitrina.toml", "[train]\nepochs = 3\n")
    other = write(folder / "other/mine.toml", "[train]\npatience = 1\n")
    assert defaults("train", "s", "--config", "other/mine.toml") == {"patience": "1"}
    assert defaults("train", "s", before=("--config", "other/mine.toml")) == {"patience": "1"}
    assert defaults("train", "s", "--no-config") == {}
    monkeypatch.setenv(config.VARIABLE, str(other))
    assert defaults("train", "s") == {"patience": "1"}
    assert defaults("train", "s", before=("--no-config",)) == {}


def test_paths_are_those_of_the_files_folder(folder, monkeypatch):
    file = write(
        folder / "team/mine.toml",
        'store = "shelf"\n[embed]\nimages = "photos.zip"\ncatalogue = "feed.xml"\n'
        'text-model = "rubert-tiny2"\n',
    )
    found = defaults("embed", "--config", str(file))
    assert found["store"] == str(folder / "team/shelf")
    assert found["catalogue"] == str(folder / "team/feed.xml")
    assert found["images"] == "photos.zip"
    assert found["text_model"] == "rubert-tiny2"
    (folder / "team/photos.zip").touch()
    assert defaults("embed", "--config", str(file))["images"] == str(folder / "team/photos.zip")
    monkeypatch.chdir(folder / "team")
    assert defaults("embed", "--config", "mine.toml")["store"] == "shelf"


def test_former_names_still_work(folder, caplog):
    write(folder / "vitrina.toml", "[finetune]\nrate = 0.001\n")
    assert defaults("finetune", "s") == {"learning_rate": "0.001"}
    assert "rate is called learning-rate now" in caplog.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("store = 3", "line 1: store must be text, not 3"),
        ("[embed]\nphoto = 3", "line 2: [embed] photo is no option; did you mean 'photos'"),
        ("[embd]\nphotos = 3", "line 1: [embd] is no command; did you mean 'embed'"),
        ("photos = 3", "line 1: photos stands above the tables, but belongs into [embed]"),
        ("sead = 3", "line 1: sead is no option of all commands; did you mean 'seed'"),
        ("[train]\n\nepochs = '3'", "line 3: [train] epochs must be a whole number, not '3'"),
        ("[train]\nepochs = 0", "[train] epochs must be at least 1, not 0"),
        ("[train]\nhead = 'mpl'", "must be logistic or mlp, not 'mpl'; did you mean 'mlp'"),
        ("[train]\nrefit = 'no'", "[train] refit must be True or False, not 'no'"),
        ("[compact]\nkeep = true", "[compact] keep must be a whole number, not True"),
        ("[embed]\nprune = 1", "[embed] prune must be True or False, not 1"),
        ("[embed]\nkeep-columns = 1", "[embed] keep-columns must be text, not 1"),
        ("[embed\n", "vitrina.toml is not valid TOML: "),
        ("[index]\nmemory = 'lots'", "memory must be a size such as 200MB or 1.5GB, not 'lots'"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(folder, capsys, text, line):
    write(folder / "vitrina.toml", text)
    printed = refusal(capsys, "train", "shelf")
    assert printed.startswith(str(folder / "vitrina.toml"))
    assert line in printed
    assert vitrina("train", "--help") == 0


@pytest.mark.parametrize("name", ["nowhere.toml", "folder"])
def test_a_named_file_must_be_there(folder, capsys, name):
    (folder / "folder").mkdir()
    line = refusal(capsys, "train", "shelf", "--config", name)
    assert name in line


def test_an_option_of_the_file_that_fits_nothing_is_named_with_the_file(folder, capsys):
    write(folder / "vitrina.toml", "[neighbours]\nimages = 'web'\n")
    line = refusal(capsys, "neighbours", "shelf", "--text", "чай")
    assert f"(--images is set in {folder / 'vitrina.toml'})" in line


RIGHTS = {
    "embed": ("allow-private = true", "max-megapixels = 100"),
    "review": ("host = '0.0.0.0'", "token = 'abcdefghijklmnop'"),
}


@pytest.mark.parametrize(
    ("command", "right"), [(c, one) for c, rights in RIGHTS.items() for one in rights]
)
@pytest.mark.parametrize("place", ["vitrina.toml", "team/vitrina.toml"])
def test_only_the_user_grants_rights(folder, capsys, command, right, place):
    file = write(folder / place, f"[{command}]\n{right}\n")
    arguments = ["a.csv", "--store", "team/s"] if command == "embed" else ["team/s"]
    assert "is a right, which only you may grant" in refusal(capsys, command, *arguments)
    assert len(defaults(command, *arguments, "--config", str(file))) == 1


def test_rights_are_those_of_the_security_policy():
    from vitrina.cli.options import FieldOption
    from vitrina.options import spec_of

    found = {
        option.name
        for command in COMMANDS.commands.values()
        for option in vars(command.callback).get("fields", {}).values()
        if isinstance(option, FieldOption) and spec_of(option.field).right
    }
    assert found == {"allow_private", "max_megapixels", "host", "token"}


@pytest.mark.parametrize(
    "line",
    [
        "[classify]\nout = '/etc/passwd'",
        "[classify]\nout = '../other.parquet'",
        "[classify]\nout = '~/other.parquet'",
        "[classify]\nout = 'away/other.parquet'",
        "[classify]\nimages = '/home'",
        "[embed]\ntext-model = '../model'",
        "[embed]\ncatalogue = 'postgresql://server/base'",
    ],
)
def test_a_file_beside_a_store_names_no_path_outside_of_its_folder(folder, capsys, line):
    write(folder / "theirs/vitrina.toml", line)
    (folder / "theirs/away").symlink_to(folder)
    printed = refusal(capsys, "classify", "new.csv", "--store", "theirs/s", "--out", "o.csv")
    assert "leads out of the folder" in printed


def test_a_path_within_the_folder_of_the_store_is_fine(folder):
    write(folder / "theirs/vitrina.toml", "[classify]\nout = 'out.csv'\nimages = 'web'\n")
    found = defaults("classify", "new.csv", "--store", "theirs/s")
    assert found == {"out": str(folder / "theirs/out.csv"), "images": "web"}


def test_a_file_within_a_store_is_not_read(folder, monkeypatch):
    write(folder / "s/vitrina.toml", "[train]\nepochs = 3\n")
    write(folder / "s/store.json", "{}")
    assert defaults("train", "s") == {}
    monkeypatch.chdir(folder / "s")
    assert defaults("train", ".") == {}
    assert defaults("train", "--store", "../other") == {}
    write(folder / "s/spaces/vitrina.toml", "[train]\nepochs = 3\n")
    monkeypatch.chdir(folder / "s/spaces")
    assert defaults("train", "..") == {}


@pytest.mark.parametrize("place", ["vitrina.toml", "team/vitrina.toml"])
def test_a_file_of_another_user_is_not_used(folder, monkeypatch, caplog, place):
    file = write(folder / place, "[train]\nepochs = 3\n")
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    if file.stat().st_uid == 0:
        os.chown(file, 12345, -1)
    assert defaults("train", "team/s") == {}
    assert f"{file} is not used, since it belongs to another user" in caplog.text
    assert defaults("train", "team/s", "--config", str(file)) == {"epochs": "3"}


def test_a_file_that_everyone_may_write_is_not_used(folder, caplog):
    file = write(folder / "vitrina.toml", "[train]\nepochs = 3\n")
    file.chmod(0o666)
    assert defaults("train", "s") == {}
    assert "everyone may write it" in caplog.text
    file.chmod(0o664)
    assert defaults("train", "s") == {"epochs": "3"}


def test_a_pipe_does_not_block(folder, capsys):
    os.mkfifo(folder / "vitrina.toml")
    assert "is not a regular file" in refusal(capsys, "train", "s")


def test_verbose_says_which_file_was_read(folder, capsys):
    write(folder / "vitrina.toml", "store = 'nowhere'\n")
    assert vitrina("info", "-v") == 1
    assert f"options from {folder / 'vitrina.toml'}" in capsys.readouterr().err
    assert vitrina("info") == 1
    assert "options from" not in capsys.readouterr().err
