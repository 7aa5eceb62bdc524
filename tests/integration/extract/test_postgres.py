"""Extracts of a real PostgreSQL: all rows, each once, with the values that they have there."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.errors import TidemarkError
from flows.extract import run as running
from flows.extract.databases.postgres import CLIENT
from flows.extract.run import extract
from flows.land.receipt import Status
from flows.settings import Settings
from tests.integration.extract.conftest import ACCOUNTS, CREATE, VARIABLE, Declare, files
from tests.support.databases import Postgres
from tests.support.lake import Lake
from tests.support.patience import until


@pytest.fixture(autouse=True)
def _quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(running, "LONGEST_WAIT_SECONDS", 0.01)


def delivered(settings: Settings, dataset: str = "accounts") -> list[dict[str, Any]]:
    return [row for path in files(settings, dataset) for row in pq.read_table(path).to_pylist()]


def ids(settings: Settings) -> Counter[str]:
    return Counter(row["account_id"] for row in delivered(settings))


LONG = "123456789012345678901234567890.12345678901234567890"
VALUES = [
    ("numeric(20, 5)", "12345.67890", "12345.67890"),
    ("numeric", LONG, LONG),
    ("numeric(20, 5)", "'NaN'", "NaN"),
    ("real", "0.1", "0.1"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("boolean", "true", "true"),
    ("jsonb", """'{"a": [1, null, "ö"]}'""", '{"a": [1, null, "ö"]}'),
    ("json", """'{ "b":1e400 }'""", '{ "b":1e400 }'),
    ("text[]", "'{a,NULL,\"b,c\"}'", '["a",null,"b,c"]'),
    ("integer[]", "'{{1,2},{3,4}}'", "[[1,2],[3,4]]"),
    ("bytea", r"'\x00ff'", "AP8="),
    ("@.mood", "'so-so'", "so-so"),
    ("interval", "'1 month 2 days'", "P1M2D"),
    ("money", "'3.50'", "$3.50"),
    ("inet", "'10.0.0.1'", "10.0.0.1/32"),
    ("uuid", "'0191f3c2-8a44-7c1e-9d3b-000000000001'", "0191f3c2-8a44-7c1e-9d3b-000000000001"),
    ("date", "'2026-02-03'", "2026-02-03"),
    ("timestamp with time zone", "'2026-02-03 04:05:06.789012+02'", "2026-02-03 02:05:06.789012+00"),
    ("text", "'ö ' || chr(9) || '''\"\\'", "ö \t'\"\\"),
    ("character(4)", "'ab'", "ab"),
    ("text", "null", None),
    ("tstzrange", "'[2026-01-01 00:00+01,)'", '["2025-12-31 23:00:00+00",)'),
]  # fmt: skip


@pytest.mark.parametrize("client", ["duckdb", "adbc"])
@pytest.mark.parametrize(("type_", "value", "expected"), VALUES)
def test_every_value_is_the_one_of_the_source(
    declare: Declare,
    postgres: Postgres,
    type_: str,
    value: str,
    expected: str | None,
    client: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CLIENT, client)
    postgres.execute("create type @.mood as enum ('good', 'so-so')")
    postgres.execute(f"create table @.accounts (id text, user_id {type_}, changed_at timestamptz)")
    postgres.execute(f"insert into @.accounts values ('a-1', {value}, '2026-01-01 00:00+00')")
    ((found,),) = postgres.rows(
        "select format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = '@.accounts'::regclass and attname = 'user_id'"
    )
    columns = {**ACCOUNTS["columns"], "id": {"type": "text", "to": "account_id"}, "user_id": found}  # type: ignore[dict-item]
    extract(declare(accounts=ACCOUNTS | {"columns": columns}), "crm")
    (row,) = delivered(declare(accounts=ACCOUNTS))
    assert row == {"account_id": "a-1", "user_id": expected, "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}


def test_plain_values_land(declare: Declare, postgres: Postgres, lake: Lake) -> None:
    postgres.execute(
        "create table @.calls (id text, started timestamp, secs integer, advert text); "
        "insert into @.calls values ('c-1', '2026-01-15 10:00', 61, 's-1'), ('c-2', '2026-01-15 11:00', 0, 's-2')"
    )
    columns = {
        "id": {"type": "text", "to": "call_id"},
        "started": {"type": "timestamp without time zone", "to": "started_at"},
        "secs": {"type": "integer", "to": "duration_seconds"},
        "advert": {"type": "text", "to": "advert_id"},
    }
    extract(declare(calls={"table": "@.calls", "columns": columns, "cursor": "started", "overlap": 0}), "crm.calls")
    lake.land()
    rows = lake.rows("calls")
    assert [(row["call_id"], row["started_at"], row["duration_seconds"]) for row in rows] == [
        ("c-1", datetime(2026, 1, 15, 10), 61),
        ("c-2", datetime(2026, 1, 15, 11), 0),
    ]


def test_rows_come_in_pages_and_each_once(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(25))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 10})
    done = extract(settings, "crm")
    assert [file.rows for file in done.files] == [10, 10, 5]
    assert extract(settings, "crm").files == ()
    postgres.execute("update @.accounts set changed_at = now() where id = 3")
    assert extract(settings, "crm").rows == 1
    assert ids(settings) == Counter({str(n): 1 + (n == 3) for n in range(1, 26)})
    ends = [path.stem.split("_") for path in files(settings)]
    starts = {after for after, _ in ends}
    assert starts - {up_to for _, up_to in ends} == {"beginning"}, "each file begins where another ends"


def test_rows_of_one_moment_are_in_one_page(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(25) + "; update @.accounts set changed_at = date_trunc('hour', changed_at)")
    settings = declare(accounts=ACCOUNTS | {"page_rows": 1})
    extract(settings, "crm")
    assert ids(settings) == Counter({str(n): 1 for n in range(1, 26)})


def test_what_is_committed_late_comes_by_the_overlap(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(5))
    settings = declare(accounts=ACCOUNTS | {"overlap": "10 min"})
    extract(settings, "crm")
    postgres.execute("insert into @.accounts values (77, 'late', now() - interval '3 min')")
    postgres.execute("insert into @.accounts values (78, 'too late', now() - interval '1 hour')")
    extract(settings, "crm")
    assert {"77"} <= ids(settings).keys() and "78" not in ids(settings)


def test_numbers_and_days_are_cursors_too(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(
        "create table @.accounts (id bigint, user_id text, changed_at timestamptz, day date); insert into @.accounts "
        "select i, 'u', now(), date '2026-01-01' + i::int from generate_series(-2, 3) i"
    )
    columns: dict[str, Any] = dict(ACCOUNTS["columns"])  # type: ignore[call-overload]
    by_id = declare(accounts=ACCOUNTS | {"columns": columns, "ignored": ["day"], "cursor": "id", "page_rows": 4})
    assert [file.rows for file in extract(by_id, "crm").files] == [4, 2]
    postgres.execute("insert into @.accounts values (4, 'u', now(), '2026-01-09')")
    assert extract(by_id, "crm").rows == 1
    columns |= {"day": {"type": "date", "to": "birth_date"}}
    by_day = declare(accounts=ACCOUNTS | {"columns": columns, "cursor": "day", "overlap": "2 d"})
    assert extract(by_day, "crm").rows == 7
    postgres.execute("insert into @.accounts values (5, 'u', now(), '2026-01-08'), (6, 'u', now(), current_date)")
    done = extract(by_day, "crm")
    assert done.rows == 2, "of today there may be more"
    assert "have a day that is not over" in done.notes[0]
    assert {row["birth_date"] for row in delivered(by_day) if "birth_date" in row} >= {date(2026, 1, 8)}


def test_without_a_cursor_all_rows_come_each_time_and_the_same_land_once(
    declare: Declare, postgres: Postgres, lake: Lake
) -> None:
    postgres.execute(CREATE.format(4))
    settings = declare(accounts={key: value for key, value in ACCOUNTS.items() if key not in ("cursor", "overlap")})
    for _ in range(2):
        assert extract(settings, "crm").rows == 4
        lake.land()
    assert len(lake.rows("accounts")) == 4
    postgres.execute("delete from @.accounts where id = 2")
    assert extract(settings, "crm").rows == 3


def test_what_is_removed_from_the_inbox_is_known_by_its_receipt_and_what_did_not_land_comes_again(
    declare: Declare, postgres: Postgres, lake: Lake
) -> None:
    postgres.execute(CREATE.format(20))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 10})
    extract(settings, "crm")
    later, first = files(settings)
    lost = first.read_bytes()
    first.unlink()
    lake.land()
    later.unlink()
    assert [file.name.rpartition("/")[2] for file in extract(settings, "crm").files] == [first.name, later.name]
    assert first.read_bytes() == lost
    lake.land()
    first.unlink()
    later.unlink()
    assert extract(settings, "crm").files == ()
    assert len(lake.rows("accounts")) == 20


def test_a_column_that_is_new_is_said_and_one_that_is_gone_or_other_stops_its_table_alone(
    declare: Declare, postgres: Postgres
) -> None:
    postgres.execute(
        CREATE.format(3) + "; create table @.contents (id text, kind text, product text, title text, at timestamptz)"
    )
    postgres.execute("insert into @.contents values ('c-1', 'article', 'news', 't', now())")
    contents = {
        "table": "@.contents",
        "columns": {
            "id": {"type": "text", "to": "content_id"},
            "kind": {"type": "text", "to": "content_type"},
            "product": "text",
            "title": "text",
            "at": {"type": "timestamp with time zone", "to": "updated_at"},
        },
        "cursor": "at",
        "overlap": "1 s",
    }
    settings = declare(accounts=ACCOUNTS, contents=contents)
    postgres.execute("alter table @.accounts add column nickname text")
    done = extract(settings, "crm.accounts")
    (note,) = done.notes
    assert note.endswith(".accounts has a column nickname (text) that extracts/ does not name; add it there")
    postgres.execute("alter table @.accounts drop column user_id, alter id type text")
    with pytest.raises(TidemarkError, match=r"crm.accounts: .* id is text, and not bigint; user_id is gone; nothing"):
        extract(settings, "crm")
    assert len(delivered(settings, "contents")) == 1
    postgres.execute("drop table @.accounts")
    with pytest.raises(TidemarkError, match="there is no such table, or this user may not see it"):
        extract(settings, "crm")


def test_rows_without_a_cursor_and_rows_of_the_future_are_said(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(3))
    settings = declare(accounts=ACCOUNTS)
    postgres.execute("insert into @.accounts values (90, 'future', now() + interval '1 hour')")
    done = extract(settings, "crm")
    assert (done.rows, len(done.notes)) == (3, 1) and "that is not over" in done.notes[0]
    postgres.execute("update @.accounts set changed_at = now() where id = 90")
    assert extract(settings, "crm").rows == 1, "it did not set the position into the future"
    postgres.execute("insert into @.accounts values (91, 'never', null), (92, 'now', now())")
    with pytest.raises(TidemarkError, match="have no changed_at, and so are in no page; the others were delivered"):
        extract(settings, "crm")
    assert "92" in ids(settings)


def test_several_tables_are_of_one_moment(declare: Declare, postgres: Postgres) -> None:
    """What moves from one to the other while they are read is in exactly one of them."""
    postgres.execute(CREATE.format(20_000).replace("@.accounts", "@.left_ones"))
    postgres.execute("create table @.right_ones (like @.left_ones)")
    table = {key: value for key, value in ACCOUNTS.items() if key not in ("cursor", "overlap")}
    moving = subprocess.Popen([sys.executable, "-c", MOVE, postgres.url, postgres.schema], stdout=subprocess.PIPE)
    try:
        assert moving.stdout and moving.stdout.readline()
        settings = declare(accounts=table | {"table": "@.left_ones"}, adverts=ADVERTS)
        for _ in range(3):
            extract(settings, "crm")
            left = {row["account_id"] for row in pq.read_table(files(settings)[-1]).to_pylist()}
            right = {row["advert_id"] for row in pq.read_table(files(settings, "adverts")[-1]).to_pylist()}
            assert left | right == {str(n) for n in range(1, 20_001)}
            assert left.isdisjoint(right)
    finally:
        moving.kill()
        moving.wait()


ADVERTS: dict[str, Any] = {
    "table": "@.right_ones",
    "columns": {
        "id": {"type": "bigint", "to": "advert_id"},
        "changed_at": {"type": "timestamp with time zone", "to": "updated_at"},
    },
    "ignored": ["user_id"],
}
MOVE = """
import sys
from tests.support.databases import Postgres
db = Postgres(sys.argv[1])
db.schema = sys.argv[2]
for n in range(1, 20_001):
    moved = f"with moved as (delete from @.left_ones where id = {n} returning *)"
    db.execute(f"{moved} insert into @.right_ones select * from moved")
    if n == 5:
        print("moving", flush=True)
