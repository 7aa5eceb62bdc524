"""Prefect's own worker, which looks for work twice a minute, and as soon as the server says that there is some."""

import logging

import anyio
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.workers.process import ProcessWorker

from flows.orchestrate.service.prefork.host import client_command
from flows.orchestrate.service.worker import POOL
from flows.release.releases import is_outdated
from flows.settings import Settings

SCHEDULED = "prefect.flow-run.Scheduled"
RECONNECT_SECONDS = 5
# More than ever run at once: the worker counts its runs only where it has a limit.
MOST_RUNS = 1000

log = logging.getLogger("prefect.tidemark.worker")


async def work(settings: Settings) -> None:
    """Take runs of the pool as they come, until interrupted, or until another release is active and nothing runs."""
    worker = ProcessWorker(work_pool_name=POOL, name="tidemark", limit=MOST_RUNS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.start)
        tasks.start_soon(_look_when_told, worker)
        await _wait_for_another_release(settings)
        # Its jobs at once: with much to do, it may be long until nothing runs.
        done = await anyio.run_process([*client_command(settings), "flows.orchestrate.service.deploy"], check=False)
        if done.returncode:
            log.error("the deployments of the new release could not be made: %s", done.stderr.decode(errors="replace"))
        while worker.limiter.borrowed_tokens:
            await anyio.sleep(1)
        log.info("another release is active: the worker restarts as that")
        tasks.cancel_scope.cancel()


async def _wait_for_another_release(settings: Settings) -> None:
    while not is_outdated(settings):
        await anyio.sleep(1)


async def _look_when_told(worker: ProcessWorker) -> None:
    """Look for work at each run that is scheduled. What is missed here, the worker finds on its own a little later."""
    scheduled = EventFilter(event=EventNameFilter(name=[SCHEDULED]))
    while True:
        try:
            async with get_events_subscriber(filter=scheduled) as events:
                async for _ in events:
                    await worker.get_and_submit_flow_runs()
        except Exception as error:
            log.warning("the server says nothing of scheduled runs (%s); they are looked for twice a minute", error)
        await anyio.sleep(RECONNECT_SECONDS)
