"""What a case of tests/properties/cases.py comes to: the rows that are delivered, each with its step, and the same as
the oracle takes them."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from flows.land.pseudonyms import Pseudonymiser
from tests.properties.cases import ANCHORS, CHANGES, MINUTE, STEPS, WHATS, Case, Declared, State, Visit
from tests.properties.oracle import PAYLOADS, PURPOSES, Event
from tests.properties.oracle_consent import Record
from tests.support.lake import KEY

FIRST_YEAR = 2000
NAMESPACE = UUID("6f0d9d0e-5d0c-4d5e-9c55-0a1b2c3d4e5f")
PSEUDONYMS = Pseudonymiser(KEY.encode())
AS_DELIVERED = (
    "occurred_at", "sent_at", "received_at", "product", "platform", "app_version", "session_id", "consent", "country",
)  # fmt: skip
_NAMES = tuple(WHATS)
_PAYLOADS = {payload for payload, _, _ in WHATS.values()}


def year_of(number: int) -> int:
    """The first of the two years that belong to the case of this number."""
    return FIRST_YEAR + 2 * number


def number_of(day: date) -> int:
    """The case that a day belongs to."""
    return (day.year - FIRST_YEAR) // 2


def anchor_day(case: Case, number: int) -> date:
    """The day the case is about: where clocks change, a Sunday."""
    day = date(year_of(number), *ANCHORS[case.anchor])
    return day - timedelta((day.weekday() + 1) % 7) if case.anchor in ("spring", "autumn") else day


def copies_of(case: Case, number: int) -> list[tuple[int, Event]]:
    """Every copy of the case's events, as delivered, with the step at which it is."""
    copies: list[tuple[int, Event]] = []

    def add(visit: Visit, step: int, order: int, moment: datetime, what: str) -> None:
        event_id = uuid5(NAMESPACE, f"{number}/{len(copies)}")
        copies.append((step % STEPS, _event(visit, order, event_id, moment, what, number)))

    for visit in case.visits:
        start = _moment(case, number, visit.day, visit.time)
        moment = start
        for order, (gap, what) in enumerate([*visit.events, *[(30 * MINUTE, "view")] * visit.marathon]):
            moment += timedelta(milliseconds=gap)
            later = {"together": 0, "by day": (moment - start).days, "one by one": order, "last first": -order}
            add(visit, visit.step + later[visit.spread], order, moment, what)
        if visit.echo:
            days, steps = visit.echo
            add(replace(visit, device="d-3"), visit.step + steps, 0, start + timedelta(days), visit.events[0][1])
    first = list(copies)
    for retry in case.retries:
        _, event = first[retry.which % len(first)]
        copy = CHANGES[retry.change](event)
        if retry.change == "payload":
            what = _NAMES[(_NAMES.index(event["what"]) + 1) % len(_NAMES)]
            copy = {k: v for k, v in copy.items() if k not in _PAYLOADS} | _payload(what, number)
        copies.append((retry.step, copy | {"received_at": copy["received_at"] + timedelta(milliseconds=retry.shift)}))
    return [(step, _of_case(copy, number)) for step, copy in copies]


def _moment(case: Case, number: int, days: int, at: str) -> datetime:
    return datetime.combine(anchor_day(case, number) + timedelta(days), time.fromisoformat(at))


def _of_case(row: dict[str, Any], number: int) -> dict[str, Any]:
    """The row with people and devices that no other case has."""
    persons = {name: f"{row[name]}-{number}" for name in ("device_id", "user_id") if row.get(name)}
    return row | persons


def _event(visit: Visit, order: int, event_id: UUID, moment: datetime, what: str, number: int) -> Event:
    users = {"logs in": "u-3" if order else None, "logs out": None if order else "u-3"}
    full = {} if visit.is_bare else {
        "sent_at": moment + timedelta(milliseconds=3), "app_version": "7.2", "country": "SE",
        "user_agent": "Mozilla/5.0 (a telephone)", "ip_address": "203.0.113.7",
    }  # fmt: skip
    agreed = visit.consents[order % len(visit.consents)]
    envelope = {
        "event_id": str(event_id),
        "occurred_at": moment,
        "received_at": moment + timedelta(seconds=1, milliseconds=-visit.ahead),
        "product": visit.product,
        "platform": visit.platform,
        "device_id": visit.device,
        "user_id": users.get(visit.user or "", visit.user),
        "session_id": visit.session,
        "consent": None if agreed is None else [*agreed],
    }
    return envelope | full | _payload(what, number) | {"what": what}


def _payload(what: str, number: int) -> Event:
    payload, body, more = WHATS[what]
    ids = {name: f"{value}-{number}" for name, value in body.items() if name in ("content_id", "advert_id")}
    return {payload: body | ids} | more


