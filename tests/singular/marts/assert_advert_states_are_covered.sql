-- Every state of an advert that counts lies in exactly one version of it. A row here names a state that the
-- history lost or holds twice: the data platform rebuilds int_adverts__adverts_versioned and what follows
-- with --full-refresh before the next publication.
select
    states.advert_id,
    states.updated_at,
    count(versions.advert_id) as versions_count
from {{ ref('int_adverts__adverts_deduplicated') }} as states
left join {{ ref('dim_adverts') }} as versions
    on
        states.advert_id = versions.advert_id
        and states.updated_at >= versions.valid_from
        and (states.updated_at < versions.valid_to or versions.valid_to is null)
group by states.advert_id, states.updated_at
having count(versions.advert_id) <> 1
