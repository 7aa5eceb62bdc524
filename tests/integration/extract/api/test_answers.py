"""Answers that are late, broken, too long, or of another shape, and the values of those that are none of it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.errors import TidemarkError
from flows.extract.api import client as asking
from flows.extract.api import spool
from flows.extract.errors import MayPassError
from tests.support.apis import Api, Fault, answers, breaks_off, waits
from tests.support.telephony import BY_CURSOR, CALLS, Declared, all_of, call


def test_values_keep_their_digits_and_nested_ones_are_json(api: Api, declared: Declared) -> None:
    api.lists["calls"] = []
    body = (
        b'{"data": [{"id": "\xc3\xb6\\ud83d", "about": {"advert": 9223372036854775808}, "started_at": "x", '
        b'"seconds": 1.10, "text": "{}", "more": [1.0, {"a": 1e400, "b": null, "c": "\xc3\xb6\\""}, true], "odd": 5}]}'
    )
    api.each = answers(200, body)
    columns = {**CALLS["columns"], "more": {"type": "array", "to": "channel"}}
    del columns["updated_at"]
    declared.write(calls=CALLS | {"columns": columns, "paging": {"kind": "none"}}).run()
    (row,) = declared.rows()
    assert row == {
        "call_id": "ö\ufffd",
        "advert_id": "9223372036854775808",
        "started_at": "x",
        "duration_seconds": "1.10",
        "transcript": "{}",
        "channel": '[1.0,{"a":1e400,"b":null,"c":"ö\\""},true]',
    }
    assert declared.notes == [
        "telephony.calls: its rows have odd (integer), which extracts/ does not name; add it there, to columns or to "
        "ignored"
    ]


@pytest.mark.parametrize("group", [1, 2, 4, 5, 10, 11])
@pytest.mark.parametrize("by", [{}, BY_CURSOR | {"order": "ascending", "file_rows": 4}])
def test_rows_are_written_in_groups(
    api: Api, declared: Declared, group: int, by: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "GROUP_ROWS", group)
    declared.write(calls=CALLS | by).run()
    assert declared.ids() == all_of(api)
    assert [pq.ParquetFile(path).num_row_groups for path in declared.files()] == [
        -(-pq.read_metadata(path).num_rows // group) for path in declared.files()
    ]


PASSING: list[tuple[str, Fault]] = [
    ("429", answers(429, Retry_After="0")),
    ("429 in a second", answers(429, Retry_After="1")),
    ("429 until", answers(429, Retry_After=format_datetime(datetime.now(UTC), usegmt=True))),
    ("503", answers(503, b"<html>busy</html>")),
    ("500", answers(500)),
    ("hung up in the body", breaks_off(1_000)),
    ("hung up in a body of no length", breaks_off(None)),
    ("too short a length", answers(200, b'{"data": []}'[:-3])),
    ("a page of HTML", answers(200, b"<html>login</html>", Content_Type="text/html")),
    ("half of JSON", answers(200, b'{"data": [')),
    ("no JSON", answers(200, b'{"data": [NaN]}')),
    ("a name twice", answers(200, b'{"data": [], "data": []}')),
    ("no UTF-8", answers(200, b'{"data": ["\xff"]}')),
    ("deep", answers(200, b"[" * 100_000)),
    ("no gzip", answers(200, b"abc", Content_Encoding="gzip")),
    ("half of a gzip", answers(200, b"\x1f\x8b\x08\x00\x00\x00\x00\x00", Content_Encoding="gzip")),
    ("nothing", answers(200, b"")),
]  # fmt: skip


@pytest.mark.parametrize("fault", [fault for _, fault in PASSING], ids=[name for name, _ in PASSING])
def test_what_passes_is_asked_again(api: Api, declared: Declared, fault: Fault) -> None:
    api.faults = {2: fault, 3: fault}
    declared.write(calls=CALLS).run()
    assert declared.ids() == all_of(api)
    assert declared.leftovers() == []


ADVERTS = {"id": {"type": "string", "to": "advert_id"}, "at": {"type": "string", "to": "updated_at"}}


@pytest.mark.parametrize("fault", [fault for _, fault in PASSING[3:7]], ids=[name for name, _ in PASSING[3:7]])
def test_what_does_not_pass_ends_with_no_file_and_stops_no_other(api: Api, declared: Declared, fault: Fault) -> None:
    api.lists["adverts"] = [{"id": "a-1", "at": "2026-01-15T10:00:00Z"}]
    adverts = {**CALLS, "path": "adverts", "columns": ADVERTS}

    def only_calls(handler: Any) -> bool:
        return "/calls" in handler.path and handler.number > 1 and fault(handler)

    api.each = only_calls
    with pytest.raises(MayPassError, match=r"^telephony\.calls: page 2: (answered|the connection|the answer)"):
        declared.write(calls=CALLS, adverts=adverts | {"paging": {"kind": "none"}}).run()
    assert (declared.files(), len(declared.rows("adverts")), declared.leftovers()) == ([], 1, [])


@pytest.mark.parametrize("fault", [waits(30), waits(0.05, b" ")], ids=["silent", "drips"])
def test_an_answer_that_does_not_end_is_waited_for_so_long(
    api: Api, declared: Declared, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.faults = {2: fault}
    declared.write(calls=CALLS, timeout=0.4).run()
    assert declared.ids() == all_of(api)
    monkeypatch.setattr(asking, "TRIES", 2)
    api.each = fault
    with pytest.raises(MayPassError, match=r"page 1: no whole answer within 0\.4 s; `timeout` of the connection"):
        declared.run()


def test_too_long_a_wait_and_too_long_an_answer_are_said(
    api: Api, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    for said in ("7200", later):
        api.each = answers(429, Retry_After=said)
        asked = len(api.asked)
        with pytest.raises(
            MayPassError, match=r"answered 429 \(Too Many Requests\), to be asked again in 7,[12]\d\d s"
        ):
            declared.write(calls=CALLS).run()
        assert len(api.asked) == asked + 1
    monkeypatch.setattr(asking, "ANSWER_BYTES", 1 << 20)
    api.each = answers(200, b" " * (2 << 20))
    with pytest.raises(TidemarkError, match="more than 1 MiB; ask for fewer rows a page"):
        declared.run()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, r"answered 400 \(Bad Request\); look at the parameters"),
        (401, r"answered 401 \(Unauthorized\); its credentials are not"),
        (403, r"answered 403 \(Forbidden\); its credentials may not see this"),
        (404, r"answered 404 \(Not Found\); look at the address"),
        (499, "answered 499 "),
        (304, "answered 304 "),
    ],
)
def test_what_is_final_is_asked_once(api: Api, declared: Declared, status: int, words: str) -> None:
    api.each = answers(status)
    with pytest.raises(TidemarkError, match=f"telephony.calls: page 1: {words}") as raised:
        declared.write(calls=CALLS).run()
    assert not isinstance(raised.value, MayPassError) and len(api.asked) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'{"error": "x", "code": 1}',
            "no list of rows stands in the answer at 'data': there is nothing; it has code, er",
        ),
        (b'{"data": {"id": 1}}', "at 'data': there is object; it has data"),
        (b'[{"id": 1}]', "at 'data': it is array, and not object"),
        (b'{"data": [5]}', "in row 1 of page 1 there is integer, and not object"),
    ],
)
def test_an_answer_of_another_shape_is_said(api: Api, declared: Declared, body: bytes, words: str) -> None:
    api.each = answers(200, body)
    with pytest.raises(TidemarkError, match=words):
        declared.write(calls=CALLS).run()


def test_columns_that_change_stop_their_dataset_alone_and_no_value_is_said(api: Api, declared: Declared) -> None:
    api.lists["calls"][4] |= {"seconds": "secret words"}
    declared.write(calls=CALLS)
    with pytest.raises(TidemarkError, match=r"in row 2 of page 2 seconds is string, and not number; no file") as raised:
        declared.run()
    assert "secret words" not in str(raised.value)
    api.lists["calls"][4] |= {"seconds": None, "about": None}
    declared.run()
    assert declared.ids() == all_of(api)
    api.lists["calls"][4] |= {"about": "a-4"}
    with pytest.raises(TidemarkError, match=r"row 2 of page 2 about is string, and not object"):
        declared.run()
    api.lists["calls"] = [{**call(n), "added": [n]} for n in range(5)]
    for row in api.lists["calls"]:
        del row["about"], row["seconds"]
    with pytest.raises(TidemarkError, match=r"about\.advert, seconds is gone: no row has it; no file"):
        declared.run()
    assert "its rows have added (array), which extracts/ does not name" in declared.notes[-1]
    assert len(declared.files()) == 1 and declared.leftovers() == []
