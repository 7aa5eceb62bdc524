"""The key of a sample lake is changed: figures move by what is declared, and afterwards nobody joins across."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow.parquet as pq
import pytest

from flows import sample
from flows.audit.audit import audit
from flows.build.warehouse import open_warehouse
from flows.land.linking import next_column
from flows.land.pseudonyms import Kind
from flows.land.receipts import Receipts
from flows.land.rotation import first_day_to_finish
from flows.publish.publish import publish
from flows.publish.views import versions
from flows.run import run
from flows.settings import Settings
from tests.support.deliveries import ABSENT, event, ndjson
from tests.support.erased import copied, deliver_all_again, places_of, without_what_is_built
from tests.support.lake import Lake
from tests.support.lakes import hold_back, marts_of, release, tidemark
from tests.support.rotations import begin, files_with_both, finish
from tests.support.stored import files_that_say

SEED = 7
# Events and days of a life: some that the windows of seven days forget the midnight in, and more than 28.
SHORT, WHOLE = (9_000, 13), (24_000, 33)
BEGUN = date(2026, 1, 4)
FROM = BEGUN + timedelta(days=1)
KEYS = tuple(kind.column for kind in Kind)
# Columns of marts with such pseudonyms, and whose they are.
KEY_COLUMNS = dict(zip(KEYS, KEYS, strict=True)) | {"stitched_user_key": "user_key"}
Row = dict[str, Any]
Marts = dict[str, list[Row]]
# What a change of the key moves of figures of days since (docs/guides/privacy.md), and over how many days.
WINDOWS = {"devices_7d_count": 6, "devices_28d_count": 27}
# What has a key of a device, and of which day it is.
# Nobody labelled what calls are about, and the first week has no scores of adverts.
EMPTY = {"fct_call_topics", "agg_call_topics_daily", "dim_topics", "agg_advert_selection"}
OF_DEVICES = {"fct_content_engagement": "event_date", "fct_enquiries": "event_date"}
PERIODS = ("agg_audience_periods", "agg_content_periods")


@dataclass(frozen=True)
class Life:
    """A home whose key was changed: marts of before it was finished and after, and the pseudonyms that stood beside
    each other. ``said`` is what the command printed, ``secrets`` are both keys, and ``said_meanwhile`` the files in
    which one of them stood while rows landed with both."""

    settings: Settings
    events: int
    before: Marts
    after: Marts
    later_of: dict[str, dict[UUID, UUID]]
    met: dict[str, dict[UUID, UUID]]
    said: str = field(repr=False)
    secrets: tuple[bytes, bytes] = field(repr=False)
    said_meanwhile: list[Path]


def rows_of_marts(settings: Settings) -> Marts:
    """Every published mart, its rows by the names of their columns."""
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as db:
        return {
            name: db.execute(f"select * from {name} order by all").to_arrow_table().to_pylist()
            for name in marts_of(settings)
        }


def pairs_in(settings: Settings, but: str = "") -> dict[str, dict[UUID, UUID]]:
    """By column the pseudonyms that stand beside each other in landed files, of all datasets but one."""
    found: dict[str, dict[UUID, UUID]] = {name: {} for name in KEYS}
    for path in files_with_both(settings):
        if path.relative_to(settings.landed).parts[0] == but:
            continue
        table = pq.ParquetFile(path).read()
        for name in set(KEYS) & {*table.schema.names}:
            pairs = zip(table[name].to_pylist(), table[next_column(name)].to_pylist(), strict=True)
            found[name] |= {UUID(bytes=now): UUID(bytes=later) for now, later in pairs if now and later}
    return found


def over_midnight() -> bytes:
    """Sessions of devices that are there at midnight, every other one with an id of the client's own."""
    times = ("2026-01-04T22:40:00Z", "2026-01-04T22:55:00Z", "2026-01-04T23:05:00Z", "2026-01-04T23:20:00Z")
    return ndjson(
        event(
            100 * device + number,
            device_id=f"d-at-midnight-{device}",
            session_id=f"s-{device}" if device % 2 else ABSENT,
            occurred_at=at,
            received_at=at,
        )
        for device in range(14)
        for number, at in enumerate(times)
    )


