-- One row per device or user who refused or withdrew consent: from when on what they did may be used, purpose by
-- purpose; NULL where nothing forbids it.
--
-- A refusal forbids what happened up to it, whoever told of it. One that the person declared, in a record of consent or
-- in an account, holds until they declare consent again: what a client says meanwhile does not lift it. All of this
-- follows from which records there are; when they came, how often and in which order makes no difference.
{{ config(materialized='table', meta={'datasets': ['consents']}) }}

with records as (
    select * from {{ ref('stg_cmp__consents') }}
),

deliveries as (
    select * from {{ ref('int_lake__deliveries') }}
),

current_records as (
    select
        records.device_key,
        records.user_key,
        records.purpose,
        records.is_granted,
        records.valid_from,
        coalesce(records.stated_in, 'consents') <> 'events' as is_declared
    from records
    inner join deliveries
        on records._batch_id = deliveries.batch_id
    where deliveries.superseded_by_batch_id is null
),

-- A record about a device and a user holds for each.
of_persons as (
    select
        device_key,
        null as user_key,
        purpose,
        is_granted,
        valid_from,
        is_declared
    from current_records
    where device_key is not null
    union all
    select
        null as device_key,
        user_key,
        purpose,
        is_granted,
        valid_from,
        is_declared
    from current_records
    where user_key is not null
),

last_withdrawals_found as (
    select
        *,
        max(case when is_declared and not is_granted then valid_from end) over (
            partition by device_key, user_key, purpose
        ) as declared_refused_at
    from of_persons
),

summed as (
    select
        device_key,
        user_key,
        purpose,
        max(case when not is_granted then valid_from end) as refused_at,
        max(declared_refused_at) as declared_refused_at,
        min(case when is_declared and is_granted and valid_from > declared_refused_at then valid_from end)
            as declared_again_at
    from last_withdrawals_found
    group by device_key, user_key, purpose
),

settled as (
    select
        device_key,
        user_key,
        purpose,
        greatest(
            refused_at + interval 1 microsecond,
            case
                when declared_refused_at is not null
                    then coalesce(declared_again_at, timestamp '9999-12-31 00:00:00')
            end
        ) as usable_from
    from summed
    where refused_at is not null
)

select
    device_key,
    user_key,
    max(case when purpose = 'analytics' then usable_from end) as analytics_from,
    max(case when purpose = 'personalisation' then usable_from end) as personalisation_from,
    max(case when purpose = 'advertising' then usable_from end) as advertising_from
from settled
group by device_key, user_key
