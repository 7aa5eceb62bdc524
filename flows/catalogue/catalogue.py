"""The catalogue of this project, made once for each state of its files and kept beside what dbt makes of them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from flows.build.dbt import project_fingerprint
from flows.catalogue.record import ProjectRecord
from flows.errors import TidemarkError
from flows.settings import PROJECT

FOLDER = PROJECT / "target" / "catalogue"
LINEAGE, MODELS, RECORD = "lineage.html", "models.html", "project.json"
# The number of how it is written: a catalogue of another number is made again.
FORMAT = 2
# It takes about ten; one that takes so long hangs.
SECONDS = 300


@dataclass(frozen=True)
class Catalogue:
    """The folder with its pages, and what they say of each table."""

    folder: Path
    record: ProjectRecord


def project_catalogue() -> Catalogue:
    """The catalogue of the project as it is now, made where there is none of it: that takes some seconds.

    Raises :class:`TidemarkError` where it cannot be made, as where dbt cannot compile a model.
    """
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with FileLock(FOLDER / ".lock"):
            made = _read()
            if made is None or made.fingerprint != catalogue_fingerprint(PROJECT):
                _make()
                made = _read()
    except OSError as error:
        raise TidemarkError(f"the catalogue cannot be written to {FOLDER}: {error}") from error
    if made is None:
        raise TidemarkError(f"the catalogue in {FOLDER} cannot be read; delete the folder, and it is made again")
    return Catalogue(FOLDER, made)


def catalogue_fingerprint(project: Path) -> str:
    """A mark of all that the catalogue of a project is made from."""
    return f"{FORMAT}-{project_fingerprint(project)}"


def _read() -> ProjectRecord | None:
    try:
        return ProjectRecord.model_validate_json((FOLDER / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _make() -> None:
    """Make it in a process of its own: dbt is for one run in a process, and holds on to memory."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "flows.catalogue.write", str(FOLDER)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TidemarkError(f"the catalogue was not made within {SECONDS} seconds") from None
    if done.returncode:
        said = done.stderr.partition("error: ")[2].strip() or f"it ended with {done.returncode}"
        raise TidemarkError(f"the catalogue could not be made: {said}")