@pytest.fixture(
    scope="module", params=[SHORT, pytest.param(WHOLE, marks=pytest.mark.long)], ids=lambda p: f"{p[1]} days"
)
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Life:
    settings = Settings(home=tmp_path_factory.mktemp("life"), settle_seconds=0)
    events, many_days = request.param
    sample.generate(settings.home, events, many_days, SEED)
    days = [FROM + timedelta(days=number) for number in range(many_days)]
    held = [path for day in days for path in hold_back(settings, day.isoformat())]
    assert run(settings).is_good
    rotation = begin(settings, BEGUN)
    release(held)
    Lake(settings.home).deliver("web/events/2026-01-05/midnight.ndjson", over_midnight())
    assert run(settings).is_good
    publish(settings, force=True)
    before, later_of = rows_of_marts(settings), pairs_in(settings)
    # Consents are written again first: who is known both ways from them alone is a stranger elsewhere.
    met = pairs_in(settings, but="consents")
    secrets = tuple(settings.key_file(name).read_bytes().strip() for name in ("pseudonym", "pseudonym_next"))
    said_meanwhile = [path for secret in secrets for path in files_that_say(settings, secret)]
    early = tidemark(settings.home, "keys")
    # The command goes by the clock of the machine, which is far beyond the sample's days.
    done = tidemark(settings.home, "keys", "rotate", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"may be finished from {first_day_to_finish(rotation)}" in early.stdout
    said = early.stdout + done.stdout + done.stderr
    after = rows_of_marts(settings)
    return Life(settings, events, before, after, later_of, met, said, secrets, said_meanwhile)  # type: ignore[arg-type]


def as_later(life: Life, row: Row, leave_out: tuple[str, ...] = ()) -> Row:
    """A row with the later pseudonyms."""
    keys = {
        name: value and life.later_of[KEY_COLUMNS[name]][UUID(str(value))]
        for name, value in row.items()
        if name in KEY_COLUMNS
    }
    return {name: value for name, value in {**row, **keys}.items() if name not in leave_out}


def without(rows: list[Row], *names: str) -> "Counter[str]":
    return Counter(repr(sorted((k, str(v)) for k, v in row.items() if k not in names)) for row in rows)


def test_what_names_no_device_does_not_move(life: Life) -> None:
    of_devices = {*OF_DEVICES, *PERIODS, "fct_sessions", "dim_accounts", "agg_audience_daily"}
    others = {*life.before} - of_devices - {"fct_funnels", "agg_retention_weekly", "agg_content_returns_weekly"}
    assert others >= {"agg_content_daily", "agg_adverts_daily", "agg_content_paths", "dim_contents", "fct_calls"}
    assert {name: life.after[name] for name in others} == {name: life.before[name] for name in others}
    assert min(len(life.before[name]) for name in others - {"agg_content_paths", *EMPTY}) > 0


def test_funnels_move_where_their_window_holds_the_midnight_and_cohorts_from_then_on(life: Life) -> None:
    def since(row: Row) -> bool:
        return bool(row["event_date"] == BEGUN)

    before, after = (without([row for row in of["fct_funnels"] if not since(row)]) for of in (life.before, life.after))
    assert before == after
    assert before
    before, after = (
        without([row for row in of["agg_retention_weekly"] if row["week_start_date"] < FROM])
        for of in (life.before, life.after)
    )
    assert before == after
    # Within 13 days there is no cohort yet: a product's first week is none.
    cohorts = life.before["agg_retention_weekly"]
    assert not cohorts or cohorts != life.after["agg_retention_weekly"]
    before, after = (
        without([row for row in of["agg_content_returns_weekly"] if row["week_start_date"] + timedelta(14) <= BEGUN])
        for of in (life.before, life.after)
    )
    assert before == after


@pytest.mark.parametrize("name", OF_DEVICES)
def test_rows_of_a_device_and_day_move_to_the_later_pseudonym(life: Life, name: str) -> None:
    day = OF_DEVICES[name]
    wanted = [as_later(life, row) if row[day] >= FROM else row for row in life.before[name]]
    assert without(life.after[name]) == without(wanted)
    assert {row[day] >= FROM for row in wanted} == {False, True}


def test_sessions_are_cut_at_the_midnight_and_are_else_the_same(life: Life) -> None:
    crossing = [row for row in life.before["fct_sessions"] if row["started_date"] < FROM <= row["ended_date"]]
    others = [row for row in life.before["fct_sessions"] if row not in crossing]
    wanted = [as_later(life, row) if row["started_date"] >= FROM else row for row in others]
    pieces = without(life.after["fct_sessions"], "session_key") - without(wanted, "session_key")
    assert not without(wanted, "session_key") - without(life.after["fct_sessions"], "session_key")
    assert sum(pieces.values()) == 2 * len(crossing) >= 28
    for measure in ("events_count", "content_views_count"):
        sums = [sum(row[measure] for row in marts["fct_sessions"]) for marts in (life.before, life.after)]
        assert sums[0] == sums[1]
    assert not [row for row in life.after["fct_sessions"] if row["started_date"] < FROM <= row["ended_date"]]
    keys = [row["session_key"] for row in life.after["fct_sessions"] if row["started_date"] < FROM]
    assert {*keys} <= {row["session_key"] for row in life.before["fct_sessions"]}


def test_accounts_move_to_the_later_pseudonyms_or_to_strangers(life: Life) -> None:
    assert without(life.after["dim_accounts"], *KEYS) == without(life.before["dim_accounts"], *KEYS)
    # Lists of keys bring every account; its user only rows of the time in which both keys were there.
    met = [
        row
        for row in life.before["dim_accounts"]
        if all(UUID(str(row[key])) in life.met[key] for key in ("account_key", "user_key"))
    ]
    wanted = without([as_later(life, row) for row in met])
    assert not wanted - without(life.after["dim_accounts"])
    assert 0 < len(met) < len(life.before["dim_accounts"])
    earlier = {UUID(str(row["account_key"])) for row in life.before["dim_accounts"]}
    assert earlier.isdisjoint({UUID(str(row["account_key"])) for row in life.after["dim_accounts"]})
    assert "now strangers" in life.said


def declared_in_daily(row: Row) -> set[str]:
    """The figures of a day that move."""
    moved = {name for name, days in WINDOWS.items() if FROM <= row["event_date"] < FROM + timedelta(days=days)}
    return moved | ({"sessions_count", "is_suppressed"} if row["event_date"] == FROM else set())


def test_figures_of_days_move_in_windows_that_hold_the_midnight_alone(life: Life) -> None:
    moved: Counter[str] = Counter()
    pairs = zip(life.before["agg_audience_daily"], life.after["agg_audience_daily"], strict=True)
    for row, now in pairs:
        assert {k: now[k] for k in ("event_date", "product", "platform")}.items() <= row.items()
        differing = {name for name in row if row[name] != now[name]}
        assert differing <= declared_in_daily(row), (row, now)
        moved.update(differing)
        for name in WINDOWS:
            # Whoever is there on both sides counts twice.
            assert row[name] is None or now[name] >= row[name]
    assert moved.keys() >= {*WINDOWS, "sessions_count"}


@pytest.mark.parametrize("name", PERIODS)
def test_figures_of_periods_move_where_these_hold_the_midnight_alone(life: Life, name: str) -> None:
    def holds_it(row: Row) -> bool:
        return bool(row["period_start_date"] < FROM <= row["period_end_date"])

    before, after = (without([row for row in marts[name] if not holds_it(row)]) for marts in (life.before, life.after))
    assert before == after
    assert before
    moved = {row["period_type"] for row in life.before[name] if holds_it(row) and row not in life.after[name]}
    assert moved >= {"month"}


def test_the_marts_are_those_of_a_new_warehouse(life: Life, tmp_path: Path) -> None:
    again = without_what_is_built(copied(life.settings, tmp_path / "again"))
    assert run(again).is_good
    assert marts_of(again) == marts_of(life.settings)
    assert audit(life.settings).findings == []


def keys_by_side(settings: Settings) -> Iterator[tuple[str, bool | None, set[UUID]]]:
    """Of each table with a day: where it is, whether of days since, and the pseudonyms that stand there."""
    for row in Lake(settings.home).rows():
        yield "landed", row["event_date"] >= FROM, {UUID(bytes=row[name]) for name in KEYS if row.get(name)}
    paths = [settings.warehouse, *settings.published.glob("[0-9]*/marts.duckdb")]
    for path in paths:
        with duckdb.connect(str(path), read_only=True) as db:
            columns: dict[tuple[str, str], list[str]] = {}
            for schema, table, column in db.execute(
                "select schema_name, table_name, column_name from duckdb_columns() where not internal "
                "and schema_name not in ('landed', 'raw', 'staging')"
            ).fetchall():
                columns.setdefault((schema, table), []).append(column)
            for (schema, table), names in columns.items():
                keys = [name for name in names if name in KEY_COLUMNS]
                day = next((name for name in ("event_date", "started_date") if name in names), None)
                for key in keys if day else ():
                    rows = db.execute(
                        f'select distinct "{day}" >= ?, "{key}" from "{schema}"."{table}" where "{key}" is not null',
                        [FROM],
                    ).fetchall()
                    for is_since, value in rows:
                        yield f"{table} of {path}", is_since, {value}


def test_no_pseudonym_stands_on_both_sides(life: Life) -> None:
    sides: dict[bool, set[UUID]] = {False: set(), True: set()}
    places = set()
    for place, is_since, keys in keys_by_side(life.settings):
        assert is_since is not None
        sides[is_since] |= keys
        places.add(place.split(" of ")[0])
    assert places >= {"landed", "fct_sessions", "int_audience__devices_active", "fct_content_engagement"}
    assert sides[False].isdisjoint(sides[True])
    later = {later for of_column in life.later_of.values() for later in of_column.values()}
    assert sides[False].isdisjoint(later)
    assert sides[True] <= later


def test_no_byte_has_a_pseudonym_of_the_earlier_key_that_only_stood_on_days_since(life: Life) -> None:
    kept = {key for _, is_since, keys in keys_by_side(life.settings) if not is_since for key in keys}
    earlier = {now for of_column in life.later_of.values() for now in of_column} - kept
    assert len(earlier) > 100
    assert places_of(life.settings, earlier) == []
    assert [*files_with_both(life.settings)] == []
    assert len(versions(life.settings)) == 1
    with closing(Receipts(life.settings, read_only=True)) as receipts:
        there = {file.path for name in ("events", "accounts") for file in receipts.files.in_force(name)}
    landed = life.settings.landed
    on_disk = {
        str(p.relative_to(life.settings.lake)) for n in ("events", "accounts") for p in (landed / n).rglob("*.parquet")
    }
    assert on_disk == there


def test_no_row_and_no_id_of_a_session_leads_across(life: Life) -> None:
    rows = Lake(life.settings.home).rows()
    sessions = [{row["session_id"] for row in rows if (row["event_date"] >= FROM) is side} for side in (False, True)]
    assert sessions[0] & sessions[1] <= {None}
    assert min(map(len, sessions)) > 1
    with open_warehouse(life.settings, read_only=True) as warehouse:
        views = warehouse.execute(
            "select column_name from duckdb_columns() where column_name like '%\\_next' escape '\\'"
        )
        assert views.fetchall() == []


def test_no_key_is_in_any_byte_but_its_own_file(life: Life) -> None:
    """The earlier one is in none: logs, artefacts, receipts, databases, and what was printed."""
    earlier, later = life.secrets
    assert earlier != later
    own = life.settings.key_file("pseudonym")
    assert own.read_bytes().strip() == later
    assert life.said_meanwhile == files_that_say(life.settings, earlier) == files_that_say(life.settings, later) == []
    files = [path for path in life.settings.home.rglob("*") if path.is_file() and path != own]
    assert [path for path in files if earlier in path.read_bytes() or later in path.read_bytes()] == []
    assert earlier.decode() not in life.said
    assert later.decode() not in life.said


def test_what_is_delivered_again_afterwards_moves_nothing(life: Life, tmp_path: Path) -> None:
    """Copies of events of earlier days have other pseudonyms, and do not count; accounts are strangers no more."""
    settings = copied(life.settings, tmp_path / "home")
    deliver_all_again(settings, life.settings.inbox, "again")
    done = run(settings)
    assert done.is_good
    assert done.landing.rows("rows_landed") > life.events
    now = marts_of(settings)
    assert {name for name, rows in marts_of(life.settings).items() if rows != now[name]} == {"dim_accounts"}
    sides: dict[bool, set[UUID]] = {False: set(), True: set()}
    for _, is_since, keys in keys_by_side(settings):
        sides[bool(is_since)] |= keys
    assert sides[False].isdisjoint(sides[True])
    assert audit(settings).findings == []


@pytest.mark.long
def test_it_goes_on_after_that(life: Life, tmp_path: Path) -> None:
    settings = copied(life.settings, tmp_path / "home")
    rotation = begin(settings, date(2026, 3, 1))
    assert finish(settings, rotation).to_do is None
    assert audit(settings).findings == []
    assert [*files_with_both(settings)] == []
    assert marts_of(settings)["fct_sessions"] == marts_of(life.settings)["fct_sessions"]
