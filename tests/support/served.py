"""All of Tidemark served on loopback for tests: Prefect's server, the warm process, worker and watcher, of a copy of
the project with a schedule of its own, and a webhook that keeps the alerts."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import yaml

from flows import sample
from flows.contract.spec import PROJECT
from flows.land.receipt import Receipt
from flows.orchestrate.journal import Journal
from flows.orchestrate.runs import JobRun
from flows.publish.manifest import Manifest, current_version, read_manifest
from flows.settings import Settings
from tests.support.alerts import Hook
from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.workshop import Workshop

KEY = "a-key-that-no-log-may-ever-hold-0815"
TOKEN = "tOkEn-that-no-log-may-ever-hold-4711"
TASK_RUNS_AT_ONCE, MOST_TASK_RUNS = 100, 2_000
# A first day that the sample does not have.
FIRST_DAY = datetime(2026, 2, 1, 12, tzinfo=UTC)

# One job of each kind of trigger. `needy` waits for data that never come, and is due once. `fetch` is for a person.
SCHEDULE = '''
"""The jobs of the tests."""
from datetime import timedelta

from flows.contract.spec import load_specs
from flows.orchestrate.job import Arrival, Build, Cron, Extract, Job, Maintain, Publish, Requires, Success
from flows.orchestrate.validate import validate

RETIRED_SOURCES: frozenset[str] = frozenset()
_ONCE = Cron("{once}", "UTC")
_NEVER = Cron("0 0 1 {other_month} *", "UTC")
_SOON = timedelta(seconds=2)
JOBS = (
    Job("refine", "Builds what landed.", (Build(), Publish()), "data-platform", Arrival(tuple(load_specs())),
        deadline=timedelta(hours=1), retry_delay=_SOON),
    Job("tick", "Fires automatically.", (Maintain("digest"),), "data-platform", Cron("* * * * *", "UTC"),
        catch_up="latest", retry_delay=_SOON),
    Job("follow", "Follows it.", (Maintain("digest"),), "data-platform", Success(("tick",)),
        catch_up="latest", retry_delay=_SOON),
    Job("needy", "Needs what never comes.", (Maintain("digest"),), "audience-insight", _ONCE,
        requires=(Requires("calls"),), deadline=timedelta(seconds=3)),
    Job("fetch", "Delivers a file.", (Extract("flows.test_extract:deliver"),), "data-platform", _NEVER),
)
validate(JOBS)
'''

EXTRACT = '''
"""Delivers a file with the event of the tests into the inbox."""
from pathlib import Path
from flows.settings import Settings

def deliver(settings: Settings) -> None:
    folder = settings.inbox / "web" / "events" / "fetched"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".fetched.partial"
    partial.write_bytes(Path(__file__).with_suffix(".ndjson").read_bytes())
    partial.rename(folder / "fetched.ndjson")
'''
# Tests have no time to wait as long as an operator has.
PACE = {
    "TIDEMARK_WATCH_SECONDS": "2",
    "TIDEMARK_TIDY_SECONDS": "5",
    "TIDEMARK_BEGIN_SECONDS": "60",  # a run of a busy machine is not taken for a dead one
}


def free_port() -> int:
    """A port below those that the system gives to whoever asks for any: it stays free while the server is restarted."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("of a hundred ports none is free")


