"""Extracts of a real MySQL or MariaDB: all rows, each once, with the values that they have there."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from flows.errors import TidemarkError
from flows.extract import run as running
from flows.extract.run import extract
from flows.settings import Settings
from tests.integration.extract.conftest import files
from tests.support.lake import KEY, Lake
from tests.support.mysql import MySql, served_mysql, server

VARIABLE = "TEST_SHOP_URL"
Declare = Callable[..., Settings]
pytestmark = pytest.mark.skipif(
    server() is None and "TIDEMARK_TEST_MYSQL" not in os.environ,
    reason="no MySQL or MariaDB: install one (Debian: mariadb-server-core), or set TIDEMARK_TEST_MYSQL",
)

ACCOUNTS: dict[str, Any] = {
    "table": "@.accounts",
    "columns": {
        "id": {"type": "bigint unsigned", "to": "account_id"},
        "user_id": "varchar(80)",
        "changed_at": {"type": "datetime(6)", "to": "updated_at"},
    },
    "cursor": "changed_at",
    "overlap": 0,
}
CREATE = """
create table @.accounts (id bigint unsigned primary key, user_id varchar(80) not null, changed_at datetime(6))
"""
FILL = """
insert into @.accounts with recursive n(i) as (select 1 union all select i + 1 from n where i < {0})
select i, concat('u-', i), utc_timestamp(6) - interval ({0} - i) minute from n
"""


@pytest.fixture(scope="session")
def mysql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_mysql(tmp_path_factory.mktemp("my")) as url:
        yield url


@pytest.fixture
def mysql(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MySql]:
    monkeypatch.setattr(running, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(running, "LONGEST_WAIT_SECONDS", 0.01)
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", KEY)
    monkeypatch.setenv(VARIABLE, mysql_url)
    made = MySql(mysql_url)
    yield made
    made.close()


@pytest.fixture
def declare(lake: Lake, mysql: MySql, tmp_path: Path) -> Declare:
    def made(**tables: dict[str, Any]) -> Settings:
        folder = tmp_path / "extracts"
        folder.mkdir(exist_ok=True)
        read = {"connection": {"kind": "mysql", "url_from": VARIABLE}, "extracts": tables}
        (folder / "crm.yml").write_text(yaml.safe_dump(read, sort_keys=False).replace("@", mysql.database))
        return lake.settings.model_copy(update={"extracts": folder})

    return made


def delivered(settings: Settings, dataset: str = "accounts") -> list[dict[str, Any]]:
    return [row for path in files(settings, dataset) for row in pq.read_table(path).to_pylist()]


def ids(settings: Settings) -> Counter[str]:
    return Counter(row["account_id"] for row in delivered(settings))


LONG = "1234567890123456789012345678.1234567890"
VALUES = [
    ("decimal(38,10)", LONG, LONG),
    ("decimal(20,5)", "12345.67890", "12345.67890"),
    ("float", "16777216", "16777216.0"),
    ("float", "0.1", "0.1"),
    ("double", "0.1", "0.1"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
    ("tinyint(1)", "2", "2"),
    ("json", """'{"a": [1, null, "ö"]}'""", '{"a": [1, null, "ö"]}'),
    ("enum('good','so-so')", "'so-so'", "so-so"),
    ("set('a','b','c')", "'a,c'", "a,c"),
    ("varbinary(9)", "x'00ff'", "AP8="),
    ("blob", "x'00ff'", "AP8="),
    ("bit(9)", "b'100000001'", "AQE="),
    ("date", "'2026-02-03'", "2026-02-03"),
    ("datetime(6)", "'2026-02-03 04:05:06.789012'", "2026-02-03 04:05:06.789012"),
    ("timestamp(3)", "from_unixtime(1770091506.789)", "2026-02-03 04:05:06.789"),
    ("time(1)", "'-123:04:05.5'", "-123:04:05.5"),
    ("year", "2026", "2026"),
    ("varchar(80) character set utf8mb4", "'ö \\t\\'\"\\\\ 😀'", "ö \t'\"\\ 😀"),
    ("char(4)", "'ab'", "ab"),
    ("text", "null", None),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value", "expected"), VALUES)
def test_every_value_is_the_one_of_the_source(
    declare: Declare, mysql: MySql, type_: str, value: str, expected: str | None
) -> None:
    mysql.execute(f"create table @.accounts (id varchar(9), user_id {type_} null, changed_at datetime)")
    mysql.execute(f"insert into @.accounts values ('a-1', {value}, '2026-01-01 00:00')")
    shown = type_.partition(" character")[0]
    shown = {"json": "longtext", "tinyint(1)": "tinyint"}.get(shown, shown) if is_mariadb(mysql) else shown
    columns = {"id": {"type": "varchar(9)", "to": "account_id"}, "user_id": shown}
    columns["changed_at"] = {"type": "datetime", "to": "updated_at"}
    settings = declare(accounts=ACCOUNTS | {"columns": columns})
    extract(settings, "crm")
    (row,) = delivered(settings)
    assert row == {"account_id": "a-1", "user_id": expected, "updated_at": datetime(2026, 1, 1)}


def is_mariadb(mysql: MySql) -> bool:
    return "MariaDB" in mysql.rows("select version()")[0][0]


def test_what_cannot_be_read_exactly_is_refused(declare: Declare, mysql: MySql) -> None:
    mysql.execute("create table @.accounts (id decimal(65,30), user_id varchar(80), changed_at datetime(6))")
    columns = {**ACCOUNTS["columns"], "id": {"type": "decimal(65,30)", "to": "account_id"}}
    with pytest.raises(TidemarkError, match=r"is decimal\(65,30\), and of more than 38 digits not all could be read"):
        extract(declare(accounts=ACCOUNTS | {"columns": columns}), "crm")


def test_rows_come_in_pages_and_each_once(declare: Declare, mysql: MySql, lake: Lake) -> None:
    mysql.execute(CREATE)
    mysql.execute(FILL.format(25))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 10})
    assert [file.rows for file in extract(settings, "crm").files] == [10, 10, 5]
    assert extract(settings, "crm").files == ()
    mysql.execute("update @.accounts set changed_at = utc_timestamp(6) where id = 3")
    assert extract(settings, "crm").rows == 1
    assert ids(settings) == Counter({str(n): 1 + (n == 3) for n in range(1, 26)})
    lake.land()
    assert len(lake.rows("accounts")) == 26
    by_id = declare(accounts=ACCOUNTS | {"cursor": "id", "page_rows": 20})
    assert [file.rows for file in extract(by_id, "crm").files] == [20, 5]
    assert extract(by_id, "crm").files == ()


def test_times_that_are_none_and_those_to_come_are_said(declare: Declare, mysql: MySql) -> None:
    mysql.execute(CREATE)
    mysql.execute(FILL.format(2))
    mysql.execute("insert into @.accounts values (7, 'u', utc_timestamp(6) + interval 1 hour)")
    settings = declare(accounts=ACCOUNTS)
    done = extract(settings, "crm")
    assert done.rows == 2 and "not over" in done.notes[0]
    mysql.execute("insert into @.accounts values (8, 'u', null), (9, 'u', utc_timestamp(6))")
    with pytest.raises(TidemarkError, match="have no changed_at, and so are in no page"):
        extract(settings, "crm")
    assert "9" in ids(settings)


def test_several_tables_are_of_one_moment(declare: Declare, mysql: MySql) -> None:
    """What moves from one to the other while they are read is in exactly one of them."""
    mysql.execute(CREATE)
    hundred = "(with recursive n(i) as (select 0 union all select i + 1 from n where i < 99) select i from n)"
    mysql.execute(
        f"insert into @.accounts select 100 * a.i + b.i, 'u', '2026-01-01' from {hundred} as a, {hundred} as b"
    )
    mysql.execute("create table @.right_ones like @.accounts")
    table = {key: value for key, value in ACCOUNTS.items() if key not in ("cursor", "overlap")}
    columns = {"id": {"type": "bigint unsigned", "to": "advert_id"}}
    columns["changed_at"] = {"type": "datetime(6)", "to": "updated_at"}
    adverts = {"table": "@.right_ones", "columns": columns, "ignored": ["user_id"]}
    settings, mover, is_over = declare(accounts=table, adverts=adverts), MySql(mysql.url), threading.Event()

    mysql.execute(
        "create trigger @.moved after delete on @.accounts for each row "
        "insert into @.right_ones values (old.id, old.user_id, old.changed_at)"
    )

    def delete() -> None:
        for n in range(10_000):
            if is_over.is_set():
                return
            mover.execute(f"delete from {mysql.database}.accounts where id = {n}")

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(2):
            extract(settings, "crm", options=("accept_deletes",))
            left = {row["account_id"] for row in pq.read_table(files(settings)[-1]).to_pylist()}
            newest = files(settings, "adverts")
            right = {row["advert_id"] for row in pq.read_table(newest[-1]).to_pylist()} if newest else set()
            assert left | right == {str(n) for n in range(10_000)}
            assert left.isdisjoint(right)
    finally:
        is_over.set()
        thread.join()
        mover.close()
    assert right, "nothing moved meanwhile"


def test_what_was_deleted_is_listed_no_more(declare: Declare, mysql: MySql, lake: Lake) -> None:
    mysql.execute(CREATE)
    mysql.execute(FILL.format(30))
    settings = declare(accounts=ACCOUNTS | {"compare_keys": "1 s"})
    extract(settings, "crm")
    lake.land()
    mysql.execute("delete from @.accounts where id = 5")
    extract(settings, "crm", options=("accept_deletes",))
    listed = {row["account_id"] for row in delivered(settings, "account_keys")}
    assert listed == {str(n) for n in range(1, 31) if n != 5}
    mysql.execute("delete from @.accounts")
    lake.land()
    time.sleep(1)  # until keys are compared again
    with pytest.raises(TidemarkError, match="29 of 29 that landed are not there any more"):
        extract(declare(accounts=ACCOUNTS | {"compare_keys": "1 s"}), "crm")


def test_no_secret_is_in_a_message(
    declare: Declare, mysql: MySql, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mysql.execute(CREATE)
    settings, said = declare(accounts=ACCOUNTS), []
    port = mysql.url.rpartition(":")[2]
    for wrong in (f"mysql://reader:hunter2%2Fxy@127.0.0.1:{port}/crm", "mysql://reader:hunter2xy@127.0.0.1:1/crm"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(TidemarkError) as raised:
            extract(settings, "crm", said.append)
        said.append(str(raised.value))
    for wrong in (*(f"mysql://r:hunter2{rest}@crm/db" for rest in ("/x", "@b", "#x", ":yyy")), "hunter2"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(TidemarkError, match="is no address: write mysql://") as raised:
            extract(settings, "crm")
        said.append(str(raised.value))
    assert "hunter2" not in "\n".join([*said, *capfd.readouterr()])


def test_a_user_that_may_not_read_is_told_so(declare: Declare, mysql: MySql, monkeypatch: pytest.MonkeyPatch) -> None:
    mysql.execute(CREATE)
    user = f"u_{mysql.database}"
    mysql.execute(f"create user {user} identified by 'p-of-tests'")
    try:
        port = mysql.url.rpartition(":")[2]
        monkeypatch.setenv(VARIABLE, f"mysql://{user}:p-of-tests@127.0.0.1:{port}")
        with pytest.raises(TidemarkError, match="no such table, or this user may not see it; grant it `select`"):
            extract(declare(accounts=ACCOUNTS), "crm")
    finally:
        mysql.execute(f"drop user {user}")
