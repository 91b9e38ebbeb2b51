"""What strangers see of the project agrees with itself: versions, Pythons, forms, pictures."""

import re
import sys
import tomllib

import pytest
import yaml

from support.doc_pages import DOCS
from vitrina import __version__

ROOT = DOCS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def loaded(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_one_version_everywhere():
    citation = loaded("CITATION.cff")
    newest = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", text("CHANGELOG.md"), flags=re.M)
    assert PROJECT["version"] == citation["version"] == newest[1] == __version__
    assert citation["date-released"] == newest[2]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def test_one_set_of_pythons_everywhere():
    named = [one for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
    pythons = [one.rpartition(" ")[2] for one in named]
    assert loaded(".github/workflows/ci.yml")["jobs"]["check"]["strategy"]["matrix"] == {
        "python": pythons
    }
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert f"Python {pythons[0]} to {pythons[-1]}" in text("README.md")
    image = re.search(r"^FROM python:(\S+?)-", text("Dockerfile"), flags=re.M)[1]
    assert image in pythons


def test_the_package_says_that_it_is_typed():
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert (ROOT / "vitrina" / "py.typed").is_file()


def test_the_citation_has_what_its_format_requires():
    citation = loaded("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    assert [one["name"] for one in citation["authors"]] == [
        one["name"] for one in PROJECT["authors"]
    ]


@pytest.mark.parametrize("name", ["bug.yml", "idea.yml"])
def test_an_issue_form_has_what_github_requires(name):
    form = loaded(f".github/ISSUE_TEMPLATE/{name}")
    assert {"name", "description", "body"} <= set(form)
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    assert all(one["attributes"]["label"] for one in fields)
    assert len({one["id"] for one in fields}) == len(fields)
    assert any(one.get("validations", {}).get("required") for one in fields)


def test_ci_runs_what_developers_run():
    jobs = loaded(".github/workflows/ci.yml")["jobs"]
    assert any(step.get("run") == "bash .ci/run" for step in jobs["check"]["steps"])
    assert any(step.get("run") == "make docs" for step in jobs["docs"]["steps"])
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = re.findall(r"\bmake ([a-z ]+)", "\n".join([*lines, text(".ci/run")]))
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), flags=re.M))
    assert {"lowest", "slow"} <= {name for names in called for name in names.split()} <= targets


def test_the_hooks_call_tools_of_the_lock():
    hooks = [hook for repo in loaded(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    lock = text("requirements.lock")
    for tool in ("ruff", "mypy"):
        assert any(hook["entry"].startswith(f".venv/bin/{tool}") for hook in hooks)
        assert re.search(rf"^{tool}==", lock, flags=re.M)


def test_the_image_copies_what_its_context_has():
    wanted = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text("Dockerfile"), flags=re.M)
        for name in line.split()
    }
    given = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert wanted == given
    assert all((ROOT / name).exists() for name in wanted)
    assert re.findall(r"^USER (\w+)$", text("Dockerfile"), flags=re.M) == ["vitrina"]
    # What serves Python alone, or the project itself, is left out; Ray's version is the cluster's.
    extras = PROJECT["optional-dependencies"].keys() - {
        "cleanlab",
        "dev",
        "docs",
        "plots",
        "polars",
        "ray",
    }
    (installed,) = re.findall(r"'\.\[(.+)\]'", text("Dockerfile"))
    assert set(installed.split(",")) == extras


def test_pictures_are_those_that_the_script_draws(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "tools"))
    pictures = __import__("pictures")
    for language, name in (("en", "flow.svg"), ("ru", "flow.ru.svg")):
        assert (DOCS / "assets" / name).read_text(encoding="utf-8") == pictures.draw(language)
    sys.modules.pop("pictures")


def test_attributes_in_googles_form_become_numpydoc(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "tools"))
    griffe_vitrina = __import__("griffe_vitrina")
    before = "A store.\n\nAttributes:\n    files: access\n        to it.\n    a, b: two.\n\nEnd."
    assert griffe_vitrina.as_numpydoc(before) == (
        "A store.\n\nAttributes\n----------\n"
        "files :\n    access\n    to it.\na, b :\n    two.\n\nEnd."
    )
    assert griffe_vitrina.as_numpydoc("a : {'x', 'y'}, optional") == "a : 'x' | 'y', optional"
    sys.modules.pop("griffe_vitrina")
