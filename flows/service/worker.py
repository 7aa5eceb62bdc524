"""The worker: Prefect's own, which looks for work twice a minute, and as soon as the server says that there is some.

Before that it waits for the server, and has :mod:`flows.service.deploy` make its deployments equal to the schedule.
"""

import asyncio
import logging
import subprocess
import sys
import time

import anyio
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.logging.configuration import setup_logging
from prefect.workers.process import ProcessWorker

from flows.releases import is_outdated
from flows.service.watch import server_error
from flows.settings import Settings

POOL = "tidemark"
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
        is_done = False
        while not is_done:
            await anyio.sleep(1)
            is_done = is_outdated(settings) and worker.limiter.borrowed_tokens == 0
        log.info("another release is active: the worker begins anew as that")
        tasks.cancel_scope.cancel()


async def _look_when_told(worker: ProcessWorker) -> None:
    """Look for work at each run that is scheduled. What is missed here, the worker finds by itself a little later."""
    scheduled = EventFilter(event=EventNameFilter(name=[SCHEDULED]))
    while True:
        try:
            async with get_events_subscriber(filter=scheduled) as events:
                async for _ in events:
                    await worker.get_and_submit_flow_runs()
        except Exception as error:
            log.warning("the server tells nothing of scheduled runs (%s); they are looked for twice a minute", error)
        await anyio.sleep(RECONNECT_SECONDS)


def main() -> None:
    """Wait for the server, deploy, and work."""
    setup_logging()
    settings = Settings()
    if error := server_error(settings):
        log.info("waiting for the server: %s", error)
    while server_error(settings):
        time.sleep(0.5)
    # In a process of its own, as it imports dbt, and this one stays.
    deployed = subprocess.run([sys.executable, "-m", "flows.service.deploy"], check=False)
    if deployed.returncode:
        sys.exit(deployed.returncode)
    asyncio.run(work(settings))


if __name__ == "__main__":
    main()
