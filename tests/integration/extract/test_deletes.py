"""What a source deleted is gone from the marts, or says so in them; and nothing else is."""

import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.build.build import build
from flows.build.warehouse import open_warehouse
from flows.errors import TidemarkError
from flows.extract.run import extract
from flows.land.pseudonyms import pseudonym_of
from flows.land.receipt import Status
from flows.settings import Settings
from tests.integration.extract.conftest import ACCOUNTS, CREATE, Declare, files
from tests.support.databases import Postgres
from tests.support.lake import KEY, Lake

COMPARED = ACCOUNTS | {"compare_keys": "1 s", "overlap": "1 s"}
WHOLE = {key: value for key, value in ACCOUNTS.items() if key not in ("cursor", "overlap")}
CONTENTS: dict[str, Any] = {
    "table": "@.contents",
    "columns": {
        "id": {"type": "text", "to": "content_id"},
        "kind": {"type": "text", "to": "content_type"},
        "product": "text",
        "at": {"type": "timestamp with time zone", "to": "updated_at"},
    },
    "cursor": "at",
    "overlap": "1 s",
    "compare_keys": "1 s",
}
CREATE_CONTENTS = """
create table @.contents (id text, kind text, product text, at timestamptz);
insert into @.contents select 'c-' || i, 'article', 'news', '2026-01-01' from generate_series(1, 30) i
"""
OK_TO_DELETE = ("accept_deletes",)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", KEY)


def lists(settings: Settings, dataset: str = "account_keys") -> list[Path]:
    return sorted((settings.inbox / "crm" / dataset).glob("extract-*/*.parquet"))


def listed(settings: Settings) -> set[str]:
    (path,) = lists(settings)
    return {row["account_id"] for row in pq.read_table(path).to_pylist()}


def until_keys_are_compared_again() -> None:
    """As long as COMPARED says: a fast machine lands within it."""
    time.sleep(1)


def account(number: int) -> bytes:
    return pseudonym_of(KEY.encode(), "account_key", str(number).encode())


def marts(lake: Lake) -> dict[str, set[Any]]:
    lake.land()
    done = build(lake.settings, ("--select", "+dim_accounts", "+dim_contents", "--exclude-resource-type", "unit_test"))
    assert not done.failed, [(node.name, node.message) for node in done.failed]
    with open_warehouse(lake.settings, read_only=True) as db:
        accounts = db.execute("select account_key from marts.dim_accounts").fetchall()
        contents = db.execute("select content_id, is_deleted from marts.dim_contents").fetchall()
    return {"accounts": {key.bytes for (key,) in accounts}, "contents": set(contents)}


def whole_again(lake: Lake) -> dict[str, set[Any]]:
    selected = ("--full-refresh", "--select", "+dim_accounts", "+dim_contents", "--exclude-resource-type", "unit_test")
    assert not build(lake.settings, selected).failed
    return marts(lake)


def touched(lake: Lake) -> list[tuple[Any, ...]]:
    with open_warehouse(lake.settings, read_only=True) as db:
        return db.execute(
            "select _batch_id, account_key::varchar from intermediate.int_audience__accounts_touched "
            "union all select _batch_id, content_id from intermediate.int_content__contents_touched order by all"
        ).fetchall()


def test_what_was_deleted_goes_and_what_comes_back_is_there(declare: Declare, postgres: Postgres, lake: Lake) -> None:
    postgres.execute(CREATE.format(30) + "; " + CREATE_CONTENTS)
    settings = declare(accounts=COMPARED, contents=CONTENTS)
    extract(settings, "crm")
    first = marts(lake)
    assert first["accounts"] == {account(n) for n in range(1, 31)}
    assert first["contents"] == {(f"c-{n}", False) for n in range(1, 31)}
    postgres.execute("delete from @.accounts where id in (3, 4); delete from @.contents where id = 'c-7'")
    postgres.execute("insert into @.accounts values (31, 'u', now())")
    extract(settings, "crm", options=OK_TO_DELETE)
    gone = marts(lake)
    assert gone["accounts"] == {account(n) for n in range(1, 32) if n not in (3, 4)}
    assert gone["contents"] == {(f"c-{n}", n == 7) for n in range(1, 31)}
    # Here again, before keys are compared again.
    postgres.execute("insert into @.accounts values (3, 'u-3', now())")
    later = declare(accounts=COMPARED | {"compare_keys": "1 d"}, contents=CONTENTS)
    assert next(file.rows for file in extract(later, "crm.accounts").files) >= 1
    back = marts(lake)
    assert back["accounts"] == gone["accounts"] | {account(3)}
    by_batches = touched(lake)
    assert whole_again(lake) == back
    assert touched(lake) == by_batches


def test_too_much_that_is_gone_stops_and_asks(declare: Declare, postgres: Postgres, lake: Lake) -> None:
    postgres.execute(CREATE.format(200))
    settings = declare(accounts=COMPARED)
    extract(settings, "crm")
    lake.land()
    until_keys_are_compared_again()
    postgres.execute("update @.accounts set id = id + 1000 where id > 100")  # as many, and not the same
    for where in ("false", "id > 100", "true"):
        postgres.execute(f"delete from @.accounts where {where}")
        with pytest.raises(TidemarkError, match=r"crm.accounts: (100|200) of 200 that landed are not there any more"):
            extract(settings, "crm")
        assert listed(settings) == {str(n) for n in range(1, 201)}
    done = extract(settings, "crm", options=OK_TO_DELETE)
    assert [file.rows for file in done.files] == [0]
    assert [receipt.rows_landed for receipt in lake.land().receipts if receipt.dataset == "account_keys"] == [0]


