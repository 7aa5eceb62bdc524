"""What the events come to in aggregates of people, written plainly, as tests/properties/oracle.py has the rest: figures
of groups of a day that are large enough, that nobody dominates, and from which no figure follows that is not shown.

Each function that is named after a mart gives its rows by the rules of what is shown.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from itertools import product as product_of
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from tests.properties.oracle import (
    AdvertDay,
    Engagement,
    Enquiry,
    EnquiryDay,
    Event,
    Session,
    active_ms,
    agg_adverts_daily,
    agg_enquiries_daily,
    count,
    fct_content_engagement,
    fct_enquiries,
    fct_sessions,
    is_future,
    local_day,
    parts_of_days,
)  # fmt: skip

Part = TypeVar("Part", str, tuple[str, str])
Device = TypeVar("Device")


class Rules(NamedTuple):
    """How many devices a group has at least that is shown, and the largest share of a sum that one device may have."""

    smallest_group: int
    largest_share: float


# What each device of a group has of a sum.
Amounts = Mapping[Device, int]


def is_dominated(amounts: Amounts[Device], rules: Rules) -> bool:
    """Whether one device has more of a sum than it may."""
    return max(amounts.values(), default=0) > rules.largest_share * sum(amounts.values())


def sums_shown(platforms: Mapping[str, Amounts[Device]], rules: Rules) -> dict[str, int]:
    """The sums that are shown of a product's platforms on a day: not those of which one device has too much, nor the
    next larger platforms', as long as one device has too much of what is withheld together."""
    dominated = {platform for platform, amounts in platforms.items() if is_dominated(amounts, rules)}
    held: dict[tuple[str, Device], int] = {}
    shown = {}
    for platform in sorted(platforms, key=lambda name: (name not in dominated, len(platforms[name]), name)):
        amounts = platforms[platform]
        if platform in dominated or is_dominated(held, rules):
            held |= {(platform, device): amount for device, amount in amounts.items()}
        else:
            shown[platform] = sum(amounts.values())
    return shown


def parts_shown(counts: Mapping[Part, int], rules: Rules) -> set[Part]:
    """The parts of a known total that are shown: not the small ones, nor the next larger, as long as those that are
    left out are too few together."""
    left_out, shown = 0, set()
    for part in sorted(counts, key=lambda part: (counts[part], part)):
        if counts[part] < rules.smallest_group or 0 < left_out < rules.smallest_group:
            left_out += counts[part]
        else:
            shown.add(part)
    return shown


# --- the audience ---------------------------------------------------------------------------------------------------


class Audience(NamedTuple):
    event_date: date
    product: str
    platform: str
    devices_count: int | None = None
    sessions_count: int | None = None
    views_count: int | None = None
    engaged_seconds: float | None = None
    devices_7d_count: int | None = None
    devices_28d_count: int | None = None
    is_suppressed: bool = True


Group = tuple[date, str, str]


def agg_audience_daily(events: list[Event], rules: Rules) -> list[Audience]:
    """One row per day, product and platform, of those with a group that is shown. What a session did in a day counts
    for the platform it began that day on, unless the client named itself a robot that day; the session counts on its
    first day."""
    sessions: dict[Group, dict[UUID, int]] = defaultdict(lambda: defaultdict(int))
    views: dict[Group, dict[UUID, int]] = defaultdict(lambda: defaultdict(int))
    time: dict[Group, dict[UUID, int]] = defaultdict(lambda: defaultdict(int))
    for group, device, begins, part in parts_of_days(events):
        sessions[group][device] += begins
        views[group][device] += count(part, "content_view")
        time[group][device] += active_ms(part)
    shown = {group: set(devices) for group, devices in sessions.items() if len(devices) >= rules.smallest_group}

    def devices_of_days(day: date, product: str, platform: str, days: int) -> int:
        past = [shown.get((day - timedelta(n), product, platform), set()) for n in range(days)]
        return len(set().union(*past))

    def sum_of(amounts: dict[Group, dict[UUID, int]], day: date, product: str, platform: str) -> int | None:
        of_product = {key[2]: amounts[key] for key in shown if key[:2] == (day, product)}
        return sums_shown(of_product, rules).get(platform)

    rows = []
    for day, product, platform in _crossed(shown):
        group = day, product, platform
        if group not in shown:
            rows.append(Audience(*group))
            continue
        milliseconds = sum_of(time, *group)
        sums = (
            None if is_dominated(sessions[group], rules) else sum(sessions[group].values()),
            sum_of(views, *group),
            None if milliseconds is None else milliseconds / 1000,
        )
        windows = (devices_of_days(*group, days=days) for days in (7, 28))
        rows.append(Audience(*group, len(shown[group]), *sums, *windows, is_suppressed=None in sums))
    return rows


