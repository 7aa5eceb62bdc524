"""What nearly went wrong, or did, once: a case that a random life finds is added here."""

from typing import Any

from tests.properties.cases import AGREED, EVERY, MINUTE, Case, Declared, Retry, State, Visit


def visit(day: int = 0, time: str = "12:00", step: int = 0, *events: tuple[int, str], **more: Any) -> Visit:
    """One device's visit to one product, all of it delivered at one step."""
    usual: dict[str, Any] = {"product": "news", "platform": "web", "device": "d-1", "session": None, "user": None}
    usual |= {"marathon": 0, "echo": None, "is_bare": True, "spread": "together"}
    return Visit(**usual | {"day": day, "time": time, "step": step, "events": events or ((0, "view"),)} | more)


def says(day: int | None, time: str, step: int, *persons: str, **more: Any) -> Declared:
    """A device, a user or both declare consent in a file of records."""
    usual: dict[str, Any] = {"place": "consents", "given": (), "refused": (), "file": "a"}
    usual |= {"device": next((p for p in persons if p.startswith("d")), None)}
    usual |= {"user": next((p for p in persons if p.startswith("u")), None)}
    return Declared(**usual | {"day": day, "time": time, "step": step} | more)


def account_says(day: int | None, time: str, step: int, user: str, *given: str) -> Declared:
    """A user declares consent in an account: to these purposes, and to no others."""
    return says(day, time, step, user, place="accounts", given=given)


_THAT_NEED_IT = ("read", "like", "call", "view from elsewhere")
# Each changes what was built two deliveries before, by no event of those days.
WITHDRAWN = {
    "a device withdraws, long after": Case(
        "spring", (visit(0, "12:00", 0, (0, "read"), (40 * MINUTE, "call")), visit(device="d-2")), (), (),
        (says(30, "12:00", 2, "d-1", refused=EVERY),),
    ),
    "a user withdraws one purpose, on two devices": Case(
        "autumn",
        (
            visit(0, "22:30", 0, (0, "read"), (0, "call"), user="u-1"),
            visit(8, "12:00", 1, (0, "message"), device="d-2", user="u-1"),
            visit(8, "12:00", 1, (0, "message"), device="d-2", user="u-2"),
        ),
        (), (), (says(30, "12:00", 2, "u-1", refused=("analytics",)),),
    ),
    "an account withdraws": Case(
        "new year", (visit(0, "23:30", 0, (0, "enjoyed"), (0, "call"), user="u-1"), visit(0, "23:30", device="d-2")),
        (), (), (account_says(1, "12:00", 2, "u-1", "advertising"),),
    ),
    "a client does not agree any more": Case(
        "end of February", (visit(0, "12:00", 0, (0, "like")), visit(7, "12:00", 2, consents=(("personalisation",),)))
    ),
    "a client whose clock is ahead does not agree any more": Case(
        "end of February",
        (visit(0), visit(2), visit(3, "12:00", 2, consents=((),), ahead=2 * 24 * 60 * MINUTE)),
    ),
    "a copy of an event does not agree": Case(
        "spring", (visit(0, "12:00", 0, (0, "view"), (0, "call")),), (Retry(1, "no consent", 1, 2),)
    ),
    "an event and a refusal at one moment": Case(
        "autumn", (visit(0, "12:00", 0, (0, "view"), (1, "view")),), (), (),
        (says(0, "12:00", 2, "d-1", refused=EVERY), says(0, "11:00", 2, "d-1", given=EVERY)),
    ),
}  # fmt: skip
REOPENED = {
    "consent is given again, and that is known late": Case(
        "spring", (visit(0, "21:30"), visit(1), visit(2, "22:30")), (), (),
        (
            says(0, "12:00", 0, "d-1", refused=("analytics",)), says(2, "12:00", 1, "d-1", given=EVERY, file="b"),
            says(0, "22:00", 2, "d-1", given=("analytics",), file="c"),
        ),
    ),
    "an account gives consent again": Case(
        "end of February", (visit(0, user="u-1"), visit(1, user="u-1")), (), (),
        (account_says(0, "00:30", 0, "u-1"), account_says(1, "00:30", 2, "u-1", *EVERY)),
    ),
    "an event and a grant at one moment": Case(
        "autumn", (visit(0, "12:00", 0, (0, "view")), visit(0, "11:59:59.999", product="sport")), (), (),
        (says(-1, "12:00", 0, "d-1", refused=EVERY), says(0, "12:00", 2, "d-1", given=EVERY, file="b")),
    ),
    "a delivery that takes another's place leaves a refusal out": Case(
        "new year", (visit(0, "23:30", user="u-1"), visit(1, "23:30")), (), (),
        (
            says(8, "12:00", 0, "d-1", "u-1", refused=EVERY, file="d"),
            says(8, "12:00", 0, "d-2", refused=EVERY, file="d"),
            says(8, "12:00", 2, "d-2", refused=("advertising",), file="d"),
        ),
    ),
}  # fmt: skip

