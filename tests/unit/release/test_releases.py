"""A commit that is deployed is what works on the home, whatever the checkout holds; and one command goes back."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows import entry
from flows.cli import main
from flows.contract import spec as contract
from flows.errors import TidemarkError
from flows.release import releases
from flows.release.releases import deploy, describe_release, environment_differences, go_back, read_release_status
from flows.settings import Settings

# What the tests' project does: it says its version, and where it and its arguments come from.
COMMAND = """
import os, sys
from pathlib import Path

def main(**named):
    print("{version}", Path(__file__).resolve().parents[1].name, *sys.argv[1:])

if __name__ == "__main__":
    main()
"""
TRIAL = "print('tried'); raise SystemExit({code})"


class Checkout:
    """A project of a few files, with the real entry, in git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("__init__", "entry"):
            self.write(f"flows/{name}.py", Path(contract.PROJECT / "flows" / f"{name}.py").read_text())
        self.write("requirements.lock", "click>=1\n")
        self.write("flows/trial.py", TRIAL.format(code=0))
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, version: str) -> None:
        """Save another version, uncommitted."""
        self.write("flows/cli.py", COMMAND.format(version=version))

    def commit(self, version: str) -> str:
        self.edit(version)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"say {version}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path / "check out")
    monkeypatch.setattr(releases, "PROJECT", made.folder)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "ho me")


def quiet(line: str) -> None:
    """Nobody listens."""


def deployed(settings: Settings, revision: str = "HEAD") -> str:
    """Deploy; returns the release's name."""
    return deploy(settings, revision, quiet)[0].name


def said(checkout: Checkout, settings: Settings, *arguments: str, **environment: str) -> list[str]:
    """What `tidemark` says when it is started from the checkout, as an editable install does."""
    code = "from flows.entry import main; main()"
    given = {"TIDEMARK_HOME": str(settings.home), "PYTHONPATH": str(checkout.folder), **environment}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=checkout.folder, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_without_a_release_the_checkout_runs_as_it_is_saved(checkout: Checkout, settings: Settings) -> None:
    checkout.commit("one")
    checkout.edit("edited")
    assert said(checkout, settings, "status")[0] == "edited"


def test_a_release_runs_its_commit_whatever_the_checkout_holds(checkout: Checkout, settings: Settings) -> None:
    checkout.commit("one")
    checkout.edit("edited before")
    name = deployed(settings)
    checkout.edit("edited after")
    assert said(checkout, settings, "build", "--", "--select", "x") == ["one", name, "build", "--", "--select", "x"]
    (checkout.folder / "flows" / "cli.py").unlink()
    assert said(checkout, settings) == ["one", name]


def test_deploying_is_the_checkouts_own(checkout: Checkout, settings: Settings) -> None:
    checkout.commit("one")
    deployed(settings)
    checkout.edit("two")
    assert said(checkout, settings, "deploy")[0] == "two"


def test_a_program_started_by_the_link_is_wholly_of_the_active_release(checkout: Checkout, settings: Settings) -> None:
    checkout.commit("one")
    first = deployed(settings)
    checkout.commit("two")
    deployed(settings)
    go_back(settings)
    checkout.edit("three")
    script = releases.active_path(settings) / "flows" / "entry.py"
    # As a process of another release has it, which is found before what else there is.
    path = os.pathsep.join([str(checkout.folder), str(settings.releases / first)])
    given = {"TIDEMARK_HOME": str(settings.home), "PYTHONPATH": path}
    command = [sys.executable, "-P", str(script), "flows.cli"]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["one", first]


def test_the_environment_has_one_release_and_keeps_the_rest(checkout: Checkout, settings: Settings) -> None:
    checkout.commit("one")
    first = settings.releases / deployed(settings)
    checkout.commit("two")
    second = settings.releases / deployed(settings)
    given = {"PYTHONPATH": os.pathsep.join([str(first), "/their/own"]), "OTHER": "1"}
    path = os.pathsep.join([str(second), "/their/own"])
    assert entry.environment_of(second, given) == {"PYTHONPATH": path, "OTHER": "1"}


