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