def test_without_the_key_of_pseudonyms_numbers_are_compared(
    declare: Declare, postgres: Postgres, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMARK_PSEUDONYM_KEY")
    postgres.execute(CREATE.format(200))
    settings = declare(accounts=COMPARED)
    extract(settings, "crm")
    lake.land()
    until_keys_are_compared_again()
    postgres.execute("delete from @.accounts where id > 100")
    with pytest.raises(TidemarkError, match=r"100 of 200 that landed are not there any more"):
        extract(settings, "crm")


def test_a_list_that_lacks_a_row_that_does_not_land_says_nothing(
    declare: Declare, postgres: Postgres, lake: Lake
) -> None:
    postgres.execute("create table @.accounts (id text, user_id text not null, changed_at timestamptz)")
    postgres.execute("insert into @.accounts values ('a', 'u', now()), (null, 'u', now()), ('', 'u', now())")
    columns = {**ACCOUNTS["columns"], "id": {"type": "text", "to": "account_id"}}  # type: ignore[dict-item]
    settings = declare(accounts=COMPARED | {"columns": columns})
    extract(settings, "crm")
    assert listed(settings) == {"a"}
    (receipt,) = [receipt for receipt in lake.land().receipts if receipt.dataset == "account_keys"]
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 0)


def test_without_a_cursor_the_last_delivery_is_all_there_is(declare: Declare, postgres: Postgres, lake: Lake) -> None:
    postgres.execute(CREATE.format(30))
    settings = declare(accounts=WHOLE)
    extract(settings, "crm")
    (first,) = lake.land().receipts
    postgres.execute("update @.accounts set user_id = 'other' where id = 3")
    extract(settings, "crm")
    (second,) = lake.land().receipts
    postgres.execute("update @.accounts set user_id = 'u-3' where id = 3")
    extract(settings, "crm")
    (third,) = lake.land().receipts
    assert (third.status, third.rows_landed, third.sha256) == (Status.LANDED, 30, first.sha256)
    assert (second.supersedes_batch_id, third.supersedes_batch_id) == (first.batch_id, second.batch_id)
    postgres.execute("delete from @.accounts")
    with pytest.raises(TidemarkError, match=r"30 of 30 that landed are not there any more; .*--accept-deletes"):
        extract(settings, "crm")
    assert pq.read_metadata(files(settings)[0]).num_rows == 30
    extract(settings, "crm", options=OK_TO_DELETE)
    (last,) = lake.land().receipts
    assert (last.status, last.rows_landed, last.supersedes_batch_id) == (Status.LANDED, 0, third.batch_id)
    assert extract(settings, "crm").rows == 0


def test_keys_are_compared_when_it_is_time(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(3))
    settings = declare(accounts=COMPARED | {"compare_keys": "1 d"})
    extract(settings, "crm")
    (path,) = lists(settings)
    before = path.stat().st_mtime
    extract(settings, "crm")
    assert path.stat().st_mtime == before
    path.touch()
    extract(settings, "crm", options=OK_TO_DELETE)
    assert path.stat().st_mtime > before


def test_from_the_beginning_all_comes_again_beside_what_came(declare: Declare, postgres: Postgres, lake: Lake) -> None:
    postgres.execute(CREATE.format(5))
    settings = declare(accounts=ACCOUNTS | {"cursor": "id"})
    extract(settings, "crm")
    lake.land()
    postgres.execute("update @.accounts set id = id - 3")
    assert "--from-the-beginning" in extract(settings, "crm").notes[0]
    done = extract(settings, "crm", options=("from_the_beginning",))
    assert done.rows == 5 and "/again-" in done.files[0].name
    assert [receipt.supersedes_batch_id for receipt in lake.land().receipts] == [None]
    assert extract(settings, "crm").files == (), "how far it is has not changed"
    with pytest.raises(TidemarkError, match="do not know --half-of-it"):
        extract(settings, "crm", options=("half_of_it",))


def test_notes_are_told_also_where_an_extract_fails(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(3) + "; alter table @.accounts add column nickname text")
    settings = declare(accounts=ACCOUNTS, contents=CONTENTS)
    notes: list[str] = []
    with pytest.raises(TidemarkError, match="there is no such table"):
        extract(settings, "crm", noticed=notes.append)
    assert len(notes) == 1 and "has a column nickname" in notes[0]


def test_moments_that_are_none_are_said(declare: Declare, postgres: Postgres) -> None:
    postgres.execute(CREATE.format(3))
    postgres.execute(
        "insert into @.accounts values (4, 'u', 'infinity'), (5, 'u', '-infinity'), (6, 'u', '0100-01-01 BC')"
    )
    settings = declare(accounts=ACCOUNTS)
    for _ in range(2):
        with pytest.raises(
            TidemarkError, match="have a changed_at of -infinity or before the year 1, and so are in no"
        ):
            extract(settings, "crm")
    rows = [row["account_id"] for path in files(settings) for row in pq.read_table(path).to_pylist()]
    assert sorted(rows) == ["1", "2", "3"]
    postgres.execute("delete from @.accounts where changed_at < '0001-01-01'")
    assert "not over" in extract(settings, "crm").notes[0]
