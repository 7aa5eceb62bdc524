"""The project as dbt parses it, once for all tests of its layers and style."""

import pytest

from tests.support.manifest import Manifest, parse_project


@pytest.fixture(name="manifest", scope="session")
def manifest_fixture() -> Manifest:
    return parse_project()
