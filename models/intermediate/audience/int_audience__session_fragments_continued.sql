-- One row per session fragment that continues a session of the day before: the first of its stream's day, where the
-- stream's last fragment of the day before is near enough or both carry the client's session id. Few fragments do,
-- so everything about sessions over midnight is small.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date'
) }}

with fragments as (
    select * from {{ ref('int_audience__session_fragments_split') }}
    where {{ in_days_to_replace('event_date', before=1) }}
),

firsts as (
    select *
    from fragments
    where is_first_of_day and {{ in_days_to_replace('event_date') }}
),

lasts as (
    select
        {{ add_days('event_date', 1) }} as next_date,
        product,
        device_key,
        session_id,
        fragment_key,
        ended_at
    from fragments
    where is_last_of_day
),

continuing as (
    select
        firsts.*,
        lasts.fragment_key as continued_fragment_key
    from firsts
    inner join lasts
        on
            firsts.event_date = lasts.next_date
            and firsts.product = lasts.product
            and firsts.device_key = lasts.device_key
            and firsts.session_id is not distinct from lasts.session_id
    where
        firsts.session_id is not null
        or firsts.started_at <= lasts.ended_at + interval {{ var('session_gap_minutes') }} minute
)

select
    fragment_key,
    continued_fragment_key,
    event_date,
    product,
    device_key,
    session_id,
    user_key,
    ended_at,
    events_count,
    content_views_count,
    active_ms,
    is_bot,
    has_stitching_consent
from continuing
