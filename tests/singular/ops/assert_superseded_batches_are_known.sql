-- A batch supersedes only an earlier landed batch of its dataset, and no batch is superseded twice. (The
-- file's name may differ: a name delivered as a duplicate stands for the batch its bytes landed in.) A row
-- here means that landing withdrew the rows of the wrong delivery: the data platform corrects the receipt
-- and rebuilds the models of that dataset with --full-refresh.
with landings as (
    select * from {{ ref('stg_lake__landings') }}
    where status in ('landed', 'duplicate')
),

compared as (
    select
        newer.batch_id,
        newer.supersedes_batch_id,
        older.batch_id is not null
        and older.status = 'landed'
        and older.batch_id < newer.batch_id
        and older.dataset = newer.dataset as is_earlier_delivery,
        count(*) over (partition by newer.supersedes_batch_id) as times_superseded
    from landings as newer
    left join landings as older
        on newer.supersedes_batch_id = older.batch_id
    where newer.supersedes_batch_id is not null
)

select
    batch_id,
    supersedes_batch_id,
    is_earlier_delivery,
    times_superseded
from compared
where
    not is_earlier_delivery
    or times_superseded > 1
