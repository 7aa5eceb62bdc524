"""Where every process begins: in the code of the release that is active, or of this checkout where there is none.

A home has releases once `tidemark deploy` made one. From then on whatever works on that home is of the active release,
whoever starts it and wherever: an edited checkout changes nothing. An editable install imports the checkout, so a
process of a release is started with the release's folder before it in the path.

    tidemark ...                                the command
    python -P flows/entry.py MODULE [ARGUMENT...]    a program of the service

Imports next to nothing: each command pays for it.
"""

import fcntl
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

RELEASES = "releases"
CURRENT = "current"
# What a release says of itself; also a lock, shared by whoever runs the release, so that it is not removed meanwhile.
ABOUT = "release.json"
THIS = Path(__file__).resolve().parent.parent


def home() -> Path:
    """The home, as the settings have it."""
    return Path(os.environ.get("TIDEMARK_HOME") or "data")


def active_project(folder: Path) -> Path:
    """The project that runs on the home ``folder``: its active release, else the checkout that this code is of.

    Raises :class:`FileNotFoundError` where the active release is gone.
    """
    link = folder / RELEASES / CURRENT
    return link.resolve(strict=True) if link.is_symlink() else THIS


def environment_of(project: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment ``given``, in which Python imports ``project`` and no other release."""
    others = (path for path in given.get("PYTHONPATH", "").split(os.pathsep) if path)
    kept = [path for path in others if Path(path) not in (project, THIS) and not (Path(path) / ABOUT).exists()]
    return {**given, "PYTHONPATH": os.pathsep.join([str(project), *kept])}


def run_in(project: Path, *arguments: str) -> NoReturn:
    """Become Python with these arguments, in ``project``'s code."""
    try:
        held = os.open(project / ABOUT, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_SH)
        os.set_inheritable(held, True)
    except OSError:
        pass  # a checkout: nothing removes it
    os.execve(sys.executable, [sys.executable, *arguments], environment_of(project, os.environ))


def main() -> None:
    """The ``tidemark`` command. `deploy` alone is the checkout's own: it is how a release comes to be."""
    try:
        project = THIS if sys.argv[1:2] == ["deploy"] else active_project(home())
    except OSError as error:
        sys.exit(f"error: the active release is gone ({error}); `tidemark deploy` makes one, `--back` takes an earlier")
    if project != THIS:
        print(f"by release {project.name}, not by the checkout", file=sys.stderr)
        run_in(project, "-P", "-m", "flows.cli", *sys.argv[1:])
    from flows.cli import main as command  # noqa: PLC0415 (seconds, which a release would pay twice)

    command(prog_name="tidemark")


if __name__ == "__main__":
    project = active_project(home())
    os.chdir(project)
    run_in(project, "-m", *sys.argv[1:])
