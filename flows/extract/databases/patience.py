"""An end to waiting: a server may hang in the middle of a query, alive to its network, and be waited for for ever."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

# The server ends a query itself that takes too long; this is for one that does nothing any more.
LONGER_SECONDS = 120.0


@contextmanager
def patient(longest: timedelta) -> Iterator[None]:
    """End this process where what is done within takes clearly longer than ``longest``: whoever started it tries again.

    No client can be told to stop while it waits for its server, so there is nothing milder.
    """
    timer = threading.Timer(longest.total_seconds() + LONGER_SECONDS, _give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up() -> None:
    print("the server did not answer, nor end its query", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGALRM)
