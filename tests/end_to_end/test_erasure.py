"""Somebody of the sample is erased: gone from every byte, for good; all others as if that person had never been."""

import io
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import cli
from flows.audit.audit import audit
from flows.build import dbt as dbt_module
from flows.build.build import Build
from flows.build.warehouse import open_warehouse
from flows.errors import TidemarkError
from flows.keys import load_key
from flows.land.compact import compact
from flows.land.land import Landing, land
from flows.land.pseudonyms import Kind
from flows.land.repartition import repartition
from flows.privacy.erase import erase
from flows.privacy.identity import Given
from flows.privacy.renew import NotRenewedError
from flows.privacy.requests import Queue, State
from flows.publish.publish import Publication, publish
from flows.publish.views import versions
from flows.run import run
from flows.settings import Settings
from tests.support.erased import (
    copied,
    deliver_all_again,
    devices_of,
    key_in,
    keys_landed,
    places_of,
    without_what_is_built,
)
from tests.support.lakes import marts_of, tidemark
from tests.support.object_store import ObjectStore, refusal, served_object_store
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER
from tests.support.workshop import Workshop

Run = tuple[Settings, Landing, Build, Publication]
Marts = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True)
class Somebody:
    """A person of the sample, as their sources name them, and their pseudonyms."""

    account: str
    user: str
    devices: frozenset[str]
    keys: frozenset[UUID]

    @property
    def ids(self) -> tuple[Given, ...]:
        return Given(Kind.ACCOUNT, self.account), Given(Kind.USER, self.user)


@dataclass(frozen=True)
class Erased:
    """A home from which somebody was erased by a real process: what it printed, and the marts of before."""

    settings: Settings
    said: str
    before: Marts


@pytest.fixture(scope="module")
def somebody(sample_run: Run) -> Somebody:
    """Whoever was logged in on the most devices. In the sample, nobody else is on them."""
    settings = sample_run[0]
    of_users = devices_of(settings)
    user = max(sorted(of_users), key=lambda user: len(of_users[user]))
    account, devices = f"k{user[1:]}", of_users[user]
    keys = {key_in(settings, Kind.DEVICE, device) for device in devices}
    keys |= {key_in(settings, Kind.USER, user), key_in(settings, Kind.ACCOUNT, account)}
    return Somebody(account, user, frozenset(devices), frozenset(keys))