def test_going_back_is_to_what_was_replaced_however_often_it_changed(checkout: Checkout, settings: Settings) -> None:
    checkout.commit("one")
    first = deployed(settings)
    checkout.commit("two")
    second = deployed(settings)
    release, left = go_back(settings)
    assert (release.name, left and left.name) == (first, second)
    checkout.commit("three")
    deployed(settings)
    assert go_back(settings)[0].name == first, "the second was left for a reason"
    with pytest.raises(TidemarkError, match="is the first release"):
        go_back(settings)
    assert said(checkout, settings)[0] == "one"


def test_an_active_release_that_is_gone_is_reported_and_can_be_gone_back_from(
    checkout: Checkout, settings: Settings
) -> None:
    checkout.commit("one")
    first = deployed(settings)
    checkout.commit("two")
    second = deployed(settings)
    shutil.rmtree(settings.releases / second)
    assert f"release {second} cannot be read" in str(read_release_status(settings).note)
    with pytest.raises(AssertionError, match="the active release is gone"):
        said(checkout, settings, "status")
    assert go_back(settings) == (releases.active_release(settings), None)
    assert said(checkout, settings) == ["one", first]


def test_what_is_deployed_already_is_not_deployed_again(checkout: Checkout, settings: Settings) -> None:
    commit = checkout.commit("one")
    name = deployed(settings)
    release, is_new = deploy(settings, commit, quiet)
    assert (release.name, is_new) == (name, False)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        (
            "flows/trial.py",
            "print('3 tests failed'); raise SystemExit(1)",
            "was not deployed.*: 3 tests failed",
        ),
        ("flows/trial.py", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was not deployed"),
        ("requirements.lock", "click==0.1 \\\n    --hash=sha256:00\n", r"click==0.1 \(\S+ is there\).*make install"),
    ],
)
def test_what_does_not_pass_is_not_deployed(
    checkout: Checkout, settings: Settings, name: str, text: str, error: str
) -> None:
    checkout.commit("one")
    first = deployed(settings)
    there = {path.name for path in settings.releases.iterdir()}
    checkout.write(name, text)
    checkout.commit("two")
    with pytest.raises(TidemarkError, match=error):
        deployed(settings)
    assert said(checkout, settings) == ["one", first]
    assert {path.name for path in settings.releases.iterdir()} == there, "nothing of it is left"


