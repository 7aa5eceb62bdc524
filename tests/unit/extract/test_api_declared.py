"""What is declared of a REST API, and the small parts that read it."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from math import lcm
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.extract.api.answers import json_text, kind_of, parsed, text_of, value_at
from flows.extract.api.authorisation import authorisation
from flows.extract.api.cursors import before, cursor_of, latest_end, reached_by, sent
from flows.extract.api.declared import LEAST_VARIED_SIZE, Api, ApiSource, Endpoint
from flows.extract.api.paging import page_across
from flows.extract.declared import load_declared
from flows.extract.position import window_name
from flows.extract.worker import without_secrets
from tests.support.extracts import written

GOOD: dict[str, Any] = {
    "connection": {
        "kind": "api",
        "url_from": "TELEPHONY_URL",
        "auth": {"kind": "bearer", "token_from": "TELEPHONY_TOKEN"},
    },
    "extracts": {
        "calls": {
            "path": "calls",
            "rows": "data",
            "columns": {
                "id": {"type": "string", "to": "call_id"},
                "advert.id": {"type": "string|integer", "to": "advert_id"},
                "updated": {"type": "string", "to": "started_at"},
                "transcript": "string | null",
            },
            "paging": {"kind": "cursor", "next": "meta.next", "parameter": "cursor"},
            "cursor": "updated",
            "since": "updated_since",
            "overlap": "15 min",
        }
    },
}


def with_changes(*changes: tuple[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {**GOOD, "connection": {**GOOD["connection"]}, "extracts": {"calls": {**CALLS}}}
    for path, value in changes:
        inside = made
        *above, last = path.split("/")
        for step in above:
            inside[step] = dict(inside[step])
            inside = inside[step]
        inside[last] = value
    return made


CALLS = GOOD["extracts"]["calls"]
IN = "extracts/calls"
NUMBER = (f"{IN}/columns/updated", {"type": "integer", "to": "started_at"})
PAGE = {"kind": "page", "parameter": "page"}
WRONG: list[tuple[list[tuple[str, Any]], str]] = [
    ([("connection/url_from", "https://me:hunter2@api")], r"connection\.url_from: string should match pattern"),
    ([("connection/auth", {"kind": "basic"})], r"connection\.auth: input tag 'basic'"),
    (
        [("connection/auth", {"kind": "oauth", "scope": "x"})],
        r"connection\.auth\.oauth\.token_url_from: field required",
    ),
    ([("connection/timeout", 0)], r"connection\.timeout: input should be greater than 0"),
    ([(f"{IN}/paging", None)], r"extracts\.calls\.paging: "),
    ([(f"{IN}/paging", {**PAGE, "size": 9})], r"paging\.size: say with `size_parameter`, and only with it"),
    ([(f"{IN}/path", "https://api/calls")], r"extracts\.calls\.path: string should match"),
    ([(f"{IN}/columns/id", {"type": "text", "to": "call_id"})], r"columns\.id: text is no type of JSON \(string, num"),
    ([(f"{IN}/since", None)], "cursor: say together with `since`, the parameter that takes it, and `overlap`"),
    ([(f"{IN}/cursor", None)], "cursor: say together with"),
    ([(f"{IN}/cursor", "at")], "cursor: 'at' is not among the columns"),
    ([(f"{IN}/cursor", "advert.id")], "cursor: 'advert.id' is string or integer; string .* or integer is needed"),
    ([NUMBER], "order: with a cursor of numbers say in which one rows come"),
    ([NUMBER, (f"{IN}/order", "ascending")], "overlap: the cursor 'updated' is a number; write a whole number"),
    ([(f"{IN}/overlap", 5)], "overlap: the cursor 'updated' is a moment or a day; write a length of time"),
    (
        [(f"{IN}/cursor", None), (f"{IN}/since", None), (f"{IN}/overlap", None), (f"{IN}/order", "ascending")],
        "order: it is by the cursor, and there is none",
    ),
]


def test_a_declaration_is_read(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "telephony.yml")
    source = load_declared(tmp_path).one("telephony").source
    assert isinstance(source, ApiSource)
    endpoint = source.extracts["calls"]
    assert endpoint.types("advert.id") == ("string", "integer")
    assert (endpoint.overlap, source.connection.timeout) == (timedelta(minutes=15), 60)
    assert source.connection.variables() == ("TELEPHONY_URL", "TELEPHONY_TOKEN")


@pytest.mark.parametrize(("changes", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_what_is_wrong_is_said(tmp_path: Path, changes: list[tuple[str, Any]], words: str) -> None:
    written(tmp_path, with_changes(*changes), "telephony.yml")
    with pytest.raises(TidemarkError, match=words) as raised:
        load_declared(tmp_path).one("telephony")
    assert "hunter2" not in str(raised.value)


def test_what_the_guide_shows_is_taken(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "guides" / "extracts-from-apis.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    written(tmp_path, example, "telephony.yml")
    assert load_declared(tmp_path).faults == {}
    shown = [yaml.safe_load(found) for found in re.findall(r"^\| (?:`(\{kind: .*?\})`)", text, re.MULTILINE)]
    assert len(shown) == 9
    for one in shown:
        given = {name: "VARIABLE" if name.endswith("_from") else value for name, value in one.items()}
        is_auth = one["kind"] in ("bearer", "header", "oauth")
        model = Api if is_auth else Endpoint
        below = {**GOOD["connection"], "auth": given} if is_auth else {**CALLS, "paging": given}
        model.model_validate(below)


def test_all_comes_again_where_it_is_other_rows_and_not_where_they_only_come_otherwise() -> None:
    def mark(**changes: Any) -> str:
        return Endpoint.model_validate({**CALLS, **changes}).mark()

    for same in ({"paging": PAGE}, {"file_rows": 7}, {"overlap": "1 h"}, {"ignored": ["links"]}):
        assert mark(**same) == mark()
    for other in ({"parameters": {"status": "all"}}, {"rows": ""}, {"path": "v3/calls"}, {"order": "ascending"}):
        assert mark(**other) != mark()


@pytest.mark.parametrize(
    ("text", "kind", "written_as"),
    [
        ("1.10", "number", "1.10"),
        ("9223372036854775808", "integer", "9223372036854775808"),
        ("-0", "integer", "-0"),
        ("1e400", "number", "1e400"),
        ("true", "boolean", "true"),
        ('"1.10"', "string", "1.10"),
        ('"\\u00f6"', "string", "ö"),
        ("null", "null", None),
        ('[1.0, {"a\\"": [null, "ö"]}]', "array", '[1.0,{"a\\"":[null,"ö"]}]'),
        ("{}", "object", "{}"),
    ],
)
def test_a_value_is_the_text_that_stands_there(text: str, kind: str, written_as: str | None) -> None:
    value = parsed(b"\xef\xbb\xbf" + text.encode())
    assert (kind_of(value), text_of(value)) == (kind, written_as)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_json_is_written_as_it_was_read(value: Any) -> None:
    text = json_text(value).encode(errors="surrogatepass").decode(errors="replace")
    assert json_text(parsed(text.encode())) == text


def test_values_are_found_by_their_path() -> None:
    row = {"a": {"b": None, "c": 0}, "d": None}
    assert value_at(row, ("a", "c")) == (True, 0)
    assert value_at(row, ("a", "b")) == value_at(row, ("d", "x", "y")) == (True, None)
    assert value_at(row, ("a", "x")) == value_at(row, ("e",)) == (False, None)


@given(
    st.integers(LEAST_VARIED_SIZE, 500),
    st.integers(1, 10**8).filter(lambda end: end % lcm(*range(11, LEAST_VARIED_SIZE + 1)) != 0),
)
def test_a_page_of_some_size_begins_within_what_was_read_and_goes_beyond_it(size: int, end: int) -> None:
    shared = min(max(1, size // 10), end)
    page, found = page_across(end - shared, end, size)
    assert found <= size and page * found <= end - shared and (page + 1) * found > end


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-15T10:00:00Z", datetime(2026, 1, 15, 10, tzinfo=UTC)),
        ("2026-01-15T12:00:00.123456789+02:00", datetime(2026, 1, 15, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-15 10:00:00", datetime(2026, 1, 15, 10, tzinfo=UTC)),
        ("2026-01-15", date(2026, 1, 15)),
    ],
)
def test_moments_and_days_are_read(text: str, value: Any) -> None:
    assert cursor_of(text, is_number=False) == value
    assert reached_by([window_name(None, value)], is_number=False) == value


@pytest.mark.parametrize("text", [None, "", "x", "0001-01-01T00:00:00+05:00", "2026-13-01", "1768471200"])
def test_what_is_no_moment_is_not_guessed(text: str | None) -> None:
    with pytest.raises(ValueError, match=r"has no value|is no moment"):
        cursor_of(text, is_number=False)


def test_what_is_sent_is_earlier_by_the_overlap() -> None:
    at = datetime(2026, 1, 15, 10, 0, 0, 500_000, tzinfo=UTC)
    assert sent(before(at, timedelta(minutes=15))) == "2026-01-15T09:45:00.500000Z"
    assert sent(before(date(2026, 1, 15), timedelta(days=1))) == "2026-01-14"
    assert (sent(before(7, 3)), sent(before(None, 3))) == ("4", None)
    assert before(datetime.min.replace(tzinfo=UTC), timedelta(days=1)) is None
    assert latest_end(at, at) == at.replace(microsecond=0) - timedelta(seconds=1)
    assert latest_end(at, date(2026, 1, 15)) == date(2026, 1, 14)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TELEPHONY_TOKEN", "hunter2")
    yield Api.model_validate(GOOD["connection"])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://api.test/v2", "begins with http, where all on the way read credentials"),
        ("ftp://api.test", "is no address: write https"),
        ("api.test/v2", "is no address"),
        ("https://", "is no address"),
        ("https://me:p/w@api.test", "is no address"),
        ("https://me:pw@api.test", "has a user, and `auth` says another"),
    ],
)
def test_an_address_that_would_show_credentials_is_refused(
    connection: Api, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELEPHONY_URL", url)
    with pytest.raises(TidemarkError, match=words):
        authorisation("telephony", connection)


@pytest.mark.parametrize(
    "url", ["https://api.test/v2", "http://127.0.0.1:8000", "http://[::1]/", "http://localhost/v2"]
)
def test_an_address_that_shows_none_is_taken(connection: Api, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEPHONY_URL", url)
    address, found = authorisation("telephony", connection)
    assert address == httpx.URL(url) and found.headers == {"Authorization": "Bearer hunter2"}
    assert "hunter2" not in repr(found)


def test_no_part_of_an_address_that_is_secret_is_said(connection: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEPHONY_URL", "https://me%40x:p%2Fw@api.test/v2?sig=a%2Bb45678&v=2")
    said = without_secrets("https://api.test p/w p%2Fw a+b45678 a%2Bb45678 hunter2 2", connection.secrets())
    assert said == "https://api.test *** *** *** *** *** 2"
