"""The contract of an earlier commit, from git."""

import datetime
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flows.contract.approvals.entries import FILE, read_entries
from flows.contract.generate import GENERATED
from flows.contract.spec import DatasetSpec
from flows.errors import TidemarkError

MAIN_BRANCHES = ("origin/main", "main")
# For who has not all of the repository.
FETCH = "in a shallow clone, `git fetch --tags --unshallow` gets the rest"


class NotComparableError(TidemarkError):
    """A contract is not there, or cannot be read; its text says why."""


@dataclass(frozen=True)
class Base:
    """An earlier contract, and which approvals there were by then: by their change and date."""

    specs: list[DatasetSpec]
    approved: frozenset[tuple[str, datetime.date]]


def find_base(project: Path) -> str:
    """The last release, as CI finds it for ``buf breaking``; without one, the commit where this branch left main.

    Raises ``NotComparableError`` where git knows of neither.
    """
    _git(project, "rev-parse", "--verify", "HEAD")
    try:
        return _git(project, "describe", "--tags", "--abbrev=0", "--match", "v*")
    except NotComparableError:
        pass
    for branch in MAIN_BRANCHES:
        try:
            return _git(project, "merge-base", branch, "HEAD")[:12]
        except NotComparableError:
            continue
    raise NotComparableError(f"git has no release (a tag v...) and no main branch here; {FETCH}")


def read_base(project: Path, revision: str) -> Base:
    """The contract as it was generated at a revision.

    Raises ``NotComparableError`` where git does not have it, or what was generated then cannot be compared.
    """
    try:
        # A branch that moves meanwhile is still one contract.
        commit = _git(project, "rev-parse", "--verify", f"{revision}^{{commit}}")
    except NotComparableError as error:
        raise NotComparableError(f"git has no commit {revision!r} here; {FETCH}") from error
    listed = _git(project, "ls-tree", "--name-only", "-z", commit, f"{GENERATED}/", str(FILE)).split("\0")
    texts = {
        name: _run_git(project, "show", f"{commit}:./{name}") for name in listed if name.endswith((".json", ".yml"))
    }
    approvals = texts.pop(str(FILE), b"")
    if not texts:
        raise NotComparableError(f"{revision} has no {GENERATED}/*.json")
    try:
        approved = frozenset(entry.identity for entry in read_entries(approvals))
    except TidemarkError as error:
        raise NotComparableError(f"the approvals of {revision} cannot be read: {error}") from error
    return Base([_read_spec(text, f"{name} of {revision}") for name, text in texts.items()], approved)


def read_specs(project: Path) -> list[DatasetSpec]:
    """The contract as it is generated now."""
    return [
        _read_spec(path.read_bytes(), str(path.relative_to(project)))
        for path in sorted((project / GENERATED).glob("*.json"))
    ]


def _read_spec(text: bytes, name: str) -> DatasetSpec:
    """A landing spec, which another version may have written: it may lack what this one knows, or say more.

    Raises ``NotComparableError`` for what cannot be compared, such as a class that has no place in the order.
    """
    try:
        return DatasetSpec.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise NotComparableError(
            f"{name} cannot be compared: {where}: {fault['msg']}, not {fault['input']!r}"
        ) from error


def _git(project: Path, *arguments: str) -> str:
    return _run_git(project, *arguments).decode(errors="replace").strip()


def _run_git(project: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, check=False)
    except OSError as error:
        raise NotComparableError(f"git cannot be run in {project}: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split()) or "nothing"
        raise NotComparableError(f"`git {' '.join(arguments)}` says: {said}")
    return done.stdout
