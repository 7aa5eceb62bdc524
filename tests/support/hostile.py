"""Texts made to make a pattern go back and forth."""

import time

from flows.land.redaction.redact import redact
from tests.support.patience import PATIENCE_SECONDS


def assert_it_ends(text: str) -> None:
    """A text as long as these takes seconds; where a pattern backtracks it takes hours."""
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < PATIENCE_SECONDS
