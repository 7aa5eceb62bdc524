{#- Whether a list of strings holds a value; NULL where the list is. -#}
{% macro list_has(list, value) %}{{ return(adapter.dispatch('list_has')(list, value)) }}{% endmacro %}

{% macro duckdb__list_has(list, value) -%}
list_contains({{ list }}, '{{ value }}')
{%- endmacro %}

{% macro spark__list_has(list, value) -%}
array_contains({{ list }}, '{{ value }}')
{%- endmacro %}
