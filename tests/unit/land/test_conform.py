"""What fits the contract lands with its exact value; what does not is quarantined with its reason, field and bytes."""

import io
import json
import stat
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.contract.spec import load_specs
from flows.land.pseudonyms import Pseudonymiser
from flows.land.readers import limits
from flows.land.receipt import Status
from tests.support.contract_reading import landed_consent, landed_day, with_consent_alone
from tests.support.deliveries import (
    VIEW,
    compressed,
    csv_of,
    delimited,
    event,
    field_of,
    in_format,
    ndjson,
    parquet,
    parquet_of,
    protobuf,
    small_spec,
)
from tests.support.lake import KEY, Lake
from tests.support.rows import BAD, GOOD, IMPRESSION, PROGRESS, Bad, Good, one

FORMATS = ["ndjson", "pb", "parquet", "csv"]


CASES: list[Good | Bad] = [*GOOD, *BAD]


Outcomes = dict[int, dict[str, Any]]


def outcomes_of(lake: Lake) -> Outcomes:
    """What became of each line: the landed row or the reject."""
    return {row["_line"]: row for row in [*lake.rows(), *lake.rejects()]}


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """All cases in one file."""
    lake = Lake(tmp_path_factory.mktemp("conform"))
    lake.land_one("web/events/cases.ndjson", b"".join(case.line + b"\n" for case in CASES))
    return lake


@pytest.fixture(scope="module")
def outcomes(landed: Lake) -> Outcomes:
    """What became of each case, by its line."""
    return outcomes_of(landed)


