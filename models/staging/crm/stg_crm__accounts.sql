-- Generated from the contract by `make contract`; do not edit.
-- One row per delivered version of an account. All that landed is still here: which deliveries count, and
-- which of several rows, the next layer decides.
with landed as (
    select * from {{ ref('raw_accounts') }}
)

select
    account_key,
    user_key,
    birth_year,
    created_at,
    updated_at,
    country,
    coalesce(has_analytics_consent, false) as has_analytics_consent,
    coalesce(has_personalisation_consent, false) as has_personalisation_consent,
    coalesce(has_advertising_consent, false) as has_advertising_consent,
    consent_updated_at,
    _batch_id,
    _line
from landed
