"""What the watcher starts: a landing, or the jobs that are due.

    python -m flows.service.wake land
    python -m flows.service.wake jobs [JOB...]

With ``jobs``, flow runs whose process is gone are then marked as crashed.
"""

import sys
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import run_deployment
from prefect.states import Completed, Crashed

from flows.jobs import DEPLOYMENT, FLOWS
from flows.journal import JobRun, Journal, RunStatus
from flows.schedule import LAND
from flows.settings import Settings

# Before so long, a run may be about to begin.
BEGINS_WITHIN = timedelta(minutes=2)


def start_jobs(names: list[str]) -> None:
    """Start a run of each job: within a minute, one at most."""
    minute = f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"
    for name in names:
        run_deployment(
            f"{name}/{DEPLOYMENT}",
            parameters={"only_if_due": True},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"{name} {minute}",
        )


def mark_dead(settings: Settings) -> None:
    """Let the server know of flow runs that ended without saying so: their process, or the server, was killed."""
    with Journal(settings) as journal, get_client(sync_client=True) as client:
        journal.crash()
        alive = {wait.flow_run_id for wait in journal.waits()}
        ended: dict[str | None, JobRun] = {}
        for run in journal.history(1000):
            if run.status is RunStatus.RUNNING:
                alive.add(run.flow_run_id)
            else:
                ended.setdefault(run.flow_run_id, run)
        for flow_run in _unfinished(client):
            begun = flow_run.start_time or flow_run.expected_start_time or flow_run.created
            if str(flow_run.id) in alive or begun is None or datetime.now(UTC) - begun < BEGINS_WITHIN:
                continue
            client.set_flow_run_state(flow_run.id, _state_of(ended.get(str(flow_run.id))), force=True)


def _state_of(run: JobRun | None) -> State[None]:
    if run and run.status is RunStatus.SUCCEEDED:
        return Completed(message="it ended while the server could not be told")
    return Crashed(message=(run and run.message) or "its process is gone; the next run heals it")


def _unfinished(client: SyncPrefectClient) -> list[FlowRun]:
    kinds = [StateType.RUNNING, StateType.CANCELLING, StateType.PENDING]
    return client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds))),
        # The server refuses a request without these two.
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["land"]:
            FLOWS[LAND]()
        case ["jobs", *names]:
            start_jobs(names)
            mark_dead(Settings())
        case _:
            sys.exit(__doc__)
