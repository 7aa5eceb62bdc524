{#- A query of the days from the first to the last, both included, as date_day. -#}
{% macro days_from(first_day, last_day) %}{{ return(adapter.dispatch('days_from')(first_day, last_day)) }}{% endmacro %}

{% macro duckdb__days_from(first_day, last_day) -%}
select cast(unnest(generate_series(date '{{ first_day }}', date '{{ last_day }}', interval 1 day)) as date) as date_day
{%- endmacro %}

{% macro spark__days_from(first_day, last_day) -%}
select explode(sequence(date '{{ first_day }}', date '{{ last_day }}', interval 1 day)) as date_day
{%- endmacro %}

{#- The UTC timestamp at which a day begins in the organisation's time zone. -#}
{% macro local_day_start(day) %}{{ return(adapter.dispatch('local_day_start')(day)) }}{% endmacro %}

{% macro duckdb__local_day_start(day) -%}
timezone('UTC', timezone('{{ var("timezone") }}', cast({{ day }} as timestamp)))
{%- endmacro %}

{% macro spark__local_day_start(day) -%}
to_utc_timestamp(cast({{ day }} as timestamp), '{{ var("timezone") }}')
{%- endmacro %}

{#- The ISO day of the week: Monday 1 to Sunday 7. -#}
{% macro iso_day_of_week(day) %}{{ return(adapter.dispatch('iso_day_of_week')(day)) }}{% endmacro %}

{% macro duckdb__iso_day_of_week(day) -%}
cast(extract(isodow from {{ day }}) as integer)
{%- endmacro %}

{% macro spark__iso_day_of_week(day) -%}
cast(extract(dow_iso from {{ day }}) as int)
{%- endmacro %}

{#- The UTC timestamp that lies this many hours before now. -#}
{% macro hours_ago(hours) %}{{ return(adapter.dispatch('hours_ago')(hours)) }}{% endmacro %}

{% macro duckdb__hours_ago(hours) -%}
timezone('UTC', now()) - interval {{ hours }} hour
{%- endmacro %}

{% macro spark__hours_ago(hours) -%}
to_utc_timestamp(current_timestamp(), current_timezone()) - interval {{ hours }} hour
{%- endmacro %}
