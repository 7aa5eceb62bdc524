-- Every state of a content that counts lies in exactly one version of it. A row here names a state that the
-- history lost or holds twice: the data platform rebuilds int_content__contents_versioned and what follows
-- with --full-refresh before the next publication.
select
    states.content_id,
    states.updated_at,
    count(versions.content_id) as versions_count
from {{ ref('int_content__contents_deduplicated') }} as states
left join {{ ref('dim_contents') }} as versions
    on
        states.content_id = versions.content_id
        and states.updated_at >= versions.valid_from
        and (states.updated_at < versions.valid_to or versions.valid_to is null)
group by states.content_id, states.updated_at
having count(versions.content_id) <> 1
