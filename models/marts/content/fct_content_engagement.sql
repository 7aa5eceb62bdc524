-- One row per device, content and day: what the device did with the content, and whether that counts as read
-- and as enjoyed by the rules in the seed engagement_rules.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with engagement as (
    select * from {{ ref('int_content__engagement_summed') }}
    where {{ in_days_to_replace('event_date') }}
),

rules as (
    select * from {{ ref('engagement_rules') }}
),

kinds as (
    select distinct
        product,
        content_type
    from engagement
),

-- The most specific rule wins: a rule that names the product before one that names only the type.
rules_chosen as (
    select
        kinds.product,
        kinds.content_type,
        rules.read_min_depth,
        rules.read_min_engaged_seconds,
        rules.enjoyed_min_engaged_seconds,
        rules.enjoyed_min_positive_reactions
    from kinds
    inner join rules
        on
            (kinds.product = rules.product or rules.product = '*')
            and (kinds.content_type = rules.content_type or rules.content_type = '*')
    qualify row_number() over (
        partition by kinds.product, kinds.content_type
        order by
            case when rules.product = '*' then 1 else 0 end asc nulls last,
            case when rules.content_type = '*' then 1 else 0 end asc nulls last,
            rules.product asc nulls last,
            rules.content_type asc nulls last
    ) = 1
),

with_rules as (
    select
        engagement.*,
        cast(engagement.active_ms as double) / 1000 as engaged_seconds,
        rules_chosen.read_min_depth,
        rules_chosen.read_min_engaged_seconds,
        rules_chosen.enjoyed_min_engaged_seconds,
        rules_chosen.enjoyed_min_positive_reactions
    from engagement
    left join rules_chosen
        on
            engagement.product = rules_chosen.product
            and engagement.content_type = rules_chosen.content_type
),

reads_judged as (
    select
        *,
        coalesce(
            max_depth >= read_min_depth and engaged_seconds >= read_min_engaged_seconds, false
        ) as is_read,
        coalesce(engaged_seconds >= enjoyed_min_engaged_seconds, false) as is_long
    from with_rules
),

judged as (
    select
        *,
        is_read
        and (
            is_long
            or positive_reactions_count >= enjoyed_min_positive_reactions
        ) as is_enjoyed
    from reads_judged
)

select
    event_date,
    device_key,
    content_id,
    product,
    content_type,
    platform,
    user_key,
    views_count,
    max_depth,
    engaged_seconds,
    reactions_count,
    positive_reactions_count,
    is_read,
    is_long,
    is_enjoyed,
    is_bot
from judged
