"""The examples in the docstrings of the public names run."""

import doctest

import pytest

import vitrina as vt


@pytest.fixture(scope="module")
def names(sample, tmp_path_factory):
    """Names that the examples use: a store with index, head and audit, its catalogue, a batch."""
    folder = tmp_path_factory.mktemp("examples")
    store = vt.Store.open(folder / "store")
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    vt.embed(catalogue, store, text="lexical", image="thumbnail", max_failures=0.5)
    vt.build_index(store, "fused")
    vt.train(store, "logistic", features="text", epochs=2)
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


@pytest.mark.parametrize("name", vt.__all__)
def test_an_example_runs(names, name):
    found = getattr(vt, name)
    example = doctest.DocTestParser().get_doctest(found.__doc__, dict(names), name, None, None)
    assert example.examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    printed = []
    runner.run(example, out=printed.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(printed)
