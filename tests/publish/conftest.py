"""A local Hub for the tests of a module."""

import pytest

from tests.minihub.client import MiniHub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with MiniHub(tmp_path_factory.mktemp("minihub")) as running:
        yield running
        assert running.admin("GET", "fsck") == []
