{#-
    The raw view of a dataset laid out by day shows of each batch and day as many rows as landed and were not removed
    since, by the receipts, and no batch that has no receipt. A row here means that rows were lost or doubled in the lake: `tidemark audit` says
    which file is wrong.
-#}
{% test conserved_by_day(model, dataset) %}
with receipts as (
    select
        batch_id,
        event_date,
        sum(rows_landed) as rows_landed
    from {{ source('lake', 'landed_files') }}
    where dataset = '{{ dataset }}' and {{ in_days_changed('event_date', 'raw_' ~ dataset) }}
    group by batch_id, event_date
),

held as (
    select
        _batch_id as batch_id,
        event_date,
        count(*) as rows_count
    from {{ model }}
    group by _batch_id, event_date
)

select
    coalesce(receipts.batch_id, held.batch_id) as batch_id,
    coalesce(receipts.event_date, held.event_date) as event_date,
    receipts.rows_landed,
    held.rows_count
from receipts
full outer join held on receipts.batch_id = held.batch_id and receipts.event_date = held.event_date
where coalesce(receipts.rows_landed, 0) <> coalesce(held.rows_count, 0)
{% endtest %}