@pytest.fixture(scope="module")
def outcomes_alone(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """The same, each case in a chunk of its own."""
    lake = Lake(tmp_path_factory.mktemp("alone"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CHUNK_BYTES", 1)
        patch.setattr(limits, "PIECE_BYTES", 4_096)
        lake.land_one("web/events/cases.ndjson", b"".join(case.line + b"\n" for case in CASES))
    return outcomes_of(lake)


@pytest.mark.parametrize("number", range(len(GOOD)), ids=[case.name for case in GOOD])
def test_good_line_lands_with_its_values(outcomes: Outcomes, number: int) -> None:
    row = outcomes[number + 1]
    assert "reason" not in row, (row["reason"], row["field"])
    assert {key: row[key] for key in GOOD[number].values} == GOOD[number].values


@pytest.mark.parametrize("number", range(len(BAD)), ids=[case.name for case in BAD])
def test_bad_line_is_quarantined_with_reason_field_and_bytes(outcomes: Outcomes, number: int) -> None:
    case, row = BAD[number], outcomes[len(GOOD) + number + 1]
    assert "reason" in row, "it landed"
    assert (row["reason"], row["field"], row["raw"]) == (case.reason, case.field, case.line)
    assert row["_batch_id"] == 1


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_a_line_fares_alone_as_it_does_among_others(outcomes: Outcomes, outcomes_alone: Outcomes, number: int) -> None:
    assert outcomes_alone[number + 1] == outcomes[number + 1]


def test_quarantine_is_readable_by_its_owner_only(landed: Lake) -> None:
    files = [p for p in landed.settings.quarantine.rglob("*") if p.is_file()]
    assert files
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert stat.S_IMODE(landed.settings.quarantine.stat().st_mode) == 0o700


def test_examples_name_file_line_field_and_reason(lake: Lake) -> None:
    lake.deliver("web/events/part.ndjson", ndjson([event(1), event(2, platform="fax")]))
    assert lake.land().examples == ["web/events/part.ndjson, line 2, field platform: not accepted"]


def test_empty_lines_are_no_rows_but_count_as_lines(lake: Lake) -> None:
    receipt = lake.land_one("web/events/part.ndjson", b"\n\r\n" + one() + b"\n\n" + b"x\r\n" + one())
    assert (receipt.rows_landed, receipt.rows_rejected) == (2, 1)
    assert [row["_line"] for row in lake.rows()] == [3, 6]
    assert [(row["_line"], row["raw"]) for row in lake.rejects()] == [(5, b"x")]


@pytest.mark.parametrize("blank", [b" ", b"   ", b"\t"])
def test_a_line_of_blanks_is_malformed_however_many(lake: Lake, blank: bytes) -> None:
    receipt = lake.land_one("web/events/part.ndjson", one() + b"\n" + blank + b"\n")
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 1)
    assert lake.rejects()[0]["raw"] == blank


def test_byte_order_mark_is_no_part_of_the_first_line(lake: Lake) -> None:
    receipt = lake.land_one("web/events/part.ndjson", b"\xef\xbb\xbf" + one() + b"\n")
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 0)


def test_a_file_of_a_byte_order_mark_alone_is_empty(lake: Lake) -> None:
    receipt = lake.land_one("web/events/part.ndjson", b"\xef\xbb\xbf")
    assert (receipt.status, receipt.rows_read, receipt.files) == (Status.REFUSED, 0, ())


def test_one_line_of_invalid_utf8_spoils_none_of_its_neighbours(lake: Lake) -> None:
    lines = [json.dumps(event(i, body=VIEW | {"referrer": "ö" * i}), ensure_ascii=False).encode() for i in range(200)]
    lines[77] = lines[77].replace(b"\xc3", b"\xff", 1)
    receipt = lake.land_one("web/events/part.ndjson", b"\n".join(lines))
    assert (receipt.rows_landed, receipt.rows_rejected) == (199, 1)
    assert [row["referrer"] for row in lake.rows()] == ["ö" * i for i in range(200) if i != 77]
    assert [(row["_line"], row["raw"]) for row in lake.rejects()] == [(78, lines[77])]


def test_unknown_keys_at_both_levels_are_set_aside_with_their_values(lake: Lake) -> None:
    strange = {"a": [1, {"b": None}], "x.y": "dot", "a/b~c": 1.5, 'q"uote': True, "": "no name", "ключ": None}
    rows = [
        event(1, **strange),
        event(2),
        event(3, body=VIEW | {"colour": "red", "content": {"id": 1}}),
        event(4, **(strange | {"a": "other"})),
        event(5, platform="fax", colour="of a rejected row"),
    ]
    receipt = lake.land_one("web/events/part.ndjson", ndjson(rows))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (4, 1, 14)
    found = {(row["_line"], row["key"]): json.loads(row["value"]) for row in lake.unknown()}
    expected = {(1, key): value for key, value in strange.items()}
    expected |= {(4, key): value for key, value in (strange | {"a": "other"}).items()}
    expected |= {(3, "content_view.colour"): "red", (3, "content_view.content"): {"id": 1}}
    assert found == expected


def test_duplicates_within_an_unknown_value_do_not_condemn_rows_of_the_same_shape(lake: Lake) -> None:
    twice = one()[:-1] + b',"extra":{"a":1,"a":2}}'
    receipt = lake.land_one("web/events/part.ndjson", twice + b"\n" + ndjson([event(2, extra={"a": 1})]))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (2, 0, 2)


@pytest.mark.parametrize(
    "tail",
    [
        b',"extra":[1,2,],}',
        b",}",
        b',"extra":NaN}',
        b',"extra":1e400}',
        b',"extra":' + b"[" * 9_999 + b"]" * 9_999 + b"}",
    ],
    ids=["trailing commas", "trailing comma", "NaN", "1e400", "deep"],
)
def test_json_on_the_edge_never_stops_the_landing(lake: Lake, tail: bytes) -> None:
    receipt = lake.land_one("web/events/part.ndjson", one()[:-1] + tail + b"\n" + ndjson([event(2)]))
    assert receipt.status is Status.LANDED
    assert receipt.rows_read == 2
    assert lake.rows()[-1]["_line"] == 2


def test_huge_unknown_numbers_are_set_aside_undistorted(lake: Lake) -> None:
    digits = "1" + "0" * 5_000
    lake.land_one("web/events/part.ndjson", one()[:-1] + f',"extra":{digits}}}'.encode())
    assert [row["value"] for row in lake.unknown()] == [digits]


# --- the same event in every format ----------------------------------------------------------------------------------

EVENTS = [
    event(0),
    event(1, payload="content_progress", body=PROGRESS, sent_at=None, consent=[]),
    event(2, payload="content_reaction", body={"content_id": "c-2", "content_type": "video", "reaction": "like"}),
    event(3, payload="search", body={"query": "secret", "results_count": 7}, user_id=None),
    event(4, payload="advert_impression", body=IMPRESSION, consent=["analytics"]),
    event(5, payload="advert_click", body=IMPRESSION | {"position": 3}, user_agent="a crawler"),
    event(6, payload="enquiry", body={"advert_id": "a-1", "channel": "call"}, country=None),
    event(7, body=VIEW | {"content_id": 'a "quoted", ö\nline'}, occurred_at="2026-01-15T20:15:04.123456Z"),
]


def without_line(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("_line", "_batch_id")} for row in rows]


