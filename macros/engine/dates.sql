{#- The day of a UTC timestamp in the organisation's time zone. -#}
{% macro local_date(timestamp) %}{{ return(adapter.dispatch('local_date')(timestamp)) }}{% endmacro %}

{% macro duckdb__local_date(timestamp) -%}
cast(timezone('{{ var("timezone") }}', timezone('UTC', {{ timestamp }})) as date)
{%- endmacro %}

{% macro spark__local_date(timestamp) -%}
cast(from_utc_timestamp({{ timestamp }}, '{{ var("timezone") }}') as date)
{%- endmacro %}

{#- Whole milliseconds from one timestamp to a later one. -#}
{% macro milliseconds_between(earlier, later) %}{{ return(adapter.dispatch('milliseconds_between')(earlier, later)) }}{% endmacro %}

{% macro duckdb__milliseconds_between(earlier, later) -%}
date_diff('millisecond', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__milliseconds_between(earlier, later) -%}
timestampdiff(millisecond, {{ earlier }}, {{ later }})
{%- endmacro %}

{#- The timestamp that lies a whole number of hours after another. -#}
{% macro add_hours(timestamp, hours) %}{{ return(adapter.dispatch('add_hours')(timestamp, hours)) }}{% endmacro %}

{% macro duckdb__add_hours(timestamp, hours) -%}
({{ timestamp }} + to_hours({{ hours }}))
{%- endmacro %}

{% macro spark__add_hours(timestamp, hours) -%}
timestampadd(hour, {{ hours }}, {{ timestamp }})
{%- endmacro %}
