"""Two logs that nobody on this project wrote land as events, and the marts give their known totals exactly.

The logs know of no consent. How often an advert was shown and clicked is counted without; who saw it nobody knows.
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

pytestmark = pytest.mark.skipif(not REAL, reason="TIDEMARK_REAL_DATA is unset: the Open Bandit logs are not at hand")


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
def bandit(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_of(tmp_path_factory.mktemp("bandit"))
    for policy in CLICKS_BY_POSITION:
        write_events(policy, settings.inbox)
    landing, _, _ = run_all(settings)
    assert landing.rows("rows_landed") == landing.rows("rows_withheld") == 20_000 + 46 + 69
    assert landing.rows("rows_rejected") == 0
    return settings


@pytest.mark.parametrize("policy", CLICKS_BY_POSITION)
def test_totals_by_position_are_exact(policy: str, bandit: Settings) -> None:
    with duckdb.connect(str(bandit.published / "current" / "marts.duckdb"), read_only=True) as marts:
        rows = marts.execute(
            "select position, cast(sum(impressions_count) as bigint), cast(sum(clicks_count) as bigint) "
            "from agg_adverts_daily where slot = $1 group by position",
            [policy],
        ).fetchall()
        adverts = marts.execute("select count(distinct advert_id) from agg_adverts_daily").fetchone()
    assert {position: (shown, clicked) for position, shown, clicked in rows} == CLICKS_BY_POSITION[policy]
    assert adverts == (34,)


def test_nobody_is_counted_who_did_not_agree_to_it(bandit: Settings) -> None:
    with duckdb.connect(str(bandit.published / "current" / "marts.duckdb"), read_only=True) as marts:
        audience = ("fct_sessions", "agg_audience_daily", "agg_audience_periods")
        rows = {name: marts.execute(f"select count(*) from {name}").fetchall() for name in audience}
    assert [*rows.values()] == [[(0,)]] * 3
