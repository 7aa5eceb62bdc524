"""Readers of an object store see whole versions too: swapped by one PUT for each level, pruned, erased, repaired."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.errors import TidemarkError
from flows.publish import publish as publish_module
from flows.publish.manifest import current_version
from flows.publish.publish import keep_only_newest, publish, rollback
from flows.publish.sent import read_sent, record_path, sent_status
from flows.publish.views import versions
from flows.settings import Settings
from flows.status.describe_lake import describe_lake
from flows.status.lake import read_status
from tests.support.object_store import (
    KEY_ID,
    SECRET,
    Asked,
    ObjectStore,
    load_httpfs,
    refusal,
    served_object_store,
)
from tests.support.patience import PATIENCE_SECONDS
from tests.support.processes import FORKSERVER
from tests.support.small_marts import DAYS, ROWS, build_small, small_home, small_project, use_small_project

WORD = "somebody-who-is-to-be-erased"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_home(tmp_path_factory.mktemp("built") / "home").home


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with served_object_store() as served:
        for name, value in served.variables.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def settings(built: Path, tmp_path: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home that publishes to the store too."""
    monkeypatch.setattr(publish_module, "read_project", lambda settings: small_project())
    return _home(built, tmp_path / "home", store)


def _home(built: Path, home: Path, store: ObjectStore) -> Settings:
    shutil.copytree(built, home)
    return Settings(home=home, published_url=f"{store.url}/marts", keep_versions=2, keep_hours=0)


def send(settings: Settings, force: bool = False) -> str:
    """Publish, and have it sent."""
    done = publish(settings, force)
    assert done.unsent is None
    return done.manifest.version


def reader(store: ObjectStore) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    load_httpfs(db)
    host = store.endpoint.removeprefix("http://")
    db.execute(
        f"create secret (type s3, key_id '{KEY_ID}', secret '{SECRET}', region 'us-east-1', endpoint '{host}', "
        "use_ssl false, url_style 'path')"
    )
    return db


def attached(store: ObjectStore, name: str = "marts", folder: str = "current") -> duckdb.DuckDBPyConnection:
    db = reader(store)
    db.execute(f"attach '{store.url}/marts/{folder}/{name}.duckdb' as marts (read_only)")
    return db