# Each changes whom sessions of days that nothing came for are stitched to.
_ANONYMOUS = (visit(0), visit(2, device="d-2"))
STITCHED = {
    "somebody logs in, long after": Case("spring", (*_ANONYMOUS, visit(8, "12:00", 1, user="u-1"), visit(30, step=2))),
    "somebody else logs in, and then an older day comes": Case(
        "autumn",
        (
            *_ANONYMOUS, visit(8, "12:00", 1, user="u-1"), visit(3, "12:00", 2, user="u-2"),
            visit(9, "12:00", 3, user="u-3"),
        ),
    ),
    "two log in at one moment": Case(
        "spring",
        (*_ANONYMOUS, visit(8, "12:00", 1, user="u-1"), visit(8, "12:00", 2, user="u-2", product="sport")),
    ),
    "the one who logged in withdraws": Case(
        "new year",
        (*_ANONYMOUS, visit(3, user="u-2"), visit(8, user="u-1")), (), (),
        (says(30, "12:00", 1, "u-1", refused=("personalisation",)), account_says(30, "12:00", 2, "u-2", "analytics")),
    ),
    "the device withdraws, and what was anonymous with it": Case(
        "end of February", (*_ANONYMOUS, visit(8, user="u-1")), (), (),
        (says(1, "12:00", 1, "d-1", refused=("personalisation",)), says(1, "12:30", 2, "d-1", given=EVERY, file="b")),
    ),
    "consent to stitching is not consent to be counted": Case(
        "spring",
        (
            visit(0, "12:00", 1, user="u-1", consents=(("personalisation",),)), visit(7), visit(7, product="sport"),
            visit(8, "12:00", 2, (0, "view"), (0, "read"), product="sport", consents=(EVERY, ("analytics",))),
            visit(9, "12:00", 3, user="u-2", consents=(("analytics",),)),
        ),
    ),
    "a robot and a clock that is far ahead log in": Case(
        "autumn",
        (
            *_ANONYMOUS, visit(7, "12:00", 1, (0, "robot's view"), user="u-1"),
            visit(8, "12:00", 1, user="u-2", ahead=3 * 24 * 60 * MINUTE), visit(3, "12:00", 2, user="u-3"),
        ),
    ),
    "a copy received sooner is of another device, or of nobody": Case(
        "spring",
        (visit(0), visit(0, device="d-2"), visit(8, "12:00", 0, user="u-1"), visit(9, "12:00", 0, user="u-2")),
        (Retry(2, "device", -5_000, 2), Retry(3, "no user", -5_000, 1)),
    ),
}  # fmt: skip

