"""Logs that nobody on this project wrote land as events, and the marts give their known totals exactly.

Two of adverts (Open Bandit) know of no consent. How often an advert was shown and clicked is counted without; who saw
it nobody knows. One of pages, of Snowplow's tracker, comes in two deliveries, the later one first.
"""

import csv
import gzip
import json
import os
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from flows.settings import Settings
from tests.support.sample_lake import run_all, settings_of

REAL = os.environ.get("TIDEMARK_REAL_DATA")
NAMESPACE = uuid.UUID("b5f1ab0c-6f5c-5a3e-9a39-0f6a2c1d7e11")
CLICKS_BY_POSITION = {
    "random": {1: (3284, 10), 2: (3388, 22), 3: (3328, 14)},
    "bts": {1: (3339, 30), 2: (3262, 21), 3: (3399, 18)},
}

pytestmark = pytest.mark.skipif(not REAL, reason="TIDEMARK_REAL_DATA is unset: the logs are not at hand")


def write_events(policy: str, inbox: Path) -> None:
    """Each row of the log an impression and, where clicked, a click, with ids made from the row."""
    target = inbox / "bandit" / "events" / policy / "part-0001.ndjson"
    target.parent.mkdir(parents=True)
    with gzip.open(Path(str(REAL)) / "open_bandit" / f"obd_{policy}_men.csv.gz", "rt") as log, target.open("w") as out:
        for row in csv.DictReader(log):
            shown = datetime.fromisoformat(row["timestamp"])
            moments = [("advert_impression", shown)]
            if row["click"] == "1":
                moments.append(("advert_click", shown + timedelta(seconds=1)))
            for kind, moment in moments:
                out.write(json.dumps(event(policy, row, kind, moment)) + "\n")


def event(policy: str, row: dict[str, str], kind: str, moment: datetime) -> dict[str, object]:
    advert = {
        "advert_id": f"item-{row['item_id']}", "slot": policy, "position": int(row["position"]), "page_type": "shop",
        "request_id": f"{policy}-{row['']}",
    }  # fmt: skip
    return {
        "event_id": str(uuid.uuid5(NAMESPACE, f"{policy}/{row['']}/{kind}")),
        "occurred_at": moment.isoformat(), "received_at": moment.isoformat(), "product": "fashion", "platform": "web",
        "device_id": f"{policy}-{row['user_feature_0']}-{row['user_feature_1']}", "consent": [], kind: advert,
    }  # fmt: skip


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_of(tmp_path_factory.mktemp("logs"))
    for policy in CLICKS_BY_POSITION:
        write_events(policy, settings.inbox)
    landing, _, _ = run_all(settings)
    assert landing.rows("rows_landed") == landing.rows("rows_withheld") == 20_000 + 46 + 69
    assert landing.rows("rows_rejected") == 0
    for name in ("sp_event_update.csv", "sp_event.csv"):
        pages = settings.inbox / "web" / "snowplow" / name
        pages.parent.mkdir(parents=True, exist_ok=True)
        pages.write_bytes((Path(str(REAL)) / "snowplow" / "event" / name).read_bytes())
        run_all(settings)
    return settings


@pytest.mark.parametrize("policy", CLICKS_BY_POSITION)
def test_totals_by_position_are_exact(policy: str, logs: Settings) -> None:
    with duckdb.connect(str(logs.published / "current" / "marts.duckdb"), read_only=True) as marts:
        rows = marts.execute(
            "select position, cast(sum(impressions_count) as bigint), cast(sum(clicks_count) as bigint) "
            "from agg_adverts_daily where slot = $1 group by position",
            [policy],
        ).fetchall()
        adverts = marts.execute("select count(distinct advert_id) from agg_adverts_daily").fetchone()
    assert {position: (shown, clicked) for position, shown, clicked in rows} == CLICKS_BY_POSITION[policy]
    assert adverts == (34,)


def test_nobody_is_counted_who_did_not_agree_to_it(logs: Settings) -> None:
    with duckdb.connect(str(logs.published / "current" / "marts.duckdb"), read_only=True) as marts:
        audience = ("fct_sessions", "agg_audience_daily", "agg_audience_periods")
        others = "where product <> 'vandelay'"
        rows = {name: marts.execute(f"select count(*) from {name} {others}").fetchall() for name in audience}
    assert [*rows.values()] == [[(0,)]] * 3


def test_a_trackers_page_views_are_views_and_its_sessions_sessions(logs: Settings) -> None:
    with duckdb.connect(str(logs.published / "current" / "marts.duckdb"), read_only=True) as marts:
        sessions = marts.execute(
            "select strftime(started_at, '%X'), strftime(ended_at, '%X'), content_views_count, engaged_seconds "
            "from fct_sessions where product = 'vandelay' order by all"
        ).fetchall()
        (views,) = marts.execute("select sum(views_count) from fct_content_engagement").fetchone() or ()
        late = marts.execute(
            "select sum(events_count), sum(sent_late_events_count) from ops_late_arrivals where product = 'vandelay'"
        ).fetchone()
    assert views == 7 and late == (9, 0)
    # Snowplow's own models say 12:00:05, 12:00:30 and 12:00:40 of three views whose device's clock says otherwise.
    assert sessions == [
        ("12:00:00", "12:00:00", 1, 0.0),
        ("12:00:00", "12:00:01", 2, 10.0),
        ("12:00:00", "12:05:00", 2, 10.0),
        ("12:30:00", "12:30:00", 1, 0.0),
        ("12:40:00", "12:40:00", 1, 0.0),
    ]
