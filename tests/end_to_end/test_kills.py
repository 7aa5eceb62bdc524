"""`tidemark` killed again and again on the sample lake: the next run finishes what was left, and nobody notices."""

import itertools
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import duckdb
import pytest

from flows import cli
from flows.build.build import Build
from flows.build.warehouse import open_warehouse
from flows.land.land import Landing
from flows.publish.manifest import current_version, read_manifest
from flows.publish.publish import MANIFEST, Publication
from flows.settings import Settings
from tests.support.lake import Lake
from tests.support.lakes import marts_of
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER
from tests.support.sample_lake import settings_of

PHASES = ("land", "build", "publish")
COMMITS = {"os.rename", "os.symlink"}  # as Python's audit hooks name them


def _tidemark(home: Path, arguments: list[str], output: Path, below: Path | None, commits: int) -> None:
    """The console command, in a process group of its own, writing what it does to a file. It is killed just before it
    renames or links something for the ``commits``-th time below a folder, if one is given."""
    left = itertools.count(commits, -1)

    def on_audit(happens: str, values: tuple[object, ...]) -> None:
        if happens in COMMITS and any(str(v).startswith(str(below)) for v in values) and next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    if below is not None:
        sys.addaudithook(on_audit)
    os.setsid()
    with output.open("xb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {"TIDEMARK_HOME": str(home), "TIDEMARK_SETTLE_SECONDS": "0"}
    cli.main(arguments)


class Lakeside:
    """A lake whose runs are killed."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.kills: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._output = settings.home.with_name("output")
        self._unfinished: set[Path] = set()
        # Seconds into a phase within which it is killed: how fast the machine is, the kills that come too late tell.
        self._within = {"land": 0.4, "build": 4.0, "publish": 0.2}
        # The same for kills between two commits, renames and links: random moments hardly ever hit some of these.
        self._commits = {"land": 8.0, "publish": 4.0}

    def tidemark(self, *arguments: str) -> None:
        """Run the command to its end."""
        process = self._start(arguments)
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0, self._output.read_text()

    def kill_in(self, phase: str) -> None:
        """Start a run and kill it at a random moment of this phase, or of the next where this one was quick."""
        arguments = ["publish", "--force"] if phase == "publish" and self._chance.random() < 0.5 else ["run"]
        process = self._start(arguments)
        until = time.monotonic() + PATIENCE_SECONDS
        while process.is_alive() and PHASES.index(self._phase()) < PHASES.index(phase):
            assert time.monotonic() < until, self._output.read_text()
            time.sleep(0.002)
        process.join(self._chance.uniform(0, self._within[phase]))
        reached = self._phase()
        with suppress(ProcessLookupError):  # it is done
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), self._output.read_text()
        killed = process.exitcode != 0
        self.kills[reached] += killed
        self._within[phase] *= 1.1 if killed and reached == phase else 0.6
        self.assert_current_is_whole()

    def kill_between_commits(self, phase: str) -> None:
        """Start this phase alone and kill it just before one of its commits."""
        below = self.settings.lake if phase == "land" else self.settings.published
        arguments = ["publish", "--force"] if phase == "publish" else ["land"]
        process = self._start(arguments, below, self._chance.randint(1, round(self._commits[phase])))
        process.join(PATIENCE_SECONDS)
        assert process.exitcode in (0, -signal.SIGKILL), self._output.read_text()
        killed = process.exitcode != 0
        self.kills[phase] += killed
        self._commits[phase] = max(1.0, self._commits[phase] * (1.1 if killed else 0.6))
        self.assert_current_is_whole()

    def _start(self, arguments: Sequence[str], below: Path | None = None, commits: int = 0) -> BaseProcess:
        self._output.unlink(missing_ok=True)
        self._unfinished = self._without_manifest()
        given = (self.settings.home, [*arguments], self._output, below, commits)
        process = FORKSERVER.Process(target=_tidemark, args=given)
        process.start()
        while process.is_alive() and not self._output.exists():
            time.sleep(0.001)
        return process

    def _phase(self) -> str:
        """How far the run is, by what it has printed and by the version it is making."""
        if self._without_manifest() - self._unfinished:
            return "publish"
        return "build" if "new landings entered" in self._output.read_text() else "land"

    def _without_manifest(self) -> set[Path]:
        return {path for path in self.settings.published.glob("[0-9]*") if not (path / MANIFEST).exists()}

    def assert_current_is_whole(self) -> None:
        """What readers see, if anything yet, opens and holds what its manifest says."""
        version = current_version(self.settings)
        if version is None:
            return
        path = self.settings.published / version / "marts.duckdb"
        with duckdb.connect(str(path), read_only=True) as marts:
            found = {
                table.name: marts.execute(f"select count(*) from {table.name}").fetchall()
                for table in read_manifest(self.settings, version).tables
            }
        expected = {table.name: [(table.rows,)] for table in read_manifest(self.settings, version).tables}
        assert found == expected

    def assert_nothing_twice(self) -> None:
        """Every delivered file has one receipt, and every batch its rows in the warehouse once."""
        receipts = Lake(self.settings.home).receipts()
        inbox = self.settings.inbox
        delivered = {str(path.relative_to(inbox)) for path in inbox.rglob("*") if path.is_file()}
        assert Counter(receipt.file for receipt in receipts if receipt.sha256) == Counter(delivered)
        # What rows tell of consent is of no file, and is told twice where a kill came in between: it changes nothing.
        assert {receipt.dataset for receipt in receipts if not receipt.sha256} == {"consents"}
        with open_warehouse(self.settings, read_only=True) as warehouse:
            for dataset in {receipt.dataset for receipt in receipts}:
                rows = warehouse.execute(f"select _batch_id, count(*) from raw.raw_{dataset} group by all").fetchall()
                landed = {r.batch_id: r.rows_landed for r in receipts if r.dataset == dataset and r.rows_landed}
                assert dict(rows) == landed
            entered = warehouse.execute("select batch_id from landed.landings order by all").fetchall()
        assert entered == [(receipt.batch_id,) for receipt in receipts]


def kinds_of_files(home: Path) -> set[str]:
    """The files and folders below, without the numbers in their names. What dbt keeps for itself is not ours to judge:
    which of its artifacts it writes depends on what it finds parsed."""
    dbts = home / "warehouse" / "target"
    return {re.sub(r"[\d+]+", "#", str(path.relative_to(home))) for path in home.rglob("*") if dbts not in path.parents}


def portions_of(inbox: Path) -> list[list[Path]]:
    """The delivered files of each day."""
    days: dict[str, list[Path]] = {}
    for path in sorted(p for p in inbox.rglob("*") if p.is_file()):
        days.setdefault(re.findall(r"\d{4}-\d\d-\d\d", str(path.relative_to(inbox)))[0], []).append(path)
    return [files for _, files in sorted(days.items())]


def live(calm: Settings, home: Path, kills: dict[str, int], seed: int) -> Lakeside:
    """The calm lake's files again, day by day, with a number of kills a day in each phase."""
    lakeside = Lakeside(settings_of(home), seed)
    lakeside.settings.key_file("pseudonym").parent.mkdir(parents=True)
    shutil.copy(
        calm.key_file("pseudonym"), lakeside.settings.key_file("pseudonym")
    )  # the same keys of people and devices
    for day, portion in enumerate(portions_of(calm.inbox), start=1):
        for path in portion:
            target = lakeside.settings.inbox / path.relative_to(calm.inbox)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        # Every other day begins with nothing built or published of the day before but what killed runs got done.
        for phase in PHASES if day % 2 == 0 else PHASES[:2]:
            if phase == "publish":
                lakeside.tidemark("build")
            wanted = kills[phase] * day
            for attempt in range(10 * wanted):
                if lakeside.kills[phase] >= wanted:
                    break
                if attempt % 2 and phase != "build":
                    lakeside.kill_between_commits(phase)
                else:
                    lakeside.kill_in(phase)
    lakeside.tidemark("run")
    return lakeside


def assert_undisturbed(lakeside: Lakeside, calm: Settings) -> None:
    """Nothing is missing, nothing is there twice, nothing is left over."""
    assert marts_of(lakeside.settings) == marts_of(calm)
    assert lakeside.settings.published.joinpath("current").exists()
    lakeside.assert_current_is_whole()
    lakeside.assert_nothing_twice()
    Lake(lakeside.settings.home).assert_whole()
    assert kinds_of_files(lakeside.settings.home) - kinds_of_files(calm.home) == set()
    for version in lakeside.settings.published.glob("[0-9]*"):
        assert (version / MANIFEST).exists()


def test_runs_killed_at_random_moments_come_to_the_same(
    sample_run: tuple[Settings, Landing, Build, Publication], tmp_path: Path
) -> None:
    calm = sample_run[0]
    lakeside = live(calm, tmp_path / "home", {"land": 2, "build": 2, "publish": 2}, seed=1)
    assert min(lakeside.kills[phase] for phase in PHASES) >= 5, lakeside.kills
    assert lakeside.kills.total() >= 20, lakeside.kills
    assert_undisturbed(lakeside, calm)


@pytest.mark.long
def test_runs_killed_hundreds_of_times_come_to_the_same(
    sample_run: tuple[Settings, Landing, Build, Publication], tmp_path: Path
) -> None:
    calm = sample_run[0]
    lakeside = live(calm, tmp_path / "home", {"land": 20, "build": 30, "publish": 20}, seed=2)
    assert min(lakeside.kills[phase] for phase in PHASES) >= 10, lakeside.kills
    assert lakeside.kills.total() >= 250, lakeside.kills
    assert_undisturbed(lakeside, calm)
