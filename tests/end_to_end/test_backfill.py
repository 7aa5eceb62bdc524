"""Days rebuilt on request: equal to a full refresh, in chunks, going on where it stopped, giving way to the rest."""

import asyncio
import json
import os
import re
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import TaskRunSort
from prefect.testing.utilities import prefect_test_harness

from flows import sample
from flows.build.backfill import Request, backfill, check, plan, split_days, with_downstream
from flows.build.build import build
from flows.build.project import Model
from flows.build.warehouse import open_warehouse, warehouse_lock
from flows.cli import main
from flows.errors import TidemarkError
from flows.land.land import land
from flows.orchestrate import backfill_flow
from flows.orchestrate.backfill_flow import backfill_days
from flows.orchestrate.job import BACKFILL
from flows.orchestrate.journal import Journal
from flows.orchestrate.runs import RunStatus
from flows.orchestrate.service.deploy import deploy
from flows.publish.manifest import current_version
from flows.run import run
from flows.schedule import JOBS
from flows.settings import Settings
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.processes import FORKSERVER
from tests.support.sample_lake import run_all, settings_of

Rows = dict[str, list[tuple[object, ...]]]
PARTITIONED_BY_DAY = {
    "intermediate.int_events__copies_compared": "event_date",
    "intermediate.int_audience__session_fragments_split": "event_date",
    "marts.fct_sessions": "started_date",
    "marts.fct_content_engagement": "event_date",
    "marts.agg_audience_daily": "event_date",
    "marts.agg_audience_periods": "period_end_date",
    "marts.agg_content_daily": "event_date",
    "marts.agg_content_periods": "period_end_date",
    "marts.agg_adverts_daily": "event_date",
    "intermediate.int_journeys__funnels_followed": "event_date",
    "marts.fct_funnels": "event_date",
    "marts.agg_content_paths": "event_date",
    "intermediate.int_journeys__device_weeks_seen": "week_end_date",
    "intermediate.int_journeys__cohorts_counted": "week_end_date",
}


def rows_of(settings: Settings) -> Rows:
    with open_warehouse(settings, read_only=True) as warehouse:
        return {name: warehouse.execute(f"from {name} order by all").fetchall() for name in PARTITIONED_BY_DAY}


FRAGMENTS = "int_audience__session_fragments_split"
OF_SESSIONS = [
    "intermediate.int_audience__session_fragments_split",
    "marts.fct_sessions",
    "marts.agg_audience_daily",
    "marts.agg_audience_periods",
]
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 6)
# To compare rows with: the tests have passed on the same rows before.
FULL_REFRESH = ("--full-refresh", "--exclude-resource-type", "test")


def request(first_day: date = FIRST, last_day: date = LAST, selection: str = "", chunk_days: int = 7) -> Request:
    return Request(first_day, last_day, selection, chunk_days)


def damage(
    settings: Settings, first_day: date, last_day: date, names: Iterable[str] = tuple(PARTITIONED_BY_DAY)
) -> None:
    """Lose some rows of these days, as a bug since fixed would have."""
    with open_warehouse(settings) as warehouse:
        for name in names:
            warehouse.execute(
                f"delete from {name} where {PARTITIONED_BY_DAY[name]} between ? and ? and rowid % 3 = 0",
                [first_day, last_day],
            )


def chunks(settings: Settings) -> list[tuple[object, ...]]:
    with open_warehouse(settings, read_only=True) as warehouse:
        return warehouse.execute(
            "select backfill_id, selection, first_date, last_date, status from ops.ops_backfills order by all"
        ).fetchall()


