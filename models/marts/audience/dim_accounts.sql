-- One row per account that its source still has, as it is now: without what names the person, and of the birth date
-- only the decade.
{{ config(
    materialized='incremental',
    incremental_strategy='replace_keys',
    unique_key='account_key',
    meta={'touched_keys': 'int_audience__accounts_touched'}
) }}

with accounts as (
    select * from {{ ref('int_audience__accounts_deduplicated') }}
    where {{ in_keys_to_replace('account_key', ref('int_audience__accounts_touched')) }}
),

deleted as (
    select * from {{ ref('int_audience__accounts_deleted') }}
),

there as (
    select accounts.*
    from accounts
    left join deleted
        on accounts.account_key = deleted.account_key
    where deleted.account_key is null
),

newest as (
    select *
    from there
    qualify row_number() over (partition by account_key order by updated_at desc) = 1
),

coarsened as (
    select
        *,
        birth_year - birth_year % 10 as birth_decade,
        {{ local_date('created_at') }} as created_date
    from newest
)

select
    account_key,
    user_key,
    birth_decade,
    country,
    created_date,
    updated_at
from coarsened
