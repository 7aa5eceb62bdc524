-- Every dataset that has ever landed landed again within 36 hours. A row here names one that fell silent: the
-- data platform asks the owner of its source whether the extract still runs. It warns and does not stop
-- publishing, since what is there is right, only old. Owner: data-platform. Review by 2027-06-30 whether 36
-- hours suits every dataset.
{{ config(severity='warn', meta={'owner': 'data-platform', 'expires': '2027-06-30'}) }}

with newest as (
    select
        dataset,
        max(landed_at) as landed_at
    from {{ ref('ops_landings') }}
    where status = 'landed' and retries_batch_id is null
    group by dataset
)

select
    dataset,
    landed_at
from newest
where landed_at < {{ hours_ago(36) }}
