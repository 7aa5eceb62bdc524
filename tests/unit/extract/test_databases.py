"""What is declared of databases and their addresses."""

import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import ValidationError

from flows.contract.spec import load_specs
from flows.extract.databases.clients import with_defaults
from flows.extract.databases.declared import Database, Table


def table(**more: object) -> Table:
    columns = {"id": {"type": "bigint", "to": "account_id"}, "user_id": "text", "updated_at": "timestamp"}
    return Table.model_validate({"table": "public.accounts", "columns": columns} | more)


def test_lengths_of_time_are_read() -> None:
    assert table(compare_keys="1 d").compare_keys == timedelta(days=1)
    assert Database(kind="mysql", url_from="URL", longest_query="10 min").longest_query == timedelta(minutes=10)  # type: ignore[arg-type]
    for wrong in ("daily", 5, "0 d"):
        with pytest.raises(ValidationError, match="write a length of time such as"):
            table(compare_keys=wrong)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        table(most_deleted=10)


def test_keys_are_compared_only_where_the_contract_has_a_place_for_them() -> None:
    assert [*table(compare_keys="1 d").faults(load_specs()["accounts"])] == []
    columns = {"id": {"type": "text", "to": "call_id"}, "at": {"type": "timestamp", "to": "started_at"}}
    calls = Table.model_validate({"table": "a.b", "columns": columns, "compare_keys": "1 d"})
    assert any(
        re.match("compare_keys: the contract has no dataset of lists of keys of calls", fault)
        for fault in calls.faults(load_specs()["calls"])
    )


def test_how_often_keys_are_compared_begins_nothing_again() -> None:
    assert table().mark() == table(compare_keys="1 d", most_deleted=0.5).mark()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d?a=1&b=2"),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require&a=1&b=2"),
        ("postgresql://u:p@h/d?b=7", "postgresql://u:p@h/d?b=7&a=1"),
        ("host=h dbname=d", "host=h dbname=d a=1 b=2"),
        ("host=h a=0 b=0", "host=h a=0 b=0"),
    ],
)
def test_an_address_keeps_what_it_says(url: str, expected: str) -> None:
    assert with_defaults(url, {"a": "1", "b": "2"}) == expected


def test_who_waits_too_long_is_ended_even_within_a_client() -> None:
    waits = (
        "import time; from datetime import timedelta; from flows.extract.databases import patience; "
        "patience.LONGER_SECONDS = 0.1\n"
        "with patience.patient(timedelta()): pass\n"
        "with patience.patient(timedelta()): time.sleep(60)"
    )
    done = subprocess.run([sys.executable, "-c", waits], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGALRM
    assert "the server did not answer, nor end its query" in done.stderr
