"""Prefect's server, with two things changed that it has no settings for. Takes the arguments of ``prefect``.

**Its queue rests.** Its own looks for work four times a second. What waits in the queue (runs that are late, leases to
take back, logs to delete) can wait a little more. Events, their automations and the runs these start do not go through
it.

**Garbage is collected in a thread of its own**, never in the one that answers requests. A collection also frees what is
left of SQLite's statements, which waits while the connection of such a statement waits for another's lock. Whoever
holds that lock can only give it back in the thread that now stands still, so for a minute nobody was answered, until
SQLite gave up ("database is locked"); seven clients brought that about once a minute.
"""

import functools
import gc
import threading
import time
from datetime import timedelta

from prefect.cli import app
from prefect.server.api import background_workers

LOOK = timedelta(seconds=2)
COLLECT_SECONDS = 1.0
# New objects after which a collection is worth it, and how many of these come before one of all objects: about as often
# as Python does it otherwise.
YOUNG_OBJECTS = 10_000
YOUNG_COLLECTIONS = 10


def main() -> None:
    """Run ``prefect`` with a worker of the queue that looks every :data:`LOOK`."""
    module = vars(background_workers)
    module["Worker"] = functools.partial(module["Worker"], minimum_check_interval=LOOK, scheduling_resolution=LOOK)
    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()
    app()


def collect() -> None:
    """Collect garbage from time to time, without an end."""
    while True:
        time.sleep(COLLECT_SECONDS)
        young, _, collections = gc.get_count()
        if young >= YOUNG_OBJECTS:
            gc.collect(2 if collections >= YOUNG_COLLECTIONS else 1)


if __name__ == "__main__":
    main()
