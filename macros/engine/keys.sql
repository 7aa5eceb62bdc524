{#- A key made from columns: equal values give equal keys, and NULL is not an empty string. -#}
{% macro surrogate_key(columns) -%}
md5(concat_ws('|'{% for column in columns %}, coalesce('=' || cast({{ column }} as string), '-'){% endfor %}))
{%- endmacro %}
