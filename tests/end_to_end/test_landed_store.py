"""A lake that is brought back from the object store gives the marts that it gave before."""

import shutil
from pathlib import Path

import duckdb
import pytest

from flows import sample
from flows.audit.audit import audit
from flows.land.restore import restore_landed
from flows.run import run
from flows.settings import Settings
from tests.support.lakes import marts_of
from tests.support.object_store import served_object_store


def figures_of_lake(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """What is said of landings and rejected rows: all but when it was built."""
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as db:
        tables = ("ops_landings", "ops_rejects", "ops_late_arrivals", "ops_event_conflicts")
        return {name: db.execute(f"select * from {name} order by all").fetchall() for name in tables}


@pytest.mark.long
def test_a_restored_home_builds_the_same_marts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_object_store() as store:
        for name, value in store.variables.items():
            monkeypatch.setenv(name, value)
        settings = Settings(home=tmp_path / "home", settle_seconds=0, landed_url=f"{store.url}/lake")
        sample.generate(settings.home, 5_000, 3, 1, progress=lambda line: None)
        done = run(settings)
        assert done.is_good and done.unsent is None
        again = settings.model_copy(update={"home": tmp_path / "again"})
        shutil.copytree(settings.home / "secrets", again.home / "secrets")
        restored = restore_landed(again)
        assert restored.with_rejects and restored.with_text
        shutil.rmtree(settings.home / "warehouse")
        again_done = run(again)
        assert again_done.is_good and again_done.landing.receipts == []
        assert marts_of(again) == marts_of(settings)
        assert figures_of_lake(again) == figures_of_lake(settings)
        # What is not at the store, the audit misses by name.
        missing = [finding.text for finding in audit(again).findings]
        assert missing and all(text.startswith("text/") for text in missing)
