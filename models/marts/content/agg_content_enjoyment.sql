-- One row per day, product, content type and content that was read in the seven days up to it: which share of its
-- readers enjoyed it, between which bounds, against what is usual of its section; and whether it had more readers than
-- the day before.
--
-- Shares are shrunk as the scores of adverts are (fct_advert_attractiveness): a content with few readers is near its
-- section, and one with many where its own readers say. A share of readers varies less than a count of clicks, by one
-- less the share. Where contents scatter no more than chance does, all are taken to be alike.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_enjoyment'}
) }}

with sectioned as (
    select * from {{ ref('agg_content_sections_daily') }}
    where {{ in_days_to_replace('event_date', before=27) }}
),

days as (
    select distinct event_date as judged_date
    from sectioned
    where {{ in_days_to_replace('event_date') }}
),

in_28_days as (
    select
        days.judged_date,
        sectioned.*,
        {{ days_between('sectioned.event_date', 'days.judged_date') }} as days_ago
    from sectioned
    inner join days
        on sectioned.event_date between {{ add_days('days.judged_date', -27) }} and days.judged_date
),

-- What is usual: of the section, over 28 days.
sections as (
    select
        judged_date,
        product,
        content_type,
        section,
        cast(sum(readers_count) as double) as readers,
        cast(sum(enjoyers_count) as double) as enjoyers
    from in_28_days
    group by judged_date, product, content_type, section
),

means as (
    select
        judged_date,
        product,
        content_type,
        sum(enjoyers) / sum(readers) as mean_rate
    from sections
    group by judged_date, product, content_type
),

sections_expected as (
    select
        sections.*,
        means.mean_rate,
        sections.readers * means.mean_rate as expected,
        sections.readers * means.mean_rate * (1 - means.mean_rate) as expected_variance,
        sections.enjoyers * (1 - means.mean_rate) as variance
    from sections
    inner join means
        on
            sections.judged_date = means.judged_date
            and sections.product = means.product
            and sections.content_type is not distinct from means.content_type
),

sections_scattered as (
    select
        judged_date,
        product,
        content_type,
        {{ scatter_of_rates('enjoyers', 'variance', 'expected', 'expected_variance', '0') }} as scatter
    from sections_expected
    group by judged_date, product, content_type
),

-- A section of few readers is near the mean of its product.
section_rates as (
    select
        expected.judged_date,
        expected.product,
        expected.content_type,
        expected.section,
        -- Where nobody enjoyed anything, or everybody did, nothing varies.
        expected.mean_rate
        * coalesce(
            {{ shrunk_ratio(
                'expected.enjoyers', 'expected.expected', 'expected.expected_variance', 'scattered.scatter'
            ) }},
            1
        ) as section_rate
    from sections_expected as expected
    inner join sections_scattered as scattered
        on
            expected.judged_date = scattered.judged_date
            and expected.product = scattered.product
            and expected.content_type is not distinct from scattered.content_type
),

-- The content itself: over seven days, in the section in which it stood last.
contents as (
    select
        judged_date,
        product,
        content_type,
        content_id,
        max_by(section, event_date) as section,
        sum(case when days_ago = 0 then readers_count else 0 end) as readers_count,
        sum(case when days_ago = 1 then readers_count else 0 end) as readers_before_count,
        sum(case when days_ago > 0 then readers_count else 0 end) as readers_earlier_count,
        sum(case when days_ago < 7 then readers_count else 0 end) as week_readers_count,
        sum(case when days_ago < 7 then enjoyers_count else 0 end) as week_enjoyers_count
    from in_28_days
    group by judged_date, product, content_type, content_id
    having sum(case when days_ago < 7 then readers_count else 0 end) > 0
),

contents_expected as (
    select
        contents.*,
        rates.section_rate,
        contents.week_readers_count * rates.section_rate as expected,
        contents.week_readers_count * rates.section_rate * (1 - rates.section_rate) as expected_variance,
        contents.week_enjoyers_count * (1 - rates.section_rate) as variance
    from contents
    inner join section_rates as rates
        on
            contents.judged_date = rates.judged_date
            and contents.product = rates.product
            and contents.content_type is not distinct from rates.content_type
            and contents.section = rates.section
),

contents_scattered as (
    select
        judged_date,
        product,
        content_type,
        {{ scatter_of_rates('week_enjoyers_count', 'variance', 'expected', 'expected_variance', '0') }} as scatter
    from contents_expected
    where expected > 0 and section_rate < 1
    group by judged_date, product, content_type
),

-- The share is a Gamma distribution about its section's, after as many readers as vary like these.
posteriors as (
    select
        expected.*,
        scattered.scatter,
        1 / nullif(scattered.scatter, 0)
        + expected.week_enjoyers_count * expected.expected / nullif(expected.expected_variance, 0) as shape,
        least(
            expected.section_rate
            * {{ shrunk_ratio(
                'expected.week_enjoyers_count', 'expected.expected', 'expected.expected_variance',
                'coalesce(scattered.scatter, 0)'
            ) }},
            1
        ) as enjoyed_rate
    from contents_expected as expected
    left join contents_scattered as scattered
        on
            expected.judged_date = scattered.judged_date
            and expected.product = scattered.product
            and expected.content_type is not distinct from scattered.content_type
),

bounded as (
    select
        *,
        {{ gamma_quantile('shape', -1.645) }} as low_ratio,
        {{ gamma_quantile('shape', 1.645) }} as high_ratio
    from posteriors
),

-- A share is 1 at most.
shares as (
    select
        *,
        enjoyed_rate * low_ratio as enjoyed_rate_low,
        case when enjoyed_rate * high_ratio > 1 then 1 else enjoyed_rate * high_ratio end as enjoyed_rate_high
    from bounded
)

-- More or fewer readers than the day before are told apart from chance where the difference of two counts is above
-- 1.645 of its standard error: one of twenty that do not differ is.
select
    judged_date as event_date,
    product,
    content_type,
    content_id,
    section,
    cast(readers_count as bigint) as readers_count,
    cast(readers_before_count as bigint) as readers_before_count,
    case
        when readers_earlier_count = 0 then 'new'
        when readers_count - readers_before_count > 1.645 * sqrt(readers_count + readers_before_count) then 'rising'
        when readers_before_count - readers_count > 1.645 * sqrt(readers_count + readers_before_count) then 'falling'
        else 'steady'
    end as trend,
    cast(week_readers_count as bigint) as week_readers_count,
    cast(week_enjoyers_count as bigint) as week_enjoyers_count,
    round(coalesce(enjoyed_rate, section_rate), 6) as enjoyed_rate,
    round(enjoyed_rate_low, 6) as enjoyed_rate_low,
    round(enjoyed_rate_high, 6) as enjoyed_rate_high,
    round(section_rate, 6) as section_rate,
    case
        when enjoyed_rate_low > section_rate then 'above'
        when enjoyed_rate_high < section_rate then 'below'
        else 'not told apart'
    end as against_section,
    coalesce(
        round(1 - 1 / (1 + coalesce(scatter, 0) * expected * expected / nullif(expected_variance, 0)), 6), 0
    ) as evidence_share
from shares
