"""Releases: commits of the project, each in a folder of its own below the home, of which one is active.

`tidemark deploy` takes a commit, never the edits of a checkout: it copies the commit's files to a folder, has them
checked by their own code (:mod:`flows.trial`), and then makes them active by one rename of the link
``current``. Each process runs the release that was active when it began (:mod:`flows.entry`); those of the service look
whether another is by now, and restart once their work is done. Releases share the Python environment that deployed
them.
"""

import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock
from packaging.requirements import Requirement

from flows.clock import duration
from flows.contract.spec import PROJECT
from flows.entry import ABOUT, CURRENT, active_project, environment_of
from flows.errors import TidemarkError
from flows.settings import Settings
from flows.text import counted

# The newest are kept, and whatever runs or `--back` needs.
KEEP = 5
LOCK_FILE = "requirements.lock"
# What a check is not to know of the home: where alerts go, the key, the server.
KEPT_SETTINGS = ("TIDEMARK_THREADS", "TIDEMARK_MEMORY_LIMIT")


@dataclass(frozen=True)
class Release:
    """A commit that was deployed. ``replaces`` is the release that was active before it, None for the first;
    ``checkout`` the folder it was taken from."""

    name: str
    commit: str
    subject: str
    deployed_at: datetime
    checkout: str
    replaces: str | None

    def __str__(self) -> str:
        return f'{self.name} (commit {self.commit[:7]}, "{self.subject}")'


@dataclass(frozen=True)
class ReleaseStatus:
    """What runs on a home: the ``active`` release, None where that is the checkout as it is saved.

    ``ahead`` counts the commits that the checkout has after the release, None where it does not descend from it;
    ``edited`` its files that are not committed. ``note`` says why these are not known, or that the release is gone.
    """

    active: Release | None
    since: datetime | None
    checkout: str
    ahead: int | None = None
    edited: int = 0
    note: str | None = None


def is_outdated(settings: Settings) -> bool:
    """Whether another release than the one this process runs is active by now."""
    try:
        return active_project(settings.home) != PROJECT
    except OSError:  # gone; there is nothing better to run
        return False


def active_path(settings: Settings) -> Path:
    """The path of whatever project is active when it is used: what is started by it is of that one."""
    link = settings.releases.absolute() / CURRENT
    return link if link.is_symlink() else PROJECT


def active_release(settings: Settings) -> Release | None:
    """The active release, None where there is none. Raises :class:`TidemarkError` where it is named and gone."""
    link = settings.releases / CURRENT
    return _read(settings, link.readlink().name) if link.is_symlink() else None


