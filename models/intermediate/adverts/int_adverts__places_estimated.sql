-- One row per ISO week and place (page type, slot, platform and position): how often an advert is clicked there,
-- against the same advert at the first position of the context that shows most. From the four weeks before, so that
-- scores of one week are all made by one curve.
--
-- Only an advert that was shown at two places says how these differ: what stands first is often better, so the average
-- of a place says more of the adverts than of the place. Its clicks at a position and at the next one are compared by
-- the ratio of Mantel and Haenszel, in which every advert is a stratum; the variance is that of Greenland and Robins
-- for rates (Biometrics 41, 1985). Contexts are compared the same way, by their adverts in common. The idea is
-- intervention harvesting (Agarwal and others, "Estimating Position Bias without Intrusive Interventions", 2019).
--
-- Where a request put its adverts in random order, no position has better ones than another. So all that was shown in
-- random order is one stratum more, which says as much of the places as all its impressions do.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='week_start_date',
    meta={'days_to_replace': 'affected_weeks_after'}
) }}

with counted as (
    select * from {{ ref('int_adverts__places_counted') }}
    where {{ in_four_weeks_before('event_date') }}
),

weeks_after as (
    select numbers.weeks_count from (values (1), (2), (3), (4)) as numbers (weeks_count)
),

-- Each day is among the four weeks before four others. A place that a client does not report is compared with nothing.
summed as (
    select
        {{ add_days("cast(date_trunc('week', counted.event_date) as date)", '7 * weeks_after.weeks_count') }}
            as week_start_date,
        counted.page_type,
        counted.slot,
        counted.platform,
        counted.position,
        counted.advert_id,
        counted.is_random_order,
        cast(sum(counted.impressions_count) as double) as impressions_count,
        cast(sum(counted.clicks_count) as double) as clicks_count
    from counted
    cross join weeks_after
    where
        counted.page_type is not null
        and counted.slot is not null
        and counted.position is not null
    group by
        week_start_date,
        counted.page_type,
        counted.slot,
        counted.platform,
        counted.position,
        counted.advert_id,
        counted.is_random_order
    having sum(counted.impressions_count) > 0
),

shown as (
    select * from summed
    where {{ in_days_to_replace('week_start_date') }}
),

places as (
    select
        week_start_date,
        page_type,
        slot,
        platform,
        position,
        sum(impressions_count) as impressions_count
    from shown
    group by week_start_date, page_type, slot, platform, position
),

strata as (
    select
        week_start_date,
        page_type,
        slot,
        platform,
        position,
        advert_id as stratum,
        is_random_order,
        impressions_count,
        clicks_count
    from shown
    where not is_random_order
    union all
    select
        week_start_date,
        page_type,
        slot,
        platform,
        position,
        'all' as stratum,
        is_random_order,
        sum(impressions_count) as impressions_count,
        sum(clicks_count) as clicks_count
    from shown
    where is_random_order
    group by week_start_date, page_type, slot, platform, position, is_random_order
),

-- What a stratum says of a position and the one before it: Mantel and Haenszel's parts.
neighbours as (
    select
        there.week_start_date,
        there.page_type,
        there.slot,
        there.platform,
        there.position,
        {{ sum_exactly(
            'there.clicks_count * before.impressions_count / (there.impressions_count + before.impressions_count)'
        ) }} as clicks_there,
        {{ sum_exactly(
            'before.clicks_count * there.impressions_count / (there.impressions_count + before.impressions_count)'
        ) }} as clicks_before,
        {{ sum_exactly(
            '(there.clicks_count + before.clicks_count) * there.impressions_count * before.impressions_count'
            ~ ' / power(there.impressions_count + before.impressions_count, 2)'
        ) }} as variance_part
    from strata as there
    inner join strata as before
        on
            there.week_start_date = before.week_start_date
            and there.page_type = before.page_type
            and there.slot = before.slot
            and there.platform = before.platform
            and there.position = before.position + 1
            and there.is_random_order = before.is_random_order
            and there.stratum = before.stratum
    group by there.week_start_date, there.page_type, there.slot, there.platform, there.position
),

-- A step whose standard error is over the most that is allowed connects nothing.
steps as (
    select
        places.*,
        case
            when neighbours.clicks_there > 0 and neighbours.clicks_before > 0
                then neighbours.variance_part / (neighbours.clicks_there * neighbours.clicks_before)
        end as step_variance,
        case
            when neighbours.clicks_there > 0 and neighbours.clicks_before > 0
                then ln(neighbours.clicks_there / neighbours.clicks_before)
        end as step_log_ratio
    from places
    left join neighbours
        on
            places.week_start_date = neighbours.week_start_date
            and places.page_type = neighbours.page_type
            and places.slot = neighbours.slot
            and places.platform = neighbours.platform
            and places.position = neighbours.position
),

parted as (
    select
        *,
        coalesce(step_variance <= power({{ var('advert_largest_step_error') }}, 2), false) as is_step,
        sum(case when step_variance <= power({{ var('advert_largest_step_error') }}, 2) then 0 else 1 end) over (
            partition by week_start_date, page_type, slot, platform
            order by position asc nulls last
        ) as part_number
    from steps
),

chained as (
    select
        *,
        sum(case when is_step then step_log_ratio else 0 end) over positions_so_far as log_ratio,
        sum(case when is_step then step_variance else 0 end) over positions_so_far as log_variance,
        sum(impressions_count) over part as part_impressions_count,
        sum(case when is_step then 1 else 0 end) over part as steps_count,
        sum(case when is_step then power(step_log_ratio, 2) / step_variance else 0 end) over part as steps_chi_squared,
        sum(case when is_step then step_log_ratio else 0 end) over part as whole_log_ratio,
        sum(case when is_step then step_variance else 0 end) over part as whole_variance
    from parted
    window
        positions_so_far as (
            partition by week_start_date, page_type, slot, platform, part_number
            order by position asc nulls last
        ),
        part as (partition by week_start_date, page_type, slot, platform, part_number)
),

