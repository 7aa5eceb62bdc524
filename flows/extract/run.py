"""Run extracts, each source in a process of its own, and try again what may pass."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from flows.errors import TidemarkError
from flows.extract.declared import DeclaredSource, load_declared
from flows.extract.delivery import Delivered
from flows.extract.errors import MayPassError
from flows.settings import Settings
from flows.text import cut

TRIES = 4
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1, 30
# What a process that broke had to say stands at the end.
LAST_CHARACTERS = 1_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Extracted:
    """What was delivered of a source, and what people should know of it."""

    files: tuple[Delivered, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The rows in all files of which that is known."""
        return sum(file.rows or 0 for file in self.files)


def extract(
    settings: Settings,
    name: str,
    progress: Progress = lambda line: None,
    noticed: Progress = lambda text: None,
    options: Sequence[str] = (),
) -> Extracted:
    """Extract a source, or one dataset of it as ``source.dataset``: its files stand in the inbox then.

    What people should know goes to ``noticed`` as soon as it is known. ``options`` are those of the source that this
    run is asked with. Raises :class:`TidemarkError` where something of it could not be delivered; all that was before
    stands, and the next run goes on from there.
    """
    source, _, dataset = name.partition(".")
    declared = load_declared(settings.extracts).one(source)
    datasets = [dataset] if dataset else [*declared.source.extracts]
    if dataset and dataset not in declared.source.extracts:
        there = ", ".join(f"{source}.{each}" for each in declared.source.extracts)
        raise TidemarkError(f"no extract {name!r} is declared ({there})")
    if unknown := [option for option in options if option not in declared.source.options]:
        kind = declared.source.connection.kind
        raise TidemarkError(f"{source}: extracts of {kind} do not know --{unknown[0].replace('_', '-')}")
    done = _Heard(progress, noticed)
    retrying = Retrying(
        retry=retry_if_exception_type(MayPassError),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
        before_sleep=done.note_try,
        reraise=True,
    )
    retrying(_run, settings, declared, [*(f"--{option}" for option in options), *datasets], done)
    return Extracted(tuple(done.files), tuple(dict.fromkeys(done.notes)))


class _Heard:
    """What the processes said."""

    def __init__(self, progress: Progress, noticed: Progress) -> None:
        self.files: list[Delivered] = []
        self.notes: list[str] = []
        self._progress, self._noticed = progress, noticed

    def take(self, line: dict[str, Any]) -> None:
        """Note a line, and pass it on."""
        if "delivered" in line:
            self.files.append(file := Delivered(**line["delivered"]))
            has = f"{file.bytes:,} bytes" if file.rows is None else f"{file.rows:,} rows"
            self._progress(f"{file.name}: {has}")
        elif "note" in line:
            if line["note"] not in self.notes:
                self._noticed(line["note"])
            self.notes.append(line["note"])

    def note_try(self, state: RetryCallState) -> None:
        """Say that it is tried again."""
        error = state.outcome.exception() if state.outcome else None
        seconds = state.next_action.sleep if state.next_action else 0
        self._progress(f"{error}; another try in {seconds:.0f} s")


def _run(settings: Settings, declared: DeclaredSource, asked: Sequence[str], done: _Heard) -> None:
    command = [sys.executable, "-P", "-m", "flows.extract.worker", declared.name, *asked]
    where = {"TIDEMARK_HOME": str(settings.home.absolute()), "TIDEMARK_EXTRACTS": str(settings.extracts.absolute())}
    error: dict[str, Any] | None = None
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # it ends when this closes
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **where},
        ) as process,
    ):
        assert process.stdout is not None
        for text in process.stdout:
            line = json.loads(text)
            error = line if "error" in line else error
            done.take(line)
        process.wait()
        errors.seek(0)
        said = cut(" ".join(errors.read().split()), LAST_CHARACTERS)
    if error:
        raise (MayPassError if error["may_pass"] else TidemarkError)(f"{declared.name}: {error['error']}")
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise MayPassError(f"{declared.name}: its process was ended by {name} ({said})")
    if process.returncode:
        raise TidemarkError(f"{declared.name}: its process failed ({said})")