def _crossed(groups: Iterable[Group]) -> Iterable[Group]:
    """Each product with each platform of a day."""
    days: dict[date, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for day, product, platform in groups:
        days[day][0].add(product)
        days[day][1].add(platform)
    return ((day, *pair) for day, names in days.items() for pair in product_of(*names))


class AudiencePeriod(NamedTuple):
    period_type: str
    period_start_date: date
    period_end_date: date
    product: str
    platform: str
    devices_count: int | None
    readers_count: int | None
    enjoyers_count: int | None
    is_suppressed: bool


Period = tuple[str, date, date]
# Distinct devices in each role, by product and platform, 'all' among them.
Met = dict[tuple[str, str], dict[str, set[UUID]]]
ROLES = ("active", "reader", "enjoyer")
WHOLE = ("all", "all")


def agg_audience_periods(events: list[Event], rules: Rules) -> list[AudiencePeriod]:
    """One row per period, product and platform, 'all' among them, of those with a group that is shown. Windows of 7 and
    28 days end on days with such a group."""
    met: dict[Period, Met] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))
    busy: set[Group] = set()
    for role, groups in _roles_shown(events, rules).items():
        for (day, product, platform), devices in groups.items():
            for cut in ((product, platform), (product, "all"), ("all", platform), ("all", "all")):
                busy.add((day, *cut))
                for period in [*_calendar(day), *_windows(day)]:
                    met[period][cut][role] |= devices
    rows = []
    for period, cuts in met.items():
        is_window = period[0].endswith("_days")
        there = {cut: roles for cut, roles in cuts.items() if not is_window or (period[2], *cut) in busy}
        products = [product for product, platform in there if platform == "all"]
        for cut in product_of(products, [platform for product, platform in there if product == "all"]):
            counts = [len(there[cut][role]) or None if cut in there else None for role in ROLES]
            rows.append(AudiencePeriod(*period, *cut, *counts, is_suppressed=None in counts))
    return rows


def _roles_shown(events: list[Event], rules: Rules) -> dict[str, dict[Group, set[UUID]]]:
    """The devices of each group in each role, where they are enough, and enough in the wider role."""
    roles: dict[str, dict[Group, set[UUID]]] = {role: defaultdict(set) for role in ROLES}
    for group, device, _, _ in parts_of_days(events):
        roles["active"][group].add(device)
    for row in fct_content_engagement(events):
        if row.is_read and not row.is_bot:
            for role in ROLES[1:] if row.is_enjoyed else ROLES[1:2]:
                roles[role][row.event_date, row.product, row.platform].add(row.device_key)
    shown: dict[str, dict[Group, set[UUID]]] = {}
    for role, wider in zip(ROLES, (None, *ROLES), strict=False):
        shown[role] = {
            group: devices
            for group, devices in roles[role].items()
            if len(devices) >= rules.smallest_group and (wider is None or group in shown[wider])
        }
    return shown


def _calendar(day: date) -> list[tuple[str, date, date]]:
    """The day, week and month that hold a day, each with its first and last day."""
    monday = day - timedelta(day.weekday())
    next_month = (day.replace(day=28) + timedelta(4)).replace(day=1)
    return [
        ("day", day, day),
        ("week", monday, monday + timedelta(6)),
        ("month", day.replace(day=1), next_month - timedelta(1)),
    ]


def _windows(day: date) -> list[tuple[str, date, date]]:
    """The windows of 7 and 28 days that hold a day."""
    return [(f"{n}_days", day + timedelta(i - n + 1), day + timedelta(i)) for n in (7, 28) for i in range(n)]


# --- contents --------------------------------------------------------------------------------------------------------


class ContentDay(NamedTuple):
    event_date: date
    product: str
    content_type: str
    content_id: str
    views_count: int
    all_views_count: int
    devices_count: int
    readers_count: int
    enjoyers_count: int
    engaged_seconds: float
    reactions_count: int
    read_rate: float | None


def _of_groups_shown(events: list[Event], rules: Rules) -> list[Engagement]:
    """What was done with contents, without robots and small groups of a day."""
    rows = [row for row in fct_content_engagement(events) if not row.is_bot]
    groups: dict[Group, set[UUID]] = defaultdict(set)
    for row in rows:
        groups[row.event_date, row.product, row.platform].add(row.device_key)
    return [row for row in rows if len(groups[row.event_date, row.product, row.platform]) >= rules.smallest_group]


