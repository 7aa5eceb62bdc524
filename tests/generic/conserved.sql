{#-
    A raw model holds of each batch of its dataset as many rows as landed and were not removed since, by the receipts, and
    no batch that has no receipt. A row here means that rows were lost or appended twice between the lake and the model: the data
    platform rebuilds it with --full-refresh and finds out why.
-#}
{% test conserved(model, dataset) %}
with receipts as (
    select
        batch_id,
        sum(rows_landed) as rows_landed
    from {{ source('lake', 'landed_files') }}
    where dataset = '{{ dataset }}' and {{ in_batches_changed(['raw_' ~ dataset], 'batch_id') }}
    group by batch_id
),

held as (
    select
        _batch_id as batch_id,
        count(*) as rows_count
    from {{ model }}
    group by _batch_id
)

select
    coalesce(receipts.batch_id, held.batch_id) as batch_id,
    receipts.rows_landed,
    held.rows_count
from receipts
full outer join held on receipts.batch_id = held.batch_id
where coalesce(receipts.rows_landed, 0) <> coalesce(held.rows_count, 0)
{% endtest %}
