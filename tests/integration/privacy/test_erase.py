"""Whoever is erased is gone from every store of the lake; everybody else is as they were."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from flows.audit.audit import audit
from flows.build.landings import enter_landings
from flows.build.lent import Lent, lend
from flows.build.project import Project
from flows.cli import main
from flows.contract.spec import Privacy, Treatment, load_specs
from flows.land.pseudonyms import Kind
from flows.land.receipts import Receipts
from flows.land.retry import retry_quarantine
from flows.land.text import read_text
from flows.privacy import erase as erasing
from flows.privacy.byte_scan import Patterns, files_with, forms_of
from flows.privacy.erase import NotErasedError, erase
from flows.privacy.identity import Given
from flows.privacy.landed import LandedRows
from flows.privacy.requests import Queue, Request, State
from flows.settings import Settings
from tests.support.contracts import changed_spec
from tests.support.deliveries import in_format, ndjson
from tests.support.lake import KEY, Lake
from tests.support.rotations import NEXT_KEY, begin, finish, later_key_of
from tests.support.takeouts import Row, account, consent, key_of, seen

KEYS = ("account_key", "user_key", "device_key")


@pytest.fixture(autouse=True)
def _parsed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.privacy.erase.read_project", lambda settings: project)


def ask(lake: Lake, with_shared: bool = False, **ids: str) -> Request:
    given = tuple(Given(Kind(kind), one) for kind, words in ids.items() for one in words.split())
    return Queue(lake.settings).receive([given], with_shared)


def rows_of_people(lake: Lake) -> list[Row]:
    return [row for dataset in ("events", "accounts", "consents") for row in lake.rows(dataset)]


def people_in(lake: Lake) -> set[tuple[str, UUID]]:
    return {(key, UUID(bytes=row[key])) for row in rows_of_people(lake) for key in KEYS if row.get(key)}


def rows_of_others(lake: Lake, *people: str) -> list[dict[str, Any]]:
    """The landed rows that name none of these."""
    keys = {key_of(kind, id_).bytes for kind, id_ in (one.split(":") for one in people)}
    return [row for row in rows_of_people(lake) if not keys & {row.get(key) for key in KEYS}]


ANNA = ("user:u-anna", "account:k-anna", "account:k-anna-2", "device:d-phone")


@pytest.mark.parametrize("ids", [{"account": "k-anna"}, {"account": "k-anna-2"}, {"user": "u-anna"}], ids=str)
def test_a_person_is_gone_and_all_others_are_as_they_were(peopled: Lake, ids: dict[str, str]) -> None:
    others = rows_of_others(peopled, *ANNA)
    ask(peopled, **ids)
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert rows_of_others(peopled, *ANNA) == others == rows_of_people(peopled)
    assert audit(peopled.settings).findings == []
    keys = [key_of(*one.split(":")) for one in ANNA]
    patterns = Patterns([form for key in keys for form in forms_of(key)])
    assert [*files_with(patterns, peopled.settings.home)] == []


def test_a_developers_warehouse_is_gone_with_them(peopled: Lake, tmp_path: Path) -> None:
    dev = Settings(home=tmp_path / "dev")
    dev.warehouse.parent.mkdir(parents=True)
    lend(dev, Lent(peopled.settings.home, 7))
    enter_landings(dev)
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    assert not dev.warehouse.exists()


def test_what_a_feed_delivered_of_them_is_gone_too(peopled: Lake) -> None:
    call = {"platform": "mob", "os_name": "iOS", "app_id": "news", "event": "unstruct", "event_name": "screen_view"}
    call |= {"collector_tstamp": "2026-01-15T10:00:00Z", "user_id": "u-anna"}
    screen = json.dumps({"data": {"schema": "iglu:com.snowplowanalytics.mobile/screen_view/1", "data": {"name": "x"}}})
    calls = [call | {"event_id": str(UUID(int=n)), "unstruct_event": screen} for n in (901, 902)]
    peopled.land_one("apps/snowplow/a.ndjson", ndjson(calls))
    session = "apps/snowplow_contexts/com_snowplowanalytics_snowplow_client_session_1/a.ndjson"
    rows = [{"root_id": str(UUID(int=901)), "userId": "d-app", "sessionId": "s"}]
    peopled.deliver(session, ndjson(rows))
    assert peopled.land().rows("rows_landed") == 1, "the other still waits for its session"
    ask(peopled, user="u-anna")
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert {
        str(path.relative_to(peopled.settings.inbox)) for path in peopled.settings.inbox.rglob("*.ndjson")
    }.isdisjoint({"apps/snowplow/a.ndjson", session})
    assert audit(peopled.settings).findings == []


def test_what_is_known_of_their_consent_is_gone_with_them(peopled: Lake) -> None:
    told = {"consent": ["analytics"], "consent_updated_at": "2026-01-01T00:00:00Z"}
    accounts = [account("k-anna", "u-anna", **told), account("k-bo", "u-bo", **told)]
    peopled.land_one("crm/accounts/c.ndjson", ndjson(accounts))
    refusing = [seen(700 + n, device, None, consent=["analytics"]) for n, device in enumerate(["d-phone", "d-cilla"])]
    peopled.land_one("web/events/refusing.ndjson", ndjson(refusing))
    declared = [consent(1, device_id="d-phone"), consent(2, user_id="u-anna"), consent(3, user_id="u-bo")]
    peopled.land_one("cmp/consents/a.ndjson", ndjson(declared))
    assert len(peopled.rows("consents")) == 2 * 3 + 2 * 2 + 3
    others = rows_of_others(peopled, *ANNA)
    ask(peopled, user="u-anna")
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert rows_of_people(peopled) == others
    assert len(peopled.rows("consents")) == 1 * 3 + 1 * 2 + 1
    assert audit(peopled.settings).findings == []
    patterns = Patterns([form for one in ANNA for form in forms_of(key_of(*one.split(":")))])
    assert [*files_with(patterns, peopled.settings.home)] == []


def test_what_a_record_of_theirs_says_of_a_shared_device_holds_for_it_still(
    peopled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [consent(n, device_id=device, user_id="u-anna") for n, device in enumerate(["d-tablet", "d-phone"])]
    replaced = consent(2, device_id="d-tablet", user_id="u-anna", purpose="advertising")
    peopled.land_one("cmp/consents/a.ndjson", ndjson([*both, replaced]))
    peopled.land_one("cmp/consents/a.ndjson", ndjson(both))

    def of_devices() -> list[tuple[Any, ...]]:
        names = ("device_key", "user_key", "purpose", "is_granted", "stated_in")
        return [tuple(row[name] for name in names) for row in peopled.rows("consents")]

    def killed(*arguments: Any) -> Any:
        if arguments[2].name == "consents":
            raise Killed
        return real(*arguments)

    real = erasing.erase_landed
    ask(peopled, user="u-anna")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(erasing, "erase_landed", killed)
        erase(peopled.settings)
    assert len(of_devices()) == 3 + 2 + 1, "nothing is gone yet"
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    tablet = (key_of("device", "d-tablet").bytes, None, "analytics", False, "consents")
    assert of_devices() == [tablet]
    peopled.land_one("cmp/consents/again.ndjson", ndjson([*both, consent(3, device_id="d-cilla", user_id="u-cilla")]))
    cilla = (key_of("device", "d-cilla").bytes, key_of("user", "u-cilla").bytes, "analytics", False, None)
    assert of_devices() == [tablet, cilla]
    assert audit(peopled.settings).findings == []


def devices_refusing(lake: Lake) -> list[bytes]:
    """Of whom a record in force says that they refuse analytics; none of them names a user."""
    with closing(Receipts(lake.settings, read_only=True)) as receipts:
        in_force = {receipt.batch_id for receipt in receipts.in_force("consents")}
    rows = [row for row in lake.rows("consents") if row["_batch_id"] in in_force and row["purpose"] == "analytics"]
    assert {row["user_key"] for row in rows} <= {None} and not any(row["is_granted"] for row in rows)
    return [row["device_key"] for row in rows]


def test_what_comes_of_an_erased_person_later_holds_for_a_shared_device_and_no_other(peopled: Lake) -> None:
    """Of a device that nobody else is known to use nothing is known any more, nor does it get a pseudonym now."""
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    devices = ["d-tablet", "d-phone", "d-new"]
    records = [consent(n, device_id=device, user_id="u-anna") for n, device in enumerate(devices)]
    peopled.land_one("cmp/consents/a.ndjson", ndjson(records))
    tablet = key_of("device", "d-tablet").bytes
    assert devices_refusing(peopled) == [tablet]
    events = [seen(900 + n, device, "u-anna", consent=[]) for n, device in enumerate(devices)]
    receipt = peopled.land_one("web/events/late.ndjson", ndjson(events))
    assert receipt.rows_removed == 3
    assert devices_refusing(peopled) == [tablet] * 2, "what its events refuse holds too"
    assert audit(peopled.settings).findings == []


@pytest.mark.parametrize("first", ["a", "x"], ids=["replaced before", "replaced later"])
def test_what_a_delivery_may_take_back_is_no_reason_to_keep_nothing(peopled: Lake, first: str) -> None:
    peopled.land_one(f"cmp/consents/{first}.ndjson", ndjson([consent(1, device_id="d-tablet", stated_in="consents")]))
    peopled.land_one("cmp/consents/a.ndjson", ndjson([consent(2, device_id="d-tablet", user_id="u-anna")]))
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    peopled.land_one(f"cmp/consents/{first}.ndjson", ndjson([consent(1, device_id="d-cilla")]))
    assert key_of("device", "d-tablet").bytes in devices_refusing(peopled)


def test_what_is_kept_of_a_device_goes_over_to_its_later_pseudonym(
    peopled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY_NEXT", NEXT_KEY)
    peopled.settings = peopled.settings.model_copy(update={"pseudonym_key_next": SecretStr(NEXT_KEY)})
    records = ndjson([consent(1, device_id="d-tablet", user_id="u-anna")])
    peopled.land_one("cmp/consents/a.ndjson", records)
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    change = begin(peopled.settings, datetime.now(UTC).date() - timedelta(days=1))
    peopled.land_one("cmp/consents/again.ndjson", records + b"\n")
    finish(peopled.settings, change)
    assert later_key_of("device", "d-tablet").bytes in devices_refusing(peopled)


def test_what_refused_with_a_clock_that_runs_ahead_does_not_come_back(peopled: Lake) -> None:
    now = datetime.now(UTC)
    ahead = {"occurred_at": (now + timedelta(hours=20)).isoformat(), "received_at": now.isoformat()}
    rows = ndjson([seen(910, "d-phone", None, consent=[], **ahead)])
    peopled.land_one("web/events/ahead.ndjson", rows)
    assert len(devices_refusing(peopled)) == 1
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    peopled.land_one("web/events/again.ndjson", rows + b"\n")
    assert devices_refusing(peopled) == []


def test_the_inbox_has_no_file_that_brought_rows_of_them(peopled: Lake) -> None:
    peopled.land_one("web/events/others.ndjson", ndjson([seen(900, "d-cilla", "u-cilla")]))
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    left = [path.name for path in peopled.settings.inbox.rglob("*") if path.is_file()]
    assert left == ["others.ndjson"]


def test_a_shared_device_keeps_what_names_nobody_unless_asked(peopled: Lake) -> None:
    tablet = key_of("device", "d-tablet").bytes
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    nobodys = [row for row in peopled.rows() if row["device_key"] == tablet and row["user_key"] is None]
    assert len(nobodys) == 4
    ask(peopled, with_shared=True, user="u-bo")
    erase(peopled.settings)
    assert [row for row in peopled.rows() if row["device_key"] == tablet] == []


def test_a_device_alone_takes_nobody_with_it(peopled: Lake) -> None:
    ask(peopled, device="d-cilla")
    (done,) = erase(peopled.settings)
    cilla = key_of("user", "u-cilla").bytes
    rows = [row for row in peopled.rows() if row["device_key"] == key_of("device", "d-cilla").bytes]
    assert len(rows) == 4
    assert {row["user_key"] for row in rows} == {cilla}
    assert done.found["pseudonyms_kept"] == 1


def test_whoever_is_not_known_is_erased_of_nothing(peopled: Lake) -> None:
    before = rows_of_people(peopled)
    ask(peopled, account="k-nobody-at-all")
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert rows_of_people(peopled) == before
    assert [*peopled.settings.inbox.rglob("*.csv")] != []


def test_every_delivery_of_before_comes_back_without_them(peopled: Lake) -> None:
    files = {
        path.relative_to(peopled.settings.inbox): path.read_bytes() for path in peopled.settings.inbox.rglob("*.*")
    }
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    others = people_in(peopled)
    for round_ in (1, 2):
        for name, data in files.items():
            # Other bytes under another name: nothing of it was seen before.
            packed = data if name.suffix in (".gz", ".pb", ".parquet") else data + b"\n" * round_
            peopled.deliver(str(name.with_name(f"again-{round_}-{name.name}")), packed)
        peopled.land()
    assert people_in(peopled) == others


def test_what_quarantine_says_of_them_is_gone_and_counted_still(peopled: Lake) -> None:
    rows = [
        seen(800, "d-phone", None, platform="none of ours"),  # a device of theirs, whose id was not given
        seen(801, "d-cilla", "u-cilla", platform="none of ours", note="for u-anna"),
        seen(802, "d-cilla", "u-cilla", platform="none of ours", note="for u-annabel"),
        seen(803, "d-nobody", None, mail="anna u-anna"),  # lands, with a key that is not known
    ]
    receipt = peopled.land_one("web/events/odd.ndjson", ndjson(rows))
    assert (receipt.rows_rejected, receipt.unknown_keys) == (3, 1)
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    said = {row["_line"]: row["raw"] for row in peopled.rejects()}
    assert (said[1], said[2]) == (b"", b"")
    assert b"u-annabel" in said[3]
    assert [row["value"] for row in peopled.unknown()] == [""]
    assert audit(peopled.settings).findings == []
    env = {"TIDEMARK_HOME": str(peopled.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY}
    done = CliRunner(env=env).invoke(main, ["land", "--retry-quarantine"])
    assert done.exit_code == 0, done.output
    assert len(peopled.rejects()) == 3


def test_text_of_their_rows_is_gone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = load_specs()
    event = changed_spec(specs["events"], "app_version", treatment=Treatment.REDACT, privacy=Privacy.FREE_TEXT)
    monkeypatch.setattr("flows.privacy.erase.load_specs", lambda: {**specs, "events": event})
    rows = [seen(1, "d-1", "u-anna", app_version="hers"), seen(2, "d-2", "u-bo", app_version="his")]
    lake.land_one("web/events/a.ndjson", ndjson(rows), {"events": event})
    ask(lake, user="u-anna")
    (done,) = erase(lake.settings)
    day = lake.rows()[0]["event_date"]
    texts = [row for part in read_text(lake.settings, "events", day) for row in part.to_pylist()]
    assert [(row["_line"], row["app_version"]) for row in texts] == [(1, None), (2, "his")]
    assert "text" in {file["store"] for file in done.found["files"]}


def test_the_receipt_names_nobody_and_says_what_was_done(peopled: Lake) -> None:
    request = ask(peopled, account="k-anna")
    erase(peopled.settings)
    path = Queue(peopled.settings).path(request)
    said, text = json.loads(path.read_text()), path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert said["sealed"] is None
    for one in ANNA:
        kind, id_ = one.split(":")
        assert id_.encode() not in text
        assert not any(form in text for form in forms_of(key_of(kind, id_)))
    assert said["found"]["before"]["landed"] == {
        "account_keys": {"own": 0, "by_device": 0, "withheld": 0},
        "accounts": {"own": 3, "by_device": 0, "withheld": 1},
        "consents": {"own": 0, "by_device": 0, "withheld": 0},
        "events": {"own": 12, "by_device": 8, "withheld": 4},
    }
    assert said["found"]["after"]["landed"]["events"] == {"own": 0, "by_device": 0, "withheld": 4}
    assert list(said["reached"]) == list(State)
    digests = [file["sha256_before"] for file in said["found"]["files"]]
    assert digests and all(len(digest) == 64 for digest in digests)
    assert said["found"]["landed_files"]["events"]["rewritten"] > 0


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "parquet", "pb"])
@pytest.mark.parametrize("user", ["anna smith", 'an"na', "a,b", "u1", "åsa-1", "a=b=="])
def test_an_odd_id_is_found_in_quarantine_too(lake: Lake, user: str, suffix: str) -> None:
    odd = {"platform": "none of ours"}
    rows = [seen(1, "d-1", user)]
    rows += [seen(2, "d-2", "u-9", **odd), seen(3, "d-3", user, **odd), seen(4, "d-1", None, **odd)]
    lake.land_one(f"web/events/a.{suffix}", in_format(rows, suffix))
    Queue(lake.settings).receive([(Given(Kind.USER, user),)], with_shared=False)
    (done,) = erase(lake.settings)
    assert done.state is State.PROVEN
    assert [bool(row["raw"]) for row in lake.rejects()] == [True, False, False]
    assert not retry_quarantine(lake.settings).not_tried


def test_an_id_that_is_the_beginning_of_another_keeps_nothing_open(lake: Lake) -> None:
    for number in ("12345", "123456"):
        row = account(f"account-{number}", f"u-{number}")
        lake.land_one(f"crm/accounts/{number[-1]}.csv", in_format([row], "csv", "accounts"))
    ask(lake, account="account-12345")
    (done,) = erase(lake.settings)
    assert done.state is State.PROVEN
    assert {key for _, key in people_in(lake)} == {key_of("account", "account-123456"), key_of("user", "u-123456")}


def test_a_file_goes_also_where_it_brought_nothing_but_rejected_rows_of_a_device(lake: Lake) -> None:
    lake.land_one("web/events/a.ndjson", ndjson([seen(1, "d-phone", "u-anna")]))
    rows = [seen(2, "d-phone", None, platform="none of ours"), seen(3, "d-bo", "u-bo")]
    lake.land_one("web/events/odd.ndjson", ndjson(rows))
    ask(lake, user="u-anna")
    erase(lake.settings)
    assert [path.name for path in lake.settings.inbox.rglob("*") if path.is_file()] == []


def test_a_device_that_only_the_erased_share_keeps_nothing(lake: Lake) -> None:
    rows = [seen(1, "d-tablet", "u-anna"), seen(2, "d-tablet", "u-bo"), seen(3, "d-tablet", None)]
    lake.land_one("web/events/a.ndjson", ndjson(rows))
    people = [(Given(Kind.USER, "u-anna"),), (Given(Kind.USER, "u-bo"),)]
    Queue(lake.settings).receive(people, with_shared=False)
    (done,) = erase(lake.settings)
    assert done.found["pseudonyms"]["shared_devices"] == 0
    assert lake.rows() == []


def test_what_the_contract_does_not_know_any_more_is_named(lake: Lake) -> None:
    lake.land_one("crm/accounts/a.csv", in_format([account("k-1", "u-1")], "csv", "accounts"))
    lake.land_one("web/events/a.ndjson", ndjson([seen(1, "d-1", "u-1"), seen(2, "d-2", "u-2")]))
    specs = load_specs()
    events = specs["events"]
    fields = tuple(field for field in events.fields if field.column != "user_key")
    ask(lake, device="d-1")
    (done,) = erase(lake.settings, {"events": events.model_copy(update={"fields": fields})})
    named = {one["file"] for one in done.found["not_searched"]}
    assert named == {"crm/accounts/a.csv", "landed/accounts", "landed/events, column user_key"}


def test_many_people_are_looked_for_at_once(peopled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by themselves would be looked for in all files of the lake."""
    real, looks = LandedRows.pairs, []

    def pairs(self: LandedRows, *asked: Any) -> Any:
        looks.append(asked)
        return real(self, *asked)

    monkeypatch.setattr(LandedRows, "pairs", pairs)
    people = [(Given(Kind.USER, f"u-{number}"),) for number in range(200)]
    Queue(peopled.settings).receive([*people, (Given(Kind.USER, "u-anna"),)], with_shared=False)
    (done,) = erase(peopled.settings)
    assert done.found["pseudonyms"] == {"account": 2, "user": 201, "device": 2, "shared_devices": 1}
    assert len(looks) < 10


