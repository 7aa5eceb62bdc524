"""SQL of consent in the sample lake: what people agree to, and what they withdraw and give again.

Devices go on to say what they said: that a record of consent forbids it all the same is for the warehouse to find.
"""

from __future__ import annotations

# What a person agrees to, on every device; some to nothing.
AGREED = """
    case
        when rnd(person_no, 'consent') < 0.62 then ['analytics', 'personalisation', 'advertising']
        when rnd(person_no, 'consent') < 0.80 then ['analytics', 'personalisation']
        when rnd(person_no, 'consent') < 0.93 then ['analytics']
        else []::varchar[]
    end
"""

# How many people withdraw consent while the lake lasts, and of these: how many all of it and not to analytics alone,
# how many give it again, and how many who are logged in do it by a letter, which names the account and no device.
WITHDRAWS, ALL_OF_IT, AGAIN, BY_LETTER = 0.02, 0.5, 0.3, 0.3
# How many records come late, hours to days after they hold, and how many come once more the day after.
LATE, TWICE = 0.2, 0.1


def records(days: int, end_ms: int, late_ms: tuple[int, int]) -> str:
    """The records of a consent platform as they are delivered until `end_ms`, those that come twice two times."""
    return f"""
    create or replace table consent_records as
    with withdrawals as (
        select
            person_no,
            {AGREED} as agreed,
            days.start_ms + pick(person_no, 'withdraws at', 82800000) as withdrawn_ms
        from people inner join days on pick(person_no, 'withdraws on', {days}) = days.day
        where rnd(person_no, 'withdraws') < {WITHDRAWS}
    ),
    changes as (
        select *, withdrawn_ms as valid_ms, false as is_granted from withdrawals
        union all
        select *, withdrawn_ms + 3600000 + pick(person_no, 'gives again after', 864000000), true
        from withdrawals where rnd(person_no, 'gives again') < {AGAIN}
    ),
    of_purposes as (
        select
            * exclude (agreed),
            unnest(agreed) as purpose,
            person_no * 8 + generate_subscripts(agreed, 1) + if(is_granted, 4, 0) as record_no
        from changes
    ),
    recorded as (
        select
            *,
            valid_ms + 1000 + pick(record_no, 'recording', 60000) as on_time_ms,
            {late_ms[0]} + pick(record_no, 'recorded late by', {late_ms[1] - late_ms[0]}) as late_by_ms
        from of_purposes
        where purpose = 'analytics' or rnd(person_no, 'withdraws all') < {ALL_OF_IT}
    ),
    received as (
        select
            *,
            on_time_ms
                + if(rnd(record_no, 'recorded late') < {LATE} and on_time_ms + late_by_ms < {end_ms}, late_by_ms, 0)
                as received_ms
        from recorded
    ),
    delivered as (
        select *, received_ms as delivered_ms from received
        union all
        select *, received_ms + 86400000 from received where rnd(record_no, 'recorded twice') < {TWICE}
    )
    select
        event_uuid(record_no, valid_ms) as consent_id,
        if(
            user_id is not null and rnd(delivered.person_no, 'withdraws by letter') < {BY_LETTER}, null, device_id
        ) as device_id,
        user_id,
        purpose,
        is_granted,
        valid_ms,
        received_ms,
        delivered_ms
    from delivered inner join devices on delivered.person_no * 4 = devices.device_no
    where delivered_ms < {end_ms}
    """
