"""Days rebuilt on request: equal to a full refresh, in chunks, going on where it stopped."""

import json
import uuid
from datetime import date
from pathlib import Path

import pytest

from flows import sample
from flows.backfill import backfill, split_days
from flows.build import build
from flows.errors import TidemarkError
from flows.land import land
from flows.run import run
from flows.settings import Settings
from flows.warehouse import open_warehouse
from tests.end_to_end.conftest import run_all, settings_of

Rows = dict[str, list[tuple[object, ...]]]
KEPT_BY_DAYS = {
    "intermediate.int_events__copies_compared": "event_date",
    "intermediate.int_audience__session_fragments_split": "event_date",
    "marts.fct_sessions": "started_date",
    "marts.fct_content_engagement": "event_date",
    "marts.agg_audience_daily": "event_date",
    "marts.agg_content_daily": "event_date",
    "marts.agg_adverts_daily": "event_date",
}


def rows_of(settings: Settings) -> Rows:
    with open_warehouse(settings, read_only=True) as warehouse:
        return {name: warehouse.execute(f"from {name} order by all").fetchall() for name in KEPT_BY_DAYS}


def damage(settings: Settings, first_day: date, last_day: date) -> None:
    """Lose the odd rows of these days everywhere, as a bug since mended would have."""
    with open_warehouse(settings) as warehouse:
        for name, day in KEPT_BY_DAYS.items():
            warehouse.execute(
                f"delete from {name} where {day} between ? and ? and rowid % 3 = 0", [first_day, last_day]
            )


def chunks(settings: Settings) -> list[tuple[object, ...]]:
    with open_warehouse(settings, read_only=True) as warehouse:
        return warehouse.execute(
            "select backfill_id, first_date, last_date, status from ops.ops_backfills order by all"
        ).fetchall()


@pytest.fixture
def lake(tmp_path: Path) -> tuple[Settings, Rows]:
    settings = settings_of(tmp_path)
    sample.generate(settings.home, 6_000, 6, 13)
    run_all(settings)
    return settings, rows_of(settings)


def test_rebuilt_days_equal_what_they_were_and_are_published(lake: tuple[Settings, Rows]) -> None:
    settings, whole = lake
    damage(settings, date(2026, 1, 2), date(2026, 1, 4))
    assert rows_of(settings) != whole
    done = backfill(settings, date(2026, 1, 2), date(2026, 1, 4), chunk_days=2)
    assert not done.failed and done.count("test") > 10
    assert rows_of(settings) == whole
    assert chunks(settings) == [
        (1, date(2026, 1, 2), date(2026, 1, 3), "done"),
        (1, date(2026, 1, 4), date(2026, 1, 4), "done"),
    ]
    after = run(settings)
    assert after.build is None and after.publication is not None and after.publication.is_new


def test_a_backfill_that_stopped_goes_on_where_it_stopped(lake: tuple[Settings, Rows]) -> None:
    settings, whole = lake
    first, last = date(2026, 1, 1), date(2026, 1, 6)
    damage(settings, first, last)

    def stop(line: str) -> None:
        if line.startswith("backfill 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(settings, first, last, chunk_days=3, progress=stop)
    assert [c[3] for c in chunks(settings)] == ["done", "waiting"]
    begun: list[str] = []
    backfill(settings, first, last, chunk_days=3, progress=begun.append)
    assert [line for line in begun if line.startswith("backfill")] == ["backfill 1 of 1: 2026-01-04 to 2026-01-06"]
    assert [c[3] for c in chunks(settings)] == ["done", "done"]
    assert rows_of(settings) == whole
    # Done is done: the same days asked for again are another backfill.
    backfill(settings, last, last)
    assert [c[0] for c in chunks(settings)] == [1, 1, 2]


def test_what_landed_since_is_built_before_days_are_rebuilt_and_not_lost(lake: tuple[Settings, Rows]) -> None:
    settings, _ = lake
    delivered = next((settings.inbox / "web" / "events").rglob("*.ndjson")).read_text().splitlines()[0]
    event = json.loads(delivered) | {"event_id": str(uuid.uuid4())}
    (settings.inbox / "web" / "events" / "late.ndjson").write_text(json.dumps(event) + "\n")
    land(settings)
    with pytest.raises(TidemarkError, match=r"cannot be rebuilt yet: not built with all that landed: .*raw_events"):
        backfill(settings, date(2026, 1, 1), date(2026, 1, 6))
    run_all(settings)
    grown = rows_of(settings)
    backfill(settings, date(2026, 1, 1), date(2026, 1, 6))
    assert rows_of(settings) == grown
    assert not build(settings, ("--full-refresh",)).failed
    assert rows_of(settings) == grown


def test_days_are_split_without_gap_or_overlap() -> None:
    split = list(split_days(date(2026, 2, 26), date(2026, 3, 4), 3))
    assert split == [
        (date(2026, 2, 26), date(2026, 2, 28)),
        (date(2026, 3, 1), date(2026, 3, 3)),
        (date(2026, 3, 4), date(2026, 3, 4)),
    ]


def test_a_range_without_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="the first must not be after the last"):
        backfill(settings_of(tmp_path), date(2026, 1, 2), date(2026, 1, 1))
