"""Parts of history models that find what was deleted at a source, by lists of the keys that it has.

Each delivery of such a dataset is a whole list of what one source had at that moment. What it had delivered before, and
is not in its newest list, was deleted there. What it delivered later is there, until a later list says otherwise; so it
does not matter in which order lists and rows land.
"""

from collections.abc import Iterable

from flows.contract.generate import staging
from flows.contract.spec import DatasetSpec

# What a list of keys touches: what was delivered before and is not in it, or was not in the list before it.
OF_LISTS = """keys as (
    select
        {key},
        _batch_id
    from {{{{ ref('{staging_of_keys}') }}}}
),

lists as (
    select * from {{{{ ref('int_lake__lists_compared') }}}}
    where dataset = '{keys}'
),

known as (
    select distinct
        lists.batch_id,
        lists.previous_batch_id,
        {of_dataset}
    from lists
    inner join deliveries
        on
            lists.source = deliveries.source
            and lists.batch_id > deliveries.batch_id
    inner join {dataset}
        on deliveries.batch_id = {dataset}._batch_id
    where {{{{ in_new_batches('lists.batch_id') }}}}
),

missed as (
    select
        known.batch_id as _batch_id,
        {of_known}
    from known
    left join keys
        on
            known.batch_id = keys._batch_id
            and known.{key} = keys.{key}
    left join keys as keys_before
        on
            known.previous_batch_id = keys_before._batch_id
            and known.{key} = keys_before.{key}
    where
        keys.{key} is null
        or (known.previous_batch_id is not null and keys_before.{key} is null)
),

"""

DELETED = """{{{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='{key}',
    meta={{'touched_keys': '{touched}', 'datasets': [{datasets}]}}
) }}}}

with {dataset} as (
    select
        {key},
        _batch_id
    from {{{{ ref('{staging}') }}}}
    where {{{{ in_keys_to_replace('{key}', ref('{touched}')) }}}}
),

deliveries as (
    select * from {{{{ ref('int_lake__deliveries') }}}}
    where superseded_by_batch_id is null
),

keys as (
    select distinct
        {key},
        _batch_id
    from {{{{ ref('{staging_of_keys}') }}}}
),

newest_lists as (
    select * from {{{{ ref('int_lake__lists_compared') }}}}
    where
        dataset = '{keys}'
        and is_newest
),

listed as (
    select distinct _batch_id from keys
),

-- A list whose rows are over says nothing any more.
lists as (
    select newest_lists.*
    from newest_lists
    left join listed
        on newest_lists.batch_id = listed._batch_id
    where
        newest_lists.rows_landed = 0
        or listed._batch_id is not null
),

delivered as (
    select
        {dataset}.{key},
        deliveries.source,
        max(deliveries.delivered_at) as delivered_at
    from {dataset}
    inner join deliveries
        on {dataset}._batch_id = deliveries.batch_id
    group by {dataset}.{key}, deliveries.source
),

compared as (
    select
        delivered.{key},
        keys.{key} is null and delivered.delivered_at <= lists.delivered_at as is_gone
    from delivered
    left join lists
        on delivered.source = lists.source
    left join keys
        on
            lists.batch_id = keys._batch_id
            and delivered.{key} = keys.{key}
),

deleted as (
    select {key}
    from compared
    group by {key}
    having bool_and(coalesce(is_gone, false))
)

select {key}
from deleted
"""


def touched_parts(dataset: str, key: str, columns: list[str], keys: DatasetSpec | None) -> dict[str, str]:
    """What a model of touched things says of lists; ``columns`` are those of its rows but the batch."""
    if keys is None:
        return {"of_lists": "", "or_listed": ""}
    made = OF_LISTS.format(
        dataset=dataset,
        key=key,
        keys=keys.name,
        staging_of_keys=staging.model_name(keys),
        of_dataset=_listed(f"{dataset}.{name}" for name in columns),
        of_known=_listed(f"known.{name}" for name in columns),
    )
    return {"of_lists": made, "or_listed": "\n    union\n    select * from missed"}


def _listed(names: Iterable[str]) -> str:
    return ",\n        ".join(names)