@pytest.fixture(scope="module")
def expected_rows() -> list[dict[str, Any]]:
    """The events as they must land, worked out without the code under test but for the keyed hash."""
    pseudonyms = Pseudonymiser(KEY.encode())
    columns = [c.name for c in load_specs()["events"].columns() if c.name not in ("_batch_id", "_line")]
    rows = []
    for e in EVENTS:
        kind = next(p for p in load_specs()["events"].payloads if p in e)
        row: dict[str, Any] = dict.fromkeys(columns) | {"event_id": UUID(e["event_id"]).bytes}
        for name in ("occurred_at", "sent_at", "received_at"):
            row[name] = datetime.fromisoformat(e[name]).replace(tzinfo=None) if e[name] else None
        row |= {name: e[name] for name in ("product", "platform", "app_version")}
        row |= {"device_key": pseudonyms.one("device_key", e["device_id"])}
        row |= {"user_key": pseudonyms.one("user_key", e["user_id"]) if e["user_id"] else None}
        row |= {name: e[name] for name in ("session_id", "country")} | landed_consent(e["consent"])
        row |= {"event_date": landed_day(row["occurred_at"])}
        row |= {"event_type": kind, "is_bot": "crawl" in e["user_agent"]}
        row |= {k: v for k, v in e[kind].items() if k != "query"}
        rows.append(with_consent_alone(row, e["consent"]))
    return rows


@pytest.mark.parametrize("suffix", [*FORMATS, "ndjson.gz", "pb.zst", "parquet.gz", "csv.zst"])
def test_the_same_events_land_as_the_same_rows_in_every_format(
    lake: Lake, expected_rows: list[dict[str, Any]], suffix: str
) -> None:
    receipt = lake.land_one(f"web/events/part.{suffix}", in_format(EVENTS, suffix))
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (len(EVENTS), 0, 0)
    assert without_line(lake.rows()) == expected_rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_field_that_does_not_fit_is_reported_alike_in_every_format(lake: Lake, suffix: str) -> None:
    rows = [event(1), event(2, platform="fax"), event(3, payload="content_progress", body=PROGRESS | {"depth": 2.0})]
    rows += [event(4, event_id="e-4"), event(5, device_id=""), event(6, consent=["sale"])]
    rows += [event(7, occurred_at="1800-01-01T00:00:00Z"), event(8, body={"content_id": "c"})]
    lake.land_one(f"web/events/part.{suffix}", in_format(rows, suffix))
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [
        ("not_accepted", "platform"),
        ("out_of_range", "content_progress.depth"),
        ("wrong_type", "event_id"),
        ("missing", "device_id"),
        ("not_accepted", "consent"),
        ("out_of_range", "occurred_at"),
        ("missing", "content_view.content_type"),
    ]
    assert len(lake.rows()) == 1


@pytest.mark.parametrize("suffix", FORMATS)
def test_tables_land_alike_in_every_format(lake: Lake, suffix: str) -> None:
    spec = load_specs()["accounts"]
    rows = [
        {"account_id": "a-1", "user_id": "u-204", "email": "anna@example.org", "phone": None, "full_name": "Anna",
         "birth_date": "1990-02-28", "created_at": None, "updated_at": "2026-01-15T20:15:04Z"},
        {"account_id": "a-2", "user_id": "u-3", "email": None, "phone": None, "full_name": None,
         "birth_date": "1990-02-30", "created_at": None, "updated_at": "2026-01-15T20:15:04Z"},
        {"account_id": "a-3", "user_id": "u-4", "email": None, "phone": None, "full_name": None,
         "birth_date": "1990-02-28 or so", "created_at": None, "updated_at": "2026-01-15T20:15:04Z"},
    ]  # fmt: skip
    data = {
        "ndjson": lambda: ndjson(rows),
        "pb": lambda: delimited(protobuf(row, spec.message) for row in rows),
        "parquet": lambda: parquet(rows, spec),
        "csv": lambda: csv_of(rows, spec),
    }[suffix]()
    receipt = lake.land_one(f"crm/accounts/part.{suffix}", data)
    assert (receipt.rows_landed, receipt.rows_rejected) == (1, 2)
    (row,) = lake.rows("accounts")
    assert (row["birth_year"], row["updated_at"]) == (1990, datetime(2026, 1, 15, 20, 15, 4))
    assert {(r["reason"], r["field"]) for r in lake.rejects("accounts")} == {("wrong_type", "birth_date")}


