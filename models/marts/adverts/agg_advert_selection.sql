-- One row per day, page type, slot, platform and rank: the advert to be shown there on the next day, by the scores of
-- the day; with how likely it was to be chosen, and how often it will be clicked.
--
-- Thompson sampling (Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS 2011): each advert's rate is
-- drawn from what is known of it, and the highest are shown, so that an advert of which little is known gets its chance
-- as often as it may be the best. A share of the ranks is kept for exploration: any advert that is not told apart from
-- the average is as likely there. A seller has so many adverts at most. Draws follow from day, advert and number of the
-- draw alone, so a rebuild chooses the same. The whole is repeated with a hundred other draws, by which the propensity
-- of each choice is counted.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    unique_key='event_date',
    meta={'days_to_replace': 'affected_days_of_selection'}
) }}

{%- set exploring = (var('adverts_selected') * var('advert_exploration_share')) | round | int %}

with scores as (
    select
        *,
        coalesce(seller_id, advert_id) as seller
    from {{ ref('fct_advert_attractiveness') }}
    where is_scored and {{ in_days_to_replace('event_date') }}
),

counted as (
    select * from {{ ref('int_adverts__places_counted') }}
    where {{ in_days_to_replace('event_date', before=27) }}
),

days as (
    select distinct event_date
    from scores
),

draws as (
    select cast(numbers.number as integer) as draw
    from (
        values
        {%- for number in range(101) %}
        ({{ number }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as numbers (number)
),

-- What was shown at a place in the 28 days up to the day.
shown as (
    select
        days.event_date,
        counted.page_type,
        counted.slot,
        counted.platform,
        counted.advert_id,
        sum(counted.impressions_count) as impressions_count,
        sum(counted.clicks_count) as clicks_count
    from counted
    inner join days
        on counted.event_date between {{ add_days('days.event_date', -27) }} and days.event_date
    where counted.page_type is not null and counted.slot is not null
    group by days.event_date, counted.page_type, counted.slot, counted.platform, counted.advert_id
),

scored as (
    select
        shown.*,
        scores.seller_id,
        scores.seller,
        scores.score,
        scores.score_low,
        scores.score_high,
        scores.against_average = 'not told apart' as is_open
    from shown
    inner join scores
        on
            shown.event_date = scores.event_date
            and shown.advert_id = scores.advert_id
),

-- How often the average advert is clicked there, at the positions that are usual there.
places as (
    select
        event_date,
        page_type,
        slot,
        platform,
        sum(clicks_count) / nullif({{ sum_exactly('impressions_count * score') }}, 0) as average_rate
    from scored
    group by event_date, page_type, slot, platform
),

-- Of those that may be best, five for each rank.
candidates as (
    select
        *,
        row_number() over (
            partition by event_date, page_type, slot, platform
            order by coalesce(score_high, score) desc, advert_id asc
        ) as candidate_number,
        dense_rank() over (order by event_date, page_type, slot, platform) as place_number,
        dense_rank() over (order by seller) as seller_number
    from scored
    qualify candidate_number <= 5 * {{ var('adverts_selected') }}
),

-- Wilson and Hilferty: the cube root of a Gamma variable is nearly normal; its bounds say its mean and deviation.
adverts as (
    select distinct
        event_date,
        advert_id,
        score,
        (cbrt(score_high / score) + cbrt(score_low / score)) / 2 as mean_root,
        (cbrt(score_high / score) - cbrt(score_low / score)) / (2 * 1.645) as root_deviation
    from candidates
),

digests as (
    select
        adverts.*,
        draws.draw,
        md5(concat_ws(
            ' ', cast(adverts.event_date as {{ dbt.type_string() }}), adverts.advert_id,
            cast(draws.draw as {{ dbt.type_string() }})
        )) as digest
    from adverts
    cross join draws
),

drawn as (
    select
        event_date,
        advert_id,
        draw,
        round(
            score * coalesce(power(greatest(mean_root + root_deviation * {{ normal_draw('digest') }}, 0), 3), 1), 9
        ) as drawn_score,
        {{ uniform_draw('digest', 2) }} as chance
    from digests
),

-- Each draw at each place is a trial of its own; that of draw 0 is what is shown.
trials as (
    select
        candidates.place_number * 101 + drawn.draw as trial,
        candidates.place_number,
        candidates.candidate_number,
        candidates.seller_number,
        candidates.is_open,
        drawn.draw,
        drawn.drawn_score,
        drawn.chance
    from candidates
    inner join drawn
        on
            candidates.event_date = drawn.event_date
            and candidates.advert_id = drawn.advert_id
),

best_of_sellers as (
    select *
    from trials
    qualify row_number() over (
        partition by trial, seller_number
        order by drawn_score desc, candidate_number asc
    ) <= {{ var('adverts_per_seller') }}
),

chosen_by_score as (
    select
        *,
        row_number() over (partition by trial order by drawn_score desc, candidate_number asc) as selection_rank
    from best_of_sellers
    qualify selection_rank <= {{ var('adverts_selected') - exploring }}
),

sellers_chosen as (
    select
        trial,
        seller_number,
        count(*) as chosen_count
    from chosen_by_score
    group by trial, seller_number
),

-- Open to chance: what is not told apart and was not chosen, one of each seller who may have one more.
open_to_chance as (
    select trials.*
    from trials
    left join sellers_chosen
        on
            trials.trial = sellers_chosen.trial
            and trials.seller_number = sellers_chosen.seller_number
    left join chosen_by_score
        on
            trials.trial = chosen_by_score.trial
            and trials.candidate_number = chosen_by_score.candidate_number
    where
        trials.is_open
        and chosen_by_score.trial is null
        and coalesce(sellers_chosen.chosen_count, 0) < {{ var('adverts_per_seller') }}
    qualify row_number() over (
        partition by trials.trial, trials.seller_number
        order by trials.chance asc, trials.candidate_number asc
    ) = 1
),

chosen_by_chance as (
    select
        *,
        row_number() over (partition by trial order by chance asc, candidate_number asc) as chance_rank
    from open_to_chance
    qualify chance_rank <= {{ exploring }}
),

chosen as (
    select
        place_number,
        candidate_number,
        draw,
        drawn_score,
        selection_rank,
        false as is_exploration
    from chosen_by_score
    union all
    select
        place_number,
        candidate_number,
        draw,
        drawn_score,
        {{ var('adverts_selected') - exploring }} + chance_rank as selection_rank,
        true as is_exploration
    from chosen_by_chance
),

propensities as (
    select
        place_number,
        candidate_number,
        cast(count(*) as double) / 101 as propensity
    from chosen
    group by place_number, candidate_number
)

select
    candidates.event_date,
    candidates.page_type,
    candidates.slot,
    candidates.platform,
    cast(chosen.selection_rank as integer) as selection_rank,
    candidates.advert_id,
    candidates.seller_id,
    chosen.is_exploration,
    candidates.score,
    round(chosen.drawn_score, 6) as drawn_score,
    round(1000 * places.average_rate * candidates.score, 6) as expected_clicks,
    round(propensities.propensity, 6) as propensity
from chosen
inner join candidates
    on
        chosen.place_number = candidates.place_number
        and chosen.candidate_number = candidates.candidate_number
inner join propensities
    on
        chosen.place_number = propensities.place_number
        and chosen.candidate_number = propensities.candidate_number
inner join places
    on
        candidates.event_date = places.event_date
        and candidates.page_type = places.page_type
        and candidates.slot = places.slot
        and candidates.platform = places.platform
where chosen.draw = 0
