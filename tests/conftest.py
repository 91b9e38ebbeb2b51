import pytest

from vitrina.data.sample import write_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """The built-in sample of 120 products: 102 of them labelled, some photos missing or broken."""
    return write_sample(tmp_path_factory.mktemp("sample"), products=120, seed=0)
