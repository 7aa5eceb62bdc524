"""Somebody of the sample withdraws consent, and gives it again: what is used of them follows, day by day."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.build.build import Build
from flows.build.warehouse import open_warehouse
from flows.land.land import Landing
from flows.land.pseudonyms import Kind
from flows.publish.publish import Publication
from flows.run import run
from flows.settings import Settings
from tests.support.erased import copied, devices_of, key_in, without_what_is_built
from tests.support.lakes import marts_of

Run = tuple[Settings, Landing, Build, Publication]
Rows = list[tuple[Any, ...]]
OF_DAYS = "fct_content_engagement"


@pytest.fixture(scope="module")
def user(sample_run: Run) -> str:
    """Whoever was logged in on the most devices."""
    of_users = devices_of(sample_run[0])
    return max(sorted(of_users), key=lambda user: len(of_users[user]))


@pytest.fixture
def home(sample_run: Run, tmp_path: Path) -> Settings:
    return copied(sample_run[0], tmp_path / "home")


def deliver(settings: Settings, name: str, user: str, *records: tuple[bool, datetime]) -> None:
    """Records of consent to analytics: whether it is given, and since when."""
    rows = [
        {
            "consent_id": str(uuid4()),
            "user_id": user,
            "purpose": "analytics",
            "is_granted": granted,
            "valid_from": f"{since.isoformat()}Z",
            "received_at": "2026-02-01T00:00:00Z",
        }
        for granted, since in records
    ]
    path = settings.inbox / "cmp" / "consents" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def build_and_publish(settings: Settings) -> None:
    done = run(settings)
    assert done.is_good, done.build and done.build.failed


def used(settings: Settings, key: UUID) -> Rows:
    """When something happened that is used of a user."""
    with open_warehouse(settings, read_only=True) as warehouse:
        return warehouse.execute(
            "select occurred_at from intermediate.int_events__events_deduplicated "
            "where user_key = ? and has_analytics_consent and not is_future order by all",
            [key],
        ).fetchall()


def days_with(settings: Settings, key: UUID) -> set[date]:
    """The days on which a user did something."""
    with open_warehouse(settings, read_only=True) as warehouse:
        rows = warehouse.execute(
            "select distinct event_date from staging.stg_clients__events where user_key = ?", [key]
        ).fetchall()
    return {day for (day,) in rows}


def rows_naming(settings: Settings, key: UUID) -> dict[str, int]:
    """How many rows of each mart name somebody."""
    found = {name: sum(key in row for row in rows) for name, rows in marts_of(settings).items()}
    return {name: rows for name, rows in found.items() if rows and name != "dim_accounts"}


def days_built_since(settings: Settings, change: int) -> set[date]:
    with open_warehouse(settings, read_only=True) as warehouse:
        rows = warehouse.execute(
            "select day from ops.changes where model = ? and change > ?", [OF_DAYS, change]
        ).fetchall()
    return {day for (day,) in rows}


def last_change(settings: Settings) -> int:
    with open_warehouse(settings, read_only=True) as warehouse:
        return int(warehouse.execute("select max(change) from ops.changes").fetchall()[0][0])


def assert_as_built_at_once(settings: Settings, home: Path) -> None:
    again = without_what_is_built(copied(settings, home))
    build_and_publish(again)
    assert marts_of(again) == marts_of(settings)


def test_a_withdrawal_takes_back_what_was_used_and_a_later_consent_what_followed_it(
    home: Settings, user: str, tmp_path: Path
) -> None:
    key = key_in(home, Kind.USER, user)
    before, change, marts = used(home, key), last_change(home), marts_of(home)
    assert rows_naming(home, key), "the sample has nothing of this user to take back"
    moments = [at for (at,) in before]
    days = days_with(home, key)

    deliver(home, "withdrawn.ndjson", user, (False, moments[0] + timedelta(seconds=1)))
    build_and_publish(home)
    assert used(home, key) == []  # what is declared holds until consent is declared again
    assert rows_naming(home, key) == {}
    assert days_built_since(home, change) == days  # and no others

    middle = moments[len(moments) // 2]
    deliver(home, "given.ndjson", user, (True, middle))
    build_and_publish(home)
    assert used(home, key) == [(at,) for at in moments if at >= middle]
    assert_as_built_at_once(home, tmp_path / "given")

    # The same name with other bytes takes the place of the withdrawal: it was a mistake.
    deliver(home, "withdrawn.ndjson", user, (True, moments[0] - timedelta(days=1)))
    build_and_publish(home)
    assert used(home, key) == before
    assert marts_of(home) == marts