"""


def running_extract(settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "extract", "crm"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def moments() -> Iterator[float]:
    yield from (0.3, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5)


def test_killed_anywhere_it_goes_on_and_no_row_comes_twice(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(3_000))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 50})
    for seconds in moments():
        process = running_extract(settings)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    extract(settings, "crm")
    assert ids(settings) == Counter({str(n): 1 for n in range(1, 3_001)})
    assert [*(settings.inbox / "crm/accounts").glob("*/.*")] == []


def test_a_run_that_is_killed_leaves_nobody_at_work(declare: Declare, postgres: Postgres) -> None:
    """What was at work for it would rename a file that the next run has not finished."""
    postgres.execute(CREATE.format(20))
    slow = "create view @.slow as select a.*, pg_sleep(0.2)::text as slept from @.accounts as a"
    postgres.execute(slow)
    columns = {**ACCOUNTS["columns"], "slept": {"type": "text", "to": "full_name"}}  # type: ignore[dict-item]
    settings = declare(accounts=ACCOUNTS | {"table": "@.slow", "columns": columns})
    process = running_extract(settings)
    until(lambda: [*(settings.inbox / "crm/accounts").glob("*/.*.partial")])
    process.kill()
    process.wait()
    assert extract(settings, "crm").rows == 20
    time.sleep(0.5)
    assert ids(settings) == Counter({str(n): 1 for n in range(1, 21)})
    assert [*(settings.inbox / "crm/accounts").glob("*/.*")] == []


def test_what_was_refused_is_delivered_again(declare: Declare, postgres: Postgres, lake: Lake) -> None:
    postgres.execute(CREATE.format(9))
    settings = declare(accounts=ACCOUNTS)
    extract(settings, "crm")
    (file,) = files(settings)
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    assert [receipt.status for receipt in lake.land().receipts] == [Status.REFUSED]
    assert extract(settings, "crm").rows == 9
    assert file.read_bytes() == whole
    lake.land()
    assert len(lake.rows("accounts")) == 9


def test_another_declaration_begins_from_the_beginning(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(5) + "; alter table @.accounts add column name text")
    extract(declare(accounts=ACCOUNTS | {"ignored": ["name"]}), "crm")
    columns = {**ACCOUNTS["columns"], "name": {"type": "text", "to": "full_name"}}  # type: ignore[dict-item]
    assert extract(declare(accounts=ACCOUNTS | {"columns": columns}), "crm").rows == 5


def test_a_table_that_was_filled_again_below_the_cursor_is_said(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(5))
    settings = declare(accounts=ACCOUNTS | {"cursor": "id"})
    extract(settings, "crm")
    postgres.execute("update @.accounts set id = id - 3")
    assert "was emptied or restored" in extract(settings, "crm").notes[0]


def test_rows_that_a_policy_hides_are_an_error(declare: Declare, postgres: Postgres, request: Any) -> None:
    postgres.execute(CREATE.format(5) + "; alter table @.accounts enable row level security")
    postgres.execute("alter table @.accounts force row level security")
    role = f"r_{postgres.schema}"
    postgres.execute(f"create role {role} login; grant usage on schema @ to {role}")
    postgres.execute(f"grant select on @.accounts to {role}; create policy few on @.accounts using (id < 3)")
    try:
        settings = declare(accounts=ACCOUNTS)
        os.environ[VARIABLE] = postgres.url.replace("postgres:@", f"{role}:@")
        with pytest.raises(TidemarkError, match=r"crm.accounts: .*row-level security"):
            extract(settings, "crm")
    finally:
        postgres.execute(f"drop owned by {role}; drop role {role}")


def test_two_at_once_wait_for_each_other(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(20_000))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 50})
    both = [running_extract(settings) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert ids(settings) == Counter({str(n): 1 for n in range(1, 20_001)})


def test_a_server_that_drops_the_connection_is_asked_again(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(4_000))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 40})
    said: list[str] = []

    def drop(line: str) -> None:
        said.append(line)
        if len(said) == 3:
            postgres.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
                "and query like '%accounts%'"
            )

    extract(settings, "crm", drop)
    assert any("another try" in line for line in said)
    assert ids(settings) == Counter({str(n): 1 for n in range(1, 4_001)})


@pytest.mark.parametrize("password", ["hunter2-of-the-tests", "p%40ss%20word-of-tests"])
def test_no_secret_is_in_a_message(
    declare: Declare, monkeypatch: pytest.MonkeyPatch, password: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = declare(accounts=ACCOUNTS)
    monkeypatch.setenv(VARIABLE, f"postgresql://reader:{password}@127.0.0.1:1/db")
    said: list[str] = []
    with pytest.raises(TidemarkError, match=r"crm: .*Connection refused") as raised:
        extract(settings, "crm", said.append)
    assert len(said) == running.TRIES - 1
    everything = "\n".join([*said, str(raised.value), *capfd.readouterr()])
    assert password not in everything and "word-of-tests" not in everything
    for wrong in (f"{password}/x@crm/db", f"a{password}@b@crm/db", f"{password}?x@crm/db", f"{password}#x@crm/db"):
        monkeypatch.setenv(VARIABLE, f"postgresql://reader:{wrong}")
        with pytest.raises(TidemarkError, match="is no address: in its password write") as raised:
            extract(settings, "crm")
        assert password not in str(raised.value)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(TidemarkError, match=f"crm: {VARIABLE} is not set"):
        extract(settings, "crm")


def test_the_wrong_kind_of_cursor_is_said(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(1))
    with pytest.raises(TidemarkError, match="cursor user_id is text; one of smallint, integer"):
        extract(declare(accounts=ACCOUNTS | {"cursor": "user_id"}), "crm")
    with pytest.raises(TidemarkError, match="overlap: the cursor id is bigint; write a whole number"):
        extract(declare(accounts=ACCOUNTS | {"cursor": "id", "overlap": "5 min"}), "crm")
    with pytest.raises(
        TidemarkError, match="overlap: the cursor changed_at is timestamp with time zone; write a length"
    ):
        extract(declare(accounts=ACCOUNTS | {"overlap": 5}), "crm")


def test_a_user_that_may_not_read_is_told_so_without_sql(declare: Declare, postgres: Postgres) -> None:
    role = f"r_{postgres.schema}"
    postgres.execute(CREATE.format(5) + f"; create role {role} login; grant usage on schema @ to {role}")
    try:
        settings = declare(accounts=ACCOUNTS)
        os.environ[VARIABLE] = postgres.url.replace("postgres:@", f"{role}:@")
        with pytest.raises(TidemarkError, match=r"crm.accounts: this user may not read accounts; grant it") as raised:
            extract(settings, "crm")
        assert "select" not in str(raised.value).replace("grant it `select`", "")
    finally:
        postgres.execute(f"drop owned by {role}; drop role {role}")


def test_a_query_that_takes_too_long_is_ended_by_the_server(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(5) + "; create view @.slow as select *, pg_sleep(2)::text as slept from @.accounts")
    columns = {**ACCOUNTS["columns"], "slept": {"type": "text", "to": "full_name"}}
    settings = declare(accounts=ACCOUNTS | {"table": "@.slow", "columns": columns})
    path = settings.extracts / "crm.yml"
    path.write_text(path.read_text().replace("kind: postgres", "kind: postgres\n  longest_query: 1 s"))
    with pytest.raises(TidemarkError, match=r"a query took longer than `longest_query: 0:00:01` lets it"):
        extract(settings, "crm")


@pytest.mark.parametrize("client", ["duckdb", "adbc"])
def test_each_client_reads_pages_of_one_snapshot_and_says_what_is_wrong(
    declare: Declare, postgres: Postgres, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, client)
    postgres.execute(CREATE.format(25))
    settings = declare(accounts=ACCOUNTS | {"page_rows": 10})
    moved: list[str] = []

    def change(line: str) -> None:
        if not moved:
            postgres.execute("update @.accounts set changed_at = changed_at - interval '1 day'")
        moved.append(line)

    assert [file.rows for file in extract(settings, "crm", change).files] == [10, 10, 5]
    assert extract(settings, "crm").files == ()
    monkeypatch.setenv(VARIABLE, "postgresql://reader:hunter2-of-tests@127.0.0.1:1/db")
    said: list[str] = []
    with pytest.raises(TidemarkError, match="refused") as raised:
        extract(settings, "crm", said.append)
    assert len(said) == running.TRIES - 1 and "hunter2" not in "".join([*said, str(raised.value)])
