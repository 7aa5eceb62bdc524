-- One row per day from the first year to the last of the project's variables, with the moments at which it
-- begins and ends in the organisation's time zone: clock changes make days of 23 and 25 hours.
with days as (
    {{ days_from(var('first_year') ~ '-01-01', var('last_year') ~ '-12-31') }}
),

parts as (
    select
        date_day,
        cast(extract(year from date_day) as integer) as year_number,
        cast(extract(quarter from date_day) as integer) as quarter_number,
        cast(extract(month from date_day) as integer) as month_number,
        cast(extract(day from date_day) as integer) as day_of_month,
        cast(extract(week from date_day) as integer) as iso_week,
        {{ iso_day_of_week('date_day') }} as day_of_week,
        {{ local_day_start('date_day') }} as starts_at,
        {{ local_day_start(add_days('date_day', 1)) }} as ends_at
    from days
),

-- An ISO week belongs to the year that holds its Thursday.
placed as (
    select
        *,
        cast(extract(year from {{ add_days('date_day', '4 - day_of_week') }}) as integer) as iso_year,
        {{ milliseconds_between('starts_at', 'ends_at') }} as milliseconds_count
    from parts
),

named as (
    select
        *,
        case day_of_week
            when 1 then 'Monday'
            when 2 then 'Tuesday'
            when 3 then 'Wednesday'
            when 4 then 'Thursday'
            when 5 then 'Friday'
            when 6 then 'Saturday'
            when 7 then 'Sunday'
        end as day_name,
        case month_number
            when 1 then 'January'
            when 2 then 'February'
            when 3 then 'March'
            when 4 then 'April'
            when 5 then 'May'
            when 6 then 'June'
            when 7 then 'July'
            when 8 then 'August'
            when 9 then 'September'
            when 10 then 'October'
            when 11 then 'November'
            when 12 then 'December'
        end as month_name
    from placed
)

select
    date_day,
    year_number as year,
    quarter_number as quarter,
    month_number as month,
    day_of_month,
    iso_week,
    iso_year,
    day_of_week,
    cast(day_name as string) as day_name,
    cast(month_name as string) as month_name,
    day_of_week >= 6 as is_weekend,
    starts_at,
    ends_at,
    cast(milliseconds_count / 3600000 as integer) as hours_count
from named
