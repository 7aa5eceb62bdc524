-- Every event is counted in exactly one session. A row here is a product whose sessions lost events or count
-- some twice: the data platform stops publishing, and rebuilds fct_sessions whole (`dbt build
-- --full-refresh`) once the cause is known.
--
-- Sessions do not end with days, so totals are compared over all time: one narrow column of each.
with in_fragments as (
    select
        product,
        sum(events_count) as events_count
    from {{ ref('int_audience__session_fragments_split') }}
    group by product
),

in_sessions as (
    select
        product,
        sum(events_count) as events_count
    from {{ ref('fct_sessions') }}
    group by product
)

select
    coalesce(in_fragments.product, in_sessions.product) as product,
    in_fragments.events_count as in_fragments_count,
    in_sessions.events_count as in_sessions_count
from in_fragments
full outer join in_sessions on in_fragments.product = in_sessions.product
where in_fragments.events_count is distinct from in_sessions.events_count
