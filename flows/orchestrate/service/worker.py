"""The worker's process: it waits for the server, makes its deployments equal to the schedule, and works.

It imports Prefect when the server answers: until then the server needs the processor.
"""

import asyncio
import subprocess
import sys
import time

from flows.orchestrate.service.prefork.host import client_command
from flows.orchestrate.service.watcher import server_error
from flows.settings import Settings

POOL = "tidemark"


def main() -> None:
    """Wait for the server, deploy, and work."""
    settings = Settings()
    if error := server_error(settings):
        print(f"worker: waiting for the server: {error}", flush=True)
    while server_error(settings):
        time.sleep(0.5)
    # In the warm process, which has dbt imported.
    deployed = subprocess.run([*client_command(settings), "flows.orchestrate.service.deploy"], check=False)
    if deployed.returncode:
        sys.exit(deployed.returncode)
    from prefect.logging.configuration import setup_logging  # noqa: PLC0415

    from flows.orchestrate.service.prefect_worker import work  # noqa: PLC0415

    setup_logging()
    asyncio.run(work(settings))


if __name__ == "__main__":
    main()
