{#- Several columns as one value to order by, the first deciding first: for min_by and max_by without ties. -#}
{% macro in_order_of(columns) %}{{ return(adapter.dispatch('in_order_of')(columns)) }}{% endmacro %}

{% macro duckdb__in_order_of(columns) -%}
row({{ columns | join(', ') }})
{%- endmacro %}

{% macro spark__in_order_of(columns) -%}
struct({{ columns | join(', ') }})
{%- endmacro %}