def agg_content_daily(events: list[Event], rules: Rules) -> list[ContentDay]:
    """One row per day, product, type and content, robots and small groups left out. Views of those who did not agree to
    be counted are views all the same, of nobody."""
    met: dict[tuple[date, str, str, str], list[Engagement]] = defaultdict(list)
    for row in _of_groups_shown(events, rules):
        met[row.event_date, row.product, row.content_type, row.content_id].append(row)
    of_nobody: Counter[tuple[date, str, str, str]] = Counter(
        (local_day(e["occurred_at"]), e["product"], e["content_type"], e["content_id"])
        for e in events
        if e["event_type"] == "content_view" and "analytics" not in e["consent"] and not (e["is_bot"] or is_future(e))
    )
    return [
        ContentDay(
            *key,
            views_count=sum(r.views_count for r in rows),
            all_views_count=sum(r.views_count for r in rows) + of_nobody[key],
            devices_count=len(rows),
            readers_count=sum(r.is_read for r in rows),
            enjoyers_count=sum(r.is_enjoyed for r in rows),
            engaged_seconds=sum(round(r.engaged_seconds * 1000) for r in rows) / 1000,
            reactions_count=sum(r.reactions_count for r in rows),
            read_rate=sum(r.is_read for r in rows) / len(rows) if rows else None,
        )
        for key in met.keys() | of_nobody.keys()
        for rows in [met.get(key, [])]
    ]


class ContentPeriod(NamedTuple):
    content_id: str
    period_type: str
    period_start_date: date
    period_end_date: date
    platform: str
    account_kind: str
    devices_count: int
    readers_count: int | None
    enjoyers_count: int | None
    is_suppressed: bool


def agg_content_periods(events: list[Event], rules: Rules) -> list[ContentPeriod]:
    """One row per content and day, week and month with somebody there, robots and small groups left out; and of months
    one for each platform that is shown, and for those who were logged in, and who were not."""
    periods: dict[tuple[str, *Period], list[Engagement]] = defaultdict(list)
    for row in _of_groups_shown(events, rules):
        for period in _calendar(row.event_date):
            periods[row.content_id, *period].append(row)
    found = []
    for key, rows in periods.items():
        counts = (len({row.device_key for row in rows if is_in(row)}) for is_in in _IS_IN)
        found.append(ContentPeriod(*key, *WHOLE, *counts, is_suppressed=False))
        for cut in _CUTS if key[1] == "month" else ():
            for part, of_part in _parts_of_month(rows, cut, rules).items():
                found.append(ContentPeriod(*key, *part, *of_part, is_suppressed=None in of_part))
    return found


Cut = tuple[str, str]
_IS_IN: tuple[Callable[[Engagement], bool], ...] = (
    lambda row: True,
    lambda row: row.is_read,
    lambda row: row.is_enjoyed,
)
_CUTS: tuple[Callable[[Engagement], Cut], ...] = (
    lambda row: (row.platform, "all"),
    lambda row: ("all", "logged_in" if row.user_key else "logged_out"),
)


def _parts_of_month(
    rows: list[Engagement], cut: Callable[[Engagement], Cut], rules: Rules
) -> dict[Cut, list[int | None]]:
    """How many devices each part of a content's month has in each role: those that are shown, and shown in the wider
    role."""
    found: dict[Cut, list[int | None]] = defaultdict(list)
    shown = {cut(row) for row in rows}
    for is_in in _IS_IN:
        parts: dict[Cut, set[UUID]] = defaultdict(set)
        for row in filter(is_in, rows):
            parts[cut(row)].add(row.device_key)
        counts = {part: len(devices) for part, devices in parts.items()}
        shown &= parts_shown(counts, rules)
        for part in found or shown:
            found[part].append(counts[part] if part in shown else None)
    return found


# --- all of them -----------------------------------------------------------------------------------------------------


def _of_everyone(make: Callable[[list[Event]], list[Any]]) -> Callable[[list[Event], Rules], list[Any]]:
    return lambda events, rules: make(events)


# Each mart that events make, the columns of it that are known here, and its rows.
MARTS: dict[str, tuple[type[Any], Callable[[list[Event], Rules], list[Any]]]] = {
    "fct_sessions": (Session, _of_everyone(fct_sessions)),
    "agg_audience_daily": (Audience, agg_audience_daily),
    "agg_audience_periods": (AudiencePeriod, agg_audience_periods),
    "fct_content_engagement": (Engagement, _of_everyone(fct_content_engagement)),
    "agg_content_daily": (ContentDay, agg_content_daily),
    "agg_content_periods": (ContentPeriod, agg_content_periods),
    "agg_adverts_daily": (AdvertDay, _of_everyone(agg_adverts_daily)),
    "fct_enquiries": (Enquiry, _of_everyone(fct_enquiries)),
    "agg_enquiries_daily": (EnquiryDay, _of_everyone(agg_enquiries_daily)),
}