@pytest.fixture(scope="module")
def erased(sample_run: Run, somebody: Somebody, tmp_path_factory: pytest.TempPathFactory) -> Erased:
    settings = copied(sample_run[0], tmp_path_factory.mktemp("erased") / "home")
    publish(settings, force=True)  # two versions, of which one would tell by the other
    with open_warehouse(settings) as warehouse:
        warehouse.execute("create table marts.fct_of_before as select * from marts.fct_sessions")
    before = marts_of(settings)
    done = tidemark(settings.home, "erase", "--account", somebody.account, "--device", min(somebody.devices), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    return Erased(settings, done.stdout + done.stderr, before)


def ask(settings: Settings, somebody: Somebody) -> None:
    Queue(settings).receive([somebody.ids], with_shared=False)


def assert_gone(settings: Settings, somebody: Somebody) -> None:
    assert [request.state for request in Queue(settings).all() if request.is_open] == []
    assert places_of(settings, {*somebody.keys}) == []
    assert audit(settings).findings == []


def assert_as_built_at_once(settings: Settings, home: Path) -> None:
    """The marts are those of a new warehouse built from the same lake."""
    again = without_what_is_built(copied(settings, home))
    done = run(again)
    assert done.is_good, done.build and done.build.failed
    assert marts_of(again) == marts_of(settings)


def test_there_was_somebody_to_erase(erased: Erased, somebody: Somebody, sample_run: Run) -> None:
    """What the others look for was there, or they could not fail."""
    found = places_of(sample_run[0], {*somebody.keys})
    assert {name.split("/")[0] for name in found} == {"lake", "warehouse", "published"}
    assert len(somebody.devices) > 1
    assert "1 person" in erased.said


def test_the_marts_are_those_of_a_new_warehouse(erased: Erased, tmp_path: Path) -> None:
    assert_as_built_at_once(erased.settings, tmp_path / "again")


def test_no_byte_is_left_and_one_version(erased: Erased, somebody: Somebody) -> None:
    assert_gone(erased.settings, somebody)
    assert len(versions(erased.settings)) == 1
    assert [path.name for path in erased.settings.published.glob("[0-9]*")] == versions(erased.settings)


def test_a_table_that_no_model_makes_any_more_is_counted_and_dropped(erased: Erased) -> None:
    (request,) = Queue(erased.settings).all()
    assert request.found["before"]["warehouse"]["marts.fct_of_before"]["own"] > 0
    with open_warehouse(erased.settings, read_only=True) as warehouse:
        there = warehouse.execute("select table_name from duckdb_tables() where schema_name = 'marts'").fetchall()
    assert ("fct_sessions",) in there and ("fct_of_before",) not in there


def test_no_id_and_no_secret_is_in_any_file(erased: Erased, somebody: Somebody) -> None:
    """Logs, dbt's artifacts, locks, databases, receipts, and what was printed."""
    settings = erased.settings
    words = "|".join(map(re.escape, [somebody.account, somebody.user, *somebody.devices])).encode()
    ids = re.compile(rb"(?<![\w-])(?:" + words + rb")(?![\w-])")
    secrets = [load_key(settings, name, must_exist=True) for name in ("pseudonym", "master")]
    secrets += [path.read_bytes().strip() for path in settings.key_file("master").parent.iterdir()]
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    # Compressed bytes may be anything: the inbox is searched as its readers read it, by the proof of the erasure.
    plain = [path for path in files if path.suffix not in (".parquet", ".gz", ".zst")]
    assert {path.suffix for path in plain} >= {".log", ".json", ".duckdb", ".sqlite", ".lock", ""} - {""}
    assert [path for path in plain if ids.search(path.read_bytes())] == []
    apart = settings.key_file("master").parent
    kept = [path for path in files if apart not in path.parents]
    assert [path for path in kept if any(secret in path.read_bytes() for secret in secrets)] == []
    assert not ids.search(erased.said.encode())


# What each mart should show afterwards, worked out from what it showed before and from the person's keys alone.
OTHERS = {
    "dim_accounts": "select * from marts.dim_accounts where account_key not in (select key from gone)",
    "fct_sessions": "select * from marts.fct_sessions where device_key not in (select key from gone)",
    "fct_enquiries": """
        select * from marts.fct_enquiries where device_key is null or device_key not in (select key from gone)
    """,
    "fct_content_engagement": """
        select * from marts.fct_content_engagement where device_key not in (select key from gone)
    """,
    "agg_adverts_daily": """
        select *, clicks / nullif(shown, 0) from (
            select event_date, advert_id, slot, position, page_type, platform,
                count(*) filter (where event_type = 'advert_impression') as shown,
                count(*) filter (where event_type = 'advert_click') as clicks
            from intermediate.int_events__events_deduplicated
            where event_type in ('advert_impression', 'advert_click') and not is_bot and not is_future
                and (device_key is null or device_key not in (select key from gone))  -- NULL without consent
            group by all
        )
    """,
    "agg_enquiries_daily": """
        select event_date, advert_id, channel, platform, count(*)
        from intermediate.int_events__events_deduplicated
        where event_type = 'enquiry' and not is_bot and not is_future
            and (device_key is null or device_key not in (select key from gone))
        group by all
    """,
}


# A group that the person made large enough to be shown is shown no more, with the others in it: that these are what
# the rest of the lake gives is compared with a new warehouse.
SMALL_GROUPS = {
    "agg_audience_daily", "agg_audience_periods", "agg_content_daily", "agg_content_periods",
    "fct_funnels", "agg_retention_weekly", "agg_content_paths",
    # Places and adverts are compared by all that was shown and clicked, so without a person all figures move a little.
    "agg_advert_positions", "fct_advert_attractiveness", "agg_advert_selection",
    "agg_content_enjoyment", "agg_content_sections_daily",
    "agg_enjoyed_rules_daily", "agg_content_returns_weekly",
}  # fmt: skip


def test_figures_of_all_others_change_by_the_persons_part_alone(
    erased: Erased, somebody: Somebody, sample_run: Run
) -> None:
    after = marts_of(erased.settings)
    assert after.keys() == erased.before.keys()
    with open_warehouse(sample_run[0], read_only=True) as before:
        before.execute("set temp_directory = ''")
        listed = ", ".join(f"('{key}'::uuid)" for key in sorted(somebody.keys))
        for name in after:
            if name in SMALL_GROUPS:
                continue
            if name not in OTHERS:
                assert after[name] == erased.before[name], f"{name} says nothing of a person, and changed"
                continue
            query = f"with gone as (select * from (values {listed}) as keys (key)) select * from ({OTHERS[name]})"
            wanted = before.execute(f"{query} order by all").fetchall()
            assert _rounded(after[name]) == _rounded(wanted), name
    changed = {name for name in after if after[name] != erased.before[name]}
    assert changed >= {"fct_sessions", "fct_content_engagement", "dim_accounts", "agg_audience_daily"}


def _rounded(rows: list[Any]) -> list[Any]:
    return sorted((tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in rows), key=repr)


def delivered_again(erased: Erased, somebody: Somebody, sample: Settings, home: Path) -> Settings:
    """A copy of the home from which they were erased, to which all comes again: in other files and bytes, and as it
    was. Nobody comes back by that."""
    settings = copied(erased.settings, home)
    deliver_all_again(settings, sample.inbox, "again")
    shutil.copytree(sample.inbox, settings.inbox, dirs_exist_ok=True)
    done = run(settings)
    assert done.is_good
    assert done.landing.rows("rows_removed") > 0
    assert somebody.keys.isdisjoint(keys_landed(settings))
    assert marts_of(settings) == marts_of(erased.settings)
    return settings


def test_nobody_comes_back(erased: Erased, somebody: Somebody, sample_run: Run, tmp_path: Path) -> None:
    settings = delivered_again(erased, somebody, sample_run[0], tmp_path / "home")
    assert places_of(settings, {*somebody.keys}) == []
    assert audit(settings).findings == []


@pytest.mark.long
def test_nobody_comes_back_to_a_lake_that_is_laid_out_again(
    erased: Erased, somebody: Somebody, sample_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor to one that is compacted, and not by a warehouse built again."""
    settings = delivered_again(erased, somebody, sample_run[0], tmp_path / "home")
    marts = marts_of(settings)
    compact(settings)
    with monkeypatch.context() as patch:
        patch.setattr("flows.land.layout.organisation_timezone", lambda: "Pacific/Auckland")
        assert repartition(settings) is not None
        deliver_all_again(settings, sample_run[0].inbox, "and-again")
        land(settings)
        assert somebody.keys.isdisjoint(keys_landed(settings))
    assert repartition(settings) is not None
    without_what_is_built(settings)
    assert run(settings).is_good
    assert marts_of(settings) == marts
    assert places_of(settings, {*somebody.keys}) == []
    assert audit(settings).findings == []


def test_where_a_model_fails_readers_keep_what_they_had_and_it_goes_on(
    sample_run: Run, somebody: Somebody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = copied(sample_run[0], tmp_path / "home")
    before = marts_of(settings)
    workshop = Workshop(tmp_path / "project")
    monkeypatch.setattr(dbt_module, "PROJECT", workshop.folder)
    workshop.break_model("fct_sessions")
    ask(settings, somebody)
    for _ in range(2):
        with pytest.raises(NotRenewedError, match="fct_sessions"):
            erase(settings)
        (request,) = Queue(settings).all()
        assert request.state is State.REWRITTEN
        assert marts_of(settings)["fct_sessions"] == before["fct_sessions"]
        assert versions(settings)[0] == versions(sample_run[0])[0]  # readers may still have it open
    workshop.fix()
    (done,) = erase(settings)
    assert done.state is State.PROVEN
    assert len(versions(settings)) == 1
    assert_gone(settings, somebody)


# What changes which files there are, as Python's audit hooks name it.
STEPS = {"os.rename", "os.remove", "os.symlink", "os.link", "os.rmdir", "shutil.rmtree", "os.truncate"}


def _erase(home: Path, output: Path, steps: int | None) -> None:
    """Go on with what is open. Killed just before it renames, links or removes something for the ``steps``-th time."""
    left = itertools.count(steps or 0, -1)

    def on_audit(happens: str, values: tuple[object, ...]) -> None:
        if happens in STEPS and any(str(value).startswith(str(home)) for value in values) and next(left) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    os.setsid()
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= {"TIDEMARK_HOME": str(home), "TIDEMARK_SETTLE_SECONDS": "0"}
    if steps is not None:
        sys.addaudithook(on_audit)
    cli.main(["erase"])


def killed_again_and_again(settings: Settings, output: Path, kills: int, seed: int) -> int:
    """Go on with an erasure until it was killed so often, or ends; how often it was killed.

    Every other time it is at a random moment, else between two steps of which random moments hardly ever hit some.
    """
    chance, done = random.Random(seed), 0
    while done < kills:
        steps = round(2 ** chance.uniform(0, 7)) if done % 2 else None
        process = FORKSERVER.Process(target=_erase, args=(settings.home, output, steps))
        output.unlink(missing_ok=True)
        process.start()
        while process.is_alive() and not output.exists():  # until it is a group of its own
            time.sleep(0.001)
        process.join(chance.uniform(0, 5 + 3 * done) if steps is None else PATIENCE_SECONDS)
        with suppress(ProcessLookupError):  # it is done
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join(PATIENCE_SECONDS)
        if process.exitcode == 0:
            return done
        assert process.exitcode == -signal.SIGKILL, output.read_text()
        done += 1
    return done


def finished_after_kills(sample: Settings, somebody: Somebody, folder: Path, kills: int, seed: int) -> None:
    settings = copied(sample, folder / "home")
    ask(settings, somebody)
    assert killed_again_and_again(settings, folder / "output", kills, seed)
    done = tidemark(settings.home, "erase")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_gone(settings, somebody)
    assert len(versions(settings)) == 1
    assert not [*settings.home.rglob(".*.rewritten*")]
    assert_as_built_at_once(settings, folder / "again")


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_killed_at_random_moments_it_is_finished_by_the_next(
    sample_run: Run, somebody: Somebody, tmp_path: Path, seed: int
) -> None:
    finished_after_kills(sample_run[0], somebody, tmp_path, 12, seed)


def started(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("tidemark")), *arguments]
    environment = {**os.environ, "TIDEMARK_HOME": str(settings.home), "TIDEMARK_SETTLE_SECONDS": "0"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.long
def test_two_at_once_and_all_that_may_be_at_work_beside_them(
    sample_run: Run, somebody: Somebody, tmp_path: Path
) -> None:
    """Two erasures of the same person, a landing, a build, a compaction, a takeout of somebody else; and a reader that
    has the version of before open."""
    settings = copied(sample_run[0], tmp_path / "home")
    deliver_all_again(settings, sample_run[0].inbox, "again")
    reader = duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True)
    ids = ("--user", somebody.user, "--account", somebody.account, "--yes")
    at_work = [
        started(settings, *arguments)
        for arguments in (
            ("erase", *ids),
            ("run",),
            ("erase", *ids),
            ("compact",),
            ("export-person", "--user", "u-3", "--to", str(tmp_path / "answer")),
        )
    ]
    said = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in at_work]
    reader.close()
    codes = [process.returncode for process in at_work]
    assert codes == [0] * len(at_work), said
    assert somebody.user not in "".join(re.findall(r"waits for .*", "".join(said)))
    assert tidemark(settings.home, "run").returncode == 0
    assert_gone(settings, somebody)
    receipts = Queue(settings).all()
    assert [request.state for request in receipts] == [State.PROVEN] * 2
    # The first of them says what there was.
    assert max(request.found["before"]["landed"]["events"]["own"] for request in receipts) > 0


def keys_in_objects(store: ObjectStore) -> set[str]:
    """Every text in a Parquet file of an object store."""
    tables = [pq.read_table(io.BytesIO(data)) for key, data in store.objects().items() if key.endswith(".parquet")]
    columns = [column for table in tables for column in table.columns if column.type == pa.string()]
    return {text for column in columns for text in column.unique().to_pylist()}


@pytest.mark.long
def test_an_erasure_reaches_the_object_store_and_stays_open_until_it_does(
    sample_run: Run, somebody: Somebody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served_object_store() as store:
        for name, value in store.variables.items():
            monkeypatch.setenv(name, value)
        settings = copied(sample_run[0], tmp_path / "home").model_copy(update={"published_url": f"{store.url}/marts"})
        assert publish(settings, force=True).unsent is None
        keys = {str(key) for key in somebody.keys}
        assert keys & keys_in_objects(store)
        ask(settings, somebody)
        store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
        with pytest.raises(TidemarkError, match="SlowDown"):
            erase(settings)
        assert [request.is_open for request in Queue(settings).all()] == [True]
        store.heal()
        assert keys & keys_in_objects(store)
        erase(settings)
        assert_gone(settings, somebody)
        assert not keys & keys_in_objects(store)
        assert {key.split("/")[3] for key in store.objects() if "/versions/" in key} == {*versions(settings)}
