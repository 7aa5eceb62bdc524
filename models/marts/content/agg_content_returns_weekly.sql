-- One row per ISO week, product and section: of the devices that enjoyed something of the section in that week, and of
-- those that read something of it and enjoyed nothing, how many came back to the product within seven days.
--
-- Who enjoyed counts from the first day on which it did, who only read from the first day on which it read. Back is who
-- was active on one of the seven days after. A week has rows once the product has events of the second week after it:
-- all had their seven days then. Who comes back and who does not are groups both, so each is as many as
-- smallest_group, or the count is NULL.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='week_start_date',
    meta={'days_to_replace': 'affected_mondays'}
) }}

with engagement as (
    select * from {{ ref('fct_content_engagement') }}
    where not is_bot and {{ in_days_to_replace('event_date', after=6) }}
),

sectioned as (
    select * from {{ ref('agg_content_sections_daily') }}
    where {{ in_days_to_replace('event_date', after=6) }}
),

visits as (
    select * from {{ ref('int_journeys__devices_shown') }}
    where {{ in_days_to_replace('event_date', after=20) }}
),

groups_shown as (
    {{ groups_shown('engagement') }}
),

reads as (
    select
        cast(date_trunc('week', engagement.event_date) as date) as week_start_date,
        engagement.event_date,
        engagement.product,
        sectioned.section,
        engagement.device_key,
        engagement.is_enjoyed
    from engagement
    inner join groups_shown
        on
            engagement.event_date = groups_shown.event_date
            and engagement.product = groups_shown.product
            and engagement.platform = groups_shown.platform
    inner join sectioned
        on
            engagement.event_date = sectioned.event_date
            and engagement.product = sectioned.product
            and engagement.content_type is not distinct from sectioned.content_type
            and engagement.content_id = sectioned.content_id
    where engagement.is_read
),

readers as (
    select
        week_start_date,
        product,
        section,
        device_key,
        max(case when is_enjoyed then 1 else 0 end) = 1 as has_enjoyed,
        coalesce(min(case when is_enjoyed then event_date end), min(event_date)) as followed_from
    from reads
    group by week_start_date, product, section, device_key
),

weeks_over as (
    select distinct
        product,
        {{ add_days("cast(date_trunc('week', event_date) as date)", -14) }} as week_start_date
    from visits
),

followed as (
    select
        readers.week_start_date,
        readers.product,
        readers.section,
        readers.device_key,
        readers.has_enjoyed,
        count(visits.event_date) > 0 as has_returned
    from readers
    inner join weeks_over
        on
            readers.product = weeks_over.product
            and readers.week_start_date = weeks_over.week_start_date
    left join visits
        on
            readers.product = visits.product
            and readers.device_key = visits.device_key
            and readers.followed_from < visits.event_date
            and visits.event_date <= {{ add_days('readers.followed_from', 7) }}
    group by
        readers.week_start_date, readers.product, readers.section, readers.device_key, readers.has_enjoyed
),

counted as (
    select
        week_start_date,
        product,
        section,
        cast(count(*) filter (where has_enjoyed) as bigint) as enjoyers,
        cast(count(*) filter (where has_enjoyed and has_returned) as bigint) as enjoyers_back,
        cast(count(*) filter (where not has_enjoyed) as bigint) as others,
        cast(count(*) filter (where not has_enjoyed and has_returned) as bigint) as others_back
    from followed
    group by week_start_date, product, section
),

shown as (
    select
        week_start_date,
        product,
        section,
        enjoyers as enjoyers_count,
        case
            when {{ is_enough_left('enjoyers_back') }} and {{ is_enough_left('enjoyers - enjoyers_back') }}
                then enjoyers_back
        end as enjoyers_returned_count,
        others as others_count,
        case
            when {{ is_enough_left('others_back') }} and {{ is_enough_left('others - others_back') }}
                then others_back
        end as others_returned_count
    from counted
    where {{ is_enough_left('enjoyers') }} and {{ is_enough_left('others') }}
),

rated as (
    select
        *,
        cast(enjoyers_returned_count as double) / nullif(enjoyers_count, 0) as enjoyers_return_rate,
        cast(others_returned_count as double) / nullif(others_count, 0) as others_return_rate
    from shown
),

-- Two shares are told apart where their difference is above 1.645 of its standard error: of twenty that do not differ,
-- one is called higher and one lower.
compared as (
    select
        *,
        1.645 * sqrt(
            enjoyers_return_rate * (1 - enjoyers_return_rate) / nullif(enjoyers_count, 0)
            + others_return_rate * (1 - others_return_rate) / nullif(others_count, 0)
        ) as largest_by_chance
    from rated
)

select
    week_start_date,
    product,
    section,
    enjoyers_count,
    enjoyers_returned_count,
    enjoyers_return_rate,
    others_count,
    others_returned_count,
    others_return_rate,
    case
        when enjoyers_return_rate - others_return_rate > largest_by_chance then 'more often'
        when others_return_rate - enjoyers_return_rate > largest_by_chance then 'less often'
        when largest_by_chance is not null then 'not told apart'
    end as against_others
from compared
