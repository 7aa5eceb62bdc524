"""However the same events are split into files and builds, in whatever order: the marts are those of one build."""

import json
import random
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.build import build
from flows.land import land
from flows.settings import Settings
from flows.warehouse import open_warehouse
from tests.properties.oracle import Event, Session, kept_copies, local_day, sessions

MARTS = (
    "fct_sessions", "agg_audience_daily", "fct_content_engagement", "agg_content_daily", "agg_adverts_daily",
    "fct_enquiries",
)  # fmt: skip
NO_TESTS = ("--exclude-resource-type", "test")
ALL = ("--select", "raw_events+", "resource_type:seed", *NO_TESTS)
HALF = ("--select", "raw_events+,+int_audience__midnights_crossed", *NO_TESTS)
KEY = "a secret of the tests, long enough to be taken"


def draw_copies(seed: int) -> list[Event]:
    """Bursts over the days around a clock change: gaps at the limit and over it, midnights, client sessions, a robot
    that never rests, and copies that say otherwise when it happened."""
    rng = random.Random(seed)
    start = datetime(2026, 3, 27, 12) if seed % 2 else datetime(2026, 10, 23, 12)
    copies: list[Event] = []

    def add(moment: datetime, device: str, product: str, session_id: str | None) -> None:
        kind, payload = rng.choice(PAYLOADS)
        copies.append(
            {
                "event_id": str(uuid.UUID(int=rng.getrandbits(128))),
                "occurred_at": moment,
                "received_at": moment + timedelta(seconds=1, microseconds=rng.randrange(10**6)),
                "product": product,
                "platform": rng.choice(["web", "ios"]),
                "device_id": device,
                "session_id": session_id,
                kind: payload(rng),
            }
        )

    for device in ("d-1", "d-2", "d-3"):
        for _ in range(8):
            moment = start + timedelta(minutes=rng.randrange(5 * 24 * 60))
            if rng.random() < 0.6:
                moment = moment.replace(hour=rng.choice([21, 22]), minute=rng.randrange(30, 60))
            product, session_id = rng.choice(["news", "sport"]), rng.choice([None, None, "s-1", "s-2"])
            for _ in range(rng.randrange(1, 12)):
                add(moment, device, product, session_id)
                moment += rng.choice([timedelta(0), timedelta(minutes=7), timedelta(minutes=30), LIMIT])
    for number in range(300):
        add(start + timedelta(minutes=20 * number), "d-robot", "news", None)
    for copy in rng.sample(copies, len(copies) // 5):
        moved = timedelta(minutes=rng.choice([0, 0, -31, 31, -200]))
        again = copy["received_at"] + timedelta(seconds=rng.randrange(-20, 20), microseconds=rng.randrange(1, 10**6))
        copies.append(copy | {"occurred_at": copy["occurred_at"] + moved, "received_at": again})
    return copies


LIMIT = timedelta(minutes=30, milliseconds=1)
PAYLOADS: list[tuple[str, Any]] = [
    ("content_view", lambda rng: {"content_id": f"c-{rng.randrange(3)}", "content_type": "article"}),
    (
        "content_progress",
        lambda rng: {
            "content_id": f"c-{rng.randrange(3)}", "content_type": "article", "depth": rng.choice([0.3, 0.9]),
            "active_ms": rng.randrange(40_000),
        },
    ),
    ("content_reaction", lambda rng: {"content_id": "c-1", "content_type": "article", "reaction": "like"}),
    ("advert_impression", lambda rng: {"advert_id": "a-1", "slot": "top", "position": rng.choice([1, 2])}),
    ("enquiry", lambda rng: {"advert_id": "a-1", "channel": "call"}),
]  # fmt: skip


def deliver(settings: Settings, name: str, copies: list[Event]) -> None:
    path = settings.inbox / "clients" / "events" / f"{name}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps(copy, default=lambda moment: moment.isoformat() + "Z") + "\n" for copy in copies)
    )


def marts_of(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with open_warehouse(settings, read_only=True) as warehouse:
        return {mart: warehouse.execute(f"select * from marts.{mart} order by all").fetchall() for mart in MARTS}


def settings_of(home: Path) -> Settings:
    return Settings(home=home, settle_seconds=0, pseudonym_key=KEY)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 23))])
def test_marts_do_not_depend_on_the_split_or_the_order(seed: int, tmp_path: Path) -> None:
    copies = draw_copies(seed)
    rng = random.Random(-seed)
    at_once, bit_by_bit = settings_of(tmp_path / "at_once"), settings_of(tmp_path / "bit_by_bit")
    deliver(at_once, "all", copies)
    land(at_once)
    assert not build(at_once, ALL).failed

    # A day a delivery, in any order: a day then changes sessions that began on days the delivery does not hold.
    # Few stragglers, or every delivery would touch every day and prove nothing; some rows are delivered twice.
    days = sorted({local_day(c["occurred_at"]) for c in copies})
    rng.shuffle(days)
    parts: list[list[Event]] = [[] for _ in days]
    for copy in copies:
        usual = days.index(local_day(copy["occurred_at"]))
        parts[usual if rng.random() < 0.995 else rng.randrange(len(days))].append(copy)
        if rng.random() < 0.002:
            parts[rng.randrange(len(days))].append(copy)
    for number, part in enumerate(parts):
        deliver(bit_by_bit, f"part-{number}", part)
        land(bit_by_bit)
        # Now and then a build stops half-way: what it did not reach, the next one finds.
        assert not build(bit_by_bit, HALF if number % 3 == 1 else ALL).failed
    assert not build(bit_by_bit, ALL).failed

    expected, found = marts_of(at_once), marts_of(bit_by_bit)
    for mart in MARTS:
        assert found[mart] == expected[mart], mart
    assert sorted(in_oracles_terms(bit_by_bit)) == sorted(sessions(kept_copies(copies)))


def in_oracles_terms(settings: Settings) -> list[Session]:
    columns = ", ".join(Session._fields)
    with open_warehouse(settings, read_only=True) as warehouse:
        return [Session(*row) for row in warehouse.execute(f"select {columns} from marts.fct_sessions").fetchall()]