def seen(db: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    """The number of the build that a reader finds, the same in every table, and the version it names."""
    rows = db.execute("select max(number), count(*) from marts.fct_days").fetchall()
    (number,) = db.execute("select max(number) from marts.agg_whole").fetchall()[0]
    assert rows == [(number, ROWS * len(DAYS))]
    ((version,),) = db.execute("select distinct version from marts.published_tables").fetchall()
    return number, version


def keys(store: ObjectStore) -> set[str]:
    return {key.removeprefix("marts/") for key in store.objects()}


def test_a_reader_of_the_store_sees_what_a_reader_here_sees(settings: Settings, store: ObjectStore) -> None:
    version = send(settings)
    there = attached(store)
    here = duckdb.connect()
    here.execute(f"attach '{settings.published}/current/marts.duckdb' as marts (read_only)")
    for table in ("fct_days", "agg_whole", "fct_none", "published_tables"):
        for query in (f"from marts.{table} order by all", f"describe marts.{table}"):
            assert there.execute(query).fetchall() == here.execute(query).fetchall(), query
    comments = "select comment from duckdb_columns() where database_name = 'marts' and comment is not null order by all"
    assert there.execute(comments).fetchall() == here.execute(comments).fetchall()
    assert seen(there) == (1, version)
    assert sent_status(settings, version).not_there is None


def test_a_day_is_asked_for_by_the_names_of_files(settings: Settings, store: ObjectStore) -> None:
    send(settings)
    db = attached(store)
    store.asked.clear()
    assert db.execute("select count(*) from marts.fct_days where event_date = '2026-01-11'").fetchall() == [(ROWS,)]
    asked = {one.key.rpartition("/")[2][: len("fct_days-2026-01-11")] for one in store.asked if one.method == "GET"}
    assert "fct_days-2026-01-12" not in asked


def test_levels_have_prefixes_of_their_own(settings: Settings, store: ObjectStore) -> None:
    version = send(settings)
    assert keys(store) - {key for key in keys(store) if "/parquet/" in key} == {
        "publisher.json",
        "current/manifest.json",
        *(f"current/{name}.duckdb" for name in ("public", "internal", "marts")),
        f"public/versions/{version}/public.duckdb",
        f"internal/versions/{version}/internal.duckdb",
        f"restricted/versions/{version}/marts.duckdb",
        f"restricted/versions/{version}/manifest.json",
    }
    files = {key.split("/parquet/")[0]: key.split("/")[2] for key in keys(store) if "/parquet/" in key}
    assert files == {"public": "agg_whole", "restricted": "fct_days"}
    db = attached(store, "public")
    tables = {name for (name,) in db.execute("select view_name from duckdb_views() where not internal").fetchall()}
    assert tables == {"agg_whole", "published_tables"}
    assert b"fct_days" not in store.objects()["marts/current/public.duckdb"]


def test_only_what_changed_is_sent(settings: Settings, store: ObjectStore) -> None:
    send(settings)
    build_small(settings, 2, DAYS[0])
    store.asked.clear()
    send(settings)
    parquet = [one.key for one in store.asked if one.method == "PUT" and "/parquet/" in one.key]
    assert sorted(key.split("/")[3] for key in parquet) == ["agg_whole", "fct_days"]
    assert all(one.environ.get("HTTP_IF_NONE_MATCH") == "*" for one in store.asked if one.key in parquet)
    swaps = [one for one in store.asked if one.method == "PUT" and "/current/" in one.key]
    assert len(swaps) == 4 and all(one.environ.get("HTTP_IF_MATCH") for one in swaps)
    store.asked.clear()
    send(settings)
    assert store.asked == []


def test_whoever_has_a_version_open_keeps_it(settings: Settings, store: ObjectStore) -> None:
    first = send(settings)
    db = attached(store)
    build_small(settings, 2, *DAYS)
    second = send(settings)
    assert seen(db) == (1, first)
    assert seen(attached(store)) == (2, second)
    pinned = attached(store, folder=f"restricted/versions/{first}")
    assert seen(pinned) == (1, first)


def test_a_reader_that_attaches_during_the_swap_sees_one_version_or_an_error(
    settings: Settings, store: ObjectStore
) -> None:
    first = send(settings)
    old = store.objects()["marts/current/marts.duckdb"]
    build_small(settings, 2, *DAYS)
    second = send(settings)
    new = store.objects()["marts/current/marts.duckdb"]
    found = set()
    for moment in range(1, 12):
        store.heal()
        store.put("marts/current/marts.duckdb", old)
        asked = []

        def before(one: Asked, asked: list[Asked] = asked, moment: int = moment) -> None:
            asked.append(one)
            if len(asked) == moment:
                store.client.put_object(Bucket=store.bucket, Key="marts/current/marts.duckdb", Body=new)

        store.before = before
        try:
            found.add(seen(attached(store)))
        except (duckdb.Error, UnicodeDecodeError):  # the second is how Python's client fails to say the first
            continue
    assert found == {(1, first), (2, second)}


def test_a_rollback_is_sent(settings: Settings, store: ObjectStore) -> None:
    first = send(settings)
    build_small(settings, 2, *DAYS)
    send(settings)
    assert rollback(settings).version == first
    assert seen(attached(store)) == (1, first)
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    with pytest.raises(TidemarkError, match="those at the object store do not yet"):
        rollback(settings, versions(settings)[-1])
    assert sent_status(settings, current_version(settings)).not_there
    store.heal()
    send(settings)
    assert seen(attached(store))[0] == 2


def test_versions_are_pruned(settings: Settings, store: ObjectStore) -> None:
    for number in range(2, 6):
        build_small(settings, number, DAYS[0])
        send(settings)
    kept = {key.split("/")[2] for key in keys(store) if "/versions/" in key}
    assert kept == {*versions(settings)[-2:]}
    wanted = {
        file["path"]
        for version in kept
        for table in json.loads(store.objects()[f"marts/restricted/versions/{version}/manifest.json"])["tables"]
        for file in table["files"]
    }
    assert {key for key in keys(store) if "/parquet/" in key} == wanted
    assert {one.version for one in read_sent(settings).versions} == kept  # type: ignore[union-attr]


def test_a_version_that_was_left_just_now_stays(settings: Settings, store: ObjectStore) -> None:
    patient = settings.model_copy(update={"keep_hours": 24})
    for number in range(2, 6):
        build_small(settings, number, DAYS[0])
        send(patient)
    assert len({key.split("/")[2] for key in keys(store) if "/versions/" in key}) == 4


def test_a_table_that_fewer_may_see_leaves_the_prefix_of_the_others(
    settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(settings)
    made = small_project()
    models = made.models | {"agg_whole": publish_module.replace(made.models["agg_whole"], visibility="restricted")}
    made.models, made.fingerprint = models, "second"
    monkeypatch.setattr(publish_module, "read_project", lambda settings: made)
    build_small(settings, 2, *DAYS)
    with publish_module.open_warehouse(settings) as db:
        db.execute("update ops.dbt_runs set project = 'second'")
    version = send(settings, force=True)
    assert not [key for key in keys(store) if key.startswith("public/parquet/")]
    assert {key.split("/")[2] for key in keys(store) if "/versions/" in key} == {version}


def test_what_was_erased_is_in_no_object(settings: Settings, store: ObjectStore) -> None:
    build_small(settings, 2, *DAYS, word=WORD)
    send(settings)
    assert WORD in [row[0] for row in attached(store).execute("select word from marts.fct_days").fetchall()]
    build_small(settings, 3, *DAYS)
    send(settings, force=True)
    store.put("marts/notes.txt", b"another's")
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown")
    with pytest.raises(TidemarkError, match="SlowDown"):
        keep_only_newest(settings)
    # As long as it is not done there, it is known that it is to be.
    assert len(read_sent(settings).versions) == 2  # type: ignore[union-attr]
    store.heal()
    keep_only_newest(settings)
    assert [one.version for one in read_sent(settings).versions] == versions(settings)  # type: ignore[union-attr]
    objects = store.objects()
    assert "marts/notes.txt" in objects
    assert {key.split("/")[3] for key in objects if "/versions/" in key} == {*versions(settings)}
    words = {
        word
        for key, data in objects.items()
        if key.endswith(".parquet") and "fct_days" in key
        for (word,) in _rows(data)
    }
    assert words == {"plain"}
    assert not [key for key, data in objects.items() if WORD.encode() in data]
    assert seen(attached(store))[0] == 3


def _rows(data: bytes) -> list[tuple[str]]:
    import io  # noqa: PLC0415

    import pyarrow.parquet as pq  # noqa: PLC0415

    return [(word,) for word in pq.read_table(io.BytesIO(data), columns=["word"])["word"].to_pylist()]


def test_erasing_says_where_what_was_sent_is_out_of_reach(settings: Settings, store: ObjectStore) -> None:
    send(settings)
    here_only = settings.model_copy(update={"published_url": None})
    with pytest.raises(TidemarkError, match="TIDEMARK_PUBLISHED_URL is not set"):
        keep_only_newest(here_only)
    elsewhere = settings.model_copy(update={"published_url": f"{store.url}/other"})
    assert "published to" in (publish(elsewhere).unsent or "")
    assert "not at" in (sent_status(elsewhere, current_version(settings)).not_there or "")


AWAY: dict[str, Callable[[Asked], Any]] = {
    "slow": lambda asked: refusal("503 Slow Down", "SlowDown"),
    "wrong keys": lambda asked: refusal("403 Forbidden", "InvalidAccessKeyId"),
    "no right to write": lambda asked: refusal("403 Forbidden", "AccessDenied") if asked.method == "PUT" else None,
}


@pytest.mark.parametrize("wrong", AWAY)
def test_a_store_that_is_away_fails_no_publication(wrong: str, settings: Settings, store: ObjectStore) -> None:
    store.before = AWAY[wrong]
    done = publish(settings)
    assert done.is_new and current_version(settings) == done.manifest.version
    assert done.unsent and not done.is_good
    assert SECRET not in done.unsent and SECRET not in record_path(settings).read_text()
    assert sent_status(settings, done.manifest.version).not_there == done.unsent
    status = read_status(settings, datetime.now(UTC))
    assert status.needs_a_person
    assert f"NOT SENT: {done.unsent}" in str(describe_lake(status))
    store.heal()
    again = publish(settings)
    assert not again.is_new and again.is_good
    assert seen(attached(store)) == (1, done.manifest.version)
    assert sent_status(settings, done.manifest.version).not_there is None


def test_an_address_that_was_wrong_may_be_set_right(settings: Settings, store: ObjectStore) -> None:
    wrong = settings.model_copy(update={"published_url": "s3://no-such-bucket/marts"})
    assert "there is no such bucket" in (publish(wrong).unsent or "")
    version = send(settings)
    assert seen(attached(store)) == (1, version)


def test_a_store_that_heeds_no_conditions_is_refused(settings: Settings, store: ObjectStore) -> None:
    def before(asked: Asked) -> None:
        asked.environ.pop("HTTP_IF_NONE_MATCH", None)
        asked.environ.pop("HTTP_IF_MATCH", None)

    store.before = before
    assert "pays no heed to If-None-Match" in (publish(settings).unsent or "")
    assert keys(store) == set()


def test_a_bucket_that_keeps_versions_is_refused(settings: Settings, store: ObjectStore) -> None:
    enabled = {"Status": "Enabled"}
    store.client.put_bucket_versioning(Bucket=store.bucket, VersioningConfiguration=enabled)
    assert "keeps versions of its objects (Enabled)" in (publish(settings).unsent or "")
    assert keys(store) == set()


def test_where_it_may_not_be_asked_whether_a_bucket_keeps_versions_it_is_said(
    settings: Settings, store: ObjectStore
) -> None:
    store.before = lambda asked: refusal("403 Forbidden", "AccessDenied") if "versioning" in asked.query else None
    version = send(settings)
    assert "whether the bucket keeps what is deleted is not known" in (sent_status(settings, version).there or "")


def test_two_homes_do_not_publish_to_one_place(
    settings: Settings, store: ObjectStore, built: Path, tmp_path: Path
) -> None:
    first = send(settings)
    other = _home(built, tmp_path / "other", store)
    assert "another home publishes there" in (publish(other).unsent or "")
    copy = settings.model_copy(update={"home": tmp_path / "copy"})
    shutil.copytree(settings.home, copy.home, symlinks=True)
    build_small(settings, 2, *DAYS)
    second = send(settings)
    build_small(copy, 3, *DAYS)
    assert "a copy of this home published" in (publish(copy).unsent or "")
    assert seen(attached(store)) == (2, second) != (1, first)


def _publish_in_child(settings: Settings, variables: dict[str, str]) -> None:
    os.environ |= variables
    use_small_project()
    done = publish(settings)
    os._exit(0 if done.unsent is None else 3)


def test_two_homes_at_once(settings: Settings, store: ObjectStore, built: Path, tmp_path: Path) -> None:
    homes = [settings, _home(built, tmp_path / "other", store)]
    processes = [FORKSERVER.Process(target=_publish_in_child, args=(one, store.variables)) for one in homes]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_SECONDS)
    assert sorted(process.exitcode or 0 for process in processes) == [0, 3]
    (won,) = [one for one, process in zip(homes, processes, strict=True) if process.exitcode == 0]
    assert seen(attached(store)) == (1, current_version(won))


def publish_killed_after(settings: Settings, store: ObjectStore, change: int) -> bool:
    """Publish in a process that is killed once it has changed so many objects; False where it was done before."""
    changes = list[str]()
    child = FORKSERVER.Process(target=_publish_in_child, args=(settings, store.variables))

    def after(asked: Asked) -> None:
        if asked.method in ("PUT", "POST", "DELETE"):
            changes.append(asked.key)
            if len(changes) == change:
                os.kill(child.pid or 0, signal.SIGKILL)

    store.after = after
    child.start()
    child.join(PATIENCE_SECONDS)
    store.heal()
    return child.exitcode != 0


def kill_and_repair(settings: Settings, store: ObjectStore, number: int, change: int) -> bool:
    """Kill a publication after so many changes: what is there is whole, and the next one brings what is new."""
    build_small(settings, number, DAYS[number % 3])
    was_killed = publish_killed_after(settings, store, change)
    # Every file is a whole version, the one before or the new one.
    with attached(store) as db:
        assert len(db.execute("select distinct version from marts.published_tables").fetchall()) == 1
        assert db.execute("select count(*) from marts.fct_days").fetchall() == [(ROWS * 3,)]
    assert publish(settings).unsent is None
    assert newest_number(store) == number
    return was_killed


def test_killed_while_it_is_sent_the_next_publication_repairs_it(settings: Settings, store: ObjectStore) -> None:
    send(settings)
    assert all(kill_and_repair(settings, store, 2 + n, change) for n, change in enumerate((1, 6, 9)))


@pytest.mark.long
def test_killed_between_any_two_changes_the_next_publication_repairs_it(settings: Settings, store: ObjectStore) -> None:
    first, killed = send(settings), 0
    while kill_and_repair(settings, store, killed + 2, killed + 1):
        killed += 1
    assert killed >= 9
    assert first not in {key.split("/")[2] for key in keys(store) if "/versions/" in key}


def newest_number(store: ObjectStore) -> int:
    with attached(store) as db:
        return int(db.execute("select max(number) from marts.fct_days").fetchall()[0][0])
