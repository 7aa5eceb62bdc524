"""What the flows share: a step as a task, a run noted in the journal, and one run of a job at a time.

A :class:`~flows.errors.TidemarkError` is for people and no bug, so its words are the state, and no traceback is shown.
Anything else that is raised is a bug, and goes to Prefect as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.errors import TidemarkError
from flows.orchestrate.journal import Journal
from flows.orchestrate.report import NodesFailedError
from flows.orchestrate.writer import show_waiting
from flows.rights import make_private
from flows.settings import Settings
from flows.site.site import refresh_site
from flows.text import cut, one_line

T = TypeVar("T")
# A state's message is a cell of a table on Prefect's pages.
STATE_CHARACTERS = 1000


def flow_run_id() -> str:
    """The id of the flow run at hand."""
    return str(runtime.flow_run.id)


def step(name: str, work: Callable[[], T]) -> T:
    """Do it as a task of the flow run, for people to see when it began and how it ended. Raises what it raises."""
    done: list[T] = []
    errors: list[TidemarkError] = []

    def work_or_state() -> State[None]:
        try:
            done.append(work())
        except TidemarkError as error:
            errors.append(error)
            return failed(error)
        return Completed()

    made = task(
        name=name,
        task_run_name=lambda: name,
        cache_policy=NO_CACHE,
        persist_result=False,
        # A try that is never made: of the last one Prefect logs a traceback, also where nothing was raised. What was
        # raised the flow's own engine logs.
        retries=1,
        retry_condition_fn=lambda *_: False,
    )
    made(work_or_state)()
    if errors:
        raise errors[0]
    return done[0]


def outcome(work: Callable[[], State[Any]]) -> State[Any]:
    """The state that a flow run ends in: what the work returns, or failed with the reason where it has one."""
    try:
        return work()
    except TidemarkError as error:
        if not isinstance(error, NodesFailedError):  # of which the log has a line each already
            get_run_logger().error(str(error))
        return failed(error)


def failed(error: TidemarkError) -> State[Any]:
    """A state whose message is the reason, in one line."""
    return Failed(message=cut(one_line(str(error)), STATE_CHARACTERS))


@contextmanager
def record_outcome(journal: Journal, run_id: int) -> Iterator[None]:
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
def exclusive_run(settings: Settings, journal: Journal, job: str) -> Iterator[None]:
    """One run of a job at work; others wait, and can be seen to. A process that is killed gives its turn back."""
    make_private(settings.jobs)
    lock = FileLock(settings.jobs / f".{job}.turn.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        with show_waiting(journal, job, flow_run_id(), f"the run of {job} before it"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def show_site(settings: Settings) -> None:
    """Make the site of what was published, while others may write. What fails of it is on it, and fails no run."""
    if not settings.site:
        return
    try:
        site = step("site", lambda: refresh_site(settings))
    except TidemarkError as error:
        get_run_logger().warning("%s", error)
        return
    for problem in site.record.problems if site else ():
        get_run_logger().warning("site: %s", problem)
