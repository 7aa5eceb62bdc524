"""What becomes of records of consent when the key is changed: they speak of days on both sides of the boundary.

A record may not stand under both pseudonyms, and a consent platform delivers it again after the change, with its id and
its times. So those that are there name nobody any more, and what they say is told once more, of each side by itself, in
a batch that no later delivery replaces:

- Of persons by their later pseudonym, where that is known, what holds from the boundary on: records from then on, and a
  refusal just before it where one was declared and not lifted.
- Of persons by their earlier pseudonym what holds for their days before, in the fewest records that say it: the last
  refusal and the first consent declared after the last declared one, as in ``int_consents__persons_settled``. Their
  moments are those of the person's own events: a refusal forbids up to an event, a consent holds from one on. Events
  that come later for these days count for nobody, so for every figure that is the same.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime

from flows.clock import start_of_day
from flows.land.consent import PERSONS
from flows.land.field_sql import identifier

TIMES = ("valid_from", "received_at")
# Of a refusal that was declared before all that is there of a person.
BEFORE_ALL = datetime(1900, 1, 1)


def boundary_of(day: date) -> datetime:
    """The moment, in UTC and without a zone, at which a day of the organisation begins."""
    return start_of_day(day).astimezone(UTC).replace(tzinfo=None)


def kept_query(rows: str, later: Iterable[str], last_batch_id: int, boundary: datetime) -> str:
    """The rows as they stay, of nobody and of one moment, without the ``later`` columns. Rows of batches after
    ``last_batch_id`` landed with the later key alone, and are as they are."""
    is_since = f"_batch_id > {last_batch_id}"
    times = [f"case when {is_since} then {name} else {_sql(boundary)} end as {name}" for name in TIMES]
    keys = [f"case when {is_since} then {name} end as {name}" for name in PERSONS]
    without = ", ".join(map(identifier, later))
    return f"select * exclude ({without}) replace ({', '.join([*times, *keys])}) from {rows}"


def told_query(rows: str, last_batch_id: int, in_force: Iterable[int], boundary: datetime) -> str:
    """What is told of persons: by their later pseudonyms, those beside the earlier ones or in ``carried_<column>``; and
    by their earlier ones, where these stand in ``before_<column>``, with the moments of what they did on days
    before."""
    of_batches = f"_batch_id <= {last_batch_id} and _batch_id in ({', '.join(map(str, in_force)) or 'null'})"
    later = ", ".join(f"coalesce(landed.{name}_next, carried_{name}.new) as {name}" for name in PERSONS)
    joins = " ".join(
        f"left join carried_{name} on cast(landed.{name} as uuid) = carried_{name}.old" for name in PERSONS
    )
    at = _sql(boundary)
    return f"""
with landed as (
    select * replace (coalesce(stated_in, 'consents') as stated_in) from {rows} where {of_batches}
),
records as (
    select {later}, landed.purpose, landed.is_granted, landed.valid_from, landed.received_at, landed.stated_in
    from landed {joins}
),
since as (
    select * replace (greatest(received_at, {at}) as received_at) from records
    where valid_from >= {at} and (device_key is not null or user_key is not null)
),
{_of_each("persons", "records")},
refused_before as (
    -- Just before: consent that is given at that very moment is given again.
    select
        device_key, user_key, purpose, false as is_granted, {at} - interval 1 microsecond as valid_from,
        {at} as received_at, max(stated_in) as stated_in
    from persons
    where valid_from < {at} and stated_in <> 'events'
    group by device_key, user_key, purpose
    having max(valid_from) filter (not is_granted)
        >= coalesce(max(valid_from) filter (is_granted), timestamp '0001-01-01')
),
{_of_each("persons_before", "landed")},
last_declared as (
    select
        *,
        max(valid_from) filter (stated_in <> 'events' and not is_granted)
            over (partition by device_key, user_key, purpose) as declared_refused_at
    from persons_before
),
settled as (
    select
        device_key, user_key, purpose,
        max(valid_from) filter (not is_granted) as refused_at,
        max(declared_refused_at) as declared_refused_at,
        min(valid_from) filter (stated_in <> 'events' and is_granted and valid_from > declared_refused_at)
            as declared_again_at
    from last_declared
    group by device_key, user_key, purpose
),
moments as ({_moments()}),
of_own_events as (
    select
        settled.*,
        max(moments.happened_at) filter (moments.happened_at <= refused_at) as refused_event_at,
        max(moments.happened_at) filter (moments.happened_at <= declared_refused_at) as declared_event_at,
        min(moments.happened_at) filter (moments.happened_at >= declared_again_at) as again_event_at
    from settled
    inner join moments on coalesce(cast(settled.device_key as uuid), cast(settled.user_key as uuid)) = moments.key
        and (settled.device_key is not null) = moments.is_device
    group by all
),
before_it as (
    select *, {at} as received_at from (
        select
            device_key, user_key, purpose, false as is_granted, refused_event_at as valid_from, 'events' as stated_in
        from of_own_events where refused_event_at is not null
        union all
        select
            device_key, user_key, purpose, false as is_granted,
            coalesce(declared_event_at, {_sql(BEFORE_ALL)}) as valid_from, 'consents' as stated_in
        from of_own_events where declared_refused_at is not null
        union all
        select device_key, user_key, purpose, true as is_granted, again_event_at as valid_from, 'consents' as stated_in
        from of_own_events where again_event_at is not null
    )
)
select * from since
union all by name
select * from refused_before
union all by name
select * from before_it
"""


def _of_each(name: str, records: str) -> str:
    """A step with a row for the device of each record, and one for its user."""
    columns = "purpose, is_granted, valid_from, received_at, stated_in"
    return f"""{name} as (
    select device_key, cast(null as blob) as user_key, {columns} from {records} where device_key is not null
    union all
    select cast(null as blob) as device_key, user_key, {columns} from {records} where user_key is not null
)"""


def _moments() -> str:
    return " union all ".join(
        f"select key, happened_at, {name == 'device_key'} as is_device from {identifier(f'before_{name}')}"
        for name in PERSONS
    )


def _sql(moment: datetime) -> str:
    return f"timestamp '{moment.isoformat(sep=' ')}'"
