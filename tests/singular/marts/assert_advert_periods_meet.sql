-- The versions of an advert meet: each begins where the one before ends, none overlaps another, and exactly
-- one is current. A row here names one whose history would multiply or lose rows in a join as of a moment.
-- The data platform rebuilds dim_adverts with --full-refresh and finds out which build left it so; nothing is
-- published before.
with versions as (
    select
        advert_id,
        valid_from,
        valid_to,
        is_current,
        lead(valid_from) over history as next_valid_from,
        sum(case when is_current then 1 else 0 end) over (partition by advert_id) as currents_count
    from {{ ref('dim_adverts') }}
    window history as (partition by advert_id order by valid_from asc, version_number asc)
)

select
    advert_id,
    valid_from,
    valid_to,
    next_valid_from,
    is_current,
    currents_count
from versions
where
    valid_to is distinct from next_valid_from
    or is_current <> (next_valid_from is null)
    or currents_count <> 1
