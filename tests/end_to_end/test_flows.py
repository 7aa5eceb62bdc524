"""The flows on the real server, worker and watcher: what is delivered is published automatically, whatever is
killed."""

import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from filelock import FileLock

from flows.build.warehouse import lock_file, open_warehouse, warehouse_lock
from flows.locks import held
from flows.orchestrate.journal import Journal
from flows.publish.manifest import current_version
from tests.support.alerts import Hook
from tests.support.lakes import marts_of
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.served import KEY, TOKEN, Served

BROKEN = "int_audience__session_fragments_split"
BELOW = {
    "fct_sessions", "fct_funnels", "agg_audience_daily", "agg_audience_periods", "agg_content_paths",
    "agg_retention_weekly", "agg_content_returns_weekly",
}  # fmt: skip
FAILING_TEST = "assert_there_are_no_dates"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A home that is served. Each test leaves it well: all delivered is published, every program up."""
    made = Served(tmp_path_factory.mktemp("served"))
    try:
        made.start()
        made.settle(*made.deliver_sample("2026-01-01"))
        yield made
    finally:
        made.stop()


def event_count(served: Served) -> int:
    """How many events the marts count."""
    return int(served.query("select sum(events_count) from fct_sessions")[0][0])


def dbt_runs(served: Served) -> list[tuple[object, object]]:
    """When each run of dbt began and ended; nothing may be building."""
    with warehouse_lock(served.settings), open_warehouse(served.settings, read_only=True) as warehouse:
        return warehouse.execute("select started_at, finished_at from ops.dbt_runs order by rowid").fetchall()


@contextmanager
def a_reader(served: Served) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the warehouse open, as a notebook does that is forgotten."""
    program = "import duckdb, sys; db = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); input()"
    command = [sys.executable, "-c", program, str(served.settings.warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        try:
            assert reader.stdout is not None and reader.stdout.readline()
            yield reader
        finally:
            reader.kill()


def assert_each_once(served: Served) -> None:
    """Every file of the inbox has one receipt, and nothing is half landed."""
    with FileLock(served.settings.lake / ".landing.lock"):
        inbox = served.settings.inbox
        files = {str(path.relative_to(inbox)) for path in inbox.rglob("*") if path.is_file()}
        # What rows tell of consent lands beside, from no file of the inbox.
        delivered = (receipt.file for receipt in served.lake.receipts() if receipt.sha256)
        assert Counter(delivered) == Counter(files)
        served.lake.assert_whole()


def assert_as_built_at_once(served: Served) -> None:
    """The marts are those of one full refresh."""
    grown = marts_of(served.settings)
    for command in (["build", "--", "--full-refresh"], ["publish", "--force"]):
        done = served.tidemark(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert marts_of(served.settings) == grown


# --- the chain -------------------------------------------------------------------------------------------------------


def test_what_is_delivered_is_landed_built_and_published_automatically(served: Served) -> None:
    before = served.manifest()
    assert before is not None and before.is_fresh
    names = served.deliver_sample("2026-01-02")
    served.settle(*names)
    after = served.manifest()
    assert after is not None and after.is_fresh and after.created_at > before.created_at
    landed = {name for (name,) in served.query("select file from ops_landings")}
    assert landed >= {*names}
    assert_each_once(served)

    landing = served.journal("land")[-1]
    assert (landing.status, landing.attempt) == ("succeeded", 1)
    served.comes_to(landing.flow_run_id, "COMPLETED")
    assert " rows landed from " in served.flow_run(landing.flow_run_id)["state"]["message"]

    run = served.journal("refine")[-1]
    assert (run.status, run.attempt) == ("succeeded", 1)
    assert int(run.slot) == max(receipt.batch_id for receipt in served.lake.receipts() if receipt.rows_landed)
    served.comes_to(run.flow_run_id, "COMPLETED")
    flow_run = served.flow_run(run.flow_run_id)
    assert flow_run["state"]["message"] == f"done: {run.slot}"
    name = re.fullmatch(r"refine · (\d+) files? · [0-2]\d:[0-5]\d", flow_run["name"])
    assert name is not None and 0 < int(name[1]) <= len(names), flow_run["name"]
    assert re.fullmatch(r"land · \d+ files? · [0-2]\d:[0-5]\d", served.flow_run(landing.flow_run_id)["name"])
    assert flow_run["created_by"]["type"] == "AUTOMATION", "the event of the landing wakes it, not the watcher"
    (deployment,) = served.post("deployments/filter", {"flows": {"name": {"any_": ["refine"]}}})
    assert flow_run["deployment_id"] == deployment["id"]
    served.tasks_come_to(run.flow_run_id, "COMPLETED", "build", "publish", "fct_sessions")
    (page,) = (str(found["data"]) for found in served.artifacts(run.flow_run_id))
    sent = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, flags=re.MULTILINE))
    assert sent["fct_sessions"] == "success"
    until(lambda: sent.keys() <= served.task_runs(run.flow_run_id).keys())


def test_what_a_model_holds_back_is_reported_once_to_its_owner_and_when_it_is_fixed(served: Served) -> None:
    served.workshop.break_model(BROKEN)
    test = served.project / "tests" / "singular" / "marts" / f"{FAILING_TEST}.sql"
    test.write_text("select date_day from {{ ref('dim_dates') }} order by all limit 2\n")
    sent = len(served.alerts())
    try:
        names = served.deliver()
        until(lambda: served.receipts().keys() >= {*names})
        failed = until(lambda: next((r for r in served.journal("refine") if r.status == "failed"), None))
        manifest = served.manifest()
        assert manifest is not None
        stale = {table.name for table in manifest.stale}
        assert stale >= BELOW and not stale & {"agg_content_daily", "dim_contents", "agg_adverts_daily"}
        fresh = [t.name for t in manifest.tables if t.name not in stale]
        assert {"agg_content_daily", "fct_content_engagement"} <= {*fresh}
        until(lambda: sum(" failed" in text.splitlines()[0] for text in served.alerts()[sent:]) >= 2)
        alerts = served.alerts()[sent:]
        (model,) = (text for text in alerts if f"model {BROKEN} failed" in text)
        assert "owner: data-platform" in model and "since: 20" in model and "rows:" not in model
        assert f"reproduce: tidemark build -- --select {BROKEN}\nremedy: fix it, then `tidemark build --re" in model
        assert f"link: http://127.0.0.1:{served.port}/runs/flow-run/{failed.flow_run_id}" in model
        assert f"as they were before: {', '.join(sorted(BELOW))}" in model
        (rows,) = (text for text in alerts if f"test {FAILING_TEST} failed" in text)
        assert "rows: 2" in rows
        # What is compatible with Slack's hooks got the same.
        slack = [body["text"] for path, body in served.hook.bodies if path.startswith("/hooks/")]
        assert any(f"model {BROKEN} failed" in text for text in slack)
        served.comes_to(failed.flow_run_id, "FAILED")
        served.tasks_come_to(failed.flow_run_id, "FAILED", BROKEN, "build", FAILING_TEST)
        served.tasks_come_to(failed.flow_run_id, "COMPLETED", "publish")
        served.tasks_come_to(failed.flow_run_id, "CANCELLED", "fct_sessions")
        assert_page_says_why(served, failed.flow_run_id)

        names = served.deliver()
        until(lambda: served.receipts().keys() >= {*names})
        slot = served.receipts()[names[0]].batch_id
        until(lambda: any(r.slot.isdigit() and int(r.slot) >= slot for r in served.journal("refine") if r.finished_at))
        until(lambda: not any(r.status == "running" for r in served.journal("refine")))
        assert sum("failed" in text.splitlines()[0] for text in served.alerts()[sent:]) == 2, "each once"
    finally:
        served.workshop.fix()
        test.unlink()
    for command in (["build", "--retry"], ["publish"]):
        done = served.tidemark(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    # Before anything is delivered.
    until(lambda: sum("recovered" in text.splitlines()[0] for text in served.alerts()[sent:]) >= 2)
    until(lambda: served.journal("refine")[-1].status == "succeeded")
    served.settle(*served.deliver_sample("2026-01-03"))
    manifest = served.manifest()
    assert manifest is not None and manifest.is_fresh
    heads = [text.splitlines()[0] for text in served.alerts()[sent:]]
    assert sum(f"model {BROKEN}" in head for head in heads) == 2, heads
    assert not any("job refine" in head for head in heads), "its owner knows of the model"


def assert_page_says_why(served: Served, flow_run_id: str | None) -> None:
    """The page that alerts link to has the reason in its state, its log and its artifact, and nothing of Python's."""
    state = served.flow_run(flow_run_id)["state"]["message"]
    assert state.startswith(f"nodes failed: {BROKEN} (Invalid Input Error: out of ") and "\n" not in state
    lines = until(lambda: [text for text in served.log_of(flow_run_id) if "; reproduce: " in text])
    assert sorted(line.partition(" failed (")[0] for line in lines) == [f"model {BROKEN}", f"test {FAILING_TEST}"]
    (line,) = (line for line in lines if line.startswith("model"))
    path = f"models/intermediate/audience/{BROKEN}.sql"
    assert f"({path}, owner data-platform): Invalid Input Error: out of " in line
    assert line.endswith(f"; reproduce: tidemark build -- --select {BROKEN}")
    ended = "Finished in state Failed("  # of the step, and then of the run
    until(lambda: sum(text.startswith(ended) for text in served.log_of(flow_run_id)) > 1)
    assert not [text for text in served.log_of(flow_run_id) if re.search("Traceback|[Ee]xception|NoneType", text)]
    (artifact,) = served.artifacts(flow_run_id)  # of several, Prefect's page has any first
    page = artifact["data"]
    assert page.startswith("## refine · ") and "failed: 1 model, 1 test" in page.splitlines()[0]
    assert page.index(f"### model `{BROKEN}` failed") < page.index("### What stands")
    assert f"Reproduce: `tidemark build -- --select {BROKEN}`" in page and "up to date" in page
    assert "`fct_sessions` (of 20" in page and f"http://127.0.0.1:{served.port}/deployments/deployment/" in page


def test_a_clock_fires_automatically_and_what_follows_it_after_it(served: Served) -> None:
    def fired(job: str, by: str) -> set[str]:
        runs = [run for run in served.flow_runs(job) if run["state_type"] == "COMPLETED"]
        return {
            str(run["state"]["message"]).removeprefix("done: ")
            for run in runs
            if (run["created_by"] or {}).get("type") == by and run["state"]["message"].startswith("done: ")
        }

    both = until(lambda: fired("tick", "SCHEDULE") & fired("follow", "AUTOMATION"))
    runs = served.journal("tick")
    ticks = {run.slot: run for run in runs}
    follows = {run.slot: run for run in served.journal("follow")}
    assert len(runs) == len(ticks), "no slot runs twice"
    for slot in both:
        assert ticks[slot].status == follows[slot].status == "succeeded"
        assert ticks[slot].started_at >= ticks[slot].due_at, "not before its time"
        finished = ticks[slot].finished_at
        assert finished is not None and follows[slot].started_at >= finished
    # Prefect begins some a moment early: these wait for their time, and do not find that nothing is due.
    for run in served.flow_runs("tick"):
        began = run["start_time"] and datetime.fromisoformat(run["start_time"])
        if began and began < datetime.fromisoformat(run["expected_start_time"]):
            assert run["state_name"] in ("Running", "Completed"), run["state"]["message"]


def test_a_person_starts_a_job_that_is_not_due_and_what_it_delivers_is_published(served: Served) -> None:
    flow_run = served.start_by_hand("fetch")
    served.comes_to(flow_run, "COMPLETED")
    landing = served.start_by_hand("land")
    served.comes_to(landing, "COMPLETED")
    assert [run.slot for run in served.journal("fetch")] == [f"manual-{flow_run}"]
    served.settle("web/events/fetched/fetched.ndjson")


# --- what is killed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "compares"),
    [
        ("warm", False),
        *(pytest.param(victim, True, marks=pytest.mark.long) for victim in ("warm", "run", "worker")),
    ],
)
def test_what_is_killed_in_the_middle_of_a_build_is_marked_and_done_again_automatically(
    served: Served, victim: str, compares: bool
) -> None:
    logged = served.log_size("watcher")
    names = served.deliver(20)
    run = served.await_build()
    os.kill(run.pid if victim == "run" else served.pid(victim), signal.SIGKILL)
    served.settle(*names)
    tries = [(r.status, r.attempt) for r in served.journal("refine") if r.slot == run.slot]
    if victim == "worker":  # whose runs go on
        assert tries == [("succeeded", 1)]
        served.comes_to(run.flow_run_id, "COMPLETED")
    else:
        assert tries == [("crashed", 1), ("succeeded", 2)]
        served.comes_to(run.flow_run_id, "CRASHED")
    until(lambda: served.active_slots() == 0)
    assert served.journal("refine")[-1].status == "succeeded"
    if compares:  # test_kills.py compares marts after many kills, too
        assert_as_built_at_once(served)
    # Whoever sees it first marks it. With the warm process all runs are gone, and only the watcher is there to see it.
    assert "the next run heals" in served.log_since("watcher", logged) or victim != "warm"


@pytest.mark.long
def test_a_killed_server_stops_neither_a_landing_nor_a_build(served: Served) -> None:
    runs = len(served.journal("land"))
    with FileLock(served.settings.lake / ".landing.lock"):
        names = served.deliver()
        landing = until(lambda: served.journal("land")[runs:])[0]
        os.kill(served.pid("server"), signal.SIGKILL)
    served.settle(*names)
    assert served.journal("land")[runs].status == "succeeded"
    served.comes_to(landing.flow_run_id, "COMPLETED")

    names = served.deliver()
    run = served.await_build()
    os.kill(served.pid("server"), signal.SIGKILL)
    served.settle(*names)
    assert [r.status for r in served.journal("refine") if r.slot == run.slot] == ["succeeded"]
    served.comes_to(run.flow_run_id, "COMPLETED")
    until(lambda: served.active_slots() == 0)
    assert_each_once(served)


@pytest.mark.long
def test_while_the_server_is_down_files_wait_and_land_when_it_is_up(served: Served) -> None:
    logged = served.log_size("watcher")
    served.control("stop", "server")
    names = served.deliver(files=3)
    said = f"files wait in the inbox: Prefect's server at http://127.0.0.1:{served.port}/api does not answer"
    until(lambda: said in served.log_since("watcher", logged))
    assert not served.receipts().keys() & {*names}
    served.control("start", "server")
    served.settle(*names)
    assert "what waits in the inbox lands now" in served.log_since("watcher", logged)


# --- at once ---------------------------------------------------------------------------------------------------------


def test_a_build_that_waits_for_another_process_is_seen_to(served: Served) -> None:
    served.settle()  # what the tests before left is done again meanwhile
    with a_reader(served) as reader:
        with held(lock_file(served.settings), "a test"):
            names = served.deliver()
            run = until(lambda: next((r for r in served.journal("refine") if r.status == "running"), None))
            until(lambda: served.flow_run(run.flow_run_id)["state_name"] == "Waiting")
            assert f"process {os.getpid()} (" in served.flow_run(run.flow_run_id)["state"]["message"]
            with Journal(served.settings) as journal:
                # Others may have been woken too: they wait for this run.
                assert [w.job for w in journal.waits() if w.flow_run_id == run.flow_run_id] == ["refine"]
            assert served.active_slots() == 1
        until(lambda: f"process {reader.pid} (" in str(served.flow_run(run.flow_run_id)["state"]["message"]))
    served.settle(*names)
    served.comes_to(run.flow_run_id, "COMPLETED")
    tries = [(r.attempt, r.status, r.message) for r in served.journal("refine") if r.slot == run.slot]
    assert tries == [(1, "succeeded", None)], "to wait is no try that failed"
    with Journal(served.settings) as journal:
        until(lambda: journal.waits() == [])


@pytest.mark.long
def test_runs_by_hand_and_a_second_watcher_overlap_with_nothing(served: Served) -> None:
    second = subprocess.Popen(
        [sys.executable, "-m", "flows.orchestrate.service.watcher"],
        cwd=served.project,
        env=served.environment | {"PREFECT_API_URL": f"http://127.0.0.1:{served.port}/api"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        names = served.deliver(files=5)
        served.await_build()
        done = served.tidemark("run")
        assert done.returncode == 0, done.stdout + done.stderr
        names += served.deliver(files=5)
        assert served.tidemark("land").returncode == 0
        served.settle(*names)
    finally:
        second.kill()
        second.wait()
    assert_each_once(served)
    runs = dbt_runs(served)
    for (_, ended), (began, _) in pairwise(runs):
        assert ended is None or began >= ended  # type: ignore[operator]


@pytest.mark.parametrize("files", [200, pytest.param(1_000, marks=pytest.mark.long)])
def test_many_small_files_at_once_are_few_builds_and_none_is_lost(served: Served, files: int) -> None:
    served.settle()
    before, builds = event_count(served), len(dbt_runs(served))
    names = served.deliver(events=1, files=files)
    served.settle(*names)
    assert {served.receipts()[name].rows_landed for name in names} == {1}
    assert event_count(served) == before + files
    assert len(dbt_runs(served)) - builds <= files // 20, "on a busy machine files come in more than one burst"
    assert_each_once(served)


# --- a full disk -----------------------------------------------------------------------------------------------------


def shrink_journal(served: Served) -> None:
    """Keep the journal small enough for what follows: who cannot even write there can report no more than its log."""
    with closing(sqlite3.connect(served.settings.jobs / "journal.sqlite", timeout=30)) as journal:
        journal.execute("pragma wal_checkpoint(truncate)").fetchall()


@contextmanager
def full_disk(served: Served, size: int) -> Iterator[None]:
    """No run can write a file beyond ``size`` bytes: what the warm process forks has its limits."""
    shrink_journal(served)
    pid = served.pid("warm")
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.long
def test_a_disk_that_is_full_while_building_is_reported_and_the_next_run_heals(served: Served) -> None:
    sent, version = len(served.alerts()), current_version(served.settings)
    with warehouse_lock(served.settings):
        names = served.deliver(events=30_000)
        until(lambda: served.receipts().keys() >= {*names})
        run = until(lambda: next((r for r in served.journal("refine") if r.status == "running"), None))
        until(lambda: served.flow_run(run.flow_run_id)["state_name"] == "Waiting")
        # The run can write no file beyond a number of bytes; the next one can, as if somebody had made room.
        shrink_journal(served)
        resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    until(lambda: run.run_id in {r.run_id for r in served.journal("refine") if r.finished_at})
    (failed,) = (r for r in served.journal("refine") if r.run_id == run.run_id)
    assert failed.status == "failed", (failed.message, served.logs("warm", "worker"))
    assert "raw_events" in (failed.message or "")
    text = until(lambda: next((text for text in served.alerts()[sent:] if "raw_events failed" in text), None))
    assert "File too large" in text
    served.settle(*names)
    assert served.receipts()[names[0]].rows_landed == 30_000
    assert current_version(served.settings) != version
    until(lambda: any("recovered" in text and "raw_events" in text for text in served.alerts()[sent:]))
    assert_as_built_at_once(served)


@pytest.mark.long
def test_a_disk_that_is_full_while_landing_is_reported_and_nothing_is_lost(served: Served) -> None:
    sent = len(served.alerts())
    with full_disk(served, 1_000_000):
        names = served.deliver(events=30_000)
        until(lambda: any("job land failed" in text for text in served.alerts()[sent:]))
        (text,) = (text for text in served.alerts()[sent:] if "job land failed" in text)
        assert "landing stopped" in text and "a full disk" in text
        assert not served.receipts().keys() & {*names}
    served.settle(*names)
    assert served.receipts()[names[0]].rows_landed == 30_000
    until(lambda: any("recovered" in text and "job land failed" in text for text in served.alerts()[sent:]))
    assert_each_once(served)


# --- what is said, and the end ---------------------------------------------------------------------------------------


def test_data_that_do_not_come_are_reported_at_the_deadline(served: Served) -> None:
    (text,) = until(lambda: [text for text in served.alerts() if "job needy is late" in text], 2 * PATIENCE_SECONDS)
    assert "no data by the deadline: it waits for calls of 2" in text
    assert "owner: audience-insight" in text
    assert served.journal("needy") == []


def test_no_secret_is_in_a_log_or_in_the_servers_database(served: Served) -> None:
    home = served.settings.home
    files = [path for name in ("logs", "prefect", "run") for path in (home / name).rglob("*") if path.is_file()]
    files += [*(home / "jobs").glob("*")]
    assert {"server.log", "watcher.log", "prefect.db", "journal.sqlite", "incidents.sqlite"} <= {f.name for f in files}
    for path in files:
        with suppress(FileNotFoundError):  # SQLite's own files beside a database come and go
            read = path.read_bytes()
            for secret in (KEY, TOKEN):
                assert secret.encode() not in read, path


def test_serving_twice_says_so(served: Served) -> None:
    done = served.tidemark("serve")
    assert done.returncode == 1
    assert "it is already being served" in " ".join((done.stdout + done.stderr).split())


def test_another_program_on_the_port_is_reported(served: Served, tmp_path: Path) -> None:
    hook = Hook()
    try:
        for port in (hook.server_port, served.port):
            done = served.tidemark("serve", TIDEMARK_HOME=str(tmp_path), TIDEMARK_SERVER_PORT=str(port))
            assert done.returncode == 1
            said = " ".join((done.stdout + done.stderr).split())
            assert f"the server cannot listen on 127.0.0.1, port {port}" in said and "TIDEMARK_SERVER_PORT" in said
    finally:
        hook.stop()
    assert not (tmp_path / "run").exists(), "nothing was started"


@pytest.mark.long
def test_a_build_that_was_stopped_is_healed_when_it_is_served_again(served: Served) -> None:
    names = served.deliver()
    served.await_build()
    assert served.tidemark("stop").returncode == 0
    assert served.processes() == []
    served.start()
    served.settle(*names)
    assert_as_built_at_once(served)


def test_stopping_leaves_no_process(served: Served) -> None:
    assert len(served.processes()) >= 5
    done = served.tidemark("stop")
    assert done.returncode == 0, done.stdout + done.stderr
    assert served.processes() == []
    done = served.tidemark("stop")
    assert done.returncode == 1 and "nothing is being served" in " ".join((done.stdout + done.stderr).split())
