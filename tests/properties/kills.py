"""Moments between two commits, at which a process is killed: chance would hardly ever find them."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

from flows.build.landings import enter_landings
from flows.land.receipts import Receipts

# The batches are committed, and what their rows tell of consent is about to be.
BEFORE_TOLD = "before told"
# It is one, and the files it was made of are still there.
AFTER_TOLD = "after told"
# The warehouse knows what landed, with the days that it changes, and no model has seen them.
ENTERED = "entered"
MOMENTS = (BEFORE_TOLD, AFTER_TOLD, ENTERED)


def killed(moment: str | None) -> AbstractContextManager[Any]:
    """This process is killed when it comes to the moment; it goes on where it does not, or where none is given."""
    if moment == BEFORE_TOLD:
        return mock.patch.object(Receipts, "commit", _die)
    if moment == AFTER_TOLD:
        return mock.patch.object(Receipts, "commit", _and_die(Receipts.commit))
    if moment == ENTERED:
        return mock.patch("flows.build.build.enter_landings", _and_die(enter_landings))
    return nullcontext()


def _and_die(work: Callable[..., Any]) -> Callable[..., None]:
    def work_and_die(*given: Any) -> None:
        work(*given)
        _die()

    return work_and_die


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