# --- Parquet as others write it --------------------------------------------------------------------------------------


def events_table(*changes: Callable[[pa.Table], pa.Table]) -> bytes:
    table = pq.read_table(io.BytesIO(parquet([event(1), event(2)])))
    for change in changes:
        table = change(table)
    return parquet_of(table)


def replaced(name: str, values: pa.Array | list[Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.schema.get_field_index(name), name, values)

    return change


def test_parquet_times_as_text_keep_their_offset(lake: Lake) -> None:
    texts = ["2026-01-15T22:15:04+02:00", "2026-01-15T20:15:04Z"]
    lake.land_one("web/events/part.parquet", events_table(replaced("occurred_at", [texts])))
    assert {row["occurred_at"] for row in lake.rows()} == {datetime(2026, 1, 15, 20, 15, 4)}


def test_parquet_nanoseconds_and_other_zones_land_as_utc(lake: Lake) -> None:
    moments = pa.array([datetime(2026, 1, 15, 20, 15, 4)] * 2, pa.timestamp("us", "UTC"))
    lake.land_one(
        "web/events/part.parquet",
        events_table(
            replaced("occurred_at", moments.cast(pa.timestamp("us", "Asia/Tokyo"))),
            replaced("sent_at", moments.cast(pa.timestamp("ns"))),
        ),
    )
    assert {(row["occurred_at"], row["sent_at"]) for row in lake.rows()} == {(datetime(2026, 1, 15, 20, 15, 4),) * 2}


def test_parquet_whole_numbers_as_text_are_not_rounded(lake: Lake) -> None:
    body = pa.array([{"content_id": "c", "content_type": "a", "active_ms": ms} for ms in ("12", "12.6")])
    table = events_table(
        replaced("content_view", pa.nulls(2, pa.struct([("content_id", pa.string())]))),
        replaced("content_progress", body),
    )
    lake.land_one("web/events/part.parquet", table)
    assert [row["active_ms"] for row in lake.rows()] == [12]
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [("wrong_type", "content_progress.active_ms")]


def test_parquet_categories_read_as_the_text_they_stand_for(lake: Lake) -> None:
    words = {"platform": ["ios", "fax"], "product": ["news", "news"], "device_id": ["d-1", "d-2"]}
    changes = [replaced(name, pa.array(values).dictionary_encode()) for name, values in words.items()]
    lake.land_one("web/events/part.parquet", events_table(*changes))
    assert [row["platform"] for row in lake.rows()] == ["ios"]
    assert [(r["reason"], r["field"]) for r in lake.rejects()] == [("not_accepted", "platform")]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("occurred_at", [1768508104, 1768508104]),
        ("event_id", [1, 2]),
        ("event_id", [{"a": 1}, {"a": 2}]),
        ("consent", [5, 5]),
        ("content_view", ["c-1", "c-2"]),
        ("device_id", [[1], [2]]),
        ("platform", [b"\xff", b"\xfe"]),
    ],
)
def test_parquet_columns_of_another_type_never_stop_the_landing(lake: Lake, name: str, values: list[Any]) -> None:
    lake.deliver("web/events/a.parquet", events_table(replaced(name, pa.array(values))))
    lake.deliver("web/events/b.parquet", parquet([event(3)]))
    bad, good = lake.land().receipts
    assert bad.rows_landed == 0
    assert bad.status is Status.REFUSED or bad.rows_rejected == 2
    assert bad.reason is None or name in bad.reason
    assert good.rows_landed == 1
    lake.assert_whole()


@pytest.mark.parametrize("name", ["raw", "Product", "_shape", "x_product", "chunk", "PLATFORM"])
def test_unknown_columns_of_awkward_names_are_set_aside(lake: Lake, name: str) -> None:
    table = events_table(lambda t: t.add_column(0, name, [["one", None]]))
    receipt = lake.land_one("web/events/part.parquet", table)
    assert (receipt.rows_landed, receipt.unknown_keys) == (2, 1)
    assert {row["product"] for row in lake.rows()} == {"news"}
    assert [(u["_line"], u["key"], u["value"]) for u in lake.unknown()] == [(1, name, '"one"')]


