"""The documentation is true: its commands exist, its examples run, its site builds."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import vitrina
from support import doc_pages
from support.doc_inputs import write_inputs
from support.doc_pages import DOCS, blocks, matched, run_page, translation_of
from support.web_server import Site
from vitrina import cli

ROOT = DOCS.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
}
COMMANDS = typer.main.get_command(cli.app).commands
LINES = sorted(
    {(page, line) for page, text in PAGES.items() for line in doc_pages.command_lines(text)}
)
OF_BENCHMARKS = {
    flag
    for script in (ROOT / "benchmarks").rglob("*.py")
    for flag in re.findall(r'"(--[a-z0-9-]+)"', script.read_text(encoding="utf-8"))
}
EXAMPLES = doc_pages.pages_with_examples()
TRANSLATED = doc_pages.translated()


@pytest.mark.parametrize(("page", "line"), LINES)
def test_commands_and_options_exist(page, line):
    _, name, *words = shlex.split(line.split("  #")[0].split("   ")[0])
    known = {flag for one in COMMANDS[name].params for flag in (*one.opts, *one.secondary_opts)}
    given = {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)}
    assert given <= known | {"--help"}, page


def test_the_readme_has_commands_to_check():
    assert len([line for page, line in LINES if page == "README.md"]) >= 5


@pytest.mark.parametrize("page", sorted(PAGES))
def test_options_named_in_prose_exist(page):
    known = {f for c in COMMANDS.values() for o in c.params for f in (*o.opts, *o.secondary_opts)}
    prose = set(re.findall(r"`(--[a-z][a-z0-9-]+)", PAGES[page])) - {"--help", "--version"}
    assert prose <= known | OF_BENCHMARKS


def test_the_readme_is_one_page():
    assert len(README.splitlines()) <= 120


@pytest.mark.slow
def test_the_readmes_python_runs(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    shutil.copy(inputs / "data" / "train.parquet", inputs / "train.parquet")
    shutil.copy(inputs / "data" / "test.parquet", inputs / "test.parquet")
    shutil.copy(inputs / "data" / "images.zip", inputs / "images.zip")
    (code,) = [one.code for one in blocks(README) if one.language == "python"]
    assert len(code.splitlines()) <= 7
    exec(compile(code, "README.md", "exec"), names := {})
    assert len(names["predictions"]) == 18


def test_the_reference_names_the_whole_api():
    pages = [text for page, text in PAGES.items() if page.startswith("docs/reference/api/")]
    named = set(re.findall(r"^::: vitrina\.(\w+)$", "\n".join(pages), flags=re.M))
    options = {name for name in vitrina.__all__ if name.endswith(("Options", "Columns"))}
    assert named | options == set(vitrina.__all__)


def test_each_command_has_a_page():
    stubs = {
        re.search(r"<!-- vitrina: ([\w-]+) -->", path.read_text(encoding="utf-8"))
        for path in (DOCS / "reference" / "cli").glob("*.md")
    }
    assert {found[1] for found in stubs if found} == set(COMMANDS)


def test_every_test_that_the_security_policy_names_exists():
    tests = Path(__file__).parent
    text = (tests.parent / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py|fuzz/\w+\.py)`", text))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (tests / name).is_file()] == []


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translation_has_the_same_code(page):
    english, russian = (
        blocks(PAGES[f"docs/{page}"]),
        blocks(translation_of(page).read_text("utf-8")),
    )
    keys = [(one.language, one.title, one.why_not_run, one.code) for one in english]
    assert keys == [(one.language, one.title, one.why_not_run, one.code) for one in russian]


@pytest.mark.parametrize("page", ["troubleshooting.md", "troubleshooting.ru.md"])
def test_messages_that_are_explained_are_printed(page):
    source = "\n".join(one.read_text("utf-8") for one in (ROOT / "vitrina").rglob("*.py"))
    # Long messages are several literals.
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    messages = re.findall(r"^\*\*`(.+)`\*\*$", PAGES[f"docs/{page}"], flags=re.M)
    assert len(messages) >= 9
    parts = [part.strip() for one in messages for part in one.split("…") if part.strip()]
    assert [part for part in parts if part not in source] == []


def test_what_the_reader_meets_first_is_translated():
    first = {"index.md", "quickstart.md", "concepts.md", *EXAMPLES}
    assert first <= set(TRANSLATED)


@pytest.mark.parametrize("page", EXAMPLES)
def test_python_that_is_not_run_is_python(page):
    for block in blocks(PAGES[f"docs/{page}"]):
        if block.language == "python":
            compile(block.code, page, "exec")


@pytest.fixture(scope="module")
def web():
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def page_start(sample, embedded_sample, web, tmp_path_factory):
    """What a guide starts from: the sample, a store of it with a head, further inputs."""
    folder = tmp_path_factory.mktemp("pages") / "start"
    shutil.copytree(sample.train.parent, folder / "data")
    shutil.copytree(embedded_sample, folder / "shelf")
    store = vitrina.Store.open(folder / "shelf")
    vitrina.build_index(store)
    vitrina.train(store, "logistic", epochs=2)
    write_inputs(folder, web)
    return folder


@pytest.fixture
def inputs(page_start, tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VITRINA_ALLOW_PRIVATE", "1")
    folder = tmp_path / "page"
    shutil.copytree(page_start, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_run_and_print_what_the_page_shows(page, inputs):
    # Of fewer products nothing is accepted, which the page would have to show.
    count = 400 if page == "quickstart.md" else 120
    text = PAGES[f"docs/{page}"].replace("--catalogue-only", f"--catalogue-only --products {count}")
    if page == "quickstart.md":
        shutil.rmtree(inputs / "data")
        shutil.rmtree(inputs / "shelf")
    ran = [*run_page(text, inputs)]
    unlike = [(one.line, one.shown, one.printed) for one in ran if one.fresh is None]
    assert unlike == [], "\n".join(map(str, unlike))
    assert ran or page in ("guides/cluster.md", "guides/airflow.md")


@pytest.mark.parametrize(
    ("shown", "printed", "fresh"),
    [
        (("a 1",), ["a 2"], ["a 2"]),
        (("a 1",), ["b 2"], None),
        (("a",), ["a", "b"], None),
        (("a", "..."), ["a", "b", "c"], ["a", "..."]),
        (("...", "c 1"), ["a", "b", "c 22"], ["...", "c 22"]),
        (("...", "c"), ["a", "c", "d"], None),
        (("a ... of 3",), ["a lot of 44"], ["a ... of 3"]),
        ((), ["a"], None),
        (("...",), [], ["..."]),
    ],
)
def test_an_example_can_fail(shown, printed, fresh):
    assert matched(shown, printed) == fresh


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_without_the_web(tmp_path):
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    train = (site / "reference" / "cli" / "train.html").read_text(encoding="utf-8")
    assert "--precision" in train
    assert "Target precision of accepted predictions" in train
    jobs = (site / "reference" / "api" / "jobs.html").read_text(encoding="utf-8")
    assert "Target precision of accepted predictions" in jobs
    assert "{options}" not in jobs
    assert "Быстрый старт" in (site / "ru" / "index.html").read_text(encoding="utf-8")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//', text)
        assert fetched == [], page