def test_a_check_knows_nothing_of_the_home(
    checkout: Checkout, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PSEUDONYM_KEY", "CHANNELS", "TARGET"):
        monkeypatch.setenv(f"TIDEMARK_{name}", "theirs")
    monkeypatch.setenv("TIDEMARK_THREADS", "3")
    monkeypatch.setenv("TIDEMARK_MEMORY_LIMIT", "1GB")
    checkout.write("flows/trial.py", "import os\nfor n in sorted(os.environ):\n    print(n, os.environ[n])")
    checkout.commit("one")
    lines: list[str] = []
    deploy(settings, "HEAD", lines.append)
    ours = dict(line.split(" ", 1) for line in lines if line.startswith("TIDEMARK_"))
    home = Path(ours.pop("TIDEMARK_HOME"))
    assert ours == {"TIDEMARK_THREADS": "3", "TIDEMARK_MEMORY_LIMIT": "1GB", "TIDEMARK_SETTLE_SECONDS": "0"}
    assert home != settings.home and not home.exists()


def test_a_revision_that_cannot_be_served_is_reported(checkout: Checkout, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="git rev-parse"):
        deployed(settings, "no-such-branch")
    (checkout.folder / "flows" / "entry.py").unlink()
    checkout.commit("none")
    with pytest.raises(TidemarkError, match="is older than `tidemark deploy`"):
        deployed(settings)
    with pytest.raises(TidemarkError, match="no release was deployed"):
        go_back(settings)


def test_a_folder_without_git_is_reported(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(TidemarkError, match="not a git repository"):
        deployed(settings)
    assert releases.code_revision(tmp_path) is None


def test_the_newest_are_kept_and_what_runs_or_can_be_gone_back_to(
    checkout: Checkout, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "KEEP", 1)

    def deploy_next(number: int) -> str:
        checkout.commit(str(number))
        return deployed(settings)

    def kept() -> list[str]:
        return [release.name for release in releases.kept_releases(settings)]

    first = deploy_next(1)
    with (settings.releases / first / entry.ABOUT).open() as runs:
        fcntl.flock(runs, fcntl.LOCK_SH)
        second, third = deploy_next(2), deploy_next(3)
        assert kept() == [first, second, third], "a process runs the first, and the third replaced the second"
    fourth = deploy_next(4)
    assert kept() == [third, fourth]
    go_back(settings)
    fifth = deploy_next(5)
    assert kept() == [third, fifth]


def test_a_killed_deployment_leaves_nothing_for_long(checkout: Checkout, settings: Settings) -> None:
    left = settings.releases / ".deploying-1" / "20260101T000000Z-0000000"
    left.mkdir(parents=True)
    (left / entry.ABOUT).write_text("{}")
    assert releases.kept_releases(settings) == []
    checkout.commit("one")
    deployed(settings)
    assert not left.exists()


def test_status_says_how_the_checkout_differs(checkout: Checkout, settings: Settings) -> None:
    now = datetime.now(UTC) + timedelta(hours=2, minutes=1)
    first = checkout.commit("one")
    [line] = describe_release(read_release_status(settings), now)
    assert line == f"none: what is saved in {checkout.folder} is live; `tidemark deploy` serves a commit"
    release, _ = deploy(settings, "HEAD", quiet)
    active, same = describe_release(read_release_status(settings), now)
    assert active == f'{release.name} (commit {first[:7]}, "say one"), active for 2 h 0 min'
    assert same == f"the checkout {checkout.folder} is the same"
    checkout.commit("two")
    checkout.edit("three")
    _, ahead = describe_release(read_release_status(settings), now)
    assert ahead == f"the checkout {checkout.folder} has 1 more commit and 1 edited file not committed: not live"
    checkout.git("stash")
    checkout.git("reset", "--quiet", "--hard", first)
    checkout.git("commit", "--quiet", "--amend", "--message", "another")
    _, beside = describe_release(read_release_status(settings), now)
    assert beside == f"the checkout {checkout.folder} is at a commit that does not follow it"
    shutil.rmtree(checkout.folder)
    assert "is not known: git cannot be run in" in describe_release(read_release_status(settings), now)[1]


def test_a_versions_revision_is_that_of_the_release(checkout: Checkout, settings: Settings) -> None:
    commit = checkout.commit("one")
    name = deployed(settings)
    checkout.commit("two")
    checkout.edit("three")
    assert releases.code_revision(settings.releases / name) == commit
    assert releases.code_revision(checkout.folder) == f"{checkout.git('rev-parse', 'HEAD')}+changes"


def test_the_environment_is_compared_with_the_whole_lock() -> None:
    lock = """
click>=8 \\
    --hash=sha256:00
no-such-package==1.0 ; python_version < '3'
also-not-there==2.0 \\
    --hash=sha256:00
pydantic==0.0.1
"""
    found = environment_differences(lock)
    assert [line.split(" (")[0] for line in found] == ["also-not-there==2.0", "pydantic==0.0.1"]
    assert environment_differences((contract.PROJECT / "requirements.lock").read_text()) == []


def test_the_command_says_what_is_live_and_what_is_left_out(checkout: Checkout, settings: Settings) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["deploy", *arguments], env={"TIDEMARK_HOME": str(settings.home)})
        assert done.exit_code == code, done.output
        return " ".join(done.output.split())

    checkout.commit("one")
    run()
    checkout.commit("two")
    checkout.edit("three")
    output = run("HEAD")
    assert "say two" in output and "1 edited file " in output and "`tidemark deploy --back`" in output
    assert "is active already" in run()
    assert "say one" in run("--back") and "say one" in json.dumps(
        read_release_status(settings).active.__dict__, default=str
    )
    assert "--back takes no REVISION" in run("HEAD", "--back", code=2)
