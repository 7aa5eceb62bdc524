"""A lake of its own for each test, and the same events in every format."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lake import KEY, Lake
from tests.support.processes import FORKSERVER

# Each test and what it starts encrypts with the same key, but those that say otherwise.
os.environ["TIDEMARK_MASTER_KEY"] = KEY
# A site takes longer than all else that most of them do; those that are about it ask for it.
os.environ["TIDEMARK_SITE"] = "false"
FORKSERVER.set_forkserver_preload(["flows.cli", "dbt.cli.main"])


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their argument: compressed ones hold the time, and every worker must see the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "home")


@pytest.fixture
def open_lake() -> Iterator[Lake]:
    """A lake whose folders anybody may reach and write, which those of pytest are not."""
    home = Path(tempfile.mkdtemp(prefix="tidemark-"))
    home.chmod(0o777)
    lake = Lake(home)
    for folder in (lake.settings.inbox, lake.settings.landed, lake.settings.quarantine, home / "warehouse"):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    lake.settings.lake.chmod(0o777)
    yield lake
    for folder in home.rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o777)
    shutil.rmtree(home)
