-- The warehouse holds of each batch as many rows as its receipt says landed, and the raw tables hold no batch
-- that has no receipt. A row here means that rows were lost or appended twice between the lake and the raw
-- tables: the data platform rebuilds that raw table with --full-refresh and finds out why before the next
-- publication.
{% set datasets = ['accounts', 'adverts', 'calls', 'contents', 'events'] %}
{% set raw_models = ['raw_accounts', 'raw_adverts', 'raw_calls', 'raw_contents', 'raw_events'] %}

with receipts as (
    select
        dataset,
        batch_id,
        rows_landed
    from {{ ref('ops_landings') }}
    where {{ in_batches_changed(raw_models, 'batch_id') }}
),

{% for dataset in datasets -%}
{{ dataset }} as (
    select
        '{{ dataset }}' as dataset,
        _batch_id as batch_id,
        count(*) as rows_count
    from {{ ref('raw_' ~ dataset) }}
    where {{ in_batches_changed(raw_models) }}
    group by _batch_id
),

{% endfor -%}
held as (
    {% for dataset in datasets -%}
    select * from {{ dataset }}{% if not loop.last %}
    union all
    {% endif -%}
    {% endfor %}
)

select
    coalesce(receipts.dataset, held.dataset) as dataset,
    coalesce(receipts.batch_id, held.batch_id) as batch_id,
    receipts.rows_landed,
    held.rows_count
from receipts
full outer join held
    on
        receipts.dataset = held.dataset
        and receipts.batch_id = held.batch_id
where coalesce(receipts.rows_landed, 0) <> coalesce(held.rows_count, 0)
