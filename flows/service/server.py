"""Prefect's server, with a queue that rests: its own looks for work four times a second, and has no setting for that.

What waits in the queue (runs that are late, leases to take back, logs to delete) can wait a little more. Events, their
automations and the runs these start do not go through it. Takes the arguments of ``prefect``.
"""

import functools
from datetime import timedelta

from prefect.cli import app
from prefect.server.api import background_workers

LOOK = timedelta(seconds=2)


def main() -> None:
    """Run ``prefect`` with a worker of the queue that looks every :data:`LOOK`."""
    module = vars(background_workers)
    module["Worker"] = functools.partial(module["Worker"], minimum_check_interval=LOOK, scheduling_resolution=LOOK)
    app()


if __name__ == "__main__":
    main()
