"""A small fixed lake whose figures can be worked out by hand: three days, each group of devices doing one thing.

| day | who | what |
| --- | --- | --- |
| Wed 14 | 12 devices of news on ios | view c-1 once |
| Thu 15 | the same 12 | view c-1 once; 10 of them read it, 20 s each |
| Thu 15 | 15 devices of news on web, each logged in | view c-2 twice; 11 read it, 70 s each, 5 of these like it |
| Thu 15 | 4 devices of play on tv: too few | view c-3 once |
| Thu 15 | 6 devices of market on web: too few, but of adverts all counts | see a-1 and a-2; 3 click a-1, 1 clicks a-2 |
| Thu 15 | 2 of these 6 | ask: one calls about a-1 and writes about a-2, one writes about a-1 |
| Fri 16 | the 15 of news on web | view c-1 once |
| Fri 16 | 3 robots, and 2 devices that agree to nothing, of news on web | view c-1 once |
| Fri 16 | 10 devices of sport on web | view c-4 once and read it, 12 s each |
| Fri 16 | 4 of the 6 of market | see a-1; 1 clicks it |
| Fri 16 | a robot, and a device that agrees to nothing | each writes about a-1 |

Articles c-1, c-2 and c-4 and the video c-3; c-1 has two titles, a-1 two prices, and a-2 is sold. Calls about a-1 on the
15th of 0, 20 and 90 s, and of 700 s on the 16th; about a-2 on the 16th one of 300 s. One line of the events of
the 16th has no product, which its reject says, and one file is delivered twice.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.support.deliveries import event, ndjson
from tests.support.lake import Lake

WEB, IOS, TV = "web", "ios", "tv"
ROBOT = "Mozilla/5.0 (compatible; Somebot/2.1)"
READ = {"depth": 0.9}


def _days() -> dict[int, list[dict[str, Any]]]:
    """The events of each day."""
    numbers = count(1)

    def did(device: str, day: int, payload: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
        number = next(numbers)
        at = f"2026-01-{day}T12:{number % 20:02}:{number % 60:02}"
        return event(
            number, payload, body, device_id=device, occurred_at=f"{at}Z", sent_at=f"{at}.1Z", received_at=f"{at}.2Z",
            **({"user_id": None} | more),
        )  # fmt: skip

    def view(content: str, kind: str = "article") -> dict[str, Any]:
        return {"content_id": content, "content_type": kind}

    ios = [f"ios-{n}" for n in range(12)]
    web = [f"web-{n}" for n in range(15)]
    shoppers = [f"shopper-{n}" for n in range(6)]
    place = {"slot": "top", "page_type": "front"}
    days: dict[int, list[dict[str, Any]]] = {14: [], 15: [], 16: []}
    days[14] += [did(d, 14, "content_view", view("c-1"), product="news", platform=IOS) for d in ios]
    for n, d in enumerate(ios):
        days[15].append(did(d, 15, "content_view", view("c-1"), product="news", platform=IOS))
        if n < 10:
            read = view("c-1") | READ | {"active_ms": 20_000}
            days[15].append(did(d, 15, "content_progress", read, product="news", platform=IOS))
    for n, d in enumerate(web):
        of = {"product": "news", "platform": WEB, "user_id": f"user-{n}"}
        days[15] += [did(d, 15, "content_view", view("c-2"), **of) for _ in range(2)]
        if n < 11:
            days[15].append(did(d, 15, "content_progress", view("c-2") | READ | {"active_ms": 70_000}, **of))
        if n < 5:
            days[15].append(did(d, 15, "content_reaction", view("c-2") | {"reaction": "like"}, **of))
        days[16].append(did(d, 16, "content_view", view("c-1"), **of))
    for n in range(4):
        days[15].append(did(f"tv-{n}", 15, "content_view", view("c-3", "video"), product="play", platform=TV))
    for n, d in enumerate(shoppers):
        of = {"product": "market", "platform": WEB}
        for position, advert in enumerate(("a-1", "a-2"), 1):
            shown = {"advert_id": advert, "position": position, **place}
            days[15].append(did(d, 15, "advert_impression", shown, **of))
            if n < (3 if advert == "a-1" else 1):
                days[15].append(did(d, 15, "advert_click", shown, **of))
        if n < 4:
            shown = {"advert_id": "a-1", "position": 1, **place}
            days[16].append(did(d, 16, "advert_impression", shown, **of))
            if n < 1:
                days[16].append(did(d, 16, "advert_click", shown, **of))
    for n in range(3):
        of = {"product": "news", "platform": WEB, "user_agent": ROBOT}
        days[16].append(did(f"robot-{n}", 16, "content_view", view("c-1"), **of))
    for n in range(2):
        days[16].append(did(f"no-{n}", 16, "content_view", view("c-1"), product="news", platform=WEB, consent=[]))
    for n in range(10):
        of = {"product": "sport", "platform": WEB}
        days[16].append(did(f"fan-{n}", 16, "content_view", view("c-4"), **of))
        days[16].append(did(f"fan-{n}", 16, "content_progress", view("c-4") | READ | {"active_ms": 12_000}, **of))
    for day, who, channel, advert, more in ENQUIRIES:
        asked = {"advert_id": advert, "channel": channel}
        days[day].append(did(who, day, "enquiry", asked, product="market", platform=WEB, **more))
    return days


ENQUIRIES: list[tuple[int, str, str, str, dict[str, Any]]] = [
    (15, "shopper-0", "call", "a-1", {}),
    (15, "shopper-0", "message", "a-2", {}),
    (15, "shopper-1", "message", "a-1", {}),
    (16, "robot-0", "message", "a-1", {"user_agent": ROBOT}),
    (16, "no-0", "message", "a-1", {"consent": []}),
]
CONTENTS = [
    ("c-1", "article", "news", "Harbour opens", "politics", 400, "2026-01-10T08:00:00Z"),
    ("c-1", "article", "news", "Harbour opens early", "politics", 420, "2026-01-12T08:00:00Z"),
    ("c-2", "article", "news", "Tide tables explained", "science", 900, "2026-01-14T08:00:00Z"),
    ("c-3", "video", "play", "The long night", "drama", None, "2026-01-11T08:00:00Z"),
    ("c-4", "article", "sport", "A final in the north", "football", 300, "2026-01-16T08:00:00Z"),
]
ADVERTS = [
    ("a-1", "s-1", "Volvo V70", 10_000.0, 8, "active", "2026-01-10T09:00:00Z"),
    ("a-1", "s-1", "Volvo V70", 9_500.0, 8, "active", "2026-01-13T09:00:00Z"),
    ("a-2", "s-2", "Saab 900", 4_000.0, 3, "sold", "2026-01-12T09:00:00Z"),
]
CALLS = [
    ("k-1", "a-1", "2026-01-15T10:00:00Z", 0),
    ("k-2", "a-1", "2026-01-15T11:00:00Z", 20),
    ("k-3", "a-1", "2026-01-15T12:00:00Z", 90),
    ("k-4", "a-1", "2026-01-16T10:00:00Z", 700),
    ("k-5", "a-2", "2026-01-16T11:00:00Z", 300),
]


def files() -> Iterator[tuple[str, bytes]]:
    """Every file that is delivered, by its name in the inbox."""
    days = _days()
    rejected = dict(days[16][0], event_id="0191f3c2-8a44-7c1e-9d3b-ffffffffffff")
    del rejected["product"]
    for day, events in days.items():
        yield f"apps/events/2026-01-{day}/part-0001.ndjson", ndjson([*events, *([rejected] if day == 16 else [])])
    yield "apps/events/2026-01-14/part-0001-again.ndjson", ndjson(days[14])
    names = ("content_id", "content_type", "product", "title", "section", "word_count", "updated_at")
    for number, row in enumerate(CONTENTS):
        yield f"cms/contents/{number}.ndjson", _line(names, row)
    names = ("advert_id", "seller_id", "make_model", "price", "photo_count", "status", "updated_at")
    for number, row in enumerate(ADVERTS):
        yield f"market/adverts/{number}.ndjson", _line(names, row)
    names = ("call_id", "advert_id", "started_at", "duration_seconds")
    yield "telephony/calls/calls.ndjson", b"".join(_line(names, row) for row in CALLS)


def _line(names: tuple[str, ...], row: tuple[Any, ...]) -> bytes:
    return json.dumps(dict(zip(names, row, strict=True))).encode() + b"\n"


def deliver_asked(lake: Lake) -> None:
    """Put all of it into the inbox."""
    for name, data in files():
        lake.deliver(name, data)
