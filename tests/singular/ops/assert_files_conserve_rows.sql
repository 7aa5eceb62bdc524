-- Every row of a delivered file either landed or was rejected, and a file that did not land brought no row
-- in. A row here is a file whose receipt does not add up: landing lost or invented rows. The data platform
-- stops publishing, looks at the receipt in the lake, and lands the file again once the fault is mended.
select
    batch_id,
    dataset,
    file,
    status,
    rows_read,
    rows_landed,
    rows_rejected
from {{ ref('ops_landings') }}
where
    (
        (status = 'landed' and rows_read <> rows_landed + rows_rejected)
        or (status <> 'landed' and rows_landed <> 0)
    )
    and {{ in_batches_changed('raw_rejects', 'batch_id') }}
