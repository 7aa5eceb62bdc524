"""A lake that is lent is read where it is and left as it is, and nobody who was erased stays in what was made of it."""

from pathlib import Path

import duckdb
import pytest

from flows.build.landings import enter_landings
from flows.build.lent import Lent, delete_what_was_lent, lend, read_lent
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.remove import remove_rows, removing
from flows.settings import Settings
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake


def deliver(lake: Lake, number: int, day: int) -> None:
    at = f"2026-01-{day}T12:00:00Z"
    rows = [event(number, occurred_at=at, sent_at=at, received_at=at)]
    assert lake.land_one(f"web/events/{number}.ndjson", ndjson(rows)).rows_landed == 1


def take_out(lake: Lake, day: int) -> None:
    specs = load_specs()
    with removing(lake.settings, specs, "a test") as receipts:
        assert remove_rows(receipts, lake.settings, specs["events"], f"event_date = date '2026-01-{day}'", "a test")


def days_read(dev: Settings) -> list[str]:
    with duckdb.connect(str(dev.warehouse)) as db:
        return [str(day) for (day,) in db.execute("select event_date from landed.events order by all").fetchall()]


@pytest.fixture
def dev(lake: Lake, tmp_path: Path) -> Settings:
    """A developer's home over the last two days of a lake of three, whose landings are entered."""
    for number, day in enumerate((13, 14, 15)):
        deliver(lake, number, day)
    made = Settings(home=tmp_path / "dev")
    made.warehouse.parent.mkdir(parents=True)
    lend(made, Lent(lake.settings.home, 2))
    assert enter_landings(made) == 3
    return made


def test_the_last_days_are_read_where_they_are(lake: Lake, dev: Settings) -> None:
    assert days_read(dev) == ["2026-01-14", "2026-01-15"]
    assert not dev.lake.exists()
    with duckdb.connect(str(dev.warehouse)) as db:
        paths = [path for (path,) in db.execute("select path from landed.landed_files order by all").fetchall()]
    assert len(paths) == 2 and all(Path(path).is_relative_to(lake.settings.landed.absolute()) for path in paths)
    deliver(lake, 7, 16)
    assert enter_landings(dev) == 1
    assert days_read(dev) == ["2026-01-15", "2026-01-16"]


def test_a_warehouse_that_holds_what_was_removed_is_deleted(lake: Lake, dev: Settings) -> None:
    take_out(lake, 15)
    with pytest.raises(TidemarkError, match=r"rows were removed from the lake .* `tidemark dev` makes it again"):
        enter_landings(dev)
    assert not dev.warehouse.exists()
    enter_landings(dev)
    assert days_read(dev) == ["2026-01-13", "2026-01-14"]


def test_what_ends_before_its_days_leaves_it(lake: Lake, dev: Settings) -> None:
    take_out(lake, 13)
    assert enter_landings(dev) == 1
    assert days_read(dev) == ["2026-01-14", "2026-01-15"]


def test_a_home_with_a_lake_of_its_own_is_lent_none(lake: Lake) -> None:
    assert read_lent(lake.settings) is None


def test_the_lake_knows_to_whom_it_is_lent(lake: Lake, dev: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path / "other")  # lent once, by now a home of its own
    lend(other, Lent(lake.settings.home, 1))
    (other.home / "lent.json").unlink()
    other.warehouse.parent.mkdir(parents=True)
    other.warehouse.touch()
    lend(Settings(home=tmp_path / "gone"), Lent(lake.settings.home, 1))
    assert delete_what_was_lent(lake.settings) == [dev.warehouse.absolute()]
    assert not dev.warehouse.exists() and other.warehouse.exists()
    assert delete_what_was_lent(lake.settings) == [] == delete_what_was_lent(dev)


def test_a_note_that_is_damaged_is_named(lake: Lake, dev: Settings) -> None:
    (lake.settings.home / "lent_to.json").write_text("[")
    with pytest.raises(TidemarkError, match=r"lent_to.json, which names the developers' homes .* is damaged"):
        delete_what_was_lent(lake.settings)
    assert dev.warehouse.exists()
