-- The steps of each funnel are numbered without a gap, have one window and follow one thing, and a funnel is for all
-- products or for those that it names. A row here is a funnel of the seed funnels of which this does not hold, so that
-- fct_funnels would show steps that nobody can reach, or count a product twice: whoever changed the seed corrects it.
with steps as (
    select * from {{ ref('funnels') }}
),

funnels as (
    select
        funnel,
        product,
        count(*) as steps_count,
        max(step_number) as last_step_number,
        count(distinct window_hours) as windows_count,
        count(distinct coalesce(follows, '')) as follows_count
    from steps
    group by funnel, product
),

products_counted as (
    select
        *,
        max(case when product = 'all' then 1 else 0 end) over (partition by funnel) as is_for_all,
        count(*) over (partition by funnel) as products_count
    from funnels
)

select
    funnel,
    product,
    steps_count,
    last_step_number,
    windows_count,
    follows_count
from products_counted
where
    steps_count <> last_step_number
    or windows_count > 1
    or follows_count > 1
    or (is_for_all = 1 and products_count > 1)
