"""Deliveries of other people's trackers, from the file as it comes to the landed common event."""

import csv
import errno
import io
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.audit.audit import audit
from flows.contract.spec import PROJECT, load_specs
from flows.errors import TidemarkError
from flows.land import feeds, inbox
from flows.land.feed_mapping import Mapper
from flows.land.feeds import feed_faults, load_feeds
from flows.land.inbox import new_deliveries
from flows.land.readers import Chunk, limits
from flows.land.receipt import Status
from flows.land.receipts import Receipts
from flows.land.retry import retry_quarantine
from tests.support.lake import Lake

REAL = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "snowplow"
SNOWPLOW = load_feeds()["snowplow"]
ENRICHED = SNOWPLOW.formats["tsv"].columns
IGLU = "iglu:com.snowplowanalytics.{}/jsonschema/1-0-0"


def uuid(number: int) -> str:
    return str(UUID(int=number + 1, version=4))


def snowplow(number: int, name: str = "page_view", **columns: Any) -> dict[str, Any]:
    """An event of Snowplow's, as its atomic table has it."""
    return {
        "app_id": "News",
        "platform": "web",
        "collector_tstamp": f"2026-01-15 10:00:{number % 60:02}.000",
        "dvce_created_tstamp": f"2026-01-15 09:59:{number % 60:02}.500",
        "dvce_sent_tstamp": f"2026-01-15 10:00:{number % 60:02}.000",
        "event": name if name in ("page_view", "page_ping", "struct") else "unstruct",
        "event_name": "event" if name == "struct" else name,
        "event_id": uuid(number),
        "domain_userid": "cookie-1",
        "domain_sessionid": "session-1",
        "user_id": "somebody",
        "user_ipaddress": "192.0.2.77",
        "page_urlhost": "news.example",
        "page_urlpath": "/a",
        "useragent": "Mozilla/5.0",
        "page_title": 'He said "no", twice\\',
    } | columns


def self_described(schema: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"schema": IGLU.format(schema), "data": data}


def entities(**found: dict[str, Any]) -> str:
    """The text of the column contexts; a name is that of a schema, with __ for /."""
    listed = [self_described(name.replace("__", "/"), data) for name, data in found.items()]
    return json.dumps({"schema": IGLU.format("snowplow/contexts"), "data": listed})


def unstruct(schema: str, data: dict[str, Any]) -> str:
    return json.dumps({"schema": IGLU.format("snowplow/unstruct_event"), "data": self_described(schema, data)})


def in_format(rows: list[dict[str, Any]], kind: str) -> bytes:
    """The rows as one of the four ways in which they are delivered."""
    if kind == "tsv":
        lines = ["\t".join(str(row.get(name) or "") for name in ENRICHED) for row in rows]
        return "".join(f"{line}\n" for line in lines).encode()
    if kind == "ndjson":
        return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    names = list(dict.fromkeys(name for row in rows for name in row))
    if kind == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        writer.writerows([{name: row.get(name, "NULL") for name in names} for row in rows])
        return out.getvalue().encode()
    sink = io.BytesIO()
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), sink)
    return sink.getvalue()


PARTS = [
    ("sp_event", "event/sp_event.csv"),
    ("update", "event/sp_event_update.csv"),
    ("pages", "web_page/sp_web_page.csv"),
    ("pages_update", "web_page/sp_web_page_update.csv"),
]


@pytest.mark.skipif(not REAL.exists(), reason="Snowplow's events are not at hand: TIDEMARK_REAL_DATA")
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
@pytest.mark.parametrize("is_together", [True, False])
def test_real_events_give_seven_page_views_and_five_sessions(
    lake: Lake, order: tuple[int, ...], is_together: bool
) -> None:
    for number in order:
        name, path = PARTS[number]
        folder = "snowplow_contexts/com_snowplowanalytics_snowplow_web_page_1" if "pages" in name else "snowplow"
        lake.deliver(f"web/{folder}/{name}.csv", (REAL / path).read_bytes())
        if not is_together:
            assert not lake.land().left_alone
    assert not lake.land().left_alone
    rows = lake.rows()
    views = [row for row in rows if row["event_type"] == "content_view"]
    assert len(views) == 7 and len(rows) == 9 and not lake.rejects()
    assert len({row["session_id"] for row in rows}) == 5
    assert {row["content_id"] for row in rows} == {"vandelay.com/"}
    # 'NULL' in the file is nobody.
    assert len({row["user_key"] for row in rows} - {None}) == 3


