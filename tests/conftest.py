import gc
import os
import shutil

import pytest
from hypothesis import settings
from jinja2 import Environment, FileSystemBytecodeCache

from vitrina.cache import cache_folder
from vitrina.page import templates
from vitrina.sample import write_sample
from vitrina.store import integrity
from vitrina.store.store import OpenStore

pytest.register_assert_rewrite("support")

# Tests have caches of their own; compiled kernels are kept in one place for all of them, and for
# the processes that they start.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder("kernels")))

# A test that fails by the clock tells of the machine; the first call of a kernel compiles it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection():
    # Modules and test items live to the end: looking for garbage among them takes seconds.
    gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _templates_compiled_once(tmp_path_factory):
    """Compiled templates, kept for all the environments that tests make. Environments that
    finalize values compile to other code."""
    caches = {
        plain: FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
        for plain in (True, False)
    }

    def environment(finalize=None, **options):
        cache = caches[finalize is None]
        return Environment(finalize=finalize, bytecode_cache=cache, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "Environment", environment)
        yield


@pytest.fixture(scope="session", autouse=True)
def _checksums_of_the_tests_own(tmp_path_factory):
    """Known checksums of the tests' stores, kept away from the user's."""
    folder = tmp_path_factory.mktemp("checksums")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integrity, "cache_folder", lambda kind: folder / kind)
        yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """The built-in sample of 120 products: 102 of them labelled, some photos missing or broken."""
    return write_sample(tmp_path_factory.mktemp("sample"), products=120, seed=0)


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A cache of the test's own, in `cache` of its folder."""
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def unsynced(monkeypatch):
    """No waiting for the disk: no test can see whether a file was synced."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def stubs(monkeypatch):
    """Stub encoders in place of the real ones, by modality."""
    from support.embedding import use_stubs

    return use_stubs(monkeypatch.setattr)


@pytest.fixture(scope="session")
def embedded_sample(sample, tmp_path_factory):
    """The folder of a store of the sample, to be copied."""
    from support.audits import embedded

    path = tmp_path_factory.mktemp("embedded") / "store"
    embedded(path, sample)
    return path


@pytest.fixture(scope="module")
def reviewed(embedded_sample, tmp_path_factory):
    """The folder of a store of the sample with an audit of 12 suspects, for the review page."""
    from support.audits import audited

    path = tmp_path_factory.mktemp("reviewed") / "store"
    shutil.copytree(embedded_sample, path)
    audited(OpenStore.open(path), count=12)
    return path
