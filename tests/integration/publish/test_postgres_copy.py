"""What is published, copied into a PostgreSQL, for tools that read nothing else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import duckdb
import pytest

from flows.errors import TidemarkError
from flows.extract.databases.postgres import load_client
from flows.publish.postgres import copy_to_postgres
from flows.publish.publish import publish
from flows.settings import Settings
from tests.support.databases import served_postgres
from tests.support.small_marts import DAYS, build_small, published_small


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_postgres(tmp_path_factory.mktemp("pg")) as address:
        yield address


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return published_small(tmp_path / "home", monkeypatch)


@pytest.fixture
def reader(url: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Somebody who reads the copy; nothing of a test before is in it."""
    with duckdb.connect() as db:
        load_client(db)
        db.execute(f"attach '{url}' as pg (type postgres)")
        db.execute("call postgres_execute('pg', 'drop schema if exists marts cascade')")
        yield db


def rows(reader: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return reader.cursor().execute("from postgres_query('pg', ?)", [sql]).fetchall()


def test_the_copy_has_what_is_internal_and_follows_publications(
    settings: Settings, url: str, reader: duckdb.DuckDBPyConnection
) -> None:
    assert copy_to_postgres(settings, url) == ["agg_whole", "fct_none", "published_tables"]
    tables = "select table_name from information_schema.tables where table_schema = 'marts' order by 1"
    assert rows(reader, tables) == [("agg_whole",), ("fct_none",), ("published_tables",)]
    before = rows(reader, "select distinct number from marts.agg_whole")
    build_small(settings, 2, *DAYS)
    version = publish(settings).manifest.version
    assert before == rows(reader, "select distinct number from marts.agg_whole") == [(1,)]
    copy_to_postgres(settings, url)
    assert rows(reader, "select distinct number from marts.agg_whole") == [(2,)]
    assert rows(reader, "select distinct version from marts.published_tables") == [(version,)]


def test_who_reads_meanwhile_waits_for_nothing_and_sees_whole_copies(
    settings: Settings, url: str, reader: duckdb.DuckDBPyConnection
) -> None:
    copy_to_postgres(settings, url)
    done, both = Event(), "select count(*), min(number), max(number) from marts.agg_whole"
    ((count, _, _),) = rows(reader, both)

    def read() -> list[tuple[object, ...]]:
        seen = []
        while not done.is_set():
            seen += rows(reader, both)
        return seen

    with ThreadPoolExecutor(4) as readers:
        reading = [readers.submit(read) for _ in range(4)]
        try:
            for number in range(2, 6):
                build_small(settings, number, *DAYS)
                publish(settings)
                copy_to_postgres(settings, url)
        finally:
            done.set()
        seen = [row for one in reading for row in one.result()]
    assert seen and {(total, low == high) for total, low, high in seen} == {(count, True)}


def test_a_table_with_other_columns_is_made_again_and_one_that_is_gone_goes(
    settings: Settings, url: str, reader: duckdb.DuckDBPyConnection
) -> None:
    copy_to_postgres(settings, url)
    for sql in ("alter table marts.agg_whole add column old int", "create table marts.gone as select 1 as number"):
        reader.execute("call postgres_execute('pg', ?)", [sql])
    assert "gone" not in copy_to_postgres(settings, url)
    columns = (
        "select column_name from information_schema.columns where table_name = 'agg_whole' and column_name = 'old'"
    )
    assert rows(reader, columns) == rows(reader, "select 1 from pg_tables where tablename = 'gone'") == []
    assert rows(reader, "select distinct number from marts.agg_whole") == [(1,)]


def test_what_is_wrong_is_said(settings: Settings, url: str, tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match="did not take the copy, and is as it was") as refused:
        copy_to_postgres(settings, "postgresql://nobody:of-nobody@127.0.0.1:1/marts")
    assert "of-nobody" not in str(refused.value) and "nobody:...@" in str(refused.value)
    with pytest.raises(TidemarkError, match="`tidemark run` publishes"):
        copy_to_postgres(Settings(home=tmp_path / "empty"), url)