ROWS = [
    snowplow(1, page_referrer="https://search.example/"),
    snowplow(2, "page_ping", pp_yoffset_max="300", br_viewheight="700", doc_height="4000"),
    snowplow(
        3, "struct", se_category="adverts", se_action="impression", se_label="ad-1", se_property="top", se_value="2"
    ),
    snowplow(4, "ad_click", unstruct_event=unstruct("snowplow/ad_click", {"targetUrl": "x", "bannerId": "ad-2"})),
    snowplow(5, "link_click", unstruct_event=unstruct("snowplow/link_click", {"targetUrl": "https://x.example"})),
    snowplow(
        6,
        "screen_view",
        platform="mob",
        os_name="iOS",
        domain_userid=None,
        domain_sessionid=None,
        unstruct_event=unstruct("mobile/screen_view", {"name": "Front", "id": uuid(66)}),
        contexts=entities(snowplow__client_session={"userId": uuid(77), "sessionId": "s-6", "sessionIndex": 1}),
    ),
    snowplow(
        7,
        "ping_event",
        unstruct_event=unstruct("snowplow.media/ping_event", {}),
        contexts=entities(
            snowplow__media_player={"currentTime": 30, "duration": 120.0, "label": "v-1", "paused": False}
        ),
    ),
    snowplow(
        8,
        "media_player_event",
        unstruct_event=unstruct("snowplow/media_player_event", {"type": "percentprogress", "label": "v-2"}),
        contexts=entities(snowplow__media_player={"currentTime": 9, "duration": 10, "percentProgress": 75}),
    ),
    snowplow(9, "site_search", unstruct_event=unstruct("snowplow/site_search", {"terms": ["x"], "totalResults": 12})),
    snowplow(10, domain_userid=None, domain_sessionid=None, user_id=None, network_userid=str(UUID(int=0))),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["tsv", "csv", "ndjson", "parquet"])
def test_events_are_the_same_in_each_format(lake: Lake, kind: str) -> None:
    receipt = lake.land_one(f"web/snowplow/part.{kind}", in_format(ROWS, kind))
    assert (receipt.rows_read, receipt.rows_landed, receipt.rows_ignored) == (10, 9, 1), lake.rejects()
    assert (receipt.dataset, receipt.source) == ("events", "web")
    view, ping, shown, clicked, screen, media, progress, search, nobody = lake.rows()
    assert (view["event_type"], view["content_id"], view["content_type"]) == ("content_view", "news.example/a", "page")
    assert (view["product"], view["referrer"], str(view["occurred_at"])) == (
        "news",
        "https://search.example/",
        "2026-01-15 09:59:01.500000",
    )
    assert view["device_key"] and view["has_analytics_consent"] and not view["has_advertising_consent"]
    assert (ping["depth"], ping["active_ms"]) == (0.25, 10_000)
    assert (shown["event_type"], shown["advert_id"], shown["slot"], shown["position"]) == (
        "advert_impression",
        "ad-1",
        "top",
        2,
    )
    assert (clicked["event_type"], clicked["advert_id"]) == ("advert_click", "ad-2")
    assert (screen["platform"], screen["content_id"], screen["session_id"]) == ("ios", "Front", "s-6")
    assert (media["content_id"], media["depth"], media["active_ms"]) == ("v-1", 0.25, 30_000)
    assert (progress["content_id"], progress["depth"], progress["active_ms"]) == ("v-2", 0.75, 0)
    assert search["results_count"] == 12
    assert nobody["device_key"] is None and not nobody["has_analytics_consent"]
    assert b"192.0.2.77" not in b"".join(p.read_bytes() for p in lake.settings.landed.rglob("*") if p.is_file())


