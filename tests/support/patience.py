"""How long tests wait for what they assert: longer than a busy machine takes. Only what never comes costs that time."""

import time
from collections.abc import Callable
from typing import TypeVar

# Prefect's server alone may wait a minute for a lock of its own database, several times in a row.
PATIENCE_SECONDS = 600.0

T = TypeVar("T")


def until(holds: Callable[[], T], seconds: float = PATIENCE_SECONDS, every: float = 0.05) -> T:
    """What ``holds`` gives, once that is true."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"it never came to hold: {getattr(holds, '__qualname__', holds)}"
        time.sleep(every)
    return found
