-- One row per day, product and content type: of the reads that took as long as the rules want of what is enjoyed, and
-- of the shorter ones, how many came with a positive reaction. So people see whether time tells what is enjoyed. Groups
-- that are too small to be shown are left out, as in agg_content_daily.
{{ config(materialized='incremental', incremental_strategy='replace_days', unique_key='event_date') }}

with engagement as (
    select * from {{ ref('fct_content_engagement') }}
    where not is_bot and {{ in_days_to_replace('event_date') }}
),

groups_shown as (
    {{ groups_shown('engagement') }}
),

reads_shown as (
    select
        engagement.*,
        engagement.positive_reactions_count > 0 as is_liked
    from engagement
    inner join groups_shown
        on
            engagement.event_date = groups_shown.event_date
            and engagement.product = groups_shown.product
            and engagement.platform = groups_shown.platform
    where engagement.is_read
),

counted as (
    select
        event_date,
        product,
        content_type,
        count(*) filter (where is_long) as long_reads_count,
        count(*) filter (where is_long and is_liked) as long_reads_liked_count,
        count(*) filter (where not is_long) as short_reads_count,
        count(*) filter (where not is_long and is_liked) as short_reads_liked_count
    from reads_shown
    group by event_date, product, content_type
)

select
    event_date,
    product,
    content_type,
    cast(long_reads_count as bigint) as long_reads_count,
    cast(long_reads_liked_count as bigint) as long_reads_liked_count,
    cast(short_reads_count as bigint) as short_reads_count,
    cast(short_reads_liked_count as bigint) as short_reads_liked_count
from counted
