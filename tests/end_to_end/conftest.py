"""A small sample lake, built and published once for the tests that only look at it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from flows import sample
from flows.build import Build
from flows.land import Landing
from flows.publish import Publication
from flows.run import run
from flows.settings import Settings

EVENTS, DAYS, SEED = 30_000, 4, 7


def settings_of(home: Path) -> Settings:
    return Settings(home=home, settle_seconds=0)


def run_all(settings: Settings) -> tuple[Landing, Build, Publication]:
    """What `tidemark run` does; there must be something new, and nothing may fail."""
    done = run(settings)
    assert done.build is not None
    assert not done.build.failed, [(n.name, n.message) for n in done.build.failed]
    assert done.publication is not None and done.publication.manifest.is_fresh
    return done.landing, done.build, done.publication


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
