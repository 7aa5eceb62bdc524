-- Some rule of engagement fits every product and content type. A row here means that the seed
-- engagement_rules has lost its default, product * and content type *, so that contents without a rule of
-- their own would never count as read: whoever changed the seed puts it back.
with rules as (
    select * from {{ ref('engagement_rules') }}
),

defaults as (
    select count(*) as rules_count
    from rules
    where product = '*' and content_type = '*'
)

select rules_count
from defaults
-- With `--empty`, dbt reads no row of any table.
where rules_count = 0 and {{ 'false' if flags.EMPTY else 'true' }}