def inline(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """Entities in columns of their own, as loaders of databases write them."""
    made = {name: value for name, value in row.items() if name not in ("contexts", "unstruct_event")}
    for entity in json.loads(row["contexts"])["data"] if row.get("contexts") else []:
        made[f"contexts_{_table(entity['schema'])}_1"] = (
            [_snake(entity["data"])] if kind != "csv" else json.dumps([entity["data"]])
        )
    if row.get("unstruct_event"):
        data = json.loads(row["unstruct_event"])["data"]
        made[f"unstruct_event_{_table(data['schema'])}_1"] = (
            _snake(data["data"]) if kind != "csv" else json.dumps(data["data"])
        )
    return made


def _table(schema: str) -> str:
    vendor, name, *_ = schema.removeprefix("iglu:").split("/")
    return f"{vendor.replace('.', '_')}_{name}"


def _snake(data: dict[str, Any]) -> dict[str, Any]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in data.items()}


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_entities_may_stand_in_columns_of_their_own(lake: Lake, kind: str) -> None:
    lake.land_one("web/snowplow/whole.ndjson", in_format(ROWS, "ndjson"))
    whole = lake.rows()
    other = Lake(lake.settings.home.parent / "other")
    receipt = other.land_one(f"web/snowplow/part.{kind}", in_format([inline(row, kind) for row in ROWS], kind))
    assert (receipt.rows_landed, receipt.rows_ignored) == (9, 1), other.rejects()
    assert [diff(*pair) for pair in zip(other.rows(), whole, strict=True)] == [{}] * 9


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_may_be_in_capitals(lake: Lake, kind: str) -> None:
    rows = [{name.upper(): value for name, value in row.items()} for row in ROWS]
    assert lake.land_one(f"web/snowplow/part.{kind}", in_format(rows, kind)).rows_landed == 9


