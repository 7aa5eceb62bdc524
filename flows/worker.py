"""The worker: waits for the server, brings its deployments in line with the schedule, then is Prefect's own worker."""

import asyncio
import os
import sys
import time

from flows.deploy import POOL, deploy
from flows.settings import Settings
from flows.watch import server_error


def main() -> None:
    """Wait, deploy, and become ``prefect worker start``."""
    settings = Settings()
    said = False
    while error := server_error(settings):
        if not said:
            print(f"worker: waits for the server ({error})", flush=True)
            said = True
        time.sleep(0.5)
    asyncio.run(deploy(settings))
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
