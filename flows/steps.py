"""What the flows share: a step as a task, a run noted in the journal, and one run of a job at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from flows.journal import Journal
from flows.settings import Settings
from flows.writer import seen_to_wait

T = TypeVar("T")


def flow_run_id() -> str:
    """The id of the flow run at hand."""
    return str(runtime.flow_run.id)


def step(name: str, work: Callable[[], T]) -> T:
    """Do it as a task of the flow run, for people to see when it began and how it ended."""
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(work)()


@contextmanager
def noted(journal: Journal, run_id: int) -> Iterator[None]:
    """Note in the journal how the run ended."""
    try:
        yield
    except BaseException as error:
        if _is_cancelled():
            journal.finish(run_id, "cancelled", "somebody cancelled it")
        else:
            journal.finish(run_id, "failed", str(error) or type(error).__name__)
        raise
    journal.finish(run_id, "succeeded")


def _is_cancelled() -> bool:
    """Whether somebody cancels this flow run: then it does not fail, whatever its end looks like."""
    with suppress(Exception), get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run_id())).state
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False


@contextmanager
def turn(settings: Settings, journal: Journal, job: str) -> Iterator[None]:
    """One run of a job at work; others wait, and can be seen to. A process that is killed gives its turn back."""
    settings.jobs.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.jobs / f".{job}.turn.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with seen_to_wait(journal, job, flow_run_id(), f"the run of {job} before it"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
