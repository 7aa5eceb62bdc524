"""Two homes: one with the lake whose figures are known, built once, and one with three small marts for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.settings import Settings
from tests.support.asked_lake import deliver_asked
from tests.support.lake import Lake
from tests.support.sample_lake import run_all
from tests.support.small_marts import published_small


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of the lake of tests/support/asked_lake.py, published. Read it, do not change it."""
    lake = Lake(tmp_path_factory.mktemp("asked") / "home")
    deliver_asked(lake)
    run_all(lake.settings)
    return lake.settings


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with a published mart of each level: agg_whole, fct_none without rows, and the restricted fct_days."""
    return published_small(tmp_path / "home", monkeypatch)


@pytest.fixture
def open_small(small: Settings) -> Iterator[Settings]:
    """Such a home where anybody may look into, which folders of pytest are not."""
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    home.chmod(0o755)
    shutil.copytree(small.published, home / "published", symlinks=True)
    yield Settings(home=home)
    shutil.rmtree(home)
