"""Days of events as Parquet extracts, made by one statement a day: cheap, and the same on every run.

Sessions of 20 events, 20 seconds apart, by devices that come back; 2 in 100 sessions are one to five days late, 1 in
100 events comes twice. Parquet is what lands fastest, and events are all that is delivered: these benchmarks are
about builds.
"""

import os
import shutil
from datetime import date, timedelta
from pathlib import Path

import duckdb

from benchmarks.measure import measured, run_all, settings_of

FIRST_DAY = date(2025, 1, 1)
EVENTS_A_SESSION = 20

_DAY = """
copy (
    with sessions as (
        select
            session,
            cast(hash(session, $day, $part) % 1000000000 as bigint) as draw,
            case when session % 50 = 7 then least(1 + session // 50 % 5, $day) else 0 end as days_late
        from range($events // $events_a_session) as numbers(session)
    ),

    devices as (
        select *, 'device-' || draw % $devices as device_id, draw % $devices as device
        from sessions
    ),

    happened as (
        select
            cast(md5($day || '-' || $part || '-' || session || '-' || step) as uuid) as event_id,
            $starts_at + to_seconds(cast(draw // 1000 % 85000 + step * 20 as bigint)) as received_at,
            received_at - to_days(cast(days_late as integer)) as occurred_at,
            ['news', 'sport', 'play', 'market'][1 + device % 4] as product,
            ['web', 'ios', 'android', 'tv'][1 + device // 4 % 4] as platform,
            device_id,
            case when device % 3 = 0 then 'user-' || device end as user_id,
            case when device % 5 < 2 then 'session-' || $day || '-' || $part || '-' || session end as session_id,
            'content-' || draw // 7 % 1000 as content,
            ['article', 'video', 'audio'][1 + draw // 7 % 3] as content_type,
            'advert-' || draw // 11 % 1000 as advert,
            step
        from devices, range($events_a_session) as steps(step)
    ),

    copied as (
        select * from happened
        union all by name
        select * replace (received_at + interval 1 minute as received_at) from happened where hash(event_id) % 100 = 0
    )

    select
        cast(event_id as text) as event_id, occurred_at, occurred_at as sent_at, received_at, product, platform,
        '1.0' as app_version, device_id, user_id, session_id, ['analytics'] as consent, 'SE' as country,
        case when step = 0 then
            {content_id: content, content_type: content_type} end as content_view,
        case when step between 1 and 13 then
            {content_id: content, content_type: content_type, depth: step / 13, active_ms: 15000} end
            as content_progress,
        case when step between 14 and 17 then
            {advert_id: advert, slot: 'top', "position": step - 13, page_type: 'search'} end as advert_impression,
        case when step = 18 then
            {advert_id: advert, slot: 'top', "position": 1, page_type: 'search'} end as advert_click,
        case when step = 19 then
            {content_id: content, content_type: content_type, reaction: 'like'} end as content_reaction
    from copied
) to '{path}' (format parquet)
"""


def deliver_day(home: Path, day: int, events: int, part: int = 1) -> Path:
    """Put a file of this many events, those of a day counted from 0 and some late ones, into the inbox of a home."""
    made = write_day(home, day, events, part)
    return made.rename(made.with_name(made.name.removeprefix(".")))


def write_day(home: Path, day: int, events: int, part: int = 1) -> Path:
    """The same under a name that landing leaves alone."""
    date_ = FIRST_DAY + timedelta(days=day)
    path = home / "lake" / "inbox" / "bench" / "events" / f"{date_}" / f".part-{part:04}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "day": day,
        "part": part,
        "events": events,
        "events_a_session": EVENTS_A_SESSION,
        "devices": devices_of(events),
        "starts_at": f"timestamp '{date_}'",
    }
    statement = _DAY.replace("{path}", str(path))
    # The longest name first: $events is the beginning of $events_a_session.
    for name in sorted(values, key=len, reverse=True):
        statement = statement.replace(f"${name}", str(values[name]))
    duckdb.execute(statement)
    return path


def devices_of(events: int) -> int:
    """How many devices a day of this many events has; they are the same ones every day."""
    return max(events // 10, 100)


def make_history(home: Path, days: int, events: int) -> None:
    """A home on which this many days landed, built and were published at once, its inbox empty again."""
    for day in range(days):
        deliver_day(home, day, events)
    measured(run_all, home=home)
    empty_inbox(home)


def empty_inbox(home: Path) -> None:
    """Landed files need not stay, and would only be looked at again."""
    shutil.rmtree(settings_of(home).inbox)


def copy_home(home: Path, to: Path, warehouse: bool = True) -> Path:
    """A copy to work on, in place of the one before; landed files, which never change, are linked."""
    shutil.rmtree(to, ignore_errors=True)
    for folder in home.iterdir():
        if folder.name == "lake":
            shutil.copytree(folder, to / "lake", copy_function=_link_parquet)
        elif folder.name == "secrets" or warehouse:
            shutil.copytree(folder, to / folder.name, symlinks=True)
    return to


def _link_parquet(source: str, target: str) -> None:
    if source.endswith(".parquet"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)
