"""What becomes of records of consent when the key is changed: they speak of days on both sides of the boundary.

Those that are there keep the earlier pseudonyms of who did something on the days before, and of nobody else. Of each
person whose later pseudonym is known, what holds from the boundary on is told once more, as of a stranger: records from
the boundary on, and a refusal at the boundary where one was declared before it and not lifted. So that no moment leads
across, what stays under the earlier pseudonyms holds from the boundary at the latest: for days before it that is the
same.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime

from flows.clock import start_of_day
from flows.land.field_sql import identifier

TIMES = ("valid_from", "received_at")
PERSONS = ("device_key", "user_key")


def boundary_of(day: date) -> datetime:
    """The moment, in UTC and without a zone, at which a day of the organisation begins."""
    return start_of_day(day).astimezone(UTC).replace(tzinfo=None)


def kept_query(rows: str, later: Iterable[str], last_batch_id: int, boundary: datetime) -> str:
    """The rows under the earlier pseudonyms, those in the tables ``before_<column>``, without the ``later`` columns.
    Rows of batches after ``last_batch_id`` landed with the later key alone, and are as they are."""
    is_since = f"_batch_id > {last_batch_id}"
    times = [f"case when {is_since} then {name} else least({name}, {_sql(boundary)}) end as {name}" for name in TIMES]
    keys = [
        f"case when {is_since} or cast({name} as uuid) in (select key from before_{name}) then {name} end as {name}"
        for name in PERSONS
    ]
    without = ", ".join(map(identifier, later))
    return f"select * exclude ({without}) replace ({', '.join([*times, *keys])}) from {rows}"


def told_query(rows: str, last_batch_id: int, in_force: Iterable[int], boundary: datetime) -> str:
    """What is told of persons by their later pseudonyms: those beside the earlier ones, or in ``carried_<column>``."""
    of_batches = f"_batch_id <= {last_batch_id} and _batch_id in ({', '.join(map(str, in_force)) or 'null'})"
    keys = ", ".join(f"coalesce(landed.{name}_next, carried_{name}.new) as {name}" for name in PERSONS)
    joins = " ".join(
        f"left join carried_{name} on cast(landed.{name} as uuid) = carried_{name}.old" for name in PERSONS
    )
    at = _sql(boundary)
    return f"""
with records as (
    select
        {keys}, landed.purpose, landed.is_granted, landed.valid_from, landed.received_at,
        coalesce(landed.stated_in, 'consents') as stated_in
    from (select * from {rows} where {of_batches}) as landed {joins}
),
since as (
    select * from records
    where valid_from >= {at} and (device_key is not null or user_key is not null)
),
persons as (
    select device_key, cast(null as blob) as user_key, * exclude (device_key, user_key)
    from records where device_key is not null
    union all
    select cast(null as blob) as device_key, user_key, * exclude (device_key, user_key)
    from records where user_key is not null
),
refused_before as (
    select
        device_key, user_key, purpose, false as is_granted, {at} as valid_from, {at} as received_at,
        max(stated_in) as stated_in
    from persons
    where valid_from < {at} and stated_in <> 'events'
    group by device_key, user_key, purpose
    having max(valid_from) filter (not is_granted)
        >= coalesce(max(valid_from) filter (is_granted), timestamp '0001-01-01')
)
select * from since
union all by name
select * from refused_before
"""


def _sql(moment: datetime) -> str:
    return f"timestamp '{moment.isoformat(sep=' ')}'"
