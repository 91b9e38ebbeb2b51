"""Packages that only some jobs need: everything else runs without them, and they are named."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import vitrina as vt
from support.cli import vitrina
from support.tuning import write_model
from vitrina.errors import MissingPackageError
from vitrina.optional import _EXTRAS, _PACKAGES, needed_for

MAIN_JOB_RUNS_WITHOUT = (
    *("cleanlab", "httpx2", "IPython", "ipywidgets", "lxml", "matplotlib", "open_clip", "pandas"),
    *("pillow_heif", "pillow_jxl", "polars", "python_calamine", "ray", "s3fs", "skimage"),
    *("starlette", "timm", "torchvision", "transformers", "uvicorn", "xlsxwriter"),
)
FEED = """<?xml version="1.0" encoding="UTF-8"?>
<yml_catalog><shop><name>s</name><offers>
<offer id="1"><name>ваза</name></offer></offers></shop></yml_catalog>"""


def hide(monkeypatch, module, *importers):
    """Make a module impossible to import, and forget the modules that have imported it."""
    for name in [*sys.modules]:
        if name == module or name.startswith((f"{module}.", *importers)):
            forget(monkeypatch, name)
    monkeypatch.setitem(sys.modules, module, None)


def forget(monkeypatch, name):
    """Have a module imported anew, by `from package import module` too."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    package, _, module = name.rpartition(".")
    if package.startswith("vitrina") and package in sys.modules:
        monkeypatch.delattr(sys.modules[package], module, raising=False)


@pytest.mark.slow
def test_the_main_job_runs_without_what_only_other_jobs_need(tmp_path, sample):
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys
class Others:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {MAIN_JOB_RUNS_WITHOUT!r}
        return None if hidden else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Others(one) for one in sys.meta_path]
from vitrina.cli import app
store = {str(tmp_path / "store")!r}
train, out = {str(sample.train)!r}, {str(tmp_path / "out.parquet")!r}
models = ["--text-model", "lexical", "--image-model", "none"]
for words in (
    ["embed", train, "--store", store, *models],
    ["index", store, "--features", "text"],
    ["train", store, "--features", "text", "--head", "logistic", "--epochs", "1"],
    ["classify", train, "--store", store, "--out", out],
    ["neighbours", store, "--text", "ваза"],
    ["audit", store, "--out", {str(tmp_path / "report.html")!r}, "--folds", "2"],
    ["info", store],
    ["verify", store],
):
    app(words, standalone_mode=False)
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[-2000:] if done.returncode else "") == (0, "")
    assert (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("starlette", "the review page needs starlette, which is not installed: `pip install s"),
        ("uvicorn", "the review page needs uvicorn, which is not installed: `pip install uvicorn`"),
    ],
)
def test_the_review_page_names_its_server(monkeypatch, capsys, tmp_path, module, message):
    hide(monkeypatch, module, "vitrina.audit.review.", "starlette.", "uvicorn.")
    from vitrina.api import auditing

    with pytest.raises(MissingPackageError, match=message):
        auditing.serve_review(vt.Store.create(tmp_path / "store"), vt.ReviewOptions(), print)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("module", "importer", "models", "message"),
    [
        ("transformers", "text", "", "a text model needs transformers, which is not"),
        ("sklearn", "lexical", "lexical", "a text model needs scikit-learn, which is not"),
        ("skimage", "thumbnail", "thumbnail", "an image model needs scikit-image, which is not"),
        ("timm", "image_models", "timm:resnet18", "an image model needs timm, which is not"),
        (
            "open_clip",
            "image_models",
            "open_clip:ViT-B-32/openai",
            "an image model needs open_clip_torch, which is not installed: `pip install open_clip",
        ),
    ],
)
def test_a_model_names_its_package(monkeypatch, tmp_path, module, importer, models, message):
    from vitrina.embedder import load
    from vitrina.embedder.model_ref import ModelRef
    from vitrina.types import Modality

    models = models or str(write_model(tmp_path / "model"))
    for name in ("text", "lexical", "image", "image_models", "thumbnail"):
        forget(monkeypatch, f"vitrina.embedder.{name}")
    hide(monkeypatch, module, f"vitrina.embedder.{importer}", "vitrina.embedder.inference")
    image = importer in ("image_models", "thumbnail")
    model = ModelRef.parse(models, Modality.IMAGE if image else Modality.TEXT, ())
    with pytest.raises(MissingPackageError, match=message):
        (load.load_image if image else load.load_text)(model)


def test_a_feed_names_its_parser(monkeypatch, tmp_path, capsys):
    (tmp_path / "feed.yml").write_text(FEED, encoding="utf-8")
    hide(monkeypatch, "lxml", "vitrina.data.readers.yml", "vitrina.data.readers.feed.offers")
    assert vitrina("embed", tmp_path / "feed.yml", "--store", tmp_path / "s") == 1
    line = "vitrina: a YML feed needs lxml, which is not installed: `pip install lxml`"
    assert line in capsys.readouterr().err


def test_a_spreadsheet_names_its_parser(monkeypatch, tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    hide(monkeypatch, "python_calamine")
    assert vitrina("embed", tmp_path / "table.xlsx", "--store", tmp_path / "s") == 1
    line = "a spreadsheet needs python-calamine, which is not installed: `pip install python-cala"
    assert line in capsys.readouterr().err


def test_an_extra_is_named_by_its_name():
    with pytest.raises(MissingPackageError) as err, needed_for("plots"):
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.pyplot")
    assert str(err.value) == (
        "plots needs matplotlib, which is not installed: `pip install 'vitrina[plots]'`"
    )
    assert (err.value.package, err.value.extra) == ("matplotlib", "plots")
    with pytest.raises(ModuleNotFoundError) as own, needed_for("plots"):
        raise ModuleNotFoundError("a module of ours", name="vitrina.nothing")
    assert not isinstance(own.value, MissingPackageError)


def test_extras_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for module, extra in _EXTRAS.items():
        package = _PACKAGES.get(module, module)
        wanted = project["optional-dependencies"][extra]
        assert any(line.startswith(f"{package}>=") for line in wanted), module