def deploy(settings: Settings, revision: str, progress: Callable[[str], None]) -> tuple[Release, bool]:
    """Check a commit of this checkout and make it the active release; returns it, and whether it was not so before.

    Raises :class:`TidemarkError` where it cannot be, and what was active stays so.
    """
    with _deploying(settings):
        commit = _git(PROJECT, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
        before = _active_or_none(settings)
        if before and before.commit == commit:
            return before, False
        now = datetime.now(UTC)
        release = Release(
            name=f"{now:%Y%m%dT%H%M%SZ}-{commit[:7]}",
            commit=commit,
            subject=_git(PROJECT, "log", "-1", "--format=%s", commit),
            deployed_at=now,
            checkout=str(PROJECT),
            replaces=before.name if before else None,
        )
        with TemporaryDirectory(dir=settings.releases, prefix=".deploying-") as folder:
            files, scratch = Path(folder) / release.name, Path(folder) / "home"
            copy_of_commit(commit, files)
            _check_environment(release, files)
            (files / ABOUT).write_text(json.dumps(asdict(release), indent=2, default=datetime.isoformat) + "\n")
            progress(f'checking commit {commit[:7]}, "{release.subject}", on a sample in a home of its own')
            _try(release, files, scratch, progress)
            os.sync()  # or a release might be active, after a power cut, of which files are empty
            files.rename(settings.releases / release.name)
        _activate(settings, release.name)
        _remove_old(settings, release)
        return release, True


def go_back(settings: Settings) -> tuple[Release, Release | None]:
    """Make the release active again that the active one replaced; returns it, and the one that was active.

    Raises :class:`TidemarkError` where there is none.
    """
    with _deploying(settings):
        link = settings.releases / CURRENT
        if not link.is_symlink():
            raise TidemarkError(f"no release was deployed to {settings.home}; `tidemark deploy` makes the first")
        left = _active_or_none(settings)
        if left is None:  # its folder is gone, and with it the word of what it replaced
            others = kept_releases(settings)
            before = others[-1].name if others else None
        else:
            before = left.replaces
        if before is None:
            raise TidemarkError(
                f"{link.readlink().name} is the first release; `tidemark deploy REVISION` takes any commit"
            )
        release = _read(settings, before)
        _check_environment(release, settings.releases / release.name)
        _activate(settings, release.name)
        return release, left


def kept_releases(settings: Settings) -> list[Release]:
    """The releases there are, the oldest first."""
    folders = [about.parent for about in settings.releases.glob(f"*/{ABOUT}") if not about.parent.is_symlink()]
    return sorted((_read(settings, folder.name) for folder in folders), key=lambda release: release.deployed_at)


def read_release_status(settings: Settings) -> ReleaseStatus:
    """What runs on this home, and how the checkout differs from it; writes nothing."""
    link = settings.releases / CURRENT
    try:
        active = active_release(settings)
    except TidemarkError as error:
        return ReleaseStatus(None, None, str(PROJECT), note=str(error))
    if active is None:
        return ReleaseStatus(None, None, str(PROJECT))
    checkout = Path(active.checkout)
    since = datetime.fromtimestamp(link.lstat().st_mtime, UTC)
    try:
        edited = len(_git(checkout, "--no-optional-locks", "status", "--porcelain", ".").splitlines())
        ahead = _commits_ahead(checkout, active.commit)
    except TidemarkError as error:
        return ReleaseStatus(active, since, str(checkout), note=str(error))
    return ReleaseStatus(active, since, str(checkout), ahead, edited)


def describe_release(status: ReleaseStatus, now: datetime) -> list[str]:
    """The status in lines for people."""
    if status.active is None or status.since is None:
        return [status.note or f"none: what is saved in {status.checkout} is live; `tidemark deploy` serves a commit"]
    lines = [f"{status.active}, active for {duration(now - status.since)}"]
    if status.note:
        return [*lines, f"how the checkout differs is not known: {status.note}"]
    edits = f" and {counted(status.edited, 'edited file')} not committed" if status.edited else ""
    if status.ahead is None:
        lines.append(f"the checkout {status.checkout} is at a commit that does not follow it{edits}")
    elif status.ahead or status.edited:
        lines.append(f"the checkout {status.checkout} has {counted(status.ahead, 'more commit')}{edits}: not live")
    else:
        lines.append(f"the checkout {status.checkout} is the same")
    return lines


def code_revision(project: Path = PROJECT) -> str | None:
    """The commit of a project's code, with '+changes' where files differ from it; None where that is not known."""
    if (project / ABOUT).exists():
        return str(json.loads((project / ABOUT).read_text())["commit"])
    try:
        changes = _git(project, "status", "--porcelain")
        return _git(project, "rev-parse", "HEAD") + ("+changes" if changes else "")
    except TidemarkError:
        return None


@contextmanager
def _deploying(settings: Settings) -> Iterator[None]:
    """One at a time. What a killed one left is removed."""
    settings.releases.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.releases / ".lock"):
        for left in settings.releases.glob(".deploying-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _read(settings: Settings, name: str) -> Release:
    try:
        said: dict[str, Any] = json.loads((settings.releases / name / ABOUT).read_text())
        return Release(**said | {"deployed_at": datetime.fromisoformat(said["deployed_at"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TidemarkError(
            f"release {name} cannot be read ({error}); `tidemark deploy REVISION` makes one of any commit"
        ) from error


def _active_or_none(settings: Settings) -> Release | None:
    try:
        return active_release(settings)
    except TidemarkError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    return _run_git(folder, *arguments).decode(errors="replace").strip()


def _run_git(folder: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True).stdout
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())
        raise TidemarkError(f"`git {' '.join(arguments)}` in {folder} says: {said}") from error
    except OSError as error:
        raise TidemarkError(f"git cannot be run in {folder}: {error}") from error


def _commits_ahead(checkout: Path, commit: str) -> int | None:
    """How many commits ``HEAD`` has after ``commit``; None where it does not descend from it."""
    behind, ahead = _git(checkout, "rev-list", "--left-right", "--count", f"{commit}...HEAD").split()
    return int(ahead) if behind == "0" else None


def copy_of_commit(commit: str, target: Path) -> None:
    """Write the files of a commit into a new folder, as git has them.

    Raises :class:`TidemarkError` where it is not in this clone, or is none of this project that can be run so.
    """
    target.mkdir()
    with tarfile.open(fileobj=io.BytesIO(_run_git(PROJECT, "archive", "--format=tar", commit))) as archive:
        archive.extractall(target, filter="data")
    if not (target / "flows" / "entry.py").exists():
        raise TidemarkError(
            f"commit {commit[:7]} is older than `tidemark deploy`, or is not of this project; to serve it, check it out"
        )


def _check_environment(release: Release, files: Path) -> None:
    """Raise where this Python environment is not the one that a release is locked to: releases share it."""
    if differs := environment_differences((files / LOCK_FILE).read_text()):
        more = f" and {len(differs) - 5} more" if len(differs) > 5 else ""
        raise TidemarkError(
            f"release {release} needs other packages than {sys.prefix} has: {', '.join(differs[:5])}{more}. All "
            f"releases share it: check that commit's {LOCK_FILE} out, `make install`, and deploy again"
        )


def environment_differences(lock: str) -> list[str]:
    """What of a lock this Python environment has not, or in another version."""
    differs = []
    for line in lock.splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        wanted = Requirement(line.rstrip("\\ "))
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            differs.append(f"{wanted.name}{wanted.specifier} (missing)")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            differs.append(f"{wanted.name}{wanted.specifier} ({found} is there)")
    return differs


def _try(release: Release, files: Path, scratch: Path, progress: Callable[[str], None]) -> None:
    """Have a release checked by its own code, in a home of its own. Raises where it does not pass."""
    given = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK_") or k in KEPT_SETTINGS}
    given |= {"TIDEMARK_HOME": str(scratch.resolve()), "TIDEMARK_SETTLE_SECONDS": "0"}
    line = ""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.trial"],
        cwd=files,
        env=environment_of(files.resolve(), given),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            progress(line.rstrip())
    if process.returncode:
        goes_on = (
            f"release {release.replaces} goes on serving"
            if release.replaces
            else "the checkout goes on serving AS IT IS, so fix it there"
        )
        raise TidemarkError(
            f'commit {release.commit[:7]}, "{release.subject}", did not pass its check and was not deployed; '
            f"{goes_on}: {line.strip()}"
        )


def _activate(settings: Settings, name: str) -> None:
    """Let the link name a release, by one rename."""
    link = settings.releases / f".{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.rename(settings.releases / CURRENT)


def _remove_old(settings: Settings, active: Release) -> None:
    """Remove releases beyond the newest, but none that `--back` needs or a process still runs."""
    for old in kept_releases(settings)[:-KEEP]:
        if old.name in (active.name, active.replaces):
            continue
        folder = settings.releases / old.name
        with (folder / ABOUT).open() as about:
            try:
                fcntl.flock(about, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(folder, ignore_errors=True)