class Served:
    """A home that is served, and all there is to be seen of it. Stop it, whatever happens."""

    def __init__(self, folder: Path, schedule: str = SCHEDULE) -> None:
        self.workshop = Workshop(folder / "project")
        self.project = self.workshop.folder
        self.port = free_port()
        self.hook = Hook()
        self.settings = Settings(home=folder / "home", server_port=self.port, pseudonym_key=KEY)  # type: ignore[arg-type]
        self.lake = Lake(self.settings.home, pseudonym_key=KEY)
        self._delivered = 0
        for name in ("flows", "contracts"):
            shutil.copytree(PROJECT / name, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
        self._write_schedule(schedule)
        self._write_channels()
        self.sample = Settings(home=folder / "sample")
        sample.generate(self.sample.home, 3_000, 3, 3)

    def _write_schedule(self, schedule: str) -> None:
        # Later than the first pass of the watcher, also on a busy machine: what is due before that does not count.
        self.once = (datetime.now(UTC) + timedelta(seconds=180)).replace(second=0, microsecond=0)
        made = schedule.format(once=f"{self.once:%M %H %d %m} *", other_month=(self.once.month + 5) % 12 + 1)
        (self.project / "flows" / "schedule.py").write_text(made)
        (self.project / "flows" / "test_extract.py").write_text(EXTRACT)
        fetched = ndjson([event(999_999, occurred_at=FIRST_DAY.isoformat())])
        (self.project / "flows" / "test_extract.ndjson").write_bytes(fetched)

    def _write_channels(self) -> None:
        path = self.settings.channels
        path.parent.mkdir(parents=True)
        default = [f"json://{self.hook.at}/{TOKEN}", f"slack+http://{self.hook.at}/hooks/{TOKEN}"]
        path.write_text(yaml.safe_dump({"default": default}))
        path.chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "TIDEMARK_"))}
        return (
            given
            | PACE
            | {
                "PYTHONPATH": str(self.project),
                "TIDEMARK_HOME": str(self.settings.home),
                "TIDEMARK_SERVER_PORT": str(self.port),
                "TIDEMARK_PSEUDONYM_KEY": KEY,
                "TIDEMARK_MASTER_KEY": KEY,
                "DO_NOT_TRACK": "1",
            }
        )

    def tidemark(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The command, run to its end in the copy of the project; ``more`` is environment."""
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.run(
            command,
            cwd=self.project,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def start(self) -> None:
        done = self.tidemark("serve")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()

    def stop(self) -> None:
        """Stop it, kindly first."""
        self.tidemark("stop")
        self.kill_all()
        self.hook.stop()

    def kill_all(self) -> None:
        """Kill what is left of it: the processes whose environment names this home."""
        for _ in range(10):
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self.processes():
                return
            time.sleep(0.1)

    def processes(self, word: str = "") -> list[int]:
        """The processes of this home whose command has this word."""
        found = []
        mark = f"TIDEMARK_HOME={self.settings.home}".encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with suppress(OSError):
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        if word in command:
                            found.append(int(folder.name))
        return sorted(found)

    def pid(self, program: str) -> int:
        """The process of a program of supervisord's."""
        path = self.settings.sockets / "supervisord.conf"
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(path), "pid", program]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def control(self, *arguments: str) -> None:
        """Have supervisord start or stop a program."""
        path = self.settings.sockets / "supervisord.conf"
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(path), *arguments]
        subprocess.run(command, capture_output=True, check=True)

    def logs(self, *names: str) -> str:
        """What the programs logged."""
        files = sorted(p for p in self.settings.logs.glob("*.log") if not names or p.stem in names)
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-6000:]}" for path in files)

    def log_size(self, name: str) -> int:
        """How long a program's log is so far."""
        return (self.settings.logs / f"{name}.log").stat().st_size

    def log_since(self, name: str, size: int) -> str:
        """What a program logged since its log was so long."""
        return (self.settings.logs / f"{name}.log").read_bytes()[size:].decode(errors="replace")

    # The server's state, by its API.

    def post(self, path: str, body: Any = None) -> Any:
        """Ask the server; one that is being restarted is waited for."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(httpx.TransportError):
                done = httpx.post(f"http://127.0.0.1:{self.port}/api/{path}", json=body or {}, timeout=30)
                if done.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # its database is busy: clients ask again
                    break
            assert time.monotonic() < end, "the server does not come back"
            time.sleep(0.2)
        done.raise_for_status()
        return done.json()

    def flow_runs(self, job: str) -> list[dict[str, Any]]:
        """The flow runs of a job, the oldest first."""
        found = self.post("flow_runs/filter", {"flows": {"name": {"any_": [job]}}, "limit": 200})
        return sorted(found, key=lambda run: str(run["created"]))

    def flow_run(self, flow_run_id: str | None) -> dict[str, Any]:
        """A flow run by its id."""
        (found,) = self.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
        return dict(found)

    def artifacts(self, flow_run_id: str | None) -> list[dict[str, Any]]:
        """The artifacts of a flow run, in the order of its page."""
        found = self.post("artifacts/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
        return [dict(artifact) for artifact in found]

    def log_of(self, flow_run_id: str | None) -> list[str]:
        """The log on a flow run's page, in order: the server is sent it every few seconds."""
        body = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return [str(record["message"]) for record in self.post("logs/filter", body)]

    def comes_to(self, flow_run_id: str | None, state: str) -> None:
        """Wait until a flow run has a state of this type, and no other after it."""
        until(lambda: self.flow_run(flow_run_id)["state_type"] == state)

    def task_runs(self, flow_run_id: str | None) -> dict[str, str]:
        """The states of a flow run's task runs by name; of those that ran here, without the number in their names."""
        found: dict[str, str] = {}
        body = {"flow_runs": {"id": {"any_": [flow_run_id]}}, "limit": TASK_RUNS_AT_ONCE}
        for offset in range(0, MOST_TASK_RUNS, TASK_RUNS_AT_ONCE):
            page = self.post("task_runs/filter", body | {"offset": offset})
            found |= {str(run["name"]): str(run["state_type"]) for run in page}
            if len(page) < TASK_RUNS_AT_ONCE:
                return found | {name.rpartition("-")[0]: state for name, state in found.items() if "-" in name}
        raise AssertionError(f"flow run {flow_run_id} has {MOST_TASK_RUNS} task runs or more")

    def tasks_come_to(self, flow_run_id: str | None, state: str, *names: str) -> None:
        """Wait until the task runs of these names have a state of this type: the server learns of them in batches."""
        until(lambda: {self.task_runs(flow_run_id).get(name) for name in names} == {state})

    def active_slots(self) -> int:
        """How many hold the global limit of one writer."""
        (limit,) = self.post("v2/concurrency_limits/filter")
        return int(limit["active_slots"])

    def start_by_hand(self, job: str, **parameters: Any) -> str:
        """Start a run as the button does; returns the flow run's id."""
        deployments = self.post("deployments/filter", {"flows": {"name": {"any_": [job]}}})
        run = self.post(f"deployments/{deployments[0]['id']}/create_flow_run", {"parameters": parameters})
        return str(run["id"])

    # The stores.

    def journal(self, job: str) -> list[JobRun]:
        """The runs of a job in the journal, the oldest first."""
        with Journal(self.settings) as journal:
            return [run for run in reversed(journal.history(10_000)) if run.job == job]

    def receipts(self) -> dict[str, Receipt]:
        """The receipts by file."""
        return {receipt.file: receipt for receipt in self.lake.receipts()}

    def manifest(self) -> Manifest | None:
        """What readers see."""
        version = current_version(self.settings)
        return read_manifest(self.settings, version) if version else None

    def is_settled(self) -> bool:
        """Whether all that landed with rows is in what readers see, and nothing builds."""
        last = max((r.batch_id for r in self.lake.receipts() if r.rows_landed), default=0)
        done = [int(run.slot) for run in self.journal("refine") if run.status == "succeeded" and run.slot.isdigit()]
        return max(done, default=0) >= last and not any(run.status == "running" for run in self.journal("refine"))

    def settle(self, *names: str) -> None:
        """Wait until these files landed, and all that landed is in what readers see."""
        until(lambda: self.receipts().keys() >= {*names})
        until(self.is_settled)

    def await_build(self, job: str = "refine") -> JobRun:
        """Wait until a run of the job is in the middle of a build: dbt makes its models."""
        log = self.settings.home / "warehouse" / "logs" / "dbt.log"
        run = until(lambda: next((r for r in self.journal(job) if r.status == "running"), None), every=0.02)
        size = log.stat().st_size
        until(lambda: log.stat().st_size > size + 3_000, every=0.01)
        return run

    def query(self, sql: str) -> list[Any]:
        """A query on what readers see."""
        path = self.settings.published / "current" / "marts.duckdb"
        with duckdb.connect(str(path), read_only=True) as marts:
            return marts.execute(sql).fetchall()

    def alerts(self) -> list[str]:
        """The messages that the JSON channel took, in order, whole."""
        return [f"{body['title']}\n{body['message']}" for path, body in self.hook.bodies if path == f"/{TOKEN}"]

    # Deliveries.

    def deliver_sample(self, day: str) -> list[str]:
        """Rename the sample's files of a day into the inbox; returns their names there."""
        found = []
        for path in sorted(p for p in self.sample.inbox.rglob("*") if p.is_file()):
            name = path.relative_to(self.sample.inbox)
            if day in str(name):
                target = self.settings.inbox / name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
                found.append(str(name))
        return found

    def deliver(self, events: int = 3, files: int = 1) -> list[str]:
        """Deliver new events in new files; returns their names."""
        names = []
        for _ in range(files):
            rows = []
            for _ in range(events):
                self._delivered += 1
                at = FIRST_DAY + timedelta(minutes=self._delivered)
                times = {name: at.isoformat() for name in ("occurred_at", "sent_at", "received_at")}
                body = {"content_id": random.Random(self._delivered).randbytes(40).hex(), "content_type": "article"}
                rows.append(event(self._delivered, body=body, device_id=f"d-{self._delivered % 50}", **times))
            name = f"web/events/extra/part-{self._delivered:06d}.ndjson"
            self.lake.deliver(name, ndjson(rows))
            names.append(name)
        return names
