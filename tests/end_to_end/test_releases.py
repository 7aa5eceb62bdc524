"""A served home goes on with its release while the checkout is edited, takes up a new one without a stop, and back."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.contract.spec import PROJECT
from flows.release import releases
from tests.support.patience import until
from tests.support.served import Served

MODEL = "models/ops/ops_rejects.sql"
SCHEDULE = '''
"""The one job of the tests."""
from flows.contract.spec import load_specs
from flows.orchestrate.job import Arrival, Build, Job, Publish
from flows.orchestrate.validate import validate

RETIRED_SOURCES: frozenset[str] = frozenset()
JOBS = (Job("refine", "Builds what landed.", (Build(), Publish()), "data-platform", Arrival(tuple(load_specs()))),)
validate(JOBS)
'''
BROKEN = "select this is no SQL from nowhere"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A checkout in git, whose trial takes no time, deployed and served."""
    made = Served(tmp_path, SCHEDULE)
    try:
        (made.project / "requirements.lock").write_text((PROJECT / "requirements.lock").read_text())
        (made.project / "flows" / "trial.py").write_text("print('tried')\n")
        (made.project / ".gitignore").write_text("__pycache__/\n")
        git(made, "init", "--quiet")
        commit(made, "first")
        deploy(made)
        made.start()
        yield made
    finally:
        made.stop()


def git(served: Served, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=served.project, check=True, capture_output=True)


def commit(served: Served, message: str) -> None:
    git(served, "add", "--all")
    git(served, "commit", "--quiet", "--message", message)


def deploy(served: Served, *arguments: str) -> str:
    """Deploy; returns the active release's name."""
    done = served.tidemark("deploy", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return releases.active_path(served.settings).resolve().name


def programs_run(served: Served, release: str) -> bool:
    """Whether each program that can change its release runs this one: its folder says which."""
    return all(folder_of(served.pid(name)) == release for name in ("warm", "worker", "watcher"))


def folder_of(pid: int | None) -> str | None:
    """The folder a program runs in; nothing of one that has ended, which is what changing a release looks like."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink().name
    except OSError:
        return None


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="there is no /proc to see what a program runs")
def test_the_service_runs_releases_and_never_the_edits_of_the_checkout(served: Served) -> None:
    first = releases.active_path(served.settings).resolve().name
    whole = (served.project / MODEL).read_text()
    (served.project / MODEL).write_text(BROKEN)
    served.settle(*served.deliver())
    manifest = served.manifest()
    assert manifest and not manifest.stale
    assert manifest.git_revision and manifest.git_revision.startswith(first.rpartition("-")[2])
    until(lambda: programs_run(served, first))
    status = served.tidemark("status")
    assert first in status.stdout and "1 edited file not committed" in status.stdout

    (served.project / MODEL).write_text(f"-- another version\n{whole}")
    (served.project / "models" / "marts" / "audience" / "dim_news.sql").write_text("select 'news' as product\n")
    config = "{contract: {enforced: false}, access: protected, group: audience, meta: {visibility: restricted}}"
    yml = f"models: [{{name: dim_news, config: {config}}}]\n"
    (served.project / "models" / "marts" / "audience" / "dim_news.yml").write_text(yml)
    commit(served, "second")
    server = served.pid("server")
    served.deliver()
    at_work = served.await_build()
    second = deploy(served)
    # At once, before programs have noticed: a run that begins now is of the new release all the same.
    served.settle(*served.deliver())
    assert next(run.status for run in served.journal("refine") if run.run_id == at_work.run_id) == "succeeded"
    assert served.query("select product from dim_news") == [("news",)]
    until(lambda: programs_run(served, second))
    assert served.pid("server") == server, "the pages never went"

    assert deploy(served, "--back") == first
    served.settle(*served.deliver())
    assert "dim_news" not in {table.name for table in (served.manifest() or manifest).tables}
    until(lambda: programs_run(served, first))
