"""Processes of this machine: which one a number means, whether it is alive, and what people know it by."""

import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

from flows.text import cut

# Command lines may be long, and hold what is nobody's business.
COMMAND_CHARACTERS = 80
# What stands behind these names people: it is shown to nobody who waits, and stands in no log.
ABOUT_PEOPLE = ("erase", "export-person")
_PROC = Path("/proc")


def process_mark(pid: int) -> str | None:
    """What tells a process from a later one of the same number: when it was started. None where there is none."""
    stat = _PROC / str(pid) / "stat"
    if (_PROC / "self" / "stat").exists():
        try:
            # The command, in brackets, may hold anything; behind it the state is first and the start the twentieth.
            fields = stat.read_text().rpartition(")")[2].split()
            boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
    state, _, started = _ps(pid, "stat=,lstart=").partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def is_alive(pid: int, mark: str) -> bool:
    """Whether the process that had this number and this mark still runs."""
    return process_mark(pid) == mark


def command_of(pid: int) -> str | None:
    """The beginning of a process' command line; None where that is not known.

    Of a program and its script only the names, as in ``python tidemark build``: their folders would take all the room.
    """
    try:
        given = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        words = [word for word in given if word]
    except OSError:
        words = _ps(pid, "args=").split()  # which do not say where an argument ends
    short = [PurePath(word).name if word.startswith("/") else word for word in words[:2]]
    line = shlex.join(_without_people([*short, *words[2:]]))
    return cut(" ".join(line.split()), COMMAND_CHARACTERS) or None


def _without_people(words: list[str]) -> list[str]:
    about = next((at for at, word in enumerate(words) if word in ABOUT_PEOPLE), len(words))
    return words[: about + 1]


def started_at(pid: int, now: datetime) -> datetime | None:
    """When a process was started, in UTC; None where that is not known."""
    # As ps has it everywhere: days-hours:minutes:seconds, the first two only where there are any.
    days, dash, clock = _ps(pid, "etime=").rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
    except ValueError:
        return None
    seconds = sum(part * 60**place for place, part in enumerate(reversed(parts)))
    return (now - timedelta(days=int(days) if dash else 0, seconds=seconds)).astimezone(UTC)


def _ps(pid: int, fields: str) -> str:
    command = [argument for field in fields.split(",") for argument in ("-o", field)]
    try:
        done = subprocess.run(["ps", *command, "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:  # there is no ps here, as in a small container
        return ""
    return done.stdout.strip()