def test_two_at_once_end_each_request_once(peopled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second began while the first was at work: what that one ended is not begun again."""
    request = ask(peopled, user="u-anna")
    real, second = Queue.worked_on, []

    @contextmanager
    def worked_on(self: Queue) -> Iterator[None]:
        if not second:
            second.append(True)
            assert [done.state for done in erase(peopled.settings)] == [State.PROVEN]
        with real(self):
            yield

    monkeypatch.setattr(Queue, "worked_on", worked_on)
    assert erase(peopled.settings) == []
    (left,) = Queue(peopled.settings).all()
    assert (left.id, left.state, left.sealed) == (request.id, State.PROVEN, None)
    assert left.found["before"]["landed"]["events"]["own"] == 12


class Killed(BaseException):
    """As a process that is gone."""


@pytest.mark.parametrize(
    "name", ["erase_texts", "erase_landed", "erase_quarantine", "erase_inbox", "renew", "files_with"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_it_goes_on(peopled: Lake, name: str, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = rows_of_others(peopled, *ANNA)
    ask(peopled, user="u-anna")
    real = getattr(erasing, name)

    def killed(*arguments: Any) -> Any:
        done = real(*arguments) if when == "after" else None
        if done is not None and not isinstance(done, tuple):
            list(done)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(erasing, name, killed)
        erase(peopled.settings)
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert [*peopled.rows("events"), *peopled.rows("accounts")] == others
    assert [path.name for path in peopled.settings.inbox.rglob("*") if path.is_file()] == []
    assert audit(peopled.settings).findings == []


def test_what_waits_in_the_inbox_lands_first_and_what_cannot_is_said(
    peopled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    peopled.deliver("web/events/waits.ndjson", ndjson([seen(700, "d-new-phone", "u-anna")]))
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    assert key_of("device", "d-new-phone") not in {key for _, key in people_in(peopled)}
    peopled.deliver("web/events/grows.ndjson", ndjson([seen(701, "d-4", "u-anna")]))
    ask(peopled, user="u-anna")
    with monkeypatch.context() as patch, pytest.raises(NotErasedError, match=r"grows\.ndjson"):
        patch.setattr(erasing, "land", lambda *_: None)  # somebody is writing the file still
        erase(peopled.settings)
    assert [request.state for request in Queue(peopled.settings).all()] == [State.PROVEN, State.PUBLISHED]
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert (peopled.rows()[-1]["_batch_id"]) < 12


def test_who_comes_back_later_is_anybody(peopled: Lake) -> None:
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    later = datetime.now(UTC) + timedelta(hours=1)
    peopled.land_one("web/events/new.ndjson", ndjson([seen(600, "d-phone", "u-anna", occurred_at=f"{later:%FT%TZ}")]))
    assert ("user_key", key_of("user", "u-anna")) in people_in(peopled)


def test_the_command_takes_a_list(peopled: Lake, tmp_path: Path) -> None:
    listed = tmp_path / "people.csv"
    listed.write_text("account,k-anna\n\nuser,u-bo,device,d-bo\n")
    env = {"TIDEMARK_HOME": str(peopled.settings.home), "TIDEMARK_PSEUDONYM_KEY": KEY}
    asked = CliRunner(env=env).invoke(main, ["erase", "--file", str(listed)], input="n\n")
    assert asked.exit_code == 1
    assert Queue(peopled.settings).all() == []
    done = CliRunner(env=env).invoke(main, ["erase", "--file", str(listed), "--yes"])
    assert done.exit_code == 0, done.output
    assert "2 people" in done.output
    assert {key for kind, key in people_in(peopled) if kind == "user_key"} == {key_of("user", "u-cilla")}
    unknown = CliRunner(env=env).invoke(main, ["erase", "--account", "k-ana", "--yes"])
    assert unknown.exit_code == 0 and "how the ids are spelt" in unknown.output
    assert "how the ids are spelt" not in done.output
    again = CliRunner(env=env).invoke(main, ["erase"])
    assert "no request is open" in again.output
    listed.write_text("account\n")
    wrong = CliRunner(env=env).invoke(main, ["erase", "--file", str(listed), "--yes"])
    assert wrong.exit_code == 1
    assert "line 1" in wrong.output


def test_an_account_delivered_later_for_another_user_is_not_taken(peopled: Lake) -> None:
    ask(peopled, user="u-anna")
    erase(peopled.settings)
    peopled.land_one("crm/accounts/z.csv", in_format([account("k-zoe", "u-zoe")], "csv", "accounts"))
    assert key_of("user", "u-zoe") in {key for _, key in people_in(peopled)}


def test_a_short_number_is_not_taken_for_an_id_where_it_is_none(peopled: Lake) -> None:
    rows = [
        seen(500, "d-other", "7", platform="none of ours"),
        seen(501, "d-other", "u-cilla", platform="none of ours", position=7),
        seen(502, "d-7", "7"),
    ]
    peopled.land_one("web/events/short.ndjson", ndjson(rows))
    peopled.deliver("web/events/others.ndjson", ndjson([seen(503, "d-other", "u-cilla", app_version="7")]))
    ask(peopled, user="7")
    (done,) = erase(peopled.settings)
    assert done.found["ids_too_short_to_look_for"] == 1
    said = {row["_line"]: row["raw"] for row in peopled.rejects()}
    assert said[1] == b""
    assert b"u-cilla" in said[2]
    assert (peopled.settings.inbox / "web/events/others.ndjson").exists()
    assert key_of("user", "7") not in {key for _, key in people_in(peopled)}


@pytest.mark.parametrize("id_", ["o'brien", 'a"b', "a,b;c", "å/ö 1", "x" * 5000, "%s{0}", "\\x00"])
def test_any_id_can_be_erased(peopled: Lake, id_: str) -> None:
    peopled.land_one("web/events/odd.ndjson", ndjson([seen(500, "d-odd", id_), seen(501, "d-cilla", "u-cilla")]))
    Queue(peopled.settings).receive([(Given(Kind.USER, id_),)], False)
    (done,) = erase(peopled.settings)
    assert done.state is State.PROVEN
    assert not {key_of("user", id_), key_of("device", "d-odd")} & {key for _, key in people_in(peopled)}
