"""Where a module may look: only into rooms that come before its own on the data's way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.contract.spec import PROJECT

# The packages and modules of `flows/`, in the order in which they may import each other.
ROOMS = [
    *("errors", "entry", "settings", "text", "rights", "files", "sqlite", "processes", "locks", "keys"),
    *("object_store", "store_place"),
    *("contract", "clock", "release", "sample"),
    *("land", "extract", "topics", "build", "catalogue", "publish", "develop", "site", "privacy", "audit", "alerts"),
    *("orchestrate", "run", "trial", "status", "ask", "cli"),
]
# The one list that a team edits is of the room that reads it.
SAME = {"schedule": "orchestrate"}
# The command starts in the release's code before it is what it is.
EXCEPTIONS = {("flows/entry.py", "cli")}


def imports(path: Path) -> Iterator[str]:
    """The modules of `flows` that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            head, _, rest = node.module.partition(".")
            if head == "flows":
                yield from [rest] if rest else [name.name for name in node.names]


def room_of(module: str) -> str:
    first = module.split(".", maxsplit=1)[0]
    return SAME.get(first, first)


MOST_LINES = 400
# Modules that may be longer, each with the reason.
LONGER: dict[str, str] = {}

FILES = sorted(path.relative_to(PROJECT) for path in (PROJECT / "flows").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_looks_only_into_rooms_before_its_own(path: Path) -> None:
    own = room_of(".".join(path.with_suffix("").parts[1:]))
    if own == "__init__":
        return
    for module in imports(PROJECT / path):
        room = room_of(module)
        if room != own and (str(path), room) not in EXCEPTIONS:
            assert ROOMS.index(room) < ROOMS.index(own), f"{path} imports flows.{module}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_has_one_reason_to_exist_and_few_lines(path: Path) -> None:
    lines = len((PROJECT / path).read_text().splitlines())
    assert lines <= MOST_LINES or str(path) in LONGER, f"{path} has {lines} lines: split it along its reasons to exist"


def test_every_room_is_there() -> None:
    found = {room_of(".".join(path.with_suffix("").parts[1:])) for path in FILES} - {"__init__"}
    assert found == {*ROOMS}


def test_alerts_know_nothing_of_jobs() -> None:
    """One extract that cannot be imported would silence what reports it."""
    for path in (PROJECT / "flows" / "alerts").rglob("*.py"):
        assert not {room_of(module) for module in imports(path)} & {"orchestrate"}, path
