"""A small sample lake, built and published once for the tests that only look at it."""

from collections.abc import Callable, Iterator

import duckdb
import pytest

from flows import sample
from flows.build.build import Build
from flows.land.land import Landing
from flows.publish.publish import Publication
from flows.settings import Settings
from tests.support.sample_lake import DAYS, EVENTS, SEED, run_all, settings_of


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Landing, Build, Publication]:
    """The sample lake after one whole run. Read it, do not change it."""
    settings = settings_of(tmp_path_factory.mktemp("sample"))
    sample.generate(settings.home, EVENTS, DAYS, SEED)
    return settings, *run_all(settings)


@pytest.fixture
def query(
    sample_run: tuple[Settings, Landing, Build, Publication],
) -> Iterator[Callable[..., list[tuple[object, ...]]]]:
    """Queries on the published marts of the sample lake."""
    with duckdb.connect(str(sample_run[0].published / "current" / "marts.duckdb"), read_only=True) as marts:
        yield lambda sql, *values: marts.execute(sql, values or None).fetchall()