def test_unknown_members_of_a_payload_struct_are_set_aside(lake: Lake) -> None:
    body = pa.array([VIEW | {"colour": "red"}, VIEW | {"colour": None}])
    receipt = lake.land_one("web/events/part.parquet", events_table(replaced("content_view", body)))
    assert (receipt.rows_landed, receipt.unknown_keys) == (2, 1)
    assert [(u["key"], u["value"]) for u in lake.unknown()] == [("content_view.colour", '"red"')]


def test_a_csv_column_named_raw_is_only_unknown(lake: Lake) -> None:
    specs = small_spec([field_of("id", required=True)])
    receipt = lake.land_one("x/things/part.csv", b"id,raw\n1,{}\n2,\n", specs)
    assert (receipt.rows_landed, receipt.rows_rejected, receipt.unknown_keys) == (2, 0, 1)


# --- lists and whole numbers of small datasets -----------------------------------------------------------------------


def test_lists_of_strings_hold_strings_only(lake: Lake) -> None:
    specs = small_spec([field_of("tags", "string[]")])
    lines = [b'["a","1"]', b'["a",1]', b"[NaN]", b"[true]", b'[["a"]]', b"[{}]", b"[]", b"null", b'["a",null]']
    lake.land_one("x/things/part.ndjson", b"".join(b'{"tags":' + line + b"}\n" for line in lines), specs)
    assert [(r["_line"], r["tags"]) for r in lake.rows("things")] == [(1, ["a", "1"]), (7, []), (8, None)]
    assert {(r["reason"], r["field"]) for r in lake.rejects("things") if r["_line"] != 3} == {("wrong_type", "tags")}
    assert [r["reason"] for r in lake.rejects("things") if r["_line"] == 3] == ["malformed"]


def test_accepted_values_that_look_like_numbers_are_strings_all_the_same(lake: Lake) -> None:
    specs = small_spec([field_of("level", accepted_values=("1", "true")), field_of("code", pattern=".*")])
    rows: list[dict[str, Any]] = [{"level": "1", "code": "x"}, {"level": 1}, {"level": True}, {"code": 1}, {"code": {}}]
    lake.land_one("x/things/part.ndjson", ndjson(rows), specs)
    assert [row["_line"] for row in lake.rows("things")] == [1]
    assert [(r["reason"], r["field"]) for r in lake.rejects("things")] == [
        ("wrong_type", "level"), ("wrong_type", "level"), ("wrong_type", "code"), ("wrong_type", "code"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("integer", {"7": 7, "-0": 0, "12.0": 12, "1e2": 100}, ["12.6", "155e-1", "1e-1", "0x1f", "2147483648", "x"]),
        ("bigint", {"9223372036854775807": 2**63 - 1}, ["9223372036854775808", "1.5", "25E-1"]),
        ("double", {"0.1": 0.1, "-1e3": -1000.0}, ["nan", "inf", "-infinity", "x", "1,5"]),
        ("boolean", {"true": True, "false": False}, ["yess", "2"]),
        (
            "date",
            {"2024-02-29": date(2024, 2, 29)},
            ["2023-02-29", "2024-02-29x", "2024-02-29 12:00", "infinity", "epoch"],
        ),
        ("timestamp", {"2024-02-29T12:00:00+01:00": datetime(2024, 2, 29, 11)}, ["2024-02-29", "now", "infinity"]),
    ],
)
def test_csv_text_is_read_exactly_or_not_at_all(lake: Lake, kind: str, good: dict[str, Any], bad: list[str]) -> None:
    specs = small_spec([field_of("id"), field_of("value", kind)])
    rows = [f'r,"{text}"' for text in [*good, *bad]]
    lake.land_one("x/things/part.csv", "\n".join(["id,value", *rows, "r,"]).encode(), specs)
    assert [row["value"] for row in lake.rows("things")] == [*good.values(), None]
    assert [r["raw"].decode() for r in lake.rejects("things")] == rows[len(good) :]


def test_a_hundred_thousand_rows_in_gzip_conform_within_seconds(lake: Lake) -> None:
    line = one() + b"\n"
    receipt = lake.land_one("web/events/part.ndjson.gz", compressed(line * 100_000, "ndjson.gz"))
    assert (receipt.rows_landed, receipt.rows_rejected) == (100_000, 0)


def test_quarantine_folder_stays_private_when_it_existed_before(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.land_one("web/events/a.ndjson", b"x\n")
    lake.land_one("web/events/b.ndjson", b"y\n")
    assert stat.S_IMODE((lake.settings.quarantine / "events").stat().st_mode) == 0o700