# At the new year the organisation's midnight is at 23:00 UTC.
KNOWN = {
    "a late event joins what went before midnight and after": Case(
        "new year", (visit(0, "22:45"), visit(0, "23:30", 1), visit(0, "23:10", 2))
    ),
    "exactly the limit over midnight, and a millisecond more": Case(
        "new year",
        (
            visit(0, "22:45"), visit(0, "23:15", 1),
            visit(2, "22:45", 0, (0, "view"), device="d-2"), visit(2, "23:15", 1, (1, "view"), device="d-2"),
        ),
    ),
    "the middle day of a client's session comes last": Case(
        "autumn", tuple(visit(day, "12:00", step, session="s-1") for day, step in ((0, 0), (2, 1), (1, 2)))
    ),
    "days of a session without end come in another order": Case(
        "spring", (visit(-1, "12:00", 3, marathon=200, spread="by day"),)
    ),
    "a late event on the first of three days": Case(
        "new year", (visit(0, "12:00", 0, marathon=110), visit(0, "11:40", 2, user="u-1"))
    ),
    "a day counts for 27 days after it": Case("spring", (visit(27, device="d-2"), visit(0, "12:00", 1))),
    "a day looks 27 days back": Case("autumn", (visit(0), visit(27, "12:00", 1, device="d-2"))),
    "readers of a week and a month come back, the first of them last": Case(
        "end of February",
        (
            visit(0, "12:00", 2, (0, "enjoyed")), visit(2, "12:00", 0, (0, "read"), device="d-2", user="u-1"),
            visit(3, "12:00", 1, (0, "read"), platform="ios"), visit(8, "12:00", 3, (0, "read"), product="sport"),
        ),
    ),
    "a device's first week comes last, and all weeks since know it": Case(
        "spring",
        (
            visit(21), visit(8, "12:00", 1), visit(0, "12:00", 2), visit(8, device="d-2"), visit(21, device="d-2"),
            visit(0, "12:00", 3, device="d-2", product="sport"),
        ),
    ),
    "a device's first week is withdrawn, and the next is its first": Case(
        "autumn", (visit(0), visit(8), visit(21, "12:00", 1)), (), (),
        (
            says(2, "12:00", 2, "d-1", refused=("analytics",)), says(3, "12:00", 2, "d-1", given=EVERY, file="b"),
        ),
    ),
    "steps of a funnel come in another order, over midnight and too late": Case(
        "new year",
        (
            visit(0, "12:00", 2, (0, "search"), (60 * MINUTE, "view"), (0, "read"), (0, "like")),
            visit(0, "22:30", 1, (0, "impression"), (60 * MINUTE, "click"), (0, "call"), device="d-2"),
            visit(1, "22:30", 3, (0, "click"), (1, "call"), device="d-2"), visit(1, "12:00", 0, (0, "like")),
        ),
    ),
    "views of a session go back and forth, some of them late": Case(
        "spring",
        (
            visit(0, "12:00", 1, (0, "view"), (10 * MINUTE, "view of a video"), (0, "view of a video"), (1, "view")),
            visit(0, "12:05", 2, (0, "view of a video")), visit(0, "12:00", 0, (0, "view"), device="d-2"),
            visit(0, "12:10", 3, (0, "view of a video"), (0, "view"), device="d-2"),
        ),
    ),
    "a group becomes large enough late, and its window's last day with it": Case(
        "end of February",
        (
            visit(0, "12:00", 0, (0, "enjoyed")), visit(0, "12:00", 2, (0, "read"), device="d-2"),
            visit(6, "12:00", 0, (0, "read")), visit(6, "12:00", 3, (0, "read"), device="d-2"),
            visit(6, "12:00", 1, (0, "view"), platform="ios"),
        ),
    ),
    "a group of two becomes one of one when a copy received sooner is another device's": Case(
        "spring",
        (visit(0, "12:00", 0, (0, "read")), visit(0, "12:00", 0, (0, "read"), device="d-2")),
        (Retry(which=1, change="device", shift=-5_000, step=2),),
    ),
    "one device comes to dominate what two had": Case(
        "autumn",
        (
            visit(0, "12:00", 0, (0, "read")), visit(0, "12:00", 0, (0, "read"), device="d-2"),
            visit(0, "12:00", 0, (0, "view"), platform="ios"),
            visit(0, "12:00", 1, (0, "view"), platform="ios", device="d-2"),
            visit(0, "12:00", 2, (0, "enjoyed"), platform="ios"),
        ),
    ),
    "a content's readers on a platform become two, and one of them was logged in": Case(
        "spring",
        (
            visit(0, "12:00", 0, (0, "read")), visit(0, "12:00", 1, (0, "read"), device="d-2", user="u-1"),
            visit(0, "12:00", 2, (0, "read"), platform="ios", device="d-3"),
            visit(1, "12:00", 0, (0, "read")), visit(1, "12:00", 3, (0, "enjoyed"), device="d-2"),
        ),
    ),
    "a copy received sooner takes an event out of its session": Case(
        "new year",
        (visit(0, "12:00", 0, (0, "view"), (20 * MINUTE, "view"), (20 * MINUTE, "view")),),
        (Retry(which=1, change="earlier", shift=-5_000, step=2),),
    ),
    "copies received at once": Case(
        "new year",
        (visit(0, "12:00", 1, (0, "impression"), (0, "view"), (0, "read"), (0, "call"), user="u-1"),),
        tuple(
            Retry(which, change, 0, step)
            for which, change, step in (
                (0, "platform", 0), (0, "payload", 2), (1, "user", 2), (1, "robot", 0), (2, "payload", 0),
                (2, "device", 2), (3, "no user", 2), (3, "sent", 0),
            )
        ),
    ),
    "a copy received sooner makes an event one from the future": Case(
        "new year",
        (visit(0, "12:00", 0, (0, "view"), (MINUTE, "impression"), (MINUTE, "call"), (MINUTE, "read")),),
        tuple(Retry(which, "nothing", -2 * 24 * 60 * MINUTE, which) for which in range(4)),
    ),
    "a robot's view after midnight": Case(
        "new year", (visit(0, "22:50"), visit(0, "23:10", 1, (0, "robot's view"), (0, "robot's impression")))
    ),
    "a day's first event with a content comes late and is of another product": Case(
        "spring", (visit(0, "12:00", 0, (0, "enjoyed"), (0, "like")), visit(0, "11:00", 2, product="play"))
    ),
    "a delivery that takes another's place leaves a content out": Case(
        "spring",
        (visit(),),
        (),
        (
            State("contents", "1", 0, 0, "a", 0), State("adverts", "1", 0, 0, "b", 0),
            State("contents", "2", 0, 0, "a", 2), State("adverts", "2", 0, 0, "b", 2),
            State("calls", "1", 0, 0, "a", 0), State("accounts", "1", 0, 0, "b", 0),
            State("calls", "2", 0, 0, "a", 2), State("accounts", "2", 0, 0, "b", 2),
        ),
    ),
    "an advert's versions come after the call about it, the newest first": Case(
        "spring",
        (visit(),),
        (),
        (
            State("calls", "1", 1, 0, "a", 0), State("adverts", "1", 1, 2, "b", 1), State("adverts", "1", 0, 1, "c", 2),
            State("accounts", "1", 1, 2, "b", 1), State("accounts", "1", 0, 1, "c", 2),
        ),
    ),
    "every combination of purposes, and none": Case(
        "spring",
        tuple(
            visit(n, "12:00", n % 3, *((0, what) for what in _THAT_NEED_IT), device=f"d-{n}", consents=(of,))
            for n, of in enumerate([*AGREED, None])
        ),
    ),
    "refusals are known before what they forbid, and after": Case(
        "new year",
        (visit(0, "12:00", 2, user="u-1"), visit(1, "12:00", 1, user="u-1"), visit(2, "12:00", 3, user="u-2")), (), (),
        (
            says(0, "23:30", 0, "u-1", refused=("analytics",)), says(1, "00:30", 3, "d-1", refused=("advertising",)),
            account_says(None, "12:00", 1, "u-2"), account_says(2, "12:00", 1, "u-2", "analytics"),
        ),
    ),
    **WITHDRAWN,
    **REOPENED,
    **STITCHED,
}  # fmt: skip