def deliver_late(settings: Settings) -> None:
    """Deliver an event of the first day that nobody knew of."""
    delivered = next((settings.inbox / "web" / "events").rglob("*.ndjson")).read_text().splitlines()[0]
    event = json.loads(delivered) | {"event_id": str(uuid.uuid4())}
    (settings.inbox / "web" / "events" / f"{event['event_id']}.ndjson").write_text(json.dumps(event) + "\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Rows]:
    settings = settings_of(tmp_path_factory.mktemp("built"))
    sample.generate(settings.home, 9_000, 6, 13)
    run_all(settings)
    return settings, rows_of(settings)


@pytest.fixture
def lake(built: tuple[Settings, Rows], tmp_path: Path) -> tuple[Settings, Rows]:
    """A copy of a lake that was built, and what its models hold."""
    shutil.copytree(built[0].home, tmp_path / "home", symlinks=True)
    return settings_of(tmp_path / "home"), built[1]


def test_rebuilt_days_equal_what_they_were_and_are_published(lake: tuple[Settings, Rows]) -> None:
    settings, whole = lake
    damage(settings, date(2026, 1, 2), date(2026, 1, 4))
    assert rows_of(settings) != whole
    done = backfill(settings, request(date(2026, 1, 2), date(2026, 1, 4), chunk_days=2))
    assert not done.failed and done.count("test") > 10
    assert rows_of(settings) == whole
    assert chunks(settings) == [
        (1, "", date(2026, 1, 2), date(2026, 1, 3), "done"),
        (1, "", date(2026, 1, 4), date(2026, 1, 4), "done"),
    ]
    after = run(settings)
    assert after.build is None and after.publication is not None and after.publication.is_new


def test_a_selection_is_rebuilt_with_what_is_made_from_it_and_nothing_else(lake: tuple[Settings, Rows]) -> None:
    settings, whole = lake
    other = "marts.agg_adverts_daily"
    damage(settings, FIRST, LAST, [*OF_SESSIONS, other])
    damaged = rows_of(settings)
    done = backfill(settings, request(selection=FRAGMENTS))
    assert not done.failed
    assert {node.name for node in done.nodes if node.kind == "model"} == {
        FRAGMENTS,
        "int_audience__session_fragments_continued",
        "int_audience__devices_active",
        "int_audience__groups_counted",
        "int_journeys__cohorts_counted",
        "int_journeys__device_weeks_seen",
        "int_journeys__funnels_followed",
        "fct_sessions",
        "fct_funnels",
        "agg_audience_daily",
        "agg_audience_periods",
        "agg_content_paths",
        "agg_retention_weekly",
        "agg_content_returns_weekly",
    }
    assert rows_of(settings) == {name: damaged[name] if name == other else whole[name] for name in whole}
    # The same days of another selection are another backfill, and dbt's operators mean what they mean there.
    backfill(settings, request(selection=f" +agg_adverts_daily  {FRAGMENTS}+ "))
    assert rows_of(settings) == whole
    assert [chunk[:2] for chunk in chunks(settings)] == [(1, FRAGMENTS), (2, f"+agg_adverts_daily {FRAGMENTS}+")]


def test_what_is_below_is_rebuilt_by_days_or_whole_or_not_at_all() -> None:
    def model(name: str, materialized: str, *upstream: str) -> Model:
        return Model(name, "marts", materialized, None, "", {}, frozenset(upstream))

    models = {
        made.name: made
        for made in (
            model("days", "incremental"),
            model("view", "view", "days"),
            model("table", "table", "days", "view"),
            model("beside", "incremental"),
            model("keys", "incremental", "beside"),
        )
    }
    by_days = frozenset({"days", "beside"})
    assert with_downstream(models, by_days, frozenset({"days"})) == {"days", "table"}
    with pytest.raises(TidemarkError, match=r"beside cannot be rebuilt .* alone: keys downstream .* beside\+"):
        with_downstream(models, by_days, frozenset({"beside"}))


@pytest.mark.parametrize(
    ("selection", "wrong"),
    [
        ("fct_sesions", r"names nothing in the project by 'fct_sesions'"),
        ("fct_sessions nosuch+", r"names nothing in the project by 'nosuch\+'"),
        ("dim_dates", r"'dim_dates' holds no model that is partitioned by day; these are: agg_advert_positions, "),
        ("colour:red", r"'colour:red' cannot be read: .*'colour' is not a valid method name"),
    ],
)
def test_a_wrong_selection_is_refused(tmp_path: Path, selection: str, wrong: str) -> None:
    with pytest.raises(TidemarkError, match=f"(?s){wrong}"):
        backfill(settings_of(tmp_path), request(selection=selection))
    assert not settings_of(tmp_path).warehouse.exists()


def test_the_command_takes_a_selection_for_chosen_days_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    days = ["--from", "2026-01-01", "--to", "2026-01-02"]
    refused = CliRunner().invoke(main, ["build", "--select", "fct_sessions"])
    assert refused.exit_code == 2 and "--select goes with --from and --to" in refused.output
    wrong = CliRunner().invoke(main, ["build", *days, "--select", "fct_sesions"])
    assert wrong.exit_code == 1 and "error: the selection 'fct_sesions' names nothing" in wrong.output


def _backfill_until_killed(home: Path) -> None:
    begun = []

    def kill_in_second(line: str) -> None:
        begun.append(line)
        if line.startswith("build") and sum(line.startswith("backfill") for line in begun) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    backfill(settings_of(home), request(chunk_days=3), progress=kill_in_second)


def test_a_backfill_that_was_killed_goes_on_where_it_stopped(lake: tuple[Settings, Rows]) -> None:
    settings, whole = lake
    damage(settings, FIRST, LAST)
    process = FORKSERVER.Process(target=_backfill_until_killed, args=(settings.home,))
    process.start()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == -signal.SIGKILL
    assert [c[4] for c in chunks(settings)] == ["done", "running"]
    begun: list[str] = []
    backfill(settings, request(chunk_days=3), progress=begun.append)
    assert [line for line in begun if line.startswith("backfill")] == ["backfill 2 of 2: 2026-01-04 to 2026-01-06"]
    assert [c[4] for c in chunks(settings)] == ["done", "done"]
    assert rows_of(settings) == whole
    # Done is done: the same days asked for again are another backfill. So are other days, models and chunks.
    again = [
        request(chunk_days=3),
        request(chunk_days=4),
        request(FIRST, date(2026, 1, 5), chunk_days=3),
        request(selection="fct_sessions", chunk_days=3),
        request(chunk_days=3),
    ]
    assert [{chunk.backfill_id for chunk in plan(settings, asked)} for asked in again] == [{2}, {3}, {4}, {5}, {2}]


def test_what_landed_since_is_built_before_days_are_rebuilt_and_not_lost(lake: tuple[Settings, Rows]) -> None:
    settings, _ = lake
    deliver_late(settings)
    land(settings)
    with pytest.raises(
        TidemarkError, match=r"cannot be rebuilt yet: not built with all that landed: .*copies_compared"
    ):
        backfill(settings, request())
    run_all(settings)
    grown = rows_of(settings)
    backfill(settings, request())
    assert rows_of(settings) == grown
    assert not build(settings, FULL_REFRESH).failed
    assert rows_of(settings) == grown


@pytest.mark.long
def test_between_chunks_others_write_and_arrivals_are_built(lake: tuple[Settings, Rows]) -> None:
    settings, whole = lake
    damage(settings, FIRST, LAST)
    order: list[str] = []

    def write() -> None:
        with warehouse_lock(settings):
            order.append("another writer")

    writer = threading.Thread(target=write)

    def on_progress(line: str) -> None:
        order.append(line)
        if line.startswith("build") and not writer.ident:
            writer.start()
        if line.startswith("backfill 2"):
            deliver_late(settings)
            land(settings)

    done = backfill(settings, request(chunk_days=3), on_progress)
    writer.join()
    assert not done.failed
    second = next(place for place, line in enumerate(order) if line.startswith("backfill 2"))
    assert order.index("another writer") == second - 1
    rebuilt = [node.name for node in done.nodes if node.name == "fct_sessions"]
    assert len(rebuilt) == 3, "the first chunk, what arrived, and the second chunk"
    grown = rows_of(settings)
    assert grown != whole
    assert not build(settings, FULL_REFRESH).failed
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
        check(settings_of(tmp_path), request(date(2026, 1, 2), date(2026, 1, 1)))
    with pytest.raises(TidemarkError, match="at least one day, not 0"):
        check(settings_of(tmp_path), request(chunk_days=0))


@pytest.fixture(scope="module")
def server(built: tuple[Settings, Rows]) -> Iterator[None]:
    """A Prefect server of its own, with Tidemark's deployments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with prefect_test_harness(server_startup_timeout=int(PATIENCE_SECONDS)):
            asyncio.run(deploy(built[0]))
            yield


@pytest.fixture
def served(lake: tuple[Settings, Rows], server: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Rows]:
    """The lake, for flows."""
    monkeypatch.setenv("TIDEMARK_HOME", str(lake[0].home))
    monkeypatch.setattr(backfill_flow, "LOOK_SECONDS", 0.1)
    return lake


def last_run() -> FlowRun:
    with Journal(Settings()) as journal, get_client(sync_client=True) as client:
        return client.read_flow_run(uuid.UUID(journal.history(1)[0].flow_run_id))


def tasks_of(flow_run: FlowRun, names: set[str]) -> dict[str, str]:
    """The states of the task runs of these names, once they have come to the server."""
    end = time.monotonic() + PATIENCE_SECONDS
    found: dict[str, str] = {}
    with get_client(sync_client=True) as client:
        while found.keys() != names and time.monotonic() < end:
            runs = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])),
                sort=TaskRunSort.NAME_ASC,
                limit=200,
            )
            found = {
                name: str(run.state_name) for run in runs for name in names if run.name.startswith(name) if run.state
            }
            time.sleep(0.1)
    return found


def test_the_flow_gives_way_before_it_rebuilds_and_publishes(served: tuple[Settings, Rows]) -> None:
    settings, whole = served
    damage(settings, FIRST, LAST, OF_SESSIONS)
    published = current_version(settings)
    gave_way: list[str] = []
    waits = threading.Event()

    def wait_for_backfill() -> None:
        """A run that waits for the warehouse, until the backfill waits for it."""
        with Journal(settings) as journal, journal.waiting("another flow run", "refine", "the warehouse"):
            waits.set()
            end = time.monotonic() + PATIENCE_SECONDS
            while not gave_way and time.monotonic() < end:
                gave_way.extend(wait.waits_for for wait in journal.waits() if wait.job == BACKFILL)
                time.sleep(0.02)

    waiting = threading.Thread(target=wait_for_backfill)
    waiting.start()
    assert waits.wait(PATIENCE_SECONDS)
    state = backfill_days(FIRST, LAST, FRAGMENTS, 3, return_state=True)
    waiting.join()
    assert state.is_completed(), state.message
    assert gave_way == ["refine, which waits for the warehouse"]
    assert rows_of(settings) == whole
    assert current_version(settings) != published
    flow_run = last_run()
    assert re.fullmatch(rf"backfill · {FIRST} to {LAST} · [0-2]\d:[0-5]\d", flow_run.name), flow_run.name
    names = {"plan", "2026-01-01 to 2026-01-03", "2026-01-04 to 2026-01-06", "publish", "fct_sessions"}
    # The server may hear of the last task's end after that of the flow.
    until(lambda: tasks_of(flow_run, names) == dict.fromkeys(names, "Completed"))
    with get_client(sync_client=True) as client:
        states = [(state.name, state.message) for state in client.read_flow_run_states(flow_run.id)]
        deployment = client.read_deployment_by_name("backfill/tidemark")
    assert ("Waiting", "waits for refine, which waits for the warehouse") in states
    parameters = deployment.parameter_openapi_schema["properties"]
    assert [*parameters] == ["first_day", "last_day", "select", "chunk_days"]
    assert parameters["first_day"]["format"] == "date" and not deployment.schedules


def test_the_flow_is_not_starved_and_builds_what_it_waited_for(
    served: tuple[Settings, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, whole = served
    monkeypatch.setattr(backfill_flow, "GIVE_WAY_SECONDS", 0.5)
    with Journal(settings) as journal:
        journal.seen(JOBS, datetime.now(UTC))
    deliver_late(settings)
    land(settings)
    state = backfill_days(LAST, LAST, "ops_late_arrivals", return_state=True)
    assert state.is_completed(), state.message
    with get_client(sync_client=True) as client:
        waited = [state.message for state in client.read_flow_run_states(last_run().id) if state.name == "Waiting"]
    assert waited == ["waits for refine, which is due"]
    assert rows_of(settings) != whole and run(settings).build is None


def test_a_request_that_is_wrong_fails_the_flow_with_the_reason_alone(served: tuple[Settings, Rows]) -> None:
    state = backfill_days(LAST, FIRST, return_state=True)
    assert state.is_failed() and str(state.message).startswith(f"there is no day from {LAST} to {FIRST}: "), (
        state.message
    )


def test_a_chunk_that_fails_fails_the_flow_which_goes_on_there_once_it_is_fixed(served: tuple[Settings, Rows]) -> None:
    settings, _ = served
    deduplicated = "intermediate.int_events__events_deduplicated"
    with open_warehouse(settings) as warehouse:
        ((made_by,),) = warehouse.execute(
            "select sql from duckdb_views() where view_name = 'int_events__events_deduplicated'"
        ).fetchall()
        warehouse.execute(f"drop view {deduplicated}")
    state = backfill_days(FIRST, LAST, "fct_enquiries", 3, return_state=True)
    assert state.is_failed() and "nodes failed: fct_enquiries" in str(state.message)
    assert [c[4] for c in chunks(settings)] == ["failed", "waiting"]
    first = "2026-01-01 to 2026-01-03"
    assert tasks_of(last_run(), {first, "publish"}) == {first: "Failed", "publish": "Completed"}
    with Journal(settings) as journal:
        assert [(run.job, run.status) for run in journal.history(1)] == [(BACKFILL, RunStatus.FAILED)]
    with open_warehouse(settings) as warehouse:
        warehouse.execute(str(made_by))
    assert backfill_days(FIRST, LAST, "fct_enquiries", 3, return_state=True).is_completed()
    assert [c[4] for c in chunks(settings)] == ["done", "done"]
