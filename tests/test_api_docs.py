"""The examples in the docstrings of the public names and of the store's methods run."""

import doctest
import importlib
import inspect
import pkgutil
import random
import sys
from types import ModuleType

import pytest

import vitrina as vt

METHODS = sorted(name for name in vars(vt.Store) if name[0] != "_" and hasattr(vt.Store, name))
# Each in a random place, so that none relies on another.
NAMES = random.Random(24).sample(vt.__all__, len(vt.__all__))


@pytest.fixture(scope="module")
def names(sample, tmp_path_factory):
    """Names that the examples use: a store with index, head and audit, its catalogue, a batch."""
    folder = tmp_path_factory.mktemp("examples")
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    store = vt.Store.create(folder / "store")
    store.embed(catalogue, text="lexical", image="thumbnail", max_failures=0.5)
    store.build_index("fused")
    store.train("logistic", features="text", epochs=2)
    yield {
        "vt": vt,
        "store": store,
        "catalogue": catalogue,
        "folder": folder,
        "batch": sample.test,
        "photos": sample.images,
        "file": sample.train,
    }
    catalogue.close()


def import_subpackages():
    """Import all subpackages, which sets their names in the package, even if they are imported."""
    for module in pkgutil.iter_modules(vt.__path__):
        setattr(vt, module.name, importlib.import_module(f"vitrina.{module.name}"))


def run_examples(doc, names, name):
    example = doctest.DocTestParser().get_doctest(doc, dict(names), name, None, None)
    assert example.examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    printed = []
    runner.run(example, out=printed.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(printed)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(names, name):
    import_subpackages()
    found = getattr(vt, name)
    run_examples(found.__doc__, names, name)
    # Some examples are skipped, since they take long; every function is called.
    parameters = inspect.signature(found).parameters if inspect.isfunction(found) else {}
    if "store" in parameters:
        nowhere = names["folder"] / "none"
        inputs = {"store", "catalogue", "path", "queries", "text", "out", "name", "directory"}
        inputs &= set(parameters)
        with pytest.raises(vt.VitrinaError, match="none"):
            found(**dict.fromkeys(inputs, nowhere))


def test_every_method_of_the_store_is_a_function_too():
    assert set(METHODS) <= set(vt.__all__)


@pytest.mark.parametrize(
    "name",
    [
        # What these do by themselves was just run.
        pytest.param(name, marks=pytest.mark.slow) if name in ("audit", "train") else name
        for name in METHODS
    ],
)
def test_an_example_of_a_method_runs(names, name):
    doc = getattr(vt.Store, name).__doc__
    assert f"store.{name}(" in doc
    assert "vt." not in doc
    folder = names["folder"] / "methods"
    folder.mkdir(exist_ok=True)
    run_examples(doc, {**names, "folder": folder}, name)


def test_a_subpackage_never_hides_a_public_name(tmp_path, monkeypatch):
    public = {name: getattr(vt, name) for name in vt.__all__}
    for name in vt.__all__:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("inside = 1")
    monkeypatch.setattr(vt, "__path__", [str(tmp_path)])
    for name in vt.__all__:
        monkeypatch.delitem(sys.modules, f"vitrina.{name}", raising=False)
        module = importlib.import_module(f"vitrina.{name}")
        assert isinstance(module, ModuleType)
        assert module.inside == 1
        assert getattr(vt, name) is public[name]
        # Undone below, so that other tests have the modules that they imported.
        monkeypatch.delitem(sys.modules, f"vitrina.{name}")


def test_a_subpackage_of_a_public_name_can_be_imported():
    import vitrina.audit.results
    from vitrina.audit import results

    assert sys.modules["vitrina.audit"].results is results
    assert vt.audit is importlib.import_module("vitrina.api").audit
    assert vitrina is vt


def test_a_public_name_can_be_replaced_in_a_test(monkeypatch):
    monkeypatch.setattr(vt, "audit", 3)
    assert vt.audit == 3
    monkeypatch.undo()
    assert callable(vt.audit)
