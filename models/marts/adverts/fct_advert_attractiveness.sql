-- One row per day and advert that was shown in the 28 days up to it: how much more often it is clicked than the average
-- advert at the same place, between which bounds, and on how much evidence.
--
-- Clicks are taken for Poisson counts of the exposure times the advert's rate, and rates for draws from a Gamma
-- distribution about their segment's, which are draws about the mean of all (Chen and Yan, "Position-normalized click
-- prediction in search advertising", KDD 2012). So an advert with few impressions is near its segment, and one with
-- many where its own clicks say. How far rates scatter is estimated by moments. Where they scatter no more than chance
-- does, by the test of Dean ("Testing for overdispersion in Poisson and binomial regression models", JASA 87, 1992),
-- all are taken to be alike.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_attractiveness'}
) }}

with adjusted as (
    select * from {{ ref('int_adverts__adverts_adjusted') }}
    where {{ in_days_to_replace('event_date', before=27) }}
),

days as (
    select distinct event_date as scored_date
    from adjusted
    where {{ in_days_to_replace('event_date') }}
),

-- A count loses half its weight in each half-life.
weighed as (
    select
        days.scored_date,
        adjusted.*,
        cast(
            power(
                0.5,
                {{ days_between('adjusted.event_date', 'days.scored_date') }}
                / cast({{ var('advert_half_life_days') }} as double)
            ) as decimal(9, 6)
        ) as weight
    from adjusted
    inner join days
        on adjusted.event_date between {{ add_days('days.scored_date', -27) }} and days.scored_date
),

-- With weights, clicks vary less than their sum says: `exposure_weighed_twice` over `exposure` is by how much.
summed as (
    select
        scored_date,
        advert_id,
        max_by(seller_id, event_date) as seller_id,
        max_by(segment, event_date) as segment,
        sum(impressions_count) as impressions_count,
        sum(clicks_count) as clicks_count,
        sum(unplaced_impressions_count) as unplaced_impressions_count,
        sum(uncompared_impressions_count) as uncompared_impressions_count,
        cast(sum(weight * compared_clicks_count) as double) as clicks,
        cast(sum(cast(weight * weight as decimal(9, 6)) * compared_clicks_count) as double) as clicks_weighed_twice,
        cast(sum(weight * exposure) as double) as exposure,
        cast(sum(weight * exposure_error) as double) as exposure_error,
        cast(sum(cast(weight * weight as decimal(9, 6)) * exposure) as double) as exposure_weighed_twice
    from weighed
    group by scored_date, advert_id
),

segments as (
    select
        scored_date,
        segment,
        {{ sum_exactly('clicks') }} as clicks,
        {{ sum_exactly('clicks_weighed_twice') }} as clicks_weighed_twice,
        {{ sum_exactly('exposure') }} as exposure,
        {{ sum_exactly('exposure_weighed_twice') }} as exposure_weighed_twice,
        {{ sum_exactly('exposure_error') }} as exposure_error
    from summed
    where exposure > 0
    group by scored_date, segment
),

means as (
    select
        scored_date,
        {{ sum_exactly('clicks') }} / nullif({{ sum_exactly('exposure') }}, 0) as mean_rate
    from segments
    group by scored_date
),

segments_expected as (
    select
        segments.*,
        means.mean_rate,
        segments.exposure * means.mean_rate as expected_clicks,
        segments.exposure_weighed_twice * means.mean_rate as expected_variance
    from segments
    inner join means on segments.scored_date = means.scored_date
),

segments_scattered as (
    select
        scored_date,
        {{ scatter_of_rates(
            'clicks', 'clicks_weighed_twice', 'expected_clicks', 'expected_variance', 'exposure_error * mean_rate'
        ) }} as scatter
    from segments_expected
    group by scored_date
),

-- A segment of few clicks is near the mean of all.
segment_rates as (
    select
        expected.scored_date,
        expected.segment,
        expected.mean_rate,
        expected.mean_rate
        * {{ shrunk_ratio(
            'expected.clicks', 'expected.expected_clicks', 'expected.expected_variance', 'scattered.scatter'
        ) }}
            as segment_rate
    from segments_expected as expected
    inner join segments_scattered as scattered on expected.scored_date = scattered.scored_date
),

adverts_expected as (
    select
        summed.*,
        rates.mean_rate,
        rates.segment_rate,
        summed.exposure * rates.segment_rate as expected_clicks,
        summed.exposure_weighed_twice * rates.segment_rate as expected_variance
    from summed
    left join segment_rates as rates
        on
            summed.scored_date = rates.scored_date
            and summed.segment = rates.segment
            and summed.exposure > 0
),

adverts_scattered as (
    select
        scored_date,
        {{ scatter_of_rates(
            'clicks', 'clicks_weighed_twice', 'expected_clicks', 'expected_variance', 'exposure_error * segment_rate'
        ) }} as scatter
    from adverts_expected
    where expected_clicks > 0
    group by scored_date
),

-- The posterior of an advert's rate is a Gamma distribution again. Clicks of several days count for as many
-- as would vary as they do.
posteriors as (
    select
        expected.*,
        scattered.scatter,
        1 / nullif(scattered.scatter, 0)
        + expected.clicks * expected.expected_clicks / nullif(expected.expected_variance, 0) as shape,
        expected.segment_rate / nullif(expected.mean_rate, 0)
        * {{ shrunk_ratio(
            'expected.clicks', 'expected.expected_clicks', 'expected.expected_variance', 'scattered.scatter'
        ) }}
            as score
    from adverts_expected as expected
    left join adverts_scattered as scattered on expected.scored_date = scattered.scored_date
),

bounded as (
    select
        *,
        {{ gamma_quantile('shape', -1.645) }} as low_ratio,
        {{ gamma_quantile('shape', 1.645) }} as high_ratio
    from posteriors
)

select
    scored_date as event_date,
    advert_id,
    seller_id,
    segment,
    score is not null as is_scored,
    case
        when score is not null then null
        when impressions_count = 0 then 'not shown'
        when unplaced_impressions_count = impressions_count then 'its clients report no place'
        when unplaced_impressions_count + uncompared_impressions_count = impressions_count
            then 'its places cannot be compared'
        else 'no advert was clicked'
    end as why_not_scored,
    round(score, 6) as score,
    round(score * low_ratio, 6) as score_low,
    round(score * high_ratio, 6) as score_high,
    case
        when score is null then null
        when score * low_ratio > 1 then 'above'
        when score * high_ratio < 1 then 'below'
        else 'not told apart'
    end as against_average,
    round(segment_rate / nullif(mean_rate, 0), 6) as segment_score,
    round(expected_clicks * mean_rate / nullif(segment_rate, 0), 6) as average_clicks,
    round(clicks, 6) as weighed_clicks,
    round(1 - 1 / (1 + coalesce(scatter, 0) * expected_clicks * expected_clicks / expected_variance), 6)
        as evidence_share,
    cast(impressions_count as bigint) as impressions_count,
    cast(clicks_count as bigint) as clicks_count,
    cast(unplaced_impressions_count + uncompared_impressions_count as bigint) as left_out_impressions_count
from bounded