-- Of a context that falls into parts the one that shows most counts.
ranked as (
    select
        *,
        dense_rank() over (
            partition by week_start_date, page_type, slot, platform
            order by part_impressions_count desc, part_number asc
        ) as part_rank
    from chained
),

-- Where neither the steps together nor the way from the first to the last are more than chance (2.5 % each; the
-- quantile of chi-squared by Wilson and Hilferty), no position is taken to be better than another.
tested as (
    select
        *,
        part_rank = 1 as is_in_curve,
        coalesce(
            steps_chi_squared
            > steps_count
            * power(1 - 2 / nullif(9.0 * steps_count, 0) + 1.96 * sqrt(2 / nullif(9.0 * steps_count, 0)), 3)
            or abs(whole_log_ratio) > 2.241 * sqrt(nullif(whole_variance, 0)),
            false
        ) as is_told_apart
    from ranked
),

curves as (
    select
        *,
        case when is_told_apart then round(exp(log_ratio), 6) else 1 end as position_ratio
    from tested
),

-- What each advert would have had in a context, all at its first position.
exposed as (
    select
        shown.week_start_date,
        shown.page_type,
        shown.slot,
        shown.platform,
        shown.advert_id,
        {{ sum_exactly('shown.impressions_count * curves.position_ratio') }} as exposure,
        sum(shown.clicks_count) as clicks_count
    from shown
    inner join curves
        on
            shown.week_start_date = curves.week_start_date
            and shown.page_type = curves.page_type
            and shown.slot = curves.slot
            and shown.platform = curves.platform
            and shown.position = curves.position
    where curves.is_in_curve
    group by shown.week_start_date, shown.page_type, shown.slot, shown.platform, shown.advert_id
),

contexts as (
    select
        week_start_date,
        page_type,
        slot,
        platform,
        row_number() over (
            partition by week_start_date
            order by sum(impressions_count) desc, page_type asc, slot asc, platform asc
        ) = 1 as is_reference
    from curves
    where is_in_curve
    group by week_start_date, page_type, slot, platform
),

exposed_in_reference as (
    select exposed.*
    from exposed
    inner join contexts
        on
            exposed.week_start_date = contexts.week_start_date
            and exposed.page_type = contexts.page_type
            and exposed.slot = contexts.slot
            and exposed.platform = contexts.platform
    where contexts.is_reference
),

compared as (
    select
        there.week_start_date,
        there.page_type,
        there.slot,
        there.platform,
        {{ sum_exactly('there.clicks_count * reference.exposure / (there.exposure + reference.exposure)') }}
            as clicks_there,
        {{ sum_exactly('reference.clicks_count * there.exposure / (there.exposure + reference.exposure)') }}
            as clicks_in_reference,
        {{ sum_exactly(
            '(there.clicks_count + reference.clicks_count) * there.exposure * reference.exposure'
            ~ ' / power(there.exposure + reference.exposure, 2)'
        ) }} as variance_part
    from exposed as there
    inner join exposed_in_reference as reference
        on
            there.week_start_date = reference.week_start_date
            and there.advert_id = reference.advert_id
    group by there.week_start_date, there.page_type, there.slot, there.platform
),

levels as (
    select
        contexts.week_start_date,
        contexts.page_type,
        contexts.slot,
        contexts.platform,
        contexts.is_reference,
        case
            when contexts.is_reference then 0
            when
                compared.clicks_there > 0
                and compared.clicks_in_reference > 0
                and compared.variance_part / (compared.clicks_there * compared.clicks_in_reference)
                <= power({{ var('advert_largest_step_error') }}, 2)
                then ln(compared.clicks_there / compared.clicks_in_reference)
        end as level_log_ratio,
        case
            when not contexts.is_reference
                then compared.variance_part / nullif(compared.clicks_there * compared.clicks_in_reference, 0)
        end as level_variance
    from contexts
    left join compared
        on
            contexts.week_start_date = compared.week_start_date
            and contexts.page_type = compared.page_type
            and contexts.slot = compared.slot
            and contexts.platform = compared.platform
),

estimated as (
    select
        curves.*,
        curves.is_in_curve and levels.level_log_ratio is not null as is_connected,
        case when curves.is_in_curve then ln(curves.position_ratio) + levels.level_log_ratio end as place_log_ratio,
        case when curves.is_in_curve then curves.log_variance + coalesce(levels.level_variance, 0) end
            as place_log_variance,
        coalesce(levels.is_reference, false) as is_reference
    from curves
    left join levels
        on
            curves.week_start_date = levels.week_start_date
            and curves.page_type = levels.page_type
            and curves.slot = levels.slot
            and curves.platform = levels.platform
)

select
    week_start_date,
    page_type,
    slot,
    platform,
    position,
    cast(impressions_count as bigint) as impressions_count,
    is_connected,
    is_reference,
    is_told_apart,
    case when is_connected then cast(exp(place_log_ratio) as decimal(18, 6)) end as place_ratio,
    case when is_in_curve then position_ratio end as position_ratio,
    case
        when is_in_curve and is_told_apart then round(exp(log_ratio - 1.645 * sqrt(log_variance)), 6)
    end as position_ratio_low,
    case
        when is_in_curve and is_told_apart then round(exp(log_ratio + 1.645 * sqrt(log_variance)), 6)
    end as position_ratio_high,
    case when is_connected then round(sqrt(place_log_variance), 6) end as place_log_error
from estimated