def diff(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {name: (one[name], other[name]) for name in without_lineage(one) if one[name] != other[name]}


def beside_files(kind: str) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """The rows without their entities, and these as tables."""
    tables: dict[str, list[dict[str, Any]]] = {}
    bare = []
    for row in ROWS:
        made = inline(row, kind)
        for name in [name for name in made if name.startswith(("contexts_", "unstruct_event_"))]:
            value = made.pop(name)
            data = value[0] if isinstance(value, list) else value
            table = name.removeprefix("contexts_").removeprefix("unstruct_event_")
            tables.setdefault(table, []).append({"root_id": row["event_id"], "root_tstamp": "2026-01-15"} | data)
        bare.append(made)
    return bare, tables


@pytest.mark.parametrize("first", ["events", "tables", "together"])
@pytest.mark.parametrize("kind", ["ndjson", "parquet"])
def test_entities_may_come_in_files_beside_before_or_after(lake: Lake, first: str, kind: str) -> None:
    lake.land_one("web/snowplow/whole.ndjson", in_format(ROWS, "ndjson"))
    whole = sorted((without_lineage(row) for row in lake.rows()), key=lambda row: row["event_id"])
    other = Lake(lake.settings.home.parent / "other")
    rows, tables = beside_files(kind)

    def deliver_tables() -> None:
        for table, found in tables.items():
            other.deliver(f"web/snowplow_contexts/{table}/part.{kind}", in_format(found, kind))

    if first != "events":
        deliver_tables()
    if first == "tables":
        assert not other.land().receipts
    other.deliver(f"web/snowplow/part.{kind}", in_format(rows, kind))
    done = other.land()
    if first == "events":
        assert done.rows("rows_rejected") == 5, "what they lack is on its way"
        deliver_tables()
        done = other.land()
        assert done.rows("rows_landed") == 5 and not done.left_alone
    assert not other.land().receipts
    assert sorted((without_lineage(row) for row in other.rows()), key=lambda row: row["event_id"]) == whole
    assert sum(receipt.rows_ignored for receipt in other.receipts()) == 1


def without_lineage(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def test_a_damaged_file_beside_is_named_and_stops_nothing(lake: Lake) -> None:
    lake.deliver("web/snowplow_contexts/web_page/part.csv", b"id,other\n1,2\n")
    lake.deliver("web/snowplow_contexts/web_page/cut.ndjson", b'{"root_id": "x"\n')
    lake.deliver("web/snowplow/part.ndjson", in_format(ROWS[:1], "ndjson"))
    done = lake.land()
    assert done.rows("rows_landed") == 1
    refused = {Path(r.file).name: r.reason or "" for r in done.receipts if r.status is Status.REFUSED}
    assert "none of the 2 columns" in refused["part.csv"] and refused["cut.ndjson"] == "line 1 is no JSON"
    # They are dealt with: nobody begins another landing for them, until they come again.
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        assert [*new_deliveries(lake.settings.inbox, load_specs(), receipts.is_unchanged)] == []
    assert not lake.land().receipts
    lake.deliver("web/snowplow_contexts/web_page/cut.ndjson", b'{"root_id": "x"}\n')
    (again,) = lake.land().receipts
    assert (again.status, again.rows_read, again.rows_ignored) == (Status.LANDED, 1, 1)
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        assert [Path(r.file).name for r in receipts.last_of_each_file(Status.REFUSED)] == ["part.csv"]
    assert audit(lake.settings).findings == []


def test_what_is_wrong_is_quarantined_as_it_was_delivered_and_may_be_tried_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = snowplow(1), snowplow(2, platform="fridge")
    for kind in ("tsv", "csv", "ndjson", "parquet"):
        lake.deliver(
            f"web/snowplow/part-{kind}.{kind}", in_format([good | {"event_id": uuid(hash(kind) % 999)}, bad], kind)
        )
    lake.deliver("web/snowplow/odd.ndjson", b'{"event_id": 1\n[1]\n"x"\n')
    lake.deliver("web/snowplow/short.tsv", in_format([good], "tsv").replace(b"\t", b" ", 1))
    lake.land()
    rejects = lake.rejects()
    assert [r["reason"] for r in rejects if r["field"] == "platform"] == ["not_accepted"] * 4
    assert {r["reason"] for r in rejects if r["field"] is None} == {
        "malformed",
        "not_an_object",
        "malformed: 130 values where the header has 131",
    }
    assert all(b"fridge" in r["raw"] for r in rejects if r["field"] == "platform")
    # Somebody decides what a fridge is.
    changed = SNOWPLOW.model_copy(
        update={"sql": SNOWPLOW.sql.replace("else platform", "else replace(platform, 'fridge', 'tv')")}
    )
    monkeypatch.setattr(feeds, "load_feeds", lambda: load_feeds() | {"snowplow": changed})
    done = retry_quarantine(lake.settings)
    assert sum(r.rows_landed for r in done.receipts) == 4
    assert [row["platform"] for row in lake.rows()].count("tv") == 4


def test_a_row_that_a_feed_leaves_out_by_now_stays_in_quarantine(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.land_one("web/snowplow/part.ndjson", in_format([snowplow(1, platform="fridge"), snowplow(2)], "ndjson"))
    changed = SNOWPLOW.model_copy(update={"sql": f"{SNOWPLOW.sql}\nwhere platform <> 'fridge'"})
    monkeypatch.setattr(feeds, "load_feeds", lambda: load_feeds() | {"snowplow": changed})
    done = retry_quarantine(lake.settings)
    assert not done.receipts and [(left.reason, left.rows) for left in done.left] == [("not_mapped", 1)]


def test_a_fault_of_the_sql_refuses_the_file_and_repeats_no_value(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for sql, words in [
        ("select _line, nothing from delivered", "feeds/snowplow.sql cannot be run: Binder Error"),
        ("select _line, user_id as colour from delivered", "ValueError"),
        ("select * from (select _line from delivered union all select _line from delivered)", "ValueError"),
    ]:
        changed = SNOWPLOW.model_copy(update={"sql": sql})
        monkeypatch.setattr(feeds, "load_feeds", lambda changed=changed: {"snowplow": changed})
        receipt = lake.land_one(f"web/snowplow/{abs(hash(sql))}.ndjson", in_format([snowplow(1)], "ndjson"))
        assert receipt.status is Status.REFUSED and words in (receipt.reason or ""), receipt.reason
        assert "somebody" not in (receipt.reason or "")


def test_many_chunks_keep_their_lines(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_RECORDS", 7)
    rows = [
        snowplow(n, "link_click" if n % 5 == 0 else "page_view", platform="x" if n % 3 == 0 else "web")
        for n in range(100)
    ]
    receipt = lake.land_one("web/snowplow/part.ndjson", in_format(rows, "ndjson"))
    assert (receipt.rows_ignored, receipt.rows_rejected) == (20, sum(n % 3 == 0 and n % 5 > 0 for n in range(100)))
    assert {row["_line"] for row in lake.rows()} == {n + 1 for n in range(100) if n % 5 and n % 3}
    assert {row["_line"] for row in lake.rejects()} == {n + 1 for n in range(100) if n % 5 and n % 3 == 0}


def test_a_value_that_the_sql_cannot_read_costs_its_row_alone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = SNOWPLOW.sql.replace("    user_id,\n", "    cast(cast(user_id as integer) as varchar) as user_id,\n")
    changed = SNOWPLOW.model_copy(update={"sql": sql})
    monkeypatch.setattr(feeds, "load_feeds", lambda: {"snowplow": changed})
    rows = [snowplow(n, user_id="somebody" if n in (3, 17) else "5") for n in range(40)]
    receipt = lake.land_one("web/snowplow/part.ndjson", in_format(rows, "ndjson"))
    assert (receipt.rows_landed, [row["_line"] for row in lake.rejects()]) == (38, [4, 18])
    receipt = lake.land_one("web/snowplow/all.ndjson", in_format([snowplow(n) for n in range(200)], "ndjson"))
    assert receipt.status is Status.REFUSED and "fails with many values" in (receipt.reason or "")


MOBILE = {"platform": "mob", "os_name": "iOS", "domain_userid": None, "domain_sessionid": None}
SESSION = "contexts_com_snowplowanalytics_snowplow_client_session_1_0_"
IN_SESSION = [{"user_id": uuid(5), "session_id": "s"}]
CLICK_ON = {"se_category": "adverts", "se_action": "click", "se_label": "ad-1"}
ODD = [
    ("the collector's cookie is nobody", snowplow(1, domain_userid=None, network_userid=uuid(9)), {"device_key": None}),
    ("an unknown height", snowplow(1, "page_ping"), {"depth": None, "active_ms": 10_000}),
    ("a height of nothing", snowplow(1, "page_ping", doc_height="0", pp_yoffset_max="1"), {"depth": None}),
    (
        "a live stream",
        snowplow(1, "ping_event", contexts=entities(snowplow__media_player={"currentTime": 5, "label": "live"})),
        {"depth": None, "content_id": "live"},
    ),
    (
        "paused as Redshift writes it",
        snowplow(1, "ping_event", contexts_com_snowplowanalytics_snowplow_media_player_2={"label": "v", "paused": "t"}),
        {"active_ms": 0},
    ),
    (
        "an empty column of an older version",
        snowplow(1, "struct", **MOBILE, **CLICK_ON) | {f"{SESSION}1": [], f"{SESSION}2": IN_SESSION},
        {"session_id": "s", "has_analytics_consent": True},
    ),
    (
        "a null column of an older version",
        snowplow(1, "struct", **MOBILE, **CLICK_ON) | {f"{SESSION}1": None, f"{SESSION}2": IN_SESSION},
        {"session_id": "s", "has_analytics_consent": True},
    ),
    (
        "the system of a telephone",
        snowplow(
            1,
            "screen_view",
            platform="mob",
            unstruct_event=unstruct("mobile/screen_view", {"name": "Front"}),
            contexts=entities(
                snowplow__mobile_context={"osType": "android"}, snowplow__client_session={"userId": uuid(3)}
            ),
        ),
        {"platform": "android", "content_id": "Front"},
    ),
    ("no app", snowplow(1, app_id=None), {"product": "web"}),
    (
        "an address alone",
        snowplow(1, page_urlhost=None, page_urlpath=None, page_url="https://a.example/b?c"),
        {"content_id": "a.example/b"},
    ),
    ("an amount that is no position", snowplow(1, "struct", **CLICK_ON, se_value="2.5"), {"position": None}),
    ("names in capitals", {name.upper(): v for name, v in snowplow(1).items()}, {"content_id": "news.example/a"}),
    ("a quote in a name", snowplow(1) | {'contexts_a"b_1': [{"x": 1}]}, {"content_id": "news.example/a"}),
    ("no JSON among entities", snowplow(1, contexts="{nothing"), {"content_id": "news.example/a"}),
]  # fmt: skip


@pytest.mark.parametrize(("row", "wanted"), [odd[1:] for odd in ODD], ids=[odd[0] for odd in ODD])
def test_odd_events_of_snowplow(lake: Lake, row: dict[str, Any], wanted: dict[str, Any]) -> None:
    receipt = lake.land_one("web/snowplow/part.ndjson", in_format([row, snowplow(2)], "ndjson"))
    assert receipt.rows_landed == 2, lake.rejects()
    landed = lake.rows()[0]
    assert {name: landed[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t_1/x.csv", f",root_id,a\n0,{uuid(1)},2\n".encode()),
        ("t_1/x.csv", f"root_id,a,A\n{uuid(1)},2,3\n".encode()),
        ('t"x_1/x.csv', f"ROOT_ID,a\n{uuid(1)},2\n".encode()),
        ("t_1/x.pb", b"\x02ab"),
        ("t_1/x.ndjson", b'{"event_id": "x"}\n'),
    ],
)
def test_no_file_beside_stops_the_events(lake: Lake, name: str, data: bytes) -> None:
    lake.deliver(f"web/snowplow_contexts/{name}", data)
    lake.deliver("web/snowplow/part.ndjson", in_format([snowplow(1)], "ndjson"))
    assert lake.land().rows("rows_landed") == 1
    assert not lake.land().receipts


def test_a_full_disk_stops_what_waits_for_a_file_beside_and_loses_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.land_one("web/snowplow/part.ndjson", in_format([snowplow(1, "site_search")], "ndjson"))
    table = "com_snowplowanalytics_snowplow_site_search_1"
    lake.deliver(f"web/snowplow_contexts/{table}/a.ndjson", in_format([{"root_id": uuid(1)}], "ndjson"))

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TidemarkError, match="landing stopped"):
        patch.setattr("flows.land.retry_batch.land_rows", full)
        lake.land()
    assert lake.land().rows("rows_landed") == 1


def test_what_another_feed_left_out_is_read_by_the_right_one(lake: Lake) -> None:
    data = in_format([snowplow(1)], "ndjson")
    assert lake.land_one("web/segment/part.ndjson", data).rows_ignored == 1
    assert lake.land_one("web/snowplow/part.ndjson", data).rows_landed == 1


def test_a_lost_file_of_the_quarantine_stops_no_landing(lake: Lake) -> None:
    lake.land_one("web/snowplow/part.ndjson", in_format([snowplow(1, "site_search")], "ndjson"))
    for path in lake.settings.quarantine.rglob("*.parquet"):
        path.unlink()
    lake.deliver("web/snowplow_contexts/x_1/a.ndjson", in_format([{"root_id": uuid(1)}], "ndjson"))
    done = lake.land()
    assert "its rows in quarantine cannot be tried again" in done.left_alone[0]
    assert not lake.land().left_alone


CALL = {
    "type": "page",
    "messageId": "ajs-next-1-x",
    "anonymousId": "a-1",
    "userId": "u-1",
    "originalTimestamp": "2026-01-15T10:00:00.123Z",
    "timestamp": "2026-01-15T10:00:07.000Z",
    "sentAt": "2026-01-15T10:00:01.000Z",
    "receivedAt": "2026-01-15T10:00:08.000Z",
    "context": {
        "app": {"name": "News"},
        "ip": "192.0.2.77",
        "userAgent": "Mozilla/5.0",
        "consent": {"categoryPreferences": {"analytics": True, "advertising": False, "functional": True}},
    },
    "properties": {"path": "/a", "referrer": "https://search.example/", "title": "secret"},
}


CLICK = {"advert_id": "ad-1", "position": 3}
IOS = {"os": {"name": "iPhone OS"}}


def test_calls_of_segments_trackers_land_as_common_events(lake: Lake) -> None:
    calls = [
        CALL,
        CALL | {"type": "track", "event": "Advert Clicked", "messageId": uuid(2)} | {"properties": CLICK},
        CALL | {"type": "identify", "messageId": uuid(3)},
        CALL | {"type": "track", "event": "Page", "messageId": uuid(5)},
        CALL | {"type": "group", "messageId": uuid(6), "context": "abc", "properties": "abc"},
        CALL | {"type": "screen", "name": "Front", "messageId": uuid(4), "properties": {}, "context": IOS},
    ]  # fmt: skip
    receipt = lake.land_one("apps/segment/part.ndjson", in_format(calls, "ndjson"))
    assert (receipt.rows_landed, receipt.rows_ignored) == (3, 3), lake.rejects()
    page, click, screen = lake.rows()
    assert (page["content_id"], page["content_type"], page["product"], page["platform"]) == (
        "/a",
        "page",
        "news",
        "web",
    )
    assert page["has_analytics_consent"] and not page["has_advertising_consent"] and page["user_key"]
    assert str(page["occurred_at"]) == "2026-01-15 10:00:00.123000"
    assert (click["event_type"], click["advert_id"], click["position"]) == ("advert_click", "ad-1", 3)
    assert (screen["content_id"], screen["platform"], screen["device_key"]) == ("Front", "ios", None)


@pytest.mark.parametrize(
    ("name", "read", "words"),
    [
        ("a", {"dataset": "event"}, "the contract has no dataset event"),
        ("events", {}, "the contract has a dataset events; give the feed another name"),
        ("a", {"colour": "red"}, "colour: Extra inputs are not permitted"),
        ("a", {"columns": []}, "columns: Tuple should have at least 1 item"),
        ("A b", {}, "name: String should match pattern"),
        ("a", {"sql": 5}, "sql: Input should be a valid string"),
    ],
)
def test_a_feed_that_is_wrong_is_said_and_stops_no_other(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str, read: dict[str, Any], words: str
) -> None:
    for each, changes in (("good", {}), (name, read)):
        declared = {"description": "x", "dataset": "events", "columns": ["a"]} | changes
        (tmp_path / f"{each}.yml").write_text(json.dumps(declared))
        (tmp_path / f"{each}.sql").write_text("select _line from delivered")
    assert [*load_feeds(tmp_path)] == ["good"] and words in feed_faults(tmp_path)[name]
    monkeypatch.setattr(inbox, "feed_faults", lambda: feed_faults(tmp_path))
    lake.deliver(f"web/{name}/part.ndjson", b"{}")
    lake.deliver("web/snowplow/part.ndjson", in_format([snowplow(1)], "ndjson"))
    done = lake.land()
    assert done.rows("rows_landed") == 1
    assert words in "".join(done.left_alone) or name == "events", "what has the shape of the dataset lands all the same"


@pytest.mark.parametrize("folder", ["snowplow", "segment"])
def test_many_small_files_are_mapped_together_and_land_each_by_itself(
    lake: Lake, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(6):
        rows = [snowplow(n * 10 + i, "link_click" if i < n else "page_view") for i in range(6)]
        calls = [CALL | {"messageId": uuid(n * 10 + i), "type": "group" if i < n else "page"} for i in range(6)]
        lake.deliver(f"web/{folder}/{n}.ndjson", in_format(rows if folder == "snowplow" else calls, "ndjson"))
    lake.deliver(f"web/{folder}/7.ndjson", b"[1]\n{\n")
    mapped_ones: list[int] = []
    map_one = Mapper.map
    monkeypatch.setattr(Mapper, "map", lambda *args: mapped_ones.append(1) or map_one(*args))  # type: ignore[func-returns-value]
    receipts = lake.land().receipts
    assert [(r.rows_landed, r.rows_ignored, r.rows_rejected) for r in receipts] == [
        *((6 - n, n, 0) for n in range(6)),
        (0, 0, 2),
    ]
    assert len(mapped_ones) == 1
    assert {row["_line"] for row in lake.rows()} == {*range(1, 7)}


@pytest.mark.parametrize("name", sorted(load_feeds()))
def test_each_feed_gives_fields_of_its_contract(name: str, lake: Lake) -> None:
    """The SQL runs, and gives every field that a sender must give."""
    feed = load_feeds()[name]
    spec = load_specs()[feed.dataset]
    empty = pa.table({"_line": pa.array([1]), **{column: pa.array([None], pa.string()) for column in feed.columns}})
    made = Mapper(feed, spec).map(lambda: Chunk(empty, lambda positions: [b""] * len(positions)))
    given = {*made.table.column_names}
    assert {field.path for field in spec.fields if field.required and field.payload is None} <= given


def test_the_feed_of_the_guide_works(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (PROJECT / "docs" / "guides" / "feeds.md").read_text()
    for kind, ending in (("yaml", "yml"), ("sql", "sql")):
        (tmp_path / f"acme.{ending}").write_text(guide.partition(f"```{kind}\n")[2].partition("```")[0])
    monkeypatch.setattr(feeds, "load_feeds", lambda: load_feeds(tmp_path))
    row = {"id": uuid(1), "happened": "2026-01-15T10:00:00Z", "received": "2026-01-15T10:00:01Z", "kind": "view"}
    row |= {"visitor": "v-1", "agreed": "true", "page": {"path": "/a"}, "product": "news"}
    receipt = lake.land_one("web/acme/part.ndjson", in_format([row, row | {"kind": "click"}], "ndjson"))
    assert (receipt.rows_landed, receipt.rows_ignored) == (1, 1), lake.rejects()
    assert lake.rows()[0]["content_id"] == "/a" and lake.rows()[0]["has_analytics_consent"]
