"""Processes of other users, and processes that may be killed."""

import json
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

# Processes that may be killed: forked from one that has imported everything and holds nothing.
FORKSERVER = multiprocessing.get_context("forkserver")
# The user and group that own nothing.
NOBODY = 65534


def as_nobody(work: Callable[[], Any]) -> Any:
    """What the work gives in a child that has no more rights than anybody: root is refused nothing."""
    if os.geteuid():
        return work()
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        text = report.read()
    os.waitpid(child, 0)
    return json.loads(text)
