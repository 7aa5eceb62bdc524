-- Every row of a delivered file landed, was rejected, may not be kept any more or is none for the dataset, and a
-- file that did not land brought no row in. A retry reads just the rows that the file's batch before it rejected,
-- and follows a batch of that file. A row here is a file whose receipt does not add up: landing lost or invented
-- rows. The data platform looks at the receipt in the lake, and lands the file again once the fault is fixed.
with landings as (
    select
        *,
        coalesce(retries_batch_id, batch_id) as delivery_batch_id
    from {{ ref('ops_landings') }}
),

compared as (
    select
        *,
        lag(rows_rejected) over file_batches as rows_rejected_before,
        first_value(file) over file_batches as first_file,
        first_value(batch_id) over file_batches as first_batch_id
    from landings
    window file_batches as (partition by delivery_batch_id order by batch_id asc)
)

select
    batch_id,
    dataset,
    file,
    status,
    rows_read,
    rows_landed,
    rows_rejected,
    rows_removed,
    rows_ignored,
    rows_rejected_before
from compared
where
    {{ in_batches_changed(['raw_rejects'], 'batch_id') }}
    and (
        (status = 'landed' and rows_read <> rows_landed + rows_rejected + rows_removed + rows_ignored)
        or (status <> 'landed' and rows_landed <> 0)
        or (
            retries_batch_id is not null
            and (
                rows_read is distinct from rows_rejected_before
                or file <> first_file
                or retries_batch_id <> first_batch_id
            )
        )
    )