def as_delivered(copy: Event) -> dict[str, Any]:
    """The copy as a row of a file: moments as text, what is absent left out."""
    texts = {k: v.isoformat() + "Z" if isinstance(v, datetime) else v for k, v in copy.items()}
    return {k: v for k, v in texts.items() if k != "what" and v is not None}


def as_sent(copy: Event) -> Event:
    """The copy as the oracle takes it: all that may land of it, people and devices as their keys, consent as given."""
    (payload,) = _PAYLOADS & copy.keys()
    agent = copy.get("user_agent") or ""
    return (
        {column: copy.get(column) for column in AS_DELIVERED}
        | {column: copy[payload].get(column) for column in PAYLOADS}
        | {
            "event_id": UUID(copy["event_id"]),
            "session_id": copy["session_id"] or None,  # an empty id is none
            "event_type": payload,
            "device_key": _key("device_key", copy["device_id"]),
            "user_key": _key("user_key", copy["user_id"]),
            "is_bot": "bot/" in agent,
        }
    )


def _key(column: str, value: str | None) -> UUID | None:
    return UUID(bytes=PSEUDONYMS.one(column, value)) if value else None


def states_of(case: Case, number: int) -> list[tuple[State, dict[str, Any]]]:
    """The rows of the case's contents, adverts, accounts and calls, as delivered."""
    rows = []
    for state in case.states:
        updated = datetime(year_of(number), 1, 1, state.updated_hour, tzinfo=UTC).isoformat()
        if state.dataset == "contents":
            row: dict[str, Any] = {"content_id": f"c-{state.thing}-{number}", "content_type": "article"}
            row |= {"product": "news", "title": f"title {state.value}", "updated_at": updated}
        elif state.dataset == "adverts":
            row = {"advert_id": f"a-{state.thing}-{number}", "price": state.value, "status": "listed"}
            row |= {"seller_id": f"s-{state.value}", "updated_at": updated}
        elif state.dataset == "accounts":
            row = {"account_id": f"m-{state.thing}-{number}", "user_id": f"u-{state.value}", "updated_at": updated}
            row |= {"created_at": updated, "birth_date": f"19{state.value}0-01-01", "address": "Provgatan 1, Sverige"}
        else:
            row = {"call_id": f"t-{state.thing}-{number}", "advert_id": f"a-{1 + state.value % 2}-{number}"}
            # A later delivery may say that the call was on another day.
            started = datetime.fromisoformat(updated) + timedelta(days=state.value)
            row |= {"started_at": started.isoformat(), "duration_seconds": state.value}
        rows.append((state, row))
    return rows


class Statement(NamedTuple):
    """A row that says what people agree to, with the file it is in and its step, and the records it comes to.

    A file of consents is replaced by the next one of its name, whose records count instead. What an account told stays
    told.
    """

    file: str
    step: int
    row: dict[str, Any]
    records: list[Record]


def statements_of(case: Case, number: int) -> list[Statement]:
    """What the case's people declare."""
    return [
        statement
        for which, declared in enumerate(case.declared)
        for statement in (_of_consents if declared.place == "consents" else _of_account)(case, number, which, declared)
    ]


def _of_consents(case: Case, number: int, which: int, declared: Declared) -> list[Statement]:
    since = _moment(case, number, declared.day or 0, declared.time)
    said = [(purpose, True) for purpose in declared.given] + [(purpose, False) for purpose in declared.refused]
    found = []
    for purpose, is_granted in said:
        row = _of_case({"device_id": declared.device, "user_id": declared.user}, number)
        record = _record(row, purpose, is_granted, since)
        row |= {"consent_id": str(uuid5(NAMESPACE, f"{number}/{which}/{purpose}/{is_granted}")), "purpose": purpose}
        row |= {"is_granted": is_granted, "valid_from": f"{since.isoformat()}Z", "received_at": f"{since.isoformat()}Z"}
        found.append(Statement(f"tables/consents/{declared.file}-{number}.ndjson", declared.step, row, [record]))
    return found


def _of_account(case: Case, number: int, which: int, declared: Declared) -> list[Statement]:
    since = None if declared.day is None else _moment(case, number, declared.day, declared.time)
    row = _of_case({"user_id": declared.user}, number)
    records = [_record(row, purpose, purpose in declared.given, since) for purpose in PURPOSES if since]
    row |= {"account_id": f"m-consent-{which}-{number}", "consent": [*declared.given]}
    row |= {"updated_at": f"{year_of(number)}-02-01T00:00:00Z"}
    row |= {"consent_updated_at": f"{since.isoformat()}Z"} if since else {}
    return [Statement(f"crm/accounts/{declared.file}.ndjson", declared.step, row, records)]


def _record(row: dict[str, Any], purpose: str, is_granted: bool, since: datetime | None) -> Record:
    assert since is not None
    device, user = (_key(f"{kind}_key", row.get(f"{kind}_id")) for kind in ("device", "user"))
    return Record(device, user, purpose, is_granted, since, is_declared=True)
