"""What is reported of a file of which no row fits."""

import json
from collections import Counter

import pytest

from flows.contract.spec import load_specs
from flows.land.hints import Rejected, likely_cause, no_row_fits
from tests.support.deliveries import event

SPECS = load_specs()


def cause(*lines: bytes | str, columns: tuple[str, ...] = (), dataset: str = "events") -> str | None:
    raws = [line.encode() if isinstance(line, str) else line for line in lines]
    return likely_cause([Rejected("malformed", None, raw) for raw in raws], columns, SPECS[dataset], SPECS)


ACCOUNT = json.dumps({"account_id": "1", "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['[{"a":1},'], "a JSON array"),
        ([b"\xef\xbb\xbf[", '{"a":1},', "]"], "a JSON array"),
        (["event_id;occurred_at", "1;2"], "separated by semicolons"),
        (["event_id\toccurred_at", "1\t2"], "separated by tabs"),
        (["event_id,occurred_at", "1,2"], "separated by commas"),
        (["<html>", "<p>"], "XML or HTML"),
        ([b'{\0"\0'], "UTF-16"),
        ([json.dumps({"records": [event(1)]})], "wrapped in a key"),
        ([json.dumps({"value": event(1)})], "wrapped in a key"),
        ([ACCOUNT], "fit the dataset accounts better"),
        (['{"ts":1,"name":"Anna Andersson","uid":2}'], "another product's export"),
    ],
)
def test_a_likely_cause_is_reported(lines: list[bytes | str], words: str) -> None:
    result = cause(*lines)
    assert result is not None and words in result
    assert "Anna" not in result and "uid" not in result


def test_columns_say_it_too() -> None:
    assert "semicolons" in (cause(columns=("event_id;product",)) or "")
    assert "dataset accounts" in (cause(columns=("account_id", "created_at", "updated_at")) or "")


@pytest.mark.parametrize("lines", [[json.dumps(event(1))], ["x"], ["this is not JSON"], [""], []])
def test_where_none_is_likely_none_is_reported(lines: list[bytes | str]) -> None:
    assert cause(*lines) is None


def test_reasons_are_counted() -> None:
    reasons: Counter[tuple[str, str | None]] = Counter({("missing", "device_id"): 3, ("malformed", None): 1})
    assert no_row_fits(4, reasons, [], [], SPECS["events"], SPECS) == (
        "no row fits (4 read, 3 of them missing in device_id)"
    )
    assert no_row_fits(160, Counter({("no_payload", "payload"): 160}), [], [], SPECS["events"], SPECS) == (
        "no row fits (160 read, all no payload)"
    )
