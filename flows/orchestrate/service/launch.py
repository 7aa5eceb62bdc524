"""What the watcher starts: a landing, the jobs that are due, or the sending of what landed.

    python -m flows.orchestrate.service.launch land
    python -m flows.orchestrate.service.launch send
    python -m flows.orchestrate.service.launch jobs [JOB...]

With ``jobs``, flow runs whose process is gone are then marked as crashed. It ends with 1 where a job could not be
started, or what landed could not be sent.
"""

import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

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

from flows.land.send import send_landed
from flows.orchestrate.job import LAND
from flows.orchestrate.journal import Journal
from flows.orchestrate.prefect_flows import DEPLOYMENT, FLOWS
from flows.orchestrate.runs import JobRun, RunStatus
from flows.settings import Settings

log = logging.getLogger("tidemark.wake")


def start_jobs(names: list[str]) -> bool:
    """Start a run of each job: within a minute, one at most. Returns whether all could be started.

    One that cannot, as when somebody deleted its deployment, is logged and holds up no other.
    """
    minute = f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"
    are_started = True
    for name in names:
        try:
            run_deployment(
                f"{name}/{DEPLOYMENT}",
                parameters={"only_if_due": True},
                timeout=0,
                as_subflow=False,
                idempotency_key=f"{name} {minute}",
            )
        except Exception as error:  # whatever the server or its client says, the other jobs are due too
            log.error(
                "job %s could not be started: %s: %s; where its deployment is gone, restart the worker, which "
                "recreates it",
                name,
                type(error).__name__,
                error,
            )
            are_started = False
    return are_started


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
        may_begin_since = datetime.now(UTC) - timedelta(seconds=settings.begin_seconds)
        for flow_run in _unfinished(client):
            begun = flow_run.start_time or flow_run.expected_start_time or flow_run.created
            if str(flow_run.id) in alive or begun is None or begun > may_begin_since:
                continue
            client.set_flow_run_state(flow_run.id, _state_of(ended.get(str(flow_run.id))), force=True)


def _state_of(run: JobRun | None) -> State[None]:
    if run and run.status is RunStatus.SUCCEEDED:
        return Completed(message="it ended while the server could not be reached")
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


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    match arguments:
        case ["land"]:
            state: Any = FLOWS[LAND](return_state=True)
            if not state.is_completed():  # its log and its page say why
                sys.exit(1)
        case ["send"]:
            if why := send_landed(Settings()):
                log.error("what landed could not be sent to the object store: %s; it is tried again", why)
                sys.exit(1)
        case ["jobs", *names]:
            are_started = start_jobs(names)
            mark_dead(Settings())
            if not are_started:
                sys.exit(1)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
