"""What is pending in a warehouse is known exactly, and landings enter it with all that follows from them."""

import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.build import landings as landings_module
from flows.build.dbt import project_fingerprint, read_project
from flows.build.landings import enter_landings
from flows.build.project import (
    RUN_RECORDS,
    SCHEMAS,
    STORED,
    DataTest,
    Model,
    Project,
    guarded_models,
    lineage,
    owner_of,
)
from flows.build.warehouse import (
    TABLES,
    PendingWork,
    open_warehouse,
    outdated_models,
    read_pending_work,
)
from flows.contract.spec import LINEAGE, PROJECT, load_specs
from flows.errors import TidemarkError, WarehouseInUseError
from flows.land.layout import settle_layout
from flows.land.receipt import LandedFile, Receipt, Status, batch_name
from flows.land.receipts import Receipts
from flows.settings import Settings
from tests.support.lake import Lake, make_warehouse_tables
from tests.support.processes import as_nobody

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
DAY_AND_LINEAGE = ("event_date", *LINEAGE)
EVERYTHING = PendingWork(everything=True)
NOTHING = PendingWork(everything=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose warehouse has its tables and nothing in them."""
    made = Settings(home=tmp_path / "home")
    made.warehouse.parent.mkdir(parents=True)
    assert enter_landings(made) == 0
    return made


def progress(settings: Settings, **seen: tuple[int, list[str]]) -> None:
    """Models, the last batch each has seen and the datasets it reads."""
    with open_warehouse(settings) as db:
        for name, (batch, datasets) in seen.items():
            db.execute("delete from ops.model_progress where model = ?", [name])
            db.execute("insert into ops.model_progress values (?, ?, ?, '', 0, now())", [name, batch, datasets])


def batches_seen(settings: Settings) -> dict[str, int]:
    with open_warehouse(settings) as db:
        return dict(db.execute("select model, batch_id from ops.model_progress").fetchall())


def changes(settings: Settings) -> dict[tuple[str, date | None], int]:
    """The number of each change; no part of a model has two."""
    with open_warehouse(settings) as db:
        rows = db.execute("select model, day, change from ops.changes").fetchall()
    found = {(name, day): change for name, day, change in rows}
    assert len(found) == len(rows)
    assert len(set(found.values())) == len(rows)
    return found


def commit(settings: Settings, *batches: dict[str, Any]) -> None:
    """Receipts as landing leaves them, a batch each, with files of day and lineage and no more."""
    receipts = Receipts(settings)
    settle_layout(settings, load_specs())
    try:
        for batch in batches:
            made = settings.lake / "made"
            made.mkdir(parents=True, exist_ok=True)
            number = receipts.last_batch_id() + 1
            usual: dict[str, Any] = {
                "batch_id": number,
                "dataset": "events",
                "source": "clients",
                "file": f"{number}.ndjson",
                "sha256": "s",
                "bytes": 1,
                "format": "ndjson",
                "status": Status.LANDED,
                "contract": "v1",
                "key_check": "secret check",
                "delivered_at": START,
                "landed_at": START,
            }
            receipt = Receipt(**(usual | batch))
            for file in receipt.files:
                (made / file.path).parent.mkdir(parents=True, exist_ok=True)
                columns = [[file.event_date] * file.rows, [number] * file.rows, [*range(1, file.rows + 1)]]
                pq.write_table(pa.table(columns, [*DAY_AND_LINEAGE]), made / file.path)
            receipts.commit(receipt, made)
    finally:
        receipts.close()


def of(*datasets: str) -> Iterable[dict[str, Any]]:
    """A batch of each of these datasets."""
    return [{"dataset": dataset} for dataset in datasets]


# --- what is open ----------------------------------------------------------------------------------------------------


def model(name: str, materialized: str) -> Model:
    return Model(name, "marts", materialized, None, "", {}, frozenset())


BLOCKING = DataTest("test.blocking", "blocking", True, frozenset({"grown", "made"}), frozenset({"grown", "made"}))
WARNING = DataTest("test.warning", "warning", False, frozenset({"made"}), frozenset({"made"}))
SEEDED = DataTest("test.seeded", "seeded", True, frozenset({"never_noted"}), frozenset())
STAND_IN: Any = SimpleNamespace(
    models={m.name: m for m in [model("viewed", "view"), model("grown", "incremental"), model("made", "table")]},
    seeds=frozenset({"rules", "reactions"}),
    tests=[BLOCKING, WARNING, SEEDED],
    fingerprint="now",
)


@pytest.fixture
def built(settings: Settings) -> Settings:
    """A warehouse with nothing open: three batches, everything made and tested."""
    commit(settings, *of("events", "events", "events"))
    enter_landings(settings)
    progress(settings, grown=(3, ["events"]), made=(3, ["events"]))
    with open_warehouse(settings) as db:
        db.execute(
            """
            insert into ops.changes values
            ('grown', '2026-01-15', nextval('ops.change_number')),
            ('grown', '2026-01-16', nextval('ops.change_number')),
            ('made', null, nextval('ops.change_number'));
            insert into ops.test_progress
            select unnest(['test.blocking', 'test.warning', 'test.seeded']), 'now', max(change), 3 from ops.changes;
            """
        )
    run(settings)
    return settings


def run(
    settings: Settings, whole: bool = True, project: str = "now", status: str = "passed", command: str = "build"
) -> None:
    with open_warehouse(settings) as db:
        db.execute("insert into ops.dbt_runs values ('r', ?, ?, ?, now(), now(), ?)", [command, whole, project, status])


def test_nothing_is_open_after_a_whole_build(built: Settings) -> None:
    pending = read_pending_work(built, STAND_IN)
    assert pending == NOTHING
    assert pending.is_empty


def test_everything_is_open_before_the_first_build(settings: Settings, tmp_path: Path) -> None:
    assert read_pending_work(Settings(home=tmp_path / "elsewhere"), STAND_IN) == EVERYTHING
    assert not (tmp_path / "elsewhere").exists()
    assert read_pending_work(settings, STAND_IN) == EVERYTHING
    settings.warehouse.unlink()
    with open_warehouse(settings) as db:
        db.execute("create schema landed")
    pending = read_pending_work(settings, STAND_IN)
    assert pending == EVERYTHING
    assert not pending.is_empty
    assert "`tidemark build`" in pending.reason


KILLED, FAILED, PART = {"status": "running"}, {"status": "failed"}, {"whole": False}
OTHER = {"project": "other"}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], EVERYTHING),
        ([KILLED], EVERYTHING),
        ([PART], EVERYTHING),
        ([OTHER], EVERYTHING),
        # It came to its end: what failed or was skipped is noted.
        ([FAILED], NOTHING),
        ([FAILED, KILLED], NOTHING),
        ([KILLED, {}], NOTHING),
        ([{}, KILLED, PART | KILLED, PART | FAILED], NOTHING),
        # Another project may have made some of it in its own way, even where it was killed.
        ([{}, OTHER], EVERYTHING),
        ([{}, OTHER | PART], EVERYTHING),
        ([{}, OTHER | PART | KILLED], EVERYTHING),
        ([{}, OTHER | KILLED, PART], EVERYTHING),
        ([{}, OTHER, KILLED], EVERYTHING),
        ([{}, OTHER, FAILED], NOTHING),
        # Tests change nothing.
        ([{}, OTHER | PART | {"command": "test"}], NOTHING),
    ],
)
def test_everything_is_open_until_a_whole_build_of_the_project_came_to_its_end(
    built: Settings, runs: list[dict[str, Any]], expected: PendingWork
) -> None:
    with open_warehouse(built) as db:
        db.execute("delete from ops.dbt_runs")
    for more in runs:
        run(built, **more)
    assert read_pending_work(built, STAND_IN) == expected


def test_a_warehouse_built_before_says_why_it_is_built_again(built: Settings) -> None:
    with open_warehouse(built) as db:
        db.execute("update ops.dbt_runs set project = 'another'")
    assert "it was edited" in str(read_pending_work(built, STAND_IN).why_everything)


def test_outdated_models_are_counted_by_their_names(built: Settings) -> None:
    with open_warehouse(built) as db:
        db.execute("create table there as select 1 as a; create view seen as select 1 as a")
        db.execute("insert into ops.failed_or_skipped values ('seen', now()), ('gone', now())")
        assert outdated_models(db, {"there", "seen", "missing"}) == {"seen", "missing"}


def test_what_was_not_made_is_outdated_be_it_a_view_or_a_seed_and_what_is_gone_is_not(built: Settings) -> None:
    with open_warehouse(built) as db:
        db.execute("insert into ops.failed_or_skipped select unnest(['made', 'viewed', 'rules', 'gone']), now()")
    pending = read_pending_work(built, STAND_IN)
    assert pending == PendingWork(everything=False, outdated=("viewed", "made", "rules"))
    assert "made, rules, viewed; run `tidemark run`" in pending.reason


def test_outdated_models_are_those_that_keep_rows_and_have_not_seen_the_last_batch(built: Settings) -> None:
    progress(built, grown=(2, ["events"]))
    pending = read_pending_work(built, STAND_IN)
    assert pending == PendingWork(everything=False, outdated=("grown",))
    assert "grown; run `tidemark run`" in pending.reason
    progress(built, made=(0, ["events"]))
    assert read_pending_work(built, STAND_IN).outdated == ("grown", "made")


def test_a_new_landing_makes_outdated_the_models_that_read_its_dataset(built: Settings) -> None:
    progress(built, made=(3, ["contents"]))
    commit(built, *of("contents"))
    assert enter_landings(built) == 1
    assert read_pending_work(built, STAND_IN).outdated == ("made",)


def test_tests_are_due_when_what_they_read_changed_since_they_passed(built: Settings) -> None:
    note = "insert into ops.changes values (?, ?, nextval('ops.change_number'))"
    with open_warehouse(built) as db:
        db.execute(note, ["grown", "2026-01-17"])
    pending = read_pending_work(built, STAND_IN)
    assert pending == PendingWork(everything=False, tests=(BLOCKING,))
    assert "blocking" in pending.reason
    with open_warehouse(built) as db:
        db.execute("delete from ops.changes where model = 'made'")
        db.execute(note, ["made", None])
    assert read_pending_work(built, STAND_IN).tests == (BLOCKING, WARNING)
    with open_warehouse(built) as db:
        db.execute("update ops.test_progress set change = (select max(change) from ops.changes) where test like '%ing'")
    assert read_pending_work(built, STAND_IN) == NOTHING


def test_a_test_that_never_passed_is_due(built: Settings) -> None:
    with open_warehouse(built) as db:
        db.execute("delete from ops.test_progress where test = 'test.warning'")
    pending = read_pending_work(built, STAND_IN)
    assert pending == PendingWork(everything=False, tests=(WARNING,))
    assert not pending.is_empty
    with open_warehouse(built) as db:
        db.execute("delete from ops.test_progress where test = 'test.seeded'")
    pending = read_pending_work(built, STAND_IN)
    assert pending.tests == (WARNING, SEEDED)


def test_a_file_that_is_no_warehouse_says_what_to_do(settings: Settings) -> None:
    settings.warehouse.write_bytes(b"no database" * 1000)
    with pytest.raises(TidemarkError, match=r"disposable: delete it and run `tidemark build`"):
        open_warehouse(settings)


# --- landings are entered --------------------------------------------------------------------------------------------


def test_receipts_are_entered_once_as_they_are_in_utc(settings: Settings) -> None:
    swedish = timezone(timedelta(hours=2))
    more = {
        "status": Status.REFUSED,
        "reason": "torn; it's",
        "delivered_at": datetime(2026, 7, 1, 0, 30, tzinfo=swedish),
        "landed_at": datetime(2026, 7, 1, 1, 30, 0, 123456, tzinfo=swedish),
    }
    commit(settings, {}, more)
    assert enter_landings(settings) == 2
    assert enter_landings(settings) == 0
    days = [date(2026, 1, 14), date(2026, 1, 15)]
    paths = [f"landed/events/event_date={day}/{batch_name(3)}.parquet" for day in days]
    files = [
        LandedFile(path=path, event_date=day, rows=rows, bytes=7 * rows)
        for path, day, rows in zip(paths, days, (1, 2), strict=True)
    ]
    more = {"rows_read": 4, "rows_landed": 3, "rows_rejected": 1, "rejects_path": "q"}
    commit(settings, more | {"files": files, "columns": DAY_AND_LINEAGE})
    assert enter_landings(settings) == 1
    with open_warehouse(settings) as db:
        db.execute("set timezone = 'America/New_York'")
        rows = db.execute(
            "select batch_id, status, reason, delivered_at, landed_at, rows_rejected, rejects_path "
            "from landed.landings order by batch_id"
        ).fetchall()
        entered = db.execute("from landed.landed_files order by event_date").fetchall()
        shown = db.execute("select event_date, _batch_id, _line, event_id from landed.events order by all").fetchall()
    assert entered == [(3, "events", days[0], paths[0], 1, 7), (3, "events", days[1], paths[1], 2, 14)]
    assert shown == [(days[0], 3, 1, None), (days[1], 3, 1, None), (days[1], 3, 2, None)]
    usual = START.replace(tzinfo=None)
    assert rows == [
        (1, "landed", None, usual, usual, 0, None),
        (2, "refused", "torn; it's", datetime(2026, 6, 30, 22, 30), datetime(2026, 6, 30, 23, 30, 0, 123456), 0, None),
        (3, "landed", None, usual, usual, 1, "q"),
    ]
    assert ("ops_landings", date(2026, 6, 30)) in changes(settings)
    assert {("raw_events", day) for day in days} == {key for key in changes(settings) if key[0] == "raw_events"}


def test_models_that_had_seen_everything_have_seen_what_they_do_not_read(settings: Settings) -> None:
    commit(settings, *of("events", "contents"))
    enter_landings(settings)
    progress(
        settings,
        of_events=(2, ["events"]),
        of_contents=(2, ["contents"]),
        of_both=(2, ["contents", "events"]),
        of_adverts=(2, ["adverts"]),
        of_all=(2, ["*", "adverts"]),
        of_none=(2, []),
        outdated=(1, ["adverts"]),
        far_outdated=(0, ["events"]),
    )
    commit(settings, *of("calls", "contents", "events", "contents", "calls"))
    assert enter_landings(settings) == 5
    assert batches_seen(settings) == {
        "of_events": 4,
        "of_contents": 3,
        "of_both": 3,
        "of_adverts": 7,
        "of_all": 2,
        "of_none": 7,
        "outdated": 1,
        "far_outdated": 0,
    }
    # What is outdated now stays until it is built; the others go on.
    commit(settings, *of("adverts"))
    enter_landings(settings)
    assert batches_seen(settings) == {
        "of_events": 4,
        "of_contents": 3,
        "of_both": 3,
        "of_adverts": 7,
        "of_all": 2,
        "of_none": 8,
        "outdated": 1,
        "far_outdated": 0,
    }


def test_models_built_on_an_empty_lake_move_with_the_first_landings(settings: Settings) -> None:
    progress(settings, of_events=(0, ["events"]), of_calls=(0, ["calls"]), of_all=(0, ["*"]))
    commit(settings, *of("contents", "events"))
    enter_landings(settings)
    assert batches_seen(settings) == {"of_events": 1, "of_calls": 2, "of_all": 0}


def test_without_new_receipts_nothing_moves(settings: Settings) -> None:
    commit(settings, *of("events"))
    enter_landings(settings)
    progress(settings, of_calls=(1, ["calls"]))
    before = changes(settings)
    assert enter_landings(settings) == 0
    assert (changes(settings), batches_seen(settings)) == (before, {"of_calls": 1})


def test_the_days_of_new_and_superseded_batches_changed_and_no_others(settings: Settings) -> None:
    days = [START + timedelta(days=offset) for offset in range(6)]
    commit(settings, *({"landed_at": day} for day in days[:4]))
    enter_landings(settings)
    first = changes(settings)
    kept = [(name, day.date()) for name in ("ops_landings", "ops_rejects") for day in days[:4]]
    assert set(first) == {*kept, ("landings", None), ("landings of events", None)}
    # Two on one new day; one of them takes the place of a batch of an earlier day, one of a batch entered with it.
    commit(
        settings,
        {"landed_at": days[4], "supersedes_batch_id": 2},
        {"landed_at": days[5]},
        {"landed_at": days[5], "supersedes_batch_id": 5},
    )
    enter_landings(settings)
    second = changes(settings)
    touched = {days[1].date(), days[4].date(), days[5].date()}
    moved = {key for key, change in second.items() if change > max(first.values())}
    assert moved == {
        *((name, day) for name in ("ops_landings", "ops_rejects") for day in touched),
        ("landings", None),
        ("landings of events", None),
    }
    assert {key: change for key, change in second.items() if key not in moved} == {
        key: change for key, change in first.items() if key not in moved
    }


def test_other_models_changes_stay(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        db.execute(
            "insert into ops.changes values ('fct', '2026-01-15', nextval('ops.change_number')), "
            "('dim', null, nextval('ops.change_number'))"
        )
    commit(settings, {})
    enter_landings(settings)
    found = changes(settings)
    assert (found["fct", date(2026, 1, 15)], found["dim", None]) == (1, 2)


def test_landings_are_entered_whole_or_not_at_all(settings: Settings) -> None:
    commit(settings, {})
    enter_landings(settings)
    progress(settings, of_calls=(1, ["calls"]))
    before = changes(settings)
    commit(settings, *of("events", "events"))
    with open_warehouse(settings) as db:
        db.execute("alter table ops.changes rename column change to renamed")
        db.execute("alter table ops.changes add column extra integer")
    with pytest.raises(duckdb.Error):
        enter_landings(settings)
    with open_warehouse(settings) as db:
        db.execute("alter table ops.changes drop column extra")
        db.execute("alter table ops.changes rename column renamed to change")
        assert db.execute("select count(*) from landed.landings").fetchone() == (1,)
    assert (changes(settings), batches_seen(settings)) == (before, {"of_calls": 1})
    assert enter_landings(settings) == 2
    assert batches_seen(settings) == {"of_calls": 3}


def test_a_warehouse_of_an_earlier_tidemark_says_what_to_do(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        db.execute("update ops.warehouse set format = 0")
    with pytest.raises(TidemarkError, match=r"made by an earlier Tidemark.*`tidemark build`"):
        enter_landings(settings)


def test_a_warehouse_of_a_later_tidemark_is_not_to_be_deleted(settings: Settings) -> None:
    with open_warehouse(settings) as db:
        db.execute("update ops.warehouse set format = 999")
    with pytest.raises(TidemarkError, match="made by a later Tidemark") as raised:
        enter_landings(settings)
    assert "delete" not in str(raised.value)


def test_tables_that_cannot_be_made_say_why_and_nothing_of_deleting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are made, or none: with some alone, the warehouse would look as if an earlier Tidemark made it."""
    settings = Settings(home=tmp_path)
    settings.warehouse.parent.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(landings_module, "TABLES", tmp_path / "tables.sql")
        (tmp_path / "tables.sql").write_text(TABLES.read_text() + "create table nowhere.one (one integer);")
        with pytest.raises(TidemarkError, match=r"could not be made: .*nowhere.*fix the cause") as raised:
            enter_landings(settings)
    assert "delete" not in str(raised.value) and "earlier" not in str(raised.value)
    with open_warehouse(settings) as db:
        assert not db.execute("select * from duckdb_tables()").fetchall()
    assert enter_landings(settings) == 0


def test_a_warehouse_that_may_not_be_read_is_not_to_be_deleted(open_lake: Lake) -> None:
    warehouse = open_lake.settings.warehouse
    duckdb.connect(str(warehouse)).close()
    warehouse.chmod(0)

    def work() -> str:
        try:
            open_warehouse(open_lake.settings, read_only=True)
        except TidemarkError as error:
            return str(error)
        return "opened"

    raised = as_nobody(work)
    assert "give this user the right to it" in raised and "delete" not in raised


# --- what the manifest says ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The real project."""
    return read_project(Settings(home=tmp_path_factory.mktemp("parsed")))


def test_days_of_models_are_read(project: Project) -> None:
    days = {m.name: m.day_column for m in project.models.values() if m.day_column}
    assert days["fct_sessions"] == "started_date"
    assert days["fct_content_engagement"] == "event_date"
    assert days["ops_landings"] == "landed_date"
    assert days["ops_model_runs"] == days["ops_test_runs"] == "recorded_date"
    assert project.models["dim_contents"].day_column is None
    # Each is a column, and each model that names one in its strategy is there.
    assert all(day in project.models[name].columns for name, day in days.items())
    strategies = [
        p.stem for p in (PROJECT / "models").rglob("*.sql") if "incremental_strategy='replace_days'" in p.read_text()
    ]
    assert set(strategies) <= set(days)


def test_what_tests_read_is_read(project: Project) -> None:
    tests = {test.name: test for test in project.tests}
    assert len(tests) == len(project.tests)
    assert not tests["assert_lake_is_fresh"].is_blocking
    assert tests["raw_events_is_conserved"].is_blocking
    # It looks at one dataset alone: what lands of another is no reason to run it.
    conserved = tests["raw_contents_is_conserved"].reads
    assert {"landings of contents", "raw_contents"} <= conserved and "landings" not in conserved
    # A view of the lake, and the files that its rows stand in.
    assert {"events", "landings of events", "raw_events"} <= tests["raw_events_is_conserved"].reads
    # A view changes as what it reads does, down to the lake's own table.
    assert {"ops_landings", "stg_lake__landings", "landings"} <= tests["assert_files_conserve_rows"].reads
    # A stored model keeps its own account: what it reads is not the test's concern.
    direct = tests["assert_sessions_hold_every_event_once"].reads
    assert "fct_sessions" in direct
    assert "raw_events" not in direct
    assert not any(test.reads & {*RUN_RECORDS} for test in project.tests)


def small_manifest(**reads: str) -> Any:
    """A manifest of nodes by name, each with what it reads; s_ is a source, seed_ a seed, t_ a test."""
    kinds = {"seed": "seed", "t": "test"}
    nodes = {
        name: SimpleNamespace(
            name=name,
            unique_id=name,
            resource_type=kinds.get(name.split("_")[0], "model"),
            depends_on_nodes=parents.replace("@", "").split(),
            attached_node=next((p[1:] for p in parents.split() if p.startswith("@")), None),
        )
        for name, parents in reads.items()
    }
    return SimpleNamespace(nodes=nodes, sources={"s_landed": object()})


@pytest.mark.parametrize(
    ("test", "guarded"),
    [
        # Attached: the model and all downstream, whatever else it reads.
        ("@raw", "raw view left right mart"),
        ("@left", "left mart"),
        ("@left right", "left mart"),
        ("@seed_rules", "right mart"),
        # Not attached: what it reads, and what is downstream of any of it.
        ("view", "view left right mart"),
        ("left right", "left right mart"),
        ("left other", "left mart other"),
        ("raw mart", "raw view left right mart"),
        ("seed_rules", "right mart"),
        ("seed_rules left", "left right mart"),
        ("s_landed", "raw view left right mart"),
        # Beside models, the lake's own table is what they are compared with.
        ("s_landed left", "left mart"),
        # It reads nothing: a macro is held to account.
        ("", "raw view left right mart other"),
    ],
)
def test_a_test_guards_what_is_downstream_of_it(test: str, guarded: str) -> None:
    manifest = small_manifest(
        seed_rules="", raw="s_landed", view="raw", left="view", right="view seed_rules", mart="left right", other="",
        t_one=test,
    )  # fmt: skip
    assert guarded_models(manifest, lineage(manifest), manifest.nodes["t_one"]) == {*guarded.split()}


def test_what_lies_above_and_below_is_read_from_the_project(project: Project) -> None:
    assert project.models["fct_content_engagement"].upstream >= {"raw_events", "reactions", "engagement_rules"}
    assert "landings" not in project.models["dim_contents"].upstream
    assert project.seeds == {
        "reactions", "engagement_rules", "funnels", "snowplow_adverts", "advert_segments", "topic_names",
        "topic_settings",
    }  # fmt: skip
    enjoyed = {"agg_content_daily", "agg_content_sections_daily", "agg_content_enjoyment", "agg_content_returns_weekly"}
    judged = {"fct_content_engagement", "agg_content_periods", "agg_audience_periods", "agg_enjoyed_rules_daily"}
    assert project.downstream("engagement_rules") == judged | enjoyed
    assert project.downstream("agg_content_daily") == enjoyed
    guards = {test.name: test.guards for test in project.tests}
    # Rows lost of one dataset hold back what is built from it, and nothing else.
    assert guards["raw_contents_is_conserved"] >= {"raw_contents", "stg_cms__contents", "dim_contents"}
    assert not guards["raw_contents_is_conserved"] & {"raw_events", "fct_sessions"}
    assert guards["dim_contents_has_valid_rows"] == {"dim_contents"}
    assert guards["assert_files_conserve_rows"] == {"ops_landings"}


def test_owners_are_those_of_the_node_its_group_or_what_it_tests(project: Project) -> None:
    assert project.owners["fct_sessions"] == "audience-insight"  # its own
    assert project.owners["assert_lake_is_fresh"] == "data-platform"
    assert project.owners["fct_sessions_has_valid_rows"] == "audience-insight"  # of the model it is attached to
    assert project.owners["assert_sessions_hold_every_event_once"] == "audience-insight, data-platform"
    group = SimpleNamespace(name="content", owner=SimpleNamespace(name="newsroom-insight"))
    node = SimpleNamespace(resource_type="model", group="content", config=SimpleNamespace(meta={}))
    assert owner_of(SimpleNamespace(groups={"g": group}, nodes={}), node) == "newsroom-insight"  # type: ignore[arg-type]
    node.group = None
    assert owner_of(SimpleNamespace(groups={"g": group}, nodes={}), node) == ""  # type: ignore[arg-type]


def test_changes_are_noted_of_every_published_model_under_its_name(project: Project) -> None:
    # Models that keep rows note their own; of the rest, views, those are published that entering and recording note.
    views = {m.name for m in project.models.values() if m.materialized not in STORED and m.schema in SCHEMAS}
    assert views == {"ops_landings", "ops_rejects", *RUN_RECORDS}


def test_a_tag_lasts_as_long_as_it_is_needed(project: Project) -> None:
    def tagged() -> set[str]:
        return {node.name for node in project.manifest.nodes.values() if "open" in node.tags}

    with pytest.raises(ZeroDivisionError), project.tagged("open", {"fct_sessions", "assert_lake_is_fresh"}):
        assert tagged() == {"fct_sessions", "assert_lake_is_fresh"}
        _ = 1 / 0
    assert tagged() == set()


@pytest.mark.parametrize(
    "path",
    [
        "models/a/b.sql",
        "models/a/b.yml",
        "macros/m.sql",
        "seeds/s.csv",
        "tests/generic/g.sql",
        "tests/singular/a/s.sql",
    ],
)
def test_the_fingerprint_changes_with_all_that_shapes_the_marts(tmp_path: Path, path: str) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: small")
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text("select 1")
    first = project_fingerprint(tmp_path)
    assert project_fingerprint(tmp_path) == first
    file.write_text("select 2")
    assert project_fingerprint(tmp_path) != first
    file.write_text("select 1")
    assert project_fingerprint(tmp_path) == first
    shutil.move(file, file.with_name(f"renamed{file.suffix}"))
    assert project_fingerprint(tmp_path) != first
    shutil.move(file.with_name(f"renamed{file.suffix}"), file)
    (tmp_path / "dbt_project.yml").write_text("name: other")
    assert project_fingerprint(tmp_path) != first


def test_a_damaged_warehouse_is_not_one_that_is_in_use(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "locks")  # a word that must not matter
    settings.warehouse.parent.mkdir(parents=True)
    with open_warehouse(settings) as db:
        make_warehouse_tables(db)
    with settings.warehouse.open("r+b") as file:
        file.seek(100)
        file.write(bytes(12_000))
    with pytest.raises(TidemarkError, match="it is disposable: delete it") as raised:
        open_warehouse(settings)
    assert not isinstance(raised.value, WarehouseInUseError)
